package main

import (
	"context"
	"errors"
	"io"
	"time"

	"gatehouse/store"
)

// stall is the longest that a decision may ever take while the store works.
const stall = time.Second

// pause lies between two decisions of a door that is in use while something
// else runs.
const pause = time.Millisecond

// while decides again and again until work has ended, and returns how long each
// decision took. A nil work ends after d.
func while(ctx context.Context, h *house, d time.Duration, work func(context.Context) error) (samples, error) {
	done := make(chan error, 1)
	if work == nil {
		work = func(ctx context.Context) error {
			select {
			case <-time.After(d):
			case <-ctx.Done():
			}
			return nil
		}
	}
	go func() { done <- work(ctx) }()
	one := newDecider(h.store, doorIDs[0]).one(h.n)
	var out samples
	for {
		select {
		case err := <-done:
			return out, err
		default:
		}
		took, err := one()
		if err != nil {
			return out, errors.Join(err, <-done)
		}
		out = append(out, took)
		time.Sleep(pause)
	}
}

// duringRows decides while the store makes a copy, an export and an import of
// as many credentials as it holds. They have no ratio to reach; a decision that
// takes more than a second is a fault.
func duringRows(b *bench) ([]row, error) {
	h, err := b.site(b.n)
	if err != nil {
		return nil, err
	}
	if err := newDecider(h.store, doorIDs[0]).warm(b.n); err != nil {
		return nil, err
	}
	rest, err := while(b.ctx, h, pick(b, 5*time.Second, time.Second), nil)
	if err != nil {
		return nil, err
	}
	var out []row
	for _, w := range []struct {
		name string
		work func(context.Context) error
	}{
		{"during_copy", h.store.Copy},
		{"during_export", func(ctx context.Context) error {
			_, err := h.store.Export(ctx, io.Discard, store.ExportOptions{WithCards: true})
			return err
		}},
		{"during_import", func(ctx context.Context) error {
			_, err := h.importCards(ctx, maxCards, b.n)
			return err
		}},
	} {
		began := time.Now()
		got, err := while(b.ctx, h, 0, w.work)
		r := duringRow(w.name, got, rest)
		r.Detail["took_s"] = time.Since(began).Seconds()
		if err != nil {
			r.Error = err.Error()
		}
		out = append(out, r)
	}
	return out, nil
}

// duringRow compares decisions while something runs with those at rest.
func duringRow(name string, got, rest samples) row {
	r := row{Name: name, Value: micros(got.p99()), Yardstick: micros(rest.p99()), Unit: "µs",
		Detail: map[string]any{"samples": len(got), "p50_us": micros(got.p50()), "longest_us": micros(got.longest()),
			"rest_p50_us": micros(rest.p50()), "rest_longest_us": micros(rest.longest())}}
	if got.longest() > stall {
		r.Error = "a decision took " + got.longest().String()
	}
	return r
}
