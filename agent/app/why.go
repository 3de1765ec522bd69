package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gatehouse/agent/access"
	"gatehouse/agent/card"
	"gatehouse/agent/control"
	"gatehouse/agent/door"
	"gatehouse/agent/site"
	"gatehouse/store"
)

// Why makes the decision for a credential at a door without opening it, and
// says each step. At another time the door's mode is taken as it is now.
func (a *App) Why(_ context.Context, q control.WhyQuery) (control.Why, error) {
	d, err := a.doors.door(q.Door)
	if err != nil {
		return control.Why{}, err
	}
	decider := a.policy.decider(q.Door)
	p := door.Presented{Reader: a.readerOf(q.Door)}
	if q.Bits != nil {
		p.Bits = *q.Bits
	} else if p.Bits, err = a.bitsOf(q.Credential); err != nil {
		return control.Why{}, err
	}
	req := decider.request(p, d.Status().Mode)
	req.Trace = true
	if !q.At.IsZero() {
		// A time that was asked for is not in doubt.
		req.Clock = site.Clock{Now: q.At, Trusted: true, Mode: a.cfg.Clock}
	}
	policy, records := decider.lookup(&req, nil)
	return whyOf(access.Decide(policy, records, req)), nil
}

func whyOf(dec access.Decision) control.Why {
	out := control.Why{Decision: dec.Outcome.String(), Reason: string(dec.Reason), Steps: []control.WhyStep{}}
	for _, s := range dec.Steps {
		out.Steps = append(out.Steps, control.WhyStep(s))
	}
	return out
}

// readerOf returns the first reader of a door: the one whose mode is judged.
func (a *App) readerOf(id site.DoorID) site.ReaderID {
	for _, r := range a.cfg.Readers {
		if r.Door == id {
			return r.ID
		}
	}
	return ""
}

// bitsOf returns the card of a credential given by its id or the beginning of
// it.
func (a *App) bitsOf(prefix site.CredentialID) (card.Bits, error) {
	if a.store == nil {
		return card.Bits{}, fmt.Errorf("%w: %w", control.ErrNotReady, a.storeErr)
	}
	c, err := a.store.FindCredential(string(prefix))
	if err != nil {
		return card.Bits{}, asControl(err)
	}
	bits, err := a.store.Bits(c.ID)
	return bits, asControl(err)
}

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
