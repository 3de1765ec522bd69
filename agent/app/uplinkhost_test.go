package app_test

import (
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"gatehouse/agent/control"
	"gatehouse/agent/uplink"
	"gatehouse/certs"
	"gatehouse/certs/certstest"
)

const (
	siteKeyHex    = "06fba5258a37eed076532ec47bccc2f7daa92edf5490f722234eec6f5ac7c467"
	gatewaySerial = "0000000000000000A0B1000000000206"
	// The cards adaCard and otherCard under the site key (engage.md, section 5).
	adaPrimeCr   = "0d6807e6dbac61481a8ff8b0dce95998"
	otherPrimeCr = "f7a580a987f982c4ee1d6e6419ad3d17"
)

// bothScopes is a token that may ask and order.
var bothScopes = control.TokenOrder{Name: "bms", Scopes: []string{"gateway", "gateway-control"}}

// ipHost is a small IP host at one address, which may be away: newCredentials and
// the WebSocket. It decodes with encoding/json alone.
type ipHost struct {
	t     *testing.T
	ca    *certstest.CA
	caSrv *certstest.Server
	addr  string
	cert  atomic.Pointer[tls.Certificate]

	onEvent func(e ipEvent)  // set before the host is reached; nil: they are kept
	clock   func() time.Time // set before the host is reached

	mu                       sync.Mutex // guards the following
	server                   *httptest.Server
	tokens                   map[string]bool
	password                 string
	conn                     *ipConn // the newest
	pings                    int
	onCredentials, onUpgrade func(w http.ResponseWriter) (done bool) // may be nil
	onPing                   func(n int)                             // the pong goes out when it returns; may be nil
	onRaw                    func(data []byte)                       // sees every message; may be nil
	events                   []ipEvent
	answers                  map[uint32]ipAnswer
	next                     uint32
}

// ipEvent is an event as it came.
type ipEvent struct {
	ID    uint32 `json:"eventId"`
	Event struct{ EventType, Source, DeviceID, EventBody string }
	at    time.Time
}

type ipAnswer struct {
	status int
	body   string
	count  int // of answers with this number
}

// ipConn is one connection at the host.
type ipConn struct {
	ws    *websocket.Conn
	write sync.Mutex
}

func newIPHost(t *testing.T) *ipHost {
	t.Helper()
	key, err := hex.DecodeString(siteKeyHex)
	if err != nil {
		t.Fatal(err)
	}
	year := certstest.Valid(time.Now().Add(-time.Hour), time.Now().Add(365*24*time.Hour))
	h := &ipHost{t: t, clock: time.Now, ca: certstest.NewCA(t, "iphost root", year), tokens: map[string]bool{}, answers: map[uint32]ipAnswer{}}
	h.caSrv = certstest.NewServer(t, certs.Key(key), h.ca)
	h.use(h.ca.Issue(t, []string{"127.0.0.1"}, year))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h.addr = l.Addr().String()
	h.serve(l)
	t.Cleanup(h.away)
	return h
}

func (h *ipHost) use(c tls.Certificate) { h.cert.Store(&c) }

func (h *ipHost) serve(l net.Listener) {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /engage/newCredentials", h.credentials)
	mux.HandleFunc("GET /engage_wss", h.upgrade)
	srv := &httptest.Server{Listener: l, Config: &http.Server{Handler: mux, ErrorLog: log.New(io.Discard, "", 0)}}
	srv.TLS = &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		return &tls.Config{Certificates: []tls.Certificate{*h.cert.Load()}}, nil
	}}
	srv.StartTLS()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.server = srv
}

// away takes the host off the network without a word.
func (h *ipHost) away() {
	h.mu.Lock()
	srv := h.server
	h.server = nil
	h.mu.Unlock()
	if srv == nil {
		return
	}
	_ = srv.Listener.Close()
	h.drop()
	srv.Close()
}

// back puts the host on the network again.
func (h *ipHost) back() {
	h.t.Helper()
	l, err := net.Listen("tcp", h.addr)
	if err != nil {
		h.t.Fatal(err)
	}
	h.serve(l)
}

// drop cuts the connection without a word.
func (h *ipHost) drop() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.conn != nil {
		_ = h.conn.ws.NetConn().Close()
	}
}

func (h *ipHost) credentials(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	h.mu.Lock()
	on := h.onCredentials
	h.mu.Unlock()
	if err != nil || on != nil && on(w) {
		return
	}
	key, _ := hex.DecodeString(siteKeyHex)
	tok, err := uplink.ParseToken(string(body))
	var at time.Time
	if err == nil {
		at, err = tok.Open(uplink.SiteKey(key), time.UTC)
	}
	if err == nil && h.clock().Sub(at).Abs() > 5*time.Minute { // a host that knows no zone
		err = fmt.Errorf("the token says %s", at)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if err != nil || h.tokens[string(body)] {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	h.tokens[string(body)] = true
	pw := make([]byte, 32)
	_, _ = rand.Read(pw)
	h.password = base64.StdEncoding.EncodeToString(pw)
	_, _ = io.WriteString(w, h.password)
}

func (h *ipHost) upgrade(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	pw, on := h.password, h.onUpgrade
	h.mu.Unlock()
	if on != nil && on(w) {
		return
	}
	if user, got, ok := r.BasicAuth(); !ok || user != gatewaySerial || got != pw || pw == "" {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	up := websocket.Upgrader{Subprotocols: []string{uplink.SubProtocol}}
	ws, err := up.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	c := &ipConn{ws: ws}
	ws.SetPingHandler(func(payload string) error {
		h.mu.Lock()
		h.pings++
		n, on := h.pings, h.onPing
		h.mu.Unlock()
		if on != nil {
			on(n)
		}
		_ = ws.WriteControl(websocket.PongMessage, []byte(payload), time.Now().Add(5*time.Second))
		return nil
	})
	h.mu.Lock()
	h.conn = c
	h.mu.Unlock()
	_ = c.send(`{"subscriptionId":1,"subscription":[{"source":"gateway","eventingEnabled":true,"subscriptionBody":{}},{"source":"edgeDevice","eventingEnabled":true,"subscriptionBody":{}}]}`)
	h.read(c)
}

func (c *ipConn) send(text string) error {
	c.write.Lock()
	defer c.write.Unlock()
	_ = c.ws.SetWriteDeadline(time.Now().Add(20 * time.Second))
	return c.ws.WriteMessage(websocket.TextMessage, []byte(text))
}

func (h *ipHost) read(c *ipConn) {
	defer c.ws.Close()
	for {
		_, data, err := c.ws.ReadMessage()
		if err != nil {
			return
		}
		h.mu.Lock()
		raw := h.onRaw
		h.mu.Unlock()
		if raw != nil {
			raw(data)
		}
		var m struct {
			EventID  *uint32                               `json:"eventId"`
			Request  *uint32                               `json:"requestId"`
			Response *struct{ Status, MessageBody string } `json:"response"`
		}
		if err := json.Unmarshal(data, &m); err != nil {
			h.t.Errorf("the gateway sent %.200q: %v", data, err)
			return
		}
		switch {
		case m.EventID != nil:
			var e ipEvent
			if err := json.Unmarshal(data, &e); err != nil {
				h.t.Errorf("the gateway sent %.200q: %v", data, err)
			}
			h.take(e)
		case m.Request != nil && m.Response != nil:
			status, _ := strconv.Atoi(m.Response.Status)
			h.mu.Lock()
			h.answers[*m.Request] = ipAnswer{status, m.Response.MessageBody, h.answers[*m.Request].count + 1}
			h.mu.Unlock()
		default:
			h.t.Errorf("the gateway sent %.200q", data)
		}
	}
}

func (h *ipHost) take(e ipEvent) {
	e.at = time.Now()
	if h.onEvent != nil {
		h.onEvent(e)
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.events = append(h.events, e)
}

// now returns the connection, once there is one.
func (h *ipHost) now() *ipConn {
	h.t.Helper()
	var c *ipConn
	patiently(h.t, "a connection", func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		c = h.conn
		return c != nil
	})
	return c
}

// request makes the text of a request, and its number.
func (h *ipHost) request(method, path, body string) (uint32, string) {
	h.mu.Lock()
	h.next++
	id := h.next
	h.mu.Unlock()
	type req struct {
		Method string `json:"method"`
		Path   string `json:"path"`
		Body   string `json:"messageBody"`
	}
	text, err := json.Marshal(struct {
		ID      uint32 `json:"requestId"`
		Request req    `json:"request"`
	}{id, req{method, path, body}})
	if err != nil {
		h.t.Fatal(err)
	}
	return id, string(text)
}

// ask sends a request and returns its answer.
func (h *ipHost) ask(method, path, body string) (int, string) {
	h.t.Helper()
	id, text := h.request(method, path, body)
	if err := h.now().send(text); err != nil {
		h.t.Fatalf("%s %s: %v", method, path, err)
	}
	return h.answer(id)
}

func (h *ipHost) answer(id uint32) (int, string) {
	h.t.Helper()
	var a ipAnswer
	patiently(h.t, "an answer", func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		a = h.answers[id]
		return a.count > 0
	})
	return a.status, a.body
}

func (h *ipHost) got() []ipEvent {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]ipEvent(nil), h.events...)
}

// waitCode waits for an audit of a code that came after the first n events.
func (h *ipHost) waitCode(n int, code string) ipEvent {
	h.t.Helper()
	var found ipEvent
	patiently(h.t, fmt.Sprintf("event %s after %v", code, h.got()), func() bool {
		for _, e := range h.got()[n:] {
			if strings.Contains(e.Event.EventBody, `"event":"`+code) {
				found = e
				return true
			}
		}
		return false
	})
	return found
}

// patiently polls until ok, for what crosses TLS on a busy machine.
func patiently(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(40 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within 40 s", what)
		}
	}
}

// uplinkSite is a site whose host is h.
func uplinkSite(t *testing.T, h *ipHost) *testSite {
	t.Helper()
	s := newTestSite(t)
	if err := os.WriteFile(filepath.Join(s.dir, "sitekey"), []byte(siteKeyHex), 0o600); err != nil {
		t.Fatal(err)
	}
	s.uplink("https://"+h.addr+"/engage_wss", h.caSrv.URL)
	return s
}

func (s *testSite) uplink(server, ca string) {
	s.t.Helper()
	s.configure(strings.Replace(testSettings, "timezone: Europe/Berlin}", "timezone: Europe/Berlin, key_file: sitekey}", 1) +
		"gateway: {local: true}\nuplink: {server_url: \"" + server + "\", ca_url: \"" + ca + "\"}\n")
}
