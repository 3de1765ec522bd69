package host

import (
	"errors"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"gatehouse/tools/iphost/engage"
)

// frame is something to write to a gateway. A request is encoded only when it
// is written, so that one request to many gateways is one text in memory.
type frame struct {
	op   int
	data []byte
	id   uint32
	tail engage.RequestTail // if not nil, a request with the number id
}

// Bounds of what waits to be written to one gateway.
const (
	maxOut      = 256
	maxOutBytes = 2 * engage.MaxMessage
	writeTime   = 30 * time.Second
)

var (
	errBusy  = errors.New("too much waits for this gateway")
	errEnded = errors.New("the connection ended")
)

// outbox is what waits to be written. A goroutine lives while there is some.
type outbox struct {
	mu      sync.Mutex // guards following
	frames  []frame
	bytes   int
	writing bool
}

// send queues a frame. It does not block.
func (s *session) send(f frame) error {
	s.mu.Lock()
	closed := s.closed
	s.mu.Unlock()
	if closed {
		return errEnded
	}
	o := &s.outbox
	o.mu.Lock()
	defer o.mu.Unlock()
	size := len(f.data) + len(f.tail)
	if len(o.frames) >= maxOut || o.bytes > 0 && o.bytes+size > maxOutBytes {
		return errBusy
	}
	o.frames = append(o.frames, f)
	o.bytes += size
	if !o.writing {
		o.writing = true
		s.h.work.Go(s.write)
	}
	return nil
}

// write empties the outbox.
func (s *session) write() {
	for {
		f, ok := s.outbox.next()
		if !ok {
			return
		}
		data := f.data
		if f.tail != nil {
			data = f.tail.Message(f.id)
		}
		deadline := time.Now().Add(writeTime)
		var err error
		if f.op == websocket.TextMessage {
			if err = s.ws.SetWriteDeadline(deadline); err == nil {
				err = s.ws.WriteMessage(f.op, data)
			}
		} else {
			err = s.ws.WriteControl(f.op, data, deadline)
		}
		if err != nil {
			s.log.Debug("write", "err", err)
			s.end(closeGoingAway, "")
			s.outbox.clear()
			return
		}
	}
}

// next takes the first frame; without one the writer ends.
func (o *outbox) next() (frame, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.frames) == 0 {
		o.frames, o.writing = nil, false
		return frame{}, false
	}
	f := o.frames[0]
	o.frames[0] = frame{}
	o.frames = o.frames[1:]
	o.bytes -= len(f.data) + len(f.tail)
	return f, true
}

func (o *outbox) clear() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.frames, o.bytes, o.writing = nil, 0, false
}
