package door

import "gatehouse/agent/site"

// event returns the event of a presented credential.
func (a Access) event(k site.Kind) site.Event {
	return site.Event{
		Kind: k, Reader: a.Reader, Reason: a.Reason, HolderID: a.Holder, Credential: a.Credential,
		Card: a.Card, Source: a.Source, Device: a.Device, Item: a.Item, Text: a.text(),
	}
}

// Admits returns the reason for which a mode refuses a credential's function,
// or the empty reason. The decision checks the same; the machine relies on
// nobody for it.
func Admits(mode site.Mode, f site.Function) site.Reason {
	switch {
	case f >= site.FunctionBlocked:
		return site.ReasonBlocked
	case mode == site.ModeDisabled:
		return site.ReasonDoorDisabled
	case f == site.FunctionPassThrough:
		return ""
	case mode == site.ModeLockdown:
		return site.ReasonLockdown
	case frozen(mode) && f != site.FunctionFreeze && f != site.FunctionLockdown:
		return site.ReasonFrozen
	}
	return ""
}

// objects returns the reason for which the machine refuses a grant, or the empty
// reason.
func (m *machine) objects(in Grant, mode site.Mode) site.Reason {
	if r := Admits(mode, in.Function); r != "" {
		return r
	}
	switch {
	case in.Function == site.FunctionLockdown, in.Function == site.FunctionFreeze,
		in.Function == site.FunctionToggle && mode.Unlocked():
		return "" // it opens nothing
	case m.now.Interlocked && m.s.heeds():
		return site.ReasonInterlock
	case (m.cfg.TwoPerson || in.Function == site.FunctionSupervised) && in.alone():
		return site.ReasonSecondPersonRequired
	}
	return ""
}

// alone reports whether nobody else is with the person of a grant.
func (in Grant) alone() bool {
	return in.First == nil || in.First.Credential == in.Credential || in.First.Holder == in.Holder && in.Holder != ""
}

// grant does what a granted credential asks for.
func (m *machine) grant(in Grant) {
	s := &m.s
	mode, _ := s.Mode()
	s.refusal = m.objects(in, mode)
	if in.First != nil {
		m.joined()
	}
	m.answer(in.Access, in.Settles, true)
	if s.refusal != "" {
		for i, a := range in.people() {
			a.Reason = s.refusal
			m.deny(a, in.FirstDuress && in.First != nil && i == 0 || in.Duress && (in.First == nil || i == 1))
			m.act(NotPassed{a})
		}
		return
	}
	m.record(in)
	switch in.Function {
	case site.FunctionLockdown:
		s.lockdown = hold{on: true, mode: site.ModeLockdown, by: byCredential}
		m.cut()
		m.notPassed(in.people())
	case site.FunctionToggle:
		m.toggle(mode)
		if mode.Unlocked() {
			m.notPassed(in.people())
		} else {
			m.passed(in.people())
		}
	case site.FunctionFreeze:
		m.flipFreeze(mode)
		m.notPassed(in.people())
	default:
		m.pass(in, mode)
	}
}

// record writes down and shows a grant.
func (m *machine) record(in Grant) {
	if in.First != nil {
		m.emit(in.First.access("", in.FirstDuress))
		if in.First.Reader != in.Reader {
			m.show(in.First.Reader, site.PatternGranted)
		}
	}
	m.emit(in.access(in.text(), in.Duress))
	m.show(in.Reader, site.PatternGranted)
}

// access returns the event of a grant or a refusal. Duress is in it and no event
// beside it ([site.Event.Duress]). An empty text is that of the access.
func (a Access) access(text string, duress bool) site.Event {
	e := a.event(site.KindAccess)
	if text != "" {
		e.Text = text
	}
	if duress {
		e.As = site.KindDuress
	}
	return e
}

// byCredential is Event.By of a mode that a credential set; the access event
// beside it says which.
const byCredential = "credential"

func (m *machine) toggle(mode site.Mode) {
	s := &m.s
	if !mode.Unlocked() {
		s.override = hold{on: true, mode: site.ModePassage, by: byCredential}
		return
	}
	m.secure(byCredential)
}

// secure ends all that holds the door unlocked, and overrides a schedule that
// does.
func (m *machine) secure(by string) {
	s := &m.s
	m.cut()
	if s.freeze.on && s.freeze.mode.Unlocked() {
		s.freeze = hold{}
	}
	if s.override.on && s.override.mode.Unlocked() {
		s.override = hold{}
	}
	if s.scheduled.Mode.Unlocked() && !s.override.on {
		s.override = hold{on: true, mode: site.ModeSecured, by: by}
	}
}

func (m *machine) flipFreeze(mode site.Mode) {
	s := &m.s
	switch {
	case s.freeze.on:
		s.freeze = hold{}
	case mode.Unlocked():
		s.freeze = hold{on: true, mode: site.ModeFrozenPassage, by: byCredential}
	default:
		s.freeze = hold{on: true, mode: site.ModeFrozenSecured, by: byCredential}
	}
}

// deny records and shows a refusal.
func (m *machine) deny(a Access, duress bool) {
	m.emit(a.access("", duress))
	p := site.PatternDenied
	switch a.Reason {
	case site.ReasonNoPolicy, site.ReasonFault:
		p = site.PatternError
	case site.ReasonLockdown:
		p = site.PatternLockdown
	}
	m.show(a.Reader, p)
}

func (m *machine) show(r site.ReaderID, p site.Pattern) {
	if r != "" {
		m.act(Show{r, p})
	}
}
