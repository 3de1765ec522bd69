package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"sync"

	"gatehouse/agent/config"
	"gatehouse/agent/door"
	"gatehouse/agent/gateway"
	"gatehouse/agent/hive/link"
	"gatehouse/agent/site"
)

// lockCache is the modes that the IP host ordered of locks on lines that were away:
// the newest one of each lock, until the lock is back. They survive a restart.
type lockCache struct {
	file smallFile

	mu     sync.Mutex // guards the following
	modes  map[site.DoorID]site.DoorOverride
	behind bool // the file has not what modes has
}

// openLockCache takes up what was kept of the locks. A file that cannot be read is
// set aside and forgotten: nobody knows what it was.
func openLockCache(file smallFile, log *slog.Logger, onLine func(site.DoorID) bool) *lockCache {
	c := &lockCache{file: file, modes: map[site.DoorID]site.DoorOverride{}}
	data, err := file.Load()
	if err == nil && len(data) > 0 {
		err = json.Unmarshal(data, &c.modes)
	}
	if err != nil {
		log.Error("the commands that wait for locks could not be read; they are forgotten", "file", string(file), "aside", setAside(string(file)), "err", err)
		c.modes, c.behind = nil, true
	}
	if c.modes == nil {
		c.modes = map[site.DoorID]site.DoorOverride{}
	}
	for id := range c.modes {
		if !onLine(id) {
			delete(c.modes, id)
			c.behind = true
		}
	}
	return c
}

// get returns what waits for a lock.
func (c *lockCache) get(id site.DoorID) (site.DoorOverride, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	o, ok := c.modes[id]
	return o, ok
}

// locks returns those for which something waits.
func (c *lockCache) locks() []site.DoorID {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Sorted(maps.Keys(c.modes))
}

// put keeps a mode for a lock in place of an earlier one. It returns when that is
// durable; after an error nothing waits for the lock.
func (c *lockCache) put(id site.DoorID, o site.DoorOverride) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.modes[id] = o
	err := c.save()
	if err != nil {
		delete(c.modes, id)
	}
	return err
}

// drop forgets what waits for a lock, durably.
func (c *lockCache) drop(id site.DoorID) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.modes[id]; ok {
		delete(c.modes, id)
		c.behind = true
	}
	return c.flush()
}

// write brings the file up to date where it is not.
func (c *lockCache) write() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.flush()
}

func (c *lockCache) flush() error {
	if !c.behind {
		return nil
	}
	return c.save()
}

// save writes the file. One that cannot be written is taken away: what it has may
// be older than what somebody has ordered since.
func (c *lockCache) save() error {
	data, err := json.Marshal(c.modes)
	if err == nil {
		err = c.file.Save(data)
	}
	c.behind = err != nil
	if err != nil {
		err = errors.Join(err, os.RemoveAll(string(c.file)))
	}
	return err
}

// errCached says that a lock is away and has the command when it is back.
var errCached = fmt.Errorf("the lock is away: %w", gateway.ErrCached)

// away reports whether an order failed for want of the lock.
func away(err error) bool {
	return errors.Is(err, link.ErrOffline) || errors.Is(err, link.ErrNoAnswer)
}

// keep is what becomes of an order of the IP host that failed with err: a mode for a
// lock that is away is kept until it is back. The caller has the lock's turn.
func (l *lockLines) keep(lock *config.Lock, c door.Command, err error) error {
	if c.By != byHost || c.Op != door.OpMode || !away(err) {
		return err
	}
	if kept := l.cache.put(lock.ID, site.DoorOverride{Mode: c.Mode, By: c.By}); kept != nil {
		return fmt.Errorf("%w; and the command could not be kept: %w", err, kept)
	}
	l.ends.poke()
	l.log.Info("a lock is away; it gets the mode when it is back", "lock", lock.ID, "mode", c.Mode, "by", c.By)
	return errCached
}

// forget drops what waits for a lock, for who orders something newer and has its
// turn. What cannot be written is written later.
func (l *lockLines) forget(id site.DoorID) {
	if o, ok := l.cache.get(id); ok {
		l.log.Info("a lock that was away no longer gets the mode that waited: something newer was ordered", "lock", id, "mode", o.Mode, "by", o.By)
	}
	if err := l.cache.drop(id); err != nil {
		l.log.Error("the commands that wait for locks could not be written", "err", err)
	}
	l.ends.poke()
}

// runKept gives locks that are back what waits for them, and reports whether
// something is left to do.
func (l *lockLines) runKept(ctx context.Context) (left bool) {
	for _, id := range l.cache.locks() {
		if !l.kept(ctx, l.find(id)) {
			left = true
		}
	}
	return l.cache.write() != nil || left
}

// kept gives a lock what waits for it, and reports whether nothing waits any more.
func (l *lockLines) kept(ctx context.Context, lock *config.Lock) bool {
	turn := l.turns[lock.ID]
	turn.Lock()
	defer turn.Unlock()
	o, ok := l.cache.get(lock.ID)
	if !ok {
		return true
	}
	err := l.ordered(ctx, lock, door.Command{Op: door.OpMode, Mode: o.Mode, By: o.By})
	switch {
	case err == nil, errors.Is(err, door.ErrNotKept):
		l.log.Info("a lock that was away is back and has its mode", "lock", lock.ID, "mode", o.Mode, "by", o.By)
	case errors.Is(err, link.ErrRefused), errors.Is(err, door.ErrCommand):
		l.log.Warn("a lock that was away is back and does not take the mode that waited", "lock", lock.ID, "mode", o.Mode, "by", o.By, "err", err)
	default:
		return false
	}
	if err := l.cache.drop(lock.ID); err != nil {
		l.log.Error("the commands that wait for locks could not be written", "err", err)
	}
	return true
}
