package access_test

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"gatehouse/agent/access"
	"gatehouse/agent/site"
)

// naiveDecide is the decision a second time: without maps, without what is
// compiled before, each rule as door.md words it, and all records judged before
// any is chosen.
func naiveDecide(w world) site.Reason {
	q := w.req
	var mine []site.Credential
	for _, c := range w.records {
		if q.ByPIN || c.Bits == 0 || c.Bits == q.Bits.Len() {
			mine = append(mine, c)
		}
	}
	if !q.ByPIN && (q.Bits.Len() > 128 || q.Bits.Len() == 0) {
		return site.ReasonUnknownFormat
	}
	if len(mine) == 0 && q.ByPIN {
		return naiveNobody(q)
	}
	if len(mine) == 0 {
		if len(q.Formats.Decode(q.Bits)) == 0 {
			return site.ReasonUnknownFormat
		}
		return site.ReasonUnknownCredential
	}
	for _, veto := range []site.Reason{site.ReasonRevoked, site.ReasonBlocked, site.ReasonFault} {
		for _, c := range mine {
			if (c.Source == "operator" || c.Source == "") && naiveState(c) == veto {
				return veto
			}
		}
	}
	var got []site.Reason
	for _, c := range mine {
		got = append(got, naiveJudge(w, c))
	}
	rank := func(r site.Reason) int {
		switch r {
		case site.ReasonGranted, site.ReasonGrantedPassback:
			return 1000
		case site.ReasonPINRequired, site.ReasonSecondPersonRequired:
			return 500 + r.Rank()
		}
		return r.Rank()
	}
	return slices.MaxFunc(got, func(a, b site.Reason) int { return rank(a) - rank(b) })
}

func naiveState(c site.Credential) site.Reason {
	if c.State == site.CredentialRevoked {
		return site.ReasonRevoked
	}
	if c.State == site.CredentialBlocked || c.Function == site.FunctionBlocked {
		return site.ReasonBlocked
	}
	if c.State != site.CredentialActive || c.Function.String() == fmt.Sprintf("function(%d)", c.Function) {
		return site.ReasonFault
	}
	return ""
}

func naiveJudge(w world, c site.Credential) site.Reason {
	q, k := w.req, w.req.Clock
	if r := naiveState(c); r != "" {
		return r
	}
	uses := c.Uses
	if c.Function == site.FunctionOneTime {
		uses = 1
	}
	if uses != 0 && c.Used >= uses {
		return site.ReasonUsedUp
	}
	if k.Trusted && c.From.After(k.Now) {
		return site.ReasonNotActive
	}
	later := k.Now
	if !k.Trusted && k.LastTrusted.After(later) {
		later = k.LastTrusted
	}
	if !c.Until.IsZero() && !c.Until.After(later) {
		return site.ReasonExpired
	}
	var verdicts []site.Reason
	for _, r := range naiveRights(w, c) {
		verdicts = append(verdicts, naiveRight(w, c, r))
	}
	if len(verdicts) == 0 {
		return site.ReasonNoRight
	}
	if r := naiveDoor(q, c.Function); r != "" {
		return r
	}
	if !slices.Contains(verdicts, site.ReasonGranted) {
		return slices.MaxFunc(verdicts, func(a, b site.Reason) int { return a.Rank() - b.Rank() })
	}
	if r := naiveArea(q, c.Function); r != "" {
		return r
	}
	if r := naivePIN(q, c); r != "" {
		return r
	}
	if naiveLocks(c.Function, q.Mode) {
		return cmp.Or(q.Area, site.ReasonGranted)
	}
	second := q.With != "" && q.With != c.Holder && c.Holder != ""
	if c.Function == site.FunctionSupervised || q.TwoPerson && !second || q.With != "" && !second {
		return site.ReasonSecondPersonRequired
	}
	if q.Area != "" {
		return q.Area
	}
	return site.ReasonGranted
}

// naiveNobody is a PIN alone that is nobody's.
func naiveNobody(q access.Request) site.Reason {
	pin := site.ReasonPINWrong
	if q.PIN == access.PINLockedOut {
		pin = site.ReasonPINLockedOut
	}
	for _, r := range []site.Reason{naiveDoor(q, site.FunctionNorm), naiveArea(q, site.FunctionNorm), pin} {
		if r != "" {
			return r
		}
	}
	return ""
}

func naiveDoor(q access.Request, f site.Function) site.Reason {
	pass, freeze, lockdown := f == site.FunctionPassThrough, f == site.FunctionFreeze, f == site.FunctionLockdown
	switch m := q.Mode.String(); {
	case m == "disabled" || m == "mode(6)":
		return site.ReasonDoorDisabled
	case m == "lockdown" && !pass:
		return site.ReasonLockdown
	case (m == "frozen_secured" || m == "frozen_passage") && !pass && !freeze && !lockdown:
		return site.ReasonFrozen
	}
	if q.ReaderClosed {
		return site.ReasonReaderClosed
	}
	return ""
}

func naiveArea(q access.Request, f site.Function) site.Reason {
	switch q.Area {
	case "", site.ReasonGrantedPassback:
	case site.ReasonPassback, site.ReasonOccupancy, site.ReasonInterlock:
		return q.Area
	default:
		return site.ReasonFault
	}
	if q.Interlocked && !naiveLocks(f, q.Mode) {
		return site.ReasonInterlock
	}
	return ""
}

// naiveLocks reports whether a function unlocks nothing in that mode.
func naiveLocks(f site.Function, m site.Mode) bool {
	unlocked := m == site.ModePassage || m == site.ModeFrozenPassage
	return f == site.FunctionLockdown || f == site.FunctionFreeze || f == site.FunctionToggle && unlocked
}

func naivePIN(q access.Request, c site.Credential) site.Reason {
	if q.PIN == access.PINNotAsked && !q.ByPIN {
		return ""
	}
	last := q.PIN
	for _, o := range q.PINs {
		if o.Credential == c.ID {
			last = o.PIN
		}
	}
	switch {
	case last == access.PINLockedOut:
		return site.ReasonPINLockedOut
	case last == access.PINWrong:
		return site.ReasonPINWrong
	case last == access.PINRight || q.ByPIN:
		return ""
	}
	return site.ReasonPINRequired
}

// naiveRight is one right with the source that its schedule is named in.
type naiveRightOf struct {
	right site.Right
	in    site.Source
}

func same(a, b site.Source) bool {
	return a == b || (a == "" || a == "operator") && (b == "" || b == "operator")
}

func naiveRights(w world, c site.Credential) []naiveRightOf {
	var out []naiveRightOf
	add := func(rs []site.Right, in site.Source) {
		for _, r := range rs {
			if r.Door != "" && r.Door == w.req.Door {
				out = append(out, naiveRightOf{r, in})
			}
		}
	}
	add(c.Rights, c.Source)
	for _, id := range c.Levels {
		for _, from := range []site.Source{c.Source, "operator"} {
			var found []site.Level
			for _, l := range w.levels {
				if l.ID == id && same(l.Source, from) {
					found = append(found, l)
				}
			}
			if len(found) == 1 {
				add(found[0].Rights, from)
			}
			if len(found) > 0 {
				break
			}
		}
	}
	return out
}

func naiveRight(w world, c site.Credential, r naiveRightOf) site.Reason {
	k := w.req.Clock
	if !k.Trusted && k.Mode != site.ClockIgnore {
		if r.right.Schedule != "" || k.Mode != site.ClockAlwaysOnly && !c.Until.IsZero() {
			return site.ReasonClockUntrusted
		}
	}
	if r.right.Schedule == "" {
		return site.ReasonGranted
	}
	for _, from := range []site.Source{r.in, "operator"} {
		var found []site.Schedule
		for _, s := range w.schedules {
			if s.ID == r.right.Schedule && same(s.Source, from) {
				found = append(found, s)
			}
		}
		if len(found) == 1 {
			return naiveSchedule(w, found[0])
		}
		if len(found) > 1 {
			break
		}
	}
	return site.ReasonOutOfSchedule
}

func naiveSchedule(w world, s site.Schedule) site.Reason {
	now := w.req.Clock.Now.In(w.zone)
	minute := now.Hour()*60 + now.Minute()
	noon := time.Date(now.Year(), now.Month(), now.Day(), 12, 0, 0, 0, time.UTC)
	suspended := false
	for _, iv := range s.Intervals {
		if iv.Start < 0 || iv.Start > 1439 || iv.End < 1 || iv.End > 1440 {
			continue
		}
		over := iv.End <= iv.Start
		in := false // by a day on which it starts
		if minute >= iv.Start && (over || minute < iv.End) {
			in = naiveDay(w, s, iv.Days, noon)
		}
		if over && minute < iv.End {
			in = in || naiveDay(w, s, iv.Days, noon.AddDate(0, 0, -1))
		}
		holiday, named := naiveHoliday(w, iv.Days, noon)
		switch {
		case !in:
		case s.IgnoreHolidays || !holiday || named:
			return site.ReasonGranted
		default:
			suspended = true
		}
	}
	if suspended {
		return site.ReasonHoliday
	}
	return site.ReasonOutOfSchedule
}

// naiveDay reports whether an interval of these days starts on that day.
func naiveDay(w world, s site.Schedule, days site.Days, day time.Time) bool {
	_, named := naiveHoliday(w, days, day)
	return days.Has(day.Weekday()) || named && !s.IgnoreHolidays
}

// naiveHoliday reports whether the day is a holiday, and of a kind among days.
func naiveHoliday(w world, days site.Days, day time.Time) (holiday, named bool) {
	for _, h := range w.holidays {
		if h.Has(site.DateOf(day)) {
			holiday = true
			named = named || days.HasHoliday(max(h.Kind, 1))
		}
	}
	return holiday, named
}
