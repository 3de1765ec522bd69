package spool_test

import (
	"context"
	"sync"
	"testing"

	"gatehouse/agent/site"
	"gatehouse/store/spool"
)

// BenchmarkAppend keeps events, flush honoured, with some hundred waiting at
// any time.
func BenchmarkAppend(b *testing.B) {
	l, stop := benchLog(b)
	defer stop()
	window := make(chan *spool.Receipt, 512)
	var wg sync.WaitGroup
	wg.Go(func() {
		for r := range window {
			if _, err := r.Wait(b.Context()); err != nil {
				b.Error(err)
			}
		}
	})
	ev := numbered(1)
	for b.Loop() {
		window <- l.Append(ev)
	}
	close(window)
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

// BenchmarkRead drains a log in batches.
func BenchmarkRead(b *testing.B) {
	l, stop := benchLog(b)
	defer stop()
	var last *spool.Receipt
	for i := range 4000 {
		last = l.Append(numbered(i))
	}
	if _, err := last.Wait(b.Context()); err != nil {
		b.Fatal(err)
	}
	from := site.EventSeq(1)
	n := 0
	for b.Loop() {
		evs, err := l.Read(b.Context(), from, 100, 0)
		if err != nil {
			b.Fatal(err)
		}
		n += len(evs)
		if from += site.EventSeq(len(evs)); len(evs) < 100 {
			from = 1
		}
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "events/s")
}

func benchLog(b *testing.B) (*spool.Log, func()) {
	b.Helper()
	cfg := spool.Config{Dir: b.TempDir(), Budget: 64 << 20}
	l, _, err := spool.Open(cfg, spool.Options{})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = l.Run(ctx) })
	return l, func() {
		cancel()
		wg.Wait()
		_ = l.Close()
	}
}
