package app_test

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse/agent/bacnetws/oauth"
	"gatehouse/agent/control"
	"gatehouse/agent/site"
)

// gatewaySite is a site whose gateway says who asks.
func gatewaySite(t *testing.T) *testSite {
	s := newTestSite(t)
	s.configure(testSettings + "gateway: {local: true}\n")
	s.gateway = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g, ok := oauth.From(r.Context())
		if !ok || r.Header.Get("Authorization") != "" {
			t.Errorf("%s: grant %v, header %q", r.URL, ok, r.Header.Get("Authorization"))
		}
		fmt.Fprint(w, g.Name)
	})
	return s
}

// https sends a request to the HTTPS listener and returns status and body.
func (r *running) https(method, path, token string) (int, string) {
	r.t.Helper()
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(r.t.Context(), method, "https://"+r.app.Addresses()["https"]+path, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := client.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return resp.StatusCode, strings.TrimSpace(string(body))
}

func (r *running) wantHTTPS(method, path, token string, status int, text string) {
	r.t.Helper()
	if got, body := r.https(method, path, token); got != status || !strings.Contains(body, text) {
		r.t.Errorf("%s %s: %d %s, want %d %s", method, path, got, body, status, text)
	} else if status >= 400 && !strings.HasPrefix(body, `{"statusMessage":"`) {
		r.t.Errorf("%s %s: %d %s is no statusMessage", method, path, got, body)
	}
}

func (r *running) addToken(o control.TokenOrder) control.TokenMade {
	r.t.Helper()
	var made control.TokenMade
	r.must(r.ask("POST", "/v1/tokens", o, &made))
	return made
}

// TestToken: a token works until it is revoked, over restarts; each step is in
// the event log, and the token itself is in no file and no log.
func TestToken(t *testing.T) {
	var log bytes.Buffer
	s := gatewaySite(t)
	s.log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	r := s.start()
	made := r.addToken(control.TokenOrder{Name: "bms", Lifetime: control.Duration(time.Hour)})
	if made.State != "valid" || !slices.Equal(made.Scopes, []string{"gateway"}) || made.Warning != "" || made.Until.Sub(made.Made) != time.Hour {
		t.Errorf("%+v", made.TokenStatus)
	}
	both := r.addToken(control.TokenOrder{Name: "ems", Scopes: []string{"gateway", "gateway-control"}})
	if both.Until.Sub(both.Made) != 24*time.Hour {
		t.Errorf("until %s", both.Until)
	}
	r.wantHTTPS("GET", "/gateway/deviceInfo", made.Token, 200, "bms")
	r.wantHTTPS("GET", "/edgeDevices", made.Token, 200, "bms")
	r.wantHTTPS("PUT", "/edgeDevices/dev00001/lockControl", made.Token, 403, "gateway-control")
	r.wantHTTPS("PUT", "/edgeDevices/dev00001/lockControl", both.Token, 200, "ems")
	r.wantHTTPS("GET", "/gateway/deviceInfo", "", 401, "bearer token")
	r.wantHTTPS("GET", "/gateway/deviceInfo", made.Token[:len(made.Token)-6]+"AAAAAA", 401, "not made by this device")
	r.stop()

	r = s.start()
	r.wantHTTPS("GET", "/gateway/deviceInfo", made.Token, 200, "bms")
	r.must(r.ask("POST", "/v1/tokens/"+made.ID+"/revoke", nil, nil))
	r.wantHTTPS("GET", "/gateway/deviceInfo", made.Token, 401, "revoked at")
	r.wantHTTPS("GET", "/gateway/deviceInfo", both.Token, 200, "ems")
	if err := r.ask("POST", "/v1/tokens/"+made.ID+"/revoke", nil, nil); !refused(err) || !strings.Contains(err.Error(), "already") {
		t.Errorf("revoked twice: %v", err)
	}
	r.stop()

	r = s.start()
	r.wantHTTPS("GET", "/gateway/deviceInfo", made.Token, 401, "revoked at")
	var list []control.TokenStatus
	r.must(r.client.Get(t.Context(), "/v1/tokens", nil, &list))
	if len(list) != 2 || list[0].State != "revoked" || list[1].State != "valid" || list[0].By != "cli" {
		t.Errorf("%+v", list)
	}
	for what, fits := range map[string]func(site.Event) bool{
		"made":    func(ev site.Event) bool { return ev.By == "cli" && strings.Contains(ev.Text, "made for bms: gateway") },
		"revoked": func(ev site.Event) bool { return ev.By == "cli" && strings.Contains(ev.Text, "of bms revoked") },
		"refused": func(ev site.Event) bool {
			return ev.By == "bms" && ev.Item == made.ID && ev.Count == 1 && strings.Contains(ev.Text, "revoked at") && strings.Contains(ev.Text, "from 127.0.0.1")
		},
		"scope":     func(ev site.Event) bool { return ev.By == "bms" && strings.Contains(ev.Text, "gateway-control") },
		"signature": func(ev site.Event) bool { return ev.By == "" && strings.Contains(ev.Text, "not made by this device") },
	} {
		r.waitEvent(what, site.KindSignIn, fits)
	}
	var all []control.TokenStatus
	r.must(r.ask("POST", "/v1/tokens/revoke-all", nil, &all))
	if len(all) != 1 || all[0].Name != "ems" {
		t.Errorf("%+v", all)
	}
	r.wantHTTPS("GET", "/gateway/deviceInfo", both.Token, 401, "keys were replaced")
	r.waitEvent("all revoked", site.KindSignIn, func(ev site.Event) bool { return ev.By == "cli" && ev.Count == 1 && ev.Item == "" })
	r.stop()
	nowhere(t, s.dir, log.Bytes(), made.Token, both.Token)
}

// nowhere looks for a token's claims and signature in all files and in the log.
func nowhere(t *testing.T, dir string, log []byte, tokens ...string) {
	t.Helper()
	files := map[string][]byte{"the log": log}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			files[path], err = os.ReadFile(path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 5 || len(files[filepath.Join(dir, "oauth.json")]) == 0 {
		t.Errorf("only %d files were looked at", len(files))
	}
	for name, data := range files {
		for _, token := range tokens {
			for _, part := range strings.Split(token, ".")[1:] {
				if bytes.Contains(data, []byte(part)) {
					t.Errorf("a token is in %s", name)
				}
			}
		}
	}
}

// TestTokenOrders: what cannot be made is refused with a reason.
func TestTokenOrders(t *testing.T) {
	s := newTestSite(t)
	s.configure(testSettings + "bacnet: {uuid: 6f1c0a52-6a3e-4c41-9d55-0f6b0a6f2c11, token_lifetime: 2h}\n")
	r := s.start()
	for want, o := range map[string]control.TokenOrder{
		"bad input: scope \"root\"": {Name: "x", Scopes: []string{"root"}},
		"name":                      {},
		"reserved":                  {Name: "cli"},
		"lifetime 1s":               {Name: "x", Lifetime: control.Duration(time.Second)},
		"lifetime -1h0m0s":          {Name: "x", Lifetime: control.Duration(-time.Hour)},
	} {
		if err := r.ask("POST", "/v1/tokens", o, nil); !refused(err) || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %s", o, err, want)
		}
	}
	if err := r.ask("POST", "/v1/tokens/nobody/revoke", nil, nil); !refused(err) || !strings.Contains(err.Error(), "not found") {
		t.Error(err)
	}
	if evs := r.events(site.KindSignIn); len(evs) > 0 {
		t.Errorf("events of what was refused: %+v", evs)
	}
	if made := r.addToken(control.TokenOrder{Name: "x"}); made.Until.Sub(made.Made) != 2*time.Hour {
		t.Errorf("bacnet.token_lifetime does not hold: %s", made.Until.Sub(made.Made))
	}
	s.clock.SetSynchronised(false)
	wait(t, "a clock that is not trusted", func() bool { return r.addToken(control.TokenOrder{Name: "x"}).Warning != "" })
}

// TestTokensDamaged: of a damaged file nothing is believed; it is set aside, and
// tokens can be made again.
func TestTokensDamaged(t *testing.T) {
	s := gatewaySite(t)
	r := s.start()
	old := r.addToken(control.TokenOrder{Name: "bms"})
	r.stop()
	for _, name := range []string{"oauth.json", "device.uuid"} {
		if err := os.WriteFile(filepath.Join(s.dir, name), []byte("{}"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r = s.start()
	r.wantHTTPS("GET", "/gateway/deviceInfo", old.Token, 401, "not made by this device")
	r.wantHTTPS("GET", "/gateway/deviceInfo", r.addToken(control.TokenOrder{Name: "bms"}).Token, 200, "bms")
	for _, name := range []string{"oauth.json", "device.uuid"} {
		if found, _ := filepath.Glob(filepath.Join(s.dir, "quarantine", name+".*")); len(found) != 1 {
			t.Errorf("%s set aside: %v", name, found)
		}
	}
	r.waitEvent("the fault", site.KindFault, func(ev site.Event) bool { return ev.Item == "tokens.damaged" })
}

// TestTokensUnreadable: without its file no token passes and none is made; the
// doors do not care.
func TestTokensUnreadable(t *testing.T) {
	s := gatewaySite(t)
	r := s.start()
	made := r.addToken(control.TokenOrder{Name: "bms"})
	r.stop()
	if err := os.Chmod(filepath.Join(s.dir, "oauth.json"), 0o644); err != nil {
		t.Fatal(err)
	}
	r = s.start()
	r.wantHTTPS("GET", "/gateway/deviceInfo", made.Token, 503, "cannot be checked")
	r.wantHTTPS("GET", "/gateway/deviceInfo", "", 401, "bearer token")
	for _, path := range []string{"/v1/tokens", "/v1/tokens/revoke-all", "/v1/tokens/" + made.ID + "/revoke"} {
		if err := r.ask("POST", path, nil, nil); !refused(err) || !strings.Contains(err.Error(), "0600") {
			t.Errorf("%s: %v", path, err)
		}
	}
	if err := r.client.Get(t.Context(), "/v1/tokens", nil, nil); !refused(err) {
		t.Errorf("list: %v", err)
	}
	var findings []control.Finding
	r.must(r.client.Get(t.Context(), "/v1/doctor", nil, &findings))
	if !slices.ContainsFunc(findings, func(f control.Finding) bool { return f.Wrong && strings.Contains(f.What, "tokens.open") && f.Do != "" }) {
		t.Errorf("doctor: %+v", findings)
	}
	if info, err := os.Stat(filepath.Join(s.dir, "oauth.json")); err != nil || info.Size() == 0 {
		t.Errorf("the file: %v %v", info, err)
	}
}

// TestGatewayMount: the gateway is mounted only where the settings want it.
func TestGatewayMount(t *testing.T) {
	for name, change := range map[string]func(*testSite){
		"not local":  func(s *testSite) { s.configure(testSettings + "gateway: {local: false}\n") },
		"no section": func(s *testSite) { s.configure(testSettings) },
	} {
		s := gatewaySite(t)
		change(s)
		r := s.start()
		made := r.addToken(control.TokenOrder{Name: "bms"})
		if status, _ := r.https("GET", "/gateway/deviceInfo", made.Token); status != 404 {
			t.Errorf("%s: %d", name, status)
		}
		r.stop()
	}
}
