package door

import (
	"time"

	"gatehouse/agent/site"
)

// startPulse unlocks for d, or extends the pulse under way.
func (m *machine) startPulse(d time.Duration, ada, timed bool) {
	p := &m.s.pulse
	if !p.on {
		*p = pulse{on: true}
	}
	p.end = max(p.end, m.after(d))
	p.ada = p.ada || ada
	p.timed = p.timed || timed
	m.s.grant.ended = false
	if s := &m.s; s.open {
		s.heldADA = s.heldADA || ada
		m.restartHeld()
	}
}

// restartHeld begins the held-open times of an open door again, unless it is
// too late for that.
func (m *machine) restartHeld() {
	s := &m.s
	if !s.held || s.heldAlarm {
		return
	}
	m.raise(&s.warned, false, site.KindDoorHeldWarning, "")
	s.heldFrom = m.now.Mono
}

// endPulse relocks. Whether a grant was used is known when the grace is over.
func (m *machine) endPulse() {
	s := &m.s
	s.pulse.on, s.pulse.end = false, m.now.Mono
	s.grant.ended, s.grant.end = true, m.now.Mono+Grace
}

// cut ends a pulse because somebody locks the door.
func (m *machine) cut() {
	if m.s.pulse.on {
		m.endPulse()
	}
}

// moved takes a settled change of the contact that began at onset.
func (m *machine) moved(open bool, onset time.Duration) {
	s := &m.s
	s.bouncing = false
	s.open = open
	if open {
		m.opened(onset)
	} else {
		m.closed()
	}
}

func (m *machine) opened(onset time.Duration) {
	s := &m.s
	m.emit(site.Event{Kind: site.KindDoorOpened})
	mode, _ := s.Mode()
	s.held, s.heldFrom = true, onset
	// A mode that began to unlock since the last step counts.
	byMode := mode.Unlocked() && (s.let || !m.now.Interlocked)
	if !s.unlocked && !s.fire && !byMode && onset >= s.maskEnd {
		s.heldADA = false
		m.raise(&s.forced, true, site.KindDoorForced, "")
		return
	}
	s.heldADA = s.pulse.ada && (s.pulse.on || onset < s.pulse.end+Grace)
	people := s.grant.people
	s.grant = grant{}
	m.passed(people)
	if s.pulse.on && !s.pulse.timed && m.cfg.Relock == RelockOnOpen {
		m.endPulse()
	}
}

func (m *machine) closed() {
	s := &m.s
	m.emit(site.Event{Kind: site.KindDoorClosed})
	s.held, s.heldADA = false, false
	m.clearAlarms()
	if s.pulse.on && !s.pulse.timed && m.cfg.Relock == RelockOnClose {
		m.endPulse()
	}
}

// exit takes the level of the exit button. Nothing but an interlock refuses a
// press, and that yields to fire and to a second one; only one that has not ended, bounce
// included, is no new press.
func (m *machine) exit(pressed bool) {
	s := &m.s
	if !pressed {
		if s.pressed && !s.releasing {
			s.releasing, s.releaseAt = true, m.now.Mono
		}
		return
	}
	if s.pressed {
		s.releasing = false
		return
	}
	s.pressed, s.pressedAt = true, m.now.Mono
	if !m.cfg.RexUnlock {
		m.emit(site.Event{Kind: site.KindExit})
		s.maskEnd = max(s.maskEnd, m.now.Mono+m.cfg.Unlock)
		return
	}
	stands := m.interlocked()
	if stands && !s.alarm && !(s.refused && m.now.Mono-s.refusedAt <= m.cfg.exitRepeat()) {
		s.refused, s.refusedAt = true, m.now.Mono
		m.emit(site.Event{Kind: site.KindExit, Reason: site.ReasonInterlock})
		return
	}
	s.refused = false
	e := site.Event{Kind: site.KindExit}
	switch {
	case stands && s.alarm:
		e.Text = textInFire
	case stands:
		e.Text = textRepeated
	}
	m.emit(e)
	m.startPulse(m.cfg.Unlock, false, false)
	s.pulse.yielded = s.pulse.yielded || stands
}

// fire takes the site's fire input. A door with FireNone stays as it is, but no
// interlock refuses its exit button any more.
func (m *machine) fire(on bool) {
	m.s.alarm = on
	if m.cfg.Fire != FireRelease || m.s.fire == on {
		return
	}
	m.s.fire = on
	m.emit(site.Event{Kind: site.KindFire, Cleared: !on, Text: textReleased})
}

// fault begins or ends a fault, once.
func (m *machine) fault(p Part, on bool) {
	if p >= parts || m.s.faults[p] == on {
		return
	}
	if p == PartStrike {
		m.s.retryAt = m.now.Mono + strikeRetry
	}
	m.raise(&m.s.faults[p], on, site.KindFault, p.String())
}
