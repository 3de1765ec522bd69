package spool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"gatehouse/agent/site"
)

// Log is an open event log. See the package comment for which methods may be
// called from where.
type Log struct {
	cfg  Config
	opt  Options
	fs   FS
	log  *slog.Logger
	lock io.Closer

	write chan struct{} // slot of whoever writes the active segment
	maint chan struct{} // slot of whoever replaces or removes segments; taken before write
	state chan struct{} // slot of whoever writes the small files
	broom chan struct{} // slot of whoever removes files
	wake  chan struct{} // capacity 1: the queue is not empty
	hurry chan struct{} // capacity 1: what is queued is to be written at once
	trimc chan struct{} // capacity 1: there may be something to trim
	ready chan struct{} // closed by Run
	once  sync.Once     // for ready

	active File        // owned by the holder of write; nil: the next write makes a segment
	newest segmentName // owned by the holder of write; the latest name of the highest base
	begin  *begin      // owned by the holder of write; a new log that must be begun first
	buf    []byte      // owned by the holder of write; room for the records of a group
	wrote  time.Time   // owned by Run; when it last wrote

	mu sync.Mutex
	// guards following; never held over I/O
	id         uint32
	last       uint64 // the last durable number
	change     uint64 // the highest Change in the log
	segs       []*segment
	doomed     []segmentName // not listed any more, still to be removed
	queue      []*item
	taken      int // the first items of queue that are being written
	queueBytes int
	waiters    int // receipts of queued events that somebody waits for
	lost       uint64
	failing    bool // writing fails
	running    bool
	closed     bool
	news       chan struct{} // closed and replaced when last grows
	want       map[string]uint64
	kept       map[string]uint64 // want, as far as it is durable
	consumers  map[string]bool   // nil: every cursor that there is
	trusted    time.Time
	trustedOld time.Time // what is on disk
	hints      []hint
}

// item is one event that waits for the disk, or the count of lost ones in
// whose place it stands.
type item struct {
	ev      site.Event
	lost    uint64
	size    int
	receipt Receipt // of an event; nobody has that of a count
}

// Receipt tells when an event is on disk. As long as somebody has asked for
// Done or Wait, the event is written without delay.
type Receipt struct {
	log *Log
	// log.mu guards the following; seq and err do not change once done is closed
	done     chan struct{} // nil: nobody has asked
	finished bool
	seq      site.EventSeq
	err      error
}

// Done is closed when the event is on disk, or will never be.
func (r *Receipt) Done() <-chan struct{} {
	r.log.mu.Lock()
	done, waits := r.await()
	r.log.mu.Unlock()
	if waits {
		nudge(r.log.hurry)
	}
	return done
}

// await notes that somebody waits, and reports whether that is new. The caller
// holds mu.
func (r *Receipt) await() (done chan struct{}, waits bool) {
	if r.done == nil {
		r.done = make(chan struct{})
		if r.finished {
			close(r.done)
		} else {
			r.log.waiters++
			waits = true
		}
	}
	return r.done, waits
}

// Wait returns the event's number once it is durable. It returns ErrLost,
// ErrTooLarge or ErrClosed when the event was not kept, and ctx's error when
// that ends first: the event may still be written.
func (r *Receipt) Wait(ctx context.Context) (site.EventSeq, error) {
	r.log.mu.Lock()
	if r.finished {
		defer r.log.mu.Unlock()
		return r.seq, r.err
	}
	done, waits := r.await()
	r.log.mu.Unlock()
	if waits {
		nudge(r.log.hurry)
	}
	select {
	case <-done:
		return r.seq, r.err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// finish says what became of the event. The caller holds mu.
func (r *Receipt) finish(seq uint64, err error) {
	r.seq, r.err, r.finished = site.EventSeq(seq), err, true
	if r.done != nil {
		r.log.waiters--
		close(r.done)
	}
}

// Append puts an event in the queue for the disk and returns at once, whatever
// the disk does. The log gives Log and Seq; Holder is not stored. The event's
// Sealed must not be changed afterwards. When the queue is full the event is
// counted, and an events_lost event is written in its place.
func (l *Log) Append(ev site.Event) *Receipt {
	it := &item{ev: ev, size: estimate(&ev), receipt: Receipt{log: l}}
	now, ok := l.opt.Clock()
	l.mu.Lock()
	if err := l.admit(it); err != nil {
		if !errors.Is(err, ErrClosed) {
			l.countLost(site.Event{Time: now, Trusted: ok})
		}
		it.receipt.finish(0, err)
	}
	crowded := l.crowded()
	l.mu.Unlock()
	nudge(l.wake)
	if crowded {
		nudge(l.hurry)
	}
	return &it.receipt
}

// admit queues an item or says why not. The caller holds mu.
func (l *Log) admit(it *item) error {
	switch {
	case l.closed:
		return ErrClosed
	case it.size > MaxEvent:
		return ErrTooLarge
	case len(l.queue) >= l.cfg.Queue || l.queueBytes+it.size > MaxQueueBytes:
		return ErrLost
	}
	l.queue = append(l.queue, it)
	l.queueBytes += it.size
	return nil
}

// crowded reports whether a write would be no better for more events: it is
// full, or the queue may become so. The caller holds mu.
func (l *Log) crowded() bool {
	return len(l.queue) >= l.cfg.Queue/gatherPart || l.queueBytes >= l.cfg.groupSize()
}

// countLost counts one more lost event at the end of the queue. There is at
// most one such item beyond the queue's limit. The caller holds mu.
func (l *Log) countLost(at site.Event) {
	l.lost++
	if n := len(l.queue); n > l.taken && l.queue[n-1].lost > 0 {
		l.queue[n-1].lost++
		return
	}
	at.Kind = site.KindEventsLost
	l.queue = append(l.queue, &item{ev: at, lost: 1, size: 512})
	l.queueBytes += 512
}

// nudge wakes the reader of a channel of capacity 1.
func nudge(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// take takes a slot; give gives it back.
func take(ctx context.Context, slot chan struct{}) error {
	select {
	case slot <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func give(slot chan struct{}) { <-slot }

// ID returns the id of the present numbering.
func (l *Log) ID() site.LogID {
	l.mu.Lock()
	defer l.mu.Unlock()
	return logID(l.id)
}

// First returns the lowest number that a read may give, Last+1 if there is none.
func (l *Log) First() site.EventSeq {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.segs) == 0 {
		return site.EventSeq(l.last + 1)
	}
	return site.EventSeq(l.segs[0].name.base)
}

// Last returns the highest number that is durable, 0 if there is none.
func (l *Log) Last() site.EventSeq {
	l.mu.Lock()
	defer l.mu.Unlock()
	return site.EventSeq(l.last)
}

// MaxChange returns the highest Event.Change that ever came into the log.
func (l *Log) MaxChange() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.change
}

// Status is a glance at a log.
type Status struct {
	Log        site.LogID
	First      site.EventSeq
	Last       site.EventSeq
	Bytes      int64 // on disk
	Budget     int64
	Segments   int
	Queued     int    // events that wait for the disk
	QueueLimit int    // Config.Queue
	Lost       uint64 // events lost since Open because the queue was full
	Failing    bool   // the last write failed
}

// Status returns the present state, for health and metrics.
func (l *Log) Status() Status {
	first := l.First()
	l.mu.Lock()
	defer l.mu.Unlock()
	s := Status{
		Log: logID(l.id), First: first, Last: site.EventSeq(l.last), Budget: l.cfg.Budget, Segments: len(l.segs),
		Queued: len(l.queue), QueueLimit: l.cfg.Queue, Lost: l.lost, Failing: l.failing,
	}
	for _, seg := range l.segs {
		s.Bytes += seg.disk
	}
	return s
}

// Close gives the files back. Run must have ended. Events that are still
// queued get ErrClosed.
func (l *Log) Close() error {
	l.mu.Lock()
	if l.running {
		l.mu.Unlock()
		return errors.New("spool: close: the log is still running")
	}
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	l.closed = true
	for _, it := range l.queue {
		it.receipt.finish(0, ErrClosed)
	}
	l.queue, l.queueBytes = nil, 0
	l.mu.Unlock()
	err := l.saveTime()
	if l.active != nil {
		err = errors.Join(err, l.active.Close())
		l.active = nil
	}
	if err = errors.Join(err, l.lock.Close()); err != nil {
		return fmt.Errorf("spool: close: %w", err)
	}
	return nil
}
