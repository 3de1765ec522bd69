package store

import (
	"bytes"
	"errors"
	"slices"

	"go.etcd.io/bbolt"
)

// lockCheck gathers what a change may do to locks, and judges it. It belongs to one
// change.
type lockCheck struct {
	s       *Store
	touched []touchedBlock
	policy  int // the last record that changed a level, a schedule or a file's lists; -1: none

	base    uint64 // the change before
	counts  []lockCount
	exact   []bool // counts are of all that there is, else of what changed
	forget  []bool
	fits    []bool
	pol     *lockPolicy
	counted bool
}

type touchedBlock struct {
	enc    [16]byte
	record int
}

// newLockCheck begins a check of what comes after a change; nil where there are no
// locks.
func (s *Store) newLockCheck(base uint64) *lockCheck {
	if len(s.cfg.Locks) == 0 {
		return nil
	}
	return &lockCheck{s: s, policy: -1, base: base}
}

// note takes a record of a change that is put or removed.
func (lc *lockCheck) note(code byte, key []byte, record int) {
	switch {
	case lc == nil:
	case code == codeCredential:
		lc.touched = append(lc.touched, touchedBlock{[16]byte(key), record})
	case code == codeFileCard && len(key) == 1+int(key[0])+16:
		lc.touched = append(lc.touched, touchedBlock{[16]byte(key[1+key[0]:]), record})
	case code == codeLevel, code == codeSchedule, code == codeFile:
		lc.policy = max(lc.policy, record)
	}
}

// settle sorts the blocks, each once under its last record.
func (lc *lockCheck) settle() {
	slices.SortStableFunc(lc.touched, func(a, b touchedBlock) int { return bytes.Compare(a.enc[:], b.enc[:]) })
	n := 0
	for i := range lc.touched {
		if i+1 < len(lc.touched) && lc.touched[i+1].enc == lc.touched[i].enc {
			lc.touched[i+1].record = max(lc.touched[i+1].record, lc.touched[i].record)
			continue
		}
		lc.touched[n] = lc.touched[i]
		n++
	}
	lc.touched = lc.touched[:n]
}

// record returns the record of the change that touched a block.
func (lc *lockCheck) record(enc [16]byte) int {
	i, ok := slices.BinarySearchFunc(lc.touched, enc, func(t touchedBlock, enc [16]byte) int { return bytes.Compare(t.enc[:], enc[:]) })
	if ok {
		return lc.touched[i].record
	}
	return max(lc.policy, 0)
}

// check judges a change that is complete in tx but for its number. Nothing is
// written; the caller rolls back where a lock is over. The writer is held.
func (lc *lockCheck) check(tx *bbolt.Tx, h *header) ([]lockOver, error) {
	if lc == nil {
		return nil, nil
	}
	if len(lc.touched) == 0 && lc.policy < 0 {
		return nil, nil
	}
	s, n := lc.s, len(lc.s.cfg.Locks)
	before := s.lockPolicyNow()
	after, diff := before, policyDiff{wide: make([]bool, n), loose: make([]bool, n)}
	if lc.policy >= 0 {
		p, err := s.readPolicy(tx, *h)
		if err != nil {
			return nil, err
		}
		after = newLockPolicy(&p, s.lockDoors(), s.locks.names)
		diff = diffPolicies(before, after)
	}
	lc.settle()
	lc.counts, lc.exact, lc.forget, lc.fits = newLockCounts(n), make([]bool, n), diff.loose, make([]bool, n)
	lc.pol, lc.counted = after, true
	now := s.lockNow()
	b, err := s.lockWalk(tx, h.Generation, after, now)
	if err != nil {
		return nil, err
	}
	// What was is read in a transaction of its own, which sees nothing of this one.
	err = s.policy.view(func(old *bbolt.Tx) error {
		oh, err := getHeader(old)
		if err != nil {
			return err
		}
		a, err := s.lockWalk(old, oh.Generation, before, now)
		if err != nil {
			return err
		}
		return lc.compare(a, b, diff)
	})
	if err != nil {
		return nil, err
	}
	return lc.judge(b, diff.changed)
}

// lockPolicyNow returns the policy of the last change, with the numbers that the
// locks' state has.
func (s *Store) lockPolicyNow() *lockPolicy {
	if s.locks.names == nil || len(s.locks.names.list) > maxScheduleNames {
		s.locks = lockState{names: newScheduleNames()}
	}
	p := s.Snapshot()
	if s.locks.pol == nil || s.locks.pol.version != p.Version {
		s.locks.pol = newLockPolicy(&p, s.lockDoors(), s.locks.names)
	}
	return s.locks.pol
}

// maxScheduleNames bounds what is remembered of schedules that are gone.
const maxScheduleNames = 1 << 16

// lockNow is the time by which a record is over; without a trusted clock none is.
func (s *Store) lockNow() int64 {
	now, trusted := s.opt.Clock()
	if !trusted {
		return noTime
	}
	return now.Unix()
}

func (s *Store) lockWalk(tx *bbolt.Tx, gen uint32, pol *lockPolicy, now int64) (*blockWalk, error) {
	rows, err := credentialRows(tx, gen)
	if err != nil {
		return nil, err
	}
	return newBlockWalk(tx, pol, rows, now), nil
}

// compare finds what the change does: of wide locks by all that there is, of others
// by the blocks that it touched.
func (lc *lockCheck) compare(a, b *blockWalk, d policyDiff) (err error) {
	fn := func(enc [16]byte, before, after []claim) {
		compareAt(before, after, func(door int32, before, after []claim) {
			if d.wide[door] {
				lc.counts[door].both(before, after, b.kinds, func() int { return lc.record(enc) })
			}
		})
	}
	switch {
	case d.files:
		_, err = comparePage(a, b, nil, 0, fn)
	case slices.Contains(d.wide, true):
		b.old = a.pol
		err = lc.compareLevels(a, b, fn)
		b.old = nil
	}
	if err != nil {
		return err
	}
	copy(lc.exact, d.wide)
	for _, t := range lc.touched {
		if err := errors.Join(a.load(t.enc), b.load(t.enc)); err != nil {
			return err
		}
		compareAt(a.claims, b.claims, func(door int32, before, after []claim) {
			if !d.wide[door] {
				lc.counts[door].compare(before, after, t.record)
				lc.counts[door].need(after, b.kinds)
			}
		})
	}
	return nil
}

// compareLevels walks over what is there after a change of levels. What is not
// touched beside them says itself what it was before.
func (lc *lockCheck) compareLevels(a, b *blockWalk, fn func(enc [16]byte, before, after []claim)) error {
	if err := b.seek(nil); err != nil {
		return err
	}
	touched := lc.touched
	for {
		more, err := b.next()
		if err != nil {
			return err
		}
		for len(touched) > 0 && (!more || bytes.Compare(touched[0].enc[:], b.enc[:]) <= 0) {
			enc := touched[0].enc
			touched = touched[1:]
			if err := a.load(enc); err != nil {
				return err
			}
			if more && enc == b.enc {
				b.was = append(b.was[:0], a.claims...)
				continue
			}
			fn(enc, a.claims, nil)
		}
		if !more {
			return nil
		}
		if len(b.was) > 0 || len(b.claims) > 0 {
			fn(b.enc, b.was, b.claims)
		}
	}
}

// judge decides by what is known from above where that is enough, and counts the
// other locks anew.
func (lc *lockCheck) judge(b *blockWalk, changed map[int32]bool) ([]lockOver, error) {
	s := lc.s
	recount := make([]bool, len(lc.counts))
	for i := range lc.counts {
		recount[i] = !lc.exact[i] && !lc.enough(i, changed)
	}
	if slices.Contains(recount, true) {
		if err := lc.recount(b, recount); err != nil {
			return nil, err
		}
	}
	var out []lockOver
	for i := range lc.counts {
		if !lc.exact[i] {
			continue
		}
		c := &lc.counts[i]
		err := c.over(&s.cfg.Locks[i], lc.pol, changed)
		if err == nil {
			lc.fits[i] = c.grew || c.usesAny(changed)
			continue
		}
		if c.record == 0 {
			c.record = max(lc.policy, 0)
		}
		out = append(out, lockOver{c.record, err})
	}
	return out, nil
}

// recount counts locks by all that there is after the change.
func (lc *lockCheck) recount(b *blockWalk, which []bool) error {
	for i := range lc.counts {
		if which[i] {
			lc.exact[i], lc.counts[i].users, lc.counts[i].always = true, 0, false
			clear(lc.counts[i].sets)
		}
	}
	if err := b.seek(nil); err != nil {
		return err
	}
	for {
		more, err := b.next()
		if err != nil || !more {
			return err
		}
		eachDoor(b.claims, func(door int32, at []claim) {
			if which[door] {
				lc.counts[door].take(at, b.kinds)
			}
		})
	}
}

// enough reports whether what is known of a lock shows that the change fits.
func (lc *lockCheck) enough(i int, changed map[int32]bool) bool {
	c, st := &lc.counts[i], &lc.s.locks
	longer := slices.Contains(mapValues(changed), true)
	if c.delta <= 0 && !c.grew && !longer {
		return true // it takes away
	}
	if st.change != lc.base || i >= len(st.known) || !st.known[i].ok {
		return false
	}
	k := &st.known[i]
	if c.delta > 0 && k.users+c.delta > lc.s.cfg.Locks[i].Profile.Users {
		return false
	}
	if !c.grew && !(longer && k.usesAny(changed)) {
		return true
	}
	all := lockCount{always: k.always || c.always, sets: make(map[string]struct{}, len(k.sets)+len(c.sets))}
	fresh := all.always != k.always || !k.fits || lc.policy >= 0
	for set := range c.sets {
		_, had := k.sets[set]
		fresh = fresh || !had
	}
	if fresh {
		for _, sets := range []map[string]struct{}{k.sets, c.sets} {
			for set := range sets {
				all.sets[set] = struct{}{}
			}
		}
		if all.fits(&lc.s.cfg.Locks[i], lc.pol) != nil {
			return false
		}
	}
	lc.fits[i] = true
	return true
}

func mapValues(m map[int32]bool) (out []bool) {
	for _, v := range m {
		out = append(out, v)
	}
	return out
}

// done takes over what the change was found to do, once it holds under its number.
func (lc *lockCheck) done(change uint64) {
	if lc == nil {
		return
	}
	st := &lc.s.locks
	carried := st.change == lc.base && len(st.known) == len(lc.s.cfg.Locks)
	if !carried {
		st.known = make([]knownLock, len(lc.s.cfg.Locks))
	}
	st.change = change
	if lc.counted {
		st.pol = lc.pol
	}
	if st.pol != nil && st.pol.version == lc.base {
		st.pol.version = change
	}
	if !lc.counted {
		return
	}
	for i := range lc.counts {
		c, k := &lc.counts[i], &st.known[i]
		switch {
		case lc.exact[i]:
			*k = knownLock{ok: true, fits: lc.fits[i], lockCount: lockCount{users: c.users, always: c.always, sets: c.sets}}
		case lc.forget[i]:
			*k = knownLock{}
		case k.ok:
			k.users += c.delta
			k.always = k.always || c.always
			for set := range c.sets {
				if _, had := k.sets[set]; !had {
					k.sets[set] = struct{}{}
					k.fits = false
				}
			}
			k.fits = k.fits && lc.policy < 0 || lc.fits[i]
		}
	}
}
