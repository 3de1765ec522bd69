package door

import (
	"slices"

	"gatehouse/agent/site"
)

// people returns who asks to pass, the first of two first.
func (in Grant) people() []Access {
	if in.First == nil {
		return []Access{in.Access}
	}
	return []Access{*in.First, in.Access}
}

// pass opens for one pulse.
func (m *machine) pass(in Grant, mode site.Mode) {
	s, people := &m.s, in.people()
	// Where the contact cannot tell whether somebody went in on this grant, he
	// did, and it is not called unused.
	if m.cfg.Contact == "" || s.open || mode.Unlocked() || s.fire || len(s.grant.people)+len(people) > maxPeople {
		m.passed(people)
	} else {
		all := slices.Concat(s.grant.people, people)
		s.grant = grant{on: true, count: s.grant.count + 1, access: in.Access, people: all}
	}
	m.startPulse(m.cfg.unlockTime(in.ADA), in.ADA, false)
}

// passed notes who went through. One who came in is the first person that a
// schedule may wait for; under a clock that is not trusted nobody can say
// whether it was in time.
func (m *machine) passed(people []Access) {
	s := &m.s
	for _, a := range people {
		m.act(Passed{a})
		in := s.scheduled.FirstIn && m.now.Trusted && !a.Out && !m.now.Wall.Before(s.scheduled.Since)
		if in && !s.firstIsIn() {
			s.firstIn = m.now.Wall
		}
	}
}

func (m *machine) notPassed(people []Access) {
	for _, a := range people {
		m.act(NotPassed{a})
	}
}

// unused ends a grant on which nobody went through.
func (m *machine) unused() {
	g := m.s.grant
	m.s.grant = grant{}
	e := g.access.event(site.KindUnused)
	if g.count > 1 {
		e.Count = g.count
	}
	m.emit(e)
	m.notPassed(g.people)
}

// schedule takes what the schedule asks for. A change is recorded though
// something stronger may rule: it says what the door goes back to.
func (m *machine) schedule(in Schedule) {
	if in.FirstIn && in.Mode.Unlocked() {
		in.Since = in.Since.Round(0).UTC()
	} else {
		in = Schedule{Mode: in.Mode}
	}
	if in == m.s.scheduled {
		return
	}
	m.s.scheduled = in
	m.emit(site.Event{Kind: site.KindCommand, Text: scheduleText(in), Mode: in.Mode.String(), By: bySchedule})
}
