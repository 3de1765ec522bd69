package app_test

import (
	"net/http"
	"testing"
	"time"

	"gatehouse/agent/site"
	"gatehouse/hal"
)

// enrolScheduled enrols a card with a right by schedule and one with a right
// always.
func (r *running) enrolScheduled() (scheduled, always string) {
	r.t.Helper()
	r.must(r.ask(http.MethodPut, "/v1/schedules/all-day", map[string]any{"name": "All day", "intervals": []string{"Mo-Su 00:00-24:00"}}, nil))
	r.enrol("Sam,H10301,77,1568,front@all-day", "Ada,H10301,77,1570,front")
	return adaCard, otherCard
}

// present presents a card and returns the event of its decision.
func (r *running) present(hexBits string) site.Event {
	r.t.Helper()
	last := r.lastSeq()
	r.card(hexBits)
	return r.waitEvent("the decision", site.KindAccess, func(ev site.Event) bool { return ev.Seq > last })
}

// relock ends a pulse.
func (r *running) relock() {
	r.t.Helper()
	r.must(r.ask(http.MethodPost, "/v1/doors/front/lock", nil, nil))
	r.waitLevel("GPIO24", hal.Low)
}

// TestUntrustedClock: while nothing vouches for the time, and after it went back,
// a right with a schedule is refused, one without passes, events say so, and an
// end that has passed stays passed. When time is known again, all is as before.
func TestUntrustedClock(t *testing.T) {
	s := newTestSite(t)
	r := s.start()
	scheduled, always := r.enrolScheduled()
	until := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	r.must(r.ask(http.MethodPost, "/v1/credentials", map[string]any{"holder": "Guest", "format": "H10301", "facility": 77, "card": 1571,
		"rights": "front", "until": until.Format(time.RFC3339)}, nil))
	guest := h10301(77, 1571)
	want := func(when, card string, reason site.Reason, trusted bool) {
		t.Helper()
		ev := r.present(card)
		if ev.Reason != reason || ev.Trusted != trusted {
			t.Errorf("%s: %s, trusted %v; want %s, %v", when, ev.Reason, ev.Trusted, reason, trusted)
		}
		if ev.Reason.Grants() {
			r.waitLevel("GPIO24", hal.High)
			r.relock()
		}
	}
	want("trusted", scheduled, site.ReasonGranted, true)
	want("trusted", guest, site.ReasonGranted, true)

	// Two hours later the guest's time is over. Then the clock goes back.
	s.clock.Set(time.Now().Add(2 * time.Hour))
	want("later", guest, site.ReasonExpired, true)
	s.clock.Set(time.Now())
	wait(t, "distrust", func() bool { return !r.status().Clock.Trusted })
	want("gone back", scheduled, site.ReasonClockUntrusted, false)
	want("gone back", always, site.ReasonGranted, false)
	want("gone back", guest, site.ReasonExpired, false)
	r.waitEvent("the clock's event", site.KindClock, func(ev site.Event) bool { return !ev.Trusted })

	// The last trusted time survives a restart, also to a clock of 1970 that
	// nobody vouches for.
	r.stop()
	s.clock.Set(time.Unix(1000, 0))
	s.clock.SetSynchronised(false)
	r = s.start()
	if got := r.status().Clock; got.Trusted || got.LastTrusted.Before(until) {
		t.Errorf("after the restart: %+v", got)
	}
	want("1970", scheduled, site.ReasonClockUntrusted, false)
	want("1970", always, site.ReasonGranted, false)
	want("1970", guest, site.ReasonExpired, false)

	s.clock.Set(time.Now().Add(3 * time.Hour))
	s.clock.SetSynchronised(true)
	wait(t, "trust", func() bool { return r.status().Clock.Trusted })
	want("known again", scheduled, site.ReasonGranted, true)
}

// TestUntrustedClockModes: the settings say what else becomes of rights.
func TestUntrustedClockModes(t *testing.T) {
	for mode, want := range map[string]struct{ scheduled, always, until site.Reason }{
		"deny":        {site.ReasonClockUntrusted, site.ReasonGranted, site.ReasonClockUntrusted},
		"always-only": {site.ReasonClockUntrusted, site.ReasonGranted, site.ReasonGranted},
		"ignore":      {site.ReasonGranted, site.ReasonGranted, site.ReasonGranted},
	} {
		t.Run(mode, func(t *testing.T) {
			s := newTestSite(t)
			s.configure(testSettings + "clock: {untrusted: " + mode + "}\n")
			s.clock.SetSynchronised(false)
			r := s.start()
			r.enrolScheduled()
			r.must(r.ask(http.MethodPost, "/v1/credentials", map[string]any{"holder": "Guest", "format": "H10301", "facility": 77, "card": 1571,
				"rights": "front", "until": time.Now().Add(time.Hour).Format(time.RFC3339)}, nil))
			for bits, want := range map[string]site.Reason{adaCard: want.scheduled, otherCard: want.always, h10301(77, 1571): want.until} {
				if got := r.whyBits("26:" + bits); got != want {
					t.Errorf("%s: %s, want %s", bits, got, want)
				}
			}
		})
	}
}
