package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"gatehouse/agent/access"
	"gatehouse/agent/door"
	"gatehouse/agent/site"
)

// aloneField decides without doors: one at a time where it is asked, or at once
// on goroutines of which each makes one decision.
type aloneField struct {
	one  func() (time.Duration, error)
	dice *rand.Rand
	ask  []chan int
	done chan decided
	wg   sync.WaitGroup
}

// decided is one decision and when it was made.
type decided struct {
	at  time.Time
	err error
}

func newAlone(h *house, n int) (*aloneField, error) {
	f := &aloneField{one: newDecider(h.store, doorIDs[0]).one(h.n), dice: rand.New(rand.NewPCG(8, uint64(h.n))), done: make(chan decided, n)}
	if err := newDecider(h.store, doorIDs[0]).warm(h.n); err != nil {
		return nil, err
	}
	for range n {
		ask := make(chan int, 1)
		f.ask = append(f.ask, ask)
		d := newDecider(h.store, doorIDs[0])
		f.wg.Go(func() {
			for i := range ask {
				dec := d.Decide(door.Presented{Reader: "in", Bits: cardBits(i)}, nil, site.ModeSecured)
				out := decided{at: time.Now()}
				if dec.Outcome != access.Granted {
					out.err = fmt.Errorf("%w: %s", errNotGranted, dec.Reason)
				}
				f.done <- out
			}
		})
	}
	return f, nil
}

// all makes a decision on each goroutine and adds how long each took from the
// common start.
func (f *aloneField) all(n int, to samples) (samples, error) {
	cards := make([]int, len(f.ask))
	for i := range cards {
		cards[i] = f.dice.IntN(n)
	}
	began := time.Now()
	for i, c := range cards {
		f.ask[i] <- c
	}
	var err error
	for range cards {
		d := <-f.done
		err = errors.Join(err, d.err)
		to = append(to, max(d.at.Sub(began), 1))
	}
	return to, err
}

func (f *aloneField) stop() {
	for _, ask := range f.ask {
		close(ask)
	}
	f.wg.Wait()
}
