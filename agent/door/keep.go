package door

import (
	"context"
	"fmt"
	"time"

	"gatehouse/agent/site"
)

const (
	// keepRetry is the pace at which writing is tried again.
	keepRetry = 5 * time.Second
	// keepGrace bounds the last write at the end of a run.
	keepGrace = 2 * time.Second
	// keepWaiters bounds the commands that wait for a write.
	keepWaiters = 256
)

// keeping is the owner's side of the goroutine that writes what survives a
// restart: one write at a time, always of the latest state, so that an older
// one never overwrites a newer one. All fields belong to the owner.
type keeping struct {
	jobs    chan keepJob // capacity 1: one is under way at most
	results chan keepResult
	ended   chan struct{}
	cancel  context.CancelFunc

	latest  site.DoorKept
	version uint64 // of latest; counts changes
	done    uint64 // the last version that is durable
	busy    bool
	retryAt time.Duration // zero: no retry is due
	waiters []keepWaiter
}

type keepJob struct {
	kept    site.DoorKept
	version uint64
}

type keepResult struct {
	version uint64
	err     error
}

type keepWaiter struct {
	version uint64
	reply   chan error // capacity 1
}

// start starts the writing goroutine and returns the function that ends it,
// with one last write when there is something to write.
func (k *keeping) start(ctx context.Context, d *Door) func(*owner) {
	k.jobs = make(chan keepJob, 1)
	k.results = make(chan keepResult, 1)
	k.ended = make(chan struct{})
	kctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	k.cancel = cancel
	go func() {
		defer close(k.ended)
		for j := range k.jobs {
			k.results <- keepResult{j.version, d.deps.Keeper.Keep(kctx, d.cfg.ID, j.kept)}
		}
	}()
	return (*owner).stopKeeping
}

// stopKeeping writes what is not durable yet, within keepGrace.
func (o *owner) stopKeeping() {
	k := &o.keep
	limit := time.AfterFunc(keepGrace, k.cancel)
	defer limit.Stop()
	defer k.cancel()
	for tries := 0; k.busy || k.done < k.version && tries < 1; tries++ {
		if !k.busy {
			k.send()
		}
		k.take(<-k.results)
	}
	k.answer(ErrStopped)
	close(k.jobs)
	<-k.ended
}

// change notes a new state to write.
func (k *keeping) change(kept site.DoorKept) {
	k.latest = kept
	k.version++
	k.retryAt = 0
}

// next returns when a retry is due.
func (k *keeping) next() (time.Duration, bool) {
	return k.retryAt, k.retryAt > 0 && !k.busy && k.done < k.version
}

// submit begins a write when there is something to write.
func (k *keeping) submit(o *owner) {
	if k.busy || k.done == k.version || k.retryAt > time.Since(o.began) {
		return
	}
	k.send()
}

func (k *keeping) send() {
	k.busy = true
	k.jobs <- keepJob{k.latest, k.version}
}

// take notes the end of a write and answers who waited for it.
func (k *keeping) take(r keepResult) {
	k.busy = false
	if r.err == nil {
		k.done, k.retryAt = r.version, 0
	}
	rest := k.waiters[:0]
	for _, w := range k.waiters {
		switch {
		case w.version <= k.done:
			w.reply <- nil
		case w.version <= r.version:
			w.reply <- fmt.Errorf("%w: %w", ErrNotKept, r.err)
		default:
			rest = append(rest, w)
		}
	}
	k.waiters = rest
}

// answer gives all who still wait the same answer.
func (k *keeping) answer(err error) {
	for _, w := range k.waiters {
		w.reply <- fmt.Errorf("%w: %w", ErrNotKept, err)
	}
	k.waiters = nil
}

// await answers when all that was changed so far is durable.
func (k *keeping) await(reply chan error) {
	switch {
	case k.done == k.version:
		reply <- nil
	case len(k.waiters) >= keepWaiters:
		reply <- fmt.Errorf("%w: %w", ErrNotKept, ErrBusy)
	default:
		k.waiters = append(k.waiters, keepWaiter{k.version, reply})
	}
}

// kept takes the end of a write.
func (o *owner) kept(r keepResult) {
	k := &o.keep
	k.take(r)
	if r.err != nil {
		k.retryAt = time.Since(o.began) + keepRetry
		if !o.s.faults[PartKeep] {
			o.d.log.Error("kept state was not written", "err", r.err)
		}
	}
	o.step(Fault{PartKeep, r.err != nil})
	k.submit(o)
}
