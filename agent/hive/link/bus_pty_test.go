package link_test

import (
	"bufio"
	"bytes"
	"testing"
	"time"

	"github.com/creack/pty"

	"gatehouse/agent/hive/link"
	"gatehouse/agent/site"
	"gatehouse/hal/haltest"
	"gatehouse/hal/serial"
)

// A bus of two devices over a real terminal driver: polls, a badge, orders, a
// long body each way, and an unplugged end.
func TestBusOverPTY(t *testing.T) {
	far, near, err := pty.Open()
	if err != nil {
		t.Fatalf("a pseudo-terminal is needed: %v", err)
	}
	defer far.Close()
	defer near.Close() // so that far does not hang up before the port is opened
	w := &busWorld{world: newWorld(), t: t, host: &host{}, count: &counters{}, ports: &haltest.Ports{}}
	w.nodes = []*node{newNode("d0", far), newNode("d1", far)}
	go func() { // what both hear
		in := bufio.NewReaderSize(far, 1<<17)
		for {
			line, err := in.ReadBytes('\n')
			if err != nil {
				return
			}
			for _, n := range w.nodes {
				n.hear(bytes.TrimSuffix(line, []byte("\n")))
			}
		}
	}()
	cfg := busConfig(2, 115200)
	cfg.Lines[0].Port = near.Name()
	w.start(cfg, serial.Ports{})
	stopped := false
	defer func() {
		if !stopped {
			w.stop()
		}
	}()
	w.host.body = longBody(t, 50_000)
	reader, lock := w.nodes[0], w.nodes[1]
	reader.queue(access)
	lock.queue(getFile)
	lock.queue(uploads("/swordfish/lock/audit", longBody(t, 20_000), 4000)...)
	for range 5 {
		if _, err := w.s.Order(t.Context(), "d1", link.Order{Op: link.OrderMode, Mode: site.ModePassage}); err != nil {
			t.Error(err)
		}
	}
	until(t, 30*time.Second, "the badge", func() bool { return len(reader.copyReplies()) == 1 })
	until(t, 30*time.Second, "the file", func() bool {
		lock.mu.Lock()
		defer lock.mu.Unlock()
		return len(lock.bodies) > 0 && lock.bodies[0] == w.host.body
	})
	until(t, 30*time.Second, "the upload", func() bool { return len(w.host.taken()) > 0 })
	lock.set(func() {
		if len(lock.got) != 5 {
			t.Errorf("it did %v", lock.got)
		}
	})
	if w.openings() != 1 {
		t.Errorf("opened %d times", w.openings())
	}
	w.stop()
	stopped = true
}
