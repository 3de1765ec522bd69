package door

import "gatehouse/agent/site"

// waits takes a decision that waits for more. At a door one person waits for a
// second one, and at each reader one card for a PIN: who comes in their place
// ends what was waited for.
func (m *machine) waits(in Waiting) {
	s := &m.s
	m.answer(in.Access, in.Settles, false)
	w := wait{on: true, end: m.now.Mono + WaitTime, access: in.Access, duress: in.Duress}
	free := -1
	for i := range s.waits {
		if old := &s.waits[i]; old.on && old.second() && w.second() {
			m.endWait(old)
		}
		if !s.waits[i].on {
			free = i
		}
	}
	if free < 0 {
		free = s.oldestWait()
		m.endWait(&s.waits[free])
	}
	s.waited++
	w.id = s.waited
	s.waits[free] = w
	m.show(in.Reader, site.PatternWaiting)
}

func (s *State) oldestWait() int {
	oldest := 0
	for i := range s.waits {
		if s.waits[i].id < s.waits[oldest].id {
			oldest = i
		}
	}
	return oldest
}

// answer ends the waits that a presented credential settles, and what waited for
// a PIN at its reader when another one came.
func (m *machine) answer(a Access, settles uint64, granted bool) {
	for i := range m.s.waits {
		w := &m.s.waits[i]
		same := a.Credential != "" && w.access.Credential == a.Credential && (granted || w.access.Reader == a.Reader)
		switch {
		case !w.on:
		case same, settles == w.id && !w.second():
			*w = wait{}
		case settles == w.id, !w.second() && w.access.Reader == a.Reader:
			m.endWait(w)
		}
	}
}

// joined ends the wait of the first of two persons: the second has come.
func (m *machine) joined() {
	for i := range m.s.waits {
		if w := &m.s.waits[i]; w.on && w.second() {
			*w = wait{}
		}
	}
}

// endWait records what was waited for in vain.
func (m *machine) endWait(w *wait) {
	a, duress := w.access, w.duress
	*w = wait{}
	m.deny(a, duress)
}

// endWaits lets nobody wait at a door that is locked down or disabled.
func (m *machine) endWaits(mode site.Mode) {
	r := Admits(mode, site.FunctionNorm)
	if r != site.ReasonLockdown && r != site.ReasonDoorDisabled {
		return
	}
	for i := range m.s.waits {
		if w := &m.s.waits[i]; w.on {
			w.access.Reason = r
			m.endWait(w)
		}
	}
}
