package store

import (
	"time"

	"gatehouse/agent/card"
	"gatehouse/agent/site"
)

// Change is a list of operations on the records of one source. It is made
// whole or not at all.
type Change struct {
	Source site.Source
	Ops    []Op
	// Doors says whether a door exists; nil accepts every well-formed id.
	Doors func(site.DoorID) bool
}

// Result is what a change did.
type Result struct {
	Change uint64        // its number
	Seq    site.EventSeq // its event's place in the log
	// IDs has one entry an operation: the id of the record that it made or
	// changed.
	IDs []string
}

// Op is one operation of a change: one of the types of this file.
type Op interface {
	apply(c *change) (id, text string, err error)
}

// PutHolder makes a holder (empty ID) or renames one.
type PutHolder struct {
	ID   site.HolderID
	Name string // 1 to 120 characters
}

// DeleteHolder removes a holder without credentials.
type DeleteHolder struct{ ID site.HolderID }

// PutCredential makes a credential or replaces one of the same card, length
// and source. Give the card as Bits; or, for a record of a door file, which
// does not know its length, as Block.
type PutCredential struct {
	Bits  card.Bits
	Block card.Block // used when Bits is empty
	// Last2 is what people see of the number; empty where it is not known.
	Last2  string
	Format string // a format's name or "raw"

	Holder     site.HolderID // empty: HolderName
	HolderName string        // found by name in the source, or made

	State    site.CredentialState // Invalid: active for a new one, else as it is
	Function site.Function
	ADA      bool
	Uses     uint32
	From     time.Time
	Until    time.Time
	Levels   []site.LevelID
	Rights   []site.Right

	// PIN and DuressPIN are 4 to 12 digits; empty keeps what is there, and
	// ClearPIN removes both first.
	PIN       string
	DuressPIN string
	ClearPIN  bool

	// MustBeNew refuses a card that the source has already.
	MustBeNew bool
	// Move allows a card that another holder of the source has.
	Move bool
}

// SetState revokes, blocks or unblocks a credential. An operator who revokes or
// blocks another source's record gets a record of his own over it, which wins.
// A revoked credential is not made active again by this.
type SetState struct {
	ID    site.CredentialID
	State site.CredentialState
}

// SetPIN sets or, with ClearPIN, removes the PINs of a credential.
type SetPIN struct {
	ID        site.CredentialID
	PIN       string
	DuressPIN string
	ClearPIN  bool
}

// AddRight gives a credential a right; it may be there already.
type AddRight struct {
	ID    site.CredentialID
	Right site.Right
}

// RemoveRight takes a right from a credential.
type RemoveRight struct {
	ID    site.CredentialID
	Right site.Right
}

// SetLevels replaces the levels of a credential.
type SetLevels struct {
	ID     site.CredentialID
	Levels []site.LevelID
}

// DeleteCredential removes a credential. Prefer to revoke: a deleted card is
// unknown afterwards, and one of another source then decides.
type DeleteCredential struct{ ID site.CredentialID }

// PutLevel makes or replaces a level. Its Source is the change's.
type PutLevel struct{ Level site.Level }

// DeleteLevel removes a level that no credential has.
type DeleteLevel struct{ ID site.LevelID }

// PutSchedule makes or replaces a schedule. Its Source is the change's.
type PutSchedule struct{ Schedule site.Schedule }

// DeleteSchedule removes a schedule that no right names.
type DeleteSchedule struct{ ID site.ScheduleID }

// PutHoliday makes or replaces a holiday. Its Source is the change's. Kind 0 is
// kind 1.
type PutHoliday struct{ Holiday site.Holiday }

// DeleteHoliday removes a holiday.
type DeleteHoliday struct{ ID site.HolidayID }
