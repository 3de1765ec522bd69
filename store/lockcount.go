package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	"gatehouse/agent/site"
)

// lockCount is what a lock is to hold, and what a change does to that.
type lockCount struct {
	users  int
	always bool                // somebody has a right without a schedule
	sets   map[string]struct{} // what the others need, by the numbers of the schedules

	delta  int  // users that the change adds, less those that it takes away
	grew   bool // somebody has a schedule there that he had not
	record int  // the last record of the change that added anything, 0: not known
}

func newLockCounts(n int) []lockCount {
	out := make([]lockCount, n)
	for i := range out {
		out[i].sets = make(map[string]struct{})
	}
	return out
}

// eachDoor calls fn with the claims of a block at each door.
func eachDoor(claims []claim, fn func(door int32, at []claim)) {
	for len(claims) > 0 {
		n := 1
		for n < len(claims) && claims[n].door == claims[0].door {
			n++
		}
		fn(claims[0].door, claims[:n])
		claims = claims[n:]
	}
}

// take counts a block that is there after the change.
func (c *lockCount) take(at []claim, kinds []userKind) {
	c.users++
	c.need(at, kinds)
}

// need notes what the entries of a block need, at whatever time: a set for each kind,
// and for two that a lock has to hold as one user for a while one for both. Beside a
// right without a schedule there is no other.
func (c *lockCount) need(at []claim, kinds []userKind) {
	for rest := at; len(rest) > 0; {
		n := 1
		for n < len(rest) && rest[n].kind == rest[0].kind {
			n++
		}
		c.set(rest[:n], nil)
		for other := rest[n:]; len(other) > 0; {
			m := 1
			for m < len(other) && other[m].kind == other[0].kind {
				m++
			}
			if kinds[rest[0].kind].meets(kinds[other[0].kind]) {
				c.set(rest[:n], other[:m])
			}
			other = other[m:]
		}
		rest = rest[n:]
	}
}

// set notes what an entry of two lists of claims needs.
func (c *lockCount) set(a, b []claim) {
	var room [16]int32
	numbers := room[:0]
	for _, list := range [2][]claim{a, b} {
		for i := range list {
			if list[i].schedule == atAlways {
				c.always = true
				return
			}
			if list[i].schedule != atNever {
				numbers = append(numbers, list[i].schedule)
			}
		}
	}
	if b != nil { // each list is sorted
		slices.Sort(numbers)
		numbers = slices.Compact(numbers)
	}
	var buf [64]byte
	key := buf[:0]
	for _, n := range numbers {
		key = binary.BigEndian.AppendUint32(key, uint32(n))
	}
	if _, there := c.sets[string(key)]; !there && len(key) > 0 {
		c.sets[string(key)] = struct{}{}
	}
}

// compare notes what a change does to a block at the lock; nil is none.
func (c *lockCount) compare(before, after []claim, record int) {
	switch {
	case len(before) == 0:
		c.delta++
	case len(after) == 0:
		c.delta--
		return
	case within(after, before):
		return
	}
	c.grew = true
	c.record = max(c.record, record)
}

// within reports whether each schedule of after is one of before.
func within(after, before []claim) bool {
	for _, a := range after {
		same := func(b claim) bool { return b.schedule == a.schedule }
		if a.schedule != atNever && !slices.ContainsFunc(before, same) {
			return false
		}
	}
	return true
}

// compareAt compares what a block has before and after at each door.
func compareAt(before, after []claim, fn func(door int32, before, after []claim)) {
	for len(before) > 0 || len(after) > 0 {
		door := int32(1<<31 - 1)
		if len(before) > 0 {
			door = before[0].door
		}
		if len(after) > 0 {
			door = min(door, after[0].door)
		}
		var b, a []claim
		b, before = cutDoor(before, door)
		a, after = cutDoor(after, door)
		fn(door, b, a)
	}
}

// both counts a block of a walk over all of them. kinds are those of after.
func (c *lockCount) both(before, after []claim, kinds []userKind, record func() int) {
	if len(after) > 0 {
		c.take(after, kinds)
	}
	if len(after) == 0 || len(before) == 0 || !within(after, before) {
		c.compare(before, after, record())
	}
}

// comparePage walks over both sides from a key on and calls fn with each block that
// has claims on either. With a budget it ends after about so many records; it returns
// the key to go on from, nil at the end.
func comparePage(a, b *blockWalk, from []byte, budget int, fn func(enc [16]byte, before, after []claim)) (next []byte, err error) {
	if err := errors.Join(a.seek(from), b.seek(from)); err != nil {
		return nil, err
	}
	a.seen, b.seen = 0, 0
	moreA, err := a.next()
	if err != nil {
		return nil, err
	}
	moreB, err := b.next()
	for err == nil && (moreA || moreB) {
		order := 0
		switch {
		case !moreA:
			order = 1
		case !moreB:
			order = -1
		default:
			order = bytes.Compare(a.enc[:], b.enc[:])
		}
		enc, before, after := a.enc, a.claims, b.claims
		switch {
		case order < 0:
			after = nil
		case order > 0:
			enc, before = b.enc, nil
		}
		if budget > 0 && a.seen+b.seen > budget {
			return enc[:], nil
		}
		if len(before) > 0 || len(after) > 0 {
			fn(enc, before, after)
		}
		if order <= 0 {
			moreA, err = a.next()
		}
		if err == nil && order >= 0 {
			moreB, err = b.next()
		}
	}
	return nil, err
}

func cutDoor(claims []claim, door int32) (at, rest []claim) {
	n := 0
	for n < len(claims) && claims[n].door == door {
		n++
	}
	return claims[:n], claims[n:]
}

// uses reports whether somebody needs a schedule.
func (c *lockCount) uses(schedule int32) bool {
	for k := range c.sets {
		for b := []byte(k); len(b) > 0; b = b[4:] {
			if int32(binary.BigEndian.Uint32(b)) == schedule {
				return true
			}
		}
	}
	return false
}

// usesAny reports whether somebody needs one of the schedules that are longer.
func (c *lockCount) usesAny(changed map[int32]bool) bool {
	for n, longer := range changed {
		if longer && c.uses(n) {
			return true
		}
	}
	return false
}

// fits asks the lock's model for all that is needed.
func (c *lockCount) fits(l *LockLimit, pol *lockPolicy) error {
	if len(c.sets) == 0 && !c.always {
		return nil
	}
	sets := make([][]site.Schedule, 0, len(c.sets))
	for _, k := range slices.Sorted(maps.Keys(c.sets)) {
		var set []site.Schedule
		for b := []byte(k); len(b) > 0; b = b[4:] {
			if def := pol.defs[int32(binary.BigEndian.Uint32(b))]; def != nil {
				set = append(set, *def)
			}
		}
		sets = append(sets, set)
	}
	if err := l.Profile.Fits(c.always, sets); err != nil {
		return fmt.Errorf("lock %s: %w", l.Door, err)
	}
	return nil
}

// over says why the change does not fit the lock, nil where it does. What takes
// away, or leaves a lock that holds too much no worse, is never refused.
func (c *lockCount) over(l *LockLimit, pol *lockPolicy, changed map[int32]bool) error {
	if c.delta > 0 && c.users > l.Profile.Users {
		return fmt.Errorf("lock %s: %d users, model %s takes %d", l.Door, c.users, l.Profile.Model, l.Profile.Users)
	}
	if c.grew || c.usesAny(changed) {
		return c.fits(l, pol)
	}
	return nil
}
