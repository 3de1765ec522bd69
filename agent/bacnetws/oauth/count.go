package oauth

import (
	"context"
	"sync"
	"time"
)

// refusedGap is the least time between two reports of one cause and token.
const refusedGap = time.Minute

// Refused tells of refused uses for one cause.
type Refused struct {
	Cause   Cause
	ID      string // of the token, where its signature was proven
	Subject string // the same
	Text    string
	From    string // of the last one
	Count   uint64 // since the report before
}

// refusals holds reports back, so that a stranger cannot fill the log. Its keys
// are causes and tokens with a good signature, so it is bounded.
type refusals struct {
	record func(Refused)

	mu   sync.Mutex // guards held; never held over record
	held map[refusedKey]*heldRefusal
}

type refusedKey struct {
	cause Cause
	id    string
}

type heldRefusal struct {
	next Refused
	last time.Time // of the last report
}

func newRefusals(record func(Refused)) *refusals {
	return &refusals{record: record, held: map[refusedKey]*heldRefusal{}}
}

func (f *refusals) add(r *Refusal, from string) {
	now, k := time.Now(), refusedKey{r.Cause, r.ID}
	f.mu.Lock()
	h := f.held[k]
	if h == nil {
		h = &heldRefusal{last: now.Add(-refusedGap)}
		f.held[k] = h
	}
	h.next = Refused{Cause: r.Cause, ID: r.ID, Subject: r.Subject, Text: r.text, From: from, Count: h.next.Count + 1}
	due := h.take(now, false)
	f.mu.Unlock()
	f.emit(due)
}

// flush reports what is held back and due, or all of it, and forgets what has
// been silent for the gap.
func (f *refusals) flush(now time.Time, all bool) {
	var due []Refused
	f.mu.Lock()
	for k, h := range f.held {
		r := h.take(now, all)
		if r.Count > 0 {
			due = append(due, r)
		} else if now.Sub(h.last) >= refusedGap {
			delete(f.held, k)
		}
	}
	f.mu.Unlock()
	for _, r := range due {
		f.emit(r)
	}
}

func (h *heldRefusal) take(now time.Time, all bool) Refused {
	if h.next.Count == 0 || !all && now.Sub(h.last) < refusedGap {
		return Refused{}
	}
	r := h.next
	h.next, h.last = Refused{}, now
	return r
}

func (f *refusals) emit(r Refused) {
	if r.Count > 0 {
		f.record(r)
	}
}

// Run reports refused uses that were held back, until ctx ends, and then those
// that still are.
func (a *Authority) Run(ctx context.Context) error {
	tick := time.NewTicker(refusedGap / 4)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			a.refusals.flush(time.Now(), true)
			return nil
		case now := <-tick.C:
			a.refusals.flush(now, false)
		}
	}
}
