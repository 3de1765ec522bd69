package store

import (
	"context"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"go.etcd.io/bbolt"

	"gatehouse/agent/site"
)

func equal(a, b [16]byte) bool { return subtle.ConstantTimeCompare(a[:], b[:]) == 1 }

// counted reports whether uses of a credential are counted.
func counted(rec *credential) bool {
	return rec.Uses != 0 || rec.Function == site.FunctionOneTime
}

// limit is the number of allowed uses of a counted credential.
func limit(rec *credential) uint32 {
	if rec.Function == site.FunctionOneTime && rec.Uses == 0 {
		return 1
	}
	return rec.Uses
}

// useCount is what memory knows of the uses of one credential.
type useCount struct {
	total   uint32 // uses so far; 0: as in the file
	durable uint32 // the total that is known to be in the file
	waiting uint32 // uses whose event was not met in the log yet
}

// useCounts holds the uses that are not known to be durable, or whose events
// are on their way to the log. Totals are absolute, so the larger of memory and
// file is right.
type useCounts struct {
	epoch   atomic.Uint64 // moves whenever an entry is taken out
	mu      sync.Mutex    // guards the following
	m       map[credKey]useCount
	waiting uint64        // the sum of useCount.waiting
	seen    site.EventSeq // every event up to this was looked at
	marked  site.EventSeq // the position of the mark in the file
	remark  bool          // the next flush writes a mark in any case
}

func (u *useCounts) init() { u.m = make(map[credKey]useCount) }

// most returns the larger of the count in the file and that in memory.
func (u *useCounts) most(k *credKey, used uint32) uint32 {
	u.mu.Lock()
	defer u.mu.Unlock()
	return max(used, u.m[*k].total)
}

func usedIn(tx *bbolt.Tx, k *credKey) (uint32, error) {
	b := tx.Bucket(bucketUsed)
	if b == nil {
		return 0, damaged("bucket of uses is missing")
	}
	v := b.Get(k[:])
	if v == nil {
		return 0, nil
	}
	p, err := openValue(codeUsed, k[:], v)
	if err != nil || len(p) != 4 {
		return 0, damaged("count of uses: %w", errRecord)
	}
	return binary.LittleEndian.Uint32(p), nil
}

func putUsed(tx *bbolt.Tx, k *credKey, n uint32) error {
	p := binary.LittleEndian.AppendUint32(nil, n)
	return tx.Bucket(bucketUsed).Put(k[:], appendValue(nil, codeUsed, k[:], p))
}

// CountUse counts one use of a credential and returns the uses so far. It is
// in force at once and waits for no flush. Call it before the event of the
// access (kind access, a reason that grants) is given to the log: the use is
// durable as soon as that event is, for Open counts what the file lacks from
// the log. Run writes the file within a second (FlushUses at once). A power cut
// before either may give one more use. For a credential without limit nothing
// is counted. ErrUsedUp means that another door was faster: do not open.
func (s *Store) CountUse(id site.CredentialID) (used uint32, err error) {
	for {
		used, err = s.countUse(id, s.uses.epoch.Load())
		if !errors.Is(err, errEpoch) {
			return used, err
		}
	}
}

// errEpoch says that an entry may have gone from memory to the file after the
// read transaction began: look again.
var errEpoch = errors.New("counts moved")

func (s *Store) countUse(id site.CredentialID, epoch uint64) (used uint32, err error) {
	err = s.viewCredentials(func(tx *bbolt.Tx, b *bbolt.Bucket) error {
		key, rec, err := s.countedRecord(tx, b, id)
		if err != nil {
			return err
		}
		if !counted(&rec) {
			return nil
		}
		s.uses.mu.Lock()
		defer s.uses.mu.Unlock()
		if s.uses.epoch.Load() != epoch {
			return errEpoch
		}
		inFile, err := usedIn(tx, &key)
		if err != nil {
			return err
		}
		n := s.uses.m[key]
		used = max(inFile, n.total)
		if used >= limit(&rec) {
			return fmt.Errorf("credential %s: %w", id, ErrUsedUp)
		}
		used++
		n.total = used
		n.waiting++
		s.uses.m[key] = n
		s.uses.waiting++
		return nil
	})
	return used, err
}

// FlushUses makes all counted uses durable.
func (s *Store) FlushUses(ctx context.Context) error {
	if err := s.holdWriter(ctx); err != nil {
		return err
	}
	defer func() { <-s.writer }()
	return s.flushUses(ctx)
}

// reset forgets counts that a change has begun anew. The writer is held.
func (u *useCounts) reset(keys []credKey) {
	if len(keys) == 0 {
		return
	}
	u.mu.Lock()
	for _, k := range keys {
		u.waiting -= uint64(u.m[k].waiting)
		delete(u.m, k)
	}
	u.remark = true
	u.mu.Unlock()
	u.epoch.Add(1)
}

// replaced says that the file is another one: it may lack any count.
func (u *useCounts) replaced() {
	u.mu.Lock()
	for k, n := range u.m {
		n.durable = 0
		u.m[k] = n
	}
	u.mu.Unlock()
	u.epoch.Add(1)
}

// useBatch is what a flush writes: consistent, for it was read under one lock.
type useBatch struct {
	totals map[credKey]uint32
	mark   useMark
	needed bool
}

// batch collects what the file lacks.
func (u *useCounts) batch() useBatch {
	b := useBatch{totals: make(map[credKey]uint32)}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.waiting > maxWaiting {
		u.forgive()
	}
	b.mark.waiting = make(map[credKey]uint32)
	for k, n := range u.m {
		if n.total > n.durable {
			b.totals[k] = n.total
		}
		if n.waiting > 0 {
			b.mark.waiting[k] = n.waiting
		}
	}
	b.mark.seq = u.seen
	b.needed = len(b.totals) > 0 || u.remark || u.seen >= u.marked+markEvery
	return b
}

// forgive gives up the uses whose events have not come. The mutex is held.
func (u *useCounts) forgive() {
	for k, n := range u.m {
		n.waiting = 0
		u.m[k] = n
	}
	u.waiting = 0
}

// flushed notes that a batch is in the file.
func (u *useCounts) flushed(b useBatch) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for k, v := range b.totals {
		n := u.m[k]
		n.durable = v
		u.m[k] = n
	}
	u.marked, u.remark = b.mark.seq, false
}

// settled takes out what file and log have both.
func (u *useCounts) settled() {
	u.mu.Lock()
	before := len(u.m)
	for k, n := range u.m {
		if n.waiting == 0 && n.total <= n.durable {
			delete(u.m, k)
		}
	}
	gone := before != len(u.m)
	u.mu.Unlock()
	if gone {
		u.epoch.Add(1)
	}
}

// flushUses writes the counts and their mark. An entry is taken out a flush
// after the one that wrote it at the earliest, so that readers that began
// before see it still. The writer is held.
func (s *Store) flushUses(ctx context.Context) error {
	s.report("look for uses in the log", s.observeUses(ctx))
	b := s.uses.batch()
	if !b.needed {
		s.uses.settled()
		return nil
	}
	if err := s.policy.update(b.put); err != nil {
		return err
	}
	s.uses.flushed(b)
	return nil
}

// put writes a batch.
func (b useBatch) put(tx *bbolt.Tx) error {
	for k, v := range b.totals {
		old, err := usedIn(tx, &k)
		if err != nil {
			return err
		}
		if v <= old {
			continue
		}
		if err := putUsed(tx, &k, v); err != nil {
			return err
		}
	}
	return putMark(tx, b.mark)
}

// flushUsesIn writes the counts inside of another change, before it begins
// some of them anew: with them goes the mark, so that no use of before the
// change is counted again after it. The writer is held.
func (s *Store) flushUsesIn(tx *bbolt.Tx) error {
	s.report("look for uses in the log", s.observeUses(context.Background()))
	return s.uses.batch().put(tx)
}

var errNothing = errors.New("nothing to write")
