package main

import (
	"math"
	"slices"
	"time"
)

// samples are the times of single operations.
type samples []time.Duration

// quantile returns the sample at or below which the share q of all samples
// lies (nearest rank), 0 where there is none.
func (s samples) quantile(q float64) time.Duration {
	if len(s) == 0 {
		return 0
	}
	sorted := slices.Clone(s)
	slices.Sort(sorted)
	rank := int(math.Ceil(q * float64(len(sorted))))
	return sorted[min(max(rank, 1), len(sorted))-1]
}

func (s samples) p50() time.Duration { return s.quantile(0.50) }
func (s samples) p99() time.Duration { return s.quantile(0.99) }

// longest returns the largest sample, 0 where there is none.
func (s samples) longest() time.Duration {
	if len(s) == 0 {
		return 0
	}
	return slices.Max(s)
}

// less returns the samples with d taken off each, never below 1 ns: a ratio
// must not divide by nothing.
func (s samples) less(d time.Duration) samples {
	out := make(samples, len(s))
	for i, v := range s {
		out[i] = max(v-d, 1)
	}
	return out
}

// median returns the middle of values (the lower one of two), 0 where there is
// none.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Clone(values)
	slices.Sort(sorted)
	return sorted[(len(sorted)-1)/2]
}

// clockCost is what timing an operation adds to it.
func clockCost() time.Duration {
	s := make(samples, 20_000)
	for i := range s {
		t := time.Now()
		s[i] = time.Since(t)
	}
	return s.p50()
}

// race runs the contenders in turns: each round gives each of them per
// operations in a row, and each round another one begins. A contender does one
// operation and returns how long the part that counts took.
func race(rounds, per int, contenders ...func() (time.Duration, error)) ([]samples, error) {
	out := make([]samples, len(contenders))
	for i := range out {
		out[i] = make(samples, 0, rounds*per)
	}
	for round := range rounds {
		for turn := range contenders {
			i := (round + turn) % len(contenders)
			for range per {
				d, err := contenders[i]()
				if err != nil {
					return nil, err
				}
				out[i] = append(out[i], d)
			}
		}
	}
	return out, nil
}
