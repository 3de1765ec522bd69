package app

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"gatehouse/agent/card"
	"gatehouse/agent/config"
	"gatehouse/agent/control"
	"gatehouse/agent/site"
	"gatehouse/store"
)

// enroller takes the next card at a reader away from its door, for an operator
// who waits to enrol it.
type enroller struct {
	mu    sync.Mutex // guards waits
	waits map[site.ReaderID]chan card.Bits
}

// take gives the card to who waits at the reader, if anybody does.
func (e *enroller) take(r site.ReaderID, b card.Bits) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	c, ok := e.waits[r]
	if ok {
		delete(e.waits, r)
		c <- b // capacity 1, and sent once
	}
	return ok
}

// wait returns the next card at the reader.
func (e *enroller) wait(ctx context.Context, r site.ReaderID) (card.Bits, error) {
	c := make(chan card.Bits, 1)
	e.mu.Lock()
	_, taken := e.waits[r]
	if !taken {
		if e.waits == nil {
			e.waits = map[site.ReaderID]chan card.Bits{}
		}
		e.waits[r] = c
	}
	e.mu.Unlock()
	if taken {
		return card.Bits{}, fmt.Errorf("reader %s: another enrolment waits there: %w", r, control.ErrRefused)
	}
	select {
	case b := <-c:
		return b, nil
	case <-ctx.Done():
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.waits[r] == c {
		delete(e.waits, r)
	}
	select {
	case b := <-c: // it came at the last moment
		return b, nil
	default:
		return card.Bits{}, ctx.Err()
	}
}

// policyParts is what control needs to manage the policy.
type policyParts struct {
	cfg   *config.Config
	store *store.Store
	err   error
	doors *doorSet
	enrol *enroller
}

// Store returns the store, or why there is none.
func (p policyParts) Store() (*store.Store, error) {
	if p.store == nil {
		return nil, fmt.Errorf("%w: %w", control.ErrNotReady, p.err)
	}
	return p.store, nil
}

// HasDoor reports whether the settings have the door.
func (p policyParts) HasDoor(id site.DoorID) bool {
	return p.doors.byID[id] != nil || slices.ContainsFunc(p.cfg.Locks, func(l config.Lock) bool { return l.ID == id })
}

// Cards returns the site's card formats.
func (p policyParts) Cards() *card.Set { return p.cfg.Cards }

// Enrol waits for the next card at a reader and takes it.
func (p policyParts) Enrol(ctx context.Context, id site.ReaderID) (card.Bits, error) {
	for _, r := range p.cfg.Readers {
		if r.ID == id {
			return p.enrol.wait(ctx, id)
		}
	}
	return card.Bits{}, fmt.Errorf("reader %.64q: %w", string(id), control.ErrNotFound)
}

// controlParts is what the management API stands on.
func (a *App) controlParts() control.Parts {
	return control.Parts{
		Doors: siteDoors{&a.doors, a.lines}, Locks: &a.locks, Reports: a, Why: a, Events: a.view, Alarms: a, Areas: areaParts{a.areas, a}, Uplink: a, Fire: fireControl{a.site.fire}, Notify: a.notify, Log: a.log,
		Policy: policyParts{a.cfg, a.store, a.storeErr, &a.doors, &a.enrol}, Tokens: &a.tokens,
	}
}

// AlarmList returns the alarms that stand or that nobody acknowledged; those of
// duress only where they are asked for.
func (a *App) AlarmList(duress bool) []control.Alarm {
	list := a.alarms.List()
	if duress {
		return list
	}
	return slices.DeleteFunc(list, func(x control.Alarm) bool { return x.Kind == site.KindDuress })
}

// AckAlarm acknowledges an alarm by name and returns when that is kept.
func (a *App) AckAlarm(ctx context.Context, id site.EventSeq, by string) error {
	if !a.alarms.Has(id) {
		return fmt.Errorf("alarm %d: %w", id, control.ErrNotFound)
	}
	seq, err := a.sink.appendDurably(ctx, ackEvent(id, by))
	if err != nil {
		return fmt.Errorf("%w: %w", control.ErrNotReady, err)
	}
	return a.alarms.reach(ctx, seq)
}
