package store

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"go.etcd.io/bbolt"

	"gatehouse/agent/site"
)

// Vend is a request for one credit (protocols/hive.md, operation vend).
type Vend struct {
	Device site.DeviceName
	// Nonce is the one that a version-2 packet brought; nil for version 1.
	Nonce *[16]byte
	// Holder pays; empty where the badge has none: nothing is taken.
	Holder site.HolderID
	// Initial is the credit of a holder that has none recorded.
	Initial uint32
	// Event makes the event of the outcome; nil: none. It may be called more
	// than once and must have no effect. The store sets Count (credits left),
	// HolderID and Data.
	Event func(taken bool, left uint32) site.Event
}

// VendResult is the outcome.
type VendResult struct {
	NonceOK bool     // always for version 1; without it nothing happened
	Next    [16]byte // version 2: the nonce that is wanted from now on
	Taken   bool     // one credit was taken
	Left    uint32
}

// Vend uses up the nonce, takes one credit and keeps the event in one flush,
// then writes the event to the log. ErrNotLogged means that the outcome holds
// and the event comes later.
func (s *Store) Vend(ctx context.Context, v Vend) (VendResult, error) {
	key, err := deviceKeyOf(v.Device)
	if err != nil {
		return VendResult{}, storeErr("vend", err)
	}
	var holder uint64
	if v.Holder != "" {
		if holder, err = holderNumber(v.Holder); err != nil {
			return VendResult{}, storeErr("vend", err)
		}
	}
	if v.Nonce != nil {
		if _, err := s.device(v.Device); err != nil {
			return VendResult{}, err
		}
	}
	var res VendResult
	var p *pending
	err = s.devices.batch(func(tx *bbolt.Tx) (err error) {
		res, p = VendResult{NonceOK: true}, nil
		if v.Nonce != nil {
			if res.Next, res.NonceOK, err = useNonce(tx, key, *v.Nonce); err != nil || !res.NonceOK {
				return err
			}
		}
		if holder != 0 {
			if res.Taken, res.Left, err = takeCredit(tx, holder, v.Initial); err != nil {
				return err
			}
		}
		if v.Event == nil {
			return nil
		}
		p, err = s.keepVend(tx, v, res)
		return err
	})
	if err != nil || p == nil {
		return res, storeErr("vend", err)
	}
	if _, err := s.log.Append(ctx, p.e); err != nil {
		return res, storeErr("vend", fmt.Errorf("%w: %w", ErrNotLogged, err))
	}
	s.vendDone(p.n)
	return res, nil
}

func creditKey(holder uint64) []byte { return binary.BigEndian.AppendUint64(nil, holder) }

func getCredit(tx *bbolt.Tx, holder uint64, initial uint32) (uint32, error) {
	b := tx.Bucket(bucketCredit)
	if b == nil {
		return 0, damaged("credits are missing")
	}
	key := creditKey(holder)
	v := b.Get(key)
	if v == nil {
		return initial, nil
	}
	p, err := openValue(codeCredit, key, v)
	if err != nil || len(p) != 4 {
		return 0, damaged("credit: %w", errRecord)
	}
	return binary.LittleEndian.Uint32(p), nil
}

func putCredit(tx *bbolt.Tx, holder uint64, n uint32) error {
	key := creditKey(holder)
	return tx.Bucket(bucketCredit).Put(key, appendValue(nil, codeCredit, key, binary.LittleEndian.AppendUint32(nil, n)))
}

func takeCredit(tx *bbolt.Tx, holder uint64, initial uint32) (bool, uint32, error) {
	n, err := getCredit(tx, holder, initial)
	if err != nil || n == 0 {
		return false, 0, err
	}
	return true, n - 1, putCredit(tx, holder, n-1)
}

// Credits returns a holder's credit, initial where none is recorded.
func (s *Store) Credits(holder site.HolderID, initial uint32) (n uint32, err error) {
	h, err := holderNumber(holder)
	if err != nil {
		return 0, storeErr("credits", err)
	}
	err = s.devices.view(func(tx *bbolt.Tx) (err error) {
		n, err = getCredit(tx, h, initial)
		return err
	})
	return n, storeErr("credits", err)
}

// keepVend puts the event into the outbox, after it cleared what is in the log.
func (s *Store) keepVend(tx *bbolt.Tx, v Vend, res VendResult) (*pending, error) {
	h, err := getHeader(tx)
	if err != nil {
		return nil, err
	}
	for _, n := range s.vendsDone() {
		if err := tx.Bucket(bucketVendOut).Delete(binary.BigEndian.AppendUint64(nil, n)); err != nil {
			return nil, err
		}
	}
	h.Change++
	var mark [6]byte
	if _, err := rand.Read(mark[:]); err != nil {
		return nil, err
	}
	e := v.Event(res.Taken, res.Left)
	e.Kind, e.Device, e.HolderID = site.KindVend, v.Device, v.Holder
	e.Count, e.Data = uint64(res.Left), "vend "+hex.EncodeToString(mark[:])
	p := &pending{n: h.Change, e: e}
	// While it waits, Seq says where in the log to look for it.
	e.Seq = s.log.Last()
	if err := putEvent(tx, bucketVendOut, h.Change, e); err != nil {
		return nil, err
	}
	p.e.Seq = 0
	return p, putHeader(tx, &h)
}

func (s *Store) vendDone(n uint64) {
	s.cnt.mu.Lock()
	s.cnt.vends = append(s.cnt.vends, n)
	s.cnt.mu.Unlock()
}

// vendsDone returns the numbers whose events are in the log, the last 64 of
// them: removing one twice is harmless, and one that is left is found in the
// log at the next start.
func (s *Store) vendsDone() []uint64 {
	s.cnt.mu.Lock()
	defer s.cnt.mu.Unlock()
	if n := len(s.cnt.vends); n > 64 {
		s.cnt.vends = append([]uint64(nil), s.cnt.vends[n-64:]...)
	}
	return append([]uint64(nil), s.cnt.vends...)
}

// replayVends appends at start what a cut kept out of the log.
func (s *Store) replayVends(ctx context.Context) error {
	var list []pending
	err := s.devices.view(func(tx *bbolt.Tx) (err error) {
		list, err = readEvents(tx, bucketVendOut, 0)
		return err
	})
	// Those of this run are written by Vend itself.
	list = slices.DeleteFunc(list, func(p pending) bool { return p.n > s.vendsBefore })
	if err != nil || len(list) == 0 {
		return err
	}
	from := list[0].e.Seq
	missing := make(map[string]bool)
	for _, p := range list {
		missing[p.e.Data] = true
		from = min(from, p.e.Seq)
	}
	err = s.log.Scan(ctx, from+1, func(e site.Event) error {
		if e.Kind == site.KindVend {
			delete(missing, e.Data)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("vends: %w", err)
	}
	for _, p := range list {
		if missing[p.e.Data] {
			p.e.Seq = 0
			if _, err := s.log.Append(ctx, p.e); err != nil {
				return fmt.Errorf("vends: %w: %w", ErrNotLogged, err)
			}
		}
	}
	return s.devices.update(func(tx *bbolt.Tx) error {
		for _, p := range list {
			if err := tx.Bucket(bucketVendOut).Delete(binary.BigEndian.AppendUint64(nil, p.n)); err != nil {
				return err
			}
		}
		return nil
	})
}

// rebuildCredits takes the credits of a lost file from the log.
func (s *Store) rebuildCredits(ctx context.Context) error {
	left := make(map[uint64]uint32)
	err := s.log.Scan(ctx, 1, func(e site.Event) error {
		if e.Kind != site.KindVend || e.HolderID == "" {
			return nil
		}
		n, err := holderNumber(e.HolderID)
		if err != nil {
			return nil // an event of another numbering says nothing here
		}
		left[n] = uint32(min(e.Count, 1<<32-1))
		return nil
	})
	if err != nil || len(left) == 0 {
		return err
	}
	return s.devices.update(func(tx *bbolt.Tx) error {
		var errs error
		for n, v := range left {
			errs = errors.Join(errs, putCredit(tx, n, v))
		}
		return errs
	})
}
