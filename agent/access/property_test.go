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
			s.Intervals = append(s.Intervals, site.Interval{Days: randomDays(r), Start: r.IntN(1442) - 1, End: r.IntN(1442)})
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
	for range r.IntN(5) {
		d := near()
		w.holidays = append(w.holidays, site.Holiday{First: site.DateOf(d), Last: site.DateOf(d.AddDate(0, 0, r.IntN(4)-1)), Kind: r.IntN(5)})
	}
	for i := range (r.IntN(10) + 5) / 5 {
		c := site.Credential{ID: site.CredentialID(fmt.Sprint(i)), Holder: []site.HolderID{"h1", "h2", ""}[r.IntN(3)], Source: sources[r.IntN(4)], Bits: []int{0, 26, 26, 26, 27, 32}[r.IntN(6)],
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
	w.randomPerson(r)
	if r.IntN(4) == 0 {
		w.req.Area = []site.Reason{site.ReasonGrantedPassback, site.ReasonPassback, site.ReasonOccupancy, site.ReasonInterlock, "nonsense"}[r.IntN(5)]
	}
	return w
}

// randomDays are days of the week and, half of the time, kinds of holidays.
func randomDays(r *rand.Rand) site.Days {
	d := site.Days(r.IntN(128) | r.IntN(128))
	if r.IntN(2) == 0 {
		d |= site.Days(r.IntN(16)) << 7
	}
	return d
}

// randomPerson chooses what is asked of the person and who stands beside him.
func (w *world) randomPerson(r *rand.Rand) {
	if r.IntN(4) == 0 {
		w.req.PIN = access.PIN(r.IntN(7))
	}
	for range r.IntN(6) / 3 {
		w.req.PINs = append(w.req.PINs, access.PINOf{Credential: site.CredentialID(fmt.Sprint(r.IntN(3))), PIN: access.PIN(r.IntN(7))})
	}
	if w.req.ByPIN = r.IntN(8) == 0; w.req.ByPIN && r.IntN(3) > 0 {
		w.req.Bits = card.Bits{}
		w.records = w.records[:min(len(w.records), r.IntN(2))]
	}
	w.req.TwoPerson = r.IntN(8) == 0
	if r.IntN(5) == 0 {
		w.req.With = []site.HolderID{"h1", "h2", "h3"}[r.IntN(3)]
	}
	w.req.Interlocked = r.IntN(16) == 0
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
		case site.ReasonNoPolicy: // not of these worlds
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
	if e := empty.decide(); e.Outcome != access.Refused || e.Credential != nil {
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
	if w.req.Interlocked && access.Opens(c.Function, w.req.Mode) {
		t.Errorf("%v at a door that is interlocked", d.Outcome)
	}
	if d.Outcome == access.Granted {
		checkPersons(t, w, c)
	}
}

// checkPersons holds what a grant needs beside the card.
func checkPersons(t *testing.T, w world, c site.Credential) {
	t.Helper()
	right := w.req.PIN == access.PINNotAsked || w.req.PIN == access.PINRight
	refuses := func(v access.PIN) bool { return v == access.PINWrong || v == access.PINLockedOut }
	if w.req.ByPIN {
		right = !refuses(w.req.PIN)
	}
	for _, o := range w.req.PINs {
		if o.Credential == c.ID && (w.req.ByPIN || w.req.PIN != access.PINNotAsked) {
			right = o.PIN == access.PINRight || w.req.ByPIN && !refuses(o.PIN)
		}
	}
	if !right {
		t.Errorf("granted with PIN %d, %v", w.req.PIN, w.req.PINs)
	}
	switch {
	case !access.Opens(c.Function, w.req.Mode):
	case c.Function == site.FunctionSupervised:
		t.Error("granted to a supervised one by himself")
	case w.req.With != "" && (c.Holder == "" || c.Holder == w.req.With):
		t.Errorf("%q is the second person of %q", c.Holder, w.req.With)
	case w.req.With == "" && w.req.TwoPerson:
		t.Error("granted to one person at a door for two")
	}
}

// FuzzDecide lets the fuzzer choose the seed of the world and the parts of the
// request that decide most.
func FuzzDecide(f *testing.F) {
	for seed := range uint64(8) {
		f.Add(seed, uint8(seed), uint8(seed), seed%2 == 0, int64(seed)*3600, uint8(26), []byte{0x26, 0x83, 0x10, 0}, uint8(seed), uint8(seed*5))
	}
	f.Fuzz(func(t *testing.T, seed uint64, mode, clock uint8, trusted bool, after int64, n uint8, raw []byte, pin, person uint8) {
		w := randomWorld(t, rand.New(rand.NewPCG(seed, 2)))
		w.req.Mode, w.req.Clock.Mode, w.req.Clock.Trusted = site.Mode(mode%7), site.ClockMode(clock%4), trusted
		w.req.Clock.Now = monday.Add(time.Duration(after) * time.Second)
		if b, err := card.NewBits(int(n), raw); err == nil {
			w.req.Bits = b
		}
		w.req.PIN = access.PIN(pin % 7)
		w.req.ByPIN, w.req.TwoPerson, w.req.Interlocked = person&1 != 0, person&2 != 0, person&4 != 0
		w.req.With = []site.HolderID{"", "h1", "h2", "h3"}[person>>3&3]
		d := w.decide()
		if want := naiveDecide(w); d.Reason != want {
			t.Fatalf("%s, the naive decision is %s", d.Reason, want)
		}
		checkInvariants(t, w, d)
	})
}
