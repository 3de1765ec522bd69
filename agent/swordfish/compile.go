package swordfish

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
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
//
// The week that begins today is made real: each weekday stands for the one day of it
// on which holidays are as they are, so a lock that calls each night opens as
// access.Decide says. What it cannot hold is left out, and is a Loss: it never opens
// for more than the policy does. Slots keep their numbers while the same schedules
// are in use, whatever the week has of holidays.
type Compiler struct {
	src     Source
	profile *Profile
	today   site.Date

	restricted []Holiday // of the host, not over yet
	hostClass  class     // of its rights

	users    []user
	handles  []handle
	byHandle map[handle]uint16
	sets     [][]uint16 // each is sorted handles
	bySet    map[string]uint32

	losses     []Loss
	lost       int
	next, good time.Time

	// What Add works in.
	found []candidate
	tts   []access.Timetable
	held  []uint16
	key   []byte
}

// user is an entry whose schedules have no slots yet.
type user struct {
	Entry
	id  site.CredentialID
	set uint32
}

// handle is a timetable and whose right it is.
type handle struct {
	access.Timetable
	class class
}

// class says whether a restricted holiday of the host suspends a right.
type class uint8

const (
	classSite class = iota // never
	classPass              // not while there are slots enough
	classHost              // always
)

// NewCompiler begins a table. A nil Profile has no function and takes nobody, a nil
// Policy lets nobody in, a nil Zone is UTC.
func NewCompiler(src Source) *Compiler {
	if src.Zone == nil {
		src.Zone = time.UTC
	}
	c := &Compiler{src: src, profile: src.Profile, byHandle: map[handle]uint16{}, bySet: map[string]uint32{}}
	if c.profile == nil {
		c.profile = &Profile{}
	}
	c.src.Now = src.Now.In(src.Zone)
	c.today = site.DateOf(c.src.Now)
	if src.Host != nil {
		for _, h := range src.Host.Holidays {
			if h.Action == HolidayRestricted {
				c.hostClass = classHost
				if h.End.After(src.Now) {
					c.restricted = append(c.restricted, h)
				}
			}
		}
	}
	return c
}

// Table returns the table. Nothing may be added after it.
func (c *Compiler) Table() Table {
	var t Table
	w := c.newWeek()
	s := c.slots()
	t.Schedules = w.number(s)
	t.Entries = c.entries(s)
	t.Holidays = w.holidays(s)
	t.Auto = c.auto()
	if next, good := w.changes(s); !next.IsZero() {
		c.sooner(next, good)
	}
	for _, h := range append(slices.Clip(t.Holidays), c.restricted...) {
		c.sooner(h.End, time.Time{})
	}
	t.Next, t.Good, t.Losses, t.Lost = c.next, c.good, c.losses, c.lost
	return t
}

// entries gives the users their slots and leaves out whom the lock cannot take.
func (c *Compiler) entries(s *slots) []Entry {
	order := c.ascending()
	out := make([]Entry, 0, min(len(order), max(c.profile.Users, 0)))
	for _, o := range order {
		u := &c.users[o.user]
		mask, why := s.mask(u.set)
		switch {
		case why != "":
			c.lose(u.id, why)
		case mask == 0: // nothing of it holds in this week
		case len(out) >= c.profile.Users:
			c.lose(u.id, fmt.Sprintf("left out: the lock takes %d users", c.profile.Users))
		default:
			u.Schedules = mask
			out = append(out, u.Entry)
		}
	}
	return out
}

// sortKey is a block as two numbers, and whose it is.
type sortKey struct {
	high, low uint64
	user      int
}

// ascending returns the users by their blocks. They are large: keys are sorted in
// their stead.
func (c *Compiler) ascending() []sortKey {
	out := make([]sortKey, len(c.users))
	for i := range c.users {
		b := &c.users[i].Block
		out[i] = sortKey{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:]), i}
	}
	slices.SortFunc(out, func(a, b sortKey) int {
		return cmp.Or(cmp.Compare(a.high, b.high), cmp.Compare(a.low, b.low), a.user-b.user)
	})
	return slices.CompactFunc(out, func(a, b sortKey) bool { return a.high == b.high && a.low == b.low })
}

// auto is what the host's door file has of autoUnlock.
func (c *Compiler) auto() []Auto {
	if c.src.Host == nil || len(c.src.Host.Auto) == 0 {
		return nil
	}
	if !c.profile.Auto {
		c.lose("", "autoUnlock is left out: this model takes none")
		return nil
	}
	return slices.Clone(c.src.Host.Auto)
}

// lose notes what the lock cannot hold.
func (c *Compiler) lose(id site.CredentialID, what string) {
	if c.lost++; len(c.losses) < MaxLosses {
		c.losses = append(c.losses, Loss{id, what})
	}
}

// sooner brings Next and Good forward; the zero time changes nothing.
func (c *Compiler) sooner(next, good time.Time) {
	earlier := func(p *time.Time, t time.Time) {
		if !t.IsZero() && t.After(c.src.Now) && (p.IsZero() || t.Before(*p)) {
			*p = t
		}
	}
	earlier(&c.next, next)
	earlier(&c.good, good)
}

// Digest returns a hash of what goes to a lock: tables with equal entries and lists
// have equal digests. It has no key: cards can be guessed from it, so it is to be
// kept as a card is.
func (t *Table) Digest() [32]byte {
	h := sha256.New()
	var b []byte
	num := func(ns ...int64) {
		for _, n := range ns {
			b = binary.BigEndian.AppendUint64(b, uint64(n))
		}
	}
	flag := func(on bool) int64 {
		if on {
			return 1
		}
		return 0
	}
	stamp := func(t time.Time) {
		num(flag(t.IsZero()), t.Unix(), int64(t.Nanosecond()))
	}
	num(int64(len(t.Entries)), int64(len(t.Schedules)), int64(len(t.Holidays)), int64(len(t.Auto)))
	for _, iv := range t.Schedules {
		num(int64(iv.Days), int64(iv.Start), int64(iv.End))
	}
	for _, d := range t.Holidays {
		num(int64(d.Action))
		stamp(d.Start)
		stamp(d.End)
	}
	for _, a := range t.Auto {
		num(flag(a.Unlock), int64(a.Days), int64(a.Minute))
	}
	for i := range t.Entries {
		e := &t.Entries[i]
		b = append(b, e.Block[:]...)
		num(int64(e.Function), flag(e.ADA), int64(e.Schedules))
		stamp(e.From)
		stamp(e.Until)
		_, _ = h.Write(b) // a hash never fails
		b = b[:0]
	}
	_, _ = h.Write(b)
	return [32]byte(h.Sum(nil))
}
