package host_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/tools/iphost/bus"
	"gatehouse/tools/iphost/engage"
	"gatehouse/tools/iphost/gatewaytest"
	"gatehouse/tools/iphost/host"
	"gatehouse/tools/iphost/journal"
)

const (
	testKey = "112233445566778899aabbccddeeff112233445566778899aabbccddeeff1122"
	serialA = "0000000000000000A0B1000000000206"
)

// logs keeps what a host logs, and shows it when the test fails.
type logs struct {
	mu  sync.Mutex // guards following
	buf bytes.Buffer
}

func (l *logs) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// node is a host of a test.
type node struct {
	*host.Host
	t     *testing.T
	logs  *logs
	roots *x509.CertPool
	stop  func()
}

// start runs a host until the test ends.
func start(t *testing.T, change func(*host.Config)) *node {
	t.Helper()
	n := launch(t, change)
	n.await()
	return n
}

// launch runs a host and does not wait until it is ready.
func launch(t *testing.T, change func(*host.Config)) *node {
	t.Helper()
	n := &node{t: t, logs: &logs{}}
	cfg := host.Config{Name: "one", Dir: shortDir(t), Listen: "127.0.0.1:0", CAListen: "127.0.0.1:0", Timeout: 5 * time.Second,
		Log: slog.New(slog.NewTextHandler(n.logs, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	if change != nil {
		change(&cfg)
	}
	var err error
	if n.Host, err = host.New(cfg); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := n.Run(ctx); err != nil {
			t.Errorf("host %s: %v", cfg.Name, err)
		}
	}()
	n.stop = func() { cancel(); <-done }
	t.Cleanup(func() {
		n.stop()
		if t.Failed() {
			t.Logf("host %s:\n%s", cfg.Name, n.logs)
		}
		if strings.Contains(strings.ToLower(n.logs.String()), testKey) {
			t.Error("a site key is in the log")
		}
	})
	return n
}

// shortDir is a folder whose path is short enough for a unix socket.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "iphost")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func (n *node) await() {
	n.t.Helper()
	select {
	case <-n.Ready():
	case <-time.After(60 * time.Second):
		n.t.Fatalf("the host is not ready:\n%s", n.logs)
	}
	root, err := n.Registry().CurrentRoot(n.t.Context())
	if err != nil {
		n.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(root.DER)
	if err != nil {
		n.t.Fatal(err)
	}
	n.roots = x509.NewCertPool()
	n.roots.AddCert(cert)
}

// cluster starts n hosts that are joined by their own NATS servers.
func cluster(t *testing.T, count int, change func(i int, c *host.Config)) []*node {
	t.Helper()
	addrs := freeAddrs(t, count)
	nodes := make([]*node, count)
	for i := range nodes {
		nodes[i] = launch(t, func(c *host.Config) {
			c.Name = fmt.Sprintf("host%d", i)
			var routes []string
			for j, a := range addrs {
				if j != i {
					routes = append(routes, a)
				}
			}
			c.Bus.Cluster = &bus.Cluster{Listen: addrs[i], Routes: routes, Secret: "a secret of the test"}
			if change != nil {
				change(i, c)
			}
		})
	}
	for _, n := range nodes {
		n.await()
	}
	return nodes
}

// freeAddrs are addresses that were free a moment ago.
func freeAddrs(t *testing.T, n int) []string {
	t.Helper()
	var out []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		out = append(out, l.Addr().String())
	}
	return out
}

// site adds the test's site and a token that sees all.
func (n *node) site() (token string) {
	n.t.Helper()
	if err := n.Registry().AddSite(n.t.Context(), "demo", siteKey(n.t), ""); err != nil {
		n.t.Fatal(err)
	}
	token, err := n.Registry().AddToken(n.t.Context(), "test", "")
	if err != nil {
		n.t.Fatal(err)
	}
	return token
}

func siteKey(t testing.TB) engage.SiteKey {
	k, err := engage.ParseSiteKey(testKey)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func mustSerial(t testing.TB, s string) engage.Serial {
	serial, err := engage.ParseSerial(s)
	if err != nil {
		t.Fatal(err)
	}
	return serial
}

func (n *node) gateway(serial string) gatewaytest.Config {
	return gatewaytest.Config{URL: "https://" + n.Addr().String() + "/engage_wss", Key: siteKey(n.t), Serial: mustSerial(n.t, serial), Roots: n.roots, Wall: wall}
}

var calls atomic.Int64

// wall is a gateway's clock that never shows the same second twice: a cipher
// text is good once, and has whole seconds.
func wall() time.Time {
	return time.Now().UTC().Add(time.Duration(calls.Add(1)%240) * time.Second)
}

// connect connects a gateway and waits for its subscription.
func (n *node) connect(cfg gatewaytest.Config) *gatewaytest.Gateway {
	n.t.Helper()
	g, err := gatewaytest.Dial(n.t.Context(), cfg)
	if err == nil {
		err = g.WaitSubscribed(n.t.Context())
	}
	if err != nil {
		n.t.Fatalf("gateway %s: %v", cfg.Serial, err)
	}
	n.t.Cleanup(g.Cut)
	return g
}

func (n *node) client() *http.Client {
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: n.roots}, DisableKeepAlives: true}}
}

// reply is what the broker answered.
type reply struct {
	Status int
	From   string
	Body   string
}

// broker sends a request to the broker.
func (n *node) broker(token, method, path, body string) reply {
	n.t.Helper()
	r, err := http.NewRequestWithContext(n.t.Context(), method, "https://"+n.BrokerAddr().String()+path, strings.NewReader(body))
	if err != nil {
		n.t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := n.client().Do(r)
	if err != nil {
		n.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		n.t.Fatal(err)
	}
	return reply{res.StatusCode, res.Header.Get("Iphost-From"), string(b)}
}

// stored reads all events of a gateway through the broker, page by page.
func (n *node) stored(token, query string) []journal.Event {
	n.t.Helper()
	var out []journal.Event
	for after := ""; ; {
		r := n.broker(token, "GET", "/events?"+query+after, "")
		if r.Status != 200 {
			n.t.Fatalf("events: %+v", r)
		}
		var page journal.Page
		if err := json.Unmarshal([]byte(r.Body), &page); err != nil {
			n.t.Fatal(err)
		}
		out = append(out, page.Events...)
		if page.Next == "" {
			return out
		}
		after = "&after=" + page.Next
	}
}

// ids are the eventIds, in order.
func ids(events []journal.Event) []uint32 {
	out := []uint32{}
	for _, e := range events {
		out = append(out, e.EventID)
	}
	return out
}

// span is the numbers from a to b.
func span(a, b uint32) []uint32 {
	out := []uint32{}
	for i := a; i <= b; i++ {
		out = append(out, i)
	}
	return out
}

// eventually waits until f has no complaint. Hosts tell each other over real
// sockets, so there is no other way to see that they have.
func eventually(t *testing.T, f func() string) {
	t.Helper()
	complaint := ""
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); {
		if complaint = f(); complaint == "" {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatal(complaint)
}

func send(t *testing.T, g *gatewaytest.Gateway, from, to uint32) {
	t.Helper()
	for i := from; i <= to; i++ {
		if err := g.Write(audit(i)); err != nil {
			t.Fatal(err)
		}
	}
}

var eventTime = time.Date(2017, 11, 20, 10, 47, 17, 0, time.UTC)

func audit(id uint32) []byte {
	return gatewaytest.Audit(id, "a100000000002479", "dev00000", "07040000", eventTime)
}

func diff(t *testing.T, what string, want, got any) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s (-want +got)\n%s", what, d)
	}
}
