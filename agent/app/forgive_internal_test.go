package app

import (
	"context"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse/agent/config"
	"gatehouse/agent/control"
	"gatehouse/agent/door"
	"gatehouse/agent/door/area"
	"gatehouse/agent/site"
	"gatehouse/store/spool"
)

// TestForgiveWhileEntering: who comes in at the moment at which all are forgiven is
// after a restart where he was before it.
func TestForgiveWhileEntering(t *testing.T) {
	log, _, err := spool.Open(spool.Config{Dir: t.TempDir(), Budget: spool.MinBudget}, spool.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- log.Run(ctx) }()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		log.Close()
	}()
	cfg := &config.Config{Areas: []area.Area{{ID: "lab", Occupancy: 9}}}
	book := func(clock func() site.Clock) *areaBook {
		b, err := newAreaBook(cfg, filepath.Join(t.TempDir(), "areas.json"), &eventSink{log: log, clock: clock}, clock, &doorSet{})
		if err != nil {
			t.Fatal(err)
		}
		b.moves["in"] = area.Move{Reader: "in", Door: "front", To: "lab"}
		return b
	}

	var b *areaBook
	entered := make(chan struct{})
	var once atomic.Bool
	now := func() site.Clock { return site.Clock{Now: time.Now(), Trusted: true} }
	b = book(func() site.Clock {
		if !once.Swap(true) { // asked by the one who forgives: Ada comes in
			go func() {
				defer close(entered)
				b.Passed(door.Access{Reader: "in", Holder: "ada"})
			}()
			select {
			case <-entered:
			case <-time.After(100 * time.Millisecond): // she waits for her turn
			}
		}
		return now()
	})
	if _, err := (areaParts{areaBook: b}).Forgive(t.Context(), control.Forgiveness{}); err != nil {
		t.Fatal(err)
	}
	<-entered
	if _, err := log.Append(site.Event{Kind: site.KindStart, Time: time.Now()}).Wait(t.Context()); err != nil {
		t.Fatal(err)
	}

	again := book(now)
	if err := again.load(t.Context(), log); err != nil {
		t.Fatal(err)
	}
	was, is := b.owner.Count("lab", time.Now()), again.owner.Count("lab", time.Now())
	if was != 1 || is != was {
		t.Errorf("%d in the laboratory, %d after a restart", was, is)
	}
}
