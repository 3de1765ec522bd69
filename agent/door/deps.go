package door

import (
	"context"
	"log/slog"

	"gatehouse/agent/access"
	"gatehouse/agent/card"
	"gatehouse/agent/site"
	"gatehouse/hal"
)

// Presented is what somebody presented at a reader of the door: a card, a PIN,
// or both at once. A PIN without bits belongs to the card that waits for one at
// that reader, or is PIN only.
type Presented struct {
	Reader site.ReaderID
	Bits   card.Bits
	PIN    site.PIN
	Device site.DeviceName // the Hive device that asked, if any
	Item   string          // what it asked for
	Note   string          // the access event's text; never a card or a PIN
}

// Decision is an answer to what was presented: that of access, and what access
// does not know.
type Decision struct {
	access.Decision
	// Card is the reference of a card that is not enrolled; an enrolled one's
	// is in its credential.
	Card   site.CardRef
	Duress bool // under duress: the event says so to those who may see it
	// Completes: this settles what was waiting. The PIN belonged to the card
	// (right or wrong), or this is the second person. Whoever waited waits no
	// longer, and when the first of two persons waited both pass.
	Completes bool
	// Alone: nobody passes with this one. Who waits for a second person waits on:
	// he may not pass any more, or what came by a PIN opens nothing.
	Alone bool
	Out   bool // the reader leads out: who passes there is not the first person in
}

// Pending is what waits at a door.
type Pending struct {
	Presented Presented // the card; a PIN that was typed is not kept
	Decision  Decision  // Outcome is Waiting; its reason says for what
	// First is the person who waits for a second one while this one, who is to
	// be the second, waits for a PIN. Nil: there is none.
	First *Pending
}

// Decider decides who may pass. It is called on the door's goroutine and must
// not wait for a network, a disk or another door.
//
// It may [Interlock.Acquire] the door for a grant before it takes what cannot be
// given back; the door releases it if it stays secure.
//
// w is what waits, nil if nothing does: for a PIN without bits the card that
// waits for one at that reader; in all other cases, and for a PIN where no card
// waits, the person who waits for a second one at any reader of the door. It is
// the decider's to read until it returns.
type Decider interface {
	Decide(p Presented, w *Pending, mode site.Mode) Decision
}

// Interlock has the doors of interlocks that are not secure: unlocked or open.
// Its methods must not block. Where the last step of another door is waited
// for, Release lets that door know ([Door.Wake]).
type Interlock interface {
	// Acquire puts the door among those that are not secure, and reports true,
	// unless another door of one of its groups is. A door that is there already
	// stays, and is told whether another is there too.
	Acquire(site.DoorID) bool
	// Force puts the door among them whatever the others do.
	Force(site.DoorID)
	// Release takes the door out: it is locked and closed. For a door that is
	// not there it does nothing and wakes nobody, or two doors that are held
	// back would wake each other for ever.
	Release(site.DoorID)
}

// Passages hears what became of grants, each once, one call a person. Its
// methods must not block.
type Passages interface {
	Passed(Access)
	NotPassed(Access)
}

// Log takes events. Append must not block and is called from many goroutines.
type Log interface {
	Append(site.Event)
}

// Keeper writes what survives a restart. Keep returns when it is durable, may
// take its time, and must end when its context does. It is never called twice
// at once for one door.
type Keeper interface {
	Keep(ctx context.Context, door site.DoorID, kept site.DoorKept) error
}

// Deps is what a door needs of the rest.
type Deps struct {
	// Strike is claimed already, at Config.Output's level. Nil where the
	// configuration names no strike. The door drives it and does not close it.
	Strike hal.OutputLine
	// Inputs has the lines of Config.Inputs. Nil where there are none. The door
	// reads it and does not close it.
	Inputs hal.InputGroup

	Decider   Decider
	Log       Log
	Keeper    Keeper
	Clock     func() site.Clock
	Interlock Interlock // nil: the door is in none
	Passages  Passages  // nil: nobody wants to know

	Kept site.DoorKept // what was kept at the last run

	// Show signals at a reader and Watch sees each change of status. Both are
	// called on the door's goroutine and must not block. Either may be nil.
	Show  func(site.ReaderID, site.Pattern)
	Watch func(site.DoorStatus)

	Logger *slog.Logger // nil: discard
}
