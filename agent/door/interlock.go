package door

import "gatehouse/agent/site"

// unlocks works out whether the door is to be unlocked. What mode and pulse ask
// for is let when it begins, and no interlock takes it back; while fire or a
// repeated press holds the door unlocked anyway nothing is judged.
func (m *machine) unlocks(mode site.Mode) bool {
	s := &m.s
	over := s.fire || s.pulse.on && s.pulse.yielded
	switch {
	case !mode.Unlocked() && !s.pulse.on:
		s.let = false
	case !over && !s.let:
		s.let = !m.now.Interlocked
	}
	if s.pulse.on && !over && !s.let {
		m.endPulse() // it began under fire, and the fire is over
		m.emit(site.Event{Kind: site.KindCommand, Text: textCut, Reason: site.ReasonInterlock, By: byInterlock})
	}
	unlocked := over || s.let
	if back := mode.Unlocked() && !unlocked; back != s.heldBack {
		m.holdBack(back)
	}
	return unlocked
}

// holdBack notes that an interlock begins or ends to hold back what the mode
// asks for. It is no event of a mode: that one stays what it is.
func (m *machine) holdBack(on bool) {
	m.s.heldBack = on
	m.emit(site.Event{
		Kind: site.KindCommand, Text: textHeldBack, Mode: m.s.mode.String(),
		Reason: site.ReasonInterlock, By: byInterlock, Cleared: !on,
	})
}

// endHeldBack ends it because another mode comes.
func (m *machine) endHeldBack() {
	if m.s.heldBack {
		m.holdBack(false)
	}
}

// interlocked reports whether an interlock refuses to unlock the door: another
// one is not secure, and this one is locked or falls due to be.
func (m *machine) interlocked() bool {
	s := &m.s
	mode, _ := s.Mode()
	unlocked := s.fire || s.let && (mode.Unlocked() || s.pulse.on) || s.pulse.on && s.pulse.yielded
	return m.now.Interlocked && !unlocked
}
