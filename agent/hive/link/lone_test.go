package link_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/agent/hive/link"
	"gatehouse/hal/haltest"
)

// loneLine is a site with the device d0 alone on a line of its own.
func loneLine(t *testing.T, poll bool) (w *busWorld, dev *haltest.Device, n *node) {
	w = &busWorld{world: newWorld(), t: t, host: &host{}, count: &counters{}, ports: &haltest.Ports{}}
	dev = w.ports.Add("bus")
	n = newNode("d0", dev)
	w.nodes = []*node{n}
	go n.run(dev)
	cfg := busConfig(1, 115200)
	cfg.Lines[0].Poll = poll
	cfg.Lines[0].Devices[0] = link.LineDevice{Device: "d0", Door: "lock"}
	w.start(cfg, w.ports)
	return w, dev, n
}

// A device with a line of its own speaks first as it likes, is polled every
// second, and offline when it answers no poll and says nothing for 8 s.
func TestLonePolled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, dev, n := loneLine(t, true)
		defer func() { w.stop(); dev.Unplug() }()
		time.Sleep(10500 * time.Millisecond)
		n.set(func() {
			if len(n.polls) != 11 {
				t.Errorf("polled %d times in 10 s", len(n.polls))
			}
		})
		n.queue(access)
		until(t, 3*time.Second, "the reply", func() bool { return len(n.copyReplies()) == 1 })
		n.set(func() { n.mute = true })
		time.Sleep(7 * time.Second)
		if off := w.offlines(); len(off) > 0 {
			t.Errorf("after 7 s: %v", off)
		}
		time.Sleep(2200 * time.Millisecond)
		if diff := cmp.Diff([]string{"lock offline d0  lock"}, w.offlines()); diff != "" {
			t.Errorf("after 9 s (-want +got):\n%s", diff)
		}
		// It speaks, though it answers no poll.
		nonce := ""
		n.set(func() { nonce = n.nonce })
		_, _ = dev.Write([]byte(sign(t, "d0", `{"version":2,"nonce":"`+nonce+`",`+access+`}`) + "\n"))
		time.Sleep(100 * time.Millisecond)
		if diff := cmp.Diff([]string{"+lock offline d0  lock"}, w.offlines()); diff != "" || w.openings() != 2 {
			t.Errorf("opened %d times; back (-want +got):\n%s", w.openings(), diff)
		}
	})
}

// On a line of its own a device may speak while it is polled: it gets the reply
// to its request, and its answer to the poll is taken all the same.
func TestLoneSpeaksDuringPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, dev, n := loneLine(t, true)
		defer func() { w.stop(); dev.Unplug() }()
		n.queue(access)
		until(t, 3*time.Second, "the nonce", func() bool { return len(n.copyReplies()) == 1 })
		n.set(func() {
			n.spoil = func(op string, m []byte) []byte {
				if op != "poll" {
					return m
				}
				call := sign(t, "d0", `{"version":2,"nonce":"`+n.nonce+`","random_response":[7],`+access+`}`) + "\n"
				n.asked, n.calls, n.spoil = "[7]", []string{""}, nil
				return append([]byte(call), m...)
			}
		})
		until(t, 3*time.Second, "the reply", func() bool { return len(n.copyReplies()) == 2 })
		time.Sleep(time.Second)
		if st := w.l.Stats(); w.openings() != 2 || st.Devices[0].Silent != 0 || st.Bad != 0 {
			t.Errorf("opened %d times, stats %+v", w.openings(), st)
		}
	})
}

// A lone reader without poll is sent nothing, is not offline when it is silent,
// and takes orders.
func TestLoneUnpolled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, dev, n := loneLine(t, false)
		defer func() { w.stop(); dev.Unplug() }()
		time.Sleep(time.Minute)
		if st := w.l.Stats(); st.Devices[0].Sent != 0 || len(w.offlines()) > 0 {
			t.Errorf("stats %+v", st)
		}
		if _, err := w.s.Order(t.Context(), "d0", link.Order{Op: link.OrderUnlock, For: time.Second}); err != nil {
			t.Errorf("an unlock: %v", err)
		}
		n.set(func() {
			if !slices.Equal(n.got, []string{"unlock 1"}) {
				t.Errorf("it did %v", n.got)
			}
		})
	})
}

// What a device sends on while it is answered is held, in order, and bounded.
func TestLoneSendsOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, dev, n := loneLine(t, false)
		defer func() { w.stop(); dev.Unplug() }()
		w.host.wait = time.Second
		w.host.body = `{}`
		first := sign(t, "d0", `{"version":2,"operation":"get_nonce"}`) + "\n"
		_, _ = dev.Write([]byte(first))
		time.Sleep(100 * time.Millisecond)
		nonce, err := w.Current("d0")
		if err != nil {
			t.Fatal(err)
		}
		call := sign(t, "d0", fmt.Sprintf(`{"version":2,"nonce":"%X","operation":"swordfish","method":"GET","path":"/x"}`, nonce)) + "\n"
		_, _ = dev.Write([]byte(call + strings.Repeat(first, 20)))
		time.Sleep(5 * time.Second)
		st := w.l.Stats()
		if calls := w.host.taken(); len(calls) != 1 || st.Answered != 10 || st.Bad != 12 {
			t.Errorf("%d calls, stats %+v", len(calls), st)
		}
		_ = n
	})
}

// What carries the agent's own name of the addressee is its echo or a recording,
// never a request.
func TestEchoIsNoRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, dev, _ := loneLine(t, true)
		defer func() { w.stop(); dev.Unplug() }()
		time.Sleep(100 * time.Millisecond)
		before := w.l.Stats()
		_, _ = dev.Write(bytes.Repeat([]byte(sign(t, "d0", `{"operation":"unlock","to":"d0","counter":9,"seconds":5,"random":[1]}`)+"\n"), 3))
		time.Sleep(200 * time.Millisecond)
		if diff := cmp.Diff(before, w.l.Stats()); diff != "" {
			t.Errorf("stats (-before +after):\n%s", diff)
		}
	})
}
