package uplink_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gorilla/websocket"

	"gatehouse/agent/site"
	"gatehouse/agent/task"
	"gatehouse/agent/uplink"
	"gatehouse/store/spool"
)

type urlURL = url.URL

var (
	_ task.Task     = (*uplink.Client)(nil)
	_ uplink.Log    = (*spool.Log)(nil)
	_ uplink.Cursor = (*spool.Cursor)(nil)
	_ uplink.Health = (*task.Health)(nil)
)

func TestLink(t *testing.T) {
	w := newWorld(t)
	w.cfg.FromOldest = true
	w.log.add(3, site.KindDoorOpened)
	w.log.add(1, site.KindSignIn) // never leaves
	w.log.add(1, site.KindClock)
	w.run()
	hc := w.conn(0)
	w.untilEvents(4)
	if diff := cmp.Diff([]uint64{1, 2, 3, 5}, w.ids()); diff != "" {
		t.Errorf("events (-want +got)\n%s", diff)
	}
	w.until(t, "the cursors move", func() bool { return w.ed.Position() == 5 && w.gw.Position() == 5 })
	if got, want := hc.ask(2147483647, "GET", "//gateway/time", "{}"), (answer{"200", "GET //gateway/time {}"}); got != want {
		t.Errorf("answer %v, want %v", got, want)
	}
	w.mu.Lock()
	hd := w.headers[0]
	w.mu.Unlock()
	if got := hd.Get("Sec-Websocket-Protocol") + hd.Get("Sec-Websocket-Version"); got != uplink.SubProtocol+"13" {
		t.Errorf("upgrade with %s", got)
	}
	w.until(t, "the answer is counted", func() bool { return w.client.Status().Requests == 1 })
	st := w.client.Status()
	if _, failed := st.Failed(); failed || !st.Connected || st.Sent != 4 || st.Waiting != 0 || st.Requests != 1 || len(st.Subscribed) != 2 {
		t.Errorf("status %+v", st)
	}
	var names []string
	for _, s := range st.Stages {
		names = append(names, string(s.Name)+" "+string(s.State))
	}
	want := []string{"dns ok", "tcp ok", "tls ok", "root ok", "credentials ok", "upgrade ok", "subscription ok", "queue ok"}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("stages (-want +got)\n%s", diff)
	}
	if b, err := json.Marshal(st); err != nil || strings.Contains(string(b), w.password) {
		t.Errorf("status as JSON: %s, %v", b, err)
	}
}

// TestStartNow: the first subscription ever begins where the log ends, and that
// is durable; later ones go on.
func TestStartNow(t *testing.T) {
	w := newWorld(t)
	w.log.add(7, site.KindDoorOpened)
	w.run()
	w.until(t, "the first position is durable", w.ed.Known)
	w.log.add(2, site.KindDoorOpened)
	w.until(t, "acknowledged", func() bool { return w.ed.Position() == 9 })
	w.stop()
	w.log.add(3, site.KindDoorOpened) // while nobody runs
	w.run()
	wantOrder(t, w.untilEvents(5), 8, 12)
}

// TestNothingWithoutSubscription: each connection waits for its own.
func TestNothingWithoutSubscription(t *testing.T) {
	w := newWorld(t)
	w.cfg.FromOldest, w.subscribe = true, ""
	w.log.add(5, site.KindDoorOpened)
	w.log.add(5, site.KindClock)
	w.run()
	hc := w.conn(0)
	hc.ask(1, "GET", "/", "")
	if len(w.got()) != 0 || w.ed.Known() || w.gw.Known() {
		t.Errorf("events without a subscription: %v", w.ids())
	}
	gateway := `{"subscriptionId":1,"subscription":[{"source":"gateway","eventingEnabled":%v,"subscriptionBody":{}}]}`
	hc.send(fmt.Sprintf(gateway, true))
	wantOrder(t, w.untilEvents(5), 6, 10)
	w.until(t, "its cursor moves", func() bool { return w.gw.Position() == 10 })
	if w.ed.Known() {
		t.Error("the cursor of the other source moved")
	}
	hc.send(`{"subscriptionId":2,"subscription":[{"source":"edgeDevice","eventingEnabled":true,"subscriptionBody":{}}]}`)
	w.untilEvents(10)
	if diff := cmp.Diff([]uint64{6, 7, 8, 9, 10, 1, 2, 3, 4, 5}, w.ids()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	hc.send(fmt.Sprintf(gateway, false))
	w.until(t, "the gateway is off", func() bool { return len(w.client.Status().Subscribed) == 1 })
	w.log.add(1, site.KindClock)
	w.log.add(1, site.KindDoorOpened)
	w.untilEvents(11)
	w.until(t, "the cursor moves", func() bool { return w.ed.Position() == 12 })
	if got := w.ids(); got[10] != 12 || w.gw.Position() != 10 {
		t.Errorf("events %v, gateway's cursor at %d", got, w.gw.Position())
	}
	// A new connection begins without a subscription; the cursors stand.
	w.dropAll()
	w.conn(1).ask(1, "GET", "/", "")
	if len(w.got()) != 11 {
		t.Errorf("events on a new connection without a subscription: %v", w.ids())
	}
	w.conn(1).send(subscribeAll)
	if got := w.untilEvents(12); got[11].id != 11 {
		t.Errorf("goes on with %d, want 11", got[11].id)
	}
}

// TestCursorMovesWithItsPong: neither another pong nor none moves it.
func TestCursorMovesWithItsPong(t *testing.T) {
	w := newWorld(t)
	w.cfg.FromOldest = true
	payloads := make(chan string, 100)
	w.onPing = func(_ *hostConn, p string) bool { payloads <- p; return false }
	w.log.add(1000, site.KindDoorOpened)
	w.run()
	hc := w.conn(0)
	first := <-payloads
	for _, wrong := range []string{"", "x", first + "0"} {
		if err := hc.ws.WriteControl(websocket.PongMessage, []byte(wrong), time.Now().Add(time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	hc.ask(1, "GET", "/", "") // the pongs are before this
	if n := len(w.got()); n != 512 || w.ed.Position() != 0 {
		t.Errorf("%d events came, the cursor is at %d", n, w.ed.Position())
	}
	if err := hc.ws.WriteControl(websocket.PongMessage, []byte(first), time.Now().Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	w.until(t, "the cursor moves", func() bool { return w.ed.Position() == 512 })
	if second := <-payloads; second == first {
		t.Error("two pings have one payload")
	}
	// The second batch was never answered: it comes again, and nothing else.
	w.onPing = nil
	hc.drop()
	got := w.untilEvents(1000 + 488)
	wantOrder(t, got, 1, 1000)
	if got[1000].id != 513 || got[1000].conn != 1 {
		t.Errorf("the new connection begins with %d", got[1000].id)
	}
}

// TestSlowPong: a host that does not answer is left, and gets the batch again.
func TestSlowPong(t *testing.T) {
	w := newWorld(t)
	w.cfg.FromOldest, w.cfg.PongWait = true, 30*time.Millisecond
	w.onPing = func(hc *hostConn, _ string) bool { return hc.n > 1 }
	w.log.add(10, site.KindDoorOpened)
	w.run()
	wantOrder(t, w.untilEvents(30), 1, 10)
	contains(t, "last error", w.client.Status().LastError, "has not answered a ping for 30ms")
}

// TestCutInBatch cuts after each number of events.
func TestCutInBatch(t *testing.T) {
	w := newWorld(t)
	w.cfg.FromOldest = true
	w.onEvent = func(hc *hostConn, e received) {
		if e.id == uint64(hc.n+1) && hc.n < 20 {
			hc.drop()
		}
	}
	w.log.add(20, site.KindDoorOpened)
	w.run()
	w.until(t, "all are acknowledged", func() bool { return w.ed.Position() == 20 })
	wantOrder(t, w.got(), 1, 20)
}

// cutConn ends after a number of bytes in either direction.
type cutConn struct {
	net.Conn
	left *atomic.Int64
}

func (c *cutConn) spend(n int) (int, bool) {
	left := c.left.Add(int64(-n)) + int64(n)
	if left >= int64(n) {
		return n, true
	}
	return int(max(left, 0)), false
}

func (c *cutConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if m, whole := c.spend(n); !whole {
		_ = c.Conn.Close()
		return m, errInjected
	}
	return n, err
}

func (c *cutConn) Write(p []byte) (int, error) {
	m, whole := c.spend(len(p))
	n, err := c.Conn.Write(p[:m])
	if !whole {
		_ = c.Conn.Close()
		return n, errInjected
	}
	return n, err
}

// network gives each connection what wrap makes of it.
type network struct {
	wrap func(net.Conn) net.Conn
	look func(string) ([]netip.Addr, error)
}

func (n network) Lookup(_ context.Context, name string) ([]netip.Addr, error) { return n.look(name) }

func (n network) Dial(ctx context.Context, to netip.AddrPort, _ time.Duration) (net.Conn, error) {
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", to.String())
	if err != nil || n.wrap == nil {
		return c, err
	}
	return n.wrap(c), nil
}

// TestRandomCuts cuts connections at random bytes of any phase: TLS,
// credentials, upgrade, frames, pings. Nothing is lost, the order is kept, and
// each connection goes on right after the cursor.
func TestRandomCuts(t *testing.T) {
	cuts := 60
	if os.Getenv("GATEHOUSE_FAULTS") == "full" {
		cuts = 500
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	var mu sync.Mutex
	made := 0
	w := newWorld(t)
	w.cfg.FromOldest = true
	w.deps.Network = network{wrap: func(c net.Conn) net.Conn {
		mu.Lock()
		defer mu.Unlock()
		left := new(atomic.Int64)
		left.Store(1 << 50)
		if made++; made <= cuts {
			left.Store(rng.Int64N(250_000))
		}
		return &cutConn{c, left}
	}}
	total := site.EventSeq(100 * cuts)
	w.log.add(int(total), site.KindDoorOpened)
	var begins []string
	w.onEvent = func(hc *hostConn, e received) {
		mu.Lock()
		defer mu.Unlock()
		if len(begins) <= hc.n {
			begins = append(begins, make([]string, hc.n+1-len(begins))...)
			if at := uint64(w.ed.Position()); e.id != at+1 && e.id <= at {
				begins[hc.n] = fmt.Sprintf("connection %d begins with %d, the cursor is at %d", hc.n, e.id, at)
			}
		}
	}
	w.run()
	w.until(t, "all are acknowledged", func() bool { return w.ed.Position() == total })
	got := w.got()
	wantOrder(t, got, 1, uint64(total))
	for _, b := range begins {
		if b != "" {
			t.Error(b)
		}
	}
	for i, e := range got[1:] { // a repeat is within one batch
		if before := got[i].id; e.id <= before && before-e.id >= 512 {
			t.Errorf("%d after %d: more than a batch came again", e.id, before)
		}
	}
	t.Logf("%d connections, %d events, %d of them again", w.connCount(), len(got), len(got)-int(total))
}

func TestBadMessages(t *testing.T) {
	w := newWorld(t)
	w.run()
	hc := w.conn(0)
	for i, tt := range []struct{ name, text, want string }{
		{"no JSON", "hello", ""},
		{"no id", `{"request":{}}`, ""},
		{"response", `{"requestId":1,"response":{"status":"200","messageBody":""}}`, ""},
		{"bad response", `{"requestId":1,"response":{}}`, ""},
		{"event", auditEvent, ""},
		{"bad subscription", `{"subscriptionId":1,"subscription":[{"source":"door"}]}`, ""},
		{"wrong type", `{"requestId":3,"request":{"method":1,"path":"/","messageBody":""}}`, "request.method does not satisfy type"},
		{"nothing in it", `{"requestId":4}`, "none of request"},
		{"cut JSON", `{"requestId":5,"request":`, "not JSON"},
		{"wide", `{"requestId":6,"x":[` + strings.Repeat("0,", 1<<20) + `0]}`, "more than 4096 parts"},
	} {
		hc.send(tt.text)
		if tt.want != "" {
			var id uint64
			if _, err := fmt.Sscanf(tt.text, `{"requestId":%d`, &id); err != nil {
				t.Fatal(err)
			}
			if a := hc.answer(id); a.status != "400" || !strings.Contains(a.body, `{"statusMessage":"`) || !strings.Contains(a.body, tt.want) {
				t.Errorf("%s: answer %v", tt.name, a)
			}
		}
		if a := hc.ask(uint64(100+i), "GET", "/ok", ""); a.status != "200" {
			t.Errorf("%s: then %v", tt.name, a)
		}
	}
	hc.write.Lock()
	err := hc.ws.WriteMessage(websocket.BinaryMessage, []byte(`{"requestId":7,"request":{"method":"GET","path":"/","messageBody":""}}`))
	hc.write.Unlock()
	if a := hc.ask(200, "GET", "/ok", ""); err != nil || a.status != "200" {
		t.Errorf("after a binary message: %v, %v", a, err)
	}
	hc.mu.Lock()
	_, one := hc.answers[1]
	_, seven := hc.answers[7]
	hc.mu.Unlock()
	if st := w.client.Status(); st.Malformed != 11 || one || seven || w.connCount() != 1 {
		t.Errorf("%d malformed, answered %v %v, %d connections", st.Malformed, one, seven, w.connCount())
	}
}

func TestLargestMessage(t *testing.T) {
	w := newWorld(t)
	w.deps.Handler = handlerFunc(func(_ context.Context, r uplink.Request) uplink.Response {
		return uplink.Response{Status: 200, Body: fmt.Sprint(len(r.Body))}
	})
	w.run()
	hc := w.conn(0)
	head, tail := `{"requestId":%d,"request":{"method":"PUT","path":"/x","messageBody":"`, `"}}`
	sized := func(id, size int) string {
		h := fmt.Sprintf(head, id)
		return h + strings.Repeat("x", size-len(h)-len(tail)) + tail
	}
	hc.send(sized(1, uplink.MaxMessage))
	if a := hc.answer(1); a.status != "200" || a.body != fmt.Sprint(uplink.MaxMessage-len(head)+1-len(tail)) {
		t.Errorf("8 MiB: %v", a)
	}
	hc.send(sized(2, uplink.MaxMessage+1))
	if a := hc.answer(2); a.status != "400" || !strings.Contains(a.body, "more than 8388608 bytes") {
		t.Errorf("8 MiB + 1: %v", a)
	}
	hc.send(sized(3, 3*uplink.MaxMessage))
	if a := hc.answer(3); a.status != "400" {
		t.Errorf("24 MiB: %v", a)
	}
	if a := hc.ask(4, "GET", "/", ""); a.status != "200" || w.connCount() != 1 {
		t.Errorf("afterwards: %v, %d connections", a, w.connCount())
	}
	// One without end is not read for ever.
	hc.write.Lock()
	out, err := hc.ws.NextWriter(websocket.TextMessage)
	for piece := []byte(strings.Repeat("x", 1<<20)); err == nil; {
		_, err = out.Write(piece)
	}
	hc.write.Unlock()
	w.conn(1)
	w.until(t, "the cause is told", func() bool { return strings.Contains(w.client.Status().LastError, "a message of more than") })
}

func TestLargeAnswer(t *testing.T) {
	w := newWorld(t)
	w.deps.Handler = handlerFunc(func(_ context.Context, r uplink.Request) uplink.Response {
		size := uplink.MaxMessage - 1000
		if r.Path == "/more" {
			size = uplink.MaxMessage
		}
		return uplink.Response{Status: 200, Body: strings.Repeat("x", size)}
	})
	w.run()
	hc := w.conn(0)
	if a := hc.ask(1, "GET", "/", ""); a.status != "200" || len(a.body) != uplink.MaxMessage-1000 {
		t.Errorf("status %s, %d bytes", a.status, len(a.body))
	}
	if a := hc.ask(2, "GET", "/more", ""); a.status != "500" {
		t.Errorf("too large: %s, %d bytes", a.status, len(a.body))
	}
}

// TestManyRequests: ten thousand at once, none of which ends.
func TestManyRequests(t *testing.T) {
	w := newWorld(t)
	release := make(chan struct{})
	var running, most atomic.Int64
	w.deps.Handler = handlerFunc(func(_ context.Context, r uplink.Request) uplink.Response {
		most.Store(max(most.Load(), running.Add(1)))
		defer running.Add(-1)
		if r.Path == "/panic" {
			panic("injected")
		}
		<-release
		return uplink.Response{Status: 200}
	})
	w.run()
	hc := w.conn(0)
	for i := range 10_000 {
		hc.send(fmt.Sprintf(`{"requestId":%d,"request":{"method":"GET","path":"/","messageBody":""}}`, i))
	}
	w.until(t, "the surplus is refused", func() bool { return w.client.Status().Refused == 10_000-256 })
	close(release)
	count := map[string]int{}
	for i := range 10_000 {
		count[hc.answer(uint64(i)).status]++
	}
	if diff := cmp.Diff(map[string]int{"200": 256, "503": 10_000 - 256}, count); diff != "" || most.Load() > 8 {
		t.Errorf("%d at once (-want +got)\n%s", most.Load(), diff)
	}
	if a := hc.ask(20_000, "GET", "/panic", ""); a.status != "500" || w.connCount() != 1 {
		t.Errorf("a panic: %v", a)
	}
}

// TestRequestOutlivesConnection: what was accepted is carried out.
func TestRequestOutlivesConnection(t *testing.T) {
	w := newWorld(t)
	begun, release, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	w.deps.Handler = handlerFunc(func(ctx context.Context, _ uplink.Request) uplink.Response {
		close(begun)
		<-release
		ended <- ctx.Err()
		return uplink.Response{Status: 200}
	})
	w.run()
	hc := w.conn(0)
	hc.send(`{"requestId":1,"request":{"method":"PUT","path":"/","messageBody":""}}`)
	<-begun
	hc.drop()
	w.conn(1)
	close(release)
	if err := <-ended; err != nil {
		t.Errorf("it was cut short: %v", err)
	}
}

// TestPings: a host's pings are answered, also in the middle of a request.
func TestPings(t *testing.T) {
	w := newWorld(t)
	pongs := make(chan string, 1)
	w.onConn = func(hc *hostConn) {
		hc.ws.SetPongHandler(func(p string) error { pongs <- p; return nil })
	}
	w.cfg.Ping = 10 * time.Millisecond
	w.run()
	hc := w.conn(0)
	if err := hc.ws.WriteControl(websocket.PingMessage, []byte("are you there"), time.Now().Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	if p := <-pongs; p != "are you there" {
		t.Errorf("pong %q", p)
	}
	var n atomic.Int64
	w.onPing = nil
	w.until(t, "the gateway pings when it is quiet", func() bool { n.Add(1); return n.Load() > 3 })
}

// TestRenewal: connections are replaced while events and requests go on; no
// event is lost or out of order, every request is answered.
func TestRenewal(t *testing.T) {
	w := newWorld(t)
	w.cfg.FromOldest, w.cfg.Renew = true, 200*time.Millisecond
	w.run()
	const total = 3000
	w.conn(0)
	feed := make(chan struct{})
	go func() {
		defer close(feed)
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for range total {
			<-tick.C
			w.log.add(1, site.KindDoorOpened)
		}
	}()
	asked := 0
	for w.connCount() < 4 {
		hc := w.conn(w.connCount() - 1)
		asked++
		if a := hc.ask(uint64(asked), "GET", "/", ""); a.status != "200" {
			t.Errorf("answer %v", a)
		}
	}
	<-feed
	w.until(t, "all are acknowledged", func() bool { return w.ed.Position() == total })
	got := w.got()
	wantOrder(t, got, 1, total)
	if len(got) != total {
		t.Errorf("%d events came again", len(got)-total)
	}
	w.mu.Lock()
	calls, conns := w.calls, len(w.conns)
	w.mu.Unlock()
	if calls < conns {
		t.Errorf("%d connections with %d new credentials", conns, calls)
	}
	t.Logf("%d connections, %d requests", conns, asked)
}

// TestRenewalFails: the old connection serves on until its day is over.
func TestRenewalFails(t *testing.T) {
	w := newWorld(t)
	w.cfg.Renew, w.cfg.MaxAge = 50*time.Millisecond, 400*time.Millisecond
	var broken atomic.Bool
	w.onCredentials = func(_ int, rw http.ResponseWriter) bool {
		if broken.Load() {
			rw.WriteHeader(http.StatusServiceUnavailable)
		}
		return broken.Load()
	}
	w.run()
	hc := w.conn(0)
	broken.Store(true)
	w.until(t, "status says why", func() bool { return strings.Contains(w.client.Status().Renewal, "503") })
	if st := w.client.Status(); st.Connected {
		if _, failed := st.Failed(); failed {
			t.Errorf("the connection that serves is called broken: %+v", st.Stages)
		}
	}
	<-w.conn(w.connCount() - 1).done
	<-hc.done
	w.until(t, "the fault is told", func() bool { return !w.client.Status().Connected })
	broken.Store(false)
	w.until(t, "connected again", func() bool { return w.client.Status().Connected })
}

func TestNewLog(t *testing.T) {
	w := newWorld(t)
	w.cfg.FromOldest = true
	w.log.add(2, site.KindDoorOpened)
	w.run()
	w.until(t, "acknowledged", func() bool { return w.ed.Position() == 2 && w.gw.Position() == 2 })
	w.stop()
	w.log.mu.Lock()
	w.log.id, w.log.last = "0badcafe", 4_294_967_296+9
	w.log.mu.Unlock()
	w.log.add(1, site.KindDoorOpened)
	w.log.add(1, site.KindClock)
	w.run()
	got := w.untilEvents(6)[2:]
	announce := func(src string) string {
		return `{"` + src + `":{"log":"0badcafe","audits":[{"event":"06050000","time":"20260102030405"}]}}`
	}
	want := []received{
		{1, 9, announce("gateway")}, {1, 9, announce("edgeDevice")},
		{1, 10, `{"seq":4294967306,"log":"0badcafe"}`}, {1, 11, `{"seq":4294967307,"log":"0badcafe"}`},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(received{})); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	w.until(t, "acknowledged", func() bool { return w.ed.Position() == 4_294_967_307 })
	w.stop()
	w.log.add(1, site.KindDoorOpened)
	w.run()
	if got := w.untilEvents(7); got[6].id != 12 {
		t.Errorf("after a restart within the log: %+v", got[6:])
	}
}

// TestMemory: what is kept across restarts, and what when it is gone.
func TestMemory(t *testing.T) {
	for _, tt := range []struct {
		name   string
		spoil  func(w *world)
		first  uint64
		tell   bool
		events int
	}{
		{"all there", func(*world) {}, 6, false, 1},
		{"cursors gone", func(w *world) { *w.ed, *w.gw = memCursor{}, memCursor{} }, 1, false, 6},
		{"memory gone", func(w *world) { *w.keep = memKeeper{} }, 5, true, 3},
		{"memory damaged", func(w *world) { *w.keep = memKeeper{data: []byte("{")} }, 5, true, 3},
		{"memory of another version", func(w *world) { *w.keep = memKeeper{data: []byte(`{"version":2}`)} }, 5, true, 3},
		{"memory huge", func(w *world) { *w.keep = memKeeper{data: make([]byte, 1<<20)} }, 5, true, 3},
		{"all gone", func(w *world) {
			*w.ed, *w.gw, *w.keep = memCursor{}, memCursor{}, memKeeper{fail: errInjected}
		}, 0, true, 8},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.run()
			w.until(t, "begun", func() bool { return w.ed.Known() && w.gw.Known() })
			w.log.add(5, site.KindDoorOpened)
			w.until(t, "acknowledged", func() bool { return w.ed.Position() == 5 })
			w.stop()
			tt.spoil(w)
			w.log.add(1, site.KindDoorOpened)
			w.run()
			got := w.untilEvents(5 + tt.events)[5:]
			if len(got) != tt.events || got[0].id != tt.first || strings.Contains(got[0].text, "06050000") != tt.tell {
				t.Errorf("goes on with %+v", got)
			}
		})
	}
}

// TestLogAndCursorFail: nothing is skipped, and status says what is wrong.
func TestLogAndCursorFail(t *testing.T) {
	w := newWorld(t)
	w.cfg.FromOldest = true
	w.run()
	w.until(t, "begun", w.ed.Known)
	w.ed.setFail(errInjected)
	w.log.add(600, site.KindDoorOpened)
	st := w.untilFailed(uplink.StageQueue)
	contains(t, "cause", st.Cause, "the position of the uplink", "injected")
	if n := len(w.got()); n > 512+88 || w.ed.Position() != 0 {
		t.Errorf("%d events came, the cursor is at %d", n, w.ed.Position())
	}
	w.ed.setFail(nil)
	w.until(t, "acknowledged", func() bool { return w.ed.Position() == 600 })
	w.log.mu.Lock()
	w.log.fail = errInjected
	w.log.mu.Unlock()
	w.log.add(1, site.KindDoorOpened)
	st = w.untilFailed(uplink.StageQueue)
	contains(t, "cause", st.Cause, "the event log", "injected")
	w.log.mu.Lock()
	w.log.fail = nil
	w.log.mu.Unlock()
	wantOrder(t, w.untilEvents(601), 1, 601)
}

// TestUnsayable: an event that cannot be put into words does not stop the rest.
func TestUnsayable(t *testing.T) {
	w := newWorld(t)
	w.cfg.FromOldest = true
	w.deps.Events.Convert = func(e site.Event) (uplink.Message, bool) {
		m, ok := convert(e)
		switch e.Seq {
		case 2:
			m.Source = "elsewhere"
		case 3:
			m.Body = strings.Repeat("x", uplink.MaxMessage)
		}
		return m, ok
	}
	w.log.add(4, site.KindDoorOpened)
	w.run()
	w.until(t, "acknowledged", func() bool { return w.ed.Position() == 4 })
	if diff := cmp.Diff([]uint64{1, 4}, w.ids()); diff != "" || w.client.Status().Skipped != 2 {
		t.Errorf("%d skipped (-want +got)\n%s", w.client.Status().Skipped, diff)
	}
}
