package app_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"gatehouse/agent/site"
	"gatehouse/hal"
)

// smallDisk mounts a file system of 16 MiB over the state folder. It wants the
// right to mount, which root has in CI; without, the test fails rather than pass
// unseen.
func (s *testSite) smallDisk() {
	s.t.Helper()
	dir, err := os.MkdirTemp("", "gh")
	if err != nil {
		s.t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=16m,mode=0700"); err != nil {
		s.t.Fatalf("a file system of 16 MiB is wanted for this test, run it as root: %v", err)
	}
	s.t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			s.t.Error(err)
		}
		_ = os.Remove(dir)
	})
	copyState(s.t, s.dir, dir)
	s.dir = dir
}

// TestDiskFull: when the state folder's disk is full, cards are decided, strikes
// move and the operator is told; what does not fit the queue is counted, and the
// count takes its place once there is room.
func TestDiskFull(t *testing.T) {
	s := newTestSite(t)
	s.smallDisk()
	r := s.start()
	r.enrolBadge()
	kiosk := r.hive("kiosk", kioskKey)
	before := len(r.events(""))
	ballast := filepath.Join(s.dir, "ballast")
	fill(t, ballast)

	// More events than the queue holds, in messages of a device's own log.
	sent := 0
	for i := range 60 {
		var list []any
		for j := range 100 {
			list = append(list, map[string]any{"absolute_timestamp": 1000, "text": fmt.Sprintf("reading %d", i*100+j)})
		}
		kiosk.send(map[string]any{"operation": "log", "current_timestamp": 1000, "messages": list})
		sent += len(list)
		if i%20 == 0 {
			if got := kiosk.ask1("front_door", goodBadge); got["access"] != true {
				t.Errorf("with a full disk: %v", got)
			}
			r.waitLevel("GPIO24", hal.High)
			r.relockFull()
			if got := kiosk.ask1("front_door", wrongBadge); got["access"] != false {
				t.Errorf("with a full disk: %v", got)
			}
			sent += 2
		}
	}
	wait(t, "the fault", func() bool { return r.hasFault("spool.write") })
	if st := r.status(); st.Log.Lost == 0 || st.Log.Queued == 0 {
		t.Errorf("log %+v", st.Log)
	}

	// A change is not acknowledged. If it holds all the same, its event comes.
	err := r.ask(http.MethodPost, "/v1/credentials", map[string]any{"holder": "Late", "format": "H10301", "facility": 1, "card": 2, "rights": "front"}, nil)
	if err == nil {
		t.Error("a change was acknowledged that the disk has no room for")
	}
	changes := len(r.events(site.KindPolicy))
	if r.whyBits("26:"+h10301(1, 2)) == site.ReasonGranted {
		changes++
	}

	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	var lost site.Event
	waitLong(t, "events_lost", func() bool {
		for _, ev := range r.events(site.KindEventsLost) {
			lost = ev
		}
		return lost.Count > 0 && r.status().Log.Queued == 0
	})
	waitLong(t, "the end of the fault", func() bool { return !r.hasFault("spool.write") })
	waitLong(t, "the event of the change", func() bool { return len(r.events(site.KindPolicy)) == changes })
	after := r.events("")
	for i, ev := range after {
		if ev.Seq != site.EventSeq(i+1) {
			t.Fatalf("event %d is number %d", i+1, ev.Seq)
		}
	}
	if got := len(after) - before + int(lost.Count); got < sent {
		t.Errorf("%d events and %d lost of at least %d", len(after)-before, lost.Count, sent)
	}
	r.must(r.ask(http.MethodPost, "/v1/credentials", map[string]any{"holder": "Room", "format": "H10301", "facility": 1, "card": 3, "rights": "front"}, nil))
	r.stop()
	r = s.start()
	if got := r.whyBits("26:" + h10301(1, 3)); got != site.ReasonGranted {
		t.Errorf("a card enrolled after the disk had room again: %s", got)
	}
}

// relockFull waits for the pulse to end by itself: a command would wait for the
// disk.
func (r *running) relockFull() {
	r.t.Helper()
	r.waitLevel("GPIO24", hal.Low)
}

// fill writes a file until the disk is full.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for block := make([]byte, 64<<10); len(block) > 0; {
		if _, err := f.Write(block); err != nil {
			block = block[:len(block)/2]
		}
	}
}

// waitLong is wait, in real time too, for what is tried again every ten seconds at
// worst.
func waitLong(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(15 * time.Second); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within 15 s", what)
		}
	}
}
