package app_test

import (
	"crypto/tls"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gatehouse/agent/app"
	"gatehouse/agent/control"
	"gatehouse/agent/site"
	"gatehouse/hal"
)

const (
	adaCard   = "26831000" // 26-bit, facility 77, card 1568
	otherCard = "26831140" // 77, 1570
)

func reasonIs(want site.Reason) func(site.Event) bool {
	return func(ev site.Event) bool { return ev.Reason == want }
}

// TestNoPolicyNoUnlock: an agent that was never told anything opens for nobody
// but by its exit button.
func TestNoPolicyNoUnlock(t *testing.T) {
	r := newTestSite(t).start()
	r.card(adaCard)
	ev := r.waitEvent("refusal", site.KindAccess, reasonIs(site.ReasonNoPolicy))
	if ev.Door != "front" || ev.Reader != "front-in" {
		t.Errorf("event %+v", ev)
	}
	if r.board.Level("GPIO24") != hal.Low {
		t.Error("the strike was energised without a policy")
	}
	r.board.Drive("GPIO22", hal.Low)
	r.waitLevel("GPIO24", hal.High)
	r.board.Drive("GPIO22", hal.High)
}

// TestCardOpens: a granted card energises its strike, an unknown one does not,
// and both are events with the card's last digits and tag only.
func TestCardOpens(t *testing.T) {
	r := newTestSite(t).start()
	r.enrol("Ada,H10301,77,1568,front")
	r.card(adaCard)
	r.waitLevel("GPIO24", hal.High)
	ev := r.waitEvent("grant", site.KindAccess, reasonIs(site.ReasonGranted))
	if ev.Holder != "Ada" || !strings.HasPrefix(ev.Card.String(), "…68 ") || ev.Source != site.SourceOperator || !ev.Trusted {
		t.Errorf("event %+v", ev)
	}
	r.waitLevel("GPIO24", hal.Low)
	r.card(otherCard)
	ev = r.waitEvent("refusal", site.KindAccess, reasonIs(site.ReasonUnknownCredential))
	if ev.Holder != "" || ev.Card.Last2 != "70" || len(ev.Card.Tag) != 6 {
		t.Errorf("event %+v", ev)
	}
	if r.board.Level("GPIO24") != hal.Low {
		t.Error("an unknown card energised the strike")
	}
}

// TestRestartKeeps: a lockdown, the policy and the log survive a restart, the
// outputs start safe, and the log goes on.
func TestRestartKeeps(t *testing.T) {
	s := newTestSite(t)
	r := s.start()
	r.enrol("Ada,H10301,77,1568,front")
	r.must(r.ask(http.MethodPost, "/v1/lockdown", map[string]any{"target": map[string]any{"door": "front"}}, nil))
	before := r.events("")
	r.stop()
	for _, c := range s.board.History("GPIO24", "GPIO25") {
		if c.Line == "GPIO25" && c.Level == hal.Low {
			t.Errorf("the active-low strike was energised: %+v", c)
		}
	}
	r = s.start()
	var doors []site.DoorStatus
	r.must(r.client.Get(t.Context(), "/v1/doors", nil, &doors))
	if doors[0].Mode != site.ModeLockdown || !doors[0].Locked {
		t.Errorf("after the restart: %+v", doors[0])
	}
	r.card(adaCard)
	r.waitEvent("refusal", site.KindAccess, reasonIs(site.ReasonLockdown))
	after := r.events("")
	if len(after) <= len(before) {
		t.Fatalf("%d events, before the restart %d", len(after), len(before))
	}
	for i, ev := range after {
		if ev.Seq != site.EventSeq(i+1) || ev.Log != before[0].Log {
			t.Errorf("event %d is %s/%d", i, ev.Log, ev.Seq)
		}
	}
	r.must(r.ask(http.MethodPost, "/v1/release", map[string]any{"target": map[string]any{"all": true}}, nil))
	r.card(adaCard)
	r.waitLevel("GPIO24", hal.High)
}

// TestOneAgentAFolder: a second agent on the same state folder is refused, and
// the first one is not disturbed.
func TestOneAgentAFolder(t *testing.T) {
	s := newTestSite(t)
	r := s.start()
	other := newTestSite(t)
	other.dir = s.dir
	a := other.build()
	if err := a.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "another agent") {
		t.Errorf("second agent: %v", err)
	}
	var st control.Status
	r.must(r.client.Get(t.Context(), "/v1/status", nil, &st))
	if !st.Ready {
		t.Error("the first agent is not ready any more")
	}
}

// TestWhyAndAlarms: why explains without opening; an alarm is listed, ended and
// acknowledged by name.
func TestWhyAndAlarms(t *testing.T) {
	r := newTestSite(t).start()
	r.enrol("Ada,H10301,77,1568,front")
	var why control.Why
	r.must(r.client.Get(t.Context(), "/v1/why", map[string][]string{"door": {"shed"}, "bits": {"26:" + adaCard}}, &why))
	if why.Decision != "refused" || why.Reason != string(site.ReasonNoRight) || len(why.Steps) == 0 {
		t.Errorf("why %+v", why)
	}
	r.must(r.client.Get(t.Context(), "/v1/why", map[string][]string{"door": {"front"}, "bits": {"26:" + adaCard}}, &why))
	if why.Decision != "granted" || r.board.Level("GPIO24") != hal.Low {
		t.Errorf("why %+v, strike %v", why, r.board.Level("GPIO24"))
	}
	r.board.Drive("GPIO23", hal.High)
	var list []control.Alarm
	wait(t, "forced alarm", func() bool {
		r.must(r.client.Get(t.Context(), "/v1/alarms", nil, &list))
		return len(list) == 1 && list[0].Kind == site.KindDoorForced && list[0].Ended.IsZero()
	})
	r.must(r.ask(http.MethodPost, "/v1/alarms/"+itoa(list[0].ID)+"/ack", map[string]string{"by": "grace"}, nil))
	r.must(r.client.Get(t.Context(), "/v1/alarms", nil, &list))
	if len(list) != 1 || list[0].AckedBy != "grace" {
		t.Errorf("acknowledged: %+v", list)
	}
	r.board.Drive("GPIO23", hal.Low)
	wait(t, "the end of the alarm", func() bool {
		r.must(r.client.Get(t.Context(), "/v1/alarms", nil, &list))
		return len(list) == 0
	})
	if err := r.ask(http.MethodPost, "/v1/alarms/999999/ack", map[string]string{"by": "grace"}, nil); !refused(err) {
		t.Errorf("unknown alarm: %v", err)
	}
}

// TestRoutesWantCredentials calls every route of both listeners without
// credentials: none does or tells anything but the probe.
func TestRoutesWantCredentials(t *testing.T) {
	s := newTestSite(t)
	s.configure(testSettings + "gateway: {local: true}\nlocks: [{id: room5, serial: \"0000000000000000A100000000002479\", model: nde}]\n")
	s.gateway = http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the gateway was reached") })
	r := s.start()
	r.enrol("Ada,H10301,77,1568,front")
	addr := r.app.Addresses()
	bearers, locks := 0, 0
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	for _, route := range r.app.Routes() {
		if route.Guard == 0 {
			t.Errorf("%s: no guard", route.Pattern)
		}
		method, path, ok := strings.Cut(route.Pattern, " ")
		if !ok {
			method, path = http.MethodPost, route.Pattern
		}
		for name, base := range map[string]string{"https": "https://" + addr["https"], "devices": "http://" + addr["devices"]} {
			body := `{"device":"kiosk","data":{"operation":"access","item":"front_door","badge":5047840},"checksum":""}`
			req, err := http.NewRequestWithContext(t.Context(), method, base+path, strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			resp, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			got, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			onlyHTTPS := name == "devices" && !route.Devices
			if !onlyHTTPS && route.Guard == app.GuardBearer {
				bearers++
				if resp.StatusCode != http.StatusUnauthorized || !strings.HasPrefix(resp.Header.Get("WWW-Authenticate"), "Bearer realm=") {
					t.Errorf("%s on %s without a token: %s %s", path, name, resp.Status, got)
				}
			}
			if route.Guard == app.GuardLock {
				locks++
				if want := http.StatusUnauthorized; resp.StatusCode != want && !(path == "/swordfish/" && resp.StatusCode == http.StatusNotFound) || len(got) > 0 {
					t.Errorf("%s %s on %s from nobody: %s %q, want %d", method, path, name, resp.Status, got, want)
				}
			}
			switch {
			case onlyHTTPS && resp.StatusCode != http.StatusNotFound:
				t.Errorf("%s on the devices listener: %s", path, resp.Status)
			case !onlyHTTPS && route.Guard == app.GuardHive && !strings.Contains(string(got), "Invalid checksum."):
				t.Errorf("%s on %s without a checksum: %s %s", path, name, resp.Status, got)
			}
		}
	}
	if r.board.Level("GPIO24") != hal.Low {
		t.Error("a request without credentials opened a door")
	}
	for _, path := range []string{"/swordfish", "/swordfish/lock/../lock/db/0", "//swordfish/lock//db/0", "/SWORDFISH/lock/db/0", "/swordfish/lock/./audit"} {
		resp, err := client.Get("http://" + addr["devices"] + path)
		if err != nil {
			t.Fatal(err)
		}
		got, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.Request.URL.Path != path || len(got) > 0 || resp.StatusCode != http.StatusNotFound && resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s: %s %q at %s", path, resp.Status, got, resp.Request.URL.Path)
		}
	}
	if bearers == 0 || locks == 0 {
		t.Errorf("%d routes that want a token and %d of locks were called", bearers, locks)
	}
}

// TestNoKeyIsAFault: without its device key the store is not opened and no new
// key is made; exits work, cards are refused with fault.
func TestNoKeyIsAFault(t *testing.T) {
	s := newTestSite(t)
	r := s.start()
	r.enrol("Ada,H10301,77,1568,front")
	r.stop()
	key := filepath.Join(s.dir, "device.key")
	if err := os.Rename(key, key+".away"); err != nil {
		t.Fatal(err)
	}
	r = s.start()
	r.card(adaCard)
	r.waitEvent("refusal", site.KindAccess, reasonIs(site.ReasonFault))
	if _, err := os.Stat(key); err == nil {
		t.Error("a new key was made over an existing store")
	}
	var st control.Status
	r.must(r.client.Get(t.Context(), "/v1/status", nil, &st))
	if len(st.Faults) == 0 || st.Faults[0].ID != "store.key" || !st.Ready {
		t.Errorf("status %+v", st.Faults)
	}
	r.board.Drive("GPIO22", hal.Low)
	r.waitLevel("GPIO24", hal.High)
	r.board.Drive("GPIO22", hal.High)
	r.stop()
	if err := os.Rename(key+".away", key); err != nil {
		t.Fatal(err)
	}
	r = s.start()
	r.card(adaCard)
	r.waitEvent("grant", site.KindAccess, reasonIs(site.ReasonGranted))
}
