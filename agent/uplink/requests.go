package uplink

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"
)

const (
	maxRunning = 8        // requests at once
	maxQueued  = 256      // requests that run or wait
	maxBodies  = 16 << 20 // bytes of their bodies
)

// requests runs the handler, within bounds. It outlives connections: a request
// that was accepted is carried out.
type requests struct {
	handler Handler
	limit   time.Duration // for an answer
	log     *slog.Logger
	slots   chan struct{} // held while a request runs
	wg      sync.WaitGroup

	mu sync.Mutex
	// guards following
	count, bytes int
}

func newRequests(h Handler, limit time.Duration, log *slog.Logger) *requests {
	return &requests{handler: h, limit: limit, log: log, slots: make(chan struct{}, maxRunning)}
}

func (r *requests) reserve(n int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	// One request of any size is always taken.
	if r.count >= maxQueued || r.count > 0 && r.bytes+n > maxBodies {
		return false
	}
	r.count++
	r.bytes += n
	return true
}

func (r *requests) release(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.count--
	r.bytes -= n
}

// do carries out a request and calls answer once, from another goroutine, in
// time. It returns false, and does nothing, when too many wait.
func (r *requests) do(ctx context.Context, req Request, answer func(Response)) bool {
	size := len(req.Body)
	if !r.reserve(size) {
		return false
	}
	r.wg.Go(func() { r.run(ctx, req, size, answer) })
	return true
}

// run waits for a slot, then for the handler; the answer never comes later than
// the limit. A handler that is late keeps its slot and its share of the bounds.
func (r *requests) run(ctx context.Context, req Request, size int, answer func(Response)) {
	late := time.NewTimer(r.limit - r.limit/30)
	defer late.Stop()
	ctx, cancel := context.WithTimeout(ctx, r.limit-r.limit/10)
	timedOut := Response{Status: 500, Body: statusMessage("Timed out")}
	select {
	case r.slots <- struct{}{}:
	case <-ctx.Done():
		cancel()
		r.release(size)
		answer(timedOut)
		return
	}
	result := make(chan Response, 1)
	r.wg.Go(func() {
		defer cancel()
		defer func() {
			<-r.slots
			r.release(size)
		}()
		result <- r.handle(ctx, req)
	})
	select {
	case resp := <-result:
		answer(resp)
	case <-late.C:
		r.log.Error("a request was not carried out in time", "method", req.Method, "path", req.Path)
		answer(timedOut)
	}
}

// handle keeps a panic from ending the agent: what a host sends must not.
func (r *requests) handle(ctx context.Context, req Request) (resp Response) {
	defer func() {
		if p := recover(); p != nil {
			r.log.Error("a request panicked", "method", req.Method, "path", req.Path, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			resp = Response{Status: 500, Body: statusMessage("Internal error")}
		}
	}()
	return r.handler.Handle(ctx, req)
}
