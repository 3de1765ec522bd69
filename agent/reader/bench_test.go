package reader_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"gatehouse/agent/card"
	"gatehouse/agent/reader"
	"gatehouse/agent/site"
	"gatehouse/hal/haltest"
)

// stopwatch notes when a card is presented.
type stopwatch chan time.Time

func (s stopwatch) Present(context.Context, site.ReaderID, card.Bits) { s <- time.Now() }
func (stopwatch) Key(context.Context, site.ReaderID, card.Key)        {}
func (stopwatch) Append(site.Event)                                   {}

// BenchmarkLastEdgeToPresent measures what the reader adds to the silence of a
// frame, in real time. The bar of the whole way to the strike is 1 ms at p99.
func BenchmarkLastEdgeToPresent(b *testing.B) {
	var board haltest.Board
	w := make(stopwatch, 1)
	r, err := reader.New(config(), &board, w, w, nil)
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	<-r.Ready()
	var added []time.Duration
	for b.Loop() {
		// The frame is over at the instant of its last edge.
		const gap = 200 * time.Microsecond
		time.Sleep(30 * gap) // until the stamps of this frame are after the last one
		now := time.Now()
		board.WiegandAt(d0, d1, frame26, gap, board.Now()-25*gap-haltest.PulseWidth)
		added = append(added, (<-w).Sub(now)-reader.MinSilence+haltest.PulseWidth)
	}
	slices.Sort(added)
	b.ReportMetric(float64(added[len(added)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(added[len(added)*99/100].Microseconds()), "p99-µs")
	cancel()
	if err := <-done; err != nil {
		b.Error(err)
	}
}
