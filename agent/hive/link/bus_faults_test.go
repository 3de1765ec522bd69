package link_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/agent/hive/link"
)

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

// A long answer that was ready when the line was lost is no longer held: held for
// ever, four of them would end that locks are told to call, and sixteen all long
// bodies.
func TestLineLostBeforeALongAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newBus(t, 2, 115200)
		defer w.end()
		w.host.body, w.host.wait = longBody(t, 9000), 3*time.Second
		w.nodes[1].queue(getFile)
		until(t, 5*time.Second, "the call", func() bool { return len(w.host.taken()) == 1 })
		w.bus.Unplug()
		time.Sleep(10 * time.Second)
		if n := w.s.Bodies(); n != 0 {
			t.Errorf("%d bodies are held", n)
		}
	})
}
