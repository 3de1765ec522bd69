package uplink_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse/agent/site"
)

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
	kept func(time.Duration)
}

func (n network) Lookup(_ context.Context, name string) ([]netip.Addr, error) { return n.look(name) }

func (n network) Dial(ctx context.Context, to netip.AddrPort, keepAlive time.Duration) (net.Conn, error) {
	if n.kept != nil {
		n.kept(keepAlive)
	}
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
			// A third within TLS, credentials and upgrade, the others also later.
			left.Store(rng.Int64N([]int64{6_000, 100_000, 250_000}[rng.IntN(3)]))
		}
		return &cutConn{c, left}
	}}
	w.onConn = func(*hostConn) { w.log.add(500, site.KindDoorOpened) } // there is always something to cut
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
	w.until(t, "all cuts are made", func() bool {
		mu.Lock()
		defer mu.Unlock()
		if w.log.Last() == w.ed.Position() {
			w.log.add(500, site.KindDoorOpened)
		}
		return made > cuts
	})
	w.until(t, "all are acknowledged", func() bool { return w.ed.Position() == w.log.Last() })
	total := int(w.log.Last())
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
	t.Logf("%d connections, %d events, %d of them again", w.connCount(), len(got), len(got)-total)
}
