package door

import "gatehouse/agent/site"

// contact takes the level of the door contact, bounce and all.
func (m *machine) contact(open bool) {
	s := &m.s
	if open == (s.open != s.bouncing) {
		return // no change
	}
	slot := &s.changes[s.changed%bounceChanges]
	if s.changed >= bounceChanges && m.now.Mono-*slot < bounceTime {
		m.fault(PartContact, true)
	}
	*slot, s.changedAt = m.now.Mono, m.now.Mono
	s.changed++
	s.bouncing = open != s.open
	if s.bouncing {
		s.bounceAt = m.now.Mono
	}
}

// tampered takes the tamper input. It counts at once, and its end when it has
// stood for Settle: a loose wire is one alarm.
func (m *machine) tampered(on bool) {
	s := &m.s
	switch {
	case on:
		s.tamperEnds = false
		m.raise(&s.tamper, true, site.KindTamper, textTamper)
	case s.tamper && !s.tamperEnds:
		s.tamperEnds, s.tamperAt = true, m.now.Mono
	}
}

// bond takes the bond sensor. Its fault ends when the lock is seen to hold.
func (m *machine) bond(secure bool) {
	m.s.loose = !secure
	if secure {
		m.s.bondRuns = false
		m.fault(PartBond, false)
	}
}

// watchBond starts and stops the time in which a locked and closed door has to
// become secure.
func (m *machine) watchBond() {
	s := &m.s
	runs := s.loose && !s.unlocked && !s.open
	if runs && !s.bondRuns {
		s.bondFrom = m.now.Mono
	}
	s.bondRuns = runs
}

// supervise does what has fallen due of all that is supervised.
func (m *machine) supervise() {
	s, now := &m.s, m.now.Mono
	if s.tamperEnds && s.tamperAt+Settle <= now {
		s.tamperEnds = false
		m.raise(&s.tamper, false, site.KindTamper, textTamper)
	}
	if s.bondRuns && s.bondFrom+m.cfg.bondTime() <= now {
		m.fault(PartBond, true)
	}
	if s.faults[PartContact] && s.changedAt+bounceTime <= now {
		m.fault(PartContact, false)
	}
}
