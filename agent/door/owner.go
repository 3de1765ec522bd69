package door

import (
	"context"
	"fmt"
	"time"

	"gatehouse/agent/site"
	"gatehouse/hal"
)

// idle is the longest sleep of a door: ends by the wall clock are looked at
// again, since that may have been set.
const idle = 10 * time.Second

// early is by how much the timer may fire before anything is due. A tick then
// changes nothing.
const early = 100 * time.Millisecond

// owner is the goroutine's own: nobody else has a pointer to it, save the
// functions that run on it.
type owner struct {
	d     *Door
	s     State
	began time.Time
	timer *time.Timer
	armed time.Duration   // when the timer fires; zero: it has
	edges <-chan hal.Edge // nil: no inputs
	keep  keeping
	cards []waiting // what the waits of the machine wait with
	held  bool      // the interlock may have this door among those that are not secure
}

func (o *owner) now() Now {
	c := o.d.deps.Clock()
	now := Now{Mono: time.Since(o.began), Wall: c.Now, Trusted: c.Trusted}
	// An end is judged against the later of the clock and the last time that
	// was trusted (door.md, Untrusted clock).
	if !c.Trusted && c.LastTrusted.After(c.Now) {
		now.Wall = c.LastTrusted
	}
	return now
}

func (o *owner) run(ctx context.Context) (err error) {
	d := o.d
	stopKeeping := o.keep.start(ctx, d)
	defer stopKeeping(o)
	defer o.end() // before anything that may take its time
	o.timer = time.NewTimer(idle)
	defer o.timer.Stop()

	live, err := o.read()
	if err != nil {
		return o.lost(err)
	}
	if d.deps.Inputs != nil {
		o.edges = d.deps.Inputs.Edges()
	}
	o.step(Start{Open: live.Open, Pressed: live.Pressed, Tamper: live.Tampered, Loose: !live.Secure, Kept: d.deps.Kept,
		Fire: d.fire.Load(), Schedule: *d.scheduled.Load()})
	o.takeOutside()
	close(d.ready)
	for err == nil && ctx.Err() == nil {
		o.arm()
		err = o.serve(ctx)
	}
	if err != nil {
		return o.lost(err)
	}
	return nil
}

// end leaves the door safe: the strike first, then what others wait for.
func (o *owner) end() {
	o.safe()
	if d := o.d; d.deps.Interlock != nil {
		d.deps.Interlock.Release(d.cfg.ID)
	}
	if d := o.d; d.deps.Passages != nil {
		for _, a := range o.s.grant.people {
			d.deps.Passages.NotPassed(a)
		}
	}
}

// safe de-energises the strike and shows what that means.
func (o *owner) safe() {
	d := o.d
	if d.deps.Strike != nil {
		if err := d.deps.Strike.Set(d.cfg.Energised(false)); err != nil {
			d.log.Error("strike was not driven safe", "err", err)
		}
	}
	st := o.s.Status(&d.cfg)
	st.Locked = d.cfg.Fail == FailSecure
	o.publish(st)
}

// lost ends a run without inputs.
func (o *owner) lost(err error) error {
	o.safe()
	if !o.s.started {
		// Nothing was found: go on from what was kept, for the record only.
		o.s, _ = Step(&o.d.cfg, o.s, Start{Kept: o.d.deps.Kept}, o.now())
	}
	o.apply(Fault{PartInputs, true}, false)
	return fmt.Errorf("%s: %w", o.d, err)
}

// arm sets the timer for what falls due next, unless it fires shortly before
// that anyway: a busy door would set it for each card.
func (o *owner) arm() {
	now := time.Since(o.began)
	due := now + idle
	if at, ok := o.s.Next(&o.d.cfg); ok {
		due = min(due, at)
	}
	if at, ok := o.keep.next(); ok {
		due = min(due, at)
	}
	if o.armed > 0 && o.armed <= due && due-o.armed < early {
		return
	}
	o.armed = max(due, now, 1)
	o.timer.Reset(o.armed - now)
}

// serve handles one message. Cards come after all else that is ready.
func (o *owner) serve(ctx context.Context) error {
	d := o.d
	select {
	case <-ctx.Done():
	case e, ok := <-o.edges:
		return o.edge(e, ok)
	case c := <-d.commands:
		o.command(c)
	case f := <-d.asks:
		f(o)
	case <-d.outside:
		o.takeOutside()
	case r := <-o.keep.results:
		o.kept(r)
	case <-o.timer.C:
		o.tick()
	default:
		return o.serveAny(ctx)
	}
	return nil
}

// serveAny waits for any message, cards included.
func (o *owner) serveAny(ctx context.Context) error {
	d := o.d
	select {
	case <-ctx.Done():
	case e, ok := <-o.edges:
		return o.edge(e, ok)
	case c := <-d.commands:
		o.command(c)
	case f := <-d.asks:
		f(o)
	case <-d.outside:
		o.takeOutside()
	case r := <-o.keep.results:
		o.kept(r)
	case <-o.timer.C:
		o.tick()
	case p := <-d.presents:
		o.present(p)
	}
	return nil
}

func (o *owner) tick() {
	o.armed = 0
	o.step(Tick{})
	o.keep.submit(o)
}

func (o *owner) publish(st site.DoorStatus) {
	if st == *o.d.status.Load() {
		return
	}
	now := st // of its own, so that a status like the last one costs no memory
	o.d.status.Store(&now)
	if o.d.deps.Watch != nil {
		o.d.deps.Watch(st)
	}
}

func (o *owner) takeOutside() {
	o.step(Fire{o.d.fire.Load()})
	o.step(*o.d.scheduled.Load())
}

// edge takes a change of an input line; ok is false when the board is lost.
func (o *owner) edge(e hal.Edge, ok bool) error {
	if !ok {
		return fmt.Errorf("inputs: %w", hal.ErrClosed)
	}
	o.level(e.Line, e.Level)
	if !e.Lost {
		return nil
	}
	live, err := o.read()
	if err != nil {
		return err
	}
	o.level(o.d.cfg.Contact, live.Contact)
	o.level(o.d.cfg.Rex, live.Rex)
	o.level(o.d.cfg.Tamper, live.Tamper)
	o.level(o.d.cfg.Bond, live.Bond)
	return nil
}

func (o *owner) level(line hal.LineName, l hal.Level) {
	switch c := &o.d.cfg; line {
	case "":
	case c.Contact:
		o.step(Contact{l == c.Open})
	case c.Rex:
		o.step(Exit{l == c.RexActive})
	case c.Tamper:
		o.step(Tamper{l != c.TamperNormal})
	case c.Bond:
		o.step(Bond{l == c.BondSecure})
	}
}

// read returns what the lines show now; a line that is not there rests.
func (o *owner) read() (l Live, err error) {
	c, in := &o.d.cfg, o.d.deps.Inputs
	l = Live{Contact: !c.Open, Rex: !c.RexActive, Tamper: c.TamperNormal, Bond: c.BondSecure, Energised: o.s.energised}
	for _, x := range []struct {
		what  string
		line  hal.LineName
		level *hal.Level
	}{
		{"contact", c.Contact, &l.Contact}, {"exit button", c.Rex, &l.Rex},
		{"tamper input", c.Tamper, &l.Tamper}, {"bond sensor", c.Bond, &l.Bond},
	} {
		if x.line == "" {
			continue
		}
		if *x.level, err = in.Read(x.line); err != nil {
			return l, fmt.Errorf("%s: %w", x.what, err)
		}
	}
	l.Open, l.Pressed = l.Contact == c.Open, l.Rex == c.RexActive
	l.Tampered, l.Secure = l.Tamper != c.TamperNormal, l.Bond == c.BondSecure
	return l, nil
}
