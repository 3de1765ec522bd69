package app_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"gatehouse/agent/site"
	"gatehouse/hal"
)

// autoSettings is the test site whose front door a schedule unlocks.
var autoSettings = strings.Replace(testSettings, "    name: Front door\n", "    name: Front door\n    auto_unlock: {schedule: office}\n", 1)

func (r *running) schedule(intervals ...string) {
	r.t.Helper()
	r.must(r.ask(http.MethodPut, "/v1/schedules/office", map[string]any{"name": "Office", "intervals": intervals}, nil))
}

// TestAutoUnlock: a schedule unlocks its door while it holds and the clock is
// trusted, from the moment at which it is made or changed, and after a restart.
func TestAutoUnlock(t *testing.T) {
	s := newTestSite(t)
	s.configure(autoSettings)
	r := s.start()
	if s.board.Level("GPIO24") != hal.Low {
		t.Error("unlocked by a schedule that is not there")
	}
	r.schedule("Mo-Su 00:00-24:00")
	r.waitLevel("GPIO24", hal.High)
	r.waitEvent("the mode", site.KindMode, func(ev site.Event) bool { return ev.Mode == "passage" && ev.By == "" })
	if s.board.Level("GPIO25") != hal.High {
		t.Error("a door without a schedule was unlocked")
	}
	s.clock.SetSynchronised(false)
	r.waitLevel("GPIO24", hal.Low)
	s.clock.SetSynchronised(true)
	r.waitLevel("GPIO24", hal.High)
	r.must(r.ask(http.MethodPost, "/v1/lockdown", map[string]any{"target": map[string]any{"door": "front"}}, nil))
	r.waitLevel("GPIO24", hal.Low)
	r.must(r.ask(http.MethodPost, "/v1/release", map[string]any{"target": map[string]any{"door": "front"}}, nil))
	r.waitLevel("GPIO24", hal.High)
	r.stop()
	if s.board.Level("GPIO24") != hal.Low {
		t.Error("unlocked after the end")
	}
	r = s.start()
	r.waitLevel("GPIO24", hal.High)
	r.schedule(time.Now().AddDate(0, 0, 3).Weekday().String()[:2] + " 08:00-18:00")
	r.waitLevel("GPIO24", hal.Low)
}

// TestFirstPerson: a door that waits for the first person is locked by its
// schedule until somebody has gone through, and remembers him over a restart.
func TestFirstPerson(t *testing.T) {
	s := newTestSite(t)
	s.configure(strings.Replace(autoSettings, "{schedule: office}", "{schedule: office, first_person: true}", 1))
	r := s.start()
	r.enrol("Ada,H10301,77,1568,front")
	r.schedule("Mo-Su 00:00-24:00")
	r.card(adaCard)
	r.waitEvent("grant", site.KindAccess, reasonIs(site.ReasonGranted))
	r.waitLevel("GPIO24", hal.High)
	r.waitLevel("GPIO24", hal.Low) // let in, but he did not go
	s.mode(r, site.ModeSecured)
	r.card(adaCard)
	r.waitLevel("GPIO24", hal.High)
	s.board.Drive("GPIO23", hal.High)
	r.waitEvent("the mode", site.KindMode, func(ev site.Event) bool { return ev.Mode == "passage" })
	s.board.Drive("GPIO23", hal.Low)
	s.mode(r, site.ModePassage)
	r.stop()
	r = s.start()
	r.waitLevel("GPIO24", hal.High)
	s.mode(r, site.ModePassage)
}

// mode wants the front door in a mode.
func (s *testSite) mode(r *running, want site.Mode) {
	s.t.Helper()
	if got := r.modes()[0]; got != want {
		s.t.Errorf("the front door is in mode %v, want %v", got, want)
	}
}
