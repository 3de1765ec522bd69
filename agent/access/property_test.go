package access_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"gatehouse/agent/access"
	"gatehouse/agent/card"
	"gatehouse/agent/site"
)

// world is everything that a decision sees, in the plain form of which the naive
// implementation decides.
type world struct {
	zone      *time.Location
	schedules []site.Schedule
	levels    []site.Level
	holidays  []site.Holiday
	records   []site.Credential
	req       access.Request
}

// frames are cards: two of one block, one with parity, one without a format, one
// too long.
var frames = []string{"26:26831000", "27:26831000", "32:26831000", "26:26831040", "129:0000000000000000000000000000000000"}

// randomWorld makes a small world in which everything has a fair chance to meet.
func randomWorld(t testing.TB, r *rand.Rand) world {
	t.Helper()
	zones := []string{"UTC", "Europe/Berlin", "Australia/Lord_Howe", "America/Santiago"}
	sources := []site.Source{"operator", "iphost", "hive", ""}
	ids := []string{"", "a", "b", "c"}
	doors := []site.DoorID{"front", "front", "front", "front", "front", "front", "front", "front", "back", ""}
	w := world{zone: location(t, zones[r.IntN(len(zones))])}
	base := []time.Time{monday, time.Date(2026, 10, 24, 23, 0, 0, 0, time.UTC), time.Date(2026, 3, 29, 0, 0, 0, 0, time.UTC), time.Date(2026, 4, 4, 12, 0, 0, 0, time.UTC)}[r.IntN(4)]
	near := func() time.Time { return base.Add(time.Duration(r.IntN(4*24*60)-2*24*60) * time.Minute) }
	maybe := func() time.Time {
		if r.IntN(5) > 0 {
			return time.Time{}
		}
		return near()
	}
	right := func() site.Right {
		return site.Right{Door: doors[r.IntN(len(doors))], Schedule: site.ScheduleID(ids[r.IntN(len(ids))])}
	}
	for range 2 + r.IntN(4) {
		s := site.Schedule{Source: sources[r.IntN(4)], ID: site.ScheduleID(ids[1+r.IntN(3)]), IgnoreHolidays: r.IntN(3) == 0}
		for range r.IntN(4) {
			s.Intervals = append(s.Intervals, site.Interval{Days: site.Days(r.IntN(128) | r.IntN(128)), Start: r.IntN(1442) - 1, End: r.IntN(1442)})
		}
		w.schedules = append(w.schedules, s)
	}
	for range r.IntN(4) {
		l := site.Level{Source: sources[r.IntN(4)], ID: site.LevelID(ids[1+r.IntN(3)])}
		for range r.IntN(3) {
			l.Rights = append(l.Rights, right())
		}
		w.levels = append(w.levels, l)
	}
	for range r.IntN(4) {
		d := near()
		w.holidays = append(w.holidays, site.Holiday{First: site.DateOf(d), Last: site.DateOf(d.AddDate(0, 0, r.IntN(4)-1))})
	}
	for i := range (r.IntN(10) + 5) / 5 {
		c := site.Credential{ID: site.CredentialID(fmt.Sprint(i)), Source: sources[r.IntN(4)], Bits: []int{0, 26, 26, 26, 27, 32}[r.IntN(6)],
			State: site.CredentialActive, From: maybe(), Until: maybe(), Uses: uint32(r.IntN(4) / 2), Used: uint32(r.IntN(4) / 3)}
		if r.IntN(10) == 0 {
			c.State = site.CredentialState(r.IntN(5))
		}
		if r.IntN(2) == 0 {
			c.Function = site.Function(r.IntN(8))
			if r.IntN(40) == 0 {
				c.Function = site.FunctionBlocked + 1
			}
		}
		for range r.IntN(7) / 2 {
			c.Rights = append(c.Rights, right())
		}
		for range r.IntN(3) {
			c.Levels = append(c.Levels, site.LevelID(ids[1+r.IntN(3)]))
		}
		w.records = append(w.records, c)
	}
	w.req = access.Request{Door: doors[r.IntN(len(doors))], Reader: "in", Bits: mustBits(t, frames[max(0, r.IntN(25)-20)]), Formats: card.Standard(),
		Clock: site.Clock{Now: near(), Trusted: r.IntN(3) > 0, LastTrusted: maybe(), Mode: site.ClockMode(r.IntN(4))}}
	if r.IntN(3) == 0 {
		w.req.Mode = site.Mode(r.IntN(7))
	}
	w.req.ReaderClosed = r.IntN(12) == 0
	w.req.PIN = access.PIN(r.IntN(12) / 10)
	if r.IntN(4) == 0 {
		w.req.Area = []site.Reason{site.ReasonGrantedPassback, site.ReasonPassback, site.ReasonOccupancy, site.ReasonInterlock, "nonsense"}[r.IntN(5)]
	}
	return w
}

// naiveDecide is the decision a second time: without maps, without what is
// compiled before, each rule as door.md words it, and all records judged before
// any is chosen.
func naiveDecide(w world) site.Reason {
	q := w.req
	var mine []site.Credential
	for _, c := range w.records {
		if c.Bits == 0 || c.Bits == q.Bits.Len() {
			mine = append(mine, c)
		}
	}
	if q.Bits.Len() > 128 {
		return site.ReasonUnknownFormat
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
	pass, freeze, lockdown := c.Function == site.FunctionPassThrough, c.Function == site.FunctionFreeze, c.Function == site.FunctionLockdown
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
	if !slices.Contains(verdicts, site.ReasonGranted) {
		return slices.MaxFunc(verdicts, func(a, b site.Reason) int { return a.Rank() - b.Rank() })
	}
	switch q.Area {
	case "", site.ReasonGrantedPassback:
	case site.ReasonPassback, site.ReasonOccupancy, site.ReasonInterlock:
		return q.Area
	default:
		return site.ReasonFault
	}
	if q.PIN == access.PINAsked {
		return site.ReasonPINRequired
	}
	if c.Function == site.FunctionSupervised {
		return site.ReasonSecondPersonRequired
	}
	if q.Area != "" {
		return q.Area
	}
	return site.ReasonGranted
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
	today, yesterday := now.Weekday(), (now.Weekday()+6)%7
	for _, iv := range s.Intervals {
		if iv.Start < 0 || iv.Start > 1439 || iv.End < 1 || iv.End > 1440 {
			continue
		}
		in := iv.Days.Has(today) && minute >= iv.Start && minute < iv.End
		if iv.End <= iv.Start {
			in = iv.Days.Has(today) && minute >= iv.Start || iv.Days.Has(yesterday) && minute < iv.End
		}
		if !in {
			continue
		}
		if !s.IgnoreHolidays {
			for _, h := range w.holidays {
				if h.Has(site.DateOf(now)) {
					return site.ReasonHoliday
				}
			}
		}
		return site.ReasonGranted
	}
	return site.ReasonOutOfSchedule
}

func (w world) decide() access.Decision {
	return access.Decide(access.Compile(w.zone, w.schedules, w.levels, w.holidays), w.records, w.req)
}

// TestRandomWorlds compares the decision with the naive one over random sites.
func TestRandomWorlds(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	seen := map[site.Reason]int{}
	for i := range 10000 {
		w := randomWorld(t, r)
		got := w.decide()
		if want := naiveDecide(w); got.Reason != want {
			w.req.Trace = true
			t.Fatalf("seed %d, world %d: %s, the naive decision is %s\nrecords %+v\nrequest %+v\nsteps %v", seed, i, got.Reason, want, w.records, w.req, w.decide().Steps)
		}
		seen[got.Reason]++
		checkInvariants(t, w, got)
	}
	for _, want := range site.Reasons() {
		switch want {
		case site.ReasonNoPolicy, site.ReasonPINLockedOut, site.ReasonPINWrong: // not of these worlds
			continue
		}
		if seen[want] == 0 {
			t.Errorf("seed %d: no world came to %s", seed, want)
		}
	}
	t.Log(seen)
}

// checkInvariants holds what must be true of any decision, however it was made.
func checkInvariants(t *testing.T, w world, d access.Decision) {
	t.Helper()
	checkDecision(t, d, w.records)
	traced := w
	traced.req.Trace = true
	checkTrace(t, d, traced.decide())
	if none := access.Decide(nil, w.records, w.req); none.Outcome != access.Refused || none.Reason != site.ReasonNoPolicy {
		t.Errorf("without a policy: %v %s", none.Outcome, none.Reason)
	}
	empty := w
	empty.records = nil
	if e := empty.decide(); e.Outcome != access.Refused {
		t.Error("no record, and not refused")
	}
	back := w
	back.records = slices.Clone(w.records)
	slices.Reverse(back.records)
	if b := back.decide(); b.Reason != d.Reason || b.Outcome != d.Outcome {
		t.Errorf("in another order %s, in this %s", b.Reason, d.Reason)
	}
	if d.Outcome == access.Refused {
		return
	}
	c := *d.Credential
	for _, o := range w.records {
		if (o.Source == site.SourceOperator || o.Source == "") && (o.Bits == 0 || o.Bits == w.req.Bits.Len()) &&
			(o.State != site.CredentialActive || o.Function == site.FunctionBlocked) {
			t.Errorf("%v over the operator's %v", d.Outcome, o.State)
		}
	}
	switch m := w.req.Mode; {
	case m >= site.ModeDisabled:
		t.Errorf("%v at a door in mode %v", d.Outcome, m)
	case m == site.ModeLockdown && c.Function != site.FunctionPassThrough:
		t.Errorf("%v in lockdown, function %v", d.Outcome, c.Function)
	}
	if w.req.ReaderClosed || w.req.Fault != nil {
		t.Errorf("%v at a closed reader or over a fault", d.Outcome)
	}
	if !w.req.Clock.Trusted && w.req.Clock.Mode != site.ClockIgnore && d.Right.Schedule != "" {
		t.Errorf("%v by schedule %s with an untrusted clock", d.Outcome, d.Right.Schedule)
	}
	if !c.Until.IsZero() && !w.req.Clock.Now.Before(c.Until) {
		t.Errorf("%v after its end", d.Outcome)
	}
	if d.Outcome == access.Granted && (w.req.PIN != access.PINNotAsked || c.Function == site.FunctionSupervised) {
		t.Error("granted without what it must wait for")
	}
}

// FuzzDecide lets the fuzzer choose the seed of the world and the parts of the
// request that decide most.
func FuzzDecide(f *testing.F) {
	for seed := range uint64(8) {
		f.Add(seed, uint8(seed), uint8(seed), seed%2 == 0, int64(seed)*3600, uint8(26), []byte{0x26, 0x83, 0x10, 0})
	}
	f.Fuzz(func(t *testing.T, seed uint64, mode, clock uint8, trusted bool, after int64, n uint8, raw []byte) {
		w := randomWorld(t, rand.New(rand.NewPCG(seed, 2)))
		w.req.Mode, w.req.Clock.Mode, w.req.Clock.Trusted = site.Mode(mode%7), site.ClockMode(clock%4), trusted
		w.req.Clock.Now = monday.Add(time.Duration(after) * time.Second)
		if b, err := card.NewBits(int(n), raw); err == nil {
			w.req.Bits = b
		}
		d := w.decide()
		if want := naiveDecide(w); d.Reason != want {
			t.Fatalf("%s, the naive decision is %s", d.Reason, want)
		}
		checkInvariants(t, w, d)
	})
}
