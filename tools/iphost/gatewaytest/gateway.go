package gatewaytest

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
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"gatehouse/tools/iphost/engage"
)

// Config is a gateway's. URL, Key and Serial are required.
type Config struct {
	// URL is the server's, https://HOST/engage_wss.
	URL    string
	Key    engage.SiteKey
	Serial engage.Serial
	// Roots are trusted; nil: the machine's.
	Roots *x509.CertPool
	// Wall is the gateway's clock; nil: UTC now.
	Wall func() time.Time
	// Handle answers requests; nil: a State of its own. It runs on the reading
	// goroutine. Status 0 sends no answer.
	Handle func(Request) (status int, body string)
	// Dial opens connections; nil: TCP.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// Buffers, if not nil, is shared by many gateways to save memory.
	Buffers websocket.BufferPool
}

// Request is what the host asked.
type Request struct {
	ID                        uint32
	Method, Path, Query, Body string
}

// Gateway is a connected gateway.
type Gateway struct {
	cfg Config
	ws  *websocket.Conn

	subscribed chan struct{} // closed at the first subscription
	done       chan struct{} // closed when the connection has ended

	wmu sync.Mutex // guards writing

	mu            sync.Mutex // guards following
	err           error
	subscriptions []string
	requests      []Request
	pongs         map[string]chan struct{}
}

// ErrStatus is returned for an HTTP answer that is not the hoped-for one.
type ErrStatus struct {
	Status int
	Body   string
}

func (e *ErrStatus) Error() string { return fmt.Sprintf("status %d: %s", e.Status, e.Body) }

// FetchRoot gets the root certificate and checks its hash (section 4).
func FetchRoot(ctx context.Context, caURL string, key engage.SiteKey, serial engage.Serial) (*x509.Certificate, error) {
	// '+' and '=' go unescaped, as vendor devices send them.
	query := "serialNumber=" + base64.StdEncoding.EncodeToString(serial[:]) + "&hashType=primary&v=2"
	b, _, err := get(ctx, caURL+"?"+query)
	if err != nil {
		return nil, err
	}
	var where struct {
		URL  string `json:"cert_url"`
		Hash string `json:"hash"`
	}
	if err := json.Unmarshal(b, &where); err != nil {
		return nil, err
	}
	der, head, err := get(ctx, where.URL)
	if err != nil {
		return nil, err
	}
	if n := head.Get("Content-Length"); n != strconv.Itoa(len(der)) || head.Get("Transfer-Encoding") != "" {
		return nil, fmt.Errorf("Content-Length %q for %d bytes", n, len(der))
	}
	if got := engage.RootHash(key, der); got != where.Hash {
		return nil, fmt.Errorf("hash %s, the host says %s", got, where.Hash)
	}
	return x509.ParseCertificate(der)
}

func get(ctx context.Context, url string) ([]byte, http.Header, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, nil, err
	}
	return do(http.DefaultClient, r)
}

func do(c *http.Client, r *http.Request) ([]byte, http.Header, error) {
	res, err := c.Do(r)
	if err != nil {
		return nil, nil, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	if err == nil && res.StatusCode != http.StatusOK {
		err = &ErrStatus{res.StatusCode, string(b)}
	}
	return b, res.Header, err
}

// NewCredentials sends a body to the host of cfg and returns its answer.
func NewCredentials(ctx context.Context, cfg Config, body string) (string, error) {
	u, err := url.Parse(cfg.URL)
	if err != nil {
		return "", err
	}
	u.Path, u.RawQuery = "/engage/newCredentials", ""
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), bytes.NewReader([]byte(body)))
	if err != nil {
		return "", err
	}
	t := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: cfg.Roots}, DialContext: cfg.Dial, DisableKeepAlives: true}
	defer t.CloseIdleConnections()
	b, _, err := do(&http.Client{Transport: t}, r)
	return string(b), err
}

// Dial gets credentials and connects.
func Dial(ctx context.Context, cfg Config) (*Gateway, error) {
	if cfg.Wall == nil {
		cfg.Wall = func() time.Time { return time.Now().UTC() }
	}
	password, err := NewCredentials(ctx, cfg, engage.Seal(cfg.Key, cfg.Serial, cfg.Wall()))
	if err != nil {
		return nil, fmt.Errorf("newCredentials: %w", err)
	}
	if len(password) != 44 {
		return nil, fmt.Errorf("newCredentials: %d characters, want 44", len(password))
	}
	return Connect(ctx, cfg, password)
}

// Connect upgrades with a password that was got before.
func Connect(ctx context.Context, cfg Config, password string) (*Gateway, error) {
	if cfg.Handle == nil {
		cfg.Handle = new(State).Handle
	}
	u, err := url.Parse(cfg.URL)
	if err != nil {
		return nil, err
	}
	u.Scheme = "wss"
	d := websocket.Dialer{TLSClientConfig: &tls.Config{RootCAs: cfg.Roots}, Subprotocols: []string{"engage.v1.gateway.allegion.com"},
		NetDialContext: cfg.Dial, HandshakeTimeout: 30 * time.Second, ReadBufferSize: 1024, WriteBufferSize: 4096, WriteBufferPool: cfg.Buffers}
	head := http.Header{"Authorization": {"Basic " + base64.StdEncoding.EncodeToString([]byte(cfg.Serial.String()+":"+password))}}
	ws, res, err := d.DialContext(ctx, u.String(), head)
	if err != nil {
		if res != nil {
			b, _ := io.ReadAll(res.Body)
			return nil, fmt.Errorf("upgrade: %w", &ErrStatus{res.StatusCode, string(b)})
		}
		return nil, fmt.Errorf("upgrade: %w", err)
	}
	if ws.Subprotocol() != "engage.v1.gateway.allegion.com" {
		ws.Close()
		return nil, fmt.Errorf("upgrade: sub-protocol %q", ws.Subprotocol())
	}
	g := &Gateway{cfg: cfg, ws: ws, subscribed: make(chan struct{}), done: make(chan struct{}), pongs: map[string]chan struct{}{}}
	ws.SetPongHandler(g.pong)
	ws.SetPingHandler(func(p string) error {
		return ws.WriteControl(websocket.PongMessage, []byte(p), time.Now().Add(10*time.Second))
	})
	go g.read()
	return g, nil
}

func (g *Gateway) read() {
	defer close(g.done)
	for {
		_, b, err := g.ws.ReadMessage()
		if err == nil {
			err = g.message(b)
		}
		if err != nil {
			g.mu.Lock()
			g.err = err
			g.mu.Unlock()
			g.ws.Close()
			return
		}
	}
}

func (g *Gateway) message(b []byte) error {
	var m struct {
		RequestID    *uint32         `json:"requestId"`
		Subscription json.RawMessage `json:"subscription"`
		Request      struct {
			Method string `json:"method"`
			Path   string `json:"path"`
			Query  string `json:"optionalQueryStrings"`
			Body   string `json:"messageBody"`
		} `json:"request"`
	}
	if err := json.Unmarshal(b, &m); err != nil {
		return fmt.Errorf("the host sent %q: %w", b, err)
	}
	if m.Subscription != nil {
		g.mu.Lock()
		g.subscriptions = append(g.subscriptions, string(b))
		if len(g.subscriptions) == 1 {
			close(g.subscribed)
		}
		g.mu.Unlock()
		return nil
	}
	if m.RequestID == nil {
		return fmt.Errorf("the host sent %q", b)
	}
	r := Request{ID: *m.RequestID, Method: m.Request.Method, Path: m.Request.Path, Query: m.Request.Query, Body: m.Request.Body}
	g.mu.Lock()
	g.requests = append(g.requests, r)
	if len(g.requests) > keepRequests {
		g.requests = g.requests[1:]
	}
	g.mu.Unlock()
	status, body := g.cfg.Handle(r)
	if status == 0 {
		return nil
	}
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	return g.Write(fmt.Appendf(nil, `{"requestId":%d,"response":{"status":"%d","messageBody":%s}}`, r.ID, status, text))
}

// keepRequests is how many requests a Gateway remembers.
const keepRequests = 100

func (g *Gateway) pong(payload string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if c := g.pongs[payload]; c != nil {
		close(c)
		delete(g.pongs, payload)
	}
	return nil
}

// Write sends a text frame as it is.
func (g *Gateway) Write(frame []byte) error {
	g.wmu.Lock()
	defer g.wmu.Unlock()
	return g.ws.WriteMessage(websocket.TextMessage, frame)
}

// Audit is the frame of an audit event (section 2).
func Audit(eventID uint32, device, link, code string, at time.Time) []byte {
	return fmt.Appendf(nil, `{"eventId":%d,"event":{"eventType":"Audit","source":"edgeDevice","deviceId":"%s","eventBody":"{\"edgeDevice\":{\"linkId\":\"%s\",\"audits\":[{\"event\":\"%s\",\"time\":\"%s\"}]}}"}}`,
		eventID, device, link, code, at.Format("20060102150405"))
}

// Ping sends a ping with a payload of its own and waits for its pong: then the
// host has stored everything that was written before.
func (g *Gateway) Ping(ctx context.Context, payload string) error {
	c := make(chan struct{})
	g.mu.Lock()
	g.pongs[payload] = c
	g.mu.Unlock()
	if err := g.ws.WriteControl(websocket.PingMessage, []byte(payload), time.Now().Add(10*time.Second)); err != nil {
		return err
	}
	select {
	case <-c:
		return nil
	case <-g.done:
		return fmt.Errorf("no pong: %w", g.Err())
	case <-ctx.Done():
		return ctx.Err()
	}
}

// WaitSubscribed waits for the first subscription.
func (g *Gateway) WaitSubscribed(ctx context.Context) error {
	select {
	case <-g.subscribed:
		return nil
	case <-g.done:
		return g.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Done is closed when the connection has ended.
func (g *Gateway) Done() <-chan struct{} { return g.done }

// Err is why it ended; nil while it lasts.
func (g *Gateway) Err() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.err
}

// Subscriptions returns the subscription messages as they came.
func (g *Gateway) Subscriptions() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]string(nil), g.subscriptions...)
}

// Requests returns the last requests of the host.
func (g *Gateway) Requests() []Request {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]Request(nil), g.requests...)
}

// Close says goodbye and waits for the end.
func (g *Gateway) Close() error {
	err := g.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), time.Now().Add(time.Second))
	g.Cut()
	if errors.Is(err, websocket.ErrCloseSent) {
		return nil
	}
	return err
}

// Cut ends the TCP connection without a word and waits for the end.
func (g *Gateway) Cut() {
	g.ws.NetConn().Close()
	<-g.done
}
