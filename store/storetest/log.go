package storetest

import (
	"context"
	"slices"
	"sync"

	"gatehouse/agent/site"
	"gatehouse/store"
)

// Log is a working event log in memory. The zero value is empty and ready.
type Log struct {
	mu     sync.Mutex // guards the following
	events []site.Event
	base   site.EventSeq // events at and below were trimmed
	change uint64
	fail   error
	held   bool
	queue  []*waiting // given while held
}

// waiting is an event that has no place yet.
type waiting struct {
	event site.Event
	done  chan struct{} // closed when it has
	seq   site.EventSeq
	err   error
}

var _ store.Log = (*Log)(nil)

// Append keeps the event and returns its number. As with the real log, an event
// that was given is kept, also where ctx ends before it has its place.
func (l *Log) Append(ctx context.Context, e site.Event) (site.EventSeq, error) {
	l.mu.Lock()
	if !l.held {
		defer l.mu.Unlock()
		return l.place(e)
	}
	w := &waiting{event: e, done: make(chan struct{})}
	l.queue = append(l.queue, w)
	l.mu.Unlock()
	select {
	case <-w.done:
		return w.seq, w.err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// place gives an event its number. The caller holds mu.
func (l *Log) place(e site.Event) (site.EventSeq, error) {
	if l.fail != nil {
		return 0, l.fail
	}
	e.Log, e.Seq = "5f3a9c01", l.base+site.EventSeq(len(l.events))+1
	e.Sealed = slices.Clone(e.Sealed)
	l.events = append(l.events, e)
	l.change = max(l.change, e.Change)
	return e.Seq, nil
}

// Last returns the highest number given.
func (l *Log) Last() site.EventSeq {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.base + site.EventSeq(len(l.events))
}

// MaxChange returns the highest Event.Change, trimmed ones included.
func (l *Log) MaxChange() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.change
}

// Scan calls fn with each event from a number on.
func (l *Log) Scan(ctx context.Context, from site.EventSeq, fn func(site.Event) error) error {
	for _, e := range l.Events() {
		if err := ctx.Err(); err != nil {
			return err
		}
		if e.Seq < from {
			continue
		}
		if err := fn(e); err != nil {
			return err
		}
	}
	return nil
}

// Events returns a copy of all events.
func (l *Log) Events() []site.Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.events)
}

// Clone returns a log with the same events, as a copy of the disk would be.
func (l *Log) Clone() *Log {
	l.mu.Lock()
	defer l.mu.Unlock()
	return &Log{events: slices.Clone(l.events), base: l.base, change: l.change}
}

// Trim forgets events up to and with seq.
func (l *Log) Trim(seq site.EventSeq) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := min(int(max(seq, l.base)-l.base), len(l.events))
	l.events = slices.Clone(l.events[n:])
	l.base += site.EventSeq(n)
}

// Fail makes Append fail with err from now on; nil ends that.
func (l *Log) Fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fail = err
}

// Hold makes Append wait until the function it returns is called.
func (l *Log) Hold() (release func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held = true
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, w := range l.queue {
			w.seq, w.err = l.place(w.event)
			close(w.done)
		}
		l.held, l.queue = false, nil
	}
}
