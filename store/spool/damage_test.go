package spool_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gatehouse/agent/site"
	"gatehouse/store/spool"
)

// accounted checks what a reader is told of a log after damage: undamaged
// events in order and once, and each number either given or counted as lost.
func accounted(t *testing.T, evs []site.Event, first, last site.EventSeq, sent map[site.EventSeq]string) (lost uint64) {
	t.Helper()
	next := first
	for _, ev := range evs {
		switch {
		case ev.Kind != site.KindEventsLost:
			if ev.Seq != next {
				t.Fatalf("number %d where %d is due", ev.Seq, next)
			}
			if sent[ev.Seq] != ev.Text {
				t.Fatalf("number %d is %q, was %q", ev.Seq, ev.Text, sent[ev.Seq])
			}
		case strings.HasPrefix(ev.Text, "a new log begins"):
			if ev.Seq-site.EventSeq(ev.Count) != next {
				t.Fatalf("new log at %d counts %d, %d is due", ev.Seq, ev.Count, next)
			}
			lost += ev.Count
		default:
			if ev.Seq-site.EventSeq(ev.Count)+1 != next {
				t.Fatalf("lost %d to %d, %d is due", ev.Count, ev.Seq, next)
			}
			lost += ev.Count
		}
		next = ev.Seq + 1
	}
	if next != last+1 {
		t.Fatalf("accounted for up to %d, the log ends at %d", next-1, last)
	}
	return lost
}

// filled makes a log of n events over a few segments.
func filled(t *testing.T, fsys *memFS, n int, clean bool) map[site.EventSeq]string {
	t.Helper()
	cfg := config()
	cfg.Budget = 1 << 20
	l, _, stop := running(t, cfg, spool.Options{FS: fsys})
	l.Register("slow")
	sent := map[site.EventSeq]string{}
	for i := 0; i < n; i += 50 {
		var evs []site.Event
		for j := i; j < min(i+50, n); j++ {
			evs = append(evs, numbered(j))
			sent[site.EventSeq(j+1)] = fmt.Sprintf("n%d", j)
		}
		appendWait(t, l, evs...)
	}
	if clean {
		stop()
	}
	return sent
}

// TestRandomOverwrite alters 50 random places of the files, one by one and all
// at once, after a clean end and after a kill.
func TestRandomOverwrite(t *testing.T) {
	rnd := seeded(t)
	for _, clean := range []bool{true, false} {
		origin := newMemFS()
		sent := filled(t, origin, 800, clean)
		for i := range 50 {
			overwrite(t, rnd, origin.crash(rnd, false), sent, 1+49*(i/49), 1+rnd.IntN(64))
		}
	}
}

func overwrite(t *testing.T, rnd *rand.Rand, fsys *memFS, sent map[site.EventSeq]string, places, size int) {
	t.Helper()
	names := fsys.segments()
	slices.Sort(names)
	for range places {
		n := fsys.files[names[rnd.IntN(len(names))]]
		off := rnd.IntN(len(n.data))
		for i := off; i < min(off+size, len(n.data)); i++ {
			n.data[i] = byte(rnd.Uint32())
		}
	}
	cfg := config()
	cfg.Budget = 1 << 20
	l, rep, err := spool.Open(cfg, spool.Options{FS: fsys, MinSeq: 800})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Verify(t.Context()); err != nil {
		t.Fatal(err)
	}
	evs := readAll(t, l, 1)
	lost := accounted(t, evs, 1, l.Last(), sent)
	got := map[string]int{}
	for _, ev := range evs {
		got[ev.Text]++
	}
	kept := 0
	for _, text := range sent {
		if got[text] > 1 {
			t.Errorf("%s came %d times", text, got[text])
		}
		kept += got[text]
	}
	if missing := len(sent) - kept; uint64(missing) > lost || missing > places*3 {
		t.Errorf("%d events are missing after %d places of %d bytes, %d are told; report %+v", missing, places, size, lost, rep)
	}
	if lost > 0 && l.ID() == evs[0].Log {
		t.Error("events are lost and the log id is the old one")
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	// Opened again there is nothing more to find.
	l, rep, err = spool.Open(cfg, spool.Options{FS: fsys, MinSeq: 800})
	if err != nil {
		t.Fatal(err)
	}
	if rep.NewLog || rep.Lost > 0 {
		t.Errorf("second open finds damage again: %+v", rep)
	}
	if again := accounted(t, readAll(t, l, 1), 1, l.Last(), sent); again != lost {
		t.Errorf("second open tells %d lost, the first %d", again, lost)
	}
	_ = l.Close()
}

func TestDamage(t *testing.T) {
	segmentsOf := func(m *memFS) []string { n := m.segments(); slices.Sort(n); return n }
	tests := []struct {
		name    string
		alter   func(m *memFS)
		opt     spool.Options
		lost    func(lost uint64) bool
		newLog  bool
		damaged int
	}{
		{"nothing", func(*memFS) {}, spool.Options{}, func(n uint64) bool { return n == 0 }, false, 0},
		{"head of the newest", func(m *memFS) { n := segmentsOf(m); m.files[n[len(n)-1]].data[20] ^= 1 }, spool.Options{}, func(n uint64) bool { return n == 0 }, true, 1},
		{"head of the oldest", func(m *memFS) { clear(m.files[segmentsOf(m)[0]].data[:56]) }, spool.Options{}, func(n uint64) bool { return n == 0 }, true, 1},
		{"footer of the oldest", func(m *memFS) { d := m.files[segmentsOf(m)[0]].data; d[len(d)-3] ^= 1 }, spool.Options{}, func(n uint64) bool { return n == 0 }, true, 1},
		{"last payload", func(m *memFS) { n := segmentsOf(m); d := m.files[n[len(n)-1]].data; d[len(d)-5] ^= 1 }, spool.Options{}, func(n uint64) bool { return n == 1 }, true, 1},
		{"a file in the middle gone", func(m *memFS) { delete(m.files, segmentsOf(m)[1]) }, spool.Options{}, func(n uint64) bool { return n > 100 }, true, 1},
		{"a file in the middle empty", func(m *memFS) { m.files[segmentsOf(m)[1]].data = nil }, spool.Options{}, func(n uint64) bool { return n > 100 }, true, 1},
		{"oldest cut short", func(m *memFS) { d := m.files[segmentsOf(m)[0]]; d.data = d.data[:len(d.data)/2] }, spool.Options{}, func(n uint64) bool { return n > 100 }, true, 1},
		{"newest gone, known elsewhere", func(m *memFS) { n := segmentsOf(m); delete(m.files, n[len(n)-1]) }, spool.Options{MinSeq: 2100}, func(n uint64) bool { return n > 100 }, true, 0},
		{"all gone, known elsewhere", func(m *memFS) { clear(m.files) }, spool.Options{MinSeq: 2000}, func(n uint64) bool { return n == 2000 }, true, 0},
		{"restored", func(*memFS) {}, spool.Options{NewLog: "restored from a backup", MinSeq: 5000}, func(n uint64) bool { return n == 3000 }, true, 0},
	}
	origin := newMemFS()
	sent := filled(t, origin, 2000, false)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			fsys := origin.crash(seeded(t), false)
			tt.alter(fsys)
			tt.opt.FS = fsys
			cfg := config()
			cfg.Budget = 1 << 20
			l, rep, stop := running(t, cfg, tt.opt)
			if rep.NewLog != tt.newLog || !tt.lost(rep.Lost) || len(rep.Damaged) != tt.damaged {
				t.Errorf("report %+v", rep)
			}
			for _, d := range rep.Damaged {
				if fsys.files[d] == nil || filepath.Dir(d) != "/state/quarantine" {
					t.Errorf("%s is not kept in quarantine", d)
				}
			}
			lost := accounted(t, readAll(t, l, 1), 1, l.Last(), sent)
			if lost != rep.Lost {
				t.Errorf("events tell %d lost, the report %d", lost, rep.Lost)
			}
			last := l.Last()
			appendWait(t, l, numbered(7))
			stop()
			l, rep, _ = running(t, cfg, spool.Options{FS: fsys, MinSeq: tt.opt.MinSeq})
			if rep.NewLog || l.Last() != last+1 {
				t.Errorf("second open: last %d, want %d; report %+v", l.Last(), last+1, rep)
			}
		})
	}
}

// TestDamageWhileRunning alters files under a running log.
func TestDamageWhileRunning(t *testing.T) {
	fsys := newMemFS()
	cfg := config()
	cfg.Budget = 1 << 20
	l, _, _ := running(t, cfg, spool.Options{FS: fsys})
	l.Register("slow")
	sent := map[site.EventSeq]string{}
	for i := range 1000 {
		sent[site.EventSeq(i+1)] = fmt.Sprintf("n%d", i)
		appendWait(t, l, numbered(i))
	}
	id := l.ID()
	names := fsys.segments()
	slices.Sort(names)
	fsys.mu.Lock()
	for _, n := range []string{names[0], names[len(names)-1]} {
		fsys.files[n].data[2000] ^= 0x40
	}
	fsys.mu.Unlock()
	accountedNow := func() uint64 { return accounted(t, readAll(t, l, 1), 1, l.Last(), sent) }
	if lost := accountedNow(); lost != 2 {
		t.Errorf("%d events lost, want one in each of two segments", lost)
	}
	if l.ID() == id {
		t.Error("the log id is the old one")
	}
	sent[l.Last()+1] = "n5"
	appendWait(t, l, numbered(5))
	if lost := accountedNow(); lost != 2 {
		t.Errorf("%d events lost after another", lost)
	}
	var back []site.Event
	if err := l.ScanBack(t.Context(), 0, func(ev site.Event) bool { back = append(back, ev); return true }); err != nil {
		t.Fatal(err)
	}
	slices.Reverse(back)
	if accounted(t, back, 1, l.Last(), sent) != 2 {
		t.Error("a scan back differs")
	}
}

// TestDamagedSmallFiles alters the cursors and the trusted time on a real disk.
func TestDamagedSmallFiles(t *testing.T) {
	cfg := config()
	cfg.Dir = filepath.Join(t.TempDir(), "events")
	l, _, stop := running(t, cfg, spool.Options{})
	appendWait(t, l, numbered(0), numbered(1))
	if err := l.Cursor("uplink").Advance(2); err != nil {
		t.Fatal(err)
	}
	l.KeepTrustedTime(epoch)
	stop()
	for _, name := range []string{"cursors", "trusted-time"} {
		path := filepath.Join(cfg.Dir, name)
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		b[3] ^= 2
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	l, rep, _ := running(t, cfg, spool.Options{})
	if !rep.Cursors || !rep.Time || len(rep.Damaged) != 2 || rep.NewLog {
		t.Errorf("report %+v", rep)
	}
	if at := l.Cursor("uplink").Position(); at != 0 || !l.TrustedTime().IsZero() {
		t.Errorf("position %d, trusted %v", at, l.TrustedTime())
	}
	kept, err := filepath.Glob(filepath.Join(filepath.Dir(cfg.Dir), "quarantine", "*"))
	if err != nil || len(kept) != 2 {
		t.Errorf("quarantine holds %v, %v", kept, err)
	}
}
