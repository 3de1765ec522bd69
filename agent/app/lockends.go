package app

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"gatehouse/agent/config"
	"gatehouse/agent/door"
	"gatehouse/agent/site"
	"gatehouse/agent/task"
	"gatehouse/store"
)

// byEnd is who secures a lock whose mode was ordered with an end.
const byEnd = "end"

// endAgain is when a lock that was not reached at the end of its mode is tried again.
const endAgain = 5 * time.Second

// lookAgain is how late an end may be noticed when the clock is set forward.
const lookAgain = 10 * time.Second

// lockEnds are the ends of modes that were ordered at locks on lines: a lock knows no
// end, so the agent secures it then. They survive a restart.
type lockEnds struct {
	store *store.Store // nil: nothing is kept
	clock func() site.Clock

	mu   sync.Mutex // guards the following
	ends map[site.DoorID]site.DoorOverride
	wake chan struct{} // capacity 1
}

// newLockEnds takes up what was kept of the locks.
func newLockEnds(s *store.Store, clock func() site.Clock, kept map[site.DoorID]site.DoorKept, isLock func(site.DoorID) bool) *lockEnds {
	e := &lockEnds{store: s, clock: clock, ends: map[site.DoorID]site.DoorOverride{}, wake: make(chan struct{}, 1)}
	for id, k := range kept {
		if o := inForce(k); o != nil && isLock(id) && !o.Until.IsZero() {
			e.ends[id] = *o
		}
	}
	return e
}

// inForce is what holds of what was kept: a lock has one mode, that of the last
// order. The store has it as Override; what the event log tells is taken apart as a
// door has it.
func inForce(k site.DoorKept) *site.DoorOverride {
	switch {
	case k.Lockdown != nil:
		return k.Lockdown
	case k.Freeze != nil:
		return k.Freeze
	}
	return k.Override
}

// until returns the end of a lock's mode; zero: none.
func (e *lockEnds) until(id site.DoorID) time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.ends[id].Until
}

// mode returns the mode of a lock that has an end, over or not; else secured.
func (e *lockEnds) mode(id site.DoorID) site.Mode {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.ends[id].Mode
}

// set notes the end of a lock's mode, or that it has none. It returns when that is
// kept; the mode holds in any case.
func (e *lockEnds) set(ctx context.Context, id site.DoorID, o site.DoorOverride) error {
	e.mu.Lock()
	_, had := e.ends[id]
	if o.Until.IsZero() {
		delete(e.ends, id)
	} else {
		e.ends[id] = o
	}
	e.mu.Unlock()
	e.poke()
	var kept site.DoorKept
	if !o.Until.IsZero() {
		kept.Override = &o
	} else if !had {
		return nil
	}
	if e.store == nil {
		return fmt.Errorf("%w: %w", door.ErrNotKept, errNoStore)
	}
	if err := e.store.KeepDoor(ctx, id, kept); err != nil {
		return fmt.Errorf("%w: %w", door.ErrNotKept, err)
	}
	return nil
}

// poke has runEnds look at once.
func (e *lockEnds) poke() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// due returns the locks whose modes have ended, and when the next one does; zero:
// none.
func (e *lockEnds) due(now time.Time) (ids []site.DoorID, next time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for id, o := range e.ends {
		switch {
		case !o.Until.After(now):
			ids = append(ids, id)
		case next.IsZero() || o.Until.Before(next):
			next = o.Until
		}
	}
	return ids, next
}

// runEnds gives locks that are back what waits for them, and secures locks at the
// ends of their modes, until ctx ends. One that is not reached is tried again.
func (l *lockLines) runEnds(ctx context.Context) error {
	failing := map[site.DoorID]bool{}
	for {
		wait := time.Hour
		if l.runKept(ctx) {
			wait = endAgain
		}
		now := l.ends.clock().Now
		ids, next := l.ends.due(now)
		if !next.IsZero() {
			wait = min(wait, lookAgain, next.Sub(now))
		}
		for _, id := range ids {
			err := l.end(ctx, l.find(id))
			if err != nil {
				wait = min(wait, endAgain)
			}
			if err != nil && !failing[id] && ctx.Err() == nil {
				l.log.Warn("a lock was not secured at the end of its mode; it is tried again", "lock", id, "err", err)
			}
			failing[id] = err != nil
		}
		t := time.NewTimer(max(wait, time.Millisecond))
		select {
		case <-ctx.Done():
			t.Stop()
			return nil
		case <-l.ends.wake:
			t.Stop()
		case <-t.C:
		}
	}
}

// end secures a lock whose mode has ended, unless another was ordered meanwhile: one
// that waits for the lock comes in its place.
func (l *lockLines) end(ctx context.Context, lock *config.Lock) error {
	turn := l.turns[lock.ID]
	turn.Lock()
	defer turn.Unlock()
	if _, waits := l.cache.get(lock.ID); waits {
		return nil
	}
	if ids, _ := l.ends.due(l.ends.clock().Now); !slices.Contains(ids, lock.ID) {
		return nil
	}
	return l.ordered(ctx, lock, door.Command{Op: door.OpAuto, By: byEnd})
}

// addTo makes it a task of a group.
func (l *lockLines) addTo(g *task.Group) {
	for i := range l.locks {
		if l.locks[i].Serial != nil {
			g.Add(task.Func("lock ends", l.runEnds), task.Policy{})
			return
		}
	}
}
