package store

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// boltFile is one bbolt file behind a pointer, so that a damaged one can be
// replaced while others read. All of bbolt runs in the calling goroutine with
// faults turned into panics and panics into errors: a page number that points
// past the end of the file is a fault of the memory map. That is also why
// bbolt's Batch is not used, which commits in a goroutine of its own.
type boltFile struct {
	path    string
	mapSize int
	hurt    func(error) // told of damage, must not block
	db      atomic.Pointer[bbolt.DB]
	writing sync.Mutex // one write transaction at a time
	group   group
}

// Sizes of the memory map. It is address space, not memory.
const (
	policyMap64 = 4 << 30
	policyMap32 = 512 << 20
	deviceMap   = 64 << 20
	allocSize   = 1 << 20 // growth of a file; bbolt's own 16 MiB is much for a small site
)

func policyMapSize(asked int) int {
	if asked > 0 {
		return asked
	}
	if strconv.IntSize == 32 {
		return policyMap32
	}
	var n int64 = policyMap64
	return int(n)
}

// guard runs fn with faults and panics of this goroutine as errors.
func guard(fn func() error) (err error) {
	old := debug.SetPanicOnFault(true)
	defer func() {
		debug.SetPanicOnFault(old)
		if r := recover(); r != nil {
			err = &damageError{fmt.Errorf("panic while reading: %v", r)}
		}
	}()
	return fn()
}

// damageError marks an error that means a damaged file. It matches ErrFault.
type damageError struct{ err error }

func (e *damageError) Error() string        { return "store is damaged: " + e.err.Error() }
func (e *damageError) Unwrap() error        { return e.err }
func (e *damageError) Is(target error) bool { return target == ErrFault }

func damaged(format string, args ...any) error {
	return &damageError{fmt.Errorf(format, args...)}
}

func isDamage(err error) bool {
	_, ok := errors.AsType[*damageError](err)
	return ok
}

// openBolt opens a bbolt file that must exist.
func openBolt(path string, mapSize int) (db *bbolt.DB, err error) {
	if _, err := os.Stat(path); err != nil {
		return nil, err
	}
	err = guard(func() (err error) {
		db, err = bbolt.Open(path, 0o600, &bbolt.Options{
			Timeout:         time.Second,
			FreelistType:    bbolt.FreelistMapType,
			PreLoadFreelist: true,
			InitialMmapSize: mapSize,
			NoStatistics:    true,
		})
		return err
	})
	switch {
	case err == nil:
		db.AllocSize = allocSize
		return db, nil
	case isDamage(err):
		return nil, err
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, fmt.Errorf("%s: %w", path, ErrInUse)
	case errors.Is(err, bolterrors.ErrInvalid), errors.Is(err, bolterrors.ErrChecksum), errors.Is(err, bolterrors.ErrVersionMismatch):
		return nil, damaged("%s: %w", path, err)
	}
	return nil, err
}

// view runs fn in a read transaction. Keep it short: a long one stalls all
// others when the map must grow.
func (f *boltFile) view(fn func(*bbolt.Tx) error) error {
	for range 3 {
		db := f.db.Load()
		if db == nil {
			return ErrFault
		}
		locked, err := viewLocked(db, fn)
		if err == nil {
			return nil
		}
		if locked {
			f.giveUp(db)
		}
		if errors.Is(err, bolterrors.ErrDatabaseNotOpen) && f.db.Load() != db {
			continue // replaced in between
		}
		return f.judge(err)
	}
	return ErrFault
}

// viewDB runs fn in a read transaction of db with panics as errors.
func viewDB(db *bbolt.DB, fn func(*bbolt.Tx) error) error {
	_, err := viewLocked(db, fn)
	return err
}

// viewLocked is viewDB; locked says that a panic came while bbolt held its own
// locks, which it holds for ever then.
func viewLocked(db *bbolt.DB, fn func(*bbolt.Tx) error) (locked bool, err error) {
	old := debug.SetPanicOnFault(true)
	locked = true
	defer func() {
		debug.SetPanicOnFault(old)
		if r := recover(); r != nil {
			err = &damageError{fmt.Errorf("panic while reading: %v", r)}
			return
		}
		locked = false
	}()
	err = db.View(func(tx *bbolt.Tx) error {
		locked = false
		return fn(tx)
	})
	return locked, err
}

// update runs fn in a write transaction and flushes it. A panic in one may
// leave bbolt locked, so nobody is let in after it, and writers wait for each
// other here, not inside of bbolt.
func (f *boltFile) update(fn func(*bbolt.Tx) error) error {
	f.writing.Lock()
	defer f.writing.Unlock()
	db := f.db.Load()
	if db == nil {
		return ErrFault
	}
	panicked := true
	err := guard(func() error {
		err := db.Update(fn)
		panicked = false
		return err
	})
	if panicked {
		f.giveUp(db)
	}
	return f.judge(err)
}

// giveUp takes a file away from all that come after. It is closed if that is
// still possible; else its map stays until the process ends.
func (f *boltFile) giveUp(db *bbolt.DB) {
	if f.db.CompareAndSwap(db, nil) {
		go func() { _ = guard(db.Close) }()
	}
}

func (f *boltFile) judge(err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, bolterrors.ErrDatabaseNotOpen) {
		return ErrClosed
	}
	if errors.Is(err, errRecord) && !isDamage(err) {
		err = &damageError{err}
	}
	if isDamage(err) && f.hurt != nil {
		f.hurt(err)
	}
	return err
}

// close closes the file. A file whose locks were left held by a panic inside
// of bbolt cannot be closed: it is given up after a while, with its goroutine.
func (f *boltFile) close() error {
	db := f.db.Swap(nil)
	if db == nil {
		return nil
	}
	return closeBolt(db)
}

const closePatience = 5 * time.Second

func closeBolt(db *bbolt.DB) error {
	done := make(chan error, 1)
	go func() { done <- guard(db.Close) }()
	t := time.NewTimer(closePatience)
	defer t.Stop()
	select {
	case err := <-done:
		return err
	case <-t.C:
		return errors.New("close: transactions did not end")
	}
}

// group joins write transactions that come at the same time into one flush.
type group struct {
	mu      sync.Mutex // guards the following
	busy    bool
	waiting []*groupCall
}

type groupCall struct {
	fn   func(*bbolt.Tx) error
	done chan error    // capacity 1: the leader never waits
	lead chan struct{} // closed to make its owner the leader
}

// batch runs fn in a write transaction that it may share with others. fn may
// run more than once and must set its results anew each time.
func (f *boltFile) batch(fn func(*bbolt.Tx) error) error {
	c := &groupCall{fn: fn, done: make(chan error, 1), lead: make(chan struct{})}
	g := &f.group
	g.mu.Lock()
	g.waiting = append(g.waiting, c)
	first := !g.busy
	g.busy = true
	g.mu.Unlock()
	if !first {
		select {
		case err := <-c.done:
			return err
		case <-c.lead:
		}
	}
	g.mu.Lock()
	calls := g.waiting
	g.waiting = nil
	g.mu.Unlock()
	f.commit(calls)
	g.mu.Lock()
	if len(g.waiting) > 0 {
		close(g.waiting[0].lead)
	} else {
		g.busy = false
	}
	g.mu.Unlock()
	return <-c.done
}

// commit runs the calls in one transaction, or each alone when one fails.
func (f *boltFile) commit(calls []*groupCall) {
	if len(calls) > 1 {
		err := f.update(func(tx *bbolt.Tx) error {
			for _, c := range calls {
				if err := c.fn(tx); err != nil {
					return err
				}
			}
			return nil
		})
		if err == nil {
			for _, c := range calls {
				c.done <- nil
			}
			return
		}
	}
	for _, c := range calls {
		c.done <- f.update(c.fn)
	}
}
