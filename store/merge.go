package store

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"go.etcd.io/bbolt"
)

// A large import is built beside what is live: its holders first, under
// numbers that nobody sees yet, then a new generation of all credentials, in
// transactions of mergeRows records. Whatever else changes meanwhile goes to
// the live generation and is noted; the last, small transaction does the same
// to the new one, makes it live, shows the holders, and moves the old
// generation to the trash. Until that one is flushed nothing has happened.

// importAlloc is by how much the file grows while an import is built: each
// growth is a flush of its own.
const importAlloc = 32 << 20

// large runs it and clears up where it fails.
func (im *importer) large() error {
	s := im.s
	// What an earlier one left is in the way of numbers and names.
	s.abandon()
	if err := s.dropHidden(im.ctx); err != nil {
		return err
	}
	if err := s.emptyTrash(im.ctx); err != nil {
		return err
	}
	err := im.build()
	if err != nil {
		s.abandon()
	}
	return err
}

// abandon gives a stage up: Run deletes what is there of it.
func (s *Store) abandon() {
	if s.holdWriter(context.Background()) != nil {
		return // done at the next start
	}
	defer func() { <-s.writer }()
	s.stage = nil
	err := s.policy.update(func(tx *bbolt.Tx) error {
		h, err := getHeader(tx)
		if err != nil {
			return err
		}
		tx.DB().AllocSize = allocSize
		return trashOthers(tx, h.Generation)
	})
	if err != nil && !errors.Is(err, errNothing) {
		s.report("import: clear up", err) // done at the next start
	}
}

func (im *importer) build() error {
	gen, err := im.begin()
	if err != nil {
		return err
	}
	if err := im.makeHolders(); err != nil {
		return err
	}
	if err := im.fill(gen); err != nil {
		return err
	}
	im.checkAlone()
	if err := im.checkLocks(gen); err != nil {
		return err
	}
	if err := im.verdict(); err != nil {
		return err
	}
	if err := im.writeAlone(gen); err != nil {
		return err
	}
	if im.res.Added+im.res.Changed+im.res.Holders == 0 {
		im.s.abandon()
		return nil
	}
	return im.flip(gen)
}

// step runs one transaction of the import with the writer held.
func (im *importer) step(fn func(tx *bbolt.Tx, h *header) error) error {
	if err := im.s.holdWriter(im.ctx); err != nil {
		return err
	}
	defer func() { <-im.s.writer }()
	return im.s.policy.update(func(tx *bbolt.Tx) error {
		h, err := getHeader(tx)
		if err != nil {
			return err
		}
		return fn(tx, &h)
	})
}

// begin reserves the numbers of the new holders and makes the bucket.
func (im *importer) begin() (gen uint32, err error) {
	err = im.s.policy.view(func(tx *bbolt.Tx) error {
		h, err := getHeader(tx)
		im.resolve(tx, &h)
		return err
	})
	if err != nil {
		return 0, err
	}
	err = im.step(func(tx *bbolt.Tx, h *header) error {
		tx.DB().AllocSize = importAlloc // read by the writer only, who we are
		gen, im.begun = h.Generation+1, h.Change
		if err := createGeneration(tx, gen); err != nil {
			return err
		}
		h.NextHolder = max(h.NextHolder, 1)
		h.HiddenFrom = h.NextHolder
		h.NextHolder += uint64(im.res.Holders)
		h.HiddenTo = h.NextHolder
		im.s.stage = im.st
		next := h.HiddenFrom
		for i := range im.st.holders {
			if n := im.st.holders[i]; n == 0 || n >= h.HiddenFrom {
				im.st.holders[i] = next
				next++
			}
		}
		return putHeader(tx, h)
	})
	return gen, err
}

// makeHolders writes the new holders, then the index of their names, each in
// the order of its keys.
func (im *importer) makeHolders() error {
	if im.res.Holders == 0 {
		return nil
	}
	type named struct {
		n    uint64
		name string
	}
	list := make([]named, 0, im.res.Holders)
	var from uint64
	err := im.s.policy.view(func(tx *bbolt.Tx) error {
		h, err := getHeader(tx)
		from = h.HiddenFrom
		return err
	})
	if err != nil {
		return err
	}
	for i, n := range im.st.holders {
		if n >= from {
			list = append(list, named{n, im.st.names[i]})
		}
	}
	write := func(list []named, bucket []byte, record func(named) (k, payload []byte)) error {
		for part := range slices.Chunk(list, mergeRows) {
			err := im.step(func(tx *bbolt.Tx, _ *header) error {
				b := tx.Bucket(bucket)
				b.FillPercent = fillPercent
				for _, v := range part {
					k, p := record(v)
					if err := b.Put(k, appendValue(nil, bucket[0], k, p)); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				return err
			}
		}
		return nil
	}
	// The order of nameKey: the zero byte behind a name is below all others.
	byName := slices.Clone(list)
	var sorted sync.WaitGroup
	sorted.Go(func() {
		slices.SortFunc(byName, func(a, b named) int {
			return cmp.Or(strings.Compare(a.name, b.name), cmp.Compare(a.n, b.n))
		})
	})
	err = write(list, bucketHolder, func(v named) ([]byte, []byte) {
		return holderKey(v.n), appendHolder(nil, im.src, v.name)
	})
	sorted.Wait()
	if err != nil {
		return err
	}
	return write(byName, bucketName, func(v named) ([]byte, []byte) { return nameKey(im.src, v.name, v.n), nil })
}

// fillPercent packs pages that are written in order.
const fillPercent = 0.95

// fill merges the live generation and the rows into the new one.
func (im *importer) fill(gen uint32) error {
	total := len(im.st.index)
	var after []byte
	at := 0
	for more := true; more; {
		var next int
		var last credKey
		before := im.res
		faults, count, resets := im.faults, im.count, len(im.resets)
		alone, notAlone := len(im.alone), im.notAlone
		err := im.step(func(tx *bbolt.Tx, h *header) (err error) {
			im.res, im.faults, im.count, im.resets = before, faults, count, im.resets[:resets]
			im.alone, im.notAlone = im.alone[:alone], notAlone
			im.arena = im.arena[:0]
			next, last, more, err = im.fillSome(tx, h, gen, after, at)
			return err
		})
		if err != nil {
			return err
		}
		at, after = next, last[:]
		im.opt.Progress(at, total)
	}
	return nil
}

// fillSome writes the next records after a key. It reads the live generation in
// the same transaction, so what is changed later is above or noted.
func (im *importer) fillSome(tx *bbolt.Tx, h *header, gen uint32, after []byte, at int) (next int, last credKey, more bool, err error) {
	live, fresh := tx.Bucket(generation(h.Generation)), tx.Bucket(generation(gen))
	if live == nil || fresh == nil {
		return 0, last, false, damaged("credentials bucket is missing")
	}
	fresh.FillPercent = fillPercent
	c := live.Cursor()
	var k, v []byte
	if after == nil {
		k, v = c.First()
	} else if k, v = c.Seek(after); bytes.Equal(k, after) {
		k, v = c.Next()
	}
	var row stagedRow
	var rec credential
	for range mergeRows {
		if k == nil && at == len(im.st.index) {
			return at, last, false, nil
		}
		order := 1 // the row comes first
		if at == len(im.st.index) {
			order = -1
		} else if k != nil {
			order = bytes.Compare(k, im.st.index[at].key[:])
		}
		if order < 0 { // live only: as it is
			if err := im.putRaw(fresh, k, v); err != nil {
				return at, last, false, err
			}
			if err := im.noteAloneRaw(k, v); err != nil {
				return at, last, false, err
			}
			last = credKey(k)
			k, v = c.Next()
			continue
		}
		e := &im.st.index[at]
		at++
		last = e.key
		if err := im.st.row(e, &im.s.in, &row); err != nil {
			return at, last, false, err
		}
		var old *credential
		if order == 0 {
			if err := im.s.decodeCredential(k, v, &rec); err != nil {
				return at, last, false, err
			}
			old = &rec
			k, v = c.Next()
		}
		out, err := im.one(tx, e, &row, old, im.holderOf(&row))
		if err != nil {
			if err = im.fault(e, err); err != nil {
				return at, last, false, err
			}
			continue
		}
		if err := im.putRecord(fresh, &e.key, &out); err != nil {
			return at, last, false, err
		}
		im.noteAlone(&e.key, &out)
	}
	return at, last, true, nil
}

// keep copies b into the arena: bbolt keeps a value until the transaction ends.
func (im *importer) keep(b []byte) []byte {
	if cap(im.arena)-len(im.arena) < len(b) {
		im.arena = make([]byte, 0, max(1<<20, len(b)))
	}
	n := len(im.arena)
	im.arena = append(im.arena, b...)
	return im.arena[n:len(im.arena):len(im.arena)]
}

func (im *importer) putRaw(b *bbolt.Bucket, k, v []byte) error {
	if _, err := openValue(codeCredential, k, v); err != nil {
		return damaged("credential: %w", err)
	}
	im.tally(v)
	return b.Put(k, im.keep(v))
}

func (im *importer) putRecord(b *bbolt.Bucket, key *credKey, rec *credential) error {
	var buf [512]byte
	payload := appendCredential(buf[:0], rec)
	var vbuf [520]byte
	value := im.keep(appendValue(vbuf[:0], codeCredential, key[:], payload))
	im.tally(value)
	return b.Put(key[:], value)
}

// tally counts a record of the new generation.
func (im *importer) tally(value []byte) {
	im.count++
	if notAlone(value) {
		im.notAlone++
	}
}

// flipDirty is how many noted credentials the last transaction takes at most.
const flipDirty = 1000

// flip makes the new generation live.
func (im *importer) flip(gen uint32) error {
	s := im.s
	for done := false; !done; {
		if err := im.s.holdWriter(im.ctx); err != nil {
			return err
		}
		var err error
		done, err = im.flipHeld(gen)
		<-s.writer
		if err != nil {
			return err
		}
	}
	return nil
}

// flipHeld does to the new generation what others did to the live one, up to
// flipDirty records; if that was all, it switches. The writer is held.
func (im *importer) flipHeld(gen uint32) (done bool, err error) {
	s := im.s
	keys := make([]credKey, 0, flipDirty)
	for k := range im.st.dirty {
		if keys = append(keys, k); len(keys) == flipDirty {
			break
		}
	}
	done = len(keys) == len(im.st.dirty)
	before, faults, count, notAlone := im.res, im.faults, im.count, im.notAlone
	err = s.policy.update(func(tx *bbolt.Tx) error {
		im.res, im.faults, im.count, im.notAlone = before, faults, count, notAlone
		im.settled = make(map[credKey]bool, len(keys))
		h, err := getHeader(tx)
		if err != nil {
			return err
		}
		for _, k := range keys {
			if err := im.reconcile(tx, &h, gen, k); err != nil {
				return err
			}
			im.settled[k] = true
		}
		if err := im.verdict(); err != nil || !done {
			return err
		}
		if err := im.recheckLocks(tx, &h, gen); err != nil {
			return err
		}
		return im.switchTo(tx, &h, gen)
	})
	if err != nil {
		return false, err
	}
	for _, k := range keys {
		delete(im.st.dirty, k)
	}
	if !done {
		return false, nil
	}
	s.stage = nil
	s.uses.reset(im.resets)
	err = s.reload()
	s.names.forget()
	return true, err
}

// reconcile brings one record of the new generation up to date.
func (im *importer) reconcile(tx *bbolt.Tx, h *header, gen uint32, k credKey) error {
	live, fresh := tx.Bucket(generation(h.Generation)), tx.Bucket(generation(gen))
	if live == nil || fresh == nil {
		return damaged("credentials bucket is missing")
	}
	if err := im.replaceFresh(tx, fresh, gen, &k, nil); err != nil {
		return err
	}
	old, err := im.liveRecord(live, &k)
	if err != nil {
		return err
	}
	e := im.st.find(k)
	if e == nil {
		if old == nil {
			return nil
		}
		return im.putFresh(tx, gen, &k, old)
	}
	var row stagedRow
	if err := im.st.row(e, &im.s.in, &row); err != nil {
		return err
	}
	counts := im.res
	rec, err := im.one(tx, e, &row, old, im.holderOf(&row))
	im.res = counts // it was counted when it was merged
	if err != nil {
		return im.fault(e, err)
	}
	return im.putFresh(tx, gen, &k, &rec)
}

// switchTo is the last transaction of a large import.
func (im *importer) switchTo(tx *bbolt.Tx, h *header, gen uint32) error {
	s := im.s
	if err := s.clearOutbox(tx); err != nil {
		return err
	}
	if err := s.flushUsesIn(tx); err != nil {
		return err
	}
	for _, k := range im.resets {
		if err := errors.Join(forgetWaiting(tx, &k), tx.Bucket(bucketUsed).Delete(k[:])); err != nil {
			return err
		}
	}
	h.Change = max(h.Change, s.log.MaxChange()) + 1
	e := im.event()
	sum := sha256.New()
	for i := range im.st.index {
		sum.Write(im.st.index[i].key[:])
	}
	e.Change, e.Count, e.Data = h.Change, uint64(im.res.Rows), fmt.Sprintf("%x", sum.Sum(nil)[:8])
	if err := putEvent(tx, bucketOutbox, h.Change, e); err != nil {
		return err
	}
	for _, name := range [][]byte{generation(h.Generation), aloneIndex(h.Generation)} {
		if err := tx.MoveBucket(name, nil, tx.Bucket(bucketTrash)); err != nil {
			return err
		}
	}
	tx.DB().AllocSize = allocSize
	im.res.Change = h.Change
	h.Generation, h.Count, h.NotAlone = gen, im.count, im.notAlone
	h.HiddenFrom, h.HiddenTo = 0, 0
	return putHeader(tx, h)
}
