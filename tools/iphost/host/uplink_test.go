package host_test

import (
	"context"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"gatehouse/agent/site"
	"gatehouse/agent/uplink"
	"gatehouse/certs"
	"gatehouse/tools/iphost/engage"
	"gatehouse/tools/iphost/host"
)

// pinned joins certs and uplink as the agent does.
type pinned struct{ *certs.Pin }

func (p pinned) Current() (*x509.CertPool, string) {
	pool, info := p.Pin.Current()
	return pool, info.String()
}

// events is an event log in memory that is complete from the start.
type events struct{ last site.EventSeq }

func (l events) Read(_ context.Context, from site.EventSeq, limit, _ int) ([]site.Event, error) {
	var out []site.Event
	for seq := max(from, 1); seq <= l.last && len(out) < limit; seq++ {
		out = append(out, site.Event{Log: l.ID(), Seq: seq})
	}
	return out, nil
}

func (l events) Wait(ctx context.Context, after site.EventSeq) error {
	if after < l.last {
		return nil
	}
	<-ctx.Done()
	return ctx.Err()
}

func (l events) Last() site.EventSeq { return l.last }
func (events) ID() site.LogID        { return "5f3a9c01" }

// memory is a cursor and a keeper.
type memory struct {
	mu    sync.Mutex // guards following
	at    site.EventSeq
	known bool
	kept  []byte
}

func (m *memory) Position() site.EventSeq { m.mu.Lock(); defer m.mu.Unlock(); return m.at }
func (m *memory) Known() bool             { m.mu.Lock(); defer m.mu.Unlock(); return m.known }
func (m *memory) Load() ([]byte, error)   { m.mu.Lock(); defer m.mu.Unlock(); return m.kept, nil }

func (m *memory) Advance(seq site.EventSeq) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.at, m.known = seq, true
	return nil
}

func (m *memory) Save(b []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.kept = slices.Clone(b)
	return nil
}

// echo answers with what it was asked.
type echo struct{}

func (echo) Handle(_ context.Context, r uplink.Request) uplink.Response {
	return uplink.Response{Status: 207, Body: fmt.Sprintf(`[%q,%q,%q,%q]`, r.Method, r.Path, r.Query, r.Body)}
}

// TestAgentsUplink is the agent's own end: two programs that share no code of
// the protocol. It fetches the root, connects, answers, sends its log, is moved
// to a new connection, and goes on where it was.
func TestAgentsUplink(t *testing.T) {
	n := start(t, func(c *host.Config) { c.TLS.Names = []string{"127.0.0.1"} })
	token := n.site()
	key, err := hex.DecodeString(testKey)
	if err != nil {
		t.Fatal(err)
	}
	serial := mustSerial(t, serialA)
	pin, err := certs.Load(certs.Config{URL: "http://" + n.CAAddr().String() + engage.RootPath, Serial: serial, Key: key, File: filepath.Join(t.TempDir(), "root.der")})
	if err != nil {
		t.Fatal(err)
	}
	const last = 5000
	edge := &memory{}
	c, err := uplink.New(uplink.Config{ServerURL: "https://" + n.Addr().String() + "/engage_wss", Serial: uplink.Serial(serial), Key: key, FromOldest: true,
		MinDelay: 100 * time.Millisecond, MaxDelay: time.Second},
		uplink.Deps{Root: pinned{pin}, Handler: echo{}, Keep: &memory{}, Events: uplink.Events{
			Log: events{last}, Gateway: &memory{}, EdgeDevice: edge,
			Convert: func(e site.Event) (uplink.Message, bool) {
				return uplink.Message{Source: uplink.SourceEdgeDevice, Type: "Audit", DeviceID: "a100000000002479", Body: fmt.Sprintf(`{"n":%d}`, e.Seq)}, true
			}}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	eventually(t, func() string {
		if at := edge.Position(); at != last {
			return fmt.Sprintf("the cursor is at %d of %d: %+v", at, last, c.Status())
		}
		return ""
	})
	got := ids(n.stored(token, "limit=1000&type=Audit"))
	got = slices.DeleteFunc(got, func(id uint32) bool { return id == 0 }) // tells of the log
	if !slices.Equal(got, span(1, last)) {
		t.Errorf("stored %d events, want %d in order", len(got), last)
	}
	want := reply{207, "gateway", `["PUT","/edgeDevices/dev00000/config","a=1","{\"x\":\"<ä>\"}"]`}
	diff(t, "request", want, n.broker(token, "PUT", "/edgeDevices/dev00000/config?a=1&gateway="+serialA, `{"x":"<ä>"}`))

	ses, err := n.Registry().Session(t.Context(), serial)
	if err != nil {
		t.Fatal(err)
	}
	n.Drop(serial)
	eventually(t, func() string {
		now, err := n.Registry().Session(t.Context(), serial)
		if err != nil || now.ID == ses.ID || now.Host == "" {
			return fmt.Sprintf("the agent is not back: %+v, %v, %+v", now, err, c.Status())
		}
		return ""
	})
	diff(t, "after a cut", 207, n.broker(token, "GET", "/gateway/time?gateway="+serialA, "").Status)
	if again := ids(n.stored(token, "limit=1000")); len(again) > len(got)+2 {
		t.Errorf("%d events after the cut, %d before", len(again), len(got))
	}
}
