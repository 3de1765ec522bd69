package uplink_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gorilla/websocket"

	"gatehouse/agent/site"
	"gatehouse/agent/uplink"
)

// readLog tells of each reading.
type readLog struct {
	*memLog
	reads chan site.EventSeq
	read  func(ctx context.Context, from site.EventSeq) error // nil: nothing
}

func (l readLog) Read(ctx context.Context, from site.EventSeq, limit, size int) ([]site.Event, error) {
	l.reads <- from
	if l.read != nil {
		if err := l.read(ctx, from); err != nil {
			return nil, err
		}
	}
	return l.memLog.Read(ctx, from, limit, size)
}

// aheadWorld has a host that leaves pings of its first connection unanswered
// until pong is called.
func aheadWorld(t *testing.T) (w *world, l *readLog, pong func()) {
	w = newWorld(t)
	w.cfg.FromOldest = true
	l = &readLog{memLog: w.log, reads: make(chan site.EventSeq, 100)}
	w.deps.Events.Log = l
	pings := make(chan string, 100)
	w.onPing = func(hc *hostConn, p string) bool {
		if hc.n == 0 {
			pings <- p
		}
		return hc.n > 0
	}
	return w, l, func() {
		t.Helper()
		if err := w.conn(0).ws.WriteControl(websocket.PongMessage, []byte(<-pings), time.Now().Add(time.Second)); err != nil {
			t.Fatal(err)
		}
	}
}

func (l *readLog) want(t *testing.T, want ...site.EventSeq) {
	t.Helper()
	for _, w := range want {
		select {
		case got := <-l.reads:
			if got != w {
				t.Errorf("read from %d, want %d", got, w)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("not read from %d", w)
		}
	}
}

// TestOneBatchAhead: while the host has not answered for a batch the next one is
// read, once, and neither sent nor followed by another.
func TestOneBatchAhead(t *testing.T) {
	w, l, pong := aheadWorld(t)
	w.log.add(1500, site.KindDoorOpened)
	w.run()
	l.want(t, 1, 513)
	w.untilEvents(512)
	w.conn(0).ask(1, "GET", "/", "")
	if n := len(w.got()); n != 512 || len(l.reads) != 0 || w.ed.Position() != 0 {
		t.Errorf("%d events came, %d more readings, the cursor is at %d", n, len(l.reads), w.ed.Position())
	}
	pong()
	l.want(t, 1025)
	w.untilEvents(1024)
	w.conn(0).ask(2, "GET", "/", "")
	if n := len(w.got()); n != 1024 || len(l.reads) != 0 || w.ed.Position() != 512 {
		t.Errorf("%d events came, %d more readings, the cursor is at %d", n, len(l.reads), w.ed.Position())
	}
	pong()
	pong()
	w.until(t, "acknowledged", func() bool { return w.ed.Position() == 1500 })
	l.want(t, 1501) // nothing there: it waits
	wantOrder(t, w.got(), 1, 1500)
}

// TestAheadOfSubscription: a batch that was made for other subscriptions is not
// sent.
func TestAheadOfSubscription(t *testing.T) {
	const edge = `{"subscriptionId":1,"subscription":[{"source":"edgeDevice","eventingEnabled":true,"subscriptionBody":{}}]}`
	for _, tt := range []struct {
		name, change string
		want         func(id uint64) bool // of those after the first batch
		events       int
	}{
		{"one more", `{"subscriptionId":2,"subscription":[{"source":"gateway","eventingEnabled":true,"subscriptionBody":{}}]}`,
			func(id uint64) bool { return id%2 == 0 || id > 512 }, 256 + 256 + 288},
		{"the other", `{"subscriptionId":2,"subscription":[{"source":"gateway","eventingEnabled":true,"subscriptionBody":{}},{"source":"edgeDevice","eventingEnabled":false,"subscriptionBody":{}}]}`,
			func(id uint64) bool { return id%2 == 0 }, 256 + 400},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w, l, pong := aheadWorld(t)
			w.subscribe = edge
			for range 400 {
				w.log.add(1, site.KindDoorOpened)
				w.log.add(1, site.KindClock)
			}
			w.run()
			l.want(t, 1, 513)
			w.untilEvents(256)
			w.conn(0).send(tt.change)
			w.conn(0).ask(1, "GET", "/", "") // it is taken
			pong()
			l.want(t, 1)
			go func() { // the last batches
				pong()
				pong()
			}()
			got := w.untilEvents(tt.events)[256:]
			var want, ids []uint64
			for id := uint64(1); id <= 800; id++ {
				if tt.want(id) {
					want = append(want, id)
				}
			}
			for _, e := range got {
				ids = append(ids, e.id)
			}
			if diff := cmp.Diff(want, ids); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			w.until(t, "acknowledged", func() bool { return w.gw.Position() == 800 })
		})
	}
}

// TestAheadFails: what goes wrong ahead of time is tried again in time, and only
// then a failure.
func TestAheadFails(t *testing.T) {
	w, l, pong := aheadWorld(t)
	w.log.add(600, site.KindDoorOpened)
	fails := 2
	l.read = func(_ context.Context, from site.EventSeq) error {
		if from != 513 || fails == 0 {
			return nil
		}
		fails--
		return errInjected
	}
	w.run()
	l.want(t, 1, 513)
	if st := w.client.Status().Failure; st != nil {
		t.Errorf("failed ahead of time: %+v", st)
	}
	pong()
	l.want(t, 513)
	contains(t, "cause", w.untilFailed(uplink.StageQueue).Cause, "the event log", "injected")
	l.want(t, 513)
	wantOrder(t, w.untilEvents(600), 1, 600)
}

// TestAheadEnds: a connection that ends does not wait for what is made ahead on
// it, and takes nothing of it along.
func TestAheadEnds(t *testing.T) {
	w, l, _ := aheadWorld(t)
	w.log.add(600, site.KindDoorOpened)
	stuck := true
	l.read = func(ctx context.Context, from site.EventSeq) error {
		if from != 513 || !stuck {
			return nil
		}
		stuck = false
		<-ctx.Done()
		return ctx.Err()
	}
	w.run()
	l.want(t, 1, 513)
	w.untilEvents(512)
	w.conn(0).drop()
	l.want(t, 1, 513)
	wantOrder(t, w.untilEvents(512+600), 1, 600)
	w.until(t, "acknowledged", func() bool { return w.ed.Position() == 600 })
}

// TestUnsayableAhead: an event that cannot be put into words is counted when its
// turn has come, once.
func TestUnsayableAhead(t *testing.T) {
	w, l, pong := aheadWorld(t)
	w.deps.Events.Convert = func(e site.Event) (uplink.Message, bool) {
		m, ok := convert(e)
		if e.Seq == 600 {
			m.Source = "elsewhere"
		}
		return m, ok
	}
	w.log.add(700, site.KindDoorOpened)
	w.run()
	l.want(t, 1, 513)
	w.untilEvents(512)
	if n := w.client.Status().Skipped; n != 0 {
		t.Errorf("%d skipped ahead of time", n)
	}
	pong()
	w.untilEvents(699)
	pong()
	w.until(t, "acknowledged", func() bool { return w.ed.Position() == 700 })
	if n := w.client.Status().Skipped; n != 1 {
		t.Errorf("%d skipped, want 1", n)
	}
}
