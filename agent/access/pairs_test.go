package access_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gatehouse/agent/access"
	"gatehouse/agent/site"
)

// subject is one request with all that a decision sees. As it begins, it is
// granted.
type subject struct {
	p   *access.Policy
	c   site.Credential
	req access.Request
}

// ruled makes each reason of door.md apply to a subject, whatever else applies.
// Each touches fields of its own, so that two applied leave the second when the
// first is lifted.
func ruled(t *testing.T) map[site.Reason]func(*subject) {
	t.Helper()
	inMode := func(m site.Mode) func(*subject) { return func(s *subject) { s.req.Mode = m } }
	verdict := func(r site.Reason) func(*subject) { return func(s *subject) { s.req.Area = r } }
	schedule := func(id site.ScheduleID) func(*subject) {
		return func(s *subject) { s.c.Rights[0].Schedule = id }
	}
	return map[site.Reason]func(*subject){
		site.ReasonNoPolicy: func(s *subject) { s.p = nil },
		site.ReasonFault:    func(s *subject) { s.req.Fault = errors.New("store: closed") },
		site.ReasonUnknownFormat: func(s *subject) { // of no length that a record can have
			s.c.Bits, s.req.Bits = 0, mustBits(t, "129:0000000000000000000000000000000000")
		},
		site.ReasonUnknownCredential: func(s *subject) { s.c.Bits = 32 }, // another card's
		site.ReasonRevoked:           func(s *subject) { s.c.State = site.CredentialRevoked },
		site.ReasonBlocked:           func(s *subject) { s.c.Function = site.FunctionBlocked },
		site.ReasonUsedUp:            func(s *subject) { s.c.Uses, s.c.Used = 3, 3 },
		site.ReasonNotActive:         func(s *subject) { s.c.From = monday.AddDate(1, 0, 0) },
		site.ReasonExpired:           func(s *subject) { s.c.Until = monday.AddDate(-1, 0, 0) },
		site.ReasonNoRight:           func(s *subject) { s.c.Rights[0].Door = "back" },
		site.ReasonDoorDisabled:      inMode(site.ModeDisabled),
		site.ReasonLockdown:          inMode(site.ModeLockdown),
		site.ReasonFrozen:            inMode(site.ModeFrozenSecured),
		site.ReasonReaderClosed:      func(s *subject) { s.req.ReaderClosed = true },
		site.ReasonClockUntrusted: func(s *subject) {
			s.req.Clock.Trusted, s.req.Clock.Mode = false, site.ClockDeny
			if s.c.Until.IsZero() {
				s.c.Until = monday.AddDate(1, 0, 0)
			}
		},
		site.ReasonOutOfSchedule:        schedule("night"),
		site.ReasonHoliday:              schedule("closed"),
		site.ReasonPassback:             verdict(site.ReasonPassback),
		site.ReasonOccupancy:            verdict(site.ReasonOccupancy),
		site.ReasonInterlock:            func(s *subject) { s.req.Interlocked = true },
		site.ReasonPINLockedOut:         func(s *subject) { s.ask(access.PINLockedOut) },
		site.ReasonPINRequired:          func(s *subject) { s.req.PIN = access.PINAsked },
		site.ReasonPINWrong:             func(s *subject) { s.ask(access.PINWrong) },
		site.ReasonSecondPersonRequired: func(s *subject) { s.req.TwoPerson = true },
		site.ReasonGranted:              func(*subject) {},
		site.ReasonGrantedPassback:      verdict(site.ReasonGrantedPassback),
	}
}

// ask gives the record a verdict of its own beside what the reader asks.
func (s *subject) ask(v access.PIN) {
	if s.req.PIN == access.PINNotAsked {
		s.req.PIN = access.PINRight
	}
	s.req.PINs = append(s.req.PINs, access.PINOf{Credential: s.c.ID, PIN: v})
}

func newSubject(t *testing.T) *subject {
	t.Helper()
	day := site.DateOf(monday)
	p := access.Compile(location(t, "Europe/Berlin"),
		[]site.Schedule{
			{ID: "night", Source: "operator", Intervals: []site.Interval{{Days: site.AllDays, Start: 22 * 60, End: 6 * 60}}},
			{ID: "closed", Source: "operator", Intervals: []site.Interval{{Days: site.AllDays, Start: 8 * 60, End: 18 * 60}}},
		}, nil, []site.Holiday{{ID: "h", First: day, Last: day}})
	return &subject{p: p, c: record(), req: request(t)}
}

func (s *subject) reason() site.Reason {
	return access.Decide(s.p, []site.Credential{s.c}, s.req).Reason
}

type pair struct{ a, b site.Reason }

// impossible are the pairs that no request can have, and why.
func impossible() map[pair]string {
	const (
		noRecord = "a credential that is not enrolled has no record to which this could apply"
		oneMode  = "one mode rules a door; which one is the door's own order"
		oneArea  = "the areas give one verdict, the worst"
		oneRight = "a right has one verdict: holiday is said where the interval would hold"
		oneEntry = "a PIN that was given is not missing"
		locked   = "while locked out no PIN is compared"
		noFrom   = "from is not judged while the clock is not trusted"
		twoNames = "two names of a grant; soft anti-passback takes the other's place"
	)
	out := map[pair]string{
		{site.ReasonUnknownFormat, site.ReasonUnknownCredential}: "a card that is not enrolled has either a known format or none",
		{site.ReasonNotActive, site.ReasonClockUntrusted}:        noFrom,
		{site.ReasonOutOfSchedule, site.ReasonHoliday}:           oneRight,
		{site.ReasonDoorDisabled, site.ReasonLockdown}:           oneMode,
		{site.ReasonDoorDisabled, site.ReasonFrozen}:             oneMode,
		{site.ReasonLockdown, site.ReasonFrozen}:                 oneMode,
		{site.ReasonPassback, site.ReasonOccupancy}:              oneArea,
		{site.ReasonPassback, site.ReasonGrantedPassback}:        oneArea,
		{site.ReasonOccupancy, site.ReasonGrantedPassback}:       oneArea,
		{site.ReasonPINLockedOut, site.ReasonPINWrong}:           locked,
		{site.ReasonPINRequired, site.ReasonPINWrong}:            oneEntry,
		{site.ReasonGranted, site.ReasonGrantedPassback}:         twoNames,
	}
	for _, r := range []site.Reason{site.ReasonRevoked, site.ReasonBlocked, site.ReasonUsedUp, site.ReasonNotActive, site.ReasonExpired,
		site.ReasonNoRight, site.ReasonClockUntrusted, site.ReasonOutOfSchedule, site.ReasonHoliday} {
		out[pair{site.ReasonUnknownCredential, r}] = noRecord
	}
	return out
}

// TestPairs: where two rules apply to one request, the one that stands first in
// door.md speaks. All pairs of all reasons are made, in either order, but for
// those that cannot be.
func TestPairs(t *testing.T) {
	rules, never := ruled(t), impossible()
	all := site.Reasons()
	for _, r := range all {
		s := newSubject(t)
		if rules[r] == nil {
			t.Fatalf("no way to make %s apply", r)
		}
		rules[r](s)
		if got := s.reason(); got != r {
			t.Fatalf("%s alone: %s speaks", r, got)
		}
	}
	made := 0
	for i, first := range all {
		for _, second := range all[i+1:] {
			if never[pair{first, second}] != "" {
				continue
			}
			made++
			t.Run(fmt.Sprintf("%s and %s", first, second), func(t *testing.T) {
				forth, back := newSubject(t), newSubject(t)
				rules[first](forth)
				rules[second](forth)
				rules[second](back)
				rules[first](back)
				if diff := cmp.Diff(forth.req.PINs, back.req.PINs); diff != "" || forth.c.Until != back.c.Until {
					t.Fatalf("the order of making them matters: %s", diff)
				}
				for _, s := range []*subject{forth, back} {
					if got := s.reason(); got != first {
						t.Errorf("%s speaks, want %s", got, first)
					}
				}
			})
		}
	}
	if n := len(all); made+len(never) != n*(n-1)/2 {
		t.Errorf("%d pairs made and %d impossible of %d", made, len(never), n*(n-1)/2)
	}
}
