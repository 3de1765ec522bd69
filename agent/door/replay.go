package door

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"gatehouse/agent/site"
)

// ErrReplay is returned for events that no door can have made: of two doors, in
// the wrong order, of a mode or a command that does not exist.
var ErrReplay = errors.New("cannot be replayed")

// Replay turns the events of one door, as the log keeps them, into the inputs
// that made them and steps these through the machine, from the first event to
// the last. It returns what the machine does: the same events and the same
// strike commands. kept is what the door had kept when the first one happened.
// Events of the site (those without a door) may be among them: a start is one of
// the door too, and those of the clock say whether it was trusted.
//
// The log has what happened, not each level of a line, so some of it is
// inferred: a contact changed [Settle] before the event that says so, a button
// that is not stuck was let go at once, a bond sensor was loose for
// Config.BondTime when its fault began. Noise on the contact that ended in
// nothing is lost; it can only have put off an unused event by that much. Time
// is that of the events: where the wall clock was set meanwhile, or stood still
// because it was not trusted, times are not what they were. Fire and a schedule
// that were there at a start are taken in after it, with a strike command of their
// own. Nobody is shown a pattern for a PIN that was waited for.
func Replay(cfg Config, kept site.DoorKept, events []site.Event) ([]Action, error) {
	r := replay{cfg: &cfg, kept: kept}
	for _, e := range events {
		if e.Door == "" && e.Kind != site.KindStart && e.Kind != site.KindClock {
			continue
		}
		if e.Door != "" && e.Door != cfg.ID {
			return nil, fmt.Errorf("door %s: replay: event %d of door %s: %w", cfg.ID, e.Seq, e.Door, ErrReplay)
		}
		r.events = append(r.events, e)
	}
	if len(r.events) == 0 {
		return nil, nil
	}
	for i, e := range r.events {
		if i > 0 && e.Time.Before(r.events[i-1].Time) {
			return nil, fmt.Errorf("door %s: replay: event %d is older than the one before: %w", cfg.ID, e.Seq, ErrReplay)
		}
		if err := r.read(i, e); err != nil {
			return nil, fmt.Errorf("door %s: replay: event %d: %s: %w: %w", cfg.ID, e.Seq, e.Kind, ErrReplay, err)
		}
	}
	slices.SortStableFunc(r.inputs, func(a, b replayed) int { return a.at.Compare(b.at) })
	return r.run(), nil
}

// replayed is an input that was read from an event.
type replayed struct {
	at          time.Time
	trusted     bool
	interlocked bool
	in          Input // nil: changes of the contact until its fault stands
}

// believed is no input: from here on the clock is trusted, or not.
type believed struct{ Tick }

// restless is a contact that still bounces; of the clock it says nothing.
type restless struct{ Tick }

// freed is a tick at which an interlock no longer holds the door back.
type freed struct{ Tick }

// replay is one replay under way.
type replay struct {
	cfg    *Config
	kept   site.DoorKept
	events []site.Event
	inputs []replayed

	s       State
	began   time.Time
	trusted bool
	actions []Action
}

// add notes an input that happened before an event, or with it.
func (r *replay) add(e site.Event, before time.Duration, in Input) {
	x := replayed{at: e.Time.Add(-before), trusted: e.Trusted, in: in, interlocked: r.interlocked(e.Time)}
	if before > 0 {
		x.trusted = r.trustedAt(x.at)
	}
	if x.at.Before(r.events[0].Time) {
		x.at = r.events[0].Time
	}
	r.inputs = append(r.inputs, x)
}

// interlocked reports whether an interlock spoke at an instant. All inputs of
// that instant are judged under it: which of them it was about shows only after
// the event of the input itself.
func (r *replay) interlocked(at time.Time) bool {
	i, _ := slices.BinarySearchFunc(r.events, at, func(e site.Event, t time.Time) int { return e.Time.Compare(t) })
	for ; i < len(r.events) && r.events[i].Time.Equal(at); i++ {
		e := r.events[i]
		if e.Reason == site.ReasonInterlock && !e.Cleared || e.Kind == site.KindExit && e.Text != "" {
			return true
		}
	}
	return false
}

// trustedAt returns the trust of the last event up to an instant.
func (r *replay) trustedAt(at time.Time) bool {
	i, _ := slices.BinarySearchFunc(r.events, at.Add(1), func(e site.Event, t time.Time) int { return e.Time.Compare(t) })
	return r.events[max(0, i-1)].Trusted
}

// read notes what made event i.
func (r *replay) read(i int, e site.Event) error {
	switch e.Kind {
	case site.KindStart:
		r.add(e, 0, r.start(i))
	case site.KindAccess:
		r.access(e)
	case site.KindExit:
		if e.Text == textInFire { // of which this door has no event
			r.add(e, 0, Fire{On: true})
			defer r.add(e, 0, Fire{})
		}
		r.add(e, 0, Exit{Pressed: true})
		if !r.sticks(i) {
			r.add(e, 0, Exit{})
		}
	case site.KindDoorOpened, site.KindDoorClosed:
		r.add(e, Settle, Contact{Open: e.Kind == site.KindDoorOpened})
	case site.KindCommand:
		return r.command(e)
	case site.KindClock:
		r.add(e, 0, believed{})
	case site.KindFire:
		r.add(e, 0, Fire{On: !e.Cleared})
	case site.KindTamper:
		if e.Cleared {
			r.add(e, Settle, Tamper{})
		} else {
			r.add(e, 0, Tamper{On: true})
		}
	case site.KindFault:
		return r.fault(i, e)
	default:
		// It follows from others; the time at which it was known that the
		// clock is right matters.
		r.add(e, 0, Tick{})
	}
	return nil
}

// start is the start before event i: what was found shows in what came next.
func (r *replay) start(i int) Start {
	in := Start{Kept: r.kept}
	for _, e := range r.events[i:] {
		if e.Kind == site.KindDoorOpened || e.Kind == site.KindDoorClosed {
			in.Open = e.Kind == site.KindDoorClosed
			break
		}
	}
	for _, e := range r.events[i:] {
		if e.Kind == site.KindExit || e.Kind == site.KindFault && e.Text == PartRex.String() {
			in.Pressed = e.Kind == site.KindFault
			break
		}
	}
	return in
}

// sticks reports whether the press of event i was found stuck.
func (r *replay) sticks(i int) bool {
	for _, e := range r.events[i+1:] {
		switch {
		case e.Kind == site.KindExit || e.Kind == site.KindStart:
			return false
		case e.Kind == site.KindFault && e.Text == PartRex.String():
			return !e.Cleared
		}
	}
	return false
}

// access notes a decision. Two people who passed together are one grant.
func (r *replay) access(e site.Event) {
	a := Access{
		Reader: e.Reader, Reason: e.Reason, Holder: e.HolderID, Credential: e.Credential,
		Card: e.Card, Source: e.Source, Device: e.Device, Item: e.Item, Note: e.Text,
	}
	if !e.Reason.Grants() {
		r.add(e, 0, Denied{Access: a, Duress: e.As == site.KindDuress})
		return
	}
	g := Grant{Access: a, Duress: e.As == site.KindDuress}
	second := g.readText(e.Text)
	for n := len(r.inputs) - 1; second && n >= 0 && r.inputs[n].at.Equal(e.Time); n-- {
		if first, ok := r.inputs[n].in.(Grant); ok {
			g.First, g.FirstDuress = &first.Access, first.Duress
			r.inputs = slices.Delete(r.inputs, n, n+1)
			break
		}
	}
	r.add(e, 0, g)
}

// command notes an order, a change of the schedule, or what an interlock holds
// back.
func (r *replay) command(e site.Event) error {
	switch {
	case e.By == byInterlock:
		in := Input(Tick{})
		if e.Cleared {
			in = freed{}
		}
		r.add(e, 0, in)
		return nil
	case e.By == bySchedule:
		s, err := readSchedule(e)
		r.add(e, 0, s)
		return err
	}
	op := slices.Index(opNames, e.Text)
	if op <= 0 {
		return fmt.Errorf("command %q is not known", e.Text)
	}
	c := Command{Op: Op(op), By: e.By}
	if !e.Until.IsZero() {
		c.For = e.Until.Sub(e.Time)
	}
	if e.Mode != "" {
		mode, err := site.ParseMode(e.Mode)
		if err != nil {
			return err
		}
		c.Mode = mode
	}
	r.add(e, 0, c)
	return nil
}

// fault notes what made a fault begin or end.
func (r *replay) fault(i int, e site.Event) error {
	p := Part(slices.Index(partTexts[:], e.Text))
	switch p {
	case PartStrike, PartInputs, PartKeep:
		r.add(e, 0, Tick{}) // what was tried again when it worked
		r.add(e, 0, Fault{p, !e.Cleared})
	case PartRex:
		if e.Cleared {
			r.add(e, Settle, Exit{})
		} else {
			r.add(e, 0, Tick{})
		}
	case PartBond:
		if e.Cleared {
			r.add(e, 0, Bond{Secure: true})
		} else {
			r.add(e, r.cfg.bondTime(), Bond{})
		}
	case PartContact:
		r.bounces(i, e)
	default:
		return fmt.Errorf("part %q is not known", e.Text)
	}
	return nil
}

// bounces notes that the contact bounced at event i, or so long before its end.
// In between it did so again and again.
func (r *replay) bounces(i int, e site.Event) {
	if e.Cleared {
		r.add(e, bounceTime, nil)
		return
	}
	r.add(e, 0, nil)
	last := r.events[len(r.events)-1].Time
	for _, next := range r.events[i+1:] {
		if next.Kind == site.KindFault && next.Text == e.Text {
			last = next.Time.Add(-bounceTime)
			break
		}
	}
	for at := e.Time.Add(bounceTime / 2); at.Before(last); at = at.Add(bounceTime / 2) {
		if !r.moves(at) {
			r.inputs = append(r.inputs, replayed{at: at, trusted: r.trustedAt(at), in: restless{}})
		}
	}
}

// moves reports whether the contact has changed and not settled at an instant:
// that says enough, and must not be disturbed.
func (r *replay) moves(at time.Time) bool {
	return slices.ContainsFunc(r.events, func(e site.Event) bool {
		moved := e.Kind == site.KindDoorOpened || e.Kind == site.KindDoorClosed
		return moved && !at.Before(e.Time.Add(-Settle)) && at.Before(e.Time)
	})
}

// run steps the inputs through the machine.
func (r *replay) run() []Action {
	r.began, r.trusted = r.events[0].Time, r.events[0].Trusted
	if _, ok := r.inputs[0].in.(Start); !ok {
		r.step(r.began, r.start(0), false)
	}
	for _, x := range r.inputs {
		r.until(x.at)
		r.trusted = x.trusted
		switch in := x.in.(type) {
		case Start:
			if r.s.started {
				in.Kept = r.s.Kept()
			}
			r.step(x.at, in, false)
		case nil:
			r.bounce(x)
		case believed:
		case restless:
			r.trusted = r.s.trusted
			r.bounce(x)
			r.trusted = x.trusted
		default:
			r.step(x.at, in, x.interlocked)
		}
	}
	end := r.events[len(r.events)-1].Time
	r.until(end)
	r.step(end, Tick{}, false)
	return r.actions
}

// until takes the steps that fall due before at.
func (r *replay) until(at time.Time) {
	for {
		next, ok := r.s.Next(r.cfg)
		if !ok || next >= at.Sub(r.began) {
			return
		}
		r.step(r.began.Add(next), Tick{}, false)
	}
}

// bounce changes the contact until its fault stands, or once where it stands
// already, and leaves it as it was.
func (r *replay) bounce(x replayed) {
	was := r.s.open != r.s.bouncing
	for n := 0; n <= bounceChanges && (n == 0 || !r.s.faults[PartContact]); n++ {
		r.step(x.at, Contact{Open: r.s.open == r.s.bouncing}, false)
	}
	r.step(x.at, Contact{Open: was}, false)
}

// step takes one step. An interlock that holds the door back does so until an
// event says that it no longer does.
func (r *replay) step(at time.Time, in Input, interlocked bool) {
	_, free := in.(freed)
	now := Now{Mono: at.Sub(r.began), Wall: at, Trusted: r.trusted, Interlocked: interlocked || r.s.heldBack && !free}
	s, actions := Step(r.cfg, r.s, in, now)
	r.s = s
	r.actions = append(r.actions, actions...)
}
