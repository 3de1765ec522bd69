package app_test

import (
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"gatehouse/agent/control"
	"gatehouse/agent/site"
	"gatehouse/agent/swordfish"
)

const room5Serial = "0000000000000000A100000000002479"

// alert sends an alert as the lock room5 does and returns the status.
func (r *running) alert(event string, at time.Time) int {
	r.t.Helper()
	key, err := hex.DecodeString(siteKeyHex)
	if err != nil {
		r.t.Fatal(err)
	}
	token, err := swordfish.MakeToken(room5Serial, key, at)
	if err != nil {
		r.t.Fatal(err)
	}
	body := fmt.Sprintf(`{"asyncEvent":{"event":%q,"time":%q}}`, event, at.In(berlin(r.t)).Format("20060102150405"))
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodPost, "http://"+r.app.Addresses()["devices"]+"/swordfish/lock/alert", strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Device "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.StatusCode
}

// TestUplinkLockAlert: the alert of a Wi-Fi lock is an alarm and, as it came, at the
// host within a second. The best of three counts.
func TestUplinkLockAlert(t *testing.T) {
	h := newIPHost(t)
	s := uplinkSite(t, h)
	s.configure(strings.Replace(testSettings, "timezone: Europe/Berlin}", "timezone: Europe/Berlin, key_file: sitekey}", 1) +
		"gateway: {local: true}\nuplink: {server_url: \"https://" + h.addr + "/engage_wss\", ca_url: \"" + h.caSrv.URL + "\"}\n" +
		"locks:\n  - {id: room5, name: Room 5, serial: \"" + room5Serial + "\", model: nde}\n")
	r := s.start()
	r.linked()
	begin, best := r.clock.Now(), time.Hour
	for i := range 3 {
		n := len(h.got())
		at := begin.Add(time.Duration(i) * time.Second)
		sent := time.Now()
		if got := r.alert("07000000", at); got != http.StatusOK {
			t.Fatalf("status %d", got)
		}
		e := h.waitCode(n, "07000000")
		best = min(best, e.at.Sub(sent))
		if want := `"time":"` + at.In(berlin(t)).Format("20060102150405"); e.Event.EventType != "Audit" || e.Event.Source != "edgeDevice" ||
			!strings.Contains(e.Event.EventBody, want) {
			t.Errorf("event %+v, want %s in it", e, want)
		}
	}
	if best > time.Second {
		t.Errorf("an alert took %s", best)
	}
	var alarms []control.Alarm
	r.must(r.ask("GET", "/v1/alarms", nil, &alarms))
	if len(alarms) == 0 || alarms[0].Kind != site.KindDoorForced || alarms[0].Door != "room5" {
		t.Errorf("alarms %+v", alarms)
	}
	n := len(r.events(site.KindLockAudit))
	if got := r.alert("07000000", begin.Add(2*time.Second)); got != http.StatusOK || len(r.events(site.KindLockAudit)) != n {
		t.Errorf("the same alert again: %d, %d events after %d", got, len(r.events(site.KindLockAudit)), n)
	}
}
