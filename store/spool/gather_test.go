package spool_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/agent/site"
	"gatehouse/store/spool"
)

func (m *memFS) flushes() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.syncs
}

// TestGather appends event after event and looks when each is on disk: the
// bubble's clock stands still unless somebody sleeps.
func TestGather(t *testing.T) {
	const soon = 500 * time.Microsecond
	tests := []struct {
		name  string
		queue int
		do    func(t *testing.T, l *spool.Log)
		last  []site.EventSeq // at once, and half a millisecond later
	}{
		{"one after a pause", 0, func(_ *testing.T, l *spool.Log) {
			time.Sleep(soon)
			l.Append(numbered(1))
		}, []site.EventSeq{2, 2}},
		{"nobody waits", 0, func(_ *testing.T, l *spool.Log) {
			l.Append(numbered(1))
			l.Append(numbered(2))
		}, []site.EventSeq{1, 3}},
		{"somebody waits for the last", 0, func(t *testing.T, l *spool.Log) {
			l.Append(numbered(1))
			synctest.Wait()
			if _, err := l.Append(numbered(2)).Wait(t.Context()); err != nil {
				t.Error(err)
			}
		}, []site.EventSeq{3, 3}},
		{"somebody begins to wait for the first", 0, func(_ *testing.T, l *spool.Log) {
			r := l.Append(numbered(1))
			l.Append(numbered(2))
			synctest.Wait()
			<-r.Done()
		}, []site.EventSeq{3, 3}},
		{"somebody who waits gives up", 0, func(_ *testing.T, l *spool.Log) {
			r := l.Append(numbered(1))
			r.Done()
			synctest.Wait()
		}, []site.EventSeq{2, 2}},
		{"waited for before, not now", 0, func(t *testing.T, l *spool.Log) {
			appendWait(t, l, numbered(1))
			l.Append(numbered(2))
			r := l.Append(numbered(3))
			synctest.Wait()
			if got := l.Last(); got != 2 {
				t.Errorf("last %d, want 2", got)
			}
			time.Sleep(soon)
			<-r.Done() // closed already
		}, []site.EventSeq{4, 4}},
		{"a quarter of the queue", 8, func(_ *testing.T, l *spool.Log) {
			l.Append(numbered(1))
			synctest.Wait()
			l.Append(numbered(2))
		}, []site.EventSeq{3, 3}},
		{"many bytes", 0, func(_ *testing.T, l *spool.Log) {
			big := numbered(1)
			big.Sealed = make([]byte, spool.MaxEvent/2)
			for range 8 {
				l.Append(big)
			}
		}, []site.EventSeq{9, 9}}, // each is more than a write
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cfg := config()
				cfg.Queue = tt.queue
				l, _, stop := running(t, cfg, spool.Options{FS: newMemFS()})
				defer stop()
				appendWait(t, l, numbered(0)) // a write that ends now
				tt.do(t, l)
				synctest.Wait()
				got := []site.EventSeq{l.Last()}
				time.Sleep(soon)
				synctest.Wait()
				if diff := cmp.Diff(tt.last, append(got, l.Last())); diff != "" {
					t.Errorf("numbers on disk (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// TestGatherShares counts the flushes of a stream that nobody waits for, and
// stops in the middle of a pause: what is queued is kept.
func TestGatherShares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fsys := newMemFS()
		l, _, stop := running(t, config(), spool.Options{FS: fsys})
		appendWait(t, l, numbered(0))
		began := fsys.flushes()
		const events = 1000
		for i := range events {
			time.Sleep(50 * time.Microsecond)
			l.Append(numbered(i + 1))
		}
		if n := fsys.flushes() - began; n < 90 || n > 110 {
			t.Errorf("%d flushes for %d events in 50 ms, want one each half a millisecond", n, events)
		}
		stop()
		l, _, _ = running(t, config(), spool.Options{FS: fsys.crash(seeded(t), true)})
		if got := len(readAll(t, l, 1)); got != events+1 {
			t.Errorf("%d events were kept, want %d", got, events+1)
		}
	})
}
