package notify_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse/agent/notify"
	"gatehouse/agent/site"
)

const serial = "0000000000000000A0B1000000000206"

// memLog is an event log in memory.
type memLog struct {
	mu     sync.Mutex
	events []site.Event
	news   chan struct{}
	fail   error
}

func newLog() *memLog { return &memLog{news: make(chan struct{})} }

func (l *memLog) Append(ev site.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	ev.Log, ev.Seq, ev.Trusted = "5f3a9c01", site.EventSeq(len(l.events)+1), true
	if ev.Time.IsZero() {
		ev.Time = time.Now()
	}
	l.events = append(l.events, ev)
	close(l.news)
	l.news = make(chan struct{})
}

func (l *memLog) Read(ctx context.Context, from site.EventSeq, limit, _ int) ([]site.Event, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fail != nil {
		return nil, l.fail
	}
	i := min(int(max(from, 1))-1, len(l.events))
	return slices.Clone(l.events[i:min(i+limit, len(l.events))]), ctx.Err()
}

func (l *memLog) Wait(ctx context.Context, after site.EventSeq) error {
	for {
		l.mu.Lock()
		last, news := len(l.events), l.news
		l.mu.Unlock()
		if last > int(after) {
			return nil
		}
		select {
		case <-news:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (l *memLog) Last() site.EventSeq {
	l.mu.Lock()
	defer l.mu.Unlock()
	return site.EventSeq(len(l.events))
}

// skips are the texts of the fault events about receivers.
func (l *memLog) skips() (out []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, ev := range l.events {
		if ev.Kind == site.KindFault && ev.Count > 0 {
			out = append(out, ev.Text)
		}
	}
	return out
}

// memCursor outlives its receivers.
type memCursor struct {
	mu     sync.Mutex
	at     site.EventSeq
	known  bool
	writes int
	fail   error
}

func (c *memCursor) Position() site.EventSeq { c.mu.Lock(); defer c.mu.Unlock(); return c.at }
func (c *memCursor) Known() bool             { c.mu.Lock(); defer c.mu.Unlock(); return c.known }

func (c *memCursor) written() int { c.mu.Lock(); defer c.mu.Unlock(); return c.writes }

func (c *memCursor) Advance(seq site.EventSeq) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fail != nil {
		return c.fail
	}
	c.at, c.known = max(c.at, seq), true
	c.writes++
	return nil
}

// wire is a network of pipes to one server.
type wire struct {
	mu    sync.Mutex
	down  bool
	conns chan net.Conn
	done  chan struct{}
	dials []time.Time
}

func newWire() *wire { return &wire{conns: make(chan net.Conn), done: make(chan struct{})} }

var errDown = errors.New("network is unreachable")

func (w *wire) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	w.mu.Lock()
	down := w.down
	w.dials = append(w.dials, time.Now())
	w.mu.Unlock()
	if down {
		return nil, errDown
	}
	near, far := net.Pipe()
	select {
	case w.conns <- far:
		return near, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (w *wire) cut(down bool) { w.mu.Lock(); defer w.mu.Unlock(); w.down = down }

func (w *wire) tries() []time.Time { w.mu.Lock(); defer w.mu.Unlock(); return slices.Clone(w.dials) }

// Accept, Close and Addr make it a listener.
func (w *wire) Accept() (net.Conn, error) {
	select {
	case c := <-w.conns:
		return c, nil
	case <-w.done:
		return nil, net.ErrClosed
	}
}

func (w *wire) Close() error {
	select {
	case <-w.done:
	default:
		close(w.done)
	}
	return nil
}

func (w *wire) Addr() net.Addr { return &net.UnixAddr{Name: "wire"} }

// desk is a webhook's server: it keeps what it has accepted.
type desk struct {
	mu    sync.Mutex
	calls []call
	// answer decides; nil: 204. It sees each call, accepted or not.
	answer func(w http.ResponseWriter, c call) int
	seen   []call
}

type call struct {
	at     time.Time
	header http.Header
	raw    []byte
	notify.Call
}

func (d *desk) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	raw, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	c := call{at: time.Now(), header: r.Header, raw: raw}
	if err := json.NewDecoder(bytes.NewReader(raw)).Decode(&c.Call); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	d.mu.Lock()
	answer := d.answer
	d.seen = append(d.seen, c)
	d.mu.Unlock()
	status := http.StatusNoContent
	if answer != nil {
		status = answer(w, c)
	}
	if status == 0 {
		return
	}
	if status < 300 {
		d.mu.Lock()
		d.calls = append(d.calls, c)
		d.mu.Unlock()
	}
	w.WriteHeader(status)
}

func (d *desk) answers(f func(w http.ResponseWriter, c call) int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.answer = f
}

// got are the numbers of the accepted events, in order.
func (d *desk) got() []site.EventSeq { d.mu.Lock(); defer d.mu.Unlock(); return numbers(d.calls) }

// tried are those of all calls.
func (d *desk) tried() []call { d.mu.Lock(); defer d.mu.Unlock(); return slices.Clone(d.seen) }

func numbers(calls []call) []site.EventSeq {
	out := []site.EventSeq{}
	for _, c := range calls {
		out = append(out, c.Event.Seq)
	}
	return out
}

// place is a site with one receiver, over restarts.
type place struct {
	t      *testing.T
	log    *memLog
	cursor *memCursor
	wire   *wire
	cfg    notify.Config
	deps   notify.Deps
	faults []string // told; guarded by log.mu
}

func newPlace(t *testing.T, cfg notify.Config) *place {
	p := &place{t: t, log: newLog(), cursor: &memCursor{}, wire: newWire(), cfg: cfg}
	p.deps = notify.Deps{Log: p.log, Cursor: p.cursor, Append: p.log.Append, Fault: p.fault,
		Holder: func(id site.HolderID) string { return map[site.HolderID]string{"h1": "Ada"}[id] },
		Site:   "Warehouse 7", Serial: serial, Dial: p.wire.dial}
	return p
}

func (p *place) fault(text string) {
	p.log.mu.Lock()
	defer p.log.mu.Unlock()
	if len(p.faults) == 0 && text != "" || len(p.faults) > 0 && p.faults[len(p.faults)-1] != text {
		p.faults = append(p.faults, text)
	}
}

// hooked is a place with a webhook on the wire.
func hooked(t *testing.T, cfg notify.Config) (*place, *desk) {
	cfg.ID, cfg.Webhook = "desk", "http://desk.example/hook"
	p, d := newPlace(t, cfg), &desk{}
	s := &http.Server{Handler: d}
	go s.Serve(p.wire)
	t.Cleanup(func() { s.Close() })
	return p, d
}

// told are the faults that were told, each change once.
func (p *place) told() []string {
	p.log.mu.Lock()
	defer p.log.mu.Unlock()
	return slices.Clone(p.faults)
}

// start runs a receiver until stop.
func (p *place) start() (r *notify.Receiver, stop func()) {
	p.t.Helper()
	r, err := notify.New(p.cfg, p.deps)
	if err != nil {
		p.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	<-r.Ready()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			p.t.Errorf("Run = %v", err)
		}
	})
	p.t.Cleanup(stop)
	return r, stop
}

// happen appends events of these kinds at the front door.
func (p *place) happen(kinds ...site.Kind) {
	for _, k := range kinds {
		p.log.Append(site.Event{Kind: k, Door: "front"})
	}
}

// after lets time pass in a bubble and everything settle.
func after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}
