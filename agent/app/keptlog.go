package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gatehouse/agent/control"
	"gatehouse/agent/door"
	"gatehouse/agent/site"
	"gatehouse/store"
)

// asControl puts an error of the store in control's words.
func asControl(err error) error {
	_, record := errors.AsType[*store.RecordError](err)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, store.ErrNotFound):
		return fmt.Errorf("%w: %w", control.ErrNotFound, err)
	case errors.Is(err, store.ErrBusy), errors.Is(err, store.ErrUsedUp):
		return fmt.Errorf("%w: %w", control.ErrRefused, err)
	case errors.Is(err, store.ErrFault), errors.Is(err, store.ErrClosed), errors.Is(err, store.ErrIncomplete),
		errors.Is(err, store.ErrNotLogged), errors.Is(err, store.ErrNotCopied):
		return fmt.Errorf("%w: %w", control.ErrNotReady, err)
	case record, errors.Is(err, store.ErrAmbiguous):
		return fmt.Errorf("%w: %w", control.ErrInput, err)
	}
	return err
}

// keptFromLog works out what the doors must keep from the log: the file that has
// it is lost. Who came first under a schedule is not in it, so the schedule waits
// for another first person.
func (a *App) keptFromLog(ctx context.Context) map[site.DoorID]site.DoorKept {
	doors := map[site.DoorID]*keptFold{}
	err := a.spool.Scan(ctx, a.spool.First(), a.spool.Last(), func(ev site.Event) bool {
		switch {
		case ev.Kind == site.KindStart:
			for _, k := range doors {
				k.scheduled = site.ModeSecured // told anew
			}
		case ev.Door != "":
			k := doors[ev.Door]
			if k == nil {
				k = &keptFold{}
				doors[ev.Door] = k
			}
			k.fold(ev)
		}
		return true
	})
	if err != nil {
		a.log.Error("kept door states could not be worked out from the event log", "err", err)
	}
	out := map[site.DoorID]site.DoorKept{}
	for id, k := range doors {
		out[id] = k.at(a.hw.Clock.Now())
	}
	return out
}

// keptFold is what the events of a door so far say of what it keeps. Commands are
// folded as well as modes: what one changes under something stronger shows in no
// mode.
type keptFold struct {
	kept      site.DoorKept
	scheduled site.Mode
}

// at is what is kept and not over at a time.
func (k *keptFold) at(now time.Time) site.DoorKept {
	out := k.kept
	for _, o := range []**site.DoorOverride{&out.Lockdown, &out.Override, &out.Freeze} {
		if *o != nil && !(*o).Until.IsZero() && !now.Before((*o).Until) {
			*o = nil
		}
	}
	return out
}

func (k *keptFold) fold(ev site.Event) {
	k.kept = k.at(ev.Time)
	mode, err := site.ParseMode(ev.Mode)
	hold := &site.DoorOverride{Mode: mode, Until: ev.Until, By: ev.By}
	switch {
	case ev.Kind == site.KindMode && err == nil:
		k.rules(hold)
	case ev.Kind != site.KindCommand || ev.Reason != "":
	case ev.By == bySchedule && err == nil:
		k.scheduled = mode
	case ev.Text == door.OpMode.String() && err == nil:
		k.set(hold)
	case ev.Text == door.OpLockdown.String():
		hold.Mode = site.ModeLockdown
		k.kept.Lockdown = hold
	case ev.Text == door.OpRelease.String():
		k.kept.Lockdown = nil
	case ev.Text == door.OpAuto.String():
		k.kept.Override, k.kept.Freeze = nil, nil
	case ev.Text == door.OpLock.String():
		k.lock(ev.By)
	}
}

// rules takes a mode that holds: nothing stronger stands. What is weaker may.
func (k *keptFold) rules(o *site.DoorOverride) {
	if o.Mode == site.ModeDisabled {
		k.set(o)
		return
	}
	if k.kept.Override != nil && k.kept.Override.Mode == site.ModeDisabled {
		k.kept.Override = nil
	}
	switch {
	case o.Mode == site.ModeLockdown:
		k.kept.Lockdown = o
		return
	case o.By == "" && !frozenMode(o.Mode): // the schedule's
		k.kept.Override, k.kept.Freeze = nil, nil
	default:
		k.set(o)
	}
	k.kept.Lockdown = nil
}

// set takes a mode in place of an earlier one.
func (k *keptFold) set(o *site.DoorOverride) {
	if !frozenMode(o.Mode) {
		k.kept.Override, k.kept.Freeze = o, nil
		return
	}
	k.kept.Freeze = o
	if k.kept.Override != nil && k.kept.Override.Mode == site.ModeDisabled {
		k.kept.Override = nil
	}
}

// lock takes an order to lock, as the door's machine does.
func (k *keptFold) lock(by string) {
	if o := k.kept.Freeze; o != nil && o.Mode.Unlocked() {
		k.kept.Freeze = nil
	}
	if o := k.kept.Override; o != nil && o.Mode.Unlocked() {
		k.kept.Override = nil
	}
	if k.scheduled.Unlocked() && k.kept.Override == nil {
		k.kept.Override = &site.DoorOverride{Mode: site.ModeSecured, By: by}
	}
}

func frozenMode(m site.Mode) bool {
	return m == site.ModeFrozenSecured || m == site.ModeFrozenPassage
}
