package swordfish

import (
	"time"

	"gatehouse/agent/access"
	"gatehouse/agent/card"
	"gatehouse/agent/site"
)

// Entry is one user of a lock's table. From and Until are zero where there is none;
// they are whole seconds, and a wall clock in the zone shows them once.
type Entry struct {
	Block     card.Block
	Function  site.Function
	ADA       bool
	Schedules uint16 // bit n-1 stands for slot n of Table.Schedules
	From      time.Time
	Until     time.Time
}

// Table is what one lock is to hold.
type Table struct {
	Entries   []Entry         // ascending by Block, no two equal
	Schedules []site.Interval // the slots: days of the week only, none crosses midnight; End up to 1440
	Holidays  []Holiday
	Auto      []Auto
	Losses    []Loss // what the lock cannot hold as the policy says it; at most MaxLosses
	Lost      int    // how many in all
	// Next is when a table compiled anew will differ though the policy does not: a
	// record begins, a holiday enters the week or is over. Zero: never. What a lock
	// does by itself (a user begins, expires) is not counted.
	Next time.Time
	// Good is when a lock that keeps this table stops opening as the policy says: no
	// earlier than Next, and for a holiday six days after it. Zero: never. It has to
	// call before then; Next alone is no reason to call sooner than at night.
	Good time.Time
}

// MaxLosses is how many losses a table names.
const MaxLosses = 64

// Loss is something that a lock cannot hold as the policy says it. It names the
// record, or none where it is of the lock as a whole; never a card.
type Loss struct {
	Credential site.CredentialID
	What       string
}

// Source is what a table is compiled from.
type Source struct {
	Profile *Profile
	Door    site.DoorID
	Now     time.Time      // wall clock; the week begins on its day in Zone
	Zone    *time.Location // the one that Policy was compiled with
	Policy  *access.Policy
	Host    *HostLists // nil: no door file of the IP host for this door
}

// HostLists is what the IP host's door file says beside its cards.
type HostLists struct {
	Schedules []site.Interval // not looked at: the rights of records name the Policy's schedules
	Holidays  []Holiday
	Auto      []Auto
}

// Compiler makes the table of one lock out of the records of its cards. It is for
// one goroutine and one table.
type Compiler struct{ src Source }

// NewCompiler begins a table.
func NewCompiler(src Source) *Compiler { return &Compiler{src: src} }

// Add takes all records that the store has under one block, of any source, length
// and state, in the order in which access.Decide is given them. Blocks may come in
// any order, each once. A record of the IP host must have the rights that it has
// outside of holidays: the compiler cuts them itself. Nothing of records is kept.
func (c *Compiler) Add(block card.Block, records []site.Credential) {}

// Table returns the table. Nothing may be added after it.
func (c *Compiler) Table() Table { return Table{} }

// Digest returns a hash of what goes to a lock: tables with equal entries and lists
// have equal digests. It is keyed by nothing: cards can be guessed from it, so it is
// kept as a card is.
func (t *Table) Digest() [32]byte { return [32]byte{} }
