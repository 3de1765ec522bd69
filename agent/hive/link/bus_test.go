package link_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/agent/hive/link"
	"gatehouse/agent/site"
	"gatehouse/hal"
	"gatehouse/hal/haltest"
)

func init() {
	for i := range 8 {
		keys[busName(i)] = link.Key(fmt.Sprintf("key of bus device %d", i))
	}
}

func busName(i int) site.DeviceName { return site.DeviceName(fmt.Sprintf("d%d", i)) }

// Call implements link.Swordfish.
func (h *host) Call(_ context.Context, c link.Call) (int, []byte, error) {
	return h.answer(c.Device, c)
}

// site on a bus.
type busWorld struct {
	*world
	t     testing.TB
	host  *host
	count *counters
	ports *haltest.Ports
	bus   *haltest.Bus
	nodes []*node
	s     *link.Server
	l     *link.Line
	stop  func()
}

// busConfig has n devices on port "bus": readers, of which the last is a lock.
func busConfig(n, baud int) link.Config {
	cfg := link.Config{}
	line := link.LineConfig{Port: "bus", Baud: baud}
	for i := range n {
		name := busName(i)
		cfg.Devices = append(cfg.Devices, link.DeviceConfig{
			Name: name, Key: keys[name], Versions: link.Version2, Items: map[string]site.DoorID{"door": site.DoorID("door" + name)},
		})
		d := link.LineDevice{Device: name, Reader: site.ReaderID("r-" + name)}
		if i == n-1 {
			d.Reader, d.Door = "", "lock"
		}
		line.Devices = append(line.Devices, d)
	}
	cfg.Lines = []link.LineConfig{line}
	return cfg
}

func newBus(t testing.TB, n, baud int) *busWorld {
	w := &busWorld{world: newWorld(), t: t, host: &host{}, count: &counters{}, ports: &haltest.Ports{}}
	w.bus = w.ports.AddBus("bus")
	for i := range n {
		tap := w.bus.Attach()
		d := newNode(busName(i), tap)
		w.nodes = append(w.nodes, d)
		go d.run(tap)
		t.Cleanup(func() { _ = tap.Close() })
	}
	w.start(busConfig(n, baud), w.ports)
	return w
}

// start builds the server and runs its line; end stops it.
func (w *busWorld) start(cfg link.Config, ports hal.Ports) {
	w.t.Helper()
	deps := w.deps()
	deps.Swordfish, deps.Counters, deps.Due, deps.Ports = w.host, w.count, w.host.due, ports
	var err error
	if w.s, err = link.New(cfg, deps); err != nil {
		w.t.Fatal(err)
	}
	w.l = w.s.Lines()[0]
	w.stop = run(w.t, w.l)
}

// end stops the line and lets the nodes' goroutines end.
func (w *busWorld) end() {
	w.stop()
	w.bus.Unplug()
	for _, n := range w.nodes {
		if tap, ok := n.out.(*haltest.Tap); ok {
			_ = tap.Close()
		}
	}
	synctest.Wait()
}

const access = `"operation":"access","badge":1052895,"item":"door"`

// faultsOf returns the texts of the offline events so far, "+" where cleared.
func (w *busWorld) offlines() (out []string) {
	for _, e := range w.taken() {
		if e.Kind == site.KindFault && strings.HasSuffix(e.Text, "offline") {
			s := e.Text + " " + string(e.Device) + " " + string(e.Reader) + " " + string(e.Door)
			if e.Cleared {
				s = "+" + s
			}
			out = append(out, s)
		}
	}
	return out
}

// gap returns the longest time between two polls of a node since from.
func (n *node) gap(from time.Time) (gap time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	last := from
	for _, p := range append(slices.Clone(n.polls), time.Now()) {
		if p.After(from) {
			gap, last = max(gap, p.Sub(last)), p
		}
	}
	return gap
}

// Devices of a bus are polled in turn, none more often than every 50 ms, and what
// one asks for is answered while the others are polled on.
func TestBusPollsInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newBus(t, 3, 921600)
		defer w.end()
		time.Sleep(10 * time.Second)
		for _, n := range w.nodes {
			n.set(func() {
				if len(n.polls) < 170 || len(n.polls) > 201 {
					t.Errorf("%s was polled %d times in 10 s", n.name, len(n.polls))
				}
				for i := 1; i < len(n.polls); i++ {
					if d := n.polls[i].Sub(n.polls[i-1]); d < 45*time.Millisecond {
						t.Fatalf("%s was polled again after %v", n.name, d)
					}
				}
			})
		}
		w.nodes[1].queue(access)
		until(t, time.Second, "the door", func() bool { return w.openings() == 1 })
		ask := link.Ask{Device: "d1", Item: "door", Door: "doord1", Reader: "r-d1", Bits: badge(t, goodBadge), Via: link.ViaSerial}
		if diff := cmp.Diff([]link.Ask{ask}, w.opened); diff != "" {
			t.Errorf("asks (-want +got):\n%s", diff)
		}
		until(t, time.Second, "the reply", func() bool { return len(w.nodes[1].copyReplies()) == 1 })
		st := w.l.Stats()
		if st.Bad != 0 || st.Offline || st.Devices[0].Silent != 0 || st.Devices[0].Offline || !st.Devices[0].Heard.Equal(now) {
			t.Errorf("stats %+v", st)
		}
		if off := w.offlines(); len(off) > 0 {
			t.Errorf("%v", off)
		}
	})
}

func (n *node) copyReplies() []map[string]any {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.replies)
}

// A call whose answer to the poll is lost, or whose reply is, comes again and is
// done once.
func TestBusLosesAnswers(t *testing.T) {
	for _, what := range []string{"the answer", "the reply"} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newBus(t, 2, 115200)
				defer w.end()
				time.Sleep(time.Second)
				n := w.nodes[0]
				lost := 0
				w.bus.Warp(func(from *haltest.Tap, b []byte) []byte {
					// Losing a piece loses the message.
					if tap, _ := n.out.(*haltest.Tap); (what == "the answer") == (from == tap) && from != w.nodes[1].out && lost < 8 {
						lost++
						return nil
					}
					return b
				})
				n.queue(access)
				until(t, 5*time.Second, "the reply", func() bool { return len(n.copyReplies()) == 1 })
				if got := n.copyReplies()[0]; got["access"] != true {
					t.Errorf("got %v", got)
				}
				if w.openings() != 1 || lost != 8 {
					t.Errorf("opened %d times, %d pieces were lost", w.openings(), lost)
				}
			})
		})
	}
}

// An answer that comes when the next poll has begun is nobody's: not the other
// device's, and not acted on.
func TestBusLateAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newBus(t, 2, 115200)
		defer w.end()
		a, b := w.nodes[0], w.nodes[1]
		a.queue(access)
		until(t, time.Second, "the first call", func() bool { return w.openings() == 1 })
		a.set(func() { a.delay = 235 * time.Millisecond })
		a.queue(access)
		b.queue(access)
		until(t, 8*time.Second, "the other's call", func() bool { return w.openings() == 2 })
		time.Sleep(5 * time.Second)
		if w.openings() != 2 || w.opened[1].Device != "d1" {
			t.Errorf("opened %v", w.opened)
		}
		if w.l.Stats().Devices[0].Silent == 0 {
			t.Errorf("stats %+v", w.l.Stats())
		}
		a.set(func() { a.delay = 0 })
		until(t, 2*time.Second, "the call, in time", func() bool { return w.openings() == 3 })
	})
}

// A late answer that is whole is counted and not acted on, also when the same
// device is polled at that moment.
func TestBusLateAnswerToTheNextPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newBus(t, 1, 115200)
		w.end() // a bus wants two; the second is not there
		w = newBus(t, 2, 115200)
		defer w.end()
		a, b := w.nodes[0], w.nodes[1]
		b.set(func() { b.mute = true })
		a.queue(access)
		until(t, time.Second, "the first call", func() bool { return w.openings() == 1 })
		var kept []byte
		a.set(func() {
			a.spoil = func(op string, m []byte) []byte { // each answer one poll late
				m, kept = kept, m
				return m
			}
		})
		a.queue(access)
		time.Sleep(6 * time.Second)
		if w.openings() != 1 || w.l.Stats().Devices[0].Late == 0 {
			t.Errorf("opened %d times, stats %+v", w.openings(), w.l.Stats())
		}
	})
}

// A doubled answer is taken once.
func TestBusDoubledAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newBus(t, 2, 115200)
		defer w.end()
		a := w.nodes[0]
		a.set(func() { a.spoil = func(_ string, m []byte) []byte { return bytes.Repeat(m, 2) } })
		for range 5 {
			a.queue(access)
		}
		until(t, 20*time.Second, "the replies", func() bool { return len(a.copyReplies()) == 5 })
		if w.openings() != 5 {
			t.Errorf("opened %d times", w.openings())
		}
	})
}

// With a byte of every tenth message damaged, calls and replies get through, each
// once, and nothing else opens.
func TestBusDamagedBytes(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	synctest.Test(t, func(t *testing.T) {
		w := newBus(t, 3, 115200)
		defer w.end()
		w.bus.Warp(func(_ *haltest.Tap, b []byte) []byte {
			if rnd.IntN(150) == 0 {
				b[rnd.IntN(len(b))] ^= byte(1 + rnd.UintN(255))
			}
			return b
		})
		for _, n := range w.nodes {
			for range 20 {
				n.queue(access)
			}
		}
		until(t, 3*time.Minute, "the replies", func() bool {
			for _, n := range w.nodes {
				if len(n.copyReplies()) < 20 {
					return false
				}
			}
			return true
		})
		// A lost reply has the device ask again: the person is let in twice. No
		// more than that.
		if n := w.openings(); n < 60 || n > 60+30 {
			t.Errorf("opened %d times", n)
		}
		if off := w.offlines(); len(off) > 0 {
			t.Errorf("%v", off)
		}
	})
}

// Two devices that talk at once spoil each other, and are heard again when one
// is silent.
func TestBusTwoTalk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newBus(t, 3, 115200)
		defer w.end()
		babble := w.bus.Attach()
		defer babble.Close()
		stop := make(chan struct{})
		go func() { // talks into every answer
			for {
				select {
				case <-stop:
					return
				case <-time.After(20 * time.Millisecond):
					_, _ = babble.Write([]byte(`{"device":"d0","data":{`))
				}
			}
		}()
		w.nodes[0].queue(access)
		time.Sleep(5 * time.Second)
		if w.openings() != 0 {
			t.Error("a door opened")
		}
		close(stop)
		until(t, 15*time.Second, "the call", func() bool { return w.openings() == 1 })
	})
}

// A device that answers with another's name, signed with its own key or with
// none, is not heard, neither as the one nor as the other.
func TestBusWrongName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newBus(t, 3, 115200)
		defer w.end()
		bad := w.nodes[1]
		bad.queue(access)
		until(t, time.Second, "the nonce", func() bool { return w.openings() == 1 })
		bad.set(func() {
			bad.spoil = func(_ string, m []byte) []byte {
				return bytes.Replace(m, []byte(`"device":"d1"`), []byte(`"device":"d0"`), 1)
			}
		})
		bad.queue(access)
		time.Sleep(12 * time.Second)
		if w.openings() != 1 {
			t.Error("a door opened")
		}
		events := w.taken()
		var texts []string
		for _, e := range events {
			if e.Kind == site.KindFault {
				texts = append(texts, string(e.Device)+": "+e.Text)
			}
		}
		want := []string{"d0: hive: wrong checksum", "d1: reader offline"}
		if diff := cmp.Diff(want, texts); diff != "" {
			t.Errorf("faults (-want +got):\n%s", diff)
		}
	})
}

// Counters go on over a restart of the agent; a device refuses what was recorded
// and sent again, and an agent that has forgotten its counters.
func TestBusCounters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newBus(t, 2, 115200)
		lock := w.nodes[1]
		order := func(w *busWorld) error {
			_, err := w.s.Order(t.Context(), "d1", link.Order{Op: link.OrderUnlock, For: 5 * time.Second})
			return err
		}
		var mu sync.Mutex // guards heard
		var heard [][]byte
		tap := w.bus.Attach()
		go func() {
			buf := make([]byte, 4096)
			for {
				n, err := tap.Read(buf)
				if err != nil {
					return
				}
				mu.Lock()
				heard = append(heard, bytes.Clone(buf[:n]))
				mu.Unlock()
			}
		}()
		if err := order(w); err != nil {
			t.Fatal(err)
		}
		w.stop()
		var unlock []byte
		mu.Lock()
		for _, line := range bytes.SplitAfter(bytes.Join(heard, nil), []byte("\n")) {
			if bytes.Contains(line, []byte(`"operation":"unlock"`)) {
				unlock = line
			}
		}
		mu.Unlock()
		for range 2 {
			_, _ = tap.Write(unlock) // an attacker
			time.Sleep(time.Second)
		}
		lock.set(func() {
			if lock.repeated != 2 || len(lock.got) != 1 {
				t.Errorf("refused %d, did %v", lock.repeated, lock.got)
			}
		})
		w.start(busConfig(2, 115200), w.ports) // the agent again
		if err := order(w); err != nil {
			t.Errorf("after a restart: %v", err)
		}
		w.stop()
		w.count = &counters{}
		w.start(busConfig(2, 115200), w.ports)
		if err := order(w); !errors.Is(err, link.ErrRefused) || !strings.Contains(err.Error(), "counter") {
			t.Errorf("with forgotten counters: %v", err)
		}
		lock.set(func() {
			if len(lock.got) != 2 {
				t.Errorf("did %v", lock.got)
			}
		})
		_ = tap.Close()
		w.end()
	})
}

// A device that is silent for 8 s is offline, told once, and back when it is
// heard; the others keep their pace.
func TestBusOfflineAndBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newBus(t, 3, 115200)
		defer w.end()
		time.Sleep(2 * time.Second)
		dead := w.nodes[2]
		dead.set(func() { dead.mute = true })
		began := time.Now()
		time.Sleep(7500 * time.Millisecond)
		if off := w.offlines(); len(off) > 0 {
			t.Errorf("after 7.5 s: %v", off)
		}
		time.Sleep(time.Second)
		if diff := cmp.Diff([]string{"lock offline d2  lock"}, w.offlines()); diff != "" {
			t.Errorf("after 8.5 s (-want +got):\n%s", diff)
		}
		if _, err := w.s.Order(t.Context(), "d2", link.Order{Op: link.OrderUnlock, For: time.Second}); !errors.Is(err, link.ErrOffline) {
			t.Errorf("an order: %v", err)
		}
		time.Sleep(time.Minute)
		for _, n := range w.nodes[:2] {
			if gap := n.gap(began); gap > 450*time.Millisecond {
				t.Errorf("%s waited %v for a poll", n.name, gap)
			}
		}
		dead.set(func() { dead.mute = false })
		time.Sleep(2500 * time.Millisecond)
		if diff := cmp.Diff([]string{"+lock offline d2  lock"}, w.offlines()); diff != "" {
			t.Errorf("back (-want +got):\n%s", diff)
		}
	})
}

// Seven dead devices of eight leave the eighth a poll at least every half second.
func TestBusSevenDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newBus(t, 8, 115200)
		defer w.end()
		for _, n := range w.nodes[1:] {
			n.set(func() { n.mute = true })
		}
		time.Sleep(3 * time.Second) // who is there is not known at first
		began := time.Now()
		time.Sleep(2 * time.Minute)
		if gap := w.nodes[0].gap(began); gap > 500*time.Millisecond {
			t.Errorf("waited %v for a poll", gap)
		}
		if n := len(w.offlines()); n != 7 {
			t.Errorf("%d offline events", n)
		}
	})
}

// The port's loss makes every device offline, once; they are back when heard.
func TestBusPortLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newBus(t, 2, 115200)
		defer w.end()
		time.Sleep(time.Second)
		w.bus.Unplug()
		time.Sleep(time.Minute)
		if diff := cmp.Diff([]string{"reader offline d0 r-d0 doord0", "lock offline d1  lock"}, w.offlines()); diff != "" {
			t.Errorf("lost (-want +got):\n%s", diff)
		}
		if _, err := w.s.Order(t.Context(), "d0", link.Order{Op: link.OrderStatus}); !errors.Is(err, link.ErrOffline) {
			t.Errorf("an order: %v", err)
		}
		w.nodes[1].set(func() { w.nodes[1].mute = true })
		w.bus.Plug()
		time.Sleep(time.Minute)
		if diff := cmp.Diff([]string{"+reader offline d0 r-d0 doord0"}, w.offlines()); diff != "" {
			t.Errorf("plugged (-want +got):\n%s", diff)
		}
	})
}

// At 1200 baud a poll takes seconds: nobody is offline for that, and calls get
// through.
func TestBusSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newBus(t, 3, 1200)
		defer w.end()
		w.nodes[0].queue(access)
		until(t, 2*time.Minute, "the call", func() bool { return len(w.nodes[0].copyReplies()) == 1 })
		time.Sleep(2 * time.Minute)
		if off := w.offlines(); len(off) > 0 || w.openings() != 1 {
			t.Errorf("%v, opened %d times", off, w.openings())
		}
		if st := w.l.Stats(); st.Bad > 0 || st.Devices[0].Silent > 0 {
			t.Errorf("stats %+v", st)
		}
	})
}

// An adapter that gives back what the agent sends disturbs nothing.
func TestBusEcho(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newBus(t, 2, 115200)
		defer w.end()
		w.bus.Echo(true)
		w.nodes[0].queue(access)
		until(t, 2*time.Second, "the reply", func() bool { return len(w.nodes[0].copyReplies()) == 1 })
		time.Sleep(time.Second)
		if st := w.l.Stats(); w.openings() != 1 || st.Bad != 0 {
			t.Errorf("opened %d times, stats %+v", w.openings(), st)
		}
	})
}

// Minutes of rubbish take no memory that stays and few events.
func TestBusGarbage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newBus(t, 2, 921600)
		defer w.end()
		noise := w.bus.Attach()
		defer noise.Close()
		rnd := rand.New(rand.NewPCG(1, 2))
		heap := func() uint64 {
			var m runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&m)
			return m.HeapAlloc
		}
		for _, n := range w.nodes {
			n.set(func() { n.mute = true })
		}
		before := heap()
		buf := make([]byte, 9000)
		for range 1800 { // 3 minutes
			for i := range buf {
				buf[i] = byte(rnd.Uint32())
				if rnd.IntN(8) != 0 && buf[i] == '\n' {
					buf[i] = '{'
				}
			}
			_, _ = noise.Write(buf)
			time.Sleep(100 * time.Millisecond)
		}
		if after := heap(); after > before+2<<20 {
			t.Errorf("the heap grew from %d to %d bytes", before, after)
		}
		if n := len(w.taken()); n > 20 {
			t.Errorf("%d events", n)
		}
		if w.l.Stats().Bad < 100 {
			t.Errorf("stats %+v", w.l.Stats())
		}
		for _, n := range w.nodes {
			n.set(func() { n.mute = false })
		}
		w.nodes[0].queue(access)
		until(t, 10*time.Second, "a call after the noise", func() bool { return w.openings() == 1 })
	})
}
