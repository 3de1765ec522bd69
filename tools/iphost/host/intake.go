package host

import (
	"context"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"gatehouse/tools/iphost/journal"
)

// item is what a gateway sent and waits to be stored, or a ping whose pong
// waits until everything before it is.
type item struct {
	ping bool
	id   uint32
	data []byte
}

// Bounds of what waits to be stored of one gateway, and of one batch. Beyond
// the former the host reads no more from it.
const (
	maxIn         = 2048
	maxInBytes    = 4 << 20
	maxBatch      = 512
	maxBatchBytes = 512 << 10
	storeTime     = 20 * time.Second
)

// intake is what waits to be stored. A goroutine lives while there is some;
// what comes while a batch is on its way makes the next one.
type intake struct {
	writer *journal.Writer // the storing goroutine's own
	room   chan struct{}   // of 1: there may be room again

	mu      sync.Mutex // guards following
	items   []item
	bytes   int
	storing bool
	failed  bool
}

// wake lets a reader that waits for room look again.
func (in *intake) wake() {
	select {
	case in.room <- struct{}{}:
	default:
	}
}

// take queues an item, and blocks while there is no room.
func (s *session) take(it item) error {
	in := &s.intake
	for {
		s.mu.Lock()
		closed := s.closed
		s.mu.Unlock()
		in.mu.Lock()
		switch {
		case in.failed, closed && len(in.items) >= maxIn:
			in.mu.Unlock()
			return errEnded
		case len(in.items) < maxIn && (in.bytes == 0 || in.bytes+len(it.data) <= maxInBytes):
			in.items = append(in.items, it)
			in.bytes += len(it.data)
			if !in.storing {
				in.storing = true
				s.h.work.Go(s.store)
			}
			in.mu.Unlock()
			return nil
		}
		in.mu.Unlock()
		select {
		case <-in.room:
		case <-s.h.store.Done():
			return errEnded
		}
	}
}

// store empties the intake in order: batches go to the journal, and a ping is
// answered when all before it is there.
func (s *session) store() {
	for {
		batch, ping, ok := s.intake.next()
		if !ok {
			return
		}
		s.intake.wake()
		if ping != nil {
			if f := s.h.cfg.beforePong; f != nil {
				f(s)
			}
			if err := s.send(frame{op: websocket.PongMessage, data: ping.data}); err != nil {
				s.end(closeTryLater, "the gateway does not read")
			}
			continue
		}
		ctx, cancel := context.WithTimeout(s.h.store, storeTime)
		_, err := s.intake.writer.Append(ctx, batch)
		cancel()
		if err != nil {
			// Nothing after it may be stored or answered: the gateway sends all of it
			// again from what was answered last.
			s.log.Error("events cannot be stored", "events", len(batch), "err", err)
			s.intake.fail()
			s.end(closeTryLater, "the host cannot store events now")
			return
		}
	}
}

// next takes a batch or a ping; with neither the storer ends.
func (in *intake) next() (batch []journal.Frame, ping *item, ok bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if len(in.items) == 0 {
		in.items, in.storing = nil, false
		return nil, nil, false
	}
	n, size := 0, 0
	for ; n < len(in.items) && n < maxBatch; n++ {
		it := in.items[n]
		if it.ping || n > 0 && size+len(it.data) > maxBatchBytes {
			break
		}
		size += len(it.data)
		batch = append(batch, journal.Frame{ID: it.id, JSON: it.data})
	}
	if n == 0 {
		it := in.items[0]
		ping, n, size = &it, 1, len(it.data)
	}
	clear(in.items[:n])
	in.items = in.items[n:]
	in.bytes -= size
	return batch, ping, true
}

// empty reports whether everything is stored and answered.
func (in *intake) empty() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return !in.storing
}

// fail drops what waits and takes no more.
func (in *intake) fail() {
	in.mu.Lock()
	in.items, in.bytes, in.storing, in.failed = nil, 0, false, true
	in.mu.Unlock()
	in.wake()
}
