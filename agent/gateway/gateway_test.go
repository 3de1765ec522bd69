package gateway_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"gatehouse/agent/gateway"
	"gatehouse/agent/site"
)

const (
	front     = `{"linkId":"dev00000","sensorStatus":{"rexActive":"F","fdrActive":"F","tamperOpen":"T","magTamperDetected":"T","rtcBatteryStatus":"normal","locked":"T","primaryBatteryStatus":"normal","doorOpen":"F"},"lockStatus":{"currentLockState":"sec"}}`
	vault     = `{"linkId":"dev00001","sensorStatus":{"rexActive":"F","fdrActive":"F","tamperOpen":"F","magTamperDetected":"F","rtcBatteryStatus":"normal","locked":"T","primaryBatteryStatus":"normal","doorOpen":"F"},"lockStatus":{"currentLockState":"sec"}}`
	noService = `{"statusMessage":"not supported: this build has no service for Wi-Fi locks"}`
	noLine    = `{"statusMessage":"A Wi-Fi lock has no live line: it cannot be controlled now"}`
	ownConfig = `{"statusMessage":"This device is configured by the settings of the gateway"}`
	badTag    = `{"statusMessage":"Invalid JSON tag"}`
	badValue  = `{"statusMessage":"Invalid JSON tag value"}`
)

func control(state string) string {
	return `{"lockControl":{"lockState":{"nextLockState":"` + state + `"}}}`
}

// TestResources: every resource and its refusals, with the bytes of engage.md.
func TestResources(t *testing.T) {
	r := newRig(t, nil)
	ids := deviceIDs(t, r)
	for _, tt := range []struct {
		method, path, body string
		status             int
		answer             string
	}{
		{"GET", "/nowhere", "", 404, `{"statusMessage":"Unknown resource"}`},
		{"GET", "", "", 404, `{"statusMessage":"Unknown resource"}`},
		{"GET", "/gateway", "", 404, `{"statusMessage":"Unknown resource"}`},
		{"GET", "/gateway/time/x", "", 404, `{"statusMessage":"Unknown resource"}`},
		{"GET", "/edgeDevices/dev00000/nothing", "", 404, `{"statusMessage":"Unknown resource"}`},
		{"GET", "/edgeDevices/dev00009/lockStatus", "", 404, `{"statusMessage":"Unknown linkId"}`},
		{"GET", "/edgeDevices/dev00000/lockStatus/x", "", 404, `{"statusMessage":"Unknown resource"}`},
		{"POST", "/gateway/time", "", 405, `{"statusMessage":"Method \"POST\" is not supported here"}`},
		{"GET", "/gateway/time", "", 200, `{"rtcTime":"20171120104717"}`},
		{"get", "//gateway///time/?x=1", "", 200, `{"rtcTime":"20171120104717"}`},
		{"GET", "/gateway/scanList", "", 200, `{"gatewayScanList":[]}`},
		{"GET", "/gateway/newCredentials", "", 403, `{"statusMessage":"Local HTTP mode only"}`},
		{"PUT", "/gateway/newCredentials", "", 403, `{"statusMessage":"Local HTTP mode only"}`},
		{"PUT", "/gateway/config", `{}`, 400, badTag},
		{"PUT", "/gateway/config", `{"gatewayConfig":{"genGatewayConfig":{"a":1}}}`, 501, `{"statusMessage":"genGatewayConfig is not supported: the gateway has its own settings"}`},
		{"PUT", "/gateway/config", `{"gatewayConfig":{"gatewayIpModeConfig":{"fixedIpAddr":"x"}}}`, 400, `{"statusMessage":"Invalid JSON tag value: fixedIpAddr"}`},
		{"PUT", "/gateway/config", `{"gatewayConfig":{"gatewayIpModeConfig":{"fixedIpAddr":"10.0.0.2"}}}`, 501, `{"statusMessage":"The network of this gateway cannot be changed from afar"}`},
		{"GET", "/edgeDevices/linkList", "", 200, `{"linkList":[` +
			`{"linkId":"dev00000","linkCommStatus":"Connected","deviceName":"Front door","modelType":"control","deviceId":"` + ids["front"] + `","macAddr":"","macType":"","battV":{"main":0,"li":0}},` +
			`{"linkId":"dev00001","linkCommStatus":"Connected","deviceName":"Vault","modelType":"control","deviceId":"` + ids["vault"] + `","macAddr":"","macType":"","battV":{"main":0,"li":0}},` +
			`{"linkId":"dev00002","linkCommStatus":"Disconnected","deviceName":"Room 5","modelType":"nde","deviceId":"a100000000002479","macAddr":"","macType":"","battV":{"main":0,"li":0}}]}`},
		{"POST", "/edgeDevices", `{}`, 400, badTag},
		{"POST", "/edgeDevices", `{"deviceId":"00"}`, 404, `{"statusMessage":"Unknown deviceId"}`},
		{"POST", "/edgeDevices", `{"deviceId":"` + ids["front"] + `"}`, 201, `{"linkInfo":{"linkId":"dev00000","deviceId":"` + ids["front"] + `","deviceName":"Front door","linkCommStatus":"Connected","modelType":"control"}}`},
		{"DELETE", "/edgeDevices/dev00000", "", 403, `{"statusMessage":"This device is a part of the gateway and stays linked"}`},
		{"DELETE", "/edgeDevices/dev00001", "", 403, `{"statusMessage":"This device is a part of the gateway and stays linked"}`},
		{"GET", "/edgeDevices/dev00000/lockStatus", "", 200, `{"edgeDevice":` + front + `}`},
		{"GET", "/edgeDevices/lockStatus", "", 200, `{"edgeDevice":[` + front + `,` + vault + `]}`},
		{"GET", "/edgeDevices/dev00002/lockStatus", "", 501, `{"statusMessage":"dev00002: not supported: this build has no service for Wi-Fi locks"}`},
		{"GET", "/edgeDevices/dev00000/time", "", 200, `{"rtcTime":"20171120104700"}`},
		{"GET", "/edgeDevices/dev00002/time", "", 501, noService},
		{"GET", "/edgeDevices/dev00000/params", "", 200, `{"name":"Front door","model":"control"}`},
		{"GET", "/edgeDevices/dev00002/params", "", 501, noService},
		{"PUT", "/edgeDevices/dev00000/config", `{"config":{"a":1}}`, 501, ownConfig},
		{"PUT", "/edgeDevices/dev00000/config", `{"a":1}`, 400, badTag},
		{"DELETE", "/edgeDevices/dev00000/config", "", 501, ownConfig},
		{"PUT", "/edgeDevices/dev00002/config", `{"config":{"a":1}}`, 501, noService},
		{"DELETE", "/edgeDevices/dev00002/config", "", 501, noService},
		{"PUT", "/edgeDevices/dev00002/database", `{"db":{}}`, 501, noService},
		{"PUT", "/edgeDevices/dev00000/database", `{"db":{}}`, 503, `{"statusMessage":"not ready: door files are not taken now"}`},
		{"DELETE", "/edgeDevices/dev00000/database", "", 403, `{"statusMessage":"Database is not in progress"}`},
		{"GET", "/edgeDevices/dev00000/dbDownloadStatus", "", 404, `{"statusMessage":"No database was sent since the gateway started"}`},
		{"GET", "/edgeDevices/dev00000/audits", "", 200, `{"edgeDevice":{"linkId":"dev00000","audits":[]}}`},
		{"DELETE", "/edgeDevices/dev00000/audits", "", 200, ``},
		{"DELETE", "/edgeDevices/audits", "", 200, ``},
		{"PUT", "/edgeDevices/dev00002/lockControl", control("secure"), 400, noLine},
		{"PUT", "/edgeDevices/dev00002/lockControl", control("momentaryUnlock"), 400, noLine},
		{"PUT", "/edgeDevices/lockControl", control("open"), 400, badValue},
	} {
		r.want(t, tt.method, tt.path, tt.body, tt.status, tt.answer)
	}
	status, body := r.Serve(t.Context(), "GET", "/gateway/deviceInfo", "")
	if status != 200 || !strings.HasPrefix(string(body), `{"deviceInfo":{"mainSn":"`+serial+`","deviceId":"a0b1000000000206","deviceName":"Warehouse 7","modelType":"gateway","firmwareVersion":"1.0","linkList":[{"linkId":"dev00000",`) {
		t.Errorf("deviceInfo: %d %s", status, body)
	}
}

// deviceIDs reads the ids that linkList gives.
func deviceIDs(t testing.TB, r *rig) map[string]string {
	t.Helper()
	_, body := r.Serve(t.Context(), "GET", "/edgeDevices/linkList", "")
	var list struct {
		LinkList []struct{ DeviceID, DeviceName string }
	}
	if err := json.Unmarshal(body, &list); err != nil {
		t.Fatal(err)
	}
	door := map[string]string{"Front door": "front", "Vault": "vault", "Room 5": "room5"}
	out := map[string]string{}
	for _, l := range list.LinkList {
		out[door[l.DeviceName]] = l.DeviceID
	}
	return out
}

// TestDeviceIDs: 16 hex digits, the same for ever, others for another appliance.
func TestDeviceIDs(t *testing.T) {
	r := newRig(t, nil)
	ids := deviceIDs(t, r)
	want := map[string]string{"front": "e779d5ef41a70f64", "vault": "9b0eb43c651fa4b9", "room5": "a100000000002479"}
	for door, id := range ids {
		if id != want[door] {
			t.Errorf("%s: %s, want %s", door, id, want[door])
		}
	}
	other := newRig(t, func(c *gateway.Config, _ *gateway.Deps) { c.Serial = strings.Repeat("1", 32) })
	if deviceIDs(t, other)["front"] == ids["front"] {
		t.Error("two appliances give one id")
	}
}

// TestLockControl: every literal, the relock delay and the texts of its refusals.
func TestLockControl(t *testing.T) {
	r := newRig(t, nil)
	state := func(s string) string { return `{"lockControl":{"lockState":{` + s + `}}}` }
	unlock := `"nextLockState":"momentaryUnlock"`
	for _, tt := range []struct {
		body   string
		status int
		answer string
		order  string
	}{
		{``, 400, badTag, ""},
		{`null`, 400, badTag, ""},
		{`{}`, 400, badTag, ""},
		{`{"lockControl":{}}`, 400, badTag, ""},
		{`{"lockControl":{"lockState":{}}}`, 400, badTag, ""},
		{`{"lockControl":{"lockState":{"next":"secure"}}}`, 400, badTag, ""},
		{control("secure") + `x`, 400, badTag, ""},
		{control("open"), 400, badValue, ""},
		{control("Secure"), 400, badValue, ""},
		{state(`"nextLockState":1`), 400, badValue, ""},
		{state(`"nextLockState":null`), 400, badTag, ""},
		{state(unlock + `,"relockDelay":0`), 400, `{"statusMessage":"Relock delay out of bounds"}`, ""},
		{state(unlock + `,"relockDelay":256`), 400, `{"statusMessage":"Relock delay out of bounds"}`, ""},
		{state(unlock + `,"relockDelay":99999999999999999999`), 400, `{"statusMessage":"Relock delay out of bounds"}`, ""},
		{state(unlock + `,"relockDelay":"x"`), 400, badValue, ""},
		{state(unlock + `,"relockDelay":1.5`), 400, badValue, ""},
		{state(`"nextLockState":"secure","relockDelay":5`), 400, badTag, ""},
		{control("frozenSecure"), 200, "", "front 3 0s"},
		{control("secure"), 200, "", "front 1 0s"},
		{control("passage"), 200, "", "front 2 0s"},
		{control("frozenPassage"), 200, "", "front 4 0s"},
		{control("momentaryUnlock"), 200, "", "front 5 0s"},
		{state(unlock + `,"relockDelay":1`), 200, "", "front 5 1s"},
		{state(unlock + `,"relockDelay":"255"`), 200, "", "front 5 4m15s"},
	} {
		r.site.orders = nil
		r.want(t, "PUT", "/edgeDevices/dev00000/lockControl", tt.body, tt.status, tt.answer)
		if got := strings.Join(r.site.orders, ", "); got != tt.order {
			t.Errorf("%s ordered %q, want %q", tt.body, got, tt.order)
		}
	}
	for state, want := range map[string]string{"frozenSecure": "frznSec", "frozenPassage": "frznPass", "passage": "pass", "secure": "sec"} {
		r.want(t, "PUT", "/edgeDevices/dev00001/lockControl", control(state), 200, "")
		if _, body := r.Serve(t.Context(), "GET", "/edgeDevices/dev00001/lockStatus", ""); !strings.Contains(string(body), `{"currentLockState":"`+want+`"}`) {
			t.Errorf("%s: %s", state, body)
		}
	}
}

// TestLockControlRefused: what a door refuses is no success, for one or for all.
func TestLockControlRefused(t *testing.T) {
	r := newRig(t, func(c *gateway.Config, _ *gateway.Deps) { c.Devices = c.Devices[:2] })
	r.want(t, "PUT", "/edgeDevices/lockControl", control("passage"), 200, "")
	for _, tt := range []struct {
		err    error
		status int
		text   string
	}{
		{fmt.Errorf("%w: the door is locked down", gateway.ErrRefused), 403, "refused: the door is locked down"},
		{fmt.Errorf("%w: starting", gateway.ErrNotReady), 503, "not ready: starting"},
		{context.DeadlineExceeded, 500, "Timed out"},
		{errDisk, 500, "disk full"},
	} {
		r.site.refuse["front"] = tt.err
		r.want(t, "PUT", "/edgeDevices/dev00000/lockControl", control("momentaryUnlock"), tt.status, `{"statusMessage":"`+tt.text+`"}`)
	}
	r.site.orders = nil
	r.site.refuse["front"] = fmt.Errorf("%w: the door is locked down", gateway.ErrRefused)
	r.want(t, "PUT", "/edgeDevices/lockControl", control("secure"), 403, `{"statusMessage":"1 of 2 devices did it; dev00000: refused: the door is locked down"}`)
	if len(r.site.orders) != 1 {
		t.Errorf("orders %v", r.site.orders)
	}
	delete(r.site.doors, "vault")
	r.want(t, "GET", "/edgeDevices/dev00001/lockStatus", "", 503, `{"statusMessage":"dev00001: not ready: vault is offline"}`)
}

// TestLinks: linkIds stay with their doors when the settings change; a Wi-Fi lock is
// unlinked, found, linked.
func TestLinks(t *testing.T) {
	r := newRig(t, nil)
	r.want(t, "DELETE", "/edgeDevices/dev00002", "", 200, "")
	r.want(t, "GET", "/edgeDevices/dev00002/time", "", 404, `{"statusMessage":"Unknown linkId"}`)
	r.want(t, "GET", "/gateway/scanList", "", 200, `{"gatewayScanList":[{"mainSn":"0000000000000000A100000000002479","deviceName":"Room 5","signalQuality":"Med","modelType":"nde"}]}`)
	r.cfg.Devices = append([]gateway.Device{{Door: "new", Name: "New"}}, r.cfg.Devices[1:]...)
	r.restart(t)
	if got := fmt.Sprint(r.Devices()); got != "map[new:dev00003 vault:dev00001]" {
		t.Errorf("links %s", got)
	}
	r.want(t, "POST", "/edgeDevices", `{"deviceId":"0000000000000000A100000000002479"}`, 201, `{"linkInfo":{"linkId":"dev00002","deviceId":"a100000000002479","deviceName":"Room 5","linkCommStatus":"Disconnected","modelType":"nde"}}`)
	r.keep.fail = errDisk
	r.want(t, "DELETE", "/edgeDevices/dev00002", "", 500, `{"statusMessage":"gateway: keep links: disk full"}`)
	if r.Devices()["room5"] != "dev00002" {
		t.Error("unlinked in memory only")
	}
	r.keep.fail, r.keep.data = nil, []byte("{")
	if _, err := gateway.New(r.cfg, r.deps); err == nil {
		t.Error("links that cannot be read were made anew")
	}
}

// TestWiFiLocks: with a service, what it keeps is answered as section 3 says.
func TestWiFiLocks(t *testing.T) {
	locks := &fakeLocks{config: map[site.DoorID]string{}}
	r := newRig(t, func(_ *gateway.Config, d *gateway.Deps) { d.Locks = locks })
	r.start(t)
	cached := `{"statusMessage":"Command cached"}`
	r.want(t, "PUT", "/edgeDevices/dev00002/config", `{"config":{"a":1}}`, 202, cached)
	if locks.config["room5"] != `{"config":{"a":1}}` {
		t.Errorf("kept %v", locks.config)
	}
	r.want(t, "DELETE", "/edgeDevices/dev00002/config", "", 200, "")
	r.want(t, "GET", "/edgeDevices/dev00002/params", "", 200, `{"name":"Room 5"}`)
	r.want(t, "GET", "/edgeDevices/dev00002/lockStatus", "", 200, `{"edgeDevice":{"linkId":"dev00002","sensorStatus":{"rexActive":"F","fdrActive":"F","tamperOpen":"F","magTamperDetected":"F","rtcBatteryStatus":"normal","locked":"T","primaryBatteryStatus":"low","doorOpen":"F"},"lockStatus":{"currentLockState":"vendorState"}}}`)
	r.want(t, "PUT", "/edgeDevices/dev00002/database", `{"db":{}}`, 202, cached)
	locks.down = &gateway.Download{State: gateway.StatePending}
	finished(t, r, "dev00002")
	r.want(t, "PUT", "/edgeDevices/dev00002/lockControl", control("secure"), 400, noLine)
	r.want(t, "PUT", "/edgeDevices/lockControl", control("secure"), 400, `{"statusMessage":"2 of 3 devices did it; dev00002: invalid: A Wi-Fi lock has no live line: it cannot be controlled now"}`)
}

// TestGatewayConfig: the network goes to whoever applies it.
func TestGatewayConfig(t *testing.T) {
	var got gateway.IPMode
	r := newRig(t, func(_ *gateway.Config, d *gateway.Deps) {
		d.Network = func(_ context.Context, n gateway.IPMode) error { got = n; return nil }
	})
	r.want(t, "PUT", "/gateway/config", `{"gatewayConfig":{"genGatewayConfig":{},"gatewayIpModeConfig":{"fixedIpAddr":"10.0.0.2","netmask":"255.255.255.0","gateway":"10.0.0.1","DNS":"10.0.0.1"}}}`, 200, "")
	if got != (gateway.IPMode{FixedIPAddr: "10.0.0.2", Netmask: "255.255.255.0", Gateway: "10.0.0.1", DNS: "10.0.0.1"}) {
		t.Errorf("got %+v", got)
	}
}

// TestHTTP: the same answers over HTTP, for one who may; and newCredentials.
func TestHTTP(t *testing.T) {
	n := 0
	r := newRig(t, func(_ *gateway.Config, d *gateway.Deps) {
		d.Credentials = func(context.Context) (string, string, error) { n++; return "gateway", fmt.Sprintf("token%d", n), nil }
	})
	srv := httptest.NewServer(r.Handler(func(q *http.Request) error {
		if q.Header.Get("Authorization") != "Bearer good" {
			return errors.New("no token")
		}
		return nil
	}))
	t.Cleanup(srv.Close)
	call := func(token, method, path, body string, status int, answer string) {
		t.Helper()
		q, err := http.NewRequestWithContext(t.Context(), method, srv.URL+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		q.Header.Set("Authorization", "Bearer "+token)
		resp, err := srv.Client().Do(q)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		got, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != status || string(got) != answer {
			t.Errorf("%s %s: got %d %s, want %d %s", method, path, resp.StatusCode, got, status, answer)
		}
	}
	call("bad", "GET", "/gateway/time", "", 401, `{"statusMessage":"Unauthorized"}`)
	call("good", "GET", "//gateway///time", "", 200, `{"rtcTime":"20171120104717"}`)
	call("good", "PUT", "/edgeDevices/dev00000/lockControl", control("secure"), 200, "")
	call("good", "PUT", "/edgeDevices/dev00000/database", strings.Repeat(" ", 8<<20+1), 413, `{"statusMessage":"more than 8388608 bytes"}`)
	call("good", "PUT", "/gateway/newCredentials", `{"credentials":{"usr":"gateway","pwd":""}}`, 400, badValue)
	call("good", "GET", "/gateway/newCredentials", "", 200, `{"credentials":{"usr":"gateway","pwd":"token1"}}`)
	call("good", "GET", "/gateway/newCredentials", "", 200, `{"credentials":{"usr":"gateway","pwd":"token2"}}`)
	call("good", "PUT", "/gateway/newCredentials", `{"credentials":{"usr":"gateway","pwd":"token1"}}`, 400, badValue)
	call("good", "PUT", "/gateway/newCredentials", `{}`, 400, badTag)
	call("good", "PUT", "/gateway/newCredentials", `{"credentials":{"usr":"gateway","pwd":"token2"}}`, 201, "")
	for _, m := range []string{"GET", "PUT"} {
		call("good", m, "/gateway/newCredentials", "", 403, `{"statusMessage":"Credentials already established"}`)
	}
	r.restart(t)
	if s, _ := r.Serve(t.Context(), "GET", "/gateway/newCredentials", ""); s != 403 {
		t.Errorf("through the uplink: %d", s)
	}
}

func TestOwns(t *testing.T) {
	for path, want := range map[string]bool{"/gateway/time": true, "//edgeDevices": true, "/edgeDevices/x": true, "/gatewayx": false, "/": false, "": false, "/console/gateway": false} {
		if gateway.Owns(path) != want {
			t.Errorf("%q: %v", path, !want)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	r := newRig(t, nil)
	for name, change := range map[string]func(*gateway.Config, *gateway.Deps){
		"serial":      func(c *gateway.Config, _ *gateway.Deps) { c.Serial = "12" },
		"status":      func(c *gateway.Config, _ *gateway.Deps) { c.AcceptedStatus = 204 },
		"twice":       func(c *gateway.Config, _ *gateway.Deps) { c.Devices = append(c.Devices, c.Devices[0]) },
		"lock serial": func(c *gateway.Config, _ *gateway.Deps) { c.Devices[2].Serial = "x" },
		"no site":     func(_ *gateway.Config, d *gateway.Deps) { d.Site = nil },
		"keeper":      func(_ *gateway.Config, d *gateway.Deps) { d.Keep = &fakeKeeper{fail: errDisk} },
	} {
		cfg, deps := r.cfg, r.deps
		cfg.Devices = append([]gateway.Device(nil), cfg.Devices...)
		change(&cfg, &deps)
		if _, err := gateway.New(cfg, deps); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func FuzzServe(f *testing.F) {
	f.Add("GET", "/edgeDevices/dev00000/lockStatus", "")
	f.Add("PUT", "/edgeDevices/dev00000/lockControl", control("momentaryUnlock"))
	f.Add("PUT", "/edgeDevices/dev00000/database", `{"db":{}}`)
	f.Add("PUT", "/gateway/config", `{"gatewayConfig":{"gatewayIpModeConfig":{}}}`)
	f.Add("POST", "/edgeDevices", `{"deviceId":"a100000000002479"}`)
	r := newRig(f, nil)
	f.Fuzz(func(t *testing.T, method, path, body string) {
		status, answer := r.Serve(t.Context(), method, path, body)
		if status < 200 || status > 599 {
			t.Errorf("status %d", status)
		}
		if len(answer) > 0 && !json.Valid(answer) {
			t.Errorf("answer %s", answer)
		}
		if status >= 400 && !strings.HasPrefix(string(answer), `{"statusMessage":"`) {
			t.Errorf("%d without a message: %s", status, answer)
		}
	})
}

// TestTogether: requests of all kinds at once, with events and door files in between.
func TestTogether(t *testing.T) {
	r := newRig(t, nil)
	r.start(t)
	requests := [][3]string{
		{"GET", "/edgeDevices/lockStatus", ""}, {"PUT", "/edgeDevices/dev00000/lockControl", control("passage")},
		{"GET", "/edgeDevices/audits", ""}, {"DELETE", "/edgeDevices/audits", ""}, {"DELETE", "/edgeDevices/dev00002", ""},
		{"POST", "/edgeDevices", `{"deviceId":"a100000000002479"}`}, {"GET", "/edgeDevices/linkList", ""},
		{"PUT", "/edgeDevices/dev00001/database", `{"db":{"schedules":[]}}`}, {"DELETE", "/edgeDevices/dev00001/database", ""},
		{"GET", "/edgeDevices/dev00001/dbDownloadStatus", ""}, {"GET", "/gateway/deviceInfo", ""},
	}
	var wg sync.WaitGroup
	for i := range 400 {
		wg.Go(func() {
			q := requests[i%len(requests)]
			status, answer := r.Serve(t.Context(), q[0], q[1], q[2])
			if status >= 500 || len(answer) > 0 && !json.Valid(answer) {
				t.Errorf("%v: %d %s", q, status, answer)
			}
			e := site.Event{Kind: site.KindExit, Door: "front"}
			r.log.add(e)
			r.Convert(e)
		})
	}
	wg.Wait()
	status, answer := r.Serve(t.Context(), "GET", "/edgeDevices/lockStatus", "")
	if status != 200 || !strings.Contains(string(answer), `"currentLockState":"pass"`) {
		t.Errorf("afterwards: %d %s", status, answer)
	}
}
