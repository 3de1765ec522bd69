package store

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"go.etcd.io/bbolt"

	"gatehouse/agent/site"
	"gatehouse/agent/swordfish"
)

// direct makes the change in one transaction.
func (fl *filer) direct() (bulk bool, err error) {
	s := fl.s
	if err := s.holdWriter(fl.ctx); err != nil {
		return false, err
	}
	defer func() { <-s.writer }()
	var c *change
	err = s.policy.update(func(tx *bbolt.Tx) error {
		h, err := getHeader(tx)
		if err != nil {
			return err
		}
		c = &change{s: s, tx: tx, h: &h, src: srcIPHost, source: site.SourceIPHost, locks: s.newLockCheck(h.Change)}
		if err := fl.write(c); err != nil {
			return err
		}
		if err := fl.checkLocks(c); err != nil {
			return err
		}
		if err := s.clearOutbox(tx); err != nil {
			return err
		}
		if bulk, err = s.putOutbox(tx, &h, fl.event(), c.content, fl.changes); err != nil {
			return err
		}
		fl.res.Change = h.Change
		return putHeader(tx, &h)
	})
	if err != nil {
		return false, err
	}
	c.locks.done(fl.res.Change)
	s.uses.reset(c.resets)
	return bulk, s.reload()
}

// checkLocks refuses a file that its door's lock cannot hold.
func (fl *filer) checkLocks(c *change) error {
	if !slices.ContainsFunc(fl.s.cfg.Locks, func(l LockLimit) bool { return l.Door == fl.door }) {
		return nil
	}
	over, err := c.locks.check(c.tx, c.h)
	if err == nil && len(over) > 0 {
		err = &swordfish.Fault{Err: over[0].err}
	}
	return err
}

// write makes the records inside a change, the table's first.
func (fl *filer) write(c *change) error {
	if err := c.put(codeFile, []byte(fl.door), appendDoorFile(nil, &fl.file)); err != nil {
		return err
	}
	for i := range fl.dels {
		if err := c.del(codeFileCard, fileContentKey(fl.door, fl.dels[i].enc)); err != nil {
			return err
		}
	}
	for i := range fl.puts {
		if err := c.put(codeFileCard, fileContentKey(fl.door, fl.puts[i].enc), appendFileCard(nil, &fl.puts[i])); err != nil {
			return err
		}
	}
	for i := range fl.resets {
		if err := c.resetUses(&fl.resets[i]); err != nil {
			return err
		}
	}
	return nil
}

// staged fills a bucket beside the live one and switches to it. The bucket is
// deleted where that fails; after a cut, at the next start.
func (fl *filer) staged() error {
	gen, err := fl.fill()
	if err == nil {
		err = fl.flip(gen)
	}
	if err != nil && gen != 0 {
		fl.giveUp(gen)
	}
	return err
}

// step runs one transaction with the writer held.
func (fl *filer) step(ctx context.Context, fn func(tx *bbolt.Tx, h *header) error) error {
	if err := fl.s.holdWriter(ctx); err != nil {
		return err
	}
	defer func() { <-fl.s.writer }()
	return fl.s.policy.update(func(tx *bbolt.Tx) error {
		h, err := getHeader(tx)
		if err != nil {
			return err
		}
		return fn(tx, &h)
	})
}

func (fl *filer) fill() (gen uint32, err error) {
	err = fl.step(fl.ctx, func(tx *bbolt.Tx, _ *header) error {
		if gen, err = freeFile(tx); err != nil {
			return err
		}
		_, err = tx.CreateBucket(fileBucket(gen))
		return err
	})
	if err != nil {
		return 0, err
	}
	for part := range slices.Chunk(fl.next, mergeRows) {
		err := fl.step(fl.ctx, func(tx *bbolt.Tx, _ *header) error {
			b := tx.Bucket(fileBucket(gen))
			if b == nil {
				return damaged("cards of a door file are missing")
			}
			b.FillPercent = fillPercent
			for i := range part {
				enc := part[i].enc[:]
				if err := b.Put(enc, appendValue(nil, codeFileCard, enc, appendFileCard(nil, &part[i]))); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return gen, err
		}
	}
	return gen, nil
}

// flip is the last transaction of a staged file.
func (fl *filer) flip(gen uint32) error {
	s := fl.s
	if err := s.holdWriter(fl.ctx); err != nil {
		return err
	}
	defer func() { <-s.writer }()
	var c *change
	old := fl.file.gen
	err := s.policy.update(func(tx *bbolt.Tx) error {
		h, err := getHeader(tx)
		if err != nil {
			return err
		}
		c = &change{s: s, tx: tx, h: &h, src: srcIPHost, source: site.SourceIPHost, locks: s.newLockCheck(h.Change)}
		if tx.Bucket(fileBucket(gen)) == nil {
			return damaged("cards of a door file are missing")
		}
		if fl.found && tx.Bucket(fileBucket(old)) != nil {
			if err := trashAll(tx, [][]byte{fileBucket(old)}); err != nil {
				return err
			}
		}
		next := fl.file
		next.gen = gen
		if err := putEntry(tx, &next); err != nil {
			return err
		}
		c.locks.note(codeFile, []byte(fl.door), 0)
		if err := fl.checkLocks(c); err != nil {
			return err
		}
		for i := range fl.resets {
			if err := c.resetUses(&fl.resets[i]); err != nil {
				return err
			}
		}
		if err := s.clearOutbox(tx); err != nil {
			return err
		}
		h.Change = max(h.Change, s.log.MaxChange()) + 1
		e := fl.event()
		e.Change, e.Count, e.Data = h.Change, uint64(fl.changes), fl.digest()
		fl.res.Change = h.Change
		return errors.Join(putEvent(tx, bucketOutbox, h.Change, e), putHeader(tx, &h))
	})
	if err != nil {
		return err
	}
	c.locks.done(fl.res.Change)
	s.uses.reset(c.resets)
	if err := s.reload(); err != nil {
		return err
	}
	select {
	case s.wantTrash <- struct{}{}:
	default:
	}
	return nil
}

func (fl *filer) digest() string {
	sum := sha256.New()
	for i := range fl.next {
		sum.Write(fl.next[i].enc[:])
	}
	return fmt.Sprintf("%x", sum.Sum(nil)[:8])
}

// giveUp moves the cards of a file that did not get in into the trash.
func (fl *filer) giveUp(gen uint32) {
	err := fl.step(context.Background(), func(tx *bbolt.Tx, _ *header) error {
		if f, found, err := tableEntry(tx, string(fl.door)); err != nil || found && f.gen == gen || tx.Bucket(fileBucket(gen)) == nil {
			return errors.Join(err, errNothing)
		}
		return trashAll(tx, [][]byte{fileBucket(gen)})
	})
	if err != nil && !errors.Is(err, errNothing) {
		fl.s.report("door file: clear up", err) // done at the next start
	}
}
