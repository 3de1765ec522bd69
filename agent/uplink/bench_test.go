package uplink_test

import (
	"crypto/tls"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/gorilla/websocket"

	"gatehouse/agent/site"
	"gatehouse/agent/uplink"
	"gatehouse/certs/certstest"
)

// BenchmarkDrain sends events after an outage, credentials and all; one
// operation is one event.
func BenchmarkDrain(b *testing.B) {
	w := newWorld(b)
	w.cfg.FromOldest, w.sink = true, true
	w.log.add(b.N, site.KindDoorOpened)
	b.ResetTimer()
	w.run()
	w.until(b, "all are acknowledged", func() bool { return w.ed.Position() == site.EventSeq(b.N) })
	b.StopTimer()
}

// BenchmarkEcho is the yardstick: the same frames over a bare WebSocket with
// TLS, each sent back; as many are under way as a batch has.
func BenchmarkEcho(b *testing.B) {
	ca := certstest.NewCA(b, "root")
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		up := websocket.Upgrader{}
		ws, err := up.Upgrade(w, r, nil)
		if err != nil {
			b.Error(err)
			return
		}
		defer ws.Close()
		for {
			kind, data, err := ws.ReadMessage()
			if err != nil || ws.WriteMessage(kind, data) != nil {
				return
			}
		}
	}))
	srv.TLS = &tls.Config{Certificates: []tls.Certificate{ca.Issue(b, []string{"127.0.0.1"})}}
	srv.StartTLS()
	defer srv.Close()
	d := websocket.Dialer{TLSClientConfig: &tls.Config{RootCAs: ca.Pool()}}
	ws, _, err := d.Dial("wss"+srv.URL[len("https"):], nil)
	if err != nil {
		b.Fatal(err)
	}
	defer ws.Close()
	frame, err := uplink.Frame{Kind: uplink.KindEvent, ID: 2, Event: auditMessage}.Encode()
	if err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	go func() {
		for range b.N {
			if err := ws.WriteMessage(websocket.TextMessage, frame); err != nil {
				return
			}
		}
	}()
	for range b.N {
		if _, r, err := ws.NextReader(); err != nil {
			b.Fatal(err)
		} else if _, err := io.Copy(io.Discard, r); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
}

// TestDrainWithinMemory: a long outage's events go out in order, and the memory
// that they need does not grow with their number.
func TestDrainWithinMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("200,000 events: not with -short")
	}
	const total = 200_000
	w := newWorld(t)
	w.cfg.FromOldest, w.sink = true, true
	w.log.add(total, site.KindDoorOpened)
	var most, base atomic.Uint64
	measure := func() {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		most.Store(max(most.Load(), m.HeapAlloc))
		base.CompareAndSwap(0, m.HeapAlloc)
	}
	w.onPing = func(*hostConn, string) bool {
		if at := w.ed.Position(); at%(512*40) == 0 {
			measure()
		}
		return true
	}
	measure()
	w.run()
	w.until(t, "all are acknowledged", func() bool { return w.ed.Position() == total })
	if grown := int64(most.Load()) - int64(base.Load()); grown > 8<<20 {
		t.Errorf("the heap grew by %d bytes", grown)
	}
	if n := w.sunk.Load(); n != total {
		t.Errorf("%d events came, want %d", n, total)
	}
}
