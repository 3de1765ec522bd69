package door

import "gatehouse/agent/site"

// event returns the event of a presented credential.
func (a Access) event(k site.Kind) site.Event {
	return site.Event{
		Kind: k, Reader: a.Reader, Reason: a.Reason, HolderID: a.Holder, Credential: a.Credential,
		Card: a.Card, Source: a.Source, Device: a.Device, Item: a.Item, Text: a.Note,
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

// grant does what a granted credential asks for.
func (m *machine) grant(in Grant) {
	s := &m.s
	mode, _ := s.Mode()
	if r := Admits(mode, in.Function); r != "" {
		in.Reason = r
		m.deny(in.Access)
		return
	}
	if s.wait.on && (s.wait.access.Credential == in.Credential || s.wait.access.Reason == site.ReasonSecondPersonRequired) {
		s.wait = wait{}
	}
	m.emit(in.event(site.KindAccess))
	if in.Duress {
		m.emit(in.event(site.KindDuress))
	}
	m.show(in.Reader, site.PatternGranted)
	switch in.Function {
	case site.FunctionLockdown:
		s.lockdown = hold{on: true, mode: site.ModeLockdown, by: byCredential}
		m.cut()
	case site.FunctionToggle:
		m.toggle(mode)
	case site.FunctionFreeze:
		m.flipFreeze(mode)
	default:
		m.pass(in, mode)
	}
}

// byCredential is Event.By of a mode that a credential set; the access event
// beside it says which.
const byCredential = "credential"

// pass opens for one pulse.
func (m *machine) pass(in Grant, mode site.Mode) {
	s := &m.s
	// Where the contact cannot tell whether somebody went in on this grant,
	// it is not called unused.
	if m.cfg.Contact != "" && !s.open && !mode.Unlocked() && !s.fire {
		s.grant = grant{on: true, count: s.grant.count + 1, access: in.Access}
	}
	m.startPulse(m.cfg.unlockTime(in.ADA), in.ADA, false)
}

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
	if s.scheduled.Unlocked() && !s.override.on {
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
func (m *machine) deny(a Access) {
	m.emit(a.event(site.KindAccess))
	p := site.PatternDenied
	switch a.Reason {
	case site.ReasonNoPolicy, site.ReasonFault:
		p = site.PatternError
	case site.ReasonLockdown:
		p = site.PatternLockdown
	}
	m.show(a.Reader, p)
}

// endWait records what was waited for in vain.
func (m *machine) endWait() {
	a := m.s.wait.access
	m.s.wait = wait{}
	m.deny(a)
}

func (m *machine) show(r site.ReaderID, p site.Pattern) {
	if r != "" {
		m.act(Show{r, p})
	}
}
