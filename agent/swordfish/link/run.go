package link

import (
	"context"
	"errors"
	"time"

	"gatehouse/agent/swordfish"
)

const (
	// tick is how often Run looks at the version of the policy.
	tick = 2 * time.Second
	// lookEvery is how often it looks at each lock's time and writes what may wait.
	lookEvery = time.Minute
	// workShare bounds what is spent on finding who is behind: for a pass that took
	// so long, so many times that is waited before the next.
	workShare = 9
)

// Run notices locks that miss their calls, and works out which are behind when the
// policy changes: at most a tenth of its time goes into that. It returns nil when
// ctx ends, after it wrote what was not on disk. Calls are answered whether or not
// it runs.
func (s *Server) Run(ctx context.Context) error {
	s.mu.Lock()
	if !s.started {
		s.started = true
		close(s.ready)
	}
	s.mu.Unlock()
	t := time.NewTicker(tick)
	defer t.Stop()
	looked, work := time.Time{}, time.Time{}
	for {
		now := time.Now()
		if now.Sub(looked) >= lookEvery {
			looked = now
			s.look(ctx)
		}
		if !now.Before(work) {
			s.refresh(ctx)
			work = time.Now().Add(workShare * time.Since(now))
		}
		select {
		case <-ctx.Done():
			s.look(context.WithoutCancel(ctx))
			return nil
		case <-t.C:
		}
	}
}

// look looks for missed calls and writes what may wait.
func (s *Server) look(ctx context.Context) {
	for _, l := range s.list {
		s.miss(l)
		some, _ := l.unsaved()
		if !some || l.turn.take(ctx) != nil {
			continue
		}
		err := l.save()
		l.turn.give()
		if err != nil {
			s.log.Error("a lock's state was not written", "lock", l.ID, "err", err)
		}
	}
}

// ring is locks of which some are taken at a time, going on where it stopped.
type ring struct {
	list []*lock
	at   int
}

// take returns at most n of those that ok names.
func (r *ring) take(n int, ok func(*lock) bool) (out []*lock) {
	for range r.list {
		if len(out) == n {
			break
		}
		l := r.list[r.at]
		r.at = (r.at + 1) % len(r.list)
		if ok(l) {
			out = append(out, l)
		}
	}
	return out
}

const (
	// checksAtOnce is how many locks are compared in a pass: the other places are for
	// locks that call.
	checksAtOnce = tablesAtOnce / 2
	// lineChecks is how many of them may be on lines, which go first: they can be
	// told at once. The others are not to wait for ever for them.
	lineChecks = checksAtOnce - 2
)

// refresh finds how far the next few locks are behind of which that is not known.
func (s *Server) refresh(ctx context.Context) {
	if s.deps.Tables == nil {
		return
	}
	policy, now := s.deps.Tables.Version(), s.deps.Clock().Now
	open := func(l *lock) bool { return !l.checked(policy, now) }
	list := s.lines.take(lineChecks, open)
	list = append(list, s.radios.take(checksAtOnce-len(list), open)...)
	done := make(chan struct{})
	for _, l := range list {
		go func() {
			defer func() { done <- struct{}{} }()
			if err := s.find(ctx, l); err != nil && ctx.Err() == nil {
				s.log.Warn("how far a lock is behind was not found", "lock", l.ID, "err", err)
			}
		}()
	}
	for range list {
		<-done
	}
}

// checked reports whether it is known how far the lock is behind, or cannot be found.
func (l *lock) checked(policy uint64, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.check.waits(policy, now)
	return l.bad != nil || l.check.current(policy, now)
}

// find works it out, as if the lock called now.
func (s *Server) find(ctx context.Context, l *lock) error {
	l.mu.Lock()
	gen, pending := l.gen, l.pending
	l.mu.Unlock()
	t, err := l.readTables()
	if errors.Is(err, errState) {
		if err := l.turn.take(ctx); err != nil {
			return err
		}
		t, err = s.known(l)
		l.turn.give()
	}
	if err != nil {
		return err
	}
	table, policy, err := s.compile(ctx, l)
	if err != nil {
		return err
	}
	var cfg *hostConfig
	if pending {
		if id, text, err := readBody(l.path + filePending); err == nil && id != t.has.config {
			cfg = &hostConfig{id: id, text: text}
		}
	}
	now := s.deps.Clock().Now
	claimed := t.has.version
	if t.other {
		claimed = swordfish.VersionAll
	}
	s.work <- struct{}{}
	p, err := s.maker(l).plan(&t, claimed, &table, cfg, now)
	s.work.give()
	if err != nil {
		return err
	}
	if !p.same && !p.again {
		p.file.Version = 0 // it gets its number when it is answered
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.gen == gen { // else the call that came knows better
		l.check.found(&p, &table, policy, now)
	}
	return nil
}
