package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gatehouse/agent/control"
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

// keptFromLog works out what the doors must keep from the mode events of the
// log, the newest of each door: the file that has it is lost.
func (a *App) keptFromLog(ctx context.Context) map[site.DoorID]site.DoorKept {
	out := map[site.DoorID]site.DoorKept{}
	err := a.spool.Scan(ctx, a.spool.First(), a.spool.Last(), func(ev site.Event) bool {
		if ev.Kind == site.KindMode && ev.Door != "" {
			k := out[ev.Door]
			foldMode(&k, ev, a.hw.Clock.Now())
			out[ev.Door] = k
		}
		return true
	})
	if err != nil {
		a.log.Error("kept door states could not be worked out from the event log", "err", err)
	}
	return out
}

// foldMode takes one mode event into what a door keeps.
func foldMode(k *site.DoorKept, ev site.Event, now time.Time) {
	mode, err := site.ParseMode(ev.Mode)
	if err != nil {
		return
	}
	over := !ev.Until.IsZero() && !now.Before(ev.Until)
	o := &site.DoorOverride{Mode: mode, Until: ev.Until, By: ev.By}
	if over {
		o = nil
	}
	switch {
	case mode == site.ModeLockdown:
		k.Lockdown = o
		return
	case mode == site.ModeSecured:
		*k = site.DoorKept{}
	case mode == site.ModeFrozenSecured, mode == site.ModeFrozenPassage:
		k.Freeze = o
	default:
		k.Override, k.Freeze = o, nil
	}
	k.Lockdown = nil
}
