package app

import (
	"context"
	"time"

	"gatehouse/agent/config"
	"gatehouse/agent/control"
	"gatehouse/agent/site"
)

// byPanic is who locks down, in events and in what the doors keep.
const byPanic = "panic"

// newPanicButton makes the input that locks all doors down when it is pressed.
// An operator releases them. A press that was answered before a restart is not a
// new one after it; one that came meanwhile is.
func (a *App) newPanicButton(cfg config.Panic, keep *inputKeeper) *siteInput {
	known := keep.now().Panic // pressed when the agent ended
	standing := known
	var in *siteInput
	in = a.newSiteInput(inputConfig{id: "panic", line: cfg.Line, active: cfg.Active, cut: !cfg.Active}, func(ctx context.Context, s lineState) {
		if s == lineUnknown {
			return
		}
		on := s == lineActive
		if on && !known {
			in.work.Go(func() { a.panicLockdown(ctx, in, keep) })
		}
		if !on {
			keep.change(func(k *keptInputs) { k.Panic = false })
		}
		if on || standing {
			a.sink.Append(site.Event{Kind: site.KindPanic, Cleared: !on, Text: "panic button " + inputText("panic", on)})
		}
		known, standing = false, on
	})
	return in
}

// panicLockdown locks all doors down. The press counts as answered when the
// lockdown is kept, so that one that a crash swallowed is answered at the next
// start.
func (a *App) panicLockdown(ctx context.Context, in *siteInput, keep *inputKeeper) {
	locked := make(chan struct{})
	go func() { // a lock that is away keeps no door from being kept locked down
		defer close(locked)
		a.lines.lockdown(ctx, byPanic, a.log)
	}()
	defer func() { <-locked }()
	doors, err := a.doors.Lockdown(ctx, control.Target{All: true}, time.Time{}, byPanic)
	if err != nil {
		a.log.Error("the panic button's lockdown is not kept at every door", "doors", doors, "err", err)
		return
	}
	keep.change(func(k *keptInputs) { k.Panic = in.shown.Load().state == lineActive })
}
