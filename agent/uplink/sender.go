package uplink

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"time"

	"gatehouse/agent/site"
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

// item is one event of a batch; without frames it is not for this host.
type item struct {
	seq    site.EventSeq
	log    site.LogID
	frames [][]byte
	events uint64 // of frames, without announcements
}

// sender delivers events over one connection after another. All of it belongs
// to the goroutine that runs it.
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
}

func (c *Client) newSender(ps *places) *sender {
	return &sender{c: c, places: ps, session: rand.Text()[:8]}
}

// run sends until ctx or the connection ends. Both are no failures.
func (s *sender) run(ctx context.Context, cn *conn) {
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
	from, any := s.from(on)
	if !any {
		return true, nil
	}
	events, err := s.c.deps.Events.Log.Read(ctx, from, batchEvents, batchBytes)
	if err != nil {
		if ctx.Err() != nil {
			return false, nil
		}
		return false, s.trouble("the event log", err)
	}
	if len(events) == 0 {
		s.c.stages.ok(StageQueue, "empty")
		return true, nil
	}
	var done []item
	var sent uint64
	items := s.items(events, on)
	err = cn.gather(func() (err error) {
		done, sent, err = s.write(cn, items, change)
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
	s.advance(done, on, sent)
	return false, nil
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

// from returns the number to read next: that of the subscribed source which is
// the furthest behind, so that events of both sources go out in one order.
func (s *sender) from(on [2]bool) (seq site.EventSeq, any bool) {
	for i, p := range s.places.list {
		if on[i] && p.begun && (!any || p.seq < seq) {
			seq, any = p.seq, true
		}
	}
	return seq + 1, any
}

// items puts events into words. It changes no place.
func (s *sender) items(events []site.Event, on [2]bool) []item {
	var logs [len(sources)]site.LogID
	var anew [len(sources)]bool
	for i, p := range s.places.list {
		logs[i], anew[i] = p.log, p.anew
	}
	out := make([]item, 0, len(events))
	for _, e := range events {
		it := item{seq: e.Seq, log: e.Log}
		for i, p := range s.places.list {
			if !on[i] || !p.begun || e.Seq <= p.seq {
				continue
			}
			if anew[i] || logs[i] != "" && logs[i] != e.Log {
				m := s.c.deps.Events.NewLog(p.source, s.c.cfg.Serial, e)
				s.add(&it, eventID(e.Seq-1), m)
			}
			logs[i], anew[i] = e.Log, false
		}
		m, ok := s.c.deps.Events.Convert(e)
		if i := m.Source.index(); ok && on[i] && s.places.list[i].begun && e.Seq > s.places.list[i].seq {
			if s.add(&it, eventID(e.Seq), m) {
				it.events++
			}
		}
		out = append(out, it)
	}
	return out
}

// eventID is the event's number modulo 2^32 (engage.md, section 3).
func eventID(seq site.EventSeq) uint32 { return uint32(uint64(seq) & math.MaxUint32) }

func (s *sender) add(it *item, id uint32, m Message) bool {
	b, err := s.c.codec.Encode(Frame{Kind: KindEvent, ID: id, Event: m})
	if err != nil {
		s.c.log.Error("an event cannot be sent and is left out", "seq", it.seq, "err", err)
		s.c.count.change(func(n *counters) { n.skipped++ })
		return false
	}
	it.frames = append(it.frames, b)
	return true
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

// advance moves the places past what the host has.
func (s *sender) advance(done []item, on [2]bool, sent uint64) {
	if len(done) == 0 {
		return
	}
	end := done[len(done)-1]
	var events uint64
	for _, it := range done {
		events += it.events
	}
	for i, p := range s.places.list {
		if on[i] && p.begun && end.seq > p.seq {
			p.seq, p.log, p.anew = end.seq, end.log, false
		}
	}
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
	if from, any := s.from(on); any {
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
