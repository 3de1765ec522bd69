package uplink_test

import (
	"context"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse/agent/site"
	"gatehouse/agent/uplink"
	"gatehouse/certs"
	"gatehouse/certs/certstest"
)

// memLog is an event log in memory.
type memLog struct {
	bell
	mu     sync.Mutex
	id     site.LogID
	events []site.Event
	last   site.EventSeq
	fail   error
}

func (l *memLog) add(n int, kind site.Kind) {
	l.mu.Lock()
	for range n {
		l.last++
		l.events = append(l.events, site.Event{Log: l.id, Seq: l.last, Kind: kind, Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)})
	}
	l.mu.Unlock()
	l.ring()
}

func (l *memLog) Last() site.EventSeq {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last
}

func (l *memLog) ID() site.LogID {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.id
}

func (l *memLog) Read(_ context.Context, from site.EventSeq, limit, _ int) ([]site.Event, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fail != nil {
		return nil, l.fail
	}
	i, _ := slices.BinarySearchFunc(l.events, from, func(e site.Event, s site.EventSeq) int { return int(e.Seq) - int(s) })
	return slices.Clone(l.events[i:min(i+limit, len(l.events))]), nil
}

func (l *memLog) Wait(ctx context.Context, after site.EventSeq) error {
	for {
		ch := l.wait()
		if l.Last() > after {
			return nil
		}
		select {
		case <-ch:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// memCursor is a cursor in memory.
type memCursor struct {
	mu    sync.Mutex
	at    site.EventSeq
	known bool
	fail  error
	moves []site.EventSeq
	hold  chan struct{} // Advance waits until it is closed; nil: it does not
}

func (c *memCursor) Position() site.EventSeq { c.mu.Lock(); defer c.mu.Unlock(); return c.at }
func (c *memCursor) Known() bool             { c.mu.Lock(); defer c.mu.Unlock(); return c.known }
func (c *memCursor) Advance(s site.EventSeq) error {
	if c.hold != nil {
		<-c.hold
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fail != nil {
		return c.fail
	}
	c.at, c.known = max(c.at, s), true
	c.moves = append(c.moves, s)
	return nil
}

func (c *memCursor) setFail(err error) { c.mu.Lock(); defer c.mu.Unlock(); c.fail = err }

// memKeeper is a Keeper in memory.
type memKeeper struct {
	mu   sync.Mutex
	data []byte
	fail error
}

func (k *memKeeper) Load() ([]byte, error) { k.mu.Lock(); defer k.mu.Unlock(); return k.data, k.fail }
func (k *memKeeper) Save(b []byte) error   { k.mu.Lock(); defer k.mu.Unlock(); k.data = b; return nil }

// convert: doors are edge devices, the clock is the gateway's, the rest never
// leaves.
func convert(e site.Event) (uplink.Message, bool) {
	m := uplink.Message{Source: uplink.SourceEdgeDevice, Type: "Audit", DeviceID: "a100000000002479", Body: fmt.Sprintf(`{"seq":%d,"log":%q}`, e.Seq, e.Log)}
	switch e.Kind {
	case site.KindDoorOpened:
		return m, true
	case site.KindClock:
		m.Source = uplink.SourceGateway
		return m, true
	}
	return uplink.Message{}, false
}

type handlerFunc func(ctx context.Context, req uplink.Request) uplink.Response

func (f handlerFunc) Handle(ctx context.Context, req uplink.Request) uplink.Response {
	return f(ctx, req)
}

// pinRoot joins a Pin as app does.
type pinRoot struct{ *certs.Pin }

func (p pinRoot) Current() (*x509.CertPool, string) {
	pool, info := p.Pin.Current()
	return pool, info.String()
}

// world is a gateway's side and a host's.
type world struct {
	*host
	ca     *certstest.CA
	caSrv  *certstest.Server
	pin    *certs.Pin
	log    *memLog
	gw, ed *memCursor
	keep   *memKeeper
	cfg    uplink.Config
	deps   uplink.Deps
	ticks  atomic.Int64
	client *uplink.Client
	stop   func()
}

func newWorld(tb testing.TB) *world {
	tb.Helper()
	w := &world{ca: certstest.NewCA(tb, "root one"), log: &memLog{id: "5f3a9c01"}, gw: &memCursor{}, ed: &memCursor{}, keep: &memKeeper{}}
	w.host = newHost(tb, w.ca)
	w.caSrv = certstest.NewServer(tb, unhex(tb, testKey), w.ca)
	var err error
	w.pin, err = certs.Load(certs.Config{URL: w.caSrv.URL, Serial: serial(tb, gatewaySerial), Key: unhex(tb, testKey), File: filepath.Join(tb.TempDir(), "root.der")})
	if err != nil {
		tb.Fatal(err)
	}
	w.cfg = uplink.Config{
		ServerURL: w.url(), Serial: serial(tb, gatewaySerial), Key: unhex(tb, testKey),
		MinDelay: time.Millisecond, MaxDelay: 5 * time.Millisecond,
		Proxy: func(*http.Request) (u *url.URL, err error) { return nil, nil },
	}
	start := time.Now()
	w.deps = uplink.Deps{
		Root: pinRoot{w.pin}, Keep: w.keep,
		Handler: handlerFunc(func(_ context.Context, r uplink.Request) uplink.Response {
			return uplink.Response{Status: 200, Body: r.Method + " " + r.Path + " " + r.Body}
		}),
		Events: uplink.Events{Log: w.log, Gateway: w.gw, EdgeDevice: w.ed, Convert: convert},
		// Each look at the clock is a second later, so that no token repeats.
		Clock: func() site.Clock {
			return site.Clock{Now: start.Add(time.Duration(w.ticks.Add(1)) * time.Second), Trusted: true}
		},
	}
	return w
}

// run starts the client; it ends with the test, or with stop.
func (w *world) run() {
	w.tb.Helper()
	c, err := uplink.New(w.cfg, w.deps)
	if err != nil {
		w.tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	w.client = c
	w.stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				w.tb.Errorf("Run: %v", err)
			}
		case <-time.After(20 * time.Second):
			w.tb.Error("Run does not end")
		}
	})
	w.tb.Cleanup(w.stop)
}

// untilFailed waits for a stage to have failed, and returns it.
func (w *world) untilFailed(name uplink.StageName) uplink.Stage {
	w.tb.Helper()
	var st uplink.Stage
	w.until(w.tb, fmt.Sprintf("stage %s fails", name), func() bool {
		s := w.client.Status()
		if s.Failure != nil && s.Failure.Name == name {
			st = *s.Failure
			return true
		}
		i := slices.IndexFunc(s.Stages, func(st uplink.Stage) bool { return st.Name == name && st.State == uplink.StateFailed })
		if i >= 0 {
			st = s.Stages[i]
		}
		return i >= 0
	})
	return st
}
