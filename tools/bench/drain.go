package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"gatehouse/agent/site"
	"gatehouse/agent/uplink"
	"gatehouse/store/spool"
)

const (
	drainPath = "/engage_wss"
	echoPath  = "/echo"
)

// drainHost is an IP host that reads events and answers pings, and beside it on
// the same listener an echo.
type drainHost struct {
	*tlsHost

	mu sync.Mutex
	// guards following; of the drain under way
	keep   *[][]byte // frames as they came; nil: they are only counted
	begun  time.Time // of the subscription
	last   uint64    // eventId
	got    int
	broken error
}

func startDrainHost() (*drainHost, error) {
	h := &drainHost{}
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+uplink.CredentialsPath, giveCredentials)
	mux.HandleFunc("GET "+drainPath, h.take)
	mux.HandleFunc("GET "+echoPath, echo)
	var err error
	h.tlsHost, err = serveTLS(mux)
	return h, err
}

// giveCredentials lets anybody in.
func giveCredentials(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	_, _ = io.WriteString(w, base64.StdEncoding.EncodeToString(make([]byte, 32)))
}

const subscribeAll = `{"subscriptionId":1,"subscription":[{"source":"gateway","eventingEnabled":true,"subscriptionBody":{}},{"source":"edgeDevice","eventingEnabled":true,"subscriptionBody":{}}]}`

// take subscribes and reads until the connection ends. Events must come in
// order, none left out.
func (h *drainHost) take(w http.ResponseWriter, r *http.Request) {
	up := websocket.Upgrader{Subprotocols: []string{uplink.SubProtocol}}
	ws, err := up.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer ws.Close()
	h.mu.Lock()
	h.begun, h.last, h.got = time.Now(), 0, 0
	h.mu.Unlock()
	if ws.WriteMessage(websocket.TextMessage, []byte(subscribeAll)) != nil {
		return
	}
	for {
		_, frame, err := ws.ReadMessage()
		if err != nil {
			return
		}
		h.mu.Lock()
		h.event(frame)
		h.mu.Unlock()
	}
}

// event notes one. The caller holds mu.
func (h *drainHost) event(frame []byte) {
	rest, ok := bytes.CutPrefix(frame, []byte(`{"eventId":`))
	digits, _, _ := bytes.Cut(rest, []byte(","))
	id, err := strconv.ParseUint(string(digits), 10, 32)
	if !ok || err != nil || id != h.last+1 {
		h.broken = errors.Join(h.broken, fmt.Errorf("after event %d came %.60q", h.last, frame))
	}
	h.last = id
	h.got++
	if h.keep != nil {
		*h.keep = append(*h.keep, frame)
	}
}

// echo sends each message back.
func echo(w http.ResponseWriter, r *http.Request) {
	var up websocket.Upgrader
	ws, err := up.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer ws.Close()
	for {
		kind, data, err := ws.ReadMessage()
		if err != nil || ws.WriteMessage(kind, data) != nil {
			return
		}
	}
}

// fixedRoot is a pinned root that never changes.
type fixedRoot struct{ pool *x509.CertPool }

// Current returns the pool.
func (r fixedRoot) Current() (*x509.CertPool, string) { return r.pool, "bench" }

// Refresh does nothing.
func (fixedRoot) Refresh(context.Context) error { return nil }

// memoryKeeper keeps in memory: one write at the first batch is not measured.
type memoryKeeper struct{ data []byte }

// Load returns what was saved.
func (k *memoryKeeper) Load() ([]byte, error) { return k.data, nil }

// Save keeps data.
func (k *memoryKeeper) Save(data []byte) error {
	k.data = bytes.Clone(data)
	return nil
}

// deaf answers no request: none comes.
type deaf struct{}

// Handle refuses.
func (deaf) Handle(context.Context, uplink.Request) uplink.Response {
	return uplink.Response{Status: http.StatusNotFound}
}

// audit is an access event as an IP host gets it (protocols/engage.md, 3).
func audit(ev site.Event) (uplink.Message, bool) {
	return uplink.Message{Source: uplink.SourceEdgeDevice, Type: "Audit", DeviceID: "a100000000002479",
		Body: `{"edgeDevice":{"linkId":"` + string(ev.Door) + `","audits":[{"event":"05020000","time":"` + ev.Time.UTC().Format("20060102150405") + `"}]}}`}, true
}

// drainer has an event log full of events, and sends all of them as often as it
// is asked.
type drainer struct {
	log    *spool.Log
	host   *drainHost
	total  int
	rounds int
}

// drain runs an uplink that was never connected until the log's cursor is at the
// last event, durably, and returns how long that took from the host's
// subscription.
func (d *drainer) drain(ctx context.Context) (time.Duration, error) {
	d.rounds++
	var serial uplink.Serial
	serial[0] = 0xA0
	edge := d.log.Cursor(fmt.Sprintf("edge%d", d.rounds))
	c, err := uplink.New(uplink.Config{
		ServerURL: "https://" + d.host.addr + drainPath, Serial: serial, Key: bytes.Repeat([]byte{1}, 32), FromOldest: true,
	}, uplink.Deps{Root: fixedRoot{d.host.pool}, Handler: deaf{}, Keep: &memoryKeeper{}, Clock: clock,
		Events: uplink.Events{Log: d.log, Gateway: d.log.Cursor(fmt.Sprintf("gateway%d", d.rounds)), EdgeDevice: edge, Convert: audit}})
	if err != nil {
		return 0, err
	}
	run, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- c.Run(run) }()
	var at time.Time
	for end := time.Now().Add(2 * time.Minute); ctx.Err() == nil; time.Sleep(200 * time.Microsecond) {
		if edge.Position() == site.EventSeq(d.total) {
			at = time.Now()
			break
		}
		if time.Now().After(end) {
			err = fmt.Errorf("the log was not drained within 2 minutes: at %d of %d; %s", edge.Position(), d.total, c.Status().LastError)
			break
		}
	}
	cancel()
	err = errors.Join(err, ctx.Err(), <-done)
	d.host.mu.Lock()
	defer d.host.mu.Unlock()
	if err == nil && d.host.got != d.total {
		err = fmt.Errorf("the host has %d of %d events", d.host.got, d.total)
	}
	return at.Sub(d.host.begun), errors.Join(err, d.host.broken)
}

// echoed sends frames over a bare WebSocket with TLS and returns how long it
// takes until all have come back.
func (d *drainer) echoed(ctx context.Context, frames [][]byte) (time.Duration, error) {
	dialer := websocket.Dialer{TLSClientConfig: &tls.Config{RootCAs: d.host.pool}}
	ws, _, err := dialer.DialContext(ctx, "wss://"+d.host.addr+echoPath, nil)
	if err != nil {
		return 0, err
	}
	defer ws.Close()
	began := time.Now()
	sent := make(chan error, 1)
	go func() {
		var err error
		for _, f := range frames {
			if err = ws.WriteMessage(websocket.TextMessage, f); err != nil {
				break
			}
		}
		sent <- err
	}()
	for range frames {
		_, r, err := ws.NextReader()
		if err == nil {
			_, err = io.Copy(io.Discard, r)
		}
		if err != nil {
			return 0, errors.Join(err, ws.Close(), <-sent)
		}
	}
	return time.Since(began), <-sent
}

// drainRows compares the uplink with an echo of the same frames on the same
// listener, and looks at decisions while a log is drained.
func drainRows(b *bench) (rows []row, err error) {
	h, err := b.site(b.n)
	if err != nil {
		return nil, err
	}
	log, stopLog, err := b.doorLog("drain")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, stopLog()) }()
	d := &drainer{log: log, total: pick(b, 100_000, 5000)}
	events := make([]site.Event, d.total)
	for i := range events {
		events[i] = sampleEvent(i)
	}
	if _, err := spoolRate(b.ctx, log, events); err != nil {
		return nil, err
	}
	if log.Last() != site.EventSeq(d.total) {
		return nil, fmt.Errorf("the log has %d events, want %d", log.Last(), d.total)
	}
	if d.host, err = startDrainHost(); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, d.host.stop()) }()
	var frames [][]byte
	d.host.keep = &frames
	if _, err := d.drain(b.ctx); err != nil { // not counted: the frames of the echo, and all is warm
		return nil, err
	}
	d.host.mu.Lock()
	d.host.keep = nil
	d.host.mu.Unlock()
	var mine, theirs []float64
	for range pick(b, 9, 3) {
		took, err := d.drain(b.ctx)
		if err != nil {
			return nil, err
		}
		mine = append(mine, float64(d.total)/took.Seconds())
		if took, err = d.echoed(b.ctx, frames); err != nil {
			return nil, err
		}
		theirs = append(theirs, float64(d.total)/took.Seconds())
	}
	out := row{Name: "uplink_drain", Value: median(mine), Yardstick: median(theirs), Bar: 0.3, AtLeast: true, Unit: "events/s",
		Detail: map[string]any{"events": d.total, "frame_bytes": len(frames[0]), "uplink": mine, "echo": theirs}}
	frames = nil
	during, err := d.during(b, h)
	return []row{out, during}, err
}

// during decides while the log is drained over and over.
func (d *drainer) during(b *bench, h *house) (row, error) {
	if err := newDecider(h.store, doorIDs[0]).warm(b.n); err != nil {
		return row{}, err
	}
	rest, err := while(b.ctx, h, pick(b, 5*time.Second, time.Second), nil)
	if err != nil {
		return row{}, err
	}
	drains := 0
	got, err := while(b.ctx, h, 0, func(ctx context.Context) error {
		for end := time.Now().Add(pick(b, 5*time.Second, time.Second)); time.Now().Before(end); drains++ {
			if _, err := d.drain(ctx); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return row{}, err
	}
	r := duringRow("during_drain", got, rest)
	r.Detail["drains"] = drains
	return r, nil
}
