package app_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/agent/control"
	"gatehouse/agent/site"
	"gatehouse/hal"
)

// TestWhyEndsNoLockout: a question about tomorrow, when a lock-out of today is
// over, does not end it today.
func TestWhyEndsNoLockout(t *testing.T) {
	s := newRulesSite(t, "occupancy: 9")
	r := s.start()
	r.enrolPINs("Ada,H10301,77,1568,4711,,,shed")
	for range 3 {
		r.show("shed-in", adaCard)
		r.want(site.ReasonPINWrong, func() { r.keys("shed-in", "9999#") })
	}
	q := url.Values{"door": {"shed"}, "bits": {"26:" + adaCard}}
	if w := r.explain(q); w.Reason != string(site.ReasonPINLockedOut) {
		t.Errorf("now: %+v", w)
	}
	q.Set("at", s.clock.Now().Add(24*time.Hour).Format(time.RFC3339))
	if w := r.explain(q); w.Reason != string(site.ReasonPINRequired) {
		t.Errorf("tomorrow: %+v", w)
	}
	r.want(site.ReasonPINLockedOut, func() { r.show("shed-in", adaCard) })
}

// whyAt asks about a card at a reader, now.
func (r *running) whyAt(door, reader, bits string) control.Why {
	r.t.Helper()
	return r.explain(url.Values{"door": {door}, "reader": {reader}, "bits": {"26:" + bits}})
}

// TestInterlockOfOpenDoors: a door that is open itself while another one of its
// interlock is not secure refuses a card, why says so, and no counted use is
// lost. A card that locks down is not refused: it opens nothing.
func TestInterlockOfOpenDoors(t *testing.T) {
	r := newRulesSite(t, "occupancy: 9").start()
	r.enrolPINs("Ada,H10301,77,1568,,,one_time,front", "Bob,H10301,77,1570,,,lockdown,front")
	for _, contact := range []hal.LineName{"GPIO23", "GPIO19"} { // both forced
		n := len(r.events(site.KindDoorForced))
		r.board.Drive(contact, hal.High)
		wait(t, "forced", func() bool { return len(r.events(site.KindDoorForced)) > n })
	}
	if w := r.whyAt("front", "front-in", adaCard); w.Reason != string(site.ReasonInterlock) || !hasStep(w, "interlock", "refuses") {
		t.Errorf("why %+v", w)
	}
	r.want(site.ReasonInterlock, func() { r.show("front-in", adaCard) })
	if w := r.whyAt("front", "front-in", otherCard); w.Decision != "granted" {
		t.Errorf("why lockdown %+v", w)
	}
	r.want(site.ReasonGranted, func() { r.show("front-in", otherCard) })
	r.must(r.ask(http.MethodPost, "/v1/release", map[string]any{"target": map[string]any{"all": true}}, nil))
	r.walkOut("GPIO19")
	r.want(site.ReasonGranted, func() { r.show("front-in", adaCard) })
	r.waitLevel("GPIO24", hal.High)
	if w := r.whyAt("shed", "shed-in", adaCard); w.Reason != string(site.ReasonUsedUp) {
		t.Errorf("the one use: %+v", w)
	}
}

// walkOut closes a door that is open.
func (r *running) walkOut(contact hal.LineName) {
	r.t.Helper()
	closed := len(r.events(site.KindDoorClosed))
	r.board.Drive(contact, hal.Low)
	wait(r.t, "closing", func() bool { return len(r.events(site.KindDoorClosed)) > closed })
}

// TestOrderOfReasonsAtPINs: what stands before a PIN in the order of reasons
// speaks first, and wrong PINs count all the same.
func TestOrderOfReasonsAtPINs(t *testing.T) {
	r := newRulesSite(t, "occupancy: 9").start()
	r.enrolPINs("Ada,H10301,77,1568,4711,,,front;shed")
	mode := func(mode string) {
		r.must(r.ask(http.MethodPost, "/v1/doors/shed/mode", map[string]any{"mode": mode}, nil))
	}
	// The shed's neighbour is open: an interlock stands before PINs.
	r.board.Drive("GPIO23", hal.High)
	r.waitEvent("forced", site.KindDoorForced, func(site.Event) bool { return true })
	for range 3 {
		r.want(site.ReasonInterlock, func() { r.keys("shed-pin", "9999#") })
	}
	r.want(site.ReasonInterlock, func() { r.keys("shed-pin", "4711#") })
	r.walkOut("GPIO23")
	r.want(site.ReasonPINLockedOut, func() { r.keys("shed-pin", "4711#") }) // they counted
	// At a reader that takes no PIN alone the door's mode speaks first.
	r.want(site.ReasonReaderClosed, func() { r.keys("shed-in", "4711#") })
	mode("disabled")
	r.want(site.ReasonDoorDisabled, func() { r.keys("shed-in", "4711#") })
	r.want(site.ReasonDoorDisabled, func() { r.keys("shed-pin", "4711#") })
	mode("frozen_secured")
	r.want(site.ReasonFrozen, func() { r.keys("shed-in", "4711#") })
}

// TestSecondRefusedKeepsUses: where the first of two persons cannot pass any
// more the second one's only use is not taken.
func TestSecondRefusedKeepsUses(t *testing.T) {
	s := newRulesSite(t, "occupancy: 1")
	s.settings(vaultInLab())
	r := s.start()
	r.enrolPINs("Ada,H10301,77,1568,,,,front;vault", "Bob,H10301,77,1570,,,one_time,front;vault")
	r.show("vault-in", adaCard)
	// One place is left and two want to come in.
	r.want(site.ReasonOccupancy, func() { r.show("vault-in", otherCard) })
	if w := r.whyAt("front", "front-in", otherCard); w.Decision != "granted" {
		t.Errorf("the second one's use is gone: %+v", w)
	}
	if w := r.whyAt("front", "front-in", adaCard); w.Decision != "granted" || hasAreaReserved(r) {
		t.Errorf("a place is still reserved: %+v", w)
	}
}

func hasAreaReserved(r *running) bool {
	var a control.AreaStatus
	r.must(r.client.Get(r.t.Context(), "/v1/areas/lab", nil, &a))
	return a.Reserved != 0
}

// vaultInLab leads the vault's reader into a laboratory with one place.
func vaultInLab() string {
	text := fmt.Sprintf(rulesSettings, "occupancy: 1")
	return strings.Replace(text, "door: vault, wiegand", "door: vault, to: lab, wiegand", 1)
}

// TestDuressOfFirst: when the first of two was under duress, the alarm names him
// and not the second one.
func TestDuressOfFirst(t *testing.T) {
	s := newRulesSite(t, "occupancy: 9")
	s.settings(strings.Replace(fmt.Sprintf(rulesSettings, "occupancy: 9"), "door: vault, wiegand", "door: vault, mode: card_pin, wiegand", 1))
	r := s.start()
	r.enrolPINs("Ada,H10301,77,1568,4711,4712,,vault", "Bob,H10301,77,1570,1234,1235,,vault")
	r.show("vault-in", adaCard)
	r.keys("vault-in", "4712#")
	r.show("vault-in", otherCard)
	r.want(site.ReasonGranted, func() { r.keys("vault-in", "1234#") })
	r.waitLevel("GPIO26", hal.High)
	var all []site.Event
	for _, ev := range r.eventsAsking(url.Values{"duress": {"1"}}) {
		if ev.Kind == site.KindDuress {
			all = append(all, ev)
		}
	}
	if len(all) != 1 || all[0].Holder != "Ada" {
		t.Errorf("duress of %+v", all)
	}
}

// eventsAsking returns the kept events that a query asks for.
func (r *running) eventsAsking(q url.Values) (out []site.Event) {
	r.t.Helper()
	r.must(r.client.Stream(r.t.Context(), http.MethodGet, "/v1/events", q, nil, func(line []byte) error {
		var ev site.Event
		err := json.Unmarshal(line, &ev)
		out = append(out, ev)
		return err
	}))
	return out
}

// TestDuressTellsNobody: to everybody who may not see duress a grant under it
// and one without are the same but for time and number: in the listing, whose
// numbers have no gap, in status, in the alarms, in doctor and in metrics of the
// log. An acknowledgement of the alarm is not listed either.
func TestDuressTellsNobody(t *testing.T) {
	r := newRulesSite(t, "occupancy: 9").start()
	r.enrolPINs("Ada,H10301,77,1568,4711,4712,,shed")
	enter := func(pin string) site.Event {
		r.show("shed-in", adaCard)
		ev := r.want(site.ReasonGranted, func() { r.keys("shed-in", pin+"#") })
		r.waitLevel("GPIO25", hal.High)
		r.waitLevel("GPIO25", hal.Low)
		ev.Seq, ev.Time = 0, time.Time{}
		return ev
	}
	same := func() (out []string) {
		for _, path := range []string{"/v1/doctor", "/v1/alarms", "/v1/doors"} {
			var text json.RawMessage
			r.must(r.client.Get(t.Context(), path, nil, &text))
			out = append(out, string(text))
		}
		return out
	}
	plain, before := enter("4711"), same()
	forced, after := enter("4712"), same()
	if diff := cmp.Diff(plain, forced); diff != "" {
		t.Errorf("the event of a grant under duress differs: %s", diff)
	}
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("what is shown differs: %s", diff)
	}
	list := r.eventsAsking(nil)
	for i, ev := range list {
		if ev.Seq != site.EventSeq(i+1) {
			t.Fatalf("a gap in the numbers before %+v", ev)
		}
	}
	var alarms []control.Alarm
	wait(t, "the alarm", func() bool {
		r.must(r.client.Get(t.Context(), "/v1/alarms", url.Values{"duress": {"1"}}, &alarms))
		return len(alarms) == 1
	})
	all := r.eventsAsking(url.Values{"duress": {"1"}})
	if len(all) != len(list)+1 {
		t.Errorf("%d events with duress, %d without", len(all), len(list))
	}
	r.must(r.ask(http.MethodPost, "/v1/alarms/"+itoa(alarms[0].ID)+"/ack", map[string]string{"by": "grace"}, nil))
	if now := r.eventsAsking(nil); len(now) != len(list) {
		t.Errorf("the acknowledgement is listed: %+v", now[len(list):])
	}
	if now := r.eventsAsking(url.Values{"duress": {"1"}}); len(now) != len(all)+1 {
		t.Errorf("the acknowledgement is not listed for those who may see it: %+v", now[len(all):])
	}
	if last := r.eventsAsking(url.Values{"duress": {"1"}, "last": {"1"}}); len(last) != 1 || last[0].By != "grace" {
		t.Errorf("last: %+v", last)
	}
}

// TestWhyOfPastPINs: a right PIN has ended the count of wrong ones for why of
// that time as it had at the door.
func TestWhyOfPastPINs(t *testing.T) {
	s := newRulesSite(t, "occupancy: 9")
	r := s.start()
	r.enrolPINs("Ada,H10301,77,1568,4711,,,shed")
	try := func(pin string, want site.Reason) {
		s.clock.Set(s.clock.Now().Add(2 * time.Second))
		r.show("shed-in", adaCard)
		r.want(want, func() { r.keys("shed-in", pin+"#") })
	}
	wrong := site.ReasonPINWrong
	for _, x := range []struct {
		pin  string
		want site.Reason
	}{{"9999", wrong}, {"9999", wrong}, {"4711", site.ReasonGranted}, {"9999", wrong}, {"9999", wrong}} {
		try(x.pin, x.want)
	}
	s.clock.Set(s.clock.Now().Add(2 * time.Second))
	open := s.clock.Now()
	try("9999", wrong)
	s.clock.Set(s.clock.Now().Add(2 * time.Second))
	locked := s.clock.Now()
	s.clock.Set(s.clock.Now().Add(time.Minute))
	for at, want := range map[time.Time]site.Reason{open: site.ReasonPINRequired, locked: site.ReasonPINLockedOut} {
		q := url.Values{"door": {"shed"}, "bits": {"26:" + adaCard}, "at": {at.Format(time.RFC3339Nano)}}
		if w := r.explain(q); w.Reason != string(want) {
			t.Errorf("at %v: %+v, want %s", at, w, want)
		}
	}
}

// TestDuressInVain: a duress PIN is an alarm also where nobody is let in, and the
// door and the listing show a refusal like any other.
func TestDuressInVain(t *testing.T) {
	r := newRulesSite(t, "occupancy: 9").start()
	r.enrolPINs("Ada,H10301,77,1568,4711,4712,,shed")
	r.must(r.ask(http.MethodPost, "/v1/doors/shed/mode", map[string]any{"mode": "frozen_secured"}, nil))
	ev := r.want(site.ReasonFrozen, func() { r.keys("shed-pin", "4712#") })
	if ev.As != "" {
		t.Errorf("the listing tells: %+v", ev)
	}
	wait(t, "the alarm", func() bool {
		var all []control.Alarm
		r.must(r.client.Get(t.Context(), "/v1/alarms", url.Values{"duress": {"1"}}, &all))
		return len(all) == 1 && all[0].Kind == site.KindDuress
	})
}

// TestReaderClosesInAWait: a reader that closes while a card waits for its PIN
// lets nobody in by that PIN.
func TestReaderClosesInAWait(t *testing.T) {
	s := newRulesSite(t, "")
	s.settings(strings.Replace(fmt.Sprintf(rulesSettings, "occupancy: 9"), "mode: card_pin,", "mode: [{schedule: office, mode: card_pin}, {mode: closed}],", 1))
	evening := time.Date(2026, 11, 23, 17, 59, 0, 0, time.UTC)
	s.clock.Set(evening)
	r := s.start()
	r.must(r.ask(http.MethodPut, "/v1/schedules/office", map[string]any{"intervals": []string{"Mo-Fr 08:00-18:00"}}, nil))
	r.enrolPINs("Ada,H10301,77,1568,4711,,,shed")
	r.show("shed-in", adaCard)
	time.Sleep(100 * time.Millisecond)
	s.clock.Set(evening.Add(time.Minute))
	r.want(site.ReasonReaderClosed, func() { r.keys("shed-in", "4711#") })
	if r.board.Level("GPIO25") != hal.Low {
		t.Error("a closed reader opened")
	}
}

// TestPINsInLockdownCount: PINs that nobody has count also while the door is
// locked down, and a restart without the file of the areas forgets none.
func TestPINsInLockdownCount(t *testing.T) {
	s := newRulesSite(t, "occupancy: 9")
	r := s.start()
	r.enrolPINs("Ada,H10301,77,1568,4711,,,shed")
	all := map[string]any{"target": map[string]any{"all": true}}
	r.must(r.ask(http.MethodPost, "/v1/lockdown", all, nil))
	for range 3 {
		r.want(site.ReasonLockdown, func() { r.keys("shed-pin", "9999#") })
	}
	r.stop()
	if err := os.Remove(filepath.Join(s.dir, "areas.json")); err != nil {
		t.Fatal(err)
	}
	r = s.start()
	r.must(r.ask(http.MethodPost, "/v1/release", all, nil))
	r.want(site.ReasonPINLockedOut, func() { r.keys("shed-pin", "4711#") })
}
