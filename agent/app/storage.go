package app

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"gatehouse/agent/site"
	"gatehouse/agent/task"
	"gatehouse/store"
	"gatehouse/store/spool"
)

// copyMark is the last verified copy.
type copyMark struct {
	at  time.Time
	seq site.EventSeq
}

// runStore opens the store, which may take a moment after damage, and runs what
// stands on it. A store that cannot be opened is a fault, not the end: exits and
// operators are served, cards are refused.
func (a *App) runStore(ctx context.Context) error {
	g := task.NewGroup(task.GroupConfig{Name: "store", StopWait: 10 * time.Second, Health: a.health, Log: a.log})
	a.openStore(ctx)
	if a.store != nil {
		g.Add(task.Func("store", a.store.Run), task.Policy{})
		g.Add(task.Func("kept states", a.keepAgain), task.Policy{})
	}
	if err := a.openAreas(ctx); err != nil {
		return err
	}
	g.Add(a.areas, task.Policy{})
	g.Add(a.alarms, task.Policy{})
	err := a.within(ctx, g, a.runDoors)
	if a.store != nil {
		err = errors.Join(err, a.store.Close())
	}
	return err
}

func (a *App) openStore(ctx context.Context) {
	st, rep, err := store.Open(a.cfg.Store, storeLog{a.sink}, store.Options{
		Logger: a.log, Clock: a.eventClock, OnFault: a.storeFault, OnCopied: a.storeCopied,
	})
	if err != nil {
		id := "store.open"
		if errors.Is(err, store.ErrKeyMissing) || errors.Is(err, store.ErrKeyWrong) {
			id = "store.key"
		}
		a.storeErr = err
		a.health.Set(id, err.Error())
		a.log.Error("the store could not be opened; no card passes", "err", err)
		a.kept = a.keptFromLog(ctx)
	} else {
		a.store = st
		a.storeOpened(ctx, rep)
	}
	a.policy = &policyHolder{cfg: a.cfg, clock: a.clock, store: a.store, err: a.storeErr}
	a.view = &eventView{log: a.spool, store: a.store}
}

// storeOpened takes what the store kept of the doors, or what the log says of
// them where the store has lost it.
func (a *App) storeOpened(ctx context.Context, rep store.Report) {
	if rep.Damaged() {
		a.storeFault(rep)
	}
	kept, err := a.store.DoorKept()
	if err != nil {
		a.log.Error("kept door states could not be read", "err", err)
	}
	a.kept = kept
	if err == nil && !rep.DevicesLost {
		return
	}
	a.kept = a.keptFromLog(ctx)
	a.keepAll(ctx, a.kept)
}

// openAreas takes up who is where. What cannot be read is a fault that stands
// until the next start; the doors run with what there is.
func (a *App) openAreas(ctx context.Context) error {
	var err error
	if a.areas, err = newAreaBook(a.cfg, filepath.Join(a.cfg.StateDir, "areas.json"), a.sink, a.clock.Clock, &a.doors); err != nil {
		return err
	}
	if err := a.areas.load(ctx, a.spool); err != nil {
		a.health.Set("areas", err.Error()+"; made again from the event log")
		a.log.Error("areas and PIN lock-outs could not be read", "err", err)
	}
	return nil
}

func (a *App) keepAll(ctx context.Context, kept map[site.DoorID]site.DoorKept) {
	whole := true
	for id, k := range kept {
		if err := a.store.KeepDoor(ctx, id, k); err != nil {
			a.log.Error("kept door state could not be written", "door", id, "err", err)
			whole = false
		}
	}
	if !whole {
		return // the next start works them out again
	}
	if err := a.store.DoorsKept(); err != nil {
		a.log.Error("end of a recovery could not be written", "err", err)
	}
}

// keepAgain writes what the doors keep once more after the file that had it was
// replaced under a running agent, until ctx ends.
func (a *App) keepAgain(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-a.rekeep:
			a.keepAll(ctx, a.keptFromLog(ctx))
		}
	}
}

// storeFault tells the operator of damage: a standing fault until the next
// start.
func (a *App) storeFault(rep store.Report) {
	if rep.PolicyDamage != nil || rep.Incomplete || rep.MissingChanges > 0 {
		a.health.Set("store.policy", damageText("policy file", rep.PolicyDamage, rep))
	}
	if rep.DevicesDamage != nil {
		a.health.Set("store.devices", damageText("device file", rep.DevicesDamage, rep))
	}
	if rep.DevicesLost {
		select {
		case a.rekeep <- struct{}{}:
		default:
		}
	}
	if rep.CopyDamage != nil {
		a.health.Set("store.damagedCopy", damageText("verified copy", rep.CopyDamage, store.Report{Quarantined: rep.Quarantined})+"; a new one is made")
	}
	if rep.Uncopied != nil {
		a.health.Set("store.copy", "no verified copy could be made: "+rep.Uncopied.Error())
	}
}

func damageText(what string, cause error, rep store.Report) string {
	text := what + " was damaged"
	if cause != nil {
		text += ": " + cause.Error()
	}
	if rep.FromCopy {
		text += fmt.Sprintf("; went on from the verified copy and %d changes of the event log", rep.RolledForward)
	}
	if rep.Incomplete {
		text += "; no copy, and the event log does not reach back: cards are refused until it is restored"
	}
	if rep.MissingChanges > 0 {
		text += fmt.Sprintf("; %d acknowledged changes are missing", rep.MissingChanges)
	}
	if len(rep.Quarantined) > 0 {
		text += fmt.Sprintf("; kept as %v", rep.Quarantined)
	}
	return text
}

func (a *App) storeCopied(seq site.EventSeq) {
	a.copied.Store(&copyMark{at: a.hw.Clock.Now(), seq: seq})
	a.health.Clear("store.copy")
	if err := a.spool.Cursor(spool.PolicyCopy).Advance(seq); err != nil {
		a.log.Warn("cursor not moved", "err", err)
	}
}

// doorKeeper writes what survives a restart into the store.
type doorKeeper struct{ store *store.Store }

// Keep returns when it is durable.
func (k doorKeeper) Keep(ctx context.Context, id site.DoorID, kept site.DoorKept) error {
	if k.store == nil {
		return errNoStore
	}
	return k.store.KeepDoor(ctx, id, kept)
}
