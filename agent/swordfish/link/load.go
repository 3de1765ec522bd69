package link

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"gatehouse/agent/site"
)

// aboutRead is what a fault event is about that tells of files that cannot be read.
const aboutRead = "read"

// origin is from where on the log has to be read for a lock.
type origin struct {
	from   site.EventSeq // its audits after this one are not in its history
	sought site.EventSeq // one of its audits after this one shows that it once called
}

// loadAll reads what is kept of all locks. One whose files cannot be read is left
// out until they can.
func (s *Server) loadAll() {
	from := make(map[*lock]origin, len(s.list))
	read := make([]*lock, len(s.list))
	for i, l := range s.list {
		c := l.blank()
		o, err := s.load(c)
		if err != nil {
			s.unread(l, err)
			continue
		}
		from[c], read[i] = o, c
	}
	if err := s.catchUp(context.Background(), from); err != nil {
		s.log.Error("the event log was not read for the locks", "err", err)
		for c, o := range from {
			c.rescan, c.st.seq = true, o.from
			if o.sought < o.from { // nobody can say that it never called
				c.doubt()
			}
		}
	}
	for i, l := range s.list {
		if read[i] == nil {
			continue
		}
		l.adopt(read[i])
		if _, needed := l.unsaved(); needed {
			if err := l.save(); err != nil { // every answer waits for it anew
				s.log.Error("a lock's state was not written", "lock", l.ID, "err", err)
			}
		}
	}
}

// blank is the same lock with nothing known of it.
func (l *lock) blank() *lock {
	return &lock{Lock: l.Lock, ident: l.ident, who: l.who, path: l.path, disk: l.disk}
}

// adopt takes over what was read into a blank one.
func (l *lock) adopt(c *lock) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.st, l.changes, l.saved, l.needed = c.st, c.changes, c.saved, c.needed
	l.fresh, l.rescan, l.sum, l.pending = c.fresh, c.rescan, c.sum, c.pending
	l.gen++
	l.bad = nil
}

// unread takes in that the files of a lock cannot be read.
func (s *Server) unread(l *lock, err error) {
	l.mu.Lock()
	l.bad = err
	l.mu.Unlock()
	s.log.Error("the files of a lock cannot be read: it gets no answers until they can", "lock", l.ID, "err", err)
	s.tell(site.Event{Kind: site.KindFault, Door: l.ID, Device: l.who, Item: aboutRead,
		Text: cut("the files of the lock cannot be read, and it gets no answers until they can: " + err.Error())})
}

// unreadable returns why the lock's files are not read; nil: they are.
func (l *lock) unreadable() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.bad
}

// readable reads the files of a lock where they could not be read before. With an
// error nothing may be done for the lock.
func (s *Server) readable(ctx context.Context, l *lock) error {
	if l.unreadable() == nil {
		return nil
	}
	if err := l.turn.take(ctx); err != nil {
		return err
	}
	defer l.turn.give()
	if l.unreadable() == nil {
		return nil
	}
	c := l.blank()
	o, err := s.load(c)
	if err == nil {
		err = s.catchUp(ctx, map[*lock]origin{c: o})
	}
	if err != nil {
		now := s.deps.Clock().Now
		l.mu.Lock()
		l.bad, l.tried = err, now
		l.mu.Unlock()
		return fmt.Errorf("the files of lock %s: %w", l.ID, err)
	}
	l.adopt(c)
	s.log.Info("the files of a lock can be read again", "lock", l.ID)
	s.tell(site.Event{Kind: site.KindFault, Door: l.ID, Device: l.who, Item: aboutRead, Cleared: true, Text: "the files of the lock can be read again"})
	return nil
}

// load reads what is kept of a lock that is blank.
func (s *Server) load(l *lock) (origin, error) {
	last := s.deps.Events.Last()
	back := last - min(last, scanAtMost)
	o := origin{last, last}
	l.st, l.fresh = state{ident: l.ident, seq: last}, true
	if err := os.MkdirAll(s.cfg.Dir, 0o700); err != nil {
		return o, err
	}
	b, err := os.ReadFile(l.path + fileState)
	lost := false
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return o, err
	default:
		st, err := decodeState(b)
		if err != nil {
			if err := s.aside(l, l.path+fileState); err != nil {
				return o, err
			}
			o.from, lost = back, true
		} else if st.ident == l.ident {
			l.st, l.fresh = st, false
			o.from = min(max(st.seq, back), last)
		}
	}
	there, err := s.loadTables(l)
	if err != nil {
		return o, err
	}
	if !there && !l.st.unsure {
		switch {
		case lost, !l.fresh && l.st.everCalled():
			s.log.Warn("the tables of a lock are missing: what it holds is not known", "lock", l.ID)
			l.doubt()
		case l.fresh:
			o.sought = back
		}
	}
	return o, s.loadPending(l)
}

// loadPending finds out whether a config of the host waits.
func (s *Server) loadPending(l *lock) error {
	_, _, err := readBody(l.path + filePending)
	switch {
	case err == nil:
		l.pending = true
	case errors.Is(err, errState):
		return s.aside(l, l.path+filePending)
	case !errors.Is(err, ErrNoConfig):
		return err
	}
	return nil
}

// loadTables reads the head of a lock's tables. there is false where none are kept.
func (s *Server) loadTables(l *lock) (there bool, err error) {
	t, users, err := readHead(l.path + fileTable)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case errors.Is(err, errState):
		return false, s.lose(l)
	case err != nil:
		return false, err
	case t.ident != l.ident:
		return false, nil
	}
	l.sum = t.summary()
	l.sum.users = users
	return true, nil
}

// catchUp adds to the histories what the log has beyond them, and finds who called
// before though nothing is kept of it. Nobody else has the locks. With an error
// nothing was changed.
func (s *Server) catchUp(ctx context.Context, from map[*lock]origin) error {
	last := s.deps.Events.Last()
	first := last
	doors := make(map[site.DoorID]*lock, len(from))
	for l, o := range from {
		first = min(first, o.from, o.sought)
		doors[l.ID] = l
	}
	now := s.deps.Clock().Now
	type found struct {
		was   history
		at, n int
	}
	got, called := map[*lock]*found{}, map[*lock]bool{}
	err := s.deps.Events.Scan(ctx, first, func(e site.Event) error {
		l := doors[e.Door]
		if l == nil || e.Kind != site.KindLockAudit {
			return nil
		}
		if e.Seq > from[l].sought && e.Device == l.who {
			called[l] = true
		}
		if e.Seq <= from[l].from {
			return nil
		}
		f := got[l]
		if f == nil {
			f = &found{was: l.st.history, at: len(l.st.history.sent)}
			l.st.history.own()
			got[l] = f
		}
		a := auditOf(&e)
		l.st.history.replay(&a, e.By == byAlert, f.at, now)
		f.n++
		return nil
	})
	if err != nil {
		for l, f := range got {
			l.st.history = f.was
		}
		return fmt.Errorf("the event log: %w", err)
	}
	for l, o := range from {
		l.st.history.trim()
		l.st.seq = max(last, o.from)
		if f := got[l]; f != nil {
			l.change(true, func(*state) {})
			s.log.Info("audits of a lock were found in the event log that its state did not have", "lock", l.ID, "count", f.n)
		}
		if called[l] {
			s.log.Warn("nothing is kept of a lock that called before: what it holds is not known", "lock", l.ID)
			l.doubt()
		}
	}
	return nil
}
