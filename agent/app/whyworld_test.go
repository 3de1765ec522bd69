package app_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"gatehouse/agent/site"
	"gatehouse/hal"
)

// whyCards are the cards of TestWhySaysWhatHappens: holder and number.
var whyCards = []struct {
	holder, function string
	number           uint32
	rights           string
}{
	{"Ada", "", 1568, "front;shed;vault"},
	{"Bob", "", 1570, "front;shed;vault"},
	{"Bob", "toggle", 1571, "front;shed"},
	{"Cyd", "freeze", 1572, "front;shed;vault"},
	{"Dee", "lockdown", 1573, "front;shed;vault"},
	{"Eve", "pass_through", 1574, "front;shed;vault"},
	{"Fay", "supervised", 1575, "front;vault"},
	{"Gus", "one_time", 1576, "front;shed"},
	{"Hal", "", 1577, "front@office;shed@never"},
	{"Ida", "blocked", 1578, "front"},
	{"", "", 1579, ""}, // not enrolled
}

// TestWhySaysWhatHappens: in random worlds why, asked just before, says the
// reason that the door then has.
func TestWhySaysWhatHappens(t *testing.T) {
	seed, rounds := rand.Uint64(), 25
	if testing.Short() {
		rounds = 8
	}
	t.Logf("seed %d", seed)
	w := newWhyWorld(t, rand.New(rand.NewPCG(seed, 0)))
	seen := map[site.Reason]int{}
	for range rounds {
		var did []string
		for range 1 + w.r.IntN(3) {
			did = append(did, w.change())
		}
		w.rest()
		did = append(did, w.compare(seen))
		if t.Failed() {
			t.Fatal(strings.Join(did, "; "))
		}
	}
	t.Log(seen)
}

// whyWorld is a site to which anything happens.
type whyWorld struct {
	*running
	r    *rand.Rand
	open bool // somebody was let in and may not have gone through: his place waits for him
}

func newWhyWorld(t *testing.T, r *rand.Rand) *whyWorld {
	lab := []string{"passback: {mode: hard}", "occupancy: 1", "passback: {mode: soft}, occupancy: 2", "passback: {mode: timed, forget: 1h}"}
	s := newRulesSite(t, "")
	text := fmt.Sprintf(rulesSettings, lab[r.IntN(len(lab))])
	text = strings.NewReplacer("unlock: 2s", "unlock: 200ms", "unlock: 1s", "unlock: 200ms").Replace(text)
	text = strings.Replace(text, "- {id: front-out, door: front,", "- {id: front-out, door: front, mode: [{schedule: office, mode: card}, {mode: closed}],", 1)
	s.settings(text)
	s.clock.Set(time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)) // a Monday
	w := &whyWorld{running: s.start(), r: r}
	for id, when := range map[string]string{"office": "Mo-Fr 08:00-18:00", "never": "Su 00:00-00:01"} {
		w.must(w.ask(http.MethodPut, "/v1/schedules/"+id, map[string]any{"intervals": []string{when}}, nil))
	}
	var rows []string
	for _, c := range whyCards {
		if c.holder != "" {
			rows = append(rows, fmt.Sprintf("%s,H10301,77,%d,,,%s,%s", c.holder, c.number, c.function, c.rights))
		}
	}
	w.enrolPINs(rows...)
	return w
}

func (w *whyWorld) pick(of ...string) string { return of[w.r.IntN(len(of))] }

// change does one thing to the site and says what.
func (w *whyWorld) change() string {
	door := w.pick("front", "shed", "vault")
	switch n := w.r.IntN(12); {
	case n < 3:
		mode := w.pick("secured", "passage", "frozen_secured", "frozen_passage", "disabled")
		w.must(w.ask(http.MethodPost, "/v1/doors/"+door+"/mode", map[string]any{"mode": mode}, nil))
		return door + " " + mode
	case n < 6:
		w.must(w.ask(http.MethodPost, "/v1/doors/"+door+"/mode", map[string]any{"auto": true}, nil))
		return door + " auto"
	case n == 6:
		w.must(w.ask(http.MethodPost, "/v1/lockdown", map[string]any{"target": map[string]any{"door": door}}, nil))
		return door + " lockdown"
	case n < 9:
		w.must(w.ask(http.MethodPost, "/v1/release", map[string]any{"target": map[string]any{"all": true}}, nil))
		return "release"
	case n == 9:
		contact := hal.LineName(w.pick("GPIO23", "GPIO19"))
		w.board.Drive(contact, !w.board.Level(contact))
		return "contact " + string(contact)
	case n == 10:
		for _, contact := range []hal.LineName{"GPIO23", "GPIO19"} {
			w.board.Drive(contact, hal.Low)
		}
		return "all closed"
	}
	at := time.Date(2026, 11, 23+w.r.IntN(7), w.r.IntN(24), 0, 0, 0, time.UTC)
	if at.Before(w.clock.Now()) {
		return "no change"
	}
	w.clock.Set(at)
	return "it is " + at.Format("Mon 15:04")
}

// rest waits until nothing runs on: a pulse, a grace, a bounce.
func (w *whyWorld) rest() {
	time.Sleep(150 * time.Millisecond)
	if w.open { // the pulse and its grace, in the board's real time
		time.Sleep(600 * time.Millisecond)
		w.open = false
	}
	wait(w.t, "rest", func() bool {
		last := w.lastSeq()
		time.Sleep(120 * time.Millisecond)
		return w.lastSeq() == last
	})
}

// compare shows a card and compares what why said of it.
func (w *whyWorld) compare(seen map[site.Reason]int) string {
	w.t.Helper()
	c := whyCards[w.r.IntN(len(whyCards))]
	reader := w.pick("front-in", "front-in", "front-in", "front-out", "shed-in", "shed-pin", "vault-in")
	door, _, _ := strings.Cut(reader, "-")
	bits := strings.TrimPrefix(h10301(77, c.number), "26:")
	why := w.whyAt(door, reader, bits)
	did := fmt.Sprintf("%s (%s) at %s: why %s %s", c.holder, c.function, reader, why.Decision, why.Reason)
	seen[site.Reason(why.Reason)]++
	n := len(w.events(site.KindAccess))
	w.show(reader, bits)
	if why.Decision == "waiting" {
		time.Sleep(100 * time.Millisecond)
		// A lockdown that begins ends the wait, which is told then.
		for _, do := range []string{"release", "lockdown", "release"} {
			w.must(w.ask(http.MethodPost, "/v1/"+do, map[string]any{"target": map[string]any{"door": door}}, nil))
		}
		if ev := w.decided(n + 1); ev.Reason != site.ReasonLockdown || len(w.events(site.KindAccess)) != n+1 {
			w.t.Errorf("%s; the door: %s", did, ev.Reason)
		}
		return did
	}
	ev := w.decided(n + 1)
	if string(ev.Reason) != why.Reason || ev.Reason.Grants() != (why.Decision == "granted") {
		w.t.Errorf("%s; the door: %s", did, ev.Reason)
	}
	w.open = ev.Reason.Grants()
	if contact := map[string]hal.LineName{"front": "GPIO23", "shed": "GPIO19"}[door]; ev.Reason.Grants() && contact != "" && w.r.IntN(2) == 0 {
		w.board.Drive(contact, hal.High)
		time.Sleep(80 * time.Millisecond)
		w.board.Drive(contact, hal.Low)
		did += ", went through"
	}
	return did
}
