package access

import (
	"fmt"
	"slices"

	"gatehouse/agent/card"
	"gatehouse/agent/site"
)

// Outcome is what a decision comes to. The zero value refuses.
type Outcome uint8

// The outcomes.
const (
	Refused Outcome = iota
	Granted
	Waiting // for a PIN or a second person; a refusal unless that comes in time
)

var outcomeNames = []string{"refused", "granted", "waiting"}

// String returns the outcome's name as `why --json` writes it (contract.md,
// Events).
func (o Outcome) String() string {
	if int(o) < len(outcomeNames) {
		return outcomeNames[o]
	}
	return fmt.Sprintf("outcome(%d)", uint8(o))
}

// MarshalText writes the outcome's name.
func (o Outcome) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// UnmarshalText reads the outcome's name.
func (o *Outcome) UnmarshalText(b []byte) error {
	if i := slices.Index(outcomeNames, string(b)); i >= 0 {
		*o = Outcome(i)
		return nil
	}
	return fmt.Errorf("outcome %q is not known (one of %v)", b, outcomeNames)
}

// PIN says what the reader asks of a person beside the card, and what came of it.
// It never holds the PIN itself. A duress PIN is a right one: a decision and its
// steps look the same, and the caller tells of the duress elsewhere.
type PIN uint8

// What is asked and what came of it. A value that is none of these counts as
// PINAsked.
const (
	PINNotAsked  PIN = iota // the card is enough
	PINAsked                // a PIN is asked for and has not been given
	PINRight                // it was given and is right
	PINWrong                // it was given and is wrong
	PINLockedOut            // too many were wrong; one that was given was not compared
)

// PINOf is what came of the PIN for one record.
type PINOf struct {
	Credential site.CredentialID
	PIN        PIN
}

// Request is one credential presented at one reader.
type Request struct {
	Door   site.DoorID
	Reader site.ReaderID
	Bits   card.Bits
	Clock  site.Clock
	Mode   site.Mode // the mode that holds at the door now

	ReaderClosed bool      // the reader takes no credentials now
	Formats      *card.Set // what an unknown card may be; nil: nothing

	// PIN is what is asked and what came of it, for all records but those of
	// PINs. A PIN belongs to one record: where a card has several, say in PINs
	// for which the PIN is right, and PINAsked here. PINs is not looked at
	// where no PIN is asked and none has found the records.
	//
	// Judge the lock-out before a PIN is compared, and count each comparison
	// that fails, whatever reason the decision then has: otherwise a door in
	// lockdown lets PINs be tried without end.
	PIN  PIN
	PINs []PINOf

	// ByPIN: there is no card, the records were found by a PIN alone. Bits is
	// not looked at. Without records the PIN is wrong or, with PINLockedOut,
	// was not looked up.
	ByPIN bool

	// TwoPerson: this door opens only to two persons. A credential that opens
	// nothing needs no second one.
	TwoPerson bool
	// With is the holder who waits at this door for a second person; empty:
	// nobody. A grant then means that the two may pass together: this one is
	// another holder and may pass by himself, TwoPerson aside.
	With site.HolderID

	// Area is the verdict of anti-passback and occupancy for the holder: empty
	// where there is none or it has not been asked, granted_passback where
	// passing is soft, else passback, occupancy or interlock. Any other reason
	// is a fault. It counts for every record, so ask first without it, then for
	// the holder that would pass, then again with it.
	Area site.Reason
	// Interlocked: another door of an interlock is not secure. It refuses what
	// Area lets pass, unless the credential opens nothing: lockdown, freeze, and
	// toggle at a door that is unlocked by mode.
	Interlocked bool

	// Fault is why the decision cannot be made: the store could not be read,
	// the key is missing. Its text is shown in a step and holds no secret.
	Fault error

	Trace bool // record the steps
}

// Decision is the answer to a Request. Its zero value refuses.
type Decision struct {
	Outcome Outcome     `json:"decision"`
	Reason  site.Reason `json:"reason"`

	// Credential is the record that granted, waits or got furthest: a pointer
	// into the records of Decide, nil where no record counted.
	Credential *site.Credential `json:"-"`
	// Right is the right by which it passed or waits; zero when refused before
	// or by its rights. Level is the level that has the right, empty where it
	// is the record's own.
	Right site.Right   `json:"-"`
	Level site.LevelID `json:"-"`

	Steps []Step `json:"steps"` // with Request.Trace only
}

// Function returns what the door is to do for a credential that was granted.
// Where none was it is blocked: there is nothing to do.
func (d Decision) Function() site.Function {
	if d.Outcome != Granted || d.Credential == nil {
		return site.FunctionBlocked
	}
	return d.Credential.Function
}

// Step is one check of a decision: its name, what it looked at and what came of
// it. It holds no card and no PIN.
type Step struct {
	Check  string `json:"check"`
	Input  string `json:"input"`
	Result string `json:"result"`
}
