package swordfish

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"gatehouse/agent/access"
	"gatehouse/agent/card"
	"gatehouse/agent/site"
)

// candidate is a record that lets its card in at the lock at some time.
type candidate struct {
	rec         *site.Credential
	from, until time.Time
	handles     []uint16 // sorted
}

// Add takes all records that the store has under one block, of any source, length
// and state, in the order in which access.Decide is given them. Blocks may come in
// any order, each once. A record of the IP host must have the rights that it has
// outside of holidays: the compiler cuts them itself. Nothing of records is kept
// but identifiers.
func (c *Compiler) Add(block card.Block, records []site.Credential) {
	c.found, c.held = c.found[:0], c.held[:0]
	for i := range records {
		if veto, _ := access.Standing(&records[i]); veto {
			c.vetoed(records)
			return
		}
	}
	for i := range records {
		if why := c.consider(&records[i]); why != "" {
			c.lose(records[i].ID, why)
		}
	}
	c.dropCovered()
	if len(c.found) == 0 {
		return
	}
	u := c.choose()
	u.Block = block
	c.users = append(c.users, u)
}

// vetoed notes who is refused only because a lock cannot tell lengths: a veto of the
// operator is for cards of its own length.
func (c *Compiler) vetoed(records []site.Credential) {
	for i := range records {
		r := &records[i]
		covered := slices.ContainsFunc(records, func(o site.Credential) bool {
			veto, _ := access.Standing(&o)
			return veto && (o.Bits == 0 || o.Bits == r.Bits)
		})
		if covered {
			continue
		}
		if why := c.consider(r); why != "" || len(c.found) > 0 {
			c.lose(r.ID, "left out: the operator refuses a card of another length, and a lock cannot tell lengths")
			return
		}
	}
}

// consider makes a candidate of a record that grants at some time. It says why the
// lock cannot hold it, or cannot exactly.
func (c *Compiler) consider(r *site.Credential) (why string) {
	now := c.src.Now
	if _, usable := access.Standing(r); !usable || !r.Until.IsZero() && (!now.Before(r.Until) || !r.From.Before(r.Until)) {
		return ""
	}
	always, tts := c.src.Policy.RightsAt(r, c.src.Door, c.tts[:0])
	c.tts = tts
	uses := access.UsesAllowed(r)
	word, ok := c.profile.Functions[r.Function]
	switch {
	case !always && len(tts) == 0, uses > 0 && r.Used >= uses:
		return ""
	case uses > 0 && (r.Function != site.FunctionOneTime || r.Source != site.SourceIPHost):
		// The host's record is for this lock alone and means what the lock does with it.
		return "left out: a lock cannot count its uses"
	case !ok || word == "":
		return fmt.Sprintf("left out: the lock knows no function %v", r.Function)
	}
	x := candidate{rec: r, from: r.From, until: r.Until}
	if c.profile.SoleSchedule && c.hostClass == classHost && r.Source == site.SourceIPHost && r.Function == site.FunctionPassThrough {
		why = "goes by the restricted holidays of the host's door file: the lock takes one schedule for a user"
	}
	if c.writable(&x) {
		why = "begins or ends in the hour that a clock shows twice: the lock leaves that hour out"
	}
	if x.from.After(lastDate) || !x.until.IsZero() && (!x.from.Before(x.until) || !now.Before(x.until)) {
		return why
	}
	lo := len(c.held)
	if always {
		c.held = append(c.held, c.handle(r, access.Timetable{}))
	}
	for _, tt := range tts {
		c.held = append(c.held, c.handle(r, tt))
	}
	x.handles = c.held[lo:len(c.held):len(c.held)]
	slices.Sort(x.handles)
	c.found = append(c.found, x)
	return why
}

// handle numbers a timetable of a record.
func (c *Compiler) handle(r *site.Credential, tt access.Timetable) uint16 {
	h := handle{Timetable: tt}
	switch {
	case r.Source != site.SourceIPHost:
	case c.hostClass == classHost && r.Function == site.FunctionPassThrough && !c.profile.SoleSchedule:
		h.class = classPass
	default:
		h.class = c.hostClass
	}
	n, ok := c.byHandle[h]
	if !ok {
		n = uint16(len(c.handles))
		c.byHandle[h] = n
		c.handles = append(c.handles, h)
	}
	return n
}

// firstDate and lastDate bound the times that a lock is told: it may refuse a file with
// a year before its clock's first, and 14 digits say no later one.
var (
	firstDate = time.Date(2000, 1, 2, 0, 0, 0, 0, time.UTC)
	lastDate  = time.Date(9999, 12, 30, 0, 0, 0, 0, time.UTC)
)

// writable makes the times of a candidate ones that a wall clock shows once, to the
// second, and never wider than they were. It reports whether more than a second was
// lost.
func (c *Compiler) writable(x *candidate) (cut bool) {
	if x.from.Before(firstDate) {
		x.from = time.Time{}
	}
	if !x.until.IsZero() && x.until.After(lastDate) {
		x.until = lastDate
	}
	if !x.from.IsZero() {
		t := x.from.Truncate(time.Second)
		if t.Before(x.from) {
			t = t.Add(time.Second)
		}
		_, end := repeated(t.In(c.src.Zone))
		if cut = !end.IsZero(); cut {
			t = end
		}
		x.from = t
	}
	if !x.until.IsZero() {
		t := x.until.Truncate(time.Second)
		if begin, _ := repeated(t.In(c.src.Zone)); !begin.IsZero() {
			t, cut = begin.Add(-time.Second), true
		}
		x.until = t
	}
	return cut
}

// repeated returns when the time begins and ends that a wall clock of t's zone shows
// twice, both times together; zero where it shows t once.
func repeated(t time.Time) (begin, end time.Time) {
	_, offset := t.Zone()
	first, last := t.ZoneBounds()
	if !last.IsZero() {
		_, after := last.Zone()
		if d := time.Duration(offset-after) * time.Second; d > 0 && !t.Before(last.Add(-d)) {
			return last.Add(-d), last.Add(d)
		}
	}
	if !first.IsZero() {
		_, before := first.Add(-1).Zone()
		if d := time.Duration(before-offset) * time.Second; d > 0 && t.Before(first.Add(d)) {
			return first.Add(-d), first.Add(d)
		}
	}
	return time.Time{}, time.Time{}
}

// dropCovered drops a record that another one of the same function covers: it counts
// for nothing.
func (c *Compiler) dropCovered() {
	for i := 0; i < len(c.found); {
		x := &c.found[i]
		covered := false
		for k := range c.found {
			y := &c.found[k]
			if k == i || !c.covers(y, x) || k > i && c.covers(x, y) {
				continue
			}
			covered = true
		}
		if covered {
			c.found = slices.Delete(c.found, i, i+1)
		} else {
			i++
		}
	}
}

// covers reports whether y grants whenever x does, and does the same.
func (c *Compiler) covers(y, x *candidate) bool {
	if x.rec.Function != y.rec.Function || x.rec.ADA != y.rec.ADA || y.from.After(x.from) ||
		!y.until.IsZero() && (x.until.IsZero() || y.until.Before(x.until)) {
		return false
	}
	for _, h := range x.handles {
		if !slices.Contains(y.handles, h) && !slices.ContainsFunc(y.handles, c.never) {
			return false
		}
	}
	return true
}

// never reports whether a handle is a right that nothing suspends.
func (c *Compiler) never(h uint16) bool {
	return c.handles[h].Timetable == access.Timetable{} && c.handles[h].class != classHost
}

// choose makes one user of the candidates: a lock has one function and one pair of
// dates for a card. Those that count now, or first, are taken together, for as long
// as they all do; Next says when there are others.
func (c *Compiler) choose() user {
	at := c.src.Now
	if !slices.ContainsFunc(c.found, func(x candidate) bool { return !x.from.After(at) }) {
		at = slices.MinFunc(c.found, func(a, b candidate) int { return a.from.Compare(b.from) }).from
	}
	var lead *candidate
	var u user
	var held []uint16
	for i := range c.found {
		x := &c.found[i]
		switch {
		case x.from.After(at):
			c.sooner(x.from, x.from)
			continue
		case lead == nil:
			lead = x
			u = user{Entry: Entry{Function: x.rec.Function, ADA: x.rec.ADA, From: x.from, Until: x.until}, id: x.rec.ID}
			held = x.handles
			continue
		case x.rec.Function != u.Function:
			c.lose(x.rec.ID, fmt.Sprintf("left out: the lock has the card with function %v already", u.Function))
			continue
		case x.rec.ADA != u.ADA:
			c.lose(x.rec.ID, "the lock gives all its records the longer unlock time")
			u.ADA = true
		}
		held = append(slices.Clip(held), x.handles...)
		u.From = slices.MaxFunc([]time.Time{u.From, x.from}, time.Time.Compare)
		if u.Until.IsZero() || !x.until.IsZero() && x.until.Before(u.Until) {
			u.Until = x.until
		}
	}
	if !u.Until.IsZero() && slices.ContainsFunc(c.found, func(x candidate) bool { return x.until.IsZero() || x.until.After(u.Until) }) {
		c.sooner(u.Until, u.Until)
	}
	u.set = c.setOf(held)
	return u
}

// setOf numbers a set of handles. Beside a right that nothing suspends there are no
// others.
func (c *Compiler) setOf(held []uint16) uint32 {
	if i := slices.IndexFunc(held, c.never); i >= 0 {
		held = held[i : i+1]
	} else {
		slices.Sort(held)
		held = slices.Compact(held)
	}
	c.key = c.key[:0]
	for _, h := range held {
		c.key = binary.BigEndian.AppendUint16(c.key, h)
	}
	n, ok := c.bySet[string(c.key)]
	if !ok {
		n = uint32(len(c.sets))
		c.bySet[string(c.key)] = n
		c.sets = append(c.sets, slices.Clone(held))
	}
	return n
}

// order sorts handles in a way that does not depend on when they came.
func (c *Compiler) order(a, b uint16) int {
	x, y := &c.handles[a], &c.handles[b]
	xs, xi := x.ID()
	ys, yi := y.ID()
	return cmp.Or(cmp.Compare(x.class, y.class), cmp.Compare(xs, ys), cmp.Compare(xi, yi))
}
