package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"gatehouse/agent/uplink"
)

// fleet is what all gateways of a load share.
type fleet struct {
	hosts []string // base URLs, https://HOST:PORT
	path  string   // of the WebSocket
	key   uplink.SiteKey
	tls   *tls.Config
	slots chan struct{} // connections that are being made

	list []*loadGateway
	wait sync.WaitGroup

	mu sync.Mutex
	// guards following
	joined   samples // how long each connection took to make
	failures map[string]int
	up       int
}

// newFleet makes gateways; none connects yet.
func newFleet(hosts []string, path string, key uplink.SiteKey, roots *x509.CertPool, n, parallel int) *fleet {
	f := &fleet{hosts: hosts, path: path, key: key, tls: &tls.Config{RootCAs: roots}, slots: make(chan struct{}, parallel), failures: map[string]int{}}
	run := uint32(time.Now().Unix()) // another load has other serials
	for i := range n {
		g := &loadGateway{f: f, n: i, answered: make(chan string, 4)}
		copy(g.serial[8:], []byte{0xA0, 0xB1, byte(run >> 24), byte(run >> 16), byte(run >> 8), byte(run), byte(i >> 8), byte(i)})
		g.serial[0] = byte(i >> 16)
		f.list = append(f.list, g)
	}
	return f
}

// loadGateway is one gateway: it keeps a connection until its context ends.
type loadGateway struct {
	f        *fleet
	n        int
	serial   uplink.Serial
	stamp    int64       // second of the last token: a host takes it once
	answered chan string // payloads of pongs

	mu sync.Mutex
	// guards following; ws also the writing of messages
	ws      *websocket.Conn // nil: not connected
	changed chan struct{}   // closed when ws changes; nil: nobody waits
	acked   uint32          // events that the host has answered for
}

// start connects all gateways, and again when they are cut, until ctx ends.
func (f *fleet) start(ctx context.Context) {
	for _, g := range f.list {
		f.wait.Go(func() { g.run(ctx) })
	}
}

// connected returns how many are.
func (f *fleet) connected() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.up
}

// addresses differ between failures that are the same.
var addresses = regexp.MustCompile(`\d+\.\d+\.\d+\.\d+:\d+(->)?`)

// fail counts a failure by its words, without addresses.
func (f *fleet) fail(err error) {
	text, _, _ := strings.Cut(err.Error(), "\n")
	text = addresses.ReplaceAllString(text, "…")
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.failures) >= mostFailures && f.failures[text] == 0 {
		text = "others"
	}
	f.failures[text]++
}

// mostFailures bounds the causes that are told apart.
const mostFailures = 50

// Delays before a gateway tries again.
const (
	redialLeast = 500 * time.Millisecond
	redialMost  = 8 * time.Second
)

func (g *loadGateway) run(ctx context.Context) {
	delay := redialLeast
	for attempt := 0; ctx.Err() == nil; attempt++ {
		ws, err := g.join(ctx, attempt)
		if err == nil {
			delay = redialLeast
			err = g.serve(ctx, ws)
		}
		if ctx.Err() != nil {
			return
		}
		g.f.fail(err)
		// The serial spreads them: a thousand that are cut do not come at once.
		spread := delay * time.Duration(g.n%16) / 16
		select {
		case <-time.After(delay/2 + spread/2):
		case <-ctx.Done():
		}
		delay = min(2*delay, redialMost)
	}
}

// join gets credentials and connects, as engage.md section 1 says; the next
// attempt is with the next host.
func (g *loadGateway) join(ctx context.Context, attempt int) (*websocket.Conn, error) {
	f := g.f
	select {
	case f.slots <- struct{}{}:
		defer func() { <-f.slots }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	for now := time.Now(); now.Unix() == g.stamp; now = time.Now() {
		time.Sleep(time.Until(now.Truncate(time.Second).Add(time.Second)))
	}
	began := time.Now()
	g.stamp = began.Unix()
	base := f.hosts[(g.n+attempt)%len(f.hosts)]
	password, err := g.credentials(ctx, base, began)
	if err != nil {
		return nil, fmt.Errorf("credentials: %w", err)
	}
	d := websocket.Dialer{TLSClientConfig: f.tls, Subprotocols: []string{uplink.SubProtocol}, HandshakeTimeout: 30 * time.Second,
		ReadBufferSize: 1024, WriteBufferSize: 1024, WriteBufferPool: &writeBuffers}
	head := http.Header{"Authorization": {"Basic " + base64.StdEncoding.EncodeToString([]byte(g.serial.String()+":"+password))}}
	ws, resp, err := d.DialContext(ctx, "wss"+strings.TrimPrefix(base, "https")+f.path, head)
	if err != nil {
		if resp != nil {
			err = fmt.Errorf("%w: %s", err, resp.Status)
		}
		return nil, fmt.Errorf("upgrade: %w", err)
	}
	// A host subscribes first of all (section 2).
	_ = ws.SetReadDeadline(time.Now().Add(30 * time.Second))
	_, first, err := ws.ReadMessage()
	if err == nil && !bytes.Contains(first, []byte(`"subscription"`)) {
		err = fmt.Errorf("the host begins with %.80q", first)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("subscription: %w", err), ws.Close())
	}
	_ = ws.SetReadDeadline(time.Time{})
	f.mu.Lock()
	defer f.mu.Unlock()
	f.joined = append(f.joined, time.Since(began))
	return ws, nil
}

// writeBuffers are shared, so that a gateway at rest has none.
var writeBuffers sync.Pool

func (g *loadGateway) credentials(ctx context.Context, base string, at time.Time) (string, error) {
	token, err := uplink.NewToken(g.f.key, g.serial, at.UTC())
	if err != nil {
		return "", err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+uplink.CredentialsPath, strings.NewReader(token.Encode()))
	if err != nil {
		return "", err
	}
	web := &http.Client{Timeout: 60 * time.Second, Transport: &http.Transport{TLSClientConfig: g.f.tls, DisableKeepAlives: true}}
	resp, err := web.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1024))
	if err == nil && (resp.StatusCode != http.StatusOK || len(body) != 44) {
		err = fmt.Errorf("status %s: %.200q", resp.Status, body)
		if resp.StatusCode == http.StatusOK {
			err = fmt.Errorf("a password of %d characters", len(body))
		}
	}
	return string(body), err
}

// serve reads until the connection ends.
func (g *loadGateway) serve(ctx context.Context, ws *websocket.Conn) error {
	stop := context.AfterFunc(ctx, func() { _ = ws.Close() })
	defer stop()
	ws.SetPongHandler(func(payload string) error {
		select {
		case g.answered <- payload:
		default: // nobody waits for so many
		}
		return nil
	})
	g.set(ws)
	defer g.set(nil)
	for {
		_, frame, err := ws.ReadMessage()
		if err == nil {
			err = g.answer(frame)
		}
		if err != nil {
			_ = ws.Close()
			return fmt.Errorf("connection: %w", err)
		}
	}
}

// set notes that the gateway is connected, or not.
func (g *loadGateway) set(ws *websocket.Conn) {
	g.mu.Lock()
	g.ws = ws
	if g.changed != nil {
		close(g.changed)
		g.changed = nil
	}
	g.mu.Unlock()
	g.f.mu.Lock()
	defer g.f.mu.Unlock()
	if ws != nil {
		g.f.up++
	} else {
		g.f.up--
	}
}

// answer answers a request of the host.
func (g *loadGateway) answer(frame []byte) error {
	var m struct {
		ID      *uint32 `json:"requestId"`
		Request struct {
			Path string `json:"path"`
		} `json:"request"`
	}
	if err := json.Unmarshal(frame, &m); err != nil {
		return fmt.Errorf("the host sent %.80q: %w", frame, err)
	}
	if m.ID == nil {
		return nil // another subscription
	}
	status, body := "404", `{\"statusMessage\":\"Not found\"}`
	if m.Request.Path == requestPath {
		status, body = "200", `{\"linkList\":[{\"linkId\":\"dev00000\",\"linkCommStatus\":\"Connected\",\"deviceName\":\"`+g.serial.String()+`\",\"modelType\":\"control\",\"deviceId\":\"a100000000002479\"}]}`
	}
	return g.write(fmt.Appendf(nil, `{"requestId":%d,"response":{"status":"%s","messageBody":"%s"}}`, *m.ID, status, body))
}

// requestPath is the resource that the load asks for.
const requestPath = "/edgeDevices/linkList"

// errAway is returned while a gateway is not connected.
var errAway = errors.New("not connected")

// write sends text messages one after the other.
func (g *loadGateway) write(frames ...[]byte) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ws == nil {
		return errAway
	}
	for _, f := range frames {
		if err := g.ws.WriteMessage(websocket.TextMessage, f); err != nil {
			return err
		}
	}
	return nil
}

// ask sends a ping after what was written and waits for its answer: then the
// host has stored what came before (engage.md, end of section 3, and iphost's
// promise).
func (g *loadGateway) ask(ctx context.Context, payload string) error {
	g.mu.Lock()
	ws := g.ws
	if g.changed == nil {
		g.changed = make(chan struct{})
	}
	cut := g.changed
	g.mu.Unlock()
	if ws == nil {
		return errAway
	}
	if err := ws.WriteControl(websocket.PingMessage, []byte(payload), time.Now().Add(10*time.Second)); err != nil {
		return err
	}
	timeout := time.NewTimer(time.Minute)
	defer timeout.Stop()
	for {
		select {
		case got := <-g.answered:
			if got == payload {
				return nil
			}
		case <-cut:
			return errAway
		case <-timeout.C:
			return errors.New("a ping was not answered within a minute")
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// back waits until the gateway is connected.
func (g *loadGateway) back(ctx context.Context) error {
	for {
		g.mu.Lock()
		if g.ws != nil {
			g.mu.Unlock()
			return nil
		}
		if g.changed == nil {
			g.changed = make(chan struct{})
		}
		changed := g.changed
		g.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// report sends the events after the last that the host has answered for, n of
// them, until it has answered for these too, and returns how long the last try
// took. A cut sends them again.
func (g *loadGateway) report(ctx context.Context, n int) (time.Duration, error) {
	frames := make([][]byte, n)
	for i := range frames {
		frames[i] = fmt.Appendf(nil, `{"eventId":%d,"event":{"eventType":"Audit","source":"edgeDevice","deviceId":"a100000000002479","eventBody":"{\"edgeDevice\":{\"linkId\":\"dev00000\",\"audits\":[{\"event\":\"07040000\",\"time\":\"%s\"}]}}"}}`,
			g.acked+uint32(i)+1, time.Now().UTC().Format("20060102150405"))
	}
	for try := 0; ; try++ {
		if err := g.back(ctx); err != nil {
			return 0, err
		}
		began := time.Now()
		err := g.write(frames...)
		if err == nil {
			err = g.ask(ctx, fmt.Sprintf("%d-%d", g.acked, try))
		}
		if err == nil {
			g.acked += uint32(n)
			return time.Since(began), nil
		}
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
		g.f.fail(fmt.Errorf("events: %w", err))
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// checkHosts brings the URLs into form.
func checkHosts(list string) ([]string, error) {
	var out []string
	for s := range strings.SplitSeq(list, ",") {
		u, err := url.Parse(strings.TrimSpace(s))
		if err != nil || u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") != "" {
			return nil, fmt.Errorf("-host %q: want https://HOST:PORT", s)
		}
		out = append(out, "https://"+u.Host)
	}
	return out, nil
}
