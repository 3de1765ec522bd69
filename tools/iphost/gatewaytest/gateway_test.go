package gatewaytest_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // the protocol's hash, section 4
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gorilla/websocket"

	"gatehouse/tools/iphost/engage"
	"gatehouse/tools/iphost/gatewaytest"
)

// The key, the time and the body of engage.md, section 1.
const (
	keyHex = "112233445566778899aabbccddeeff112233445566778899aabbccddeeff1122"
	serial = "0000000000000000A0B1000000000206"
	body   = serial + ":C0F15939A7F6C51C0360CC5869C5380C7B1DB71E5CE29803636FE6B9205F682D:1"
)

var wall = time.Date(2017, 11, 20, 15, 42, 39, 0, time.UTC)

// hostSide is a host of one connection, written by hand.
type hostSide struct {
	*testing.T
	srv      *httptest.Server
	password string // given and wanted
	conns    chan *websocket.Conn
	pings    chan string
}

func newHost(t *testing.T) *hostSide {
	h := &hostSide{T: t, password: base64.StdEncoding.EncodeToString(make([]byte, 32)), conns: make(chan *websocket.Conn, 1), pings: make(chan string, 1)}
	up := websocket.Upgrader{Subprotocols: []string{"engage.v1.gateway.allegion.com"}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /engage/newCredentials", func(w http.ResponseWriter, r *http.Request) {
		got, _ := io.ReadAll(r.Body)
		if string(got) != base64.StdEncoding.EncodeToString([]byte(body)) {
			http.Error(w, "not the known answer", http.StatusUnauthorized)
			return
		}
		fmt.Fprint(w, h.password)
	})
	mux.HandleFunc("GET /engage_wss", func(w http.ResponseWriter, r *http.Request) {
		if u, p, _ := r.BasicAuth(); u != serial || p != h.password {
			http.Error(w, "authenticate again", http.StatusUnauthorized)
			return
		}
		if c, err := up.Upgrade(w, r, nil); err == nil {
			h.conns <- c
		}
	})
	h.srv = httptest.NewTLSServer(mux)
	t.Cleanup(h.srv.Close)
	return h
}

func (h *hostSide) config() gatewaytest.Config {
	h.Helper()
	key, err := engage.ParseSiteKey(keyHex)
	if err != nil {
		h.Fatal(err)
	}
	id, err := engage.ParseSerial(serial)
	if err != nil {
		h.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(h.srv.Certificate())
	return gatewaytest.Config{URL: h.srv.URL + "/engage_wss", Key: key, Serial: id, Roots: roots, Wall: func() time.Time { return wall }}
}

// connect returns both ends.
func (h *hostSide) connect() (*gatewaytest.Gateway, *websocket.Conn) {
	h.Helper()
	g, err := gatewaytest.Dial(h.Context(), h.config())
	if err != nil {
		h.Fatal(err)
	}
	c := <-h.conns
	h.Cleanup(func() { c.Close() })
	c.SetPingHandler(func(p string) error { h.pings <- p; return nil })
	return g, c
}

func (h *hostSide) say(c *websocket.Conn, text string) {
	h.Helper()
	if err := c.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
		h.Fatal(err)
	}
}

func (h *hostSide) hear(c *websocket.Conn) string {
	h.Helper()
	_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
	_, b, err := c.ReadMessage()
	if err != nil {
		h.Fatal(err)
	}
	return string(b)
}

// TestGateway: the known answer of section 1, the four messages of section 2 as a
// host sees them, pings, and the end.
func TestGateway(t *testing.T) {
	h := newHost(t)
	g, c := h.connect()
	const subscription = `{"subscriptionId":1,"subscription":[{"source":"edgeDevice","eventingEnabled":true,"subscriptionBody":{}}]}`
	h.say(c, subscription)
	if err := g.WaitSubscribed(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{subscription}, g.Subscriptions()); diff != "" {
		t.Errorf("subscriptions (-want +got):\n%s", diff)
	}
	put := func(state string) string {
		return `{"requestId":7,"request":{"method":"PUT","path":"/edgeDevices/dev00000/lockControl","messageBody":"{\"lockControl\":{\"lockState\":{\"nextLockState\":\"` + state + `\"}}}"}}`
	}
	for _, tt := range []struct{ ask, want string }{
		{put("frozenSecure"), `{"requestId":7,"response":{"status":"200","messageBody":""}}`},
		{put("momentaryUnlock"), `{"requestId":7,"response":{"status":"200","messageBody":""}}`},
		{put("passage"), `{"requestId":7,"response":{"status":"202","messageBody":"{\"statusMessage\":\"Command cached\"}"}}`},
		{put("open"), `{"requestId":7,"response":{"status":"400","messageBody":"{\"statusMessage\":\"Invalid JSON tag value\"}"}}`},
		{`{"requestId":2147483647,"request":{"method":"GET","path":"/edgeDevices/dev00000/lockStatus","messageBody":"","optionalQueryStrings":"a=1"}}`,
			`{"requestId":2147483647,"response":{"status":"200","messageBody":"{\"edgeDevice\":{\"linkId\":\"dev00000\",\"lockStatus\":{\"currentLockState\":\"frznSec\"}}}"}}`},
		{`{"requestId":1,"request":{"method":"GET","path":"/x","messageBody":""}}`, `{"requestId":1,"response":{"status":"404","messageBody":"{\"statusMessage\":\"Not found\"}"}}`},
	} {
		h.say(c, tt.ask)
		if diff := cmp.Diff(tt.want, h.hear(c)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.ask, diff)
		}
	}
	requests := g.Requests()
	if diff := cmp.Diff(gatewaytest.Request{ID: 2147483647, Method: "GET", Path: "/edgeDevices/dev00000/lockStatus", Query: "a=1"}, requests[len(requests)-2]); diff != "" {
		t.Errorf("a request (-want +got):\n%s", diff)
	}
	if err := g.Write(gatewaytest.Audit(2, "a100000000002479", "dev00000", "07040000", time.Date(2017, 11, 20, 10, 47, 17, 0, time.UTC))); err != nil {
		t.Fatal(err)
	}
	const event = `{"eventId":2,"event":{"eventType":"Audit","source":"edgeDevice","deviceId":"a100000000002479","eventBody":"{\"edgeDevice\":{\"linkId\":\"dev00000\",\"audits\":[{\"event\":\"07040000\",\"time\":\"20171120104717\"}]}}"}}`
	if diff := cmp.Diff(event, h.hear(c)); diff != "" {
		t.Errorf("the event of section 2 (-want +got):\n%s", diff)
	}
	h.pingAndCut(g, c)
}

// pingAndCut looks at a ping, then at the end.
func (h *hostSide) pingAndCut(g *gatewaytest.Gateway, c *websocket.Conn) {
	t := h.T
	t.Helper()
	go func() { _, _, _ = c.ReadMessage() }() // answers what is not a message
	ponged := make(chan error, 1)
	go func() { ponged <- g.Ping(t.Context(), "p1") }()
	p := <-h.pings
	select {
	case err := <-ponged:
		t.Errorf("a ping ended before its pong: %v", err)
	default:
	}
	for _, payload := range []string{"other", p} {
		if err := c.WriteControl(websocket.PongMessage, []byte(payload), time.Now().Add(time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-ponged; err != nil || p != "p1" {
		t.Errorf("the pong of %q: %v", p, err)
	}
	g.Cut()
	if err := g.Ping(t.Context(), "p2"); err == nil || g.Err() == nil {
		t.Errorf("after the end: ping %v, cause %v", err, g.Err())
	}
}

// TestGatewayRefused: what a host refuses is told with its status; what no host
// sends ends the connection.
func TestGatewayRefused(t *testing.T) {
	h := newHost(t)
	cfg := h.config()
	cfg.Wall = func() time.Time { return wall.Add(time.Second) }
	var status *gatewaytest.ErrStatus
	if _, err := gatewaytest.Dial(t.Context(), cfg); !errors.As(err, &status) || status.Status != 401 {
		t.Errorf("credentials of another time: %v", err)
	}
	if _, err := gatewaytest.Connect(t.Context(), h.config(), "wrong"); !errors.As(err, &status) || status.Status != 401 || !strings.Contains(status.Body, "again") {
		t.Errorf("a wrong password: %v", err)
	}
	cfg = h.config()
	cfg.Roots = x509.NewCertPool()
	if _, err := gatewaytest.Dial(t.Context(), cfg); err == nil {
		t.Error("a root that did not sign the host's certificate is believed")
	} else if _, is := errors.AsType[*tls.CertificateVerificationError](err); !is {
		t.Errorf("another root: %v", err)
	}
	for _, bad := range []string{"no JSON", `{"eventId":1}`} {
		g, c := h.connect()
		h.say(c, bad)
		select {
		case <-g.Done():
		case <-time.After(20 * time.Second):
			t.Errorf("%s: the connection stays", bad)
		}
		if g.Err() == nil {
			t.Errorf("%s: no cause", bad)
		}
		c.Close()
	}
}

// TestFetchRoot: the certificate comes by the answer's URL, with + and = unescaped, and
// is believed by its hash alone.
func TestFetchRoot(t *testing.T) {
	h := newHost(t)
	key := h.config().Key
	der := h.srv.Certificate().Raw
	raw, err := engage.ParseSerial("FBFFBF0000000000A0B1000000000206") // its base64 has + and /
	if err != nil {
		t.Fatal(err)
	}
	get := func(ctx context.Context, k []byte, chunked bool) error {
		var srv *httptest.Server
		srv = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/der" {
				if !chunked {
					w.Header().Set("Content-Length", fmt.Sprint(len(der)))
				}
				_, _ = w.Write(der[:1])
				_ = http.NewResponseController(w).Flush()
				_, _ = w.Write(der[1:])
				return
			}
			if want := "serialNumber=" + base64.StdEncoding.EncodeToString(raw[:]) + "&hashType=primary&v=2"; r.URL.RawQuery != want || !strings.Contains(want, "+") {
				t.Errorf("query %s, want %s", r.URL.RawQuery, want)
			}
			m := hmac.New(sha1.New, k)
			m.Write(der)
			fmt.Fprintf(w, `{"cert_url":"%s/der","hash":"%s"}`, srv.URL, base64.StdEncoding.EncodeToString(m.Sum(nil)))
		}))
		defer srv.Close()
		got, err := gatewaytest.FetchRoot(ctx, srv.URL, key, raw)
		if err == nil && !got.Equal(h.srv.Certificate()) {
			t.Error("another certificate")
		}
		return err
	}
	good := make([]byte, 0, 32)
	if _, err := fmt.Sscanf(keyHex, "%x", &good); err != nil {
		t.Fatal(err)
	}
	if err := get(t.Context(), good, false); err != nil {
		t.Error(err)
	}
	if err := get(t.Context(), make([]byte, 32), false); err == nil || !strings.Contains(err.Error(), "hash") {
		t.Errorf("a wrong hash: %v", err)
	}
	if err := get(t.Context(), good, true); err == nil || !strings.Contains(err.Error(), "Content-Length") {
		t.Errorf("a chunked file: %v", err)
	}
}

// TestState: what is put is there; a silent gateway answers nothing.
func TestState(t *testing.T) {
	var s gatewaytest.State
	ask := func(method, path, body string) string {
		status, text := s.Handle(gatewaytest.Request{Method: method, Path: path, Body: body})
		return fmt.Sprint(status, " ", text)
	}
	for _, tt := range []struct{ method, path, body, want string }{
		{"GET", "/kept", "", `404 {"statusMessage":"Not found"}`},
		{"PUT", "/kept", "{}", "200 "},
		{"GET", "/kept", "", "200 {}"},
		{"DELETE", "/kept", "", `404 {"statusMessage":"Not found"}`},
	} {
		if got := ask(tt.method, tt.path, tt.body); got != tt.want {
			t.Errorf("%s %s: %s, want %s", tt.method, tt.path, got, tt.want)
		}
	}
	s.SetSilent(true)
	if got := ask("GET", "/kept", ""); got != "0 " {
		t.Errorf("silent: %s", got)
	}
	s.SetSilent(false)
	if got := ask("GET", "/kept", ""); got != "200 {}" {
		t.Errorf("again: %s", got)
	}
}
