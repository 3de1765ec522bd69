package access_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	_ "time/tzdata"

	"github.com/google/go-cmp/cmp"

	"gatehouse/agent/access"
	"gatehouse/agent/card"
	"gatehouse/agent/site"
)

// Monday 2026-11-23, 10:00 in Berlin. The next day is a holiday.
var monday = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)

func mustBits(t testing.TB, s string) card.Bits {
	t.Helper()
	b, err := card.ParseBits(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func location(t testing.TB, name string) *time.Location {
	t.Helper()
	z, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

// policy is a small site: office hours, nights, a level.
func policy(t testing.TB) *access.Policy {
	t.Helper()
	weekdays := site.AllDays &^ (1<<time.Sunday | 1<<time.Saturday)
	return access.Compile(location(t, "Europe/Berlin"),
		[]site.Schedule{
			{ID: "office", Source: "operator", Intervals: []site.Interval{{Days: weekdays, Start: 8 * 60, End: 18 * 60}}},
			{ID: "alldays", Source: "operator", IgnoreHolidays: true, Intervals: []site.Interval{{Days: site.AllDays, Start: 8 * 60, End: 18 * 60}}},
			{ID: "night", Source: "operator", Intervals: []site.Interval{{Days: weekdays, Start: 22 * 60, End: 6 * 60}}},
			{ID: "empty", Source: "operator"},
			{ID: "holidays", Source: "operator", Intervals: []site.Interval{{Days: weekdays | 1<<7, Start: 8 * 60, End: 18 * 60}}},
			{ID: "1", Source: "iphost", Intervals: []site.Interval{{Days: site.AllDays, Start: 0, End: 1440}}},
			{ID: "1", Source: "operator"},
			{ID: "twice", Source: "operator", Intervals: []site.Interval{{Days: site.AllDays, Start: 0, End: 1440}}},
			{ID: "twice", Source: "operator", Intervals: []site.Interval{{Days: site.AllDays, Start: 0, End: 1440}}},
		},
		[]site.Level{
			{ID: "staff", Source: "operator", Rights: []site.Right{{Door: "front", Schedule: "office"}, {Door: "back"}}},
			{ID: "lost", Source: "operator", Rights: []site.Right{{Door: "front", Schedule: "gone"}, {Door: ""}}},
			{ID: "guest", Source: "iphost", Rights: []site.Right{{Door: "front", Schedule: "1"}}},
			{ID: "staff", Source: "hive", Rights: []site.Right{{Door: "shed"}}},
			{ID: "double", Source: "operator", Rights: []site.Right{{Door: "front"}}},
			{ID: "double", Source: "operator", Rights: []site.Right{{Door: "front"}}},
		},
		[]site.Holiday{
			{ID: "h", First: site.Date{Year: 2026, Month: 11, Day: 24}, Last: site.Date{Year: 2026, Month: 11, Day: 24}},
			{ID: "x", First: site.Date{Year: 2026, Month: 12, Day: 24}, Last: site.Date{Year: 2027, Month: 1, Day: 1}},
			{ID: "y", First: site.Date{Year: 2026, Month: 12, Day: 26}, Last: site.Date{Year: 2026, Month: 12, Day: 26}},
			{ID: "turned", First: site.Date{Year: 2026, Month: 11, Day: 30}, Last: site.Date{Year: 2026, Month: 11, Day: 1}},
		})
}

// record is an operator's credential that always passes front.
func record(change ...func(*site.Credential)) site.Credential {
	c := site.Credential{ID: "c1", Source: site.SourceOperator, Holder: "ada", Bits: 26, State: site.CredentialActive,
		Rights: []site.Right{{Door: "front"}}}
	for _, f := range change {
		f(&c)
	}
	return c
}

func request(t testing.TB, change ...func(*access.Request)) access.Request {
	r := access.Request{Door: "front", Reader: "front-in", Bits: mustBits(t, "26:26831000"),
		Clock: site.Clock{Now: monday, Trusted: true, Mode: site.ClockAlwaysOnly}, Formats: card.Standard()}
	for _, f := range change {
		f(&r)
	}
	return r
}

type (
	cred = func(*site.Credential)
	req  = func(*access.Request)
)

func rights(r ...site.Right) cred { return func(c *site.Credential) { c.Rights = r } }

func function(f site.Function) cred { return func(c *site.Credential) { c.Function = f } }

func source(s site.Source) cred { return func(c *site.Credential) { c.Source = s } }

func state(s site.CredentialState) cred { return func(c *site.Credential) { c.State = s } }

func mode(m site.Mode) req { return func(r *access.Request) { r.Mode = m } }

func front(s site.ScheduleID) site.Right { return site.Right{Door: "front", Schedule: s} }

// TestReasons makes every reason of door.md that this data can make, and the
// grants next to it.
func TestReasons(t *testing.T) {
	p := policy(t)
	type records = []site.Credential
	one := func(change ...cred) records { return records{record(change...)} }
	for _, tt := range []struct {
		name    string
		records records
		req     req
		want    site.Reason
	}{
		{"fault", one(), func(r *access.Request) { r.Fault = errors.New("store: bad page") }, site.ReasonFault},
		{"state never stored", one(state(site.CredentialInvalid)), nil, site.ReasonFault},
		{"state of the future", one(state(9)), nil, site.ReasonFault},
		{"function of the future", one(function(9)), nil, site.ReasonFault},
		{"area that is none", one(), func(r *access.Request) { r.Area = site.ReasonGranted }, site.ReasonFault},

		{"no bits", one(func(c *site.Credential) { c.Bits = 0 }), func(r *access.Request) { r.Bits = card.Bits{} }, site.ReasonUnknownFormat},
		{"129 bits", one(func(c *site.Credential) { c.Bits = 0 }), func(r *access.Request) { r.Bits = mustBits(t, "129:0000000000000000000000000000000000") }, site.ReasonUnknownFormat},
		{"parity", nil, func(r *access.Request) { r.Bits = mustBits(t, "26:26831040") }, site.ReasonUnknownFormat},
		{"length", nil, func(r *access.Request) { r.Bits = mustBits(t, "27:26831000") }, site.ReasonUnknownFormat},
		{"no formats", nil, func(r *access.Request) { r.Formats = nil }, site.ReasonUnknownFormat},
		{"enrolled without format", one(func(c *site.Credential) { c.Bits = 27 }), func(r *access.Request) { r.Bits = mustBits(t, "27:26831000") }, site.ReasonGranted},
		{"128 bits", one(func(c *site.Credential) { c.Bits = 0 }), func(r *access.Request) { r.Bits = mustBits(t, "128:26831000ffffffffffffffffffffffff") }, site.ReasonGranted},
		{"unknown", nil, nil, site.ReasonUnknownCredential},
		{"other length", one(func(c *site.Credential) { c.Bits = 32 }), nil, site.ReasonUnknownCredential},
		{"any length", one(func(c *site.Credential) { c.Bits = 0 }), nil, site.ReasonGranted},

		{"revoked", one(state(site.CredentialRevoked)), nil, site.ReasonRevoked},
		{"revoked by the host", one(state(site.CredentialRevoked), source(site.SourceIPHost)), nil, site.ReasonRevoked},
		{"blocked", one(state(site.CredentialBlocked)), nil, site.ReasonBlocked},
		{"function blocked", one(function(site.FunctionBlocked)), nil, site.ReasonBlocked},
		{"used up", one(func(c *site.Credential) { c.Uses, c.Used = 3, 3 }), nil, site.ReasonUsedUp},
		{"one use left", one(func(c *site.Credential) { c.Uses, c.Used = 3, 2 }), nil, site.ReasonGranted},
		{"one time, used", one(function(site.FunctionOneTime), func(c *site.Credential) { c.Used = 1 }), nil, site.ReasonUsedUp},
		{"one time, many uses", one(function(site.FunctionOneTime), func(c *site.Credential) { c.Uses, c.Used = 5, 1 }), nil, site.ReasonUsedUp},
		{"one time", one(function(site.FunctionOneTime)), nil, site.ReasonGranted},
		{"not active", one(func(c *site.Credential) { c.From = monday.Add(1) }), nil, site.ReasonNotActive},
		{"active now", one(func(c *site.Credential) { c.From = monday }), nil, site.ReasonGranted},
		{"expired", one(func(c *site.Credential) { c.Until = monday }), nil, site.ReasonExpired},
		{"last moment", one(func(c *site.Credential) { c.Until = monday.Add(1) }), nil, site.ReasonGranted},

		{"no right", one(rights(site.Right{Door: "back"})), nil, site.ReasonNoRight},
		{"no right at no door", one(rights(site.Right{})), func(r *access.Request) { r.Door = "" }, site.ReasonNoRight},
		{"level of nowhere", one(rights(), func(c *site.Credential) { c.Levels = []site.LevelID{"gone"} }), nil, site.ReasonNoRight},
		{"level twice", one(rights(), func(c *site.Credential) { c.Levels = []site.LevelID{"double"} }), nil, site.ReasonNoRight},
		{"level", one(rights(), func(c *site.Credential) { c.Levels = []site.LevelID{"gone", "staff"} }), nil, site.ReasonGranted},
		{"level of the source", one(rights(), source("hive"), func(c *site.Credential) { c.Levels = []site.LevelID{"staff"} }), nil, site.ReasonNoRight},
		{"the operator's level", one(rights(), source("iphost"), func(c *site.Credential) { c.Levels = []site.LevelID{"staff"} }), nil, site.ReasonGranted},
		{"the host's level", one(rights(), func(c *site.Credential) { c.Levels = []site.LevelID{"guest"} }), nil, site.ReasonNoRight},

		{"disabled", one(), mode(site.ModeDisabled), site.ReasonDoorDisabled},
		{"disabled beats pass-through", one(function(site.FunctionPassThrough)), mode(site.ModeDisabled), site.ReasonDoorDisabled},
		{"mode of the future", one(), mode(77), site.ReasonDoorDisabled},
		{"lockdown", one(), mode(site.ModeLockdown), site.ReasonLockdown},
		{"lockdown, pass-through", one(function(site.FunctionPassThrough)), mode(site.ModeLockdown), site.ReasonGranted},
		{"lockdown, freeze", one(function(site.FunctionFreeze)), mode(site.ModeLockdown), site.ReasonLockdown},
		{"lockdown, toggle", one(function(site.FunctionToggle)), mode(site.ModeLockdown), site.ReasonLockdown},
		{"frozen", one(), mode(site.ModeFrozenSecured), site.ReasonFrozen},
		{"frozen open", one(function(site.FunctionToggle)), mode(site.ModeFrozenPassage), site.ReasonFrozen},
		{"frozen, pass-through", one(function(site.FunctionPassThrough)), mode(site.ModeFrozenSecured), site.ReasonGranted},
		{"frozen, freeze ends it", one(function(site.FunctionFreeze)), mode(site.ModeFrozenSecured), site.ReasonGranted},
		{"frozen, lockdown wins", one(function(site.FunctionLockdown)), mode(site.ModeFrozenPassage), site.ReasonGranted},
		{"passage", one(), mode(site.ModePassage), site.ReasonGranted},
		{"reader closed", one(), func(r *access.Request) { r.ReaderClosed = true }, site.ReasonReaderClosed},
		{"reader closed to pass-through", one(function(site.FunctionPassThrough)), func(r *access.Request) { r.ReaderClosed = true }, site.ReasonReaderClosed},

		{"clock", one(rights(front("office"))), func(r *access.Request) { r.Clock.Trusted = false }, site.ReasonClockUntrusted},
		{"out of schedule", one(rights(front("night"))), nil, site.ReasonOutOfSchedule},
		{"empty schedule", one(rights(front("empty"))), nil, site.ReasonOutOfSchedule},
		{"unknown schedule", one(rights(front("gone"))), nil, site.ReasonOutOfSchedule},
		{"schedule twice", one(rights(front("twice"))), nil, site.ReasonOutOfSchedule},
		{"unknown schedule in a level", one(rights(), func(c *site.Credential) { c.Levels = []site.LevelID{"lost"} }), nil, site.ReasonOutOfSchedule},
		{"schedule of the source", one(rights(front("1")), source("iphost")), nil, site.ReasonGranted},
		{"the operator's of that name", one(rights(front("1"))), nil, site.ReasonOutOfSchedule},
		{"the operator's schedule", one(rights(front("office")), source("hive")), nil, site.ReasonGranted},
		{"in schedule", one(rights(front("office"))), nil, site.ReasonGranted},
		{"union of rights", one(rights(front("night"), front("gone"), front("office"))), nil, site.ReasonGranted},
		{"holiday", one(rights(front("office"))), func(r *access.Request) { r.Clock.Now = monday.AddDate(0, 0, 1) }, site.ReasonHoliday},
		{"holiday in the long one", one(rights(front("office"))), func(r *access.Request) { r.Clock.Now = time.Date(2026, 12, 31, 9, 0, 0, 0, time.UTC) }, site.ReasonHoliday},
		{"after it", one(rights(front("alldays"), front("office"))), func(r *access.Request) { r.Clock.Now = time.Date(2027, 1, 4, 9, 0, 0, 0, time.UTC) }, site.ReasonGranted},
		{"holiday and schedule", one(rights(front("night"))), func(r *access.Request) { r.Clock.Now = monday.AddDate(0, 0, 1) }, site.ReasonOutOfSchedule},
		{"holiday got further", one(rights(front("office"), front("night"))), func(r *access.Request) { r.Clock.Now = monday.AddDate(0, 0, 1) }, site.ReasonHoliday},
		{"ignores holidays", one(rights(front("alldays"))), func(r *access.Request) { r.Clock.Now = monday.AddDate(0, 0, 1) }, site.ReasonGranted},
		{"always on a holiday", one(), func(r *access.Request) { r.Clock.Now = monday.AddDate(0, 0, 1) }, site.ReasonGranted},

		{"passback", one(), func(r *access.Request) { r.Area = site.ReasonPassback }, site.ReasonPassback},
		{"occupancy", one(), func(r *access.Request) { r.Area = site.ReasonOccupancy }, site.ReasonOccupancy},
		{"interlock", one(), func(r *access.Request) { r.Area = site.ReasonInterlock }, site.ReasonInterlock},
		{"soft passback", one(), func(r *access.Request) { r.Area = site.ReasonGrantedPassback }, site.ReasonGrantedPassback},
		{"soft passback out of schedule", one(rights(front("night"))), func(r *access.Request) { r.Area = site.ReasonGrantedPassback }, site.ReasonOutOfSchedule},
		{"pin", one(), func(r *access.Request) { r.PIN = access.PINAsked }, site.ReasonPINRequired},
		{"pin of the future", one(), func(r *access.Request) { r.PIN = 9 }, site.ReasonPINRequired},
		{"pin after all else", one(rights(front("night"))), func(r *access.Request) { r.PIN = access.PINAsked }, site.ReasonOutOfSchedule},
		{"second person", one(function(site.FunctionSupervised)), nil, site.ReasonSecondPersonRequired},
		{"pin, then second person", one(function(site.FunctionSupervised)), func(r *access.Request) { r.PIN = access.PINAsked }, site.ReasonPINRequired},
		{"granted", one(), nil, site.ReasonGranted},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := request(t)
			if tt.req != nil {
				tt.req(&r)
			}
			got := access.Decide(p, tt.records, r)
			if got.Reason != tt.want {
				t.Fatalf("reason %s, want %s", got.Reason, tt.want)
			}
			checkDecision(t, got, tt.records)
			r.Trace = true
			checkTrace(t, got, access.Decide(p, tt.records, r))
			if none := access.Decide(nil, tt.records, r); none.Reason != site.ReasonNoPolicy || none.Outcome != access.Refused {
				t.Errorf("without a policy: %v %s", none.Outcome, none.Reason)
			}
		})
	}
}

// checkDecision holds what is true of every decision.
func checkDecision(t *testing.T, d access.Decision, records []site.Credential) {
	t.Helper()
	want := access.Refused
	switch {
	case d.Reason.Grants():
		want = access.Granted
	case d.Reason == site.ReasonPINRequired || d.Reason == site.ReasonSecondPersonRequired:
		want = access.Waiting
	}
	if d.Outcome != want || !d.Reason.Valid() {
		t.Errorf("outcome %v of reason %q", d.Outcome, d.Reason)
	}
	if d.Outcome != access.Refused && (d.Credential == nil || d.Right.Door == "") {
		t.Errorf("%v without a credential and its right: %+v", d.Outcome, d)
	}
	if d.Credential != nil && !slices.ContainsFunc(records, func(c site.Credential) bool { return cmp.Equal(c, *d.Credential) }) {
		t.Error("the credential is none of the records")
	}
	if (d.Function() == site.FunctionBlocked) != (d.Outcome != access.Granted) {
		t.Errorf("function %v of outcome %v", d.Function(), d.Outcome)
	}
}

// checkTrace compares a decision with the same one traced: steps alone may
// differ, the last tells the reason, and none shows the card.
func checkTrace(t *testing.T, plain, traced access.Decision) {
	t.Helper()
	steps := traced.Steps
	traced.Steps = nil
	if diff := cmp.Diff(plain, traced); diff != "" {
		t.Errorf("the trace changes the decision (-plain +traced):\n%s", diff)
	}
	if len(steps) == 0 {
		t.Fatal("no steps")
	}
	told := traced.Outcome == access.Granted && steps[len(steps)-1].Result == "pass"
	for _, s := range steps {
		told = told || strings.Contains(s.Result, string(traced.Reason))
		for _, digits := range []string{"2683", "1568"} {
			if strings.Contains(fmt.Sprint(s), digits) {
				t.Errorf("a step shows the card: %v", s)
			}
		}
		if s.Check == "" || s.Result == "" {
			t.Errorf("a step says nothing: %+v", s)
		}
	}
	if !told {
		t.Errorf("no step tells %s: %v", traced.Reason, steps)
	}
}

// TestSeveralRecords: any that grants grants, the furthest names the reason, the
// operator's refusal wins.
func TestSeveralRecords(t *testing.T) {
	p := policy(t)
	host := func(change ...cred) site.Credential {
		return record(append([]cred{source(site.SourceIPHost), func(c *site.Credential) { c.ID, c.Bits = "h1", 0 }}, change...)...)
	}
	op := record
	for _, tt := range []struct {
		name    string
		records []site.Credential
		req     req
		want    site.Reason
		by      site.CredentialID
	}{
		{"one of two grants", []site.Credential{op(rights()), host()}, nil, site.ReasonGranted, "h1"},
		{"rights at other doors", []site.Credential{op(rights(site.Right{Door: "back"})), host(rights(site.Right{Door: "shed"}))}, nil, site.ReasonNoRight, "c1"},
		{"the furthest", []site.Credential{op(rights()), host(rights(front("night")))}, nil, site.ReasonOutOfSchedule, "h1"},
		{"waiting beats refused", []site.Credential{host(rights(front("night"))), op(function(site.FunctionSupervised))}, nil, site.ReasonSecondPersonRequired, "c1"},
		{"granted beats waiting", []site.Credential{op(function(site.FunctionSupervised)), host()}, nil, site.ReasonGranted, "h1"},
		{"revoked by the operator", []site.Credential{host(), op(state(site.CredentialRevoked))}, nil, site.ReasonRevoked, "c1"},
		{"blocked by the operator", []site.Credential{host(), op(state(site.CredentialBlocked))}, nil, site.ReasonBlocked, "c1"},
		{"function blocked by the operator", []site.Credential{host(), op(function(site.FunctionBlocked))}, nil, site.ReasonBlocked, "c1"},
		{"unreadable by us", []site.Credential{host(), op(state(site.CredentialInvalid))}, nil, site.ReasonFault, "c1"},
		{"no source is the operator", []site.Credential{host(), op(state(site.CredentialRevoked), source(""))}, nil, site.ReasonRevoked, "c1"},
		{"revoked before blocked", []site.Credential{op(state(site.CredentialBlocked), func(c *site.Credential) { c.ID = "c0" }), op(state(site.CredentialRevoked))}, nil, site.ReasonRevoked, "c1"},
		{"revoked by the host only", []site.Credential{host(state(site.CredentialRevoked)), op()}, nil, site.ReasonGranted, "c1"},
		{"revoked of another length", []site.Credential{host(), op(state(site.CredentialRevoked), func(c *site.Credential) { c.Bits = 32 })}, nil, site.ReasonGranted, "h1"},
		{"the operator's used up", []site.Credential{op(func(c *site.Credential) { c.Uses, c.Used = 1, 1 }), host()}, nil, site.ReasonGranted, "h1"},
		{"the operator's expired", []site.Credential{op(func(c *site.Credential) { c.Until = monday }), host()}, nil, site.ReasonGranted, "h1"},
		{"lockdown and pass-through", []site.Credential{op(), host(function(site.FunctionPassThrough))}, mode(site.ModeLockdown), site.ReasonGranted, "h1"},
		{"fault got least far", []site.Credential{host(state(9)), op(rights())}, nil, site.ReasonNoRight, "c1"},
	} {
		for _, order := range []string{"forth", "back"} {
			t.Run(tt.name+"/"+order, func(t *testing.T) {
				records := slices.Clone(tt.records)
				if order == "back" {
					slices.Reverse(records)
				}
				r := request(t)
				if tt.req != nil {
					tt.req(&r)
				}
				got := access.Decide(p, records, r)
				if got.Reason != tt.want {
					t.Fatalf("reason %s, want %s", got.Reason, tt.want)
				}
				if tt.by != got.Credential.ID && tt.name != "rights at other doors" {
					t.Errorf("by %s, want %s", got.Credential.ID, tt.by)
				}
				checkDecision(t, got, records)
				r.Trace = true
				checkTrace(t, got, access.Decide(p, records, r))
			})
		}
	}
}

// TestOrder breaks one thing after another, from the last check to the first:
// each newly broken one must name the reason.
func TestOrder(t *testing.T) {
	p := policy(t)
	c := record(rights(front("night")))
	r := request(t)
	broken := []struct {
		want site.Reason
		by   func()
	}{
		{site.ReasonSecondPersonRequired, func() { c = record(function(site.FunctionSupervised)) }},
		{site.ReasonPINRequired, func() { r.PIN = access.PINAsked }},
		{site.ReasonInterlock, func() { r.Area = site.ReasonInterlock }},
		{site.ReasonHoliday, func() { c.Rights = []site.Right{front("office")}; r.Clock.Now = monday.AddDate(0, 0, 1) }},
		{site.ReasonOutOfSchedule, func() { c.Rights = []site.Right{front("night")} }},
		{site.ReasonClockUntrusted, func() { r.Clock.Trusted = false }},
		{site.ReasonReaderClosed, func() { r.ReaderClosed = true }},
		{site.ReasonFrozen, func() { r.Mode = site.ModeFrozenSecured }},
		{site.ReasonLockdown, func() { r.Mode = site.ModeLockdown }},
		{site.ReasonDoorDisabled, func() { r.Mode = site.ModeDisabled }},
		{site.ReasonNoRight, func() { c.Rights = nil }},
		{site.ReasonExpired, func() { c.Until = monday }},
		{site.ReasonNotActive, func() { c.From = monday.AddDate(1, 0, 0); r.Clock.Trusted = true }},
		{site.ReasonUsedUp, func() { c.Uses, c.Used = 1, 1 }},
		{site.ReasonBlocked, func() { c.State = site.CredentialBlocked }},
		{site.ReasonRevoked, func() { c.State = site.CredentialRevoked }},
		{site.ReasonUnknownCredential, func() { c.Bits = 32 }},
		{site.ReasonUnknownFormat, func() { r.Formats = nil }},
		{site.ReasonFault, func() { r.Fault = errors.New("store: closed") }},
		{site.ReasonNoPolicy, func() { p = nil }},
	}
	for i, b := range broken {
		b.by()
		d := access.Decide(p, []site.Credential{c}, r)
		if d.Reason != b.want {
			t.Fatalf("reason %s, want %s", d.Reason, b.want)
		}
		if i > 0 && b.want.Rank() >= broken[i-1].want.Rank() {
			t.Errorf("%s does not stand before %s", b.want, broken[i-1].want)
		}
	}
}

func TestRightNamed(t *testing.T) {
	p := policy(t)
	c := record(rights(front("night")), func(c *site.Credential) { c.Levels = []site.LevelID{"staff"} })
	d := access.Decide(p, []site.Credential{c}, request(t))
	if d.Right != front("office") || d.Level != "staff" {
		t.Errorf("right %v by level %q", d.Right, d.Level)
	}
	c = record(function(site.FunctionToggle))
	if d = access.Decide(p, []site.Credential{c}, request(t)); d.Right != front("") || d.Level != "" || d.Function() != site.FunctionToggle {
		t.Errorf("right %v by level %q, function %v", d.Right, d.Level, d.Function())
	}
}

func TestTrace(t *testing.T) {
	c := record(rights(front("night"), front("office")), func(c *site.Credential) { c.Uses = 3; c.Until = monday.AddDate(1, 0, 0) })
	d := access.Decide(policy(t), []site.Credential{c}, request(t, func(r *access.Request) { r.Trace = true; r.PIN = access.PINAsked }))
	got, err := json.MarshalIndent(d, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	want := `{
 "decision": "waiting",
 "reason": "pin_required",
 "steps": [
  {"check": "policy", "input": "zone Europe/Berlin", "result": "pass"},
  {"check": "fault", "input": "none", "result": "pass"},
  {"check": "credential", "input": "c1 of operator, 26 bits", "result": "found"},
  {"check": "state", "input": "active, function norm", "result": "pass"},
  {"check": "uses", "input": "0 of 3 used", "result": "pass"},
  {"check": "from", "input": "none", "result": "pass"},
  {"check": "until", "input": "2027-11-23T10:00:00+01:00, now 2026-11-23T10:00:00+01:00", "result": "pass"},
  {"check": "right_found", "input": "front@night", "result": "does not hold: out_of_schedule"},
  {"check": "right_found", "input": "front@office", "result": "holds"},
  {"check": "right", "input": "front", "result": "pass"},
  {"check": "mode", "input": "secured, function norm", "result": "pass"},
  {"check": "reader", "input": "front-in", "result": "pass"},
  {"check": "schedule", "input": "office, Mon 2026-11-23 10:00 CET", "result": "pass"},
  {"check": "area", "input": "no verdict", "result": "pass"},
  {"check": "pin", "input": "asked, not given", "result": "waiting: pin_required"}
 ]
}`
	var a, b any
	if err := json.Unmarshal(got, &a); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(want), &b); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(b, a); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
}

func TestOutcomeText(t *testing.T) {
	for _, o := range []access.Outcome{access.Refused, access.Granted, access.Waiting} {
		var back access.Outcome
		b, err := o.MarshalText()
		if err != nil || back.UnmarshalText(b) != nil || back != o {
			t.Errorf("%v comes back as %v", o, back)
		}
	}
	var o access.Outcome
	if err := o.UnmarshalText([]byte("open")); err == nil {
		t.Error("an unknown outcome is read")
	}
	if (access.Decision{}).Outcome != access.Refused || access.Outcome(9).String() != "outcome(9)" {
		t.Error("the zero decision does not refuse")
	}
}
