package spool_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/agent/site"
	"gatehouse/store/spool"
)

func fill(t *testing.T, l *spool.Log, from, n int, change func(i int) uint64) {
	t.Helper()
	for i := from; i < from+n; i += 40 {
		var evs []site.Event
		for j := i; j < min(i+40, from+n); j++ {
			ev := numbered(j)
			ev.Data = strings.Repeat("d", 300)
			if change != nil {
				ev.Change = change(j)
			}
			evs = append(evs, ev)
		}
		appendWait(t, l, evs...)
	}
	synctest.Wait() // for the trimming
}

func TestBudget(t *testing.T) {
	cfg := config()
	cfg.Budget = 1 << 20
	t.Run("delivered goes in silence", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			fsys := newMemFS()
			l, _, stop := running(t, cfg, spool.Options{FS: fsys})
			l.Register("uplink")
			for i := range 10 {
				fill(t, l, i*500, 500, nil)
				if err := l.Cursor("uplink").Advance(l.Last()); err != nil {
					t.Fatal(err)
				}
			}
			if s := l.Status(); s.Bytes > cfg.Budget || s.First == 1 {
				t.Errorf("status %+v", s)
			}
			for _, ev := range readAll(t, l, 1) {
				if ev.Kind == site.KindEventsLost {
					t.Fatalf("%+v", ev)
				}
			}
			stop()
		})
	})
	t.Run("undelivered is counted", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			fsys := newMemFS()
			l, _, stop := running(t, cfg, spool.Options{FS: fsys})
			l.Register("uplink", "mqtt")
			fill(t, l, 0, 100, nil)
			for name, at := range map[string]site.EventSeq{"uplink": 30, "mqtt": 100} {
				if err := l.Cursor(name).Advance(at); err != nil {
					t.Fatal(err)
				}
			}
			fill(t, l, 100, 5900, nil)
			if s := l.Status(); s.Bytes > cfg.Budget || s.Segments > 12 {
				t.Errorf("status %+v", s)
			}
			check := func(l *spool.Log) {
				// Numbers up to 30 every consumer has had: they go in silence.
				for _, from := range []site.EventSeq{1, 31, 101, 2000} {
					evs := readAll(t, l, from)
					var sum uint64
					for _, ev := range evs {
						sum++
						if ev.Kind == site.KindEventsLost {
							sum += ev.Count - 1
						}
					}
					if lost := evs[0]; lost.Kind != site.KindEventsLost || sum != 6001-max(uint64(from), 31) || evs[1].Kind == site.KindEventsLost {
						t.Errorf("from %d: %d accounted for, first %+v", from, sum, lost)
					}
				}
			}
			check(l)
			stop()
			l, rep, stop := running(t, cfg, spool.Options{FS: fsys})
			if rep.NewLog {
				t.Errorf("report %+v", rep)
			}
			check(l)
			stop()
		})
	})
	t.Run("changes that the copy lacks stay", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			l, _, stop := running(t, cfg, spool.Options{FS: newMemFS()})
			l.Register("uplink", spool.PolicyCopy)
			change := func(i int) uint64 {
				if i%100 == 0 {
					return uint64(i) + 1
				}
				return 0
			}
			fill(t, l, 0, 1000, change)
			if err := l.Cursor(spool.PolicyCopy).Advance(450); err != nil {
				t.Fatal(err)
			}
			fill(t, l, 1000, 5000, change)
			var got []uint64
			for _, ev := range readAll(t, l, 451) {
				if ev.Change > 0 {
					got = append(got, ev.Change)
				}
			}
			var want []uint64
			for i := 500; i < 6000; i += 100 {
				want = append(want, uint64(i)+1)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("changes (-want +got):\n%s", diff)
			}
			if s := l.Status(); s.Bytes > cfg.Budget {
				t.Errorf("status %+v", s)
			}
			if l.MaxChange() != 5901 {
				t.Errorf("max change %d", l.MaxChange())
			}
			stop()
		})
	})
}

func TestAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := config()
		cfg.Budget, cfg.Keep = 1<<20, time.Hour
		l, _, stop := running(t, cfg, spool.Options{FS: newMemFS()})
		l.Register("uplink")
		fill(t, l, 0, 1000, nil) // 1000 s
		if l.First() != 1 {
			t.Fatal("trimmed before its time")
		}
		l.KeepTrustedTime(epoch.Add(24 * time.Hour))
		time.Sleep(10 * time.Minute) // the bubble's clock
		synctest.Wait()
		if l.First() != 1 {
			t.Error("age trimmed undelivered events")
		}
		if err := l.Cursor("uplink").Advance(1000); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if l.First() == 1 {
			t.Error("delivered events outlived their age")
		}
		if n := len(readAll(t, l, 1)); n == 0 || n == 1000 {
			t.Errorf("%d events are left", n)
		}
		stop()
	})
}

func TestCursor(t *testing.T) {
	fsys := newMemFS()
	l, _, stop := running(t, config(), spool.Options{FS: fsys})
	c := l.Cursor("uplink")
	if err := c.Advance(1); !errors.Is(err, spool.ErrAhead) {
		t.Errorf("advance beyond the end: %v, want ErrAhead", err)
	}
	if c.Known() {
		t.Error("known before it was advanced")
	}
	appendWait(t, l, numbered(0), numbered(1), numbered(2))
	for _, at := range []site.EventSeq{2, 1, 0} {
		if err := c.Advance(at); err != nil || c.Position() != 2 {
			t.Errorf("advance to %d: %v, position %d", at, err, c.Position())
		}
	}
	if err := l.Cursor("mqtt").Advance(0); err != nil || !l.Cursor("mqtt").Known() {
		t.Errorf("advance to 0: %v", err)
	}
	fsys.mu.Lock()
	fsys.fail = func(string, string) error { return errInjected }
	fsys.mu.Unlock()
	if err := c.Advance(3); !errors.Is(err, errInjected) || c.Position() != 2 {
		t.Errorf("with a broken disk: %v, position %d", err, c.Position())
	}
	fsys.mu.Lock()
	fsys.fail = nil
	fsys.mu.Unlock()
	l.KeepTrustedTime(epoch)
	stop()
	after := fsys.crash(seeded(t), true)
	l, _, stop = running(t, config(), spool.Options{FS: after})
	if at := l.Cursor("uplink").Position(); at != 2 || !l.Cursor("mqtt").Known() || !l.TrustedTime().Equal(epoch) {
		t.Errorf("after a power cut: position %d, trusted %v", at, l.TrustedTime())
	}
	if got := l.Cursors(); !slices.Equal(got, []string{"mqtt", "uplink"}) {
		t.Errorf("cursors %q", got)
	}
	if err := l.Forget("uplink"); err != nil || l.Cursor("uplink").Known() {
		t.Errorf("forget: %v", err)
	}
	if got := l.Cursors(); !slices.Equal(got, []string{"mqtt"}) {
		t.Errorf("cursors after forgetting one: %q", got)
	}
	stop()
}

func TestScanAndSeek(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := config()
		cfg.Budget = 4 << 20
		fsys := newMemFS()
		l, _, stop := running(t, cfg, spool.Options{FS: fsys})
		fill(t, l, 0, 3000, nil)
		stop()
		l, _, stop = running(t, cfg, spool.Options{FS: fsys})
		for _, at := range []int{0, 1, 700, 2999} {
			when := epoch.Add(time.Duration(at) * time.Second)
			from := l.SeekTime(when)
			if from > site.EventSeq(at+1) || from+1500 < site.EventSeq(at) {
				t.Errorf("seek to event %d gives %d", at+1, from)
			}
		}
		if from := l.SeekTime(epoch.Add(time.Hour)); from != l.Last()+1 {
			t.Errorf("seek past the end gives %d", from)
		}
		var seqs []site.EventSeq
		collect := func(ev site.Event) bool { seqs = append(seqs, ev.Seq); return len(seqs) < 5 }
		if err := l.Scan(t.Context(), 1998, 2000, collect); err != nil {
			t.Fatal(err)
		}
		if err := l.ScanBack(t.Context(), 2, collect); err != nil {
			t.Fatal(err)
		}
		if want := []site.EventSeq{1998, 1999, 2000, 2, 1}; !slices.Equal(seqs, want) {
			t.Errorf("scans gave %d, want %d", seqs, want)
		}
		evs, err := l.Read(t.Context(), 5, 0, 1)
		if err != nil || len(evs) != 1 || evs[0].Seq != 5 {
			t.Errorf("read of one byte: %d events, %v", len(evs), err)
		}
		stop()
	})
}
