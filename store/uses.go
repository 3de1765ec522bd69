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

// useCounts holds the uses that are not known to be durable. Values are
// totals, so the larger of memory and file is right.
type useCounts struct {
	epoch atomic.Uint64 // moves whenever an entry is taken out
	mu    sync.Mutex    // guards the following
	total map[credKey]uint32
}

func (u *useCounts) init() { u.total = make(map[credKey]uint32) }

func (u *useCounts) most(k *credKey, used uint32) uint32 {
	u.mu.Lock()
	defer u.mu.Unlock()
	return max(used, u.total[*k])
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
// in force at once and waits for no flush; Run makes it durable within a
// second (FlushUses at once). A power cut before that may give one more use.
// For a credential without limit nothing is counted. ErrUsedUp means that
// another door was faster: do not open.
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
		key, v, err := findKey(b, id)
		if err != nil {
			return err
		}
		var rec credential
		if err := s.decodeCredential(key[:], v, &rec); err != nil {
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
		used = max(inFile, s.uses.total[key])
		if used >= limit(&rec) {
			return fmt.Errorf("credential %s: %w", id, ErrUsedUp)
		}
		used++
		s.uses.total[key] = used
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
	return s.flushUses()
}

// reset forgets counts that a change has begun anew. The writer is held.
func (u *useCounts) reset(keys []credKey) {
	if len(keys) == 0 {
		return
	}
	u.mu.Lock()
	for _, k := range keys {
		delete(u.total, k)
	}
	u.mu.Unlock()
	u.epoch.Add(1)
}

// flushUses writes the counts. An entry is taken out one flush after the one
// that wrote it, so that readers that began before see it still. The writer is
// held.
func (s *Store) flushUses() error {
	s.uses.mu.Lock()
	batch := make(map[credKey]uint32, len(s.uses.total))
	for k, v := range s.uses.total {
		batch[k] = v
	}
	s.uses.mu.Unlock()
	if len(batch) == 0 {
		return nil
	}
	dirty := false
	err := s.policy.update(func(tx *bbolt.Tx) error {
		dirty = false
		for k, v := range batch {
			old, err := usedIn(tx, &k)
			if err != nil {
				return err
			}
			if v <= old {
				continue
			}
			dirty = true
			if err := putUsed(tx, &k, v); err != nil {
				return err
			}
		}
		if !dirty {
			return errNothing
		}
		return nil
	})
	if err != nil && !errors.Is(err, errNothing) {
		return err
	}
	if dirty {
		return nil
	}
	s.uses.mu.Lock()
	for k, v := range batch {
		if s.uses.total[k] == v {
			delete(s.uses.total, k)
		}
	}
	s.uses.mu.Unlock()
	s.uses.epoch.Add(1)
	return nil
}

var errNothing = errors.New("nothing to write")
