package host_test

import (
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"gatehouse/tools/iphost/engage"
	"gatehouse/tools/iphost/gatewaytest"
	"gatehouse/tools/iphost/host"
	"gatehouse/tools/iphost/registry"
)

// wantStatus checks that an error is the given HTTP status.
func wantStatus(t *testing.T, what string, err error, want int) string {
	t.Helper()
	var s *gatewaytest.ErrStatus
	if !errors.As(err, &s) || s.Status != want {
		t.Errorf("%s: %v, want status %d", what, err, want)
		return ""
	}
	return s.Body
}

func TestCredentials(t *testing.T) {
	n := start(t, nil)
	n.site()
	cfg := n.gateway(serialA)
	now := time.Now().UTC()
	ask := func(body string) (string, error) { return gatewaytest.NewCredentials(t.Context(), cfg, body) }

	_, err := ask("not base64")
	wantStatus(t, "malformed", err, 400)
	_, err = ask(engage.Seal(engage.NewSiteKey(), cfg.Serial, now))
	wantStatus(t, "another key", err, 401)
	_, err = ask(engage.Seal(cfg.Key, cfg.Serial, now.Add(-6*time.Minute)))
	if body := wantStatus(t, "late clock", err, 401); !strings.Contains(body, "clock") {
		t.Errorf("late clock: %s does not say so", body)
	}
	_, err = ask(engage.Seal(cfg.Key, cfg.Serial, now.Add(6*time.Minute)))
	wantStatus(t, "early clock", err, 401)
	// The serial outside is another one than inside.
	raw, err := base64.StdEncoding.DecodeString(engage.Seal(cfg.Key, cfg.Serial, now))
	if err != nil {
		t.Fatal(err)
	}
	raw[31] = '7'
	_, err = ask(base64.StdEncoding.EncodeToString(raw))
	wantStatus(t, "another serial", err, 401)

	body := engage.Seal(cfg.Key, cfg.Serial, now)
	first, err := ask(body)
	if err != nil || len(first) != 44 {
		t.Fatalf("password %q, %v", first, err)
	}
	if b, err := base64.StdEncoding.DecodeString(first); err != nil || len(b) != 32 {
		t.Errorf("password %q is not the base64 of 32 bytes", first)
	}
	_, err = ask(body)
	wantStatus(t, "repeated", err, 401)

	second, err := ask(engage.Seal(cfg.Key, cfg.Serial, now.Add(time.Second)))
	if err != nil || second == first {
		t.Fatalf("second password %q, %v", second, err)
	}
	_, err = gatewaytest.Connect(t.Context(), cfg, first)
	wantStatus(t, "password that was replaced", err, 401)
	_, err = gatewaytest.Connect(t.Context(), cfg, second[1:])
	wantStatus(t, "wrong password", err, 401)
	// A right password without the sub-protocol.
	head := http.Header{"Authorization": {"Basic " + base64.StdEncoding.EncodeToString([]byte(serialA+":"+second))}}
	d := websocket.Dialer{TLSClientConfig: &tls.Config{RootCAs: n.roots}, Subprotocols: []string{"engage.v1.edgedevice.allegion.com"}}
	if _, res, err := d.Dial("wss"+strings.TrimPrefix(cfg.URL, "https"), head); err == nil || res == nil || res.StatusCode != 400 {
		t.Errorf("another sub-protocol: %v, %v", res, err)
	}
	g, err := gatewaytest.Connect(t.Context(), cfg, second)
	if err != nil {
		t.Fatal(err)
	}
	if err := g.WaitSubscribed(t.Context()); err != nil {
		t.Fatal(err)
	}
	g.Cut()
	for _, secret := range []string{first, second} {
		if strings.Contains(n.logs.String(), secret) {
			t.Error("a password is in the log")
		}
	}
}

// TestOtherSitesKey: a gateway cannot be taken over with another site's key.
func TestOtherSitesKey(t *testing.T) {
	n := start(t, nil)
	n.site()
	other := engage.NewSiteKey()
	if err := n.Registry().AddSite(t.Context(), "other", other, "Europe/Berlin"); err != nil {
		t.Fatal(err)
	}
	n.connect(n.gateway(serialA))
	cfg := n.gateway(serialA)
	cfg.Key = other
	_, err := gatewaytest.Dial(t.Context(), cfg)
	wantStatus(t, "another site's key", err, 401)

	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	cfg = n.gateway("0000000000000000A0B1000000000207")
	cfg.Key, cfg.Wall = other, func() time.Time { return time.Now().In(berlin) }
	n.connect(cfg) // its clock shows the site's time

	cfg = n.gateway("0000000000000000A0B1000000000208")
	cfg.Wall = func() time.Time { return time.Now().In(berlin) }
	_, err = gatewaytest.Dial(t.Context(), cfg)
	wantStatus(t, "a zone that the site does not have", err, 401)
	if err := n.Registry().AddSite(t.Context(), "third", other, ""); !errors.Is(err, registry.ErrExists) {
		t.Errorf("a key of two sites: %v", err)
	}
}

func TestUpgradeRefused(t *testing.T) {
	n := start(t, nil)
	n.site()
	for _, tt := range []struct {
		name   string
		method string
		path   string
		head   map[string]string
		want   int
	}{
		{"no upgrade", "GET", "/engage_wss", nil, 426},
		{"no credentials", "GET", "/engage_wss", map[string]string{"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}, 401},
		{"newCredentials by GET", "GET", "/engage/newCredentials", nil, 405},
		{"surplus slashes", "GET", "//engage///newCredentials/", nil, 405},
		{"unknown path", "GET", "/engage", nil, 404},
		{"health", "GET", "/healthz", nil, 200},
		{"broker without token", "GET", "/gateway/deviceInfo", nil, 401},
		{"broker with a wrong token", "GET", "/gateway/deviceInfo", map[string]string{"Authorization": "Bearer test.AAAA"}, 401},
		{"broker with Basic", "GET", "/events", map[string]string{"Authorization": "Basic dGVzdDp0ZXN0"}, 401},
		{"live without token", "GET", "/events/live", nil, 401},
		{"gateways without token", "GET", "/gateways", nil, 401},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, err := http.NewRequest(tt.method, "https://"+n.Addr().String()+tt.path, nil)
			if err != nil {
				t.Fatal(err)
			}
			for k, v := range tt.head {
				r.Header.Set(k, v)
			}
			res, err := n.client().Do(r)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			if res.StatusCode != tt.want {
				t.Errorf("status %d, want %d", res.StatusCode, tt.want)
			}
		})
	}
}

func TestRoot(t *testing.T) {
	n := start(t, nil)
	n.site()
	base := "http://" + n.CAAddr().String()
	// A serial whose base64 has '+' signs.
	serial := mustSerial(t, "FBEFBEFBEFBEFBEFBEFBEFBEFBEFBEFB")
	cert, err := gatewaytest.FetchRoot(t.Context(), base+engage.RootPath, siteKey(t), serial)
	if err != nil {
		t.Fatal(err)
	}
	if !cert.IsCA {
		t.Error("the root is no CA")
	}
	if _, err := gatewaytest.FetchRoot(t.Context(), base+engage.RootPath, engage.NewSiteKey(), serial); err == nil {
		t.Error("the hash is right under another key")
	}
	if err := n.Registry().AddSite(t.Context(), "other", engage.NewSiteKey(), ""); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() string { // the sites are remembered for a second
		_, err = gatewaytest.FetchRoot(t.Context(), base+engage.RootPath, siteKey(t), serial)
		if err == nil {
			return "a stranger among two sites got a hash"
		}
		return ""
	})
	wantStatus(t, "a stranger among two sites", err, 404)
	if _, err := gatewaytest.FetchRoot(t.Context(), base+"/engage/newCA/demo/current", siteKey(t), serial); err != nil {
		t.Errorf("under its site's path: %v", err)
	}
	if err := n.Registry().AddGateway(t.Context(), serial, "demo"); err != nil {
		t.Fatal(err)
	}
	if _, err := gatewaytest.FetchRoot(t.Context(), base+engage.RootPath, siteKey(t), serial); err != nil {
		t.Errorf("after it was added: %v", err)
	}
	_, err = gatewaytest.FetchRoot(t.Context(), base+"/engage/newCA/other/current", siteKey(t), serial)
	wantStatus(t, "under another site's path", err, 404)
}

func TestBrokerOne(t *testing.T) {
	// Seven megabytes under the race detector take seconds on a busy machine.
	n := start(t, func(c *host.Config) { c.Timeout = 30 * time.Second })
	token := n.site()
	g := n.connect(n.gateway(serialA))
	diff(t, "subscription", []string{`{"subscriptionId":1,"subscription":[{"source":"gateway","eventingEnabled":true,"subscriptionBody":{}},{"source":"edgeDevice","eventingEnabled":true,"subscriptionBody":{}}]}`}, g.Subscriptions())

	one := "?gateway=" + strings.ToLower(serialA)
	for _, tt := range []struct {
		method, path, body string
		want               reply
	}{
		{"PUT", "/edgeDevices/dev00000/lockControl" + one, `{"lockControl":{"lockState":{"nextLockState":"frozenSecure"}}}`, reply{200, "gateway", ""}},
		{"GET", "//edgeDevices/dev00000//lockStatus" + one, "", reply{200, "gateway", `{"edgeDevice":{"linkId":"dev00000","lockStatus":{"currentLockState":"frznSec"}}}`}},
		{"PUT", "/edgeDevices/dev00000/lockControl" + one, `{"lockControl":{"lockState":{"nextLockState":"passage"}}}`, reply{202, "gateway", `{"statusMessage":"Command cached"}`}},
		{"GET", "/gateway/nothing" + one + "&a=<%20>&b=2", "", reply{404, "gateway", `{"statusMessage":"Not found"}`}},
		{"GET", "/gateway/deviceInfo?gateway=0000000000000000A0B1000000000299", "", reply{404, "host", `{"statusMessage":"no such gateway"}`}},
		{"PATCH", "/gateway/deviceInfo" + one, "", reply{405, "", `{"statusMessage":"GET, PUT, POST or DELETE"}`}},
		{"GET", "/gateway/deviceInfo?gateway=12", "", reply{400, "", `{"statusMessage":"gateway: \"12\": not a serial: want 32 hex digits"}`}},
		{"GET", "/gateway/deviceInfo" + one + "&gateway=" + serialA, "", reply{400, "", `{"statusMessage":"gateway: one of them, or none for all"}`}},
		{"PUT", "/gateway/config" + one, "\xff", reply{400, "", `{"statusMessage":"the body is not UTF-8 text"}`}},
		{"PUT", "/gateway/config", strings.Repeat("x", 65<<10), reply{413, "", `{"statusMessage":"the body is larger than 65536 bytes"}`}},
	} {
		diff(t, tt.method+" "+tt.path, tt.want, n.broker(token, tt.method, tt.path, tt.body))
	}
	last := g.Requests()[len(g.Requests())-1]
	diff(t, "what the gateway saw", gatewaytest.Request{ID: last.ID, Method: "GET", Path: "/gateway/nothing", Query: "a=<%20>&b=2"}, last)

	big := strings.Repeat(`{"a":"b"}`, 700_000) // 6.3 MB, and 8.4 as a JSON string
	diff(t, "too large inside", 413, n.broker(token, "PUT", "/edgeDevices/dev00000/database"+one, big).Status)
	fits := strings.Repeat("x", 7<<20)
	diff(t, "seven megabytes", reply{200, "gateway", ""}, n.broker(token, "PUT", "/gateway/kept"+one, fits))
	if got := n.broker(token, "GET", "/gateway/kept"+one, ""); got.Body != fits {
		t.Errorf("seven megabytes back: status %d, %d bytes", got.Status, len(got.Body))
	}

	g.Cut()
	eventually(t, func() string {
		if got := n.broker(token, "GET", "/gateway/kept"+one, ""); got.Status != 503 || got.From != "host" {
			return fmt.Sprintf("a gateway that left: %+.100v", got)
		}
		return ""
	})
}

func TestBrokerBadAnswers(t *testing.T) {
	n := start(t, func(c *host.Config) { c.Timeout = 300 * time.Millisecond })
	token := n.site()
	cfg := n.gateway(serialA)
	answers := map[string]string{
		"/gateway/a": `{"requestId":%d,"response":{"status":200,"messageBody":""}}`,
		"/gateway/b": `{"requestId":%d,"response":{"status":"100","messageBody":""}}`,
		"/gateway/c": `{"requestId":%d,"response":{"status":"299","messageBody":"kept"}}`,
		"/gateway/d": `{"requestId":%d0,"response":{"status":"200","messageBody":"to a request that was not sent"}}`,
		"/gateway/e": `not JSON %d`,
	}
	var g *gatewaytest.Gateway
	connected := make(chan struct{})
	cfg.Handle = func(r gatewaytest.Request) (int, string) {
		<-connected
		if err := g.Write(fmt.Appendf(nil, answers[r.Path], r.ID)); err != nil {
			t.Error(err)
		}
		return 0, ""
	}
	g = n.connect(cfg)
	close(connected)
	for path, want := range map[string]reply{
		"/gateway/a": {502, "host", `{"statusMessage":"the gateway's response: status is not a string"}`},
		"/gateway/b": {502, "host", `{"statusMessage":"the gateway answered with status 100"}`},
		"/gateway/c": {299, "gateway", "kept"},
		"/gateway/d": {504, "host", `{"statusMessage":"the gateway did not answer in 300ms"}`},
		"/gateway/e": {504, "host", `{"statusMessage":"the gateway did not answer in 300ms"}`},
	} {
		diff(t, path, want, n.broker(token, "GET", path+"?gateway="+serialA, ""))
	}
	if err := g.Err(); err != nil {
		t.Errorf("the connection ended: %v", err)
	}
}

func TestTokens(t *testing.T) {
	n := start(t, nil)
	all := n.site()
	if err := n.Registry().AddSite(t.Context(), "other", engage.NewSiteKey(), ""); err != nil {
		t.Fatal(err)
	}
	scoped, err := n.Registry().AddToken(t.Context(), "scoped", "other")
	if err != nil {
		t.Fatal(err)
	}
	g := n.connect(n.gateway(serialA))
	send(t, g, 1, 1)
	if err := g.Ping(t.Context(), "p"); err != nil {
		t.Fatal(err)
	}
	path := "/edgeDevices/linkList?gateway=" + serialA
	diff(t, "token of all sites", 200, n.broker(all, "GET", path, "").Status)
	diff(t, "token of another site", reply{404, "host", `{"statusMessage":"no such gateway"}`}, n.broker(scoped, "GET", path, ""))
	diff(t, "all gateways of another site", "{\"results\":[]}\n", n.broker(scoped, "GET", "/edgeDevices/linkList", "").Body)
	diff(t, "gateways of another site", "{\"gateways\":[]}\n", n.broker(scoped, "GET", "/gateways", "").Body)
	diff(t, "events of another site", "{\"events\":[]}\n", n.broker(scoped, "GET", "/events", "").Body)
	diff(t, "events of a site that is not the token's", 400, n.broker(scoped, "GET", "/events?site=demo", "").Status)
	diff(t, "events of all", []uint32{1}, ids(n.stored(all, "")))

	if err := n.Registry().RevokeToken(t.Context(), "test"); err != nil {
		t.Fatal(err)
	}
	diff(t, "revoked", 401, n.broker(all, "GET", path, "").Status)
	if err := n.Registry().RevokeToken(t.Context(), "test"); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("revoked twice: %v", err)
	}
	again, err := n.Registry().AddToken(t.Context(), "test", "")
	if err != nil {
		t.Fatal(err)
	}
	diff(t, "revoked, and its name used again", 401, n.broker(all, "GET", path, "").Status)
	diff(t, "the new one", 200, n.broker(again, "GET", path, "").Status)
	if strings.Contains(n.logs.String(), all) {
		t.Error("a token is in the log")
	}
}

func TestPings(t *testing.T) {
	n := start(t, func(c *host.Config) { c.Ping, c.Misses = 100*time.Millisecond, 2 })
	n.site()
	good := n.connect(n.gateway(serialA))
	cfg := n.gateway("0000000000000000A0B1000000000207")
	hold := make(chan struct{})
	token, err := n.Registry().AddToken(t.Context(), "more", "")
	if err != nil {
		t.Fatal(err)
	}
	cfg.Handle = func(gatewaytest.Request) (int, string) { <-hold; return 0, "" } // reads no more
	n.connect(cfg)
	t.Cleanup(func() { close(hold) }) // before the gateway's own end
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		n.broker(token, "GET", "/gateway/x?gateway="+cfg.Serial.String(), "")
	}()
	eventually(t, func() string {
		if n.Connected() != 1 {
			return "the silent gateway is still connected"
		}
		return ""
	})
	<-asked
	if err := good.Err(); err != nil {
		t.Errorf("the gateway that answers pings: %v", err)
	}
}
