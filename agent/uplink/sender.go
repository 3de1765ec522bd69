package uplink

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"
)

const (
	batchEvents = 512
	batchBytes  = 512 << 10
	batchTime   = time.Second // of writing
	retryWait   = time.Second // after the log or a cursor failed
	// Events that are not for the host move the cursor in memory; on disk it
	// follows with the next batch, or after this time.
	skipWait = 10 * time.Second
)

// sender delivers events over one connection after another. All of it belongs
// to the goroutine that runs it; the next batch is made on another one.
type sender struct {
	c       *Client
	places  *places
	session string    // part of every ping's payload
	heard   time.Time // when a ping was last answered on this connection
	pings   uint64
	skipped time.Time // since when the disk lags behind by what was skipped
	// unsaved: the host has a batch that the disk does not know of. No other is
	// sent before it does, so that never more than one can repeat.
	unsaved bool
	next    *ahead // at most one batch; nil: none
}

func (c *Client) newSender(ps *places) *sender {
	return &sender{c: c, places: ps, session: rand.Text()[:8]}
}

// run sends until ctx or the connection ends. Both are no failures.
func (s *sender) run(ctx context.Context, cn *conn) {
	defer func() { // a successor reads anew
		s.next.drop()
		s.next = nil
	}()
	s.heard = time.Now()
	for alive := true; alive && ctx.Err() == nil && !cn.retired.Load(); {
		on, change := cn.subscribed()
		wait, err := s.round(ctx, cn, on, change)
		switch {
		case err != nil:
			s.pause(ctx, cn, retryWait)
		case wait:
			s.idle(ctx, cn, on)
		}
		if time.Since(s.heard) >= s.c.cfg.Ping {
			_ = s.ping(ctx, cn)
		}
		select {
		case <-cn.done:
			alive = false
		default:
		}
	}
	if err := s.keep(); err != nil { // next time, then
		s.c.log.Warn("the position of the uplink could not be kept", "err", err)
	}
}

// round sends one batch. wait says that there was nothing to send.
func (s *sender) round(ctx context.Context, cn *conn, on [2]bool, change uint64) (wait bool, err error) {
	if s.unsaved {
		if err := s.keep(); err != nil {
			return false, s.trouble("the position of the uplink", err)
		}
	}
	if err := s.begin(cn, on); err != nil {
		return false, s.trouble("the position of the uplink", err)
	}
	s.c.noteSubscribed(on)
	b := s.take(ctx, s.places.view(on))
	if b.err != nil {
		if ctx.Err() != nil {
			return false, nil
		}
		return false, s.trouble("the event log", b.err)
	}
	if len(b.items) == 0 {
		if _, any := b.of.from(); any {
			s.c.stages.ok(StageQueue, "empty")
		}
		return true, nil
	}
	s.prepare(ctx, b.of.past(b.items))
	s.leftOut(b.failed)
	var done []item
	var sent uint64
	err = cn.gather(func() (err error) {
		done, sent, err = s.write(cn, b.items, change)
		return err
	})
	if err != nil {
		return false, nil // the connection has ended, with its cause
	}
	if sent > 0 {
		s.c.stages.ok(StageQueue, "%d events sent, waiting for the host", sent)
		if err := s.ping(ctx, cn); err != nil {
			return false, nil // likewise
		}
	}
	s.advance(b.of, done, sent)
	return false, nil
}

// take returns the batch that is sent from v on: the one that was made ahead,
// if that is where the host has come to. It is not when the subscriptions
// changed, or the time of the last batch was over before its end.
func (s *sender) take(ctx context.Context, v view) batch {
	next := s.next
	s.next = nil
	if next == nil || next.of != v {
		next.drop()
		return s.c.makeBatch(ctx, v)
	}
	if b := next.take(); b.err == nil && len(b.items) > 0 {
		return b
	}
	return s.c.makeBatch(ctx, v)
}

// prepare begins to make the batch from v on, if the log has one.
func (s *sender) prepare(ctx context.Context, v view) {
	if from, any := v.from(); any && s.c.deps.Events.Log.Last() >= from {
		s.next = s.c.makeAhead(ctx, v)
	}
}

// leftOut tells of events of a batch that cannot be sent.
func (s *sender) leftOut(list []unsayable) {
	for _, u := range list {
		s.c.log.Error("an event cannot be sent and is left out", "seq", u.seq, "err", u.err)
	}
	if len(list) > 0 {
		s.c.count.change(func(n *counters) { n.skipped += uint64(len(list)) })
	}
}

// begin finds the position of each source that is subscribed for the first
// time.
func (s *sender) begin(cn *conn, on [2]bool) error {
	for i, p := range s.places.list {
		if !on[i] || p.begun {
			continue
		}
		if err := s.places.begin(p, *cn.marks[i].Load(), s.c.cfg.FromOldest); err != nil {
			return err
		}
		s.c.deps.Events.Began(p.source)
		s.c.log.Info("events begin", "source", p.source, "after", p.seq)
	}
	s.c.notePlaces(s.places)
	return nil
}

// write writes items until the time of a batch is over or the subscriptions
// change, and returns those that are done.
func (s *sender) write(cn *conn, items []item, change uint64) (done []item, sent uint64, err error) {
	begun := time.Now()
	for i, it := range items {
		if len(it.frames) > 0 && (cn.changes.Load() != change || sent > 0 && time.Since(begun) > batchTime) {
			return items[:i], sent, nil
		}
		for _, f := range it.frames {
			if err := cn.send(f); err != nil {
				return nil, 0, err
			}
		}
		sent += uint64(len(it.frames))
	}
	return items, sent, nil
}

// ping asks the host whether it has all that was sent before.
func (s *sender) ping(ctx context.Context, cn *conn) error {
	s.pings++
	err := cn.ping(ctx, fmt.Sprintf("%s-%d", s.session, s.pings), s.c.cfg.PongWait)
	if err == nil {
		s.heard = time.Now()
	}
	return err
}

// advance moves the places from v past what the host has.
func (s *sender) advance(v view, done []item, sent uint64) {
	if len(done) == 0 {
		return
	}
	var events uint64
	for _, it := range done {
		events += it.events
	}
	s.places.move(v.past(done))
	s.c.notePlaces(s.places)
	if events > 0 {
		s.c.count.change(func(n *counters) { n.sent += events })
	}
	if sent > 0 {
		s.unsaved = true
	} else if s.skipped.IsZero() {
		s.skipped = time.Now()
	} else if time.Since(s.skipped) >= skipWait {
		s.unsaved = true
	}
}

// keep makes the places durable.
func (s *sender) keep() error {
	var all error
	for _, p := range s.places.list {
		if p.begun {
			all = errors.Join(all, s.places.save(p))
		}
	}
	if all == nil {
		s.unsaved, s.skipped = false, time.Time{}
	}
	return all
}

// trouble notes what the sender waits for, and returns it.
func (s *sender) trouble(what string, err error) error {
	err = fmt.Errorf("%s: %w", what, err)
	s.c.stages.set(Stage{Name: StageQueue, State: StateFailed, Cause: err.Error(), Advice: "look at the disk and the event log of this board (gatehouse doctor)"})
	s.c.log.Warn("events cannot be sent", "err", err)
	return err
}

// idle waits for something to do: events, another subscription, the time to ask
// whether the host is still there, or to keep what was skipped.
func (s *sender) idle(ctx context.Context, cn *conn, on [2]bool) {
	waitCtx, cancel := context.WithCancel(ctx)
	var err error
	news := make(chan struct{})
	v := s.places.view(on)
	if from, any := v.from(); any {
		go func() {
			defer close(news)
			err = s.c.deps.Events.Log.Wait(waitCtx, from-1)
		}()
		defer func() { <-news }()
	}
	defer cancel()
	wait := max(s.c.cfg.Ping-time.Since(s.heard), 0)
	if !s.skipped.IsZero() {
		wait = min(wait, skipWait)
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-news:
		if err != nil && ctx.Err() == nil {
			_ = s.trouble("the event log", err)
			s.pause(ctx, cn, retryWait)
		}
	case <-cn.subs:
	case <-cn.done:
	case <-ctx.Done():
	case <-timer.C:
		s.unsaved = s.unsaved || !s.skipped.IsZero()
	}
}

// pause waits, and reports whether the connection is still there.
func (s *sender) pause(ctx context.Context, cn *conn, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-cn.done:
	case <-ctx.Done():
	}
	return false
}
