package store

import (
	"bytes"
	"slices"

	"go.etcd.io/bbolt"
)

// overlayRows are the live credentials as an import would leave them.
type overlayRows struct {
	live bucketRows
	im   *importer
	at   int // in the index of the stage
	row  stagedRow
	buf  []byte
}

func (r *overlayRows) seek(from []byte) error {
	r.at, _ = slices.BinarySearchFunc(r.im.st.index, from, func(e stageEntry, k []byte) int { return bytes.Compare(e.key[:], k) })
	return r.live.seek(from)
}

// order compares the live record with the row; below 0 the record is first.
func (r *overlayRows) order() int {
	switch {
	case r.at == len(r.im.st.index):
		return -1
	case r.live.k == nil:
		return 1
	}
	return bytes.Compare(r.live.k, r.im.st.index[r.at].key[:])
}

func (r *overlayRows) key() []byte {
	if r.order() > 0 {
		return r.im.st.index[r.at].key[:]
	}
	return r.live.k
}

func (r *overlayRows) next() error {
	order := r.order()
	if order >= 0 {
		r.at++
	}
	if order <= 0 {
		return r.live.next()
	}
	return nil
}

// payload merges; a row at fault, which ends the import anyway, leaves what is there.
func (r *overlayRows) payload() ([]byte, error) {
	order := r.order()
	if order < 0 {
		return r.live.payload()
	}
	e := &r.im.st.index[r.at]
	if err := r.im.st.row(e, &r.im.s.in, &r.row); err != nil {
		return nil, err
	}
	var live *credential
	if order == 0 {
		live = new(credential)
		if err := r.im.s.decodeCredential(r.live.k, r.live.v, live); err != nil {
			return nil, err
		}
	}
	rec, err := r.row.merge(live, r.im.holderOf(&r.row))
	if err != nil && live == nil {
		rec = r.row.rec // without rights, or with: the import is refused
	} else if err != nil {
		rec = *live
	}
	r.buf = appendCredential(r.buf[:0], &rec)
	return r.buf, nil
}

// lockImport counts what locks are to hold before and after an import that is not
// made in one transaction.
type lockImport struct {
	counts []lockCount
	pol    *lockPolicy
	names  *scheduleNames
	steady bool // no change came while it was counted
}

func (im *importer) newLockImport() *lockImport {
	return &lockImport{counts: newLockCounts(len(im.s.cfg.Locks)), names: newScheduleNames(), steady: true}
}

// page counts from a key on and returns the one to go on from, nil at the end. gen is
// the generation that the import has built; 0: none, the rows are laid over what is
// live. Budget 0 counts all.
func (li *lockImport) page(im *importer, tx *bbolt.Tx, gen uint32, from []byte, budget int, now int64) ([]byte, error) {
	h, err := getHeader(tx)
	if err != nil {
		return nil, err
	}
	if li.pol == nil || li.pol.version != h.Change {
		p, err := im.s.readPolicy(tx, h)
		if err != nil {
			return nil, err
		}
		li.steady = li.pol == nil
		li.pol = newLockPolicy(&p, im.s.lockDoors(), li.names)
	}
	live, err := credentialRows(tx, h.Generation)
	if err != nil {
		return nil, err
	}
	var fresh rowSource
	if gen == 0 {
		under, err := credentialRows(tx, h.Generation)
		if err != nil {
			return nil, err
		}
		fresh = &overlayRows{live: *under, im: im}
	} else if fresh, err = credentialRows(tx, gen); err != nil {
		return nil, err
	}
	a, b := newBlockWalk(tx, li.pol, live, now), newBlockWalk(tx, li.pol, fresh, now)
	return comparePage(a, b, from, budget, func(enc [16]byte, before, after []claim) {
		compareAt(before, after, func(door int32, before, after []claim) {
			li.counts[door].both(before, after, b.kinds, func() int { return im.rowOf(enc) })
		})
	})
}

// rowOf returns the last row of a card, 0 for none.
func (im *importer) rowOf(enc [16]byte) (record int) {
	i, _ := slices.BinarySearchFunc(im.st.index, enc, func(e stageEntry, enc [16]byte) int { return bytes.Compare(e.key[:16], enc[:]) })
	for ; i < len(im.st.index) && [16]byte(im.st.index[i].key[:16]) == enc; i++ {
		record = max(record, int(im.st.index[i].record))
	}
	return record
}

// lockPage is how many records one transaction reads.
const lockPage = 8192

// checkLocks counts in short transactions and notes the locks that the import does
// not fit. It stands where no change has come since the import was begun.
func (im *importer) checkLocks(gen uint32) error {
	im.locked = nil
	if len(im.s.cfg.Locks) == 0 {
		return nil
	}
	li, now := im.newLockImport(), im.s.lockNow()
	var from []byte
	for {
		if err := im.ctx.Err(); err != nil {
			return err
		}
		var next []byte
		err := im.s.policy.view(func(tx *bbolt.Tx) (err error) {
			next, err = li.page(im, tx, gen, from, lockPage, now)
			return err
		})
		if err != nil {
			return err
		}
		if from = next; from == nil {
			break
		}
	}
	if gen != 0 && (!li.steady || li.pol.version != im.begun) {
		return nil // the generation lacks what others changed: recheckLocks decides
	}
	im.locked = li
	im.overFull(li.over(im.s))
	return nil
}

// recheckLocks counts anew in the transaction that switches, where checkLocks no
// longer stands.
func (im *importer) recheckLocks(tx *bbolt.Tx, h *header, gen uint32) error {
	if len(im.s.cfg.Locks) == 0 || im.locked != nil && im.begun == h.Change {
		return nil
	}
	li := im.newLockImport()
	if _, err := li.page(im, tx, gen, nil, 0, im.s.lockNow()); err != nil {
		return err
	}
	im.overFull(li.over(im.s))
	return im.verdict()
}

func (li *lockImport) over(s *Store) (out []lockOver) {
	for i := range li.counts {
		c := &li.counts[i]
		if err := c.over(&s.cfg.Locks[i], li.pol, nil); err != nil {
			out = append(out, lockOver{c.record, err})
		}
	}
	return out
}

// overFull notes locks that the import does not fit, under the last row that adds to
// each.
func (im *importer) overFull(over []lockOver) {
	for _, o := range over {
		im.faults.add(&RecordError{Record: o.record, Err: o.err})
	}
}
