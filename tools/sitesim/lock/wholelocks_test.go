package lock_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"gatehouse/agent/control"
	"gatehouse/agent/site"
	"gatehouse/tools/sitesim/lock"
)

// Cards 77/1568 and 77/1570, as in engage.md section 5.
const card1568, card1570 = "26831000", "26831140"

func eventOf(line []byte) (e site.Event, err error) { return e, json.Unmarshal(line, &e) }

// TestWholeWiFi: over both listeners a lock gets what the operator gave, a revocation
// names the lock and until when it opens, and after its call nobody gets in.
func TestWholeWiFi(t *testing.T) {
	w := newWhole(t)
	if s := w.status("room6"); s.State != control.LockUnseen {
		t.Errorf("a lock that never called: %+v", s)
	}
	for _, tt := range []struct {
		name   site.DoorID
		lock   *lock.Lock
		caller lock.Caller
		number int
		digits string
	}{
		{"room5", w.room5, w.wifi(w.room5), 1568, card1568},
		{"room6", w.room6, w.wifiTLS(w.room6), 1570, card1570},
	} {
		name, digits := tt.name, tt.digits
		id := w.give(tt.number, string(name))
		if res := w.call(tt.lock, tt.caller); !res.Full || res.CertHash == "" || !w.opens(tt.lock, digits) {
			t.Errorf("%s: %+v", name, res)
		}
		next := tt.lock.NextCall()
		var out control.StateAnswer
		w.ask("POST", "/v1/credentials/"+string(id)+"/state", map[string]any{"state": "revoked"}, &out)
		if len(out.StillOpens) != 1 || out.StillOpens[0].Lock != name || !out.StillOpens[0].Until.Equal(next) || out.StillOpens[0].Line != control.LockWiFi {
			t.Errorf("%s: still opens %+v, want until %s", name, out.StillOpens, next)
		}
		if !w.opens(tt.lock, digits) {
			t.Errorf("%s: the lock cannot know yet", name)
		}
		w.call(tt.lock, tt.caller)
		if w.opens(tt.lock, digits) || tt.lock.Users() != 0 {
			t.Errorf("%s: a revoked card opens", name)
		}
		if s := w.status(name); s.State != control.LockOK || s.Has == 0 || s.Behind {
			t.Errorf("%s: %+v", name, s)
		}
	}
}

// TestWholePending: a lock that nobody named gets nothing and is listed.
func TestWholePending(t *testing.T) {
	w := newWhole(t)
	const stranger = "0000000000000000A100000000009999"
	l := lock.New(lock.Config{Serial: stranger, SiteKey: unhex(t, siteKeyHex)})
	for range 2 {
		_, err := l.CallIn(t.Context(), w.wifi(l), w.clock.Now())
		if s, ok := errors.AsType[*lock.StatusError](err); !ok || s.Status != http.StatusNotFound {
			t.Fatal(err)
		}
	}
	p := w.book().Pending
	if len(p) != 1 || p[0].Serial != stranger || p[0].Calls != 2 || p[0].Address != "127.0.0.1" {
		t.Errorf("%+v", p)
	}
	bad := w.wifi(w.room6)
	bad.Token = "AAAA"
	_, err := w.room6.CallIn(t.Context(), bad, w.clock.Now())
	if s, ok := errors.AsType[*lock.StatusError](err); !ok || s.Status != http.StatusUnauthorized {
		t.Error(err)
	}
	wrong := lock.HTTP("http://"+w.app.Addresses()["devices"], nil, w.room6.Serial(), make([]byte, 32))
	_, err = w.room6.CallIn(t.Context(), wrong, w.clock.Now())
	if s, ok := errors.AsType[*lock.StatusError](err); !ok || s.Status != http.StatusUnauthorized {
		t.Error(err)
	}
	if s := w.status("room6"); s.State != control.LockRefused || s.Refused == "" {
		t.Errorf("%+v", s)
	}
}

// TestWholeAlert: an alert is an event and an alarm at once, and the upload that has
// it again, and all others over restarts, make nothing twice.
func TestWholeAlert(t *testing.T) {
	w := newWhole(t)
	room5 := w.wifi(w.room5)
	w.call(w.room5, room5)
	before := len(w.audits("room5"))
	if err := w.room5.Alert(t.Context(), room5, "0700", "0000", w.clock.Now()); err != nil {
		t.Fatal(err)
	}
	got := w.audits("room5")
	if len(got) != before+1 || got[before].Code != "0700" || got[before].As != site.KindDoorForced {
		t.Fatalf("%+v", got)
	}
	var alarms []control.Alarm
	w.ask("GET", "/v1/alarms", nil, &alarms)
	if len(alarms) != 1 || alarms[0].Kind != site.KindDoorForced || alarms[0].Door != "room5" {
		t.Errorf("alarms %+v", alarms)
	}
	for range 5 {
		w.clock.Set(w.clock.Now().Add(3 * time.Second))
		w.room5.Present(block(t, card1570, 26), w.clock.Now()) // 050B
	}
	waiting := len(w.room5.Audits())
	lost := &losingCaller{Caller: room5, lose: "/swordfish/lock/audit"}
	if _, err := w.room5.CallIn(t.Context(), lost, w.clock.Now()); !errors.Is(err, errDropped) {
		t.Fatal(err)
	}
	w.stop()
	w.clock.Set(w.clock.Now().Add(time.Minute)) // a new caller's tokens begin at its own clock
	w.start()
	res := w.call(w.room5, w.wifi(w.room5))
	if res.Audits != waiting || res.AuditStatus != http.StatusAccepted {
		t.Errorf("%+v, want %d audits and 202", res, waiting)
	}
	// The forced door was there already.
	if n := len(w.audits("room5")); n != before+waiting {
		t.Errorf("%d events for %d audits", n, before+waiting)
	}
	w.ask("GET", "/v1/alarms", nil, &alarms)
	if len(alarms) != 1 || alarms[0].Times > 1 {
		t.Errorf("alarms after the repeat: %+v", alarms)
	}
}

// losingCaller loses the answers to one path.
type losingCaller struct {
	lock.Caller
	lose string
}

// TestWholeHost: the IP host's door file for a Wi-Fi lock comes to it in one file with
// the operator's cards; such a lock cannot be told to do anything.
func TestWholeHost(t *testing.T) {
	w := newWhole(t)
	w.hang()
	var made control.TokenMade
	w.ask("POST", "/v1/tokens", control.TokenOrder{Name: "bms", Scopes: []string{"gateway", "gateway-control"}}, &made)
	_, text := w.host(made.Token, "GET", "/edgeDevices/linkList", "")
	var list struct {
		LinkList []struct{ LinkID, DeviceName string }
	}
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		t.Fatal(err)
	}
	links := map[string]string{}
	for _, l := range list.LinkList {
		links[l.DeviceName] = "/edgeDevices/" + l.LinkID
	}
	room5, vault := links["Room 5"], links["vault"]
	if len(links) != 4 || room5 == "" || vault == "" {
		t.Fatalf("links %s", text)
	}
	w.give(1568, "room5")
	const file = `{"db":{"usrRcrd":{"deleteAll":1,"delete":[],"update":[],"add":[{"usrID":7,"adaEn":0,"fnctn":"norm","crSch":[1],"primeCr":"` + prime1570 + `","prCrTyp":"card"}]},"schedules":[{"days":["Su","Mo","Tu","We","Th","Fr","Sa"],"strtHr":0,"strtMn":0,"lngth":1440}],"holidays":[],"autoUnlock":[]}}`
	if status, text := w.host(made.Token, "PUT", room5+"/database", file); status != http.StatusAccepted && status != http.StatusOK {
		t.Fatalf("%d %s", status, text)
	}
	if status, text := w.host(made.Token, "PUT", room5+"/config", `{"config":{"relock":5}}`); status != http.StatusAccepted {
		t.Errorf("config: %d %s", status, text)
	}
	soon(t, 10*time.Second, "the door file", func() bool {
		_, text := w.host(made.Token, "GET", room5+"/dbDownloadStatus", "")
		return strings.Contains(text, `"pending"`)
	})
	if res := w.call(w.room5, w.wifi(w.room5)); !res.Full || res.Added != 2 || !w.opens(w.room5, card1568) || !w.opens(w.room5, card1570) {
		t.Errorf("the merged file: %+v", res)
	}
	if got := string(w.room5.HostConfig()); got != `{"relock":5}` {
		t.Errorf("config %s", got)
	}
	if _, text := w.host(made.Token, "GET", room5+"/dbDownloadStatus", ""); !strings.Contains(text, `"completed"`) {
		t.Errorf("after the call: %s", text)
	}
	const unlock = `{"lockControl":{"lockState":{"nextLockState":"passage"}}}`
	if status, text := w.host(made.Token, "PUT", room5+"/lockControl", unlock); status != http.StatusBadRequest || !strings.Contains(text, "statusMessage") {
		t.Errorf("lockControl of a Wi-Fi lock: %d %s", status, text)
	}
	soon(t, 20*time.Second, "the vault", func() bool { return w.status("vault").State == control.LockOK })
	if status, text := w.host(made.Token, "PUT", vault+"/lockControl", unlock); status != http.StatusOK || w.vault.State() != lock.Passage {
		t.Errorf("lockControl of the vault: %d %s, it is %s", status, text, w.vault.State())
	}
}

// TestWholeSerial: a lock on a line has a change within seconds, takes orders, hears a
// lockdown of all, and is told as offline when its wire is cut, and as back.
func TestWholeSerial(t *testing.T) {
	w := newWhole(t)
	w.hang()
	id := w.give(1568, "vault")
	soon(t, 20*time.Second, "the first table", func() bool { return w.opens(w.vault, card1568) })
	var done struct {
		StillOpens []control.StillOpen `json:"still_opens"`
	}
	w.ask("POST", "/v1/credentials/"+string(id)+"/state", map[string]any{"state": "revoked"}, &done)
	if o := done.StillOpens; len(o) != 1 || o[0].Lock != "vault" || o[0].Line != control.LockSerial || o[0].Until.Sub(w.clock.Now()) > time.Minute {
		t.Errorf("still open: %+v; it is online and hears of it in seconds", o)
	}
	soon(t, 10*time.Second, "the revocation", func() bool { return !w.opens(w.vault, card1568) })

	w.ask("POST", "/v1/doors/vault/unlock", map[string]any{"for": "4s"}, nil)
	if w.vault.Status(w.clock.Now()).Locked {
		t.Error("not unlocked")
	}
	w.ask("POST", "/v1/doors/vault/mode", map[string]any{"mode": "passage"}, nil)
	if got := w.vault.State(); got != lock.Passage {
		t.Errorf("mode %s", got)
	}
	// A mode with an end is secured then.
	until := func() map[string]any {
		return map[string]any{"mode": "passage", "until": w.clock.Now().Add(time.Second).Format(time.RFC3339Nano)}
	}
	w.ask("POST", "/v1/doors/vault/mode", until(), nil)
	if got := w.vault.State(); got != lock.Passage {
		t.Errorf("mode %s", got)
	}
	soon(t, 10*time.Second, "the end of the mode", func() bool { return w.vault.State() == lock.Secured })
	w.ask("POST", "/v1/doors/vault/mode", until(), nil)
	w.refused("Wi-Fi", "POST", "/v1/doors/room5/unlock", nil)
	var reached control.Reached
	w.ask("POST", "/v1/lockdown", map[string]any{"target": map[string]any{"all": true}}, &reached)
	if got := w.vault.State(); got != lock.Lockdown || len(reached.NoLine) != 2 {
		t.Errorf("mode %s, %+v", got, reached)
	}
	w.refused("", "POST", "/v1/doors/vault/unlock", nil) // a lock in lockdown refuses it
	time.Sleep(1500 * time.Millisecond)                  // the end of the mode before, which must not lift the lockdown
	if got := w.vault.State(); got != lock.Lockdown {
		t.Errorf("mode %s: the end of another mode lifted the lockdown", got)
	}
	w.ask("POST", "/v1/release", map[string]any{"target": map[string]any{"all": true}}, nil)
	if got := w.vault.State(); got != lock.Secured {
		t.Errorf("after the release: %s", got)
	}

	w.line.Mute(true)
	soon(t, 25*time.Second, "offline", func() bool { return w.status("vault").State == control.LockOffline })
	w.refused("offline", "POST", "/v1/doors/vault/unlock", nil)
	w.line.Mute(false)
	soon(t, 15*time.Second, "back", func() bool { return w.status("vault").Online })
	w.ask("POST", "/v1/doors/vault/unlock", nil, nil)
}

// TestWholeLimits: what a lock cannot hold is refused when it is asked for.
func TestWholeLimits(t *testing.T) {
	w := newWhole(t)
	for i := range 17 {
		id := fmt.Sprint("s", i)
		w.ask("PUT", "/v1/schedules/"+id, map[string]any{"intervals": []string{fmt.Sprintf("Mo 08:00-10:%02d", i)}}, nil)
		if i < 16 {
			w.give(1000+i, "room5@"+id)
		}
	}
	w.refused("room5", "POST", "/v1/credentials", map[string]any{"holder": "One too many", "format": "H10301", "facility": 77, "card": 2000, "rights": "room5@s16"})
	if res := w.call(w.room5, w.wifi(w.room5)); res.Added != 16 {
		t.Errorf("%+v", res)
	}
}

// Call makes a call, whose answer may be lost.
func (c *losingCaller) Call(ctx context.Context, method, path string, body []byte) (int, []byte, http.Header, error) {
	status, answer, header, err := c.Caller.Call(ctx, method, path, body)
	if path == c.lose {
		return 0, nil, nil, errDropped
	}
	return status, answer, header, err
}
