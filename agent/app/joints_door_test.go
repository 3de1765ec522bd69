package app_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"gatehouse/agent/site"
	"gatehouse/hal"
)

// TestLockdownGivesPlaceBack: a place that a grant has reserved is free again
// when a lockdown ends the pulse before anybody goes through.
func TestLockdownGivesPlaceBack(t *testing.T) {
	r := newRulesSite(t, "occupancy: 1").start()
	r.enrol("Ada,H10301,77,1568,front", "Bob,H10301,77,1570,front")
	r.want(site.ReasonGranted, func() { r.show("front-in", adaCard) })
	r.want(site.ReasonOccupancy, func() { r.show("front-in", otherCard) })
	all := map[string]any{"target": map[string]any{"all": true}}
	r.must(r.ask(http.MethodPost, "/v1/lockdown", all, nil))
	r.waitEvent("unused", site.KindUnused, func(site.Event) bool { return true })
	r.want(site.ReasonLockdown, func() { r.show("front-in", otherCard) })
	r.must(r.ask(http.MethodPost, "/v1/release", all, nil))
	r.want(site.ReasonGranted, func() { r.show("front-in", otherCard) })
}

// TestSecondPersonElsewhere: the second person may come at another reader of the
// door, and each has his own way: one in, one out.
func TestSecondPersonElsewhere(t *testing.T) {
	s := newRulesSite(t, "")
	s.settings(strings.Replace(fmt.Sprintf(rulesSettings, "passback: {mode: hard}"), "rex: {line: GPIO22, active: low}", "rex: {line: GPIO22, active: low}\n    two_person: true", 1))
	r := s.start()
	r.enrol("Ada,H10301,77,1568,front", "Bob,H10301,77,1570,front")
	r.show("front-in", adaCard)
	r.show("front-out", otherCard)
	r.waitLevel("GPIO24", hal.High)
	r.walk("GPIO23")
	where := map[string]site.AreaID{}
	wait(t, "both", func() bool {
		for _, ev := range r.events(site.KindArea) {
			where[ev.Holder] = ev.Area
		}
		return len(where) == 2
	})
	if where["Ada"] != "lab" || where["Bob"] != "" {
		t.Errorf("where %v", where)
	}
}

// TestPanicOverEnd: a lockdown with an end that a panic button meets has none any
// more, also after a restart.
func TestPanicOverEnd(t *testing.T) {
	s := newWholeSite(t)
	r := s.start()
	until := s.clock.Now().Add(time.Hour)
	r.must(r.ask(http.MethodPost, "/v1/lockdown", map[string]any{"target": map[string]any{"all": true}, "until": until}, nil))
	s.board.Drive("GPIO6", hal.Low)
	r.waitEvent("panic", site.KindPanic, func(site.Event) bool { return true })
	wait(t, "what is kept", func() bool { return strings.Contains(r.keptInputs(), `"panic":true`) })
	s.board.Drive("GPIO6", hal.High)
	s.clock.Set(until.Add(time.Hour))
	r.stop()
	r = s.start()
	for i, m := range r.modes() {
		if m != site.ModeLockdown {
			t.Errorf("door %d: %v", i, m)
		}
	}
}

// TestOverrideEndsUntrusted: an override ends by elapsed time when the clock is
// lost meanwhile and goes far back, or far on.
func TestOverrideEndsUntrusted(t *testing.T) {
	for _, step := range []time.Duration{-1000 * time.Hour, 0} {
		s := newTestSite(t)
		r := s.start()
		until := s.clock.Now().Add(3 * time.Second)
		r.must(r.ask(http.MethodPost, "/v1/doors/front/mode", map[string]any{"mode": "passage", "until": until}, nil))
		r.waitLevel("GPIO24", hal.High)
		s.clock.SetSynchronised(false)
		s.clock.Set(s.clock.Now().Add(step))
		time.Sleep(1200 * time.Millisecond)
		if s.board.Level("GPIO24") != hal.High {
			t.Errorf("clock moved %v: the override ended early", step)
		}
		r.waitLevel("GPIO24", hal.Low)
		r.stop()
	}
}

// TestExitInFire: in a fire an interlock refuses no exit button, also of a door
// that fire does not release; after it, it does again.
func TestExitInFire(t *testing.T) {
	s := newRulesSite(t, "")
	s.settings(fmt.Sprintf(rulesSettings, "occupancy: 9") + "inputs: {fire: {line: GPIO27, normal: low, latched: false}}\n")
	s.board.Drive("GPIO27", hal.Low)
	r := s.start()
	r.board.Drive("GPIO23", hal.High) // the front door stands open
	r.waitEvent("forced", site.KindDoorForced, func(site.Event) bool { return true })
	press := func() {
		r.board.Drive("GPIO20", hal.Low)
		time.Sleep(20 * time.Millisecond)
		r.board.Drive("GPIO20", hal.High)
		time.Sleep(100 * time.Millisecond)
	}
	r.board.Drive("GPIO27", hal.High)
	r.waitEvent("fire", site.KindFire, func(ev site.Event) bool { return ev.Door == "" })
	press()
	r.waitLevel("GPIO25", hal.High)
	r.waitEvent("exit", site.KindExit, func(ev site.Event) bool { return strings.HasPrefix(ev.Text, "fire: ") && ev.Reason == "" })
	r.board.Drive("GPIO27", hal.Low)
	r.waitEvent("its end", site.KindFire, func(ev site.Event) bool { return ev.Door == "" && ev.Cleared })
	r.waitLevel("GPIO25", hal.Low)
	press()
	r.waitEvent("refused", site.KindExit, func(ev site.Event) bool { return ev.Reason == site.ReasonInterlock })
}

// TestLockdownAtTwoPersons: a card that locks down needs no second person and is
// nobody's second one.
func TestLockdownAtTwoPersons(t *testing.T) {
	r := newRulesSite(t, "occupancy: 9").start()
	r.enrolPINs("Ada,H10301,77,1568,,,,vault", "Bob,H10301,77,1570,,,lockdown,vault")
	r.show("vault-in", adaCard)
	time.Sleep(100 * time.Millisecond)
	r.show("vault-in", otherCard)
	r.waitEvent("the lockdown", site.KindMode, func(ev site.Event) bool { return ev.Door == "vault" && ev.Mode == "lockdown" })
	first := r.decided(2)
	if evs := r.events(site.KindAccess); len(evs) != 2 || evs[0].Holder != "Bob" || first.Holder != "Ada" || first.Reason != site.ReasonLockdown {
		t.Errorf("%+v", evs)
	}
	for _, c := range r.board.History("GPIO26") {
		if c.Level == hal.High {
			t.Error("a lockdown card opened the vault")
		}
	}
}

// TestFirstDoesNotPass: who waits for a second person is not let in by one who came
// by a PIN and opens nothing, nor when he may not pass any more.
func TestFirstDoesNotPass(t *testing.T) {
	s := newRulesSite(t, "occupancy: 9")
	text := fmt.Sprintf(rulesSettings, "occupancy: 9")
	s.settings(strings.Replace(text, "door: vault, wiegand", "door: vault, mode: card_pin, wiegand", 1))
	r := s.start()
	r.enrolPINs("Ada,H10301,77,1568,4711,,supervised,shed;vault", "Bob,H10301,77,1570,1234,,lockdown,vault", "Cem,H10301,55,10984,2345,,,shed")
	ada := func(reader string) {
		r.show(reader, adaCard)
		r.keys(reader, "4711#")
		time.Sleep(100 * time.Millisecond) // waiting is no event
	}
	granted := func(name string) bool {
		for _, ev := range r.events(site.KindAccess) {
			if ev.Holder == name && ev.Reason.Grants() {
				return true
			}
		}
		return false
	}

	ada("vault-in")
	r.show("vault-in", otherCard)
	r.keys("vault-in", "1234#")
	r.waitEvent("the lockdown", site.KindMode, func(ev site.Event) bool { return ev.Door == "vault" && ev.Mode == "lockdown" })
	end := r.waitEvent("her end", site.KindAccess, func(ev site.Event) bool { return ev.Holder == "Ada" })
	if !granted("Bob") || granted("Ada") {
		t.Errorf("lockdown: %+v", r.events(site.KindAccess))
	}

	ada("shed-in")
	r.show("shed-in", "1b957440")
	r.must(r.ask(http.MethodPost, "/v1/credentials/"+string(end.Credential)+"/state", map[string]string{"state": "revoked"}, nil))
	r.keys("shed-in", "2345#")
	r.waitEvent("the other", site.KindAccess, func(ev site.Event) bool { return ev.Holder == "Cem" && ev.Reason == site.ReasonGranted })
	if granted("Ada") {
		t.Errorf("revoked: %+v", r.events(site.KindAccess))
	}
}

// TestLockdownOfFullArea: a card that opens nothing lets nobody into an area, so one
// that is full does not refuse it.
func TestLockdownOfFullArea(t *testing.T) {
	r := newRulesSite(t, "occupancy: 1, passback: {mode: soft}").start()
	r.enrolPINs("Ada,H10301,77,1568,,,,front", "Bob,H10301,77,1570,,,lockdown,front", "Cem,H10301,55,10984,,,,front")
	r.want(site.ReasonGranted, func() { r.show("front-in", adaCard) })
	r.walk("GPIO23")
	r.waitEvent("entry", site.KindArea, func(ev site.Event) bool { return ev.Holder == "Ada" && ev.Area == "lab" })
	r.want(site.ReasonOccupancy, func() { r.show("front-in", "1b957440") })
	if w := r.whyAt("front", "front-in", otherCard); w.Decision != "granted" || hasStep(w, "areas", "") {
		t.Errorf("why %+v", w)
	}
	r.want(site.ReasonGranted, func() { r.show("front-in", otherCard) })
	r.waitEvent("the lockdown", site.KindMode, func(ev site.Event) bool { return ev.Door == "front" && ev.Mode == "lockdown" })
	if hasAreaReserved(r) {
		t.Error("a place is reserved")
	}
}
