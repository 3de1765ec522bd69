package app_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse/agent/site"
	"gatehouse/hal"
)

// The badge of the card that may pass both doors, and one that nobody has.
const (
	goodBadge  = 77<<16 | 1568
	wrongBadge = 77<<16 | 1570
)

func (r *running) enrolBadge() {
	r.t.Helper()
	r.enrol("Ada,H10301,77,1568,front;shed")
}

// hiveWays are the ways to the agent, with the device and item that use them.
func (r *running) hiveWays() map[string]struct {
	*hiveClient
	item   string
	strike hal.LineName
	on     hal.Level
} {
	type way = struct {
		*hiveClient
		item   string
		strike hal.LineName
		on     hal.Level
	}
	return map[string]way{
		"https":   {r.hiveTLS("kiosk", kioskKey), "front_door", "GPIO24", hal.High},
		"devices": {r.hive("kiosk", kioskKey), "front_door", "GPIO24", hal.High},
		"line":    {r.hiveLine("shed", hiveKey, r.line), "shed_door", "GPIO25", hal.Low},
	}
}

func refusedWith(t *testing.T, got map[string]any, member string) {
	t.Helper()
	if got[member] != false || got["access"] == true {
		t.Errorf("want %s false: %v", member, got)
	}
}

// TestHiveWays: by each way a badge is granted and moves the strike, another is
// refused, a replay and a wrong checksum are refused and move no nonce.
func TestHiveWays(t *testing.T) {
	r := newTestSite(t).start()
	r.enrolBadge()
	for name, w := range r.hiveWays() {
		t.Run(name, func(t *testing.T) {
			c := w.hiveClient
			first := c.fetchNonce()
			got := c.ask2(w.item, wrongBadge, first)
			if got["access"] != false || got["error"] != "Unknown badge" || r.board.Level(w.strike) == w.on {
				t.Errorf("unknown badge: %v, strike %v", got, r.board.Level(w.strike))
			}
			second := got["new_nonce"].(string)
			request := c.envelope(map[string]any{"version": 2, "operation": "access", "item": w.item, "badge": goodBadge, "nonce": second})
			spoilt := bytes.Replace(request, []byte(`"access"`), []byte(`"acces5"`), 1)
			refusedWith(t, c.raw(spoilt), "checksum_valid")
			refusedWith(t, c.ask2(w.item, goodBadge, first), "nonce_valid")
			if now := c.fetchNonce(); now != second {
				t.Fatalf("the nonce moved from %s to %s", second, now)
			}
			if got := c.raw(request); got["access"] != true || got["reason"] != "granted" {
				t.Fatalf("good badge: %v", got)
			}
			r.waitLevel(w.strike, w.on)
			third := c.fetchNonce()
			refusedWith(t, c.raw(request), "nonce_valid")
			if now := c.fetchNonce(); now != third || third == second {
				t.Errorf("after the replay the nonce is %s, was %s", now, third)
			}
			r.must(r.ask(http.MethodPost, "/v1/doors/"+strings.TrimSuffix(w.item, "_door")+"/lock", nil, nil))
			if got := c.ask1(w.item, goodBadge); got["version_valid"] != false {
				t.Errorf("version 1 after version 2: %v", got)
			}
			if r.board.Level(w.strike) == w.on {
				t.Error("a refused packet moved the strike")
			}
		})
	}
}

// TestHiveVersion1: a device that never spoke version 2 may speak version 1.
func TestHiveVersion1(t *testing.T) {
	r := newTestSite(t).start()
	r.enrolBadge()
	c := r.hive("kiosk", kioskKey)
	if got := c.ask1("front_door", wrongBadge); got["access"] != false {
		t.Errorf("unknown badge: %v", got)
	}
	if got := c.ask1("front_door", goodBadge); got["access"] != true {
		t.Errorf("good badge: %v", got)
	}
	r.waitLevel("GPIO24", hal.High)
	if got := r.hive("shed", hiveKey).ask1("shed_door", goodBadge); got["version_valid"] != false {
		t.Errorf("version 1 of a device for 2 only: %v", got)
	}
	ev := r.waitEvent("grant", site.KindAccess, reasonIs(site.ReasonGranted))
	if ev.Device != "kiosk" || !strings.Contains(ev.Text, "version 1") {
		t.Errorf("the event does not say version 1: %+v", ev)
	}
}

// TestHiveRestart: over a restart, and over a kill, the nonce goes on, what was
// recorded before is refused, and a device that spoke version 2 stays there.
func TestHiveRestart(t *testing.T) {
	s := newTestSite(t)
	r := s.start()
	r.enrolBadge()
	c := r.hive("kiosk", kioskKey)
	request := c.envelope(map[string]any{"version": 2, "operation": "access", "item": "front_door", "badge": goodBadge, "nonce": c.fetchNonce()})
	if got := c.raw(request); got["access"] != true {
		t.Fatalf("good badge: %v", got)
	}
	want := c.fetchNonce()
	killed := cloneState(t, s.dir)
	r.stop()
	for name, s := range map[string]*testSite{"stopped": s, "killed": killed} {
		r := s.start()
		c := r.hive("kiosk", kioskKey)
		refusedWith(t, c.raw(request), "nonce_valid")
		if got := c.fetchNonce(); got != want {
			t.Errorf("%s: nonce %s, want %s", name, got, want)
		}
		refusedWith(t, c.ask1("front_door", goodBadge), "version_valid")
		if r.board.Level("GPIO24") != hal.Low {
			t.Errorf("%s: a recorded packet opened the door", name)
		}
		if got := c.ask2("front_door", goodBadge, want); got["access"] != true {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestHiveVendOnce: one nonce takes one credit, also when the packet comes again
// after a kill, and each credit taken is one event.
func TestHiveVendOnce(t *testing.T) {
	s := newTestSite(t)
	s.configure(strings.Replace(testSettings, "hive:\n", "hive:\n  vend: {credits: 3, alert: 1}\n", 1))
	r := s.start()
	r.enrolBadge()
	vend := func(c *hiveClient, nonce string) []byte {
		return c.envelope(map[string]any{"version": 2, "operation": "vend", "badge": goodBadge, "nonce": nonce})
	}
	taken, nonce := 0, ""
	for round := range 5 {
		c := r.hive("kiosk", kioskKey)
		if now := c.fetchNonce(); nonce != "" && now != nonce {
			t.Fatalf("round %d: nonce %s, want %s", round, now, nonce)
		} else {
			nonce = now
		}
		request := vend(c, nonce)
		got := c.raw(request)
		if got["vend"] == true {
			taken++
		}
		if wantAlert := round == 1 || round == 2; (got["alert"] == true) != wantAlert {
			t.Errorf("round %d: alert %v", round, got["alert"])
		}
		nonce, _ = got["new_nonce"].(string)
		refusedWith(t, c.raw(request), "nonce_valid")
		killed := cloneState(t, s.dir)
		killed.configure(strings.Replace(testSettings, "hive:\n", "hive:\n  vend: {credits: 3, alert: 1}\n", 1))
		r.stop()
		s = killed
		r = s.start()
		refusedWith(t, r.hive("kiosk", kioskKey).raw(request), "nonce_valid")
	}
	if taken != 3 {
		t.Errorf("%d credits taken of 3", taken)
	}
	wait(t, "the events of the vends", func() bool {
		n := 0
		for _, ev := range r.events(site.KindVend) {
			if ev.Reason == site.ReasonGranted {
				n++
			}
		}
		return n == taken
	})
}

// TestHiveMalformed: what is no envelope is refused with one clear line, never
// with 5xx; doors, nonces and version stay as they are, and the next request is
// served.
func TestHiveMalformed(t *testing.T) {
	r := newTestSite(t).start()
	r.enrolBadge()
	deep := strings.Repeat(`{"a":`, 17) + "1" + strings.Repeat("}", 17)
	ask := fmt.Sprintf(`"operation":"access","item":"front_door","badge":%d`, goodBadge)
	bodies := map[string]string{
		"empty":             "",
		"65 KiB":            `{"device":"kiosk","data":{"a":"` + strings.Repeat("x", 65<<10) + `"},"checksum":""}`,
		"depth 17":          `{"device":"kiosk","data":` + deep + `,"checksum":""}`,
		"duplicate member":  `{"device":"kiosk","data":{` + ask + `,"badge":1},"checksum":""}`,
		"duplicate data":    `{"device":"kiosk","data":{},"data":{` + ask + `},"checksum":""}`,
		"invalid UTF-8":     "{\"device\":\"kiosk\",\"data\":{\"item\":\"\xff\xfe\"},\"checksum\":\"\"}",
		"device an object":  `{"device":{"a":1},"data":{` + ask + `},"checksum":""}`,
		"device a number":   `{"device":7,"data":{` + ask + `},"checksum":""}`,
		"data an array":     `{"device":"kiosk","data":[],"checksum":""}`,
		"checksum a number": `{"device":"kiosk","data":{},"checksum":1}`,
		"an array":          `[]`,
		"text after it":     `{"device":"kiosk","data":{},"checksum":""} x`,
		"cut short":         `{"device":"kiosk","data":{` + ask,
	}
	for name, w := range r.hiveWays() {
		nonce := w.fetchNonce()
		for what, body := range bodies {
			t.Run(name+", "+what, func(t *testing.T) {
				if name == "line" { // noise: answered only where it names the device
					r.noise(strings.ReplaceAll(body, "kiosk", "shed") + "\n")
					if now := w.fetchNonce(); now != nonce {
						t.Errorf("the nonce moved from %s to %s", nonce, now)
					}
					return
				}
				answer, status := w.post([]byte(body))
				if status != http.StatusBadRequest {
					t.Errorf("status %d: %.200s", status, answer)
				}
				var reply struct {
					Response *bool
					Data     string
					Checksum *string
				}
				if err := json.Unmarshal(answer, &reply); err != nil || reply.Response == nil || *reply.Response || reply.Data == "" || reply.Checksum != nil {
					t.Errorf("answer %.200s: %v", answer, err)
				}
			})
		}
		if now := w.fetchNonce(); now != nonce {
			t.Errorf("%s: the nonce moved", name)
		}
	}
	// Numbers beyond 2^63 are verified and come back as they went.
	const big = "18446744073709551616123"
	data := `{"badge":1,"item":"front_door","random_response":` + big + `}`
	c := r.hive("kiosk", kioskKey)
	signed := strings.Replace(data, big, `"`+big+`"`, 1) // as the Perl server hashes it
	for _, canonical := range []string{data, signed} {
		answer, _ := c.post(c.wrap([]byte(data), c.sign([]byte(canonical))))
		if !bytes.Contains(answer, []byte(big)) || bytes.Contains(answer, []byte(`"checksum_valid":false`)) {
			t.Errorf("a number past 64 bits: %s", answer)
		}
	}
	if h := append(r.board.History("GPIO24"), r.board.History("GPIO25")...); len(h) != 2 {
		t.Errorf("a malformed request moved a strike: %+v", h)
	}
}

// noise sends bytes on the serial line, no faster than the agent reads: the fake
// line loses what does not fit.
func (r *running) noise(text string) {
	r.t.Helper()
	for piece := range slices.Chunk([]byte(text), 4096) {
		if _, err := r.line.Write(piece); err != nil {
			r.t.Fatal(err)
		}
		if len(text) > 4096 {
			time.Sleep(20 * time.Millisecond) // 4 KiB at 115200 baud take 350 ms
		}
	}
}
