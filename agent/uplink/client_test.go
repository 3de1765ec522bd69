package uplink_test

import (
	"encoding/json"
	"net/http"
	"strings"
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
	began := make(chan uplink.Source, 10)
	w.deps.Events.Began = func(s uplink.Source) { began <- s }
	w.run()
	hc := w.conn(0)
	w.untilEvents(4)
	if a, b := <-began, <-began; a != uplink.SourceGateway || b != uplink.SourceEdgeDevice || len(began) != 0 {
		t.Errorf("began: %s, %s and %d more", a, b, len(began))
	}
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

// TestPings: a host's pings are answered, and the gateway pings when it is
// quiet.
func TestPings(t *testing.T) {
	w := newWorld(t)
	pongs := make(chan string, 1)
	w.onConn = func(hc *hostConn) {
		hc.ws.SetPongHandler(func(p string) error { pongs <- p; return nil })
	}
	var pings atomic.Int64
	w.onPing = func(*hostConn, string) bool { pings.Add(1); return true }
	w.cfg.Ping = 10 * time.Millisecond
	w.run()
	hc := w.conn(0)
	if err := hc.ws.WriteControl(websocket.PingMessage, []byte("are you there"), time.Now().Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	if p := <-pongs; p != "are you there" {
		t.Errorf("pong %q", p)
	}
	w.until(t, "the gateway pings when it is quiet", func() bool { return pings.Load() > 3 })
	w.until(t, "both are subscribed", func() bool { return w.ed.Known() && w.gw.Known() })
	before := pings.Load()
	w.until(t, "it also does while events come that never leave", func() bool {
		w.log.add(1, site.KindSignIn)
		return pings.Load() > before+3
	})
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
