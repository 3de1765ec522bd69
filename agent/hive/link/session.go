package link

import (
	"context"
	"sync"
	"time"

	"gatehouse/agent/hive"
	"gatehouse/hal"
)

// What the agent leaves of silence on a bus before it sends: time for a device
// to let go of the line, and for bytes that are on their way. After a command
// without an answer it leaves lateTime, so that an answer that is a little late
// spoils nobody else's. Where it does not get quiet it sends after settleTime all
// the same.
const (
	quietTime  = 3 * time.Millisecond
	quietChars = 20
	lateTime   = 50 * time.Millisecond
	settleTime = 300 * time.Millisecond
)

// maxHeld bounds what waits in a session: requests of a device that sends on
// while one is answered, and replies that wait for the end of an exchange.
const maxHeld = 8

// session is one opening of a line's port. All of it belongs to the goroutine of
// serve, but for what read and the calls send over the channels.
type session struct {
	l    *Line
	port hal.Port
	bus  bool

	in      chan chunk // unbuffered: read alternates two buffers
	quit    chan struct{}
	done    chan answered // one for each device at most
	started sync.WaitGroup

	lines   splitter
	worked  bool
	awaits  *awaited  // nil: no answer is awaited
	clear   time.Time // when what was written is on the wire
	last    time.Time // when something came
	quiet   time.Time // not before then is anything sent on a bus
	replies [][]byte  // to be written
	dirty   bool      // there was noise since the last command
	heavy   bool      // the last turn held the line up
	ordered bool      // the last turn was an order's
}

// chunk is what one Read brought.
type chunk struct {
	b   []byte
	err error
}

// answered is the end of a call.
type answered struct {
	p *peer
	outcome
}

// begin starts the reader of the port and opens the line to orders.
func (s *session) begin() {
	for _, p := range s.l.peers {
		s.l.reset(p)
	}
	s.l.mu.Lock()
	s.l.up = true
	s.l.mu.Unlock()
	s.started.Go(s.read)
}

// end waits for all that was started, after the port was closed, and refuses the
// orders that were not sent.
func (s *session) end() {
	s.l.mu.Lock()
	jobs := s.l.queue
	s.l.up, s.l.queue = false, nil
	s.l.mu.Unlock()
	for _, j := range jobs {
		j.finish(Report{}, ErrOffline)
	}
	close(s.quit)
	s.started.Wait()
	for len(s.done) > 0 { // calls that ended too late for finish
		if a := <-s.done; a.long != nil {
			a.long.end()
		}
	}
	for _, p := range s.l.peers {
		s.l.reset(p)
	}
}

// read brings what comes from the port, until the port is closed.
func (s *session) read() {
	var bufs [2][4096]byte
	for i, first := 0, true; ; i ^= 1 {
		n, err := s.port.Read(bufs[i][:])
		if n == 0 && err == nil && !first {
			continue // nothing came in time
		}
		first = false
		select {
		case s.in <- chunk{bufs[i][:n], err}:
		case <-s.quit:
			return
		}
		if err != nil {
			return
		}
	}
}

// serve does one thing after the other until the port is lost or ctx ends.
func (s *session) serve(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := s.flush(ctx); err != nil {
			return err
		}
		now := time.Now()
		s.judge(now)
		var err error
		if j := s.l.take(s.ordered && s.pick(now) != nil); j != nil {
			s.ordered = true
			err = s.order(ctx, j)
		} else if p := s.pick(now); p != nil {
			s.ordered = false
			err = s.turn(ctx, p)
		} else {
			err = s.wait(ctx, s.nextDue(), s.l.wake)
		}
		if err != nil {
			return err
		}
	}
	return ctx.Err()
}

// receive waits for something from the line or the end of a call, at most until
// then.
func (s *session) receive(ctx context.Context, until time.Time) error {
	return s.wait(ctx, until, nil)
}

// wait waits for something to come, at most until then (zero: without end).
func (s *session) wait(ctx context.Context, until time.Time, wake <-chan struct{}) error {
	var late <-chan time.Time
	if !until.IsZero() {
		t := time.NewTimer(time.Until(until))
		defer t.Stop()
		late = t.C
	}
	select {
	case c := <-s.in:
		return s.takeIn(c)
	case a := <-s.done:
		s.finish(a)
	case <-wake:
	case <-late:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// takeIn takes what one Read brought.
func (s *session) takeIn(c chunk) error {
	if c.err != nil {
		return c.err
	}
	if !s.worked {
		s.worked = true
		s.l.back()
	}
	if len(c.b) > 0 {
		s.last = time.Now()
		if s.awaits != nil {
			s.awaits.began(s.last, s.l.wire(hive.MaxBytes))
		}
	}
	s.lines.feed(c.b, s.message, func() { s.l.skipped(s.suspect()) })
	return nil
}

// settle waits until a bus is quiet.
func (s *session) settle(ctx context.Context) error {
	quiet := max(quietTime, s.l.wire(quietChars))
	for end := time.Now().Add(settleTime); s.bus; {
		now := time.Now()
		until := s.last.Add(quiet)
		if s.quiet.After(until) {
			until = s.quiet
		}
		if !now.Before(until) || !now.Before(end) {
			break
		}
		if err := s.receive(ctx, until); err != nil {
			return err
		}
	}
	return nil
}

// flush writes the replies that wait.
func (s *session) flush(ctx context.Context) error {
	for len(s.replies) > 0 {
		if err := s.settle(ctx); err != nil {
			return err
		}
		b := s.replies[0]
		s.replies = s.replies[1:]
		if err := s.write(b); err != nil {
			return err
		}
	}
	return nil
}

// reply queues a reply, without its end. What a device that asks without end is
// owed is bounded.
func (s *session) reply(b []byte) {
	if len(s.replies) < maxHeld*len(s.l.peers) {
		s.replies = append(s.replies, append(b, '\n'))
	}
}

// write puts a message on the line and works out when it has left.
func (s *session) write(b []byte) error {
	now := time.Now()
	if s.clear.Before(now) {
		s.clear = now
	}
	s.clear = s.clear.Add(s.l.wire(len(b)))
	_, err := s.port.Write(b)
	if now = time.Now(); s.clear.Before(now) {
		s.clear = now
	}
	return err
}

// call answers a request of a device. What is asked for may wait for the disk, or
// for a door file to be made, and the line goes on meanwhile.
func (s *session) call(p *peer, env hive.Envelope) {
	p.calling = true
	from := origin{via: ViaSerial, device: p.Device, reader: p.Reader, partSize: s.l.partSize()}
	s.started.Go(func() {
		s.done <- answered{p, s.l.s.answerEnvelope(nil, env, from)}
	})
}

// finish takes the end of a call.
func (s *session) finish(a answered) {
	p := a.p
	p.calling = false
	s.l.answered.Add(1)
	s.reply(a.reply)
	if a.accepted {
		s.heard(p)
	}
	if a.called { // a new call ends what was on its way for the last
		p.drop()
		p.out = a.long
	} else if a.long != nil {
		a.long.end()
	}
	if soon := time.Now().Add(pollGap); p.due.After(soon) {
		p.due = soon // it may have more
	}
	if len(p.held) > 0 {
		next := p.held[0]
		p.held = p.held[1:]
		s.call(p, next)
	}
}
