package sim

import (
	"io"
	"sync"
)

// maxWaiting is how many messages wait for one connection before events are
// dropped and before its next request is read.
const maxWaiting = 4096

// outbox is the queue of one connection. Putting never blocks: an event that
// does not fit is dropped and the next one says so; an answer always fits,
// because a request is read only when there is room.
type outbox struct {
	more chan struct{} // capacity 1: something to write
	room chan struct{} // capacity 1: something was taken

	mu sync.Mutex
	// guards following
	waiting [][]byte
	lost    bool
	closed  bool
}

func newOutbox() *outbox {
	return &outbox{more: make(chan struct{}, 1), room: make(chan struct{}, 1)}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (o *outbox) answer(m message) {
	o.mu.Lock()
	o.waiting = append(o.waiting, encode(m))
	o.mu.Unlock()
	signal(o.more)
}

// event queues an event; lost is told whether events before it were dropped.
func (o *outbox) event(make func(lost bool) message) {
	o.mu.Lock()
	if len(o.waiting) >= maxWaiting {
		o.lost = true
	} else {
		o.waiting = append(o.waiting, encode(make(o.lost)))
		o.lost = false
	}
	o.mu.Unlock()
	signal(o.more)
}

func (o *outbox) full() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.waiting) >= maxWaiting
}

// close lets write end when everything is written.
func (o *outbox) close() {
	o.mu.Lock()
	o.closed = true
	o.mu.Unlock()
	signal(o.more)
}

// write writes until close, or until w fails.
func (o *outbox) write(w io.Writer) error {
	for range o.more {
		o.mu.Lock()
		batch, closed := o.waiting, o.closed
		o.waiting = nil
		o.mu.Unlock()
		signal(o.room)
		for _, b := range batch {
			if _, err := w.Write(b); err != nil {
				return err
			}
		}
		if closed {
			return nil
		}
	}
	return nil
}
