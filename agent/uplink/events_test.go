package uplink_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gorilla/websocket"

	"gatehouse/agent/site"
	"gatehouse/agent/uplink"
)

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

// TestWaitingWithoutHost: what waits is known after a restart before any host has
// subscribed.
func TestWaitingWithoutHost(t *testing.T) {
	w := newWorld(t)
	w.log.add(7, site.KindDoorOpened)
	if err := w.ed.Advance(3); err != nil {
		t.Fatal(err)
	}
	w.subscribe = ""
	w.run()
	w.conn(0).ask(1, "GET", "/", "")
	if got := w.client.Status().Waiting; got != 4 {
		t.Errorf("%d events wait, want 4", got)
	}
}

// TestHearsWhatItAsked: what a host asks right after its first subscription makes
// an event that it gets, however long the disk takes to keep the first position.
func TestHearsWhatItAsked(t *testing.T) {
	w := newWorld(t)
	w.log.add(7, site.KindDoorOpened)
	w.gw.hold = make(chan struct{})
	w.deps.Handler = handlerFunc(func(context.Context, uplink.Request) uplink.Response {
		w.log.add(1, site.KindDoorOpened)
		close(w.gw.hold)
		return uplink.Response{Status: 200}
	})
	w.run()
	w.conn(0).ask(1, "PUT", "/", "")
	if got := w.untilEvents(1); got[0].id != 8 {
		t.Errorf("the first event is %d, want 8", got[0].id)
	}
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
	w.onPing = func(hc *hostConn, p string) bool {
		if hc.n == 0 {
			payloads <- p
		}
		return hc.n > 0
	}
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

// TestSkipped: what is not for a host moves the cursors too, at the latest when
// the agent stops, and makes no traffic.
func TestSkipped(t *testing.T) {
	w := newWorld(t)
	w.cfg.FromOldest = true
	w.log.add(2000, site.KindSignIn)
	w.run()
	w.until(t, "nothing waits", func() bool {
		st := w.client.Status()
		return len(st.Subscribed) == 2 && w.gw.Known() && st.Waiting == 0
	})
	w.stop()
	if w.ed.Position() != 2000 || w.gw.Position() != 2000 || len(w.got()) != 0 {
		t.Errorf("cursors at %d and %d, %d events", w.ed.Position(), w.gw.Position(), len(w.got()))
	}
	if n := len(w.ed.moves); n > 3 {
		t.Errorf("%d writes to the disk for what is not sent", n)
	}
}
