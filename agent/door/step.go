package door

import (
	"time"

	"gatehouse/agent/site"
)

// Step is the door's machine: it takes an input at an instant and returns the
// next state and what is to be done, in order. It does no I/O and keeps
// nothing. cfg must not change between steps of one machine. An instant before
// that of the last step counts as the last step's.
func Step(cfg *Config, s State, in Input, now Now) (State, []Action) {
	start, starting := in.(Start)
	if !s.started && !starting {
		return s, nil
	}
	if starting {
		s = State{}
	}
	now.Mono, now.Wall = max(now.Mono, s.at), now.Wall.Round(0)
	m := machine{cfg: cfg, s: s, now: now}
	m.s.at, m.s.trusted = now.Mono, now.Trusted
	if starting {
		m.start(start)
	}
	kept := m.keeps()
	m.anchor()
	m.advance()
	m.take(in)
	m.advance()
	m.settle()
	if m.keeps() != kept {
		m.act(Keep{m.s.Kept()})
	}
	return m.s, m.drive(starting)
}

// machine is one step under way.
type machine struct {
	cfg     *Config
	s       State
	now     Now
	actions []Action
}

func (m *machine) act(a Action) { m.actions = append(m.actions, a) }

// emit records an event of this door at this instant.
func (m *machine) emit(e site.Event) {
	e.Door, e.Time, e.Trusted = m.cfg.ID, m.now.Wall, m.now.Trusted
	m.act(Emit{e})
}

// raise begins or ends an alarm, once.
func (m *machine) raise(flag *bool, on bool, k site.Kind, text string) {
	if *flag == on {
		return
	}
	*flag = on
	m.emit(site.Event{Kind: k, Cleared: !on, Text: text})
}

// start takes up what was found. The holds are restored before anything else
// is looked at, so that a lockdown is in force from the first strike command.
func (m *machine) start(in Start) {
	s := &m.s
	s.started = true
	s.open, s.loose, s.firstIn = in.Open, in.Loose, in.Kept.FirstIn
	m.tampered(in.Tamper)
	s.pressed, s.pressedAt = in.Pressed, m.now.Mono
	s.lockdown = m.restore(in.Kept.Lockdown, func(mode site.Mode) bool { return mode == site.ModeLockdown })
	s.freeze = m.restore(in.Kept.Freeze, frozen)
	s.override = m.restore(in.Kept.Override, func(mode site.Mode) bool {
		return mode == site.ModeSecured || mode == site.ModePassage || mode == site.ModeDisabled
	})
	s.mode, _ = s.Mode()
	s.down = s.lockdown.on
	m.fire(in.Fire)
	m.schedule(in.Schedule)
}

func frozen(m site.Mode) bool { return m == site.ModeFrozenSecured || m == site.ModeFrozenPassage }

func (m *machine) restore(k *site.DoorOverride, fits func(site.Mode) bool) hold {
	if k == nil || !fits(k.Mode) {
		return hold{}
	}
	return m.newHold(k.Mode, k.By, k.Until, false)
}

// newHold makes a hold that ends at until, without end when that is zero.
func (m *machine) newHold(mode site.Mode, by string, until time.Time, elapsed bool) hold {
	h := hold{on: true, mode: mode, by: by, until: until, elapsed: elapsed && !until.IsZero()}
	if h.ends() {
		h.end = m.after(until.Sub(m.now.Wall))
	}
	return h
}

// after returns the instant d from now, without overflow; d may be negative.
func (m *machine) after(d time.Duration) time.Duration {
	const last = 1<<63 - 1 - time.Hour
	if d > 0 && m.now.Mono > last-d {
		return last
	}
	return m.now.Mono + d
}

// anchor ties the ends of holds to the wall clock while that is trusted; else
// they run on elapsed time from where they were (door.md, Untrusted clock). An
// end that was worked out before time was known is moved to the true time at
// which the same duration ends.
func (m *machine) anchor() {
	if !m.now.Trusted {
		return
	}
	for _, h := range []*hold{&m.s.override, &m.s.freeze, &m.s.lockdown} {
		switch {
		case !h.ends():
		case h.elapsed:
			h.until, h.elapsed = m.now.Wall.Add(h.end-m.now.Mono), false
		default:
			h.end = m.after(h.until.Sub(m.now.Wall))
		}
	}
}

// advance does all that has fallen due.
func (m *machine) advance() {
	s, now := &m.s, m.now.Mono
	// The contact first: what it shows began before anything that ends now.
	if s.bouncing && s.bounceAt+Settle <= now {
		m.moved(!s.open, s.bounceAt)
	}
	for _, h := range []*hold{&s.override, &s.freeze, &s.lockdown} {
		if h.ends() && h.end <= now {
			*h = hold{}
		}
	}
	if s.pulse.on && s.pulse.end <= now {
		m.endPulse()
	}
	if s.releasing && s.releaseAt+Settle <= now {
		s.pressed, s.releasing = false, false
		m.fault(PartRex, false)
	}
	if s.pressed && !s.releasing && m.cfg.RexStuck > 0 && s.pressedAt+m.cfg.RexStuck <= now {
		m.fault(PartRex, true)
	}
	if s.grant.on && s.grant.ended && !s.bouncing && s.grant.end <= now {
		m.unused()
	}
	for i := range s.waits {
		if w := &s.waits[i]; w.on && w.end <= now {
			m.endWait(w)
		}
	}
	m.advanceHeld()
	m.supervise()
}

func (m *machine) advanceHeld() {
	s, now := &m.s, m.now.Mono
	if !s.held {
		return
	}
	warn, alarm := m.cfg.heldTimes(s.heldADA)
	if warn > 0 && s.heldFrom+warn <= now && !s.heldAlarm {
		m.raise(&s.warned, true, site.KindDoorHeldWarning, "")
	}
	if alarm > 0 && s.heldFrom+alarm <= now {
		m.raise(&s.heldAlarm, true, site.KindDoorHeld, "")
	}
}

// take does what the input itself asks for.
func (m *machine) take(in Input) {
	switch in := in.(type) {
	case Start, Tick:
	case Contact:
		m.contact(in.Open)
	case Exit:
		m.exit(in.Pressed)
	case Grant:
		m.grant(in)
	case Denied:
		m.answer(in.Access, in.Settles, false)
		m.deny(in.Access, in.Duress)
	case Waiting:
		m.waits(in)
	case Command:
		m.command(in)
	case Schedule:
		m.schedule(in)
	case Tamper:
		m.tampered(in.On)
	case Bond:
		m.bond(in.Secure)
	case Fire:
		m.fire(in.On)
	case Fault:
		m.fault(in.Part, in.On)
	}
}

// settle brings what follows from everything else in line: the mode event, what
// an interlock holds back, silence, the start of held-open times, the grace
// after relock.
func (m *machine) settle() {
	s := &m.s
	mode, _, h := s.ruling()
	e := site.Event{Kind: site.KindMode, Mode: mode.String(), By: h.by, Until: h.until}
	ended := s.down && !s.lockdown.on
	if ended {
		e.Text = textLockdownEnded
	}
	s.down = s.lockdown.on
	switch {
	case mode != s.mode:
		m.endHeldBack()
		s.mode = mode
		m.emit(e)
		m.endWaits(mode)
	case ended: // under a door that is disabled
		m.emit(e)
	}
	unlocked := m.unlocks(mode)
	switch silent := mode.Unlocked() && s.let || s.fire || s.pulse.on && s.pulse.timed; {
	case silent:
		s.held = false
		m.clearAlarms()
	case s.open && !s.held:
		s.held, s.heldFrom = true, m.now.Mono
	}
	if s.unlocked && !unlocked {
		s.maskEnd = max(s.maskEnd, m.now.Mono+Grace)
	}
	s.unlocked = unlocked
	m.watchBond()
}

func (m *machine) clearAlarms() {
	m.raise(&m.s.forced, false, site.KindDoorForced, "")
	m.raise(&m.s.heldAlarm, false, site.KindDoorHeld, "")
	m.raise(&m.s.warned, false, site.KindDoorHeldWarning, "")
}

// drive returns the actions of the step with the strike command, if any, first.
func (m *machine) drive(starting bool) []Action {
	s := &m.s
	energise := s.unlocked == (m.cfg.Fail == FailSecure)
	again := s.faults[PartStrike] && s.retryAt <= m.now.Mono
	if again {
		s.retryAt = m.now.Mono + strikeRetry
	}
	if energise == s.energised && !again && !starting {
		return m.actions
	}
	s.energised = energise
	return append([]Action{Strike{energise}}, m.actions...)
}

// keptState is what of a state survives a restart, in a form to compare.
type keptState struct {
	holds [3]struct {
		on    bool
		mode  site.Mode
		by    string
		until time.Time
	}
	firstIn time.Time
}

func (m *machine) keeps() (k keptState) {
	for i, h := range [3]hold{m.s.override, m.s.freeze, m.s.lockdown} {
		k.holds[i].on, k.holds[i].mode, k.holds[i].by, k.holds[i].until = h.on, h.mode, h.by, h.until
	}
	k.firstIn = m.s.firstIn
	return k
}
