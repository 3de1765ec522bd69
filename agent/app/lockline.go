package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"gatehouse/agent/config"
	"gatehouse/agent/control"
	"gatehouse/agent/door"
	"gatehouse/agent/gateway"
	"gatehouse/agent/hive/link"
	"gatehouse/agent/site"
)

// lockUnlock is how long a lock on a line is unlocked where nobody says.
const lockUnlock = 5 * time.Second

// lockLines are the locks as doors that are ordered about: those on serial lines
// take orders at once, the others have no live line.
type lockLines struct {
	locks []config.Lock
	hive  *link.Server
	sink  *eventSink
	log   *slog.Logger
	ends  *lockEnds
	cache *lockCache
	turns map[site.DoorID]*sync.Mutex // held while a mode is ordered and its end noted
}

// newLockLines makes them of the settings.
func (a *App) newLockLines() *lockLines {
	l := &lockLines{locks: a.cfg.Locks, hive: a.hive, sink: a.sink, log: a.log, turns: map[site.DoorID]*sync.Mutex{}}
	for i := range l.locks {
		l.turns[l.locks[i].ID] = &sync.Mutex{}
	}
	l.ends = newLockEnds(a.store, a.clock.Clock, a.kept, func(id site.DoorID) bool { return l.find(id) != nil })
	l.cache = openLockCache(smallFile(filepath.Join(a.cfg.StateDir, "lockcommands.json")), a.log, func(id site.DoorID) bool {
		lock := l.find(id)
		return lock != nil && lock.Serial != nil
	})
	return l
}

// errNoLine is why a Wi-Fi lock does not do what it is told.
var errNoLine = errors.New("a Wi-Fi lock has no live line: it calls by itself, once a night and with an alert")

func (l *lockLines) find(id site.DoorID) *config.Lock {
	for i := range l.locks {
		if l.locks[i].ID == id {
			return &l.locks[i]
		}
	}
	return nil
}

// ask orders something of a lock and returns how it is.
func (l *lockLines) ask(ctx context.Context, lock *config.Lock, o link.Order) (link.Report, error) {
	if lock.Serial == nil {
		return link.Report{}, errNoLine
	}
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	return l.hive.Order(ctx, lock.Serial.Device, o)
}

// order does what a door does of an order, at a lock, and records it as a door
// does. What sets a mode takes the place of one that waits for the lock, whether or
// not the lock does it.
func (l *lockLines) order(ctx context.Context, lock *config.Lock, c door.Command) error {
	if c.Op == door.OpUnlock {
		return l.ordered(ctx, lock, c)
	}
	turn := l.turns[lock.ID]
	turn.Lock()
	defer turn.Unlock()
	if c.Until.IsZero() || c.Until.After(l.ends.clock().Now) { // else it is no order
		l.forget(lock.ID)
	}
	return l.keep(lock, c, l.ordered(ctx, lock, c))
}

// ordered is order for who has the lock's turn.
func (l *lockLines) ordered(ctx context.Context, lock *config.Lock, c door.Command) error {
	if !c.Until.IsZero() && !c.Until.After(l.ends.clock().Now) {
		return fmt.Errorf("%w: the end has passed", door.ErrCommand)
	}
	o := link.Order{Op: link.OrderMode}
	switch c.Op {
	case door.OpUnlock:
		o = link.Order{Op: link.OrderUnlock, For: c.For}
		if o.For == 0 {
			o.For = lockUnlock
		}
	case door.OpLock, door.OpAuto, door.OpRelease:
	case door.OpMode:
		o.Mode = c.Mode
	case door.OpLockdown:
		o.Mode = site.ModeLockdown
	default:
		return fmt.Errorf("%w: a lock on a line does not know %s", door.ErrCommand, c.Op)
	}
	_, err := l.ask(ctx, lock, o)
	if err == nil {
		l.record(lock.ID, c, o)
	}
	if o.Op == link.OrderMode && (err == nil || errors.Is(err, link.ErrNoAnswer) && !c.Until.IsZero()) {
		// A lock that gave no answer may have done it: then it ends all the same.
		err = errors.Join(err, l.ends.set(ctx, lock.ID, site.DoorOverride{Mode: o.Mode, Until: c.Until, By: c.By}))
	}
	return err
}

// lockdownEnded is the text of a mode event by which a lockdown is over, as of a door.
const lockdownEnded = "lockdown ended"

// record records what a lock did as a door does: the command, and the mode that holds
// by it. The end of a mode is nobody's command.
func (l *lockLines) record(id site.DoorID, c door.Command, o link.Order) {
	if c.By != byEnd {
		ev := site.Event{Kind: site.KindCommand, Door: id, Text: c.Op.String(), By: c.By, Until: c.Until}
		if c.Op == door.OpMode {
			ev.Mode = o.Mode.String()
		}
		l.sink.Append(ev)
	}
	if o.Op != link.OrderMode {
		return
	}
	ev := site.Event{Kind: site.KindMode, Door: id, Mode: o.Mode.String(), By: c.By, Until: c.Until}
	if c.Op == door.OpRelease || c.By == byEnd && l.ends.mode(id) == site.ModeLockdown {
		ev.Text = lockdownEnded
	}
	l.sink.Append(ev)
}

// command gives a lock a command and puts a refusal in control's words.
func (l *lockLines) command(ctx context.Context, lock *config.Lock, c door.Command) error {
	err := l.order(ctx, lock, c)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errNoLine), errors.Is(err, link.ErrRefused):
		err = fmt.Errorf("%w: %w", control.ErrRefused, err)
	case errors.Is(err, door.ErrCommand):
		err = fmt.Errorf("%w: %w", control.ErrInput, err)
	case errors.Is(err, link.ErrOffline), errors.Is(err, link.ErrNoAnswer), errors.Is(err, door.ErrNotKept):
		err = fmt.Errorf("%w: %w", control.ErrNotReady, err)
	}
	return fmt.Errorf("lock %s: %w", lock.ID, err)
}

// lockdown locks down all locks on lines.
func (l *lockLines) lockdown(ctx context.Context, by string, log *slog.Logger) {
	var work sync.WaitGroup
	for i := range l.locks {
		if lock := &l.locks[i]; lock.Serial != nil {
			work.Go(func() {
				if err := l.order(ctx, lock, door.Command{Op: door.OpLockdown, By: by}); err != nil {
					log.Error("a lock was not locked down", "lock", lock.ID, "err", err)
				}
			})
		}
	}
	work.Wait()
}

// siteDoors is the doors of this board and the locks, for who orders them about.
type siteDoors struct {
	*doorSet
	locks *lockLines
}

// one gives one door or lock a command.
func (s siteDoors) one(ctx context.Context, id site.DoorID, c door.Command) error {
	if lock := s.locks.find(id); lock != nil {
		return s.locks.command(ctx, lock, c)
	}
	return s.command(ctx, id, c)
}

// UnlockDoor unlocks a door or a lock on a line for a moment.
func (s siteDoors) UnlockDoor(ctx context.Context, id site.DoorID, d time.Duration, by string) error {
	return s.one(ctx, id, door.Command{Op: door.OpUnlock, For: d, By: by})
}

// LockDoor secures one.
func (s siteDoors) LockDoor(ctx context.Context, id site.DoorID, by string) error {
	return s.one(ctx, id, door.Command{Op: door.OpLock, By: by})
}

// SetMode overrides the mode of one.
func (s siteDoors) SetMode(ctx context.Context, id site.DoorID, mode site.Mode, until time.Time, by string) error {
	return s.one(ctx, id, door.Command{Op: door.OpMode, Mode: mode, Until: until, By: by})
}

// AutoDoor gives a door back to its schedule, and secures a lock.
func (s siteDoors) AutoDoor(ctx context.Context, id site.DoorID, by string) error {
	return s.one(ctx, id, door.Command{Op: door.OpAuto, By: by})
}

// Lockdown locks the targets down: of all, locks on lines too. The error names those
// that were not reached.
func (s siteDoors) Lockdown(ctx context.Context, t control.Target, until time.Time, by string) ([]site.DoorID, error) {
	return s.each(ctx, t, door.Command{Op: door.OpLockdown, Until: until, By: by})
}

// Release ends the lockdown of the targets.
func (s siteDoors) Release(ctx context.Context, t control.Target, by string) ([]site.DoorID, error) {
	return s.each(ctx, t, door.Command{Op: door.OpRelease, By: by})
}

func (s siteDoors) each(ctx context.Context, t control.Target, c door.Command) ([]site.DoorID, error) {
	if lock := s.locks.find(t.Door); lock != nil {
		if err := s.locks.command(ctx, lock, c); err != nil {
			return nil, err
		}
		return []site.DoorID{t.Door}, nil
	}
	if !t.All || len(s.locks.locks) == 0 {
		return s.doorSet.each(ctx, t, c)
	}
	var wired []site.DoorID // control names the others
	byID := map[site.DoorID]*config.Lock{}
	for i := range s.locks.locks {
		if lock := &s.locks.locks[i]; lock.Serial != nil {
			wired, byID[lock.ID] = append(wired, lock.ID), lock
		}
	}
	var doors []site.DoorID
	if len(s.list) > 0 {
		var err error
		if doors, err = s.targets(t); err != nil {
			return nil, err
		}
	}
	return commandAll(append(doors, wired...), func(id site.DoorID) error {
		if lock := byID[id]; lock != nil {
			return s.locks.command(ctx, lock, c)
		}
		return s.command(ctx, id, c)
	})
}

// Inputs returns the live levels of a door's lines, or what a lock on a line says.
func (s siteDoors) Inputs(id site.DoorID) (control.Inputs, error) {
	lock := s.locks.find(id)
	if lock == nil {
		return s.doorSet.Inputs(id)
	}
	r, err := s.locks.ask(context.Background(), lock, link.Order{Op: link.OrderStatus})
	switch {
	case errors.Is(err, errNoLine):
		return control.Inputs{}, fmt.Errorf("lock %s: %w: %w", id, control.ErrRefused, err)
	case err != nil:
		return control.Inputs{}, fmt.Errorf("lock %s: %w: %w", id, control.ErrNotReady, err)
	}
	in := control.Inputs{Door: id, Open: &r.Open, Tamper: &r.Tamper, Locked: r.Locked, Until: s.locks.ends.until(id)}
	if r.ModeKnown {
		in.Mode = &r.Mode
	}
	return in, nil
}

// lockStatus asks a lock on a line for its status.
func (s gatewaySite) lockStatus(lock *config.Lock) (gateway.Status, error) {
	ctx, cancel := context.WithTimeout(context.Background(), live)
	defer cancel()
	r, err := s.a.lines.ask(ctx, lock, link.Order{Op: link.OrderStatus})
	if err != nil {
		return gateway.Status{}, fmt.Errorf("lock %s: %w: %w", lock.ID, gateway.ErrNotReady, err)
	}
	st := gateway.Status{DoorStatus: site.DoorStatus{ID: lock.ID, Name: lock.Name, Mode: r.Mode, Locked: r.Locked, Open: r.Open}, Tamper: r.Tamper}
	if r.Tamper {
		st.Alarm = site.AlarmTamper
	}
	return st, nil
}
