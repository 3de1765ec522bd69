package app_test

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gatehouse/agent/card"
	"gatehouse/agent/control"
	"gatehouse/agent/site"
	"gatehouse/hal"
	"gatehouse/hal/haltest"
)

// rulesSettings is a site with areas, an interlock and readers that ask for
// PINs. %s is the anti-passback and occupancy of the laboratory.
const rulesSettings = `version: 1
site: {name: Rules, timezone: UTC}
device: {serial: "0000000000000000A0B1000000000206", board: sim}
state_dir: .
listen: {https: "127.0.0.1:0"}
pin: {tries: 3, within: 10m, lockout: 10m}
areas:
  - {id: lab, name: Laboratory, %s}
interlocks: [{doors: [front, shed], repeat: 5s}]
doors:
  - id: front
    strike: {line: GPIO24, unlock: 2s}
    contact: {line: GPIO23, open: high}
    rex: {line: GPIO22, active: low}
  - id: shed
    strike: {line: GPIO25, unlock: 2s}
    contact: {line: GPIO19, open: high}
    rex: {line: GPIO20, active: low}
  - id: vault
    strike: {line: GPIO26, unlock: 1s}
    two_person: true
readers:
  - {id: front-in, door: front, to: lab, wiegand: {d0: GPIO17, d1: GPIO18}}
  - {id: front-out, door: front, from: lab, wiegand: {d0: GPIO5, d1: GPIO6}}
  - {id: shed-in, door: shed, mode: card_pin, wiegand: {d0: GPIO7, d1: GPIO8}}
  - {id: shed-pin, door: shed, mode: pin, wiegand: {d0: GPIO9, d1: GPIO10}}
  - {id: vault-in, door: vault, wiegand: {d0: GPIO11, d1: GPIO12}}
`

// lines of the readers of rulesSettings.
var readerLines = map[string][2]hal.LineName{
	"front-in": {"GPIO17", "GPIO18"}, "front-out": {"GPIO5", "GPIO6"}, "shed-in": {"GPIO7", "GPIO8"},
	"shed-pin": {"GPIO9", "GPIO10"}, "vault-in": {"GPIO11", "GPIO12"},
}

func newRulesSite(t *testing.T, lab string) *testSite {
	s := newTestSite(t)
	s.settings(fmt.Sprintf(rulesSettings, lab))
	for _, l := range readerLines {
		s.board.Drive(l[0], hal.High)
		s.board.Drive(l[1], hal.High)
	}
	s.board.Drive("GPIO19", hal.Low)
	s.board.Drive("GPIO20", hal.High)
	return s
}

// settings replaces the site's settings.
func (s *testSite) settings(text string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, "site.yaml"), []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// at presents bits at one of the readers.
func (r *running) at(reader, bits string) {
	r.t.Helper()
	l := readerLines[reader]
	wait(r.t, reader, func() bool { return r.board.Claimed(l[0]) })
	length := time.Duration(len(bits)) * bitPace
	time.Sleep(length + 30*time.Millisecond)
	r.board.WiegandAt(l[0], l[1], bits, bitPace, r.board.Now()-length)
}

// show presents a 26-bit card at a reader.
func (r *running) show(reader, hexBits string) { r.t.Helper(); r.at(reader, haltest.Bits(26, hexBits)) }

// keys types at a reader's keypad.
func (r *running) keys(reader, keys string) {
	r.t.Helper()
	for _, c := range keys {
		k := card.Key(c - '0')
		if c == '#' {
			k = card.KeyEnter
		}
		b, err := k.Bits(4)
		if err != nil {
			r.t.Fatal(err)
		}
		var text strings.Builder
		for i := range b.Len() {
			text.WriteByte("01"[map[bool]int{true: 1}[b.Bit(i)]])
		}
		r.at(reader, text.String())
	}
}

// decided waits for the n-th access event and returns it.
func (r *running) decided(n int) site.Event {
	r.t.Helper()
	var evs []site.Event
	wait(r.t, fmt.Sprintf("access event %d", n), func() bool { evs = r.events(site.KindAccess); return len(evs) >= n })
	return evs[n-1]
}

// want waits for the next access event and checks its reason.
func (r *running) want(reason site.Reason, do func()) site.Event {
	r.t.Helper()
	n := len(r.events(site.KindAccess))
	do()
	ev := r.decided(n + 1)
	if ev.Reason != reason {
		r.t.Fatalf("reason %s, want %s: %+v", ev.Reason, reason, ev)
	}
	return ev
}

// walk opens and closes a door by its contact.
func (r *running) walk(contact hal.LineName) {
	r.t.Helper()
	opened, closed := len(r.events(site.KindDoorOpened)), len(r.events(site.KindDoorClosed))
	r.board.Drive(contact, hal.High)
	wait(r.t, "opening", func() bool { return len(r.events(site.KindDoorOpened)) > opened })
	r.board.Drive(contact, hal.Low)
	wait(r.t, "closing", func() bool { return len(r.events(site.KindDoorClosed)) > closed })
}

// enrolPINs imports rows of holder,format,facility,card,pin,duress_pin,function,rights.
func (r *running) enrolPINs(rows ...string) {
	r.t.Helper()
	csv := "holder,format,facility,card,pin,duress_pin,function,rights\n" + strings.Join(rows, "\n") + "\n"
	err := r.client.Stream(r.t.Context(), http.MethodPost, "/v1/credentials/import", url.Values{"format": {"csv"}}, strings.NewReader(csv), func([]byte) error { return nil })
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *running) explain(q url.Values) control.Why {
	r.t.Helper()
	var w control.Why
	r.must(r.client.Get(r.t.Context(), "/v1/why", q, &w))
	return w
}

// TestPassback: an entry is what opened the door, it survives a restart and a
// kill, and only who is forgiven or has left enters again.
func TestPassback(t *testing.T) {
	s := newRulesSite(t, "passback: {mode: hard}")
	r := s.start()
	r.enrol("Ada,H10301,77,1568,front", "Bob,H10301,77,1570,front")
	r.want(site.ReasonGranted, func() { r.show("front-in", adaCard) })
	r.waitLevel("GPIO24", hal.Low) // nobody went through
	r.waitEvent("unused", site.KindUnused, func(site.Event) bool { return true })
	r.want(site.ReasonGranted, func() { r.show("front-in", adaCard) })
	r.walk("GPIO23")
	r.waitEvent("entry", site.KindArea, func(ev site.Event) bool { return ev.Holder == "Ada" && ev.Area == "lab" })
	r.want(site.ReasonPassback, func() { r.show("front-in", adaCard) })
	r.want(site.ReasonGranted, func() { r.show("front-in", otherCard) })
	r.walk("GPIO23")

	r.stop()
	r = s.start()
	r.want(site.ReasonPassback, func() { r.show("front-in", adaCard) })
	r.stop()
	if err := os.Remove(filepath.Join(s.dir, "areas.json")); err != nil {
		t.Fatal(err)
	}
	r = s.start() // made again from the log
	r.want(site.ReasonPassback, func() { r.show("front-in", adaCard) })
	r.stop()
	damaged := []byte(`{"next":3,"kept":{"version":1,"present":[`)
	if err := os.WriteFile(filepath.Join(s.dir, "areas.json"), damaged, 0o600); err != nil {
		t.Fatal(err)
	}
	r = s.start()
	r.want(site.ReasonPassback, func() { r.show("front-in", adaCard) })
	if !s.quarantined(damaged) {
		t.Error("the damaged file was not set aside")
	}
	w := r.explain(url.Values{"door": {"front"}, "bits": {"26:" + adaCard}})
	if w.Decision != "refused" || w.Reason != "passback" || !hasStep(w, "areas", "holder in lab") {
		t.Errorf("why %+v", w)
	}
	w = r.explain(url.Values{"door": {"front"}, "reader": {"front-out"}, "bits": {"26:" + adaCard}})
	if w.Decision != "granted" {
		t.Errorf("why out %+v", w)
	}

	var a control.AreaStatus
	r.must(r.client.Get(t.Context(), "/v1/areas/lab", nil, &a))
	if a.Count != 2 || len(a.Present) != 2 || a.Present[0].Name != "Ada" || a.Passback != "hard" {
		t.Errorf("area %+v", a)
	}
	var done control.Forgiven
	r.must(r.ask(http.MethodPost, "/v1/areas/forgive", control.Forgiveness{Holder: "Ada"}, &done))
	if done.Holders != 1 {
		t.Errorf("forgiven %+v", done)
	}
	r.want(site.ReasonGranted, func() { r.show("front-in", adaCard) })
	r.walk("GPIO23")
	r.want(site.ReasonGranted, func() { r.show("front-out", adaCard) })
	r.walk("GPIO23")
	r.want(site.ReasonGranted, func() { r.show("front-in", adaCard) })
	r.must(r.ask(http.MethodPost, "/v1/areas/forgive", control.Forgiveness{All: true}, nil))
	r.stop()
	if err := os.Remove(filepath.Join(s.dir, "areas.json")); err != nil {
		t.Fatal(err)
	}
	r = s.start()
	r.must(r.client.Get(t.Context(), "/v1/areas/lab", nil, &a))
	if a.Count != 0 {
		t.Errorf("after forgiveness and a restart: %+v", a)
	}
}

func hasStep(w control.Why, check, text string) bool {
	for _, s := range w.Steps {
		if s.Check == check && strings.Contains(s.Input+" "+s.Result, text) {
			return true
		}
	}
	return false
}

// TestSoftPassback: a breach passes and is told.
func TestSoftPassback(t *testing.T) {
	r := newRulesSite(t, "passback: {mode: soft, forget: 8h}").start()
	r.enrol("Ada,H10301,77,1568,front")
	r.want(site.ReasonGranted, func() { r.show("front-in", adaCard) })
	r.walk("GPIO23")
	r.want(site.ReasonGrantedPassback, func() { r.show("front-in", adaCard) })
	r.waitLevel("GPIO24", hal.High)
}

// TestOccupancy: the limit counts who is in and who was let in.
func TestOccupancy(t *testing.T) {
	r := newRulesSite(t, "occupancy: 1").start()
	r.enrol("Ada,H10301,77,1568,front", "Bob,H10301,77,1570,front")
	r.want(site.ReasonGranted, func() { r.show("front-in", adaCard) })
	r.want(site.ReasonOccupancy, func() { r.show("front-in", otherCard) })
	r.waitEvent("unused", site.KindUnused, func(site.Event) bool { return true })
	r.want(site.ReasonGranted, func() { r.show("front-in", otherCard) })
	r.walk("GPIO23")
	r.want(site.ReasonOccupancy, func() { r.show("front-in", adaCard) })
	r.want(site.ReasonGranted, func() { r.show("front-out", otherCard) })
	r.walk("GPIO23")
	r.want(site.ReasonGranted, func() { r.show("front-in", adaCard) })
}

// TestInterlock: while one door is unlocked or open the other opens for no card
// and for a second press of its exit button only.
func TestInterlock(t *testing.T) {
	r := newRulesSite(t, "occupancy: 9").start()
	r.enrolPINs("Ada,H10301,77,1568,4711,,,front;shed")
	r.want(site.ReasonGranted, func() { r.show("front-in", adaCard) })
	r.waitLevel("GPIO24", hal.High)
	r.want(site.ReasonInterlock, func() { r.show("shed-in", adaCard) })
	if w := r.explain(url.Values{"door": {"shed"}, "bits": {"26:" + adaCard}}); w.Reason != "interlock" || !hasStep(w, "interlock", "front") {
		t.Errorf("why %+v", w)
	}
	r.board.Drive("GPIO23", hal.High)
	r.waitEvent("opening", site.KindDoorOpened, func(site.Event) bool { return true })
	r.waitLevel("GPIO24", hal.Low)
	r.board.Drive("GPIO20", hal.Low) // open: still not secure
	r.waitEvent("refused press", site.KindExit, func(ev site.Event) bool { return ev.Door == "shed" && ev.Reason == site.ReasonInterlock })
	r.board.Drive("GPIO20", hal.High)
	time.Sleep(100 * time.Millisecond) // the release counts when it has stood
	if r.board.Level("GPIO25") != hal.Low {
		t.Fatal("a first press opened the shed")
	}
	r.board.Drive("GPIO20", hal.Low)
	r.waitLevel("GPIO25", hal.High) // the second one does
	r.board.Drive("GPIO20", hal.High)
	r.waitLevel("GPIO25", hal.Low)
	r.board.Drive("GPIO23", hal.Low)
	r.waitEvent("closing", site.KindDoorClosed, func(site.Event) bool { return true })
	r.show("shed-in", adaCard)
	r.want(site.ReasonGranted, func() { r.keys("shed-in", "4711#") })
	r.waitLevel("GPIO25", hal.High)
}

// TestPIN: a PIN is asked for, compared, counted when it is wrong, and not
// compared any more once too many were; that survives a restart.
func TestPIN(t *testing.T) {
	s := newRulesSite(t, "occupancy: 9")
	r := s.start()
	r.enrolPINs("Ada,H10301,77,1568,4711,4712,,shed", "Bob,H10301,77,1570,1234,,,shed")
	r.show("shed-in", adaCard)
	if r.board.Level("GPIO25") != hal.Low {
		t.Error("a card without its PIN opened")
	}
	r.want(site.ReasonGranted, func() { r.keys("shed-in", "4711#") })
	r.waitLevel("GPIO25", hal.High)
	r.waitLevel("GPIO25", hal.Low)
	// Under duress nothing at the door or in the listing differs.
	r.show("shed-in", adaCard)
	ev := r.want(site.ReasonGranted, func() { r.keys("shed-in", "4712#") })
	if ev.Holder != "Ada" {
		t.Errorf("%+v", ev)
	}
	wait(t, "the duress alarm", func() bool {
		var all []control.Alarm
		r.must(r.client.Get(t.Context(), "/v1/alarms", url.Values{"duress": {"1"}}, &all))
		return len(all) == 1 && all[0].Kind == site.KindDuress
	})
	var open []control.Alarm
	r.must(r.client.Get(t.Context(), "/v1/alarms", nil, &open))
	for _, e := range r.events("") {
		if e.Kind == site.KindDuress {
			t.Errorf("the listing tells of duress: %+v", e)
		}
	}
	if len(open) != 0 {
		t.Errorf("alarms %+v", open)
	}
	r.waitLevel("GPIO25", hal.Low)

	for range 3 {
		r.show("shed-in", adaCard)
		r.want(site.ReasonPINWrong, func() { r.keys("shed-in", "9999#") })
	}
	r.want(site.ReasonPINLockedOut, func() { r.show("shed-in", adaCard) })
	r.show("shed-in", otherCard)
	r.want(site.ReasonGranted, func() { r.keys("shed-in", "1234#") })
	r.stop()
	r = s.start()
	r.want(site.ReasonPINLockedOut, func() { r.show("shed-in", adaCard) })
	s.clock.Set(s.clock.Now().Add(11 * time.Minute))
	r.show("shed-in", adaCard)
	r.want(site.ReasonGranted, func() { r.keys("shed-in", "4711#") })
}

// TestPINAlone: a reader that takes a PIN only takes no card, and locks itself
// after too many that nobody has.
func TestPINAlone(t *testing.T) {
	r := newRulesSite(t, "occupancy: 9").start()
	r.enrolPINs("Ada,H10301,77,1568,4711,,,shed")
	r.want(site.ReasonReaderClosed, func() { r.show("shed-pin", adaCard) })
	ev := r.want(site.ReasonGranted, func() { r.keys("shed-pin", "4711#") })
	if ev.Holder != "Ada" || ev.Reader != "shed-pin" {
		t.Errorf("%+v", ev)
	}
	r.waitLevel("GPIO25", hal.High)
	for range 3 {
		r.want(site.ReasonPINWrong, func() { r.keys("shed-pin", "9999#") })
	}
	r.want(site.ReasonPINLockedOut, func() { r.keys("shed-pin", "4711#") })
	r.want(site.ReasonReaderClosed, func() { r.keys("front-in", "4711#") })
}

// TestTwoPersons: the vault opens to two holders who both may pass, and both are
// recorded.
func TestTwoPersons(t *testing.T) {
	r := newRulesSite(t, "occupancy: 9").start()
	r.enrol("Ada,H10301,77,1568,vault", "Bob,H10301,77,1570,vault", "Ada,H10301,77,1571,vault")
	r.show("vault-in", adaCard)
	r.show("vault-in", adaCard) // the same person again is no second one
	if r.board.Level("GPIO26") != hal.Low {
		t.Fatal("one person opened the vault")
	}
	r.show("vault-in", otherCard)
	r.waitLevel("GPIO26", hal.High)
	passed := map[string]bool{}
	wait(t, "both", func() bool {
		for _, ev := range r.events(site.KindAccess) {
			if ev.Reason == site.ReasonGranted {
				passed[ev.Holder] = true
			}
		}
		return len(passed) == 2
	})
	if !passed["Ada"] || !passed["Bob"] {
		t.Errorf("passed %v", passed)
	}
}

// TestReaderModeBySchedule: a reader that wants a PIN outside office hours, and
// whenever the time is not known.
func TestReaderModeBySchedule(t *testing.T) {
	s := newRulesSite(t, "occupancy: 9")
	text := strings.Replace(fmt.Sprintf(rulesSettings, "occupancy: 9"), "mode: card_pin,", "mode: [{schedule: office, mode: card}, {mode: card_pin}],", 1)
	s.settings(text)
	monday := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	s.clock.Set(monday)
	r := s.start()
	r.must(r.ask(http.MethodPut, "/v1/schedules/office", map[string]any{"intervals": []string{"Mo-Fr 08:00-18:00"}}, nil))
	r.enrolPINs("Ada,H10301,77,1568,4711,,,shed")
	r.want(site.ReasonGranted, func() { r.show("shed-in", adaCard) })
	at := func(t time.Time) url.Values {
		return url.Values{"door": {"shed"}, "bits": {"26:" + adaCard}, "at": {t.Format(time.RFC3339)}}
	}
	for _, tt := range []struct {
		at   time.Time
		want string
	}{
		{monday.Add(-5 * time.Hour), "waiting"},  // 07:00, past
		{monday.Add(-3 * time.Hour), "granted"},  // 09:00, past
		{monday.Add(5 * time.Hour), "granted"},   // 17:00, to come
		{monday.Add(7 * time.Hour), "waiting"},   // 19:00
		{monday.Add(-48 * time.Hour), "waiting"}, // Saturday
	} {
		if w := r.explain(at(tt.at)); w.Decision != tt.want || !hasStep(w, "time", "20") {
			t.Errorf("%v: %+v, want %s", tt.at, w, tt.want)
		}
	}
	s.clock.Set(monday.Add(8 * time.Hour))
	r.show("shed-in", adaCard)
	r.want(site.ReasonGranted, func() { r.keys("shed-in", "4711#") })
	s.clock.Set(monday.Add(24 * time.Hour))
	s.clock.SetSynchronised(false)
	wait(t, "doubt", func() bool {
		var st control.Status
		r.must(r.client.Get(t.Context(), "/v1/status", nil, &st))
		return !st.Clock.Trusted
	})
	r.show("shed-in", adaCard)
	r.want(site.ReasonGranted, func() { r.keys("shed-in", "4711#") })
}
