package site

import "time"

// Kind is what happened (contract.md, Events).
type Kind string

// The kinds of events.
const (
	KindAccess          Kind = "access"
	KindUnused          Kind = "unused"
	KindDoorOpened      Kind = "door_opened"
	KindDoorClosed      Kind = "door_closed"
	KindDoorForced      Kind = "door_forced"
	KindDoorHeldWarning Kind = "door_held_warning"
	KindDoorHeld        Kind = "door_held"
	KindExit            Kind = "exit"
	KindMode            Kind = "mode"
	KindCommand         Kind = "command"
	KindFire            Kind = "fire"
	KindTamper          Kind = "tamper"
	KindFault           Kind = "fault"
	KindBattery         Kind = "battery"
	KindClock           Kind = "clock"
	KindPower           Kind = "power"
	KindPolicy          Kind = "policy"
	KindConfig          Kind = "config"
	KindDuress          Kind = "duress"
	KindUpdate          Kind = "update"
	KindSignIn          Kind = "sign_in"
	KindLockAudit       Kind = "lock_audit"
	KindVend            Kind = "vend"
	KindLog             Kind = "log"
	KindEventsLost      Kind = "events_lost"
	KindStart           Kind = "start"
	KindStop            Kind = "stop"
	KindArea            Kind = "area"  // a holder is in another area, or was forgiven
	KindPanic           Kind = "panic" // the panic button
)

// kinds lists all of them.
var kinds = []Kind{
	KindAccess, KindUnused, KindDoorOpened, KindDoorClosed, KindDoorForced, KindDoorHeldWarning,
	KindDoorHeld, KindExit, KindMode, KindCommand, KindFire, KindTamper, KindFault, KindBattery,
	KindClock, KindPower, KindPolicy, KindConfig, KindDuress, KindUpdate, KindSignIn, KindLockAudit,
	KindVend, KindLog, KindEventsLost, KindStart, KindStop, KindArea, KindPanic,
}

// Kinds returns every kind.
func Kinds() []Kind { return append([]Kind(nil), kinds...) }

// Event is one thing that happened, as the log keeps it and as it is shown.
//
// The log itself keeps HolderID; Holder (the name) is joined when the event is
// shown and is never stored, so that erasing a holder reaches the past. Log and
// Seq are given by the log when the event gets its place on disk. Time is wall
// clock; Trusted says whether that clock was known to be right.
type Event struct {
	Log     LogID     `json:"log"`
	Seq     EventSeq  `json:"seq"`
	Time    time.Time `json:"time"`
	Trusted bool      `json:"trusted"`
	Kind    Kind      `json:"kind"`
	Door    DoorID    `json:"door"`
	Reader  ReaderID  `json:"reader"`
	Reason  Reason    `json:"reason"`
	Holder  string    `json:"holder"`
	Card    CardRef   `json:"card"`
	By      string    `json:"by"`
	Source  Source    `json:"source"`

	Cleared bool `json:"cleared,omitempty"` // an alarm or fault that ends

	HolderID   HolderID     `json:"holder_id,omitempty"`
	Credential CredentialID `json:"credential,omitempty"`
	Device     DeviceName   `json:"device,omitempty"` // the Hive device or lock that asked
	Item       string       `json:"item,omitempty"`   // what a Hive device asked for
	Area       AreaID       `json:"area,omitempty"`   // for KindArea: the area entered; empty: outside all of them
	Mode       string       `json:"mode,omitempty"`   // the mode that now holds, for KindMode
	Until      time.Time    `json:"until,omitzero"`   // the end of an override
	Count      uint64       `json:"count,omitempty"`  // how many, for events_lost and repeats
	Text       string       `json:"text,omitempty"`   // detail for a person, never a card or a PIN

	Code     string `json:"code,omitempty"` // a lock's audit: code, data, its own time, the kind it means
	Data     string `json:"data,omitempty"`
	LockTime string `json:"lock_time,omitempty"`
	// As is also duress on an access under duress: see [Event.Duress].
	As Kind `json:"as,omitempty"`

	// Sealed is the encrypted content of a policy change. It is in the log
	// and is never exported: whoever shows an event clears it.
	Sealed []byte `json:"sealed,omitempty"`
	// Change numbers policy changes, so that one replayed from the outbox is
	// recognised. Zero for all other events.
	Change uint64 `json:"change,omitempty"`
}

// Duress takes an access under duress apart: open is what everybody may see of
// it, an access like any other; alarm is only for those who may see duress. The
// log keeps both as one event, so that no gap in its numbers tells. ok is false
// for any other event, which open then is. Whoever shows or sends an event of
// the log asks this first.
func (e *Event) Duress() (open, alarm Event, ok bool) {
	open = *e
	if e.Kind != KindAccess || e.As != KindDuress {
		return open, Event{}, false
	}
	open.As = ""
	alarm = open
	alarm.Kind = KindDuress
	return open, alarm, true
}
