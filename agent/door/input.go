package door

import (
	"time"

	"gatehouse/agent/site"
)

// Now is the instant of a step.
type Now struct {
	Mono    time.Duration // since any fixed instant; never goes back
	Wall    time.Time     // the time to judge by (door.md, Untrusted clock)
	Trusted bool          // Wall is known to be right
	// Interlocked: another door of an interlock with this one is not secure.
	Interlocked bool
}

// Input is something that happens to a door.
type Input interface{ input() }

// Start is the first input of a machine; all before it are ignored. It says
// what was found and what was kept over the restart. A door found open is not
// forced, and a button found pressed is not a press.
type Start struct {
	Open    bool // the contact shows the door open
	Pressed bool // the exit button is active
	Tamper  bool // the tamper input is not at its normal level
	Loose   bool // the bond sensor does not show the door secure
	Kept    site.DoorKept
	// What the site asks for, so that no strike is driven otherwise first.
	Fire     bool
	Schedule Schedule
}

// Access is what an access event says of the presented credential.
type Access struct {
	Reader     site.ReaderID
	Reason     site.Reason
	Holder     site.HolderID
	Credential site.CredentialID
	Card       site.CardRef
	Source     site.Source
	Device     site.DeviceName
	Item       string
	Note       string // the event's text
	Out        bool   // at a reader that leads out: who passes there is not the first person in
}

// Grant is a decision that lets a person pass, or two of them.
type Grant struct {
	Access
	ADA      bool          // the ADA times hold
	Function site.Function // what the credential does beyond opening
	Duress   bool          // the event says so to those who may see it

	// First is the person who waited for this second one; nil: none did. Both
	// are recorded as granted and both pass.
	First       *Access
	FirstDuress bool

	Settles uint64 // the number of the wait that this ends; zero: it does not name one
}

// Denied is a decision that refuses.
type Denied struct {
	Access
	Duress  bool   // as in Grant: one who is not let in is under duress all the same
	Settles uint64 // as in Grant
}

// Waiting is a decision that waits for more: a PIN, a second person. It is
// recorded as refused when nothing follows within [WaitTime], when another one
// takes its place and when the door is disabled or locked down.
type Waiting struct {
	Access
	Duress  bool   // as in Denied, when nothing follows
	Settles uint64 // as in Grant
}

// Exit is the level of the exit button.
type Exit struct{ Pressed bool }

// Contact is the level of the door contact, bounce and all.
type Contact struct{ Open bool }

// Tamper is the state of the tamper input.
type Tamper struct{ On bool }

// Bond is the state of the bond sensor: the lock holds the door, or not.
type Bond struct{ Secure bool }

// Schedule is the mode that the schedule asks for. With FirstIn one that unlocks
// does so only after somebody has passed at or after Since.
type Schedule struct {
	Mode    site.Mode
	FirstIn bool
	Since   time.Time // when the schedule began to ask for it
}

// Fire is the state of the site's fire input, latched or not by its owner.
type Fire struct{ On bool }

// Part names what can be faulty at a door.
type Part uint8

// The parts.
const (
	PartStrike  Part = iota // the strike line cannot be driven
	PartInputs              // contact and exit button cannot be read
	PartKeep                // what survives a restart cannot be written
	PartRex                 // the exit button is stuck
	PartContact             // the door contact bounces
	PartBond                // locked and closed, but not secure
	parts
)

var partTexts = [parts]string{"strike line", "contact and exit lines", "kept state", "exit button", "door contact bounces", "strike feedback"}

// String returns the part's name for a person.
func (p Part) String() string {
	if p < parts {
		return partTexts[p]
	}
	return "unknown part"
}

// Fault says that a part failed, or works again. Repeats are harmless.
type Fault struct {
	Part Part
	On   bool
}

// Tick says that time has passed.
type Tick struct{}

// Op is what a command asks for.
type Op uint8

// The commands. The zero value is none.
const (
	_ Op = iota
	// OpUnlock unlocks for Config.Unlock, or for the duration given, which no
	// relock cuts short. Refused while the door is disabled, locked down,
	// frozen or held back by an interlock.
	OpUnlock
	// OpLock locks at once: it ends a pulse and what holds the door unlocked,
	// and overrides a schedule that does.
	OpLock
	// OpMode sets Command.Mode until its end. It replaces an earlier override,
	// freeze or disabling. ModeLockdown is the same as OpLockdown.
	OpMode
	// OpAuto goes back to the schedule: it ends override, freeze and disabling.
	OpAuto
	// OpLockdown locks the door down at once, until its end.
	OpLockdown
	// OpRelease ends a lockdown, and nothing else.
	OpRelease
)

var opNames = []string{"none", "unlock", "lock", "mode", "auto", "lockdown", "release"}

// String returns the command's name.
func (o Op) String() string {
	if int(o) < len(opNames) {
		return opNames[o]
	}
	return "unknown"
}

// Command is an order to the door. Its end is at most one of For and Until;
// neither means without end (for OpUnlock: the door's own time).
type Command struct {
	Op    Op
	Mode  site.Mode     // for OpMode
	For   time.Duration // from now
	Until time.Time     // wall clock
	By    string        // who: a token's subject, cli, iphost
}

func (Start) input()    {}
func (Grant) input()    {}
func (Denied) input()   {}
func (Waiting) input()  {}
func (Exit) input()     {}
func (Contact) input()  {}
func (Schedule) input() {}
func (Tamper) input()   {}
func (Bond) input()     {}
func (Fire) input()     {}
func (Fault) input()    {}
func (Tick) input()     {}
func (Command) input()  {}

// Action is something that the owner of the machine has to do, in the order
// given. A Strike always comes first.
type Action interface{ action() }

// Strike energises the coil or not.
type Strike struct{ Energise bool }

// Emit records an event. It has the door's id, its time and trust.
type Emit struct{ Event site.Event }

// Show signals to the person at a reader.
type Show struct {
	Reader  site.ReaderID
	Pattern site.Pattern
}

// Keep writes what survives a restart.
type Keep struct{ Kept site.DoorKept }

// Passed says that the person of a grant went through: the door opened within
// it. Where that cannot be seen (no contact, a door that is open or unlocked
// already) it is said at the grant. Each Grant ends in one Passed or one
// NotPassed for each of its persons.
type Passed struct{ Access Access }

// NotPassed says that a grant ended and nobody went through on it.
type NotPassed struct{ Access Access }

func (Strike) action()    {}
func (Emit) action()      {}
func (Show) action()      {}
func (Keep) action()      {}
func (Passed) action()    {}
func (NotPassed) action() {}
