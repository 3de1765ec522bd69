package link_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
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
		w := newBus(t, 2, 115200)
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
