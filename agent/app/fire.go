package app

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"gatehouse/agent/config"
	"gatehouse/agent/control"
	"gatehouse/agent/door"
	"gatehouse/agent/site"
)

// fireAlarm is the fire alarm of the site: its input, latched or followed, and
// the doors that it releases (door.md, Fire). The goroutine of its input owns
// it; others ask that goroutine and read copies.
type fireAlarm struct {
	cfg   config.Fire
	in    *siteInput
	keep  *inputKeeper
	emit  func(site.Event)
	now   func() time.Time
	doors func(on bool) // tells the doors; does not wait
	freed []site.DoorID // the doors that fire releases

	// The owner's.
	level lineState
	on    bool
	since time.Time
	told  bool // the event of this run's beginning was looked after

	shown atomic.Pointer[fireShown]
}

// fireShown is what others see. It is never changed.
type fireShown struct {
	on    bool
	since time.Time
	level lineState
}

// newFireAlarm takes up the alarm as it was kept and lets the doors know at
// once, before they run.
func (a *App) newFireAlarm(cfg config.Fire, keep *inputKeeper) *fireAlarm {
	f := &fireAlarm{cfg: cfg, keep: keep, emit: a.sink.Append, now: a.hw.Clock.Now, doors: a.setFire}
	for _, c := range a.cfg.Doors {
		if c.Fire == door.FireRelease {
			f.freed = append(f.freed, c.ID)
		}
	}
	kept := keep.now()
	f.on, f.since = kept.Fire, kept.FireSince
	f.publish()
	f.in = a.newSiteInput(inputConfig{id: "fire", line: cfg.Line, active: !cfg.Normal, cut: !cfg.Normal},
		func(_ context.Context, s lineState) { f.input(s) })
	return f
}

// setFire tells each door: those that fire releases, and the others because no
// interlock refuses an exit button in a fire (door.md, Egress).
func (a *App) setFire(on bool) {
	for _, d := range a.doors.list {
		d.SetFire(on)
	}
}

// input takes what the line shows. A line that cannot be read changes nothing:
// the alarm counts as it was kept.
func (f *fireAlarm) input(s lineState) {
	f.level = s
	on := f.on
	switch {
	case s == lineActive:
		on = true
	case s == lineNormal && !f.cfg.Latched:
		on = false
	}
	was := f.on
	f.set(on)
	// After a restart an alarm that stands is told anew, as all that stands is;
	// one that ended meanwhile has its end told.
	if on != was || on && !f.told {
		text := "fire"
		if on && s != lineActive {
			text = "fire, kept over a restart"
		}
		f.tell(on, text, "")
	}
	f.told = true
}

// set makes the alarm begin or end: doors first.
func (f *fireAlarm) set(on bool) {
	if on && !f.on {
		f.since = f.now().Round(0)
	}
	if !on {
		f.since = time.Time{}
	}
	f.on = on
	f.publish()
	f.keep.change(func(k *keptInputs) { k.Fire, k.FireSince = f.on, f.since })
}

func (f *fireAlarm) publish() {
	f.doors(f.on)
	f.shown.Store(&fireShown{f.on, f.since, f.level})
}

func (f *fireAlarm) tell(on bool, text, by string) {
	if !on && by == "" {
		text = "the fire input is normal again"
	}
	f.emit(site.Event{Kind: site.KindFire, Cleared: !on, Text: text, By: by})
}

// Reset ends a latched alarm when the input shows no fire any more. It returns
// when that is kept.
func (f *fireAlarm) Reset(ctx context.Context, by string) error {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	var refused error
	if err := f.in.ask(ctx, func() { refused = f.reset(by) }); err != nil {
		return fmt.Errorf("%w: fire: reset: %w", control.ErrNotReady, err)
	}
	if refused != nil {
		return fmt.Errorf("%w: fire: reset: %w", control.ErrRefused, refused)
	}
	if err := f.keep.wait(ctx); err != nil {
		return fmt.Errorf("%w: fire: reset: done, but not kept over a restart: %w", control.ErrNotReady, err)
	}
	return nil
}

// reset runs on the goroutine of the input.
func (f *fireAlarm) reset(by string) error {
	shown := f.in.shown.Load()
	switch {
	case !f.on:
		return errors.New("there is no fire alarm")
	case shown.state == lineActive:
		return fmt.Errorf("the fire input %s still shows fire; reset the fire alarm system first", f.cfg.Line)
	case shown.state == lineUnknown:
		return fmt.Errorf("the fire input %s cannot be read (%s), so nobody knows that the fire is over", f.cfg.Line, shown.fault)
	}
	f.set(false)
	f.tell(false, "fire alarm reset", by)
	return nil
}

// status tells the alarm.
func (f *fireAlarm) status() control.FireStatus {
	s, in := f.shown.Load(), f.in.shown.Load()
	st := control.FireStatus{Configured: true, On: s.on, Since: s.since, Latched: f.cfg.Latched, Fault: in.fault, Doors: f.freed, Input: in.state.String()}
	if in.state == lineActive {
		st.Input = "fire"
	}
	return st
}

// amend says of the fire input what its line alone does not.
func (f *fireAlarm) amend(st control.InputStatus) control.InputStatus {
	s := f.shown.Load()
	if !s.on {
		return st
	}
	switch {
	case s.level != lineActive && st.OK:
		st.Text = "fire alarm latched; the input is normal again (gatehouse fire reset)"
	case s.level != lineActive:
		st.Text = "fire alarm stands; " + st.Text
	}
	st.OK, st.Since = false, s.since
	return st
}

// fireControl is the fire alarm as the API needs it.
type fireControl struct{ alarm *fireAlarm } // nil: no fire input

// FireStatus tells the alarm and its input.
func (c fireControl) FireStatus() control.FireStatus {
	if c.alarm == nil {
		return control.FireStatus{Input: "none", Doors: []site.DoorID{}}
	}
	return c.alarm.status()
}

// ResetFire ends a latched alarm.
func (c fireControl) ResetFire(ctx context.Context, by string) error {
	if c.alarm == nil {
		return fmt.Errorf("%w: fire: the settings have no inputs.fire", control.ErrRefused)
	}
	return c.alarm.Reset(ctx, by)
}
