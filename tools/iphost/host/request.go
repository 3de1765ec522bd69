package host

import (
	"errors"
	"time"

	"github.com/gorilla/websocket"

	"gatehouse/tools/iphost/engage"
)

// from says who answers a request.
type from string

const (
	fromGateway from = "gateway" // the gateway itself
	fromHost    from = "host"    // the host in its place: no answer, no connection
	fromNobody  from = "nobody"  // the gateway is not connected to the host that was asked
)

// answer is an answer to a request.
type answer struct {
	from   from
	status int
	body   []byte
}

// pending is a request that waits for its answer.
type pending struct {
	timer *time.Timer
	done  func(answer) // called once
}

// request sends a request and calls done once: with the gateway's answer, or
// with one in its place. done may be called before request returns.
func (s *session) request(tail engage.RequestTail, timeout time.Duration, done func(answer)) {
	p := &pending{done: done}
	s.mu.Lock()
	if s.closed || s.retired {
		s.mu.Unlock()
		done(answer{from: fromNobody, status: 503, body: engage.StatusMessage("the gateway is not connected")})
		return
	}
	if s.pending == nil {
		s.pending = map[uint32]*pending{}
	}
	id := s.nextID()
	s.pending[id] = p
	p.timer = time.AfterFunc(timeout, func() {
		s.answer(id, answer{from: fromHost, status: 504, body: engage.StatusMessage("the gateway did not answer in " + timeout.String())})
	})
	s.mu.Unlock()
	switch err := s.send(frame{op: websocket.TextMessage, id: id, tail: tail}); {
	case errors.Is(err, errBusy):
		s.answer(id, answer{from: fromHost, status: 503, body: engage.StatusMessage(err.Error())})
	case err != nil:
		s.answer(id, answer{from: fromNobody, status: 503, body: engage.StatusMessage("the gateway is not connected")})
	}
}

// nextID returns a number from 1 to 2147483647 that no request waits with
// (section 2). The caller holds mu.
func (s *session) nextID() uint32 {
	for {
		s.lastID = s.lastID%engage.MaxRequestID + 1
		if _, used := s.pending[s.lastID]; !used {
			return s.lastID
		}
	}
}

// answer ends the request with the given number.
func (s *session) answer(id uint32, a answer) {
	s.mu.Lock()
	p := s.pending[id]
	if p != nil {
		delete(s.pending, id)
		p.timer.Stop()
	}
	if len(s.pending) == 0 {
		s.pending = nil // maps do not shrink
	}
	last := s.retired && s.pending == nil
	s.mu.Unlock()
	if p == nil {
		s.log.Debug("an answer that nobody waits for", "request", id, "status", a.status)
		return
	}
	p.done(a)
	if last {
		s.end(closeReplaced, "a newer connection took its place")
	}
}
