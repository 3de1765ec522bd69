package door

import (
	"fmt"
	"time"

	"gatehouse/agent/access"
	"gatehouse/agent/site"
)

// step runs the machine and does what it asks for.
func (o *owner) step(in Input) {
	o.apply(in, true)
	o.letGo()
	o.forget()
	o.d.beyond.Store(!o.s.heeds())
	o.publish(o.s.Status(&o.d.cfg))
}

// apply takes one step of the machine. What an interlock has against it is
// asked for before the strike is driven: the machine is pure, so a step that
// was not to be is thrown away and taken again.
func (o *owner) apply(in Input, drive bool) {
	d, now := o.d, o.now()
	s, actions := Step(&d.cfg, o.s, in, now)
	if d.deps.Interlock != nil && !s.Secure() {
		o.held = true
		if !d.deps.Interlock.Acquire(d.cfg.ID) {
			now.Interlocked = true
			if s, actions = Step(&d.cfg, o.s, in, now); !s.Secure() {
				d.deps.Interlock.Force(d.cfg.ID)
			}
		}
	}
	o.s = s
	o.perform(actions, drive)
}

// letGo tells the interlock that the door is secure again, after its strike was
// driven locked.
func (o *owner) letGo() {
	if o.held && o.s.Secure() {
		o.held = false
		o.d.deps.Interlock.Release(o.d.cfg.ID)
	}
}

// perform does actions in order; the strike comes first. What the strike line
// said of it comes last.
func (o *owner) perform(actions []Action, drive bool) {
	d, faulty := o.d, o.s.faults[PartStrike]
	for _, a := range actions {
		switch a := a.(type) {
		case Strike:
			if drive {
				faulty = !o.strike(a.Energise)
			}
		case Emit:
			d.deps.Log.Append(a.Event)
		case Show:
			if d.deps.Show != nil {
				d.deps.Show(a.Reader, a.Pattern)
			}
		case Passed:
			if d.deps.Passages != nil {
				d.deps.Passages.Passed(a.Access)
			}
		case NotPassed:
			if d.deps.Passages != nil {
				d.deps.Passages.NotPassed(a.Access)
			}
		case Keep:
			o.keep.change(a.Kept)
			o.keep.submit(o)
		}
	}
	if faulty != o.s.faults[PartStrike] {
		o.apply(Fault{PartStrike, faulty}, drive)
	}
}

// strike drives the line and reports whether that worked.
func (o *owner) strike(energise bool) bool {
	d := o.d
	if d.deps.Strike == nil {
		return true
	}
	err := d.deps.Strike.Set(d.cfg.Energised(energise))
	if err != nil && !o.s.faults[PartStrike] {
		d.log.Error("strike line failed", "err", err)
	}
	return err == nil
}

// present decides and acts. What falls due is done first, and what follows from
// a clock that was lost or found, so that the mode is that of this moment.
func (o *owner) present(p presentation) {
	if p.ctx.Err() != nil {
		o.step(Denied{Access: o.d.notDecided(p.Presented)})
		return
	}
	at, ok := o.s.Next(&o.d.cfg)
	if ok && at <= time.Since(o.began) || o.d.deps.Clock().Trusted != o.s.trusted {
		o.step(Tick{})
	}
	mode, _ := o.s.Mode()
	w := o.waitingFor(p.Presented)
	dec := o.d.deps.Decider.Decide(p.Presented, w.pending(), mode)
	in := dec.input(p.Presented, w)
	o.held = o.d.deps.Interlock != nil // the decider may have taken it: given back if nothing opens
	o.step(in)
	switch in.(type) {
	case Waiting:
		o.remember(p.Presented, dec, w)
	case Grant:
		if r := o.s.refusal; r != "" {
			dec.Outcome, dec.Reason = access.Refused, r
		}
	}
	p.reply <- Result{dec, dec.Outcome == access.Granted && !o.s.Locked() && !o.s.faults[PartStrike]}
}

// access is what events say of a decision.
func (d Decision) access(p Presented) Access {
	a := Access{Reader: p.Reader, Reason: d.Reason, Card: d.Card, Device: p.Device, Item: p.Item, Note: p.Note, Out: d.Out}
	if c := d.Credential; c != nil {
		a.Holder, a.Credential, a.Card, a.Source = c.Holder, c.ID, c.Card, c.Source
	}
	return a
}

// ada reports whether the ADA times hold.
func (d Decision) ada() bool { return d.Credential != nil && d.Credential.ADA }

// input returns what a decision is to the machine. w is what it was asked with;
// nil: nothing waited.
func (d Decision) input(p Presented, w *waiting) Input {
	a := d.access(p)
	settles := uint64(0)
	if d.Completes && w != nil {
		settles = w.id
	}
	switch d.Outcome {
	case access.Granted:
		g := Grant{Access: a, ADA: d.ada(), Function: d.Function(), Duress: d.Duress, Settles: settles}
		if f := w.first(); f != nil && d.Completes && !d.Alone {
			first := f.Decision.access(f.Presented)
			first.Reason = site.ReasonGranted
			g.First, g.FirstDuress, g.ADA = &first, f.Decision.Duress, g.ADA || f.Decision.ada()
		}
		return g
	case access.Waiting:
		return Waiting{a, d.Duress, settles}
	case access.Refused:
	}
	return Denied{a, d.Duress, settles}
}

// command does what is ordered and answers when it is durable.
func (o *owner) command(c order) {
	unlocks := c.Op == OpUnlock || c.Op == OpAuto || c.Op == OpRelease || c.Op == OpMode && c.Mode.Unlocked()
	if err := c.ctx.Err(); err != nil && unlocks {
		c.reply <- err
		return
	}
	// What has fallen due may change the mode that a command is judged by.
	o.step(Tick{})
	err := o.s.Refuses(c.Command, o.now())
	o.step(c.Command)
	if r := o.s.refusal; err == nil && c.Op == OpUnlock && r != "" {
		err = fmt.Errorf("%w: %s", ErrRefused, r.Text()) // what only the interlock knows
	}
	if err != nil || c.Op == OpUnlock { // a pulse does not survive a restart
		c.reply <- err
		return
	}
	o.keep.await(c.reply)
}
