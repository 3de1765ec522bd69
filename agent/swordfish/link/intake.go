package link

import (
	"context"
	"errors"
	"net/http"
	"time"

	"gatehouse/agent/site"
	"gatehouse/agent/swordfish"
)

// intakeOf reads the body of an audit or alert, hides its cards and takes the lock's
// turn, for record to give back. heard is what repeats compare. Where ok is false the
// reply is the answer, and nobody has the turn.
func (s *Server) intakeOf(ctx context.Context, l *lock, body []byte) (in intake, up swordfish.Upload, heard []heard, _ reply, ok bool) {
	up, err := swordfish.ReadUpload(body)
	switch {
	case errors.Is(err, swordfish.ErrOverLimit):
		return in, up, nil, s.refuse(l, http.StatusRequestEntityTooLarge, err), false
	case err != nil:
		return in, up, nil, s.refuse(l, http.StatusBadRequest, err), false
	}
	var cards []swordfish.HiddenCard
	up.Audits, cards = swordfish.Hide(up.Audits)
	st, err := s.begin(ctx, l)
	if err != nil {
		return in, up, nil, s.busy(l, err), false
	}
	in = intake{s: s, l: l, clock: s.deps.Clock(), tags: s.tags(cards), st: st}
	return in, up, heardOf(up.Audits, in.tags), reply{}, true
}

// audit takes an upload: 201 when something of it was new and is on disk, 202 when
// nothing was.
func (s *Server) audit(ctx context.Context, l *lock, body []byte) reply {
	in, up, heard, out, ok := s.intakeOf(ctx, l, body)
	if !ok {
		return out
	}
	isNew, next := in.st.history.upload(heard)
	for i := range up.Audits {
		in.add(i, &up.Audits[i], isNew[i], false)
	}
	in.moved = len(in.events) > 0 || !next.same(&in.st.history)
	if v, err := swordfish.ParseVersion(up.Version); err == nil {
		in.has = v
	}
	if err := s.record(ctx, l, &in, next); err != nil {
		return s.busy(l, err)
	}
	if len(in.events) == 0 {
		return reply{status: http.StatusAccepted}
	}
	return reply{status: http.StatusCreated}
}

// alert takes what a lock sends at once.
func (s *Server) alert(ctx context.Context, l *lock, body []byte) reply {
	in, up, heard, out, ok := s.intakeOf(ctx, l, body)
	if !ok {
		return out
	}
	isNew, next, moved := in.st.history.alert(heard, in.clock.Now)
	for i := range up.Audits {
		in.add(i, &up.Audits[i], isNew[i], true)
	}
	in.moved = moved
	if err := s.record(ctx, l, &in, next); err != nil {
		return s.busy(l, err)
	}
	return reply{status: http.StatusOK}
}

// begin takes the lock's turn, for record to give back, and returns its state.
func (s *Server) begin(ctx context.Context, l *lock) (state, error) {
	if err := l.turn.take(ctx); err != nil {
		return state{}, err
	}
	if err := s.sure(ctx, l); err != nil {
		l.turn.give()
		return state{}, err
	}
	return l.state(), nil
}

// sure reads the log again for a lock of which an event may be there that its state
// does not know. The caller has the turn.
func (s *Server) sure(ctx context.Context, l *lock) error {
	l.mu.Lock()
	rescan, seq := l.rescan, l.st.seq
	l.mu.Unlock()
	if !rescan {
		return nil
	}
	// The state is the caller's own until it is put back: others only change
	// what catchUp does not touch.
	copied := &lock{Lock: l.Lock, st: l.state()}
	if err := s.readAgain(ctx, copied, seq); err != nil {
		return err
	}
	l.change(true, func(st *state) { st.history, st.seq = copied.st.history, copied.st.seq })
	l.mu.Lock()
	l.rescan = false
	l.mu.Unlock()
	return nil
}

// readAgain adds what the log has after seq to the history of a copy.
func (s *Server) readAgain(ctx context.Context, l *lock, seq site.EventSeq) error {
	h := &l.st.history
	h.own()
	at, now := len(h.sent), s.deps.Clock().Now
	last := s.deps.Events.Last()
	err := s.deps.Events.Scan(ctx, seq, func(e site.Event) error {
		if e.Kind == site.KindLockAudit && e.Door == l.ID && e.Seq > seq {
			a := auditOf(&e)
			h.replay(&a, e.By == byAlert, at, now)
			last = max(last, e.Seq)
		}
		return nil
	})
	h.trim()
	l.st.seq = max(seq, last)
	return err
}

// intake collects the events of one call.
type intake struct {
	s      *Server
	l      *lock
	clock  site.Clock
	tags   map[int]string
	st     state // as it is after what was added
	prev   time.Time
	began  bool
	events []site.Event
	moved  bool   // the history did
	has    uint64 // the file that the lock says it has; 0: it says none
}

// add takes one audit. Those that are not new count for the order of times only.
func (in *intake) add(i int, a *swordfish.Audit, isNew, live bool) {
	if isNew && !in.began {
		in.began = true
		if in.prev.Before(in.st.lastTime) {
			in.prev = in.st.lastTime
		}
	}
	w := timeOf(a.Time, in.s.cfg.Zone, in.clock, in.prev, live)
	if w.good {
		in.prev = w.at
	}
	if !isNew {
		return
	}
	e := in.s.eventOf(in.l, a, w, in.tags[i], live)
	in.st.note(a, &e)
	if w.good {
		in.st.lastTime = w.at
		if live && w.other.IsZero() {
			in.st.drift, in.st.driftKnown = w.at.Sub(in.clock.Now).Round(time.Millisecond), true
		}
	} else if first, second, _, err := swordfish.LockTime(a.Time, in.s.cfg.Zone); live && err == nil && usable(in.clock) && second.IsZero() {
		in.st.drift, in.st.driftKnown = first.Sub(in.clock.Now).Round(time.Millisecond), true
	}
	in.events = append(in.events, e)
}

// record puts the events on disk, then the state, and gives the turn back. When it
// returns nil both are there. When it does not, the same call may come again and
// repeats nothing: what is on its way to the disk keeps the turn until it is there.
func (s *Server) record(ctx context.Context, l *lock, in *intake, next history) error {
	if len(in.events) == 0 {
		defer l.turn.give()
		return s.finish(l, in, next, 0)
	}
	done := make(chan error, 1)
	go func() {
		defer l.turn.give()
		done <- s.keep(context.WithoutCancel(ctx), l, in, next)
	}()
	late := time.NewTimer(keepAtMost)
	defer late.Stop()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-late.C:
		return errLogSlow
	}
}

// keep puts the events on disk, and then the state. The caller has the turn.
func (s *Server) keep(ctx context.Context, l *lock, in *intake, next history) error {
	if err := l.begin(s.deps.Events.Last()); err != nil {
		return err
	}
	last, err := s.deps.Events.Keep(ctx, in.events)
	if err != nil {
		l.mu.Lock()
		l.rescan = true // some of them may be in the log all the same
		l.mu.Unlock()
		return err
	}
	return s.finish(l, in, next, last)
}

var errLogSlow = errors.New("the event log takes too long")

// finish puts the state on disk. The caller has the turn.
func (s *Server) finish(l *lock, in *intake, next history, last site.EventSeq) error {
	if in.moved {
		l.change(true, func(st *state) {
			st.history, st.seq = next, max(st.seq, last)
			st.battery, st.main, st.mode, st.alarms = in.st.battery, in.st.main, in.st.mode, in.st.alarms
			st.lastTime, st.drift, st.driftKnown = in.st.lastTime, in.st.drift, in.st.driftKnown
		})
	}
	if _, needed := l.unsaved(); needed {
		if err := l.save(); err != nil {
			return err
		}
	}
	if err := s.confirm(l, in.has); err != nil {
		// The audits are safe; it says what it has at its next call as well.
		s.log.Warn("what a lock has stored was not kept", "lock", l.ID, "err", err)
	}
	return nil
}

// same reports whether nothing moved.
func (h *history) same(o *history) bool {
	return len(h.sent) == len(o.sent) && len(h.ids) == len(o.ids) && len(h.alerts) == len(o.alerts) && len(h.starts) == len(o.starts)
}
