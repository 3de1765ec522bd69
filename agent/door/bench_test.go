package door_test

import (
	"context"
	"testing"

	"gatehouse/agent/door"
	"gatehouse/agent/site"
	"gatehouse/hal"
)

// null is a line and a log that cost nothing.
type null struct{}

func (null) Set(hal.Level) error { return nil }
func (null) Close() error        { return nil }
func (null) Append(site.Event)   {}

func BenchmarkStep(b *testing.B) {
	w := world{cfg: front(), mute: true}
	w.step(door.Start{})
	b.ReportAllocs()
	for b.Loop() {
		w.now += ms
		w.step(grant("ada"))
	}
}

// BenchmarkPresent is presented bits to strike and reply, without the decision.
func BenchmarkPresent(b *testing.B) {
	cfg := front(func(c *door.Config) { c.Contact, c.Rex = "", "" })
	d, err := door.New(cfg, door.Deps{
		Strike: null{}, Decider: decider(nil), Log: null{}, Keeper: &keeper{},
		Clock: func() site.Clock { return site.Clock{Now: noon, Trusted: true} },
	})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- d.Run(ctx) }()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := d.Present(ctx, door.Presented{Reader: "in"}); err != nil {
			b.Fatal(err)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		b.Fatal(err)
	}
}
