package link

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"gatehouse/agent/site"
)

// slots are places of which one is held while something is done.
type slots chan struct{}

func newSlots(n int) slots { return make(slots, n) }

// take waits for a place until ctx ends.
func (s slots) take(ctx context.Context) error {
	select {
	case s <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting for other calls: %w", context.Cause(ctx))
	}
}

func (s slots) give() { <-s }

// lock is one lock of the settings.
type lock struct {
	Lock
	ident string          // which hardware: its serial, or its device on a line
	who   site.DeviceName // as events name it
	path  string          // of its files, without what their names end in

	turn   slots // whoever writes its files or records its audits
	disk   slots // the server's
	answer slots // door files that are being answered

	mu      sync.Mutex // guards the following
	st      state
	changes uint64 // of st
	saved   uint64 // the changes that are in the file
	needed  uint64 // the changes that must be there before an answer
	fresh   bool   // there is no file yet
	rescan  bool   // the log may have audits that st does not know of
	sum     summary
	pending bool   // a config of the host waits
	gen     uint64 // counts the changes of the tables and of pending
	check   check
	told    told
	unfit   map[string]unfit // by the kind of call: the last one was so
	// toldUnfit limits the lines of the log about those.
	toldUnfit told
	bad       error     // why its files are not read; nil: they are
	tried     time.Time // when it last called for a door file, whether or not it got one
}

// check is how far the lock is behind, as it was found last.
type check struct {
	done    bool
	at      time.Time
	policy  uint64    // the version of the policy
	until   time.Time // when it has to be found anew though the policy is the same
	behind  bool
	since   time.Time
	changes int    // that it lacks; -1: a full file
	want    uint64 // the file that it is to have; 0: it has no number yet
	losses  []string
	lost    int
	stale   time.Time // when it was noticed that the policy is another; zero: it was not
}

// current reports whether the check is of this policy.
func (c *check) current(policy uint64, now time.Time) bool {
	return c.done && c.policy == policy && (c.until.IsZero() || now.Before(c.until))
}

// waits is how long it has been noticed that the check is of another policy. The
// caller holds the lock's mu.
func (c *check) waits(policy uint64, now time.Time) time.Duration {
	switch {
	case c.done && c.policy == policy:
		c.stale = time.Time{}
		return 0
	case c.stale.IsZero():
		c.stale = now
	}
	return now.Sub(c.stale).Abs()
}

// told limits the events that a stranger can cause.
type told struct {
	at   time.Time
	held uint64
}

// may reports whether a minute has gone, and how many were held back since.
func (t *told) may(now time.Time) (held uint64, ok bool) {
	if !t.at.IsZero() && now.Sub(t.at).Abs() < tellGap {
		t.held++
		return 0, false
	}
	held, *t = t.held, told{at: now}
	return held, true
}

// unfit is a call that could not be read.
type unfit struct {
	why string
	at  time.Time
}

// state returns a copy.
func (l *lock) state() state {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.st
}

// change changes the state in memory. What is needed must be on disk before an
// answer (settle); the rest gets there some time.
func (l *lock) change(needed bool, fn func(st *state)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fn(&l.st)
	l.changes++
	if needed {
		l.needed = l.changes
	}
}

// doubt takes in that what the lock holds is not known.
func (l *lock) doubt() { l.change(true, func(st *state) { st.unsure = true }) }

// everCalled reports whether the lock had a door file, or sent audits.
func (s *state) everCalled() bool {
	h := &s.history
	return !s.callIn.IsZero() || len(h.sent)+len(h.ids)+len(h.alerts) > 0 || !h.lastAt.IsZero()
}

// unsaved reports whether there are changes that are not in the file, and whether
// some of them are needed there.
func (l *lock) unsaved() (some, needed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.changes > l.saved, l.needed > l.saved
}

// replace writes one of the lock's files when the disk has time for it.
func (l *lock) replace(name string, data []byte) error {
	l.disk <- struct{}{}
	defer l.disk.give()
	return replaceFile(l.path+name, data)
}

// save writes the state. The caller has the turn.
func (l *lock) save() error {
	l.mu.Lock()
	data, changes := l.st.encode(), l.changes
	l.mu.Unlock()
	if err := l.replace(fileState, data); err != nil {
		return fmt.Errorf("the state of lock %s: %w", l.ID, err)
	}
	l.mu.Lock()
	l.saved, l.fresh = max(l.saved, changes), false
	l.mu.Unlock()
	return nil
}

// begin makes the file before the first audits: what the log has beyond it is what
// was cut short. The caller has the turn.
func (l *lock) begin(last site.EventSeq) error {
	l.mu.Lock()
	fresh := l.fresh
	if fresh {
		l.st.seq = max(l.st.seq, last)
	}
	l.mu.Unlock()
	if !fresh {
		return nil
	}
	return l.save()
}

// settle writes the state if an answer has to wait for that.
func (l *lock) settle(ctx context.Context) error {
	if _, needed := l.unsaved(); !needed {
		return nil
	}
	if err := l.turn.take(ctx); err != nil {
		return err
	}
	defer l.turn.give()
	if _, needed := l.unsaved(); !needed {
		return nil
	}
	return l.save()
}

// setTables puts tables in place of those that are kept. The caller has the turn.
func (l *lock) setTables(t *tables) error {
	if err := l.replace(fileTable, t.encode()); err != nil {
		return fmt.Errorf("the tables of lock %s: %w", l.ID, err)
	}
	l.mu.Lock()
	l.sum = t.summary()
	l.gen++
	l.mu.Unlock()
	return nil
}

// readTables reads what is kept. There is no error where there is nothing, or where
// it is of other hardware; errState where it is damaged.
func (l *lock) readTables() (tables, error) {
	none := tables{ident: l.ident}
	b, err := os.ReadFile(l.path + fileTable)
	if errors.Is(err, fs.ErrNotExist) {
		return none, nil
	}
	if err != nil {
		return none, fmt.Errorf("the tables of lock %s: %w", l.ID, err)
	}
	t, err := decodeTables(b)
	if err != nil {
		return none, fmt.Errorf("the tables of lock %s: %w", l.ID, err)
	}
	if t.ident != l.ident {
		return none, nil
	}
	return t, nil
}
