package uplink_test

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"gatehouse/agent/uplink"
	"gatehouse/certs/certstest"
)

const gatewaySerial = "0000000000000000A0B1000000000206"

// bell wakes all who wait for a change.
type bell struct {
	mu sync.Mutex
	ch chan struct{}
}

func (b *bell) ring() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ch != nil {
		close(b.ch)
		b.ch = nil
	}
}

func (b *bell) wait() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ch == nil {
		b.ch = make(chan struct{})
	}
	return b.ch
}

// untilWait is how long a test waits for anything; the machine may be busy.
const untilWait = time.Minute

// until blocks until cond holds; it is asked again whenever the bell rings.
func (b *bell) until(tb testing.TB, what string, cond func() bool) {
	tb.Helper()
	timeout := time.After(untilWait)
	for {
		ch := b.wait()
		if cond() {
			return
		}
		select {
		case <-ch:
		case <-time.After(20 * time.Millisecond): // for what rings no bell
		case <-timeout:
			tb.Fatalf("not within %s: %s", untilWait, what)
		}
	}
}

// received is an event as the host got it.
type received struct {
	conn int
	id   uint64
	text string
}

// host is a working IP host: newCredentials and the WebSocket, with a real
// certificate. It decodes with encoding/json alone.
type host struct {
	bell
	tb   testing.TB
	srv  *httptest.Server
	cert atomic.Pointer[tls.Certificate]
	key  uplink.SiteKey

	// Hooks, set before the client runs. They may be nil.
	onCredentials func(n int, w http.ResponseWriter) bool // true: answered
	onUpgrade     func(n int, w http.ResponseWriter) bool
	onConn        func(hc *hostConn) // before the subscription is sent
	onEvent       func(hc *hostConn, e received)
	onPing        func(hc *hostConn, payload string) (pong bool)
	subscribe     string // sent to each connection
	protocols     []string
	sink          bool // count events, and check that they are in order, instead of keeping them
	sunk          atomic.Uint64
	rewrite       bool // choose a sub-protocol that was not offered

	mu       sync.Mutex
	tokens   map[string]bool
	calls    int // of newCredentials
	upgrades int
	password string
	conns    []*hostConn
	events   []received
	headers  []http.Header
}

// hostConn is one connection at the host.
type hostConn struct {
	h     *host
	n     int // from 0
	ws    *websocket.Conn
	write sync.Mutex
	done  chan struct{}
	pings int

	mu      sync.Mutex
	answers map[uint64]answer
	raw     []string // frames that are neither event nor answer
}

type answer struct{ status, body string }

const subscribeAll = `{"subscriptionId":1,"subscription":[{"source":"gateway","eventingEnabled":true,"subscriptionBody":{}},{"source":"edgeDevice","eventingEnabled":true,"subscriptionBody":{}}]}`

func newHost(tb testing.TB, ca *certstest.CA) *host {
	tb.Helper()
	h := &host{tb: tb, key: unhex(tb, testKey), tokens: map[string]bool{}, subscribe: subscribeAll, protocols: []string{uplink.SubProtocol}}
	h.use(ca.Issue(tb, []string{"127.0.0.1"}))
	mux := http.NewServeMux()
	mux.HandleFunc("POST /engage/newCredentials", h.credentials)
	mux.HandleFunc("GET /engage_wss", h.upgrade)
	h.srv = httptest.NewUnstartedServer(mux)
	h.srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	h.srv.TLS = &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		return &tls.Config{Certificates: []tls.Certificate{*h.cert.Load()}}, nil
	}}
	h.srv.StartTLS()
	tb.Cleanup(func() {
		h.dropAll()
		h.srv.Close()
	})
	return h
}

func (h *host) use(c tls.Certificate) { h.cert.Store(&c) }

func (h *host) url() string { return h.srv.URL + "/engage_wss" }

func (h *host) credentials(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	h.mu.Lock()
	h.calls++
	n := h.calls
	again := h.tokens[string(body)]
	h.tokens[string(body)] = true
	h.mu.Unlock()
	defer h.ring()
	if h.onCredentials != nil && h.onCredentials(n, w) {
		return
	}
	tok, err := uplink.ParseToken(string(body))
	if err == nil {
		_, err = tok.Open(h.key, time.UTC)
	}
	if err != nil || again {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	pw := make([]byte, 32)
	_, _ = rand.Read(pw)
	h.mu.Lock()
	h.password = base64.StdEncoding.EncodeToString(pw)
	h.mu.Unlock()
	_, _ = io.WriteString(w, h.password)
}

func (h *host) upgrade(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	h.upgrades++
	n, pw := h.upgrades, h.password
	h.headers = append(h.headers, r.Header.Clone())
	h.mu.Unlock()
	defer h.ring()
	if h.onUpgrade != nil && h.onUpgrade(n, w) {
		return
	}
	if user, got, ok := r.BasicAuth(); !ok || user != gatewaySerial || got != pw || pw == "" {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if h.rewrite {
		r.Header["Sec-Websocket-Protocol"] = h.protocols
	}
	up := websocket.Upgrader{Subprotocols: h.protocols}
	ws, err := up.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	hc := &hostConn{h: h, ws: ws, done: make(chan struct{}), answers: map[uint64]answer{}}
	h.mu.Lock()
	hc.n = len(h.conns)
	h.conns = append(h.conns, hc)
	h.mu.Unlock()
	ws.SetPingHandler(func(payload string) error {
		hc.pings++
		if h.onPing == nil || h.onPing(hc, payload) {
			_ = ws.WriteControl(websocket.PongMessage, []byte(payload), time.Now().Add(5*time.Second))
		}
		h.ring()
		return nil
	})
	if h.onConn != nil {
		h.onConn(hc)
	}
	if h.subscribe != "" {
		hc.send(h.subscribe)
	}
	h.ring()
	hc.read()
}

func (hc *hostConn) send(text string) {
	hc.write.Lock()
	defer hc.write.Unlock()
	_ = hc.ws.WriteMessage(websocket.TextMessage, []byte(text))
}

// drop cuts the connection without a word.
func (hc *hostConn) drop() { _ = hc.ws.NetConn().Close() }

func (hc *hostConn) read() {
	defer close(hc.done)
	defer hc.h.ring()
	for {
		_, data, err := hc.ws.ReadMessage()
		if err != nil {
			_ = hc.ws.Close()
			return
		}
		if hc.h.sink && bytes.HasPrefix(data, []byte(`{"eventId":`)) {
			hc.h.count(data)
			continue
		}
		hc.take(data)
		hc.h.ring()
	}
}

// count expects the events of one connection, from 1 on.
func (h *host) count(data []byte) {
	id, _, _ := bytes.Cut(data[len(`{"eventId":`):], []byte(","))
	if want := h.sunk.Add(1); string(id) != strconv.FormatUint(want, 10) {
		h.tb.Errorf("event %s came, want %d", id, want)
	}
}

func (hc *hostConn) take(data []byte) {
	var m struct {
		EventID  *uint64 `json:"eventId"`
		Event    struct{ EventBody string }
		Request  *uint64                               `json:"requestId"`
		Response *struct{ Status, MessageBody string } `json:"response"`
	}
	if err := json.Unmarshal(data, &m); err != nil {
		hc.h.tb.Errorf("the gateway sent %q: %v", data, err)
		return
	}
	switch {
	case m.EventID != nil:
		e := received{hc.n, *m.EventID, m.Event.EventBody}
		hc.h.mu.Lock()
		hc.h.events = append(hc.h.events, e)
		hc.h.mu.Unlock()
		if hc.h.onEvent != nil {
			hc.h.onEvent(hc, e)
		}
	case m.Request != nil && m.Response != nil:
		hc.mu.Lock()
		hc.answers[*m.Request] = answer{m.Response.Status, m.Response.MessageBody}
		hc.mu.Unlock()
	default:
		hc.mu.Lock()
		hc.raw = append(hc.raw, string(data))
		hc.mu.Unlock()
	}
}

// ask sends a request and returns the answer.
func (hc *hostConn) ask(id uint64, method, path, body string) answer {
	hc.h.tb.Helper()
	b, err := json.Marshal(map[string]any{"requestId": id, "request": map[string]string{"method": method, "path": path, "messageBody": body}})
	if err != nil {
		hc.h.tb.Fatal(err)
	}
	hc.send(string(b))
	return hc.answer(id)
}

func (hc *hostConn) answer(id uint64) answer {
	hc.h.tb.Helper()
	var a answer
	hc.h.until(hc.h.tb, fmt.Sprintf("answer to %d", id), func() (ok bool) {
		hc.mu.Lock()
		defer hc.mu.Unlock()
		a, ok = hc.answers[id]
		return ok
	})
	return a
}

// conn returns the nth connection, from 0, when there is one.
func (h *host) conn(n int) *hostConn {
	h.tb.Helper()
	h.until(h.tb, fmt.Sprintf("connection %d", n), func() bool { return h.connCount() > n })
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.conns[n]
}

func (h *host) connCount() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.conns)
}

func (h *host) dropAll() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, hc := range h.conns {
		hc.drop()
	}
}

func (h *host) got() []received {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.events)
}

func (h *host) ids() []uint64 {
	var out []uint64
	for _, e := range h.got() {
		out = append(out, e.id)
	}
	return out
}

func (h *host) untilEvents(n int) []received {
	h.tb.Helper()
	h.until(h.tb, fmt.Sprintf("%d events", n), func() bool { return len(h.got()) >= n })
	return h.got()
}

// wantOrder checks that the ids, repeats left out, are from..to in order.
func wantOrder(tb testing.TB, got []received, from, to uint64) {
	tb.Helper()
	next := from
	for i, e := range got {
		switch {
		case e.id == next:
			next++
		case e.id > next:
			tb.Fatalf("event %d of the host is %d, %d is missing", i, e.id, next)
		case i > 0 && got[i-1].conn == e.conn && e.id != got[i-1].id+1:
			tb.Fatalf("connection %d: %d after %d", e.conn, e.id, got[i-1].id)
		}
	}
	if next != to+1 {
		tb.Fatalf("the last event is %d, want %d", next-1, to)
	}
}

var errInjected = errors.New("injected")

func contains(tb testing.TB, what, text string, parts ...string) {
	tb.Helper()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			tb.Errorf("%s is %q, want %q in it", what, text, p)
		}
	}
}
