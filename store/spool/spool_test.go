package spool_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/agent/site"
	"gatehouse/store/spool"
)

var epoch = time.Date(2026, 11, 21, 18, 0, 0, 0, time.UTC)

func config() spool.Config { return spool.Config{Dir: "/state/events", Budget: 1 << 30} }

// running opens a log over fsys and runs it until stop.
func running(t *testing.T, cfg spool.Config, opt spool.Options) (*spool.Log, spool.Report, func()) {
	t.Helper()
	l, rep, err := spool.Open(cfg, opt)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := l.Run(ctx); err != nil {
			t.Errorf("run: %v", err)
		}
	})
	var once sync.Once
	stop := func() {
		once.Do(func() {
			cancel()
			wg.Wait()
			if err := l.Close(); err != nil {
				t.Logf("close: %v", err)
			}
		})
	}
	t.Cleanup(stop)
	return l, rep, stop
}

func numbered(i int) site.Event {
	return site.Event{Time: epoch.Add(time.Duration(i) * time.Second), Trusted: true, Kind: site.KindAccess,
		Door: "front", Reason: site.ReasonGranted, Text: fmt.Sprintf("n%d", i)}
}

func appendWait(t *testing.T, l *spool.Log, evs ...site.Event) {
	t.Helper()
	var rs []*spool.Receipt
	for _, ev := range evs {
		rs = append(rs, l.Append(ev))
	}
	for i, r := range rs {
		if _, err := r.Wait(t.Context()); err != nil {
			t.Fatalf("event %d: %v", i, err)
		}
	}
}

// readAll reads in small steps, as a consumer does, and checks the order.
func readAll(t *testing.T, l *spool.Log, from site.EventSeq) []site.Event {
	t.Helper()
	var out []site.Event
	for {
		evs, err := l.Read(t.Context(), from, 61, 0)
		if err != nil {
			t.Fatalf("read from %d: %v", from, err)
		}
		if len(evs) == 0 {
			return out
		}
		for _, ev := range evs {
			if ev.Seq < from {
				t.Fatalf("read from %d gave %d", from, ev.Seq)
			}
			from = ev.Seq + 1
		}
		out = append(out, evs...)
	}
}

func texts(evs []site.Event) []string {
	var out []string
	for _, ev := range evs {
		if ev.Kind == site.KindEventsLost {
			out = append(out, fmt.Sprintf("lost %d", ev.Count))
		} else {
			out = append(out, ev.Text)
		}
	}
	return out
}

func TestRoundTrip(t *testing.T) {
	fsys := newMemFS()
	l, rep, stop := running(t, config(), spool.Options{FS: fsys})
	if !rep.Fresh || rep.NewLog || rep.Lost != 0 {
		t.Errorf("report = %+v, want a fresh log", rep)
	}
	in := site.Event{Time: epoch.Add(123456789).In(time.FixedZone("x", 3600)), Trusted: true, Kind: site.KindPolicy, Holder: "Ada", HolderID: "h1",
		Card: site.CardRef{Last2: "68", Tag: "a41f0c"}, Sealed: []byte{0, 255, 1}, Change: 9, Until: epoch, By: "cli", Text: "a\xff\x00<>"}
	appendWait(t, l, in)
	stop()

	l, rep, _ = running(t, config(), spool.Options{FS: fsys})
	want := in
	want.Holder, want.Log, want.Seq = "", l.ID(), 1
	want.Time, want.Text = want.Time.UTC(), "a�\x00<>"
	if diff := cmp.Diff([]site.Event{want}, readAll(t, l, 0)); diff != "" {
		t.Errorf("stored event (-want +got):\n%s", diff)
	}
	if rep.Fresh || rep.NewLog || rep.Truncated != 0 {
		t.Errorf("report = %+v, want nothing found", rep)
	}
	if l.MaxChange() != 9 || l.First() != 1 || l.Last() != 1 {
		t.Errorf("max change %d, first %d, last %d", l.MaxChange(), l.First(), l.Last())
	}
	appendWait(t, l, numbered(2))
	if l.Last() != 2 || l.MaxChange() != 9 {
		t.Errorf("last %d, max change %d after another", l.Last(), l.MaxChange())
	}
}

func TestUnstorableTimes(t *testing.T) {
	l, _, _ := running(t, config(), spool.Options{FS: newMemFS()})
	appendWait(t, l,
		site.Event{Time: time.Date(20000, 1, 1, 0, 0, 0, 0, time.UTC), Text: "late"},
		site.Event{Time: time.Date(-5, 1, 1, 0, 0, 0, 0, time.FixedZone("odd", 86399)), Text: "early"},
		site.Event{Text: "none"})
	if diff := cmp.Diff([]string{"late", "early", "none"}, texts(readAll(t, l, 1))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestQueueFull(t *testing.T) {
	cfg := config()
	cfg.Queue = 3
	l, _, err := spool.Open(cfg, spool.Options{FS: newMemFS()})
	if err != nil {
		t.Fatal(err)
	}
	var rs []*spool.Receipt
	for i := range 8 {
		rs = append(rs, l.Append(numbered(i)))
	}
	for i, r := range rs[3:] {
		if _, err := r.Wait(t.Context()); !errors.Is(err, spool.ErrLost) {
			t.Errorf("event %d: %v, want ErrLost", i+3, err)
		}
	}
	big := numbered(0)
	big.Sealed = make([]byte, spool.MaxEvent)
	if _, err := l.Append(big).Wait(t.Context()); !errors.Is(err, spool.ErrTooLarge) {
		t.Errorf("too large: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = l.Run(ctx) })
	if _, err := rs[2].Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := l.Wait(t.Context(), 3); err != nil {
		t.Fatal(err)
	}
	appendWait(t, l, numbered(9))
	cancel()
	wg.Wait()
	if diff := cmp.Diff([]string{"n0", "n1", "n2", "lost 6", "n9"}, texts(readAll(t, l, 1))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if l.Status().Lost != 6 {
		t.Errorf("status counts %d lost, want 6", l.Status().Lost)
	}
}

// TestWriteFaults lets each writing operation fail and clears the fault after
// a while: everything arrives, once, in order, and a power cut finds it.
func TestWriteFaults(t *testing.T) {
	for _, op := range []string{"write", "sync", "create", "truncate", "syncdir", "write+truncate"} {
		t.Run(op, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fsys := newMemFS()
				var mu sync.Mutex
				var faults, clears int
				opt := spool.Options{FS: fsys,
					OnFault: func(string, string) { mu.Lock(); faults++; mu.Unlock() },
					OnClear: func(id string) {
						if id == spool.FaultWrite {
							mu.Lock()
							clears++
							mu.Unlock()
						}
					},
				}
				l, _, stop := running(t, config(), opt)
				appendWait(t, l, numbered(0))
				fsys.mu.Lock()
				fsys.fail = func(o, _ string) error {
					if strings.Contains(op, o) || o == "sync" && (op == "create" || op == "syncdir" || op == "truncate") {
						return errInjected
					}
					return nil
				}
				fsys.mu.Unlock()
				r1, r2 := l.Append(numbered(1)), l.Append(numbered(2))
				time.Sleep(time.Minute) // the bubble's clock
				select {
				case <-r1.Done():
					t.Fatal("acknowledged although nothing can be written")
				default:
				}
				if got := len(readAll(t, l, 1)); got != 1 {
					t.Errorf("readers see %d events, want the durable one", got)
				}
				fsys.mu.Lock()
				fsys.fail = nil
				fsys.mu.Unlock()
				for _, r := range []*spool.Receipt{r1, r2} {
					if _, err := r.Wait(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
				want := []string{"n0", "n1", "n2"}
				if diff := cmp.Diff(want, texts(readAll(t, l, 1))); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
				after := fsys.crash(seeded(t), true)
				stop()
				mu.Lock()
				if faults == 0 || clears != 1 {
					t.Errorf("%d faults and %d clears were told", faults, clears)
				}
				mu.Unlock()
				l, rep, _ := running(t, config(), spool.Options{FS: after})
				if rep.NewLog {
					t.Errorf("report after the cut: %+v", rep)
				}
				if diff := cmp.Diff(want, texts(readAll(t, l, 1))); diff != "" {
					t.Errorf("after a power cut (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestDiskFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fsys := newMemFS()
		cfg := config()
		cfg.Queue = 10
		var fault string
		l, _, stop := running(t, cfg, spool.Options{FS: fsys, OnFault: func(_, text string) { fault = text }})
		appendWait(t, l, numbered(0))
		fsys.mu.Lock()
		fsys.space = 100
		fsys.mu.Unlock()
		for i := 1; i <= 15; i++ {
			l.Append(numbered(i))
		}
		time.Sleep(time.Minute) // the bubble's clock
		synctest.Wait()
		if !l.Status().Failing || !strings.Contains(fault, syscall.ENOSPC.Error()) {
			t.Errorf("status %+v, fault %q", l.Status(), fault)
		}
		fsys.mu.Lock()
		fsys.space = -1
		fsys.mu.Unlock()
		time.Sleep(time.Minute)
		appendWait(t, l, numbered(16))
		want := []string{"n0", "n1", "n2", "n3", "n4", "n5", "n6", "n7", "n8", "n9", "n10", "lost 5", "n16"}
		if diff := cmp.Diff(want, texts(readAll(t, l, 1))); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		stop()
	})
}

func TestStopWithDiskFull(t *testing.T) {
	fsys := newMemFS()
	l, _, stop := running(t, config(), spool.Options{FS: fsys})
	appendWait(t, l, numbered(0))
	fsys.mu.Lock()
	fsys.space = 0
	fsys.mu.Unlock()
	r := l.Append(numbered(1))
	stop()
	if _, err := r.Wait(t.Context()); !errors.Is(err, spool.ErrClosed) {
		t.Errorf("receipt: %v, want ErrClosed", err)
	}
	if _, err := l.Append(numbered(2)).Wait(t.Context()); !errors.Is(err, spool.ErrClosed) {
		t.Errorf("append after close: %v, want ErrClosed", err)
	}
}

func TestLocked(t *testing.T) {
	cfg := config()
	cfg.Dir = t.TempDir()
	l, _, err := spool.Open(cfg, spool.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := spool.Open(cfg, spool.Options{}); !errors.Is(err, spool.ErrLocked) {
		t.Errorf("second open: %v, want ErrLocked", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l, _, err = spool.Open(cfg, spool.Options{})
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
}
