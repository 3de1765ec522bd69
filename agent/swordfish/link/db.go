package link

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"gatehouse/agent/swordfish"
)

// none is a file that was not stored.
var none known

var errNoTables = errors.New("there is no policy to make a door file of")

// db answers a door file. What the lock will have is on disk before the answer.
func (s *Server) db(ctx context.Context, l *lock, version string) reply {
	claimed, err := swordfish.ParseVersion(version)
	if err != nil {
		return s.refuse(l, http.StatusBadRequest, err)
	}
	now := s.deps.Clock().Now
	l.mu.Lock()
	l.tried = now
	l.mu.Unlock()
	switch {
	case s.cards == nil:
		return s.busy(l, errNoSiteKey)
	case s.deps.Tables == nil:
		return s.busy(l, errNoTables)
	}
	if err := l.answer.take(ctx); err != nil {
		return s.busy(l, err)
	}
	if err := s.files.take(ctx); err != nil {
		l.answer.give()
		return s.busy(l, err)
	}
	end := func() { s.files.give(); l.answer.give() }
	file, size, err := s.file(ctx, l, claimed)
	if err != nil {
		end()
		return s.busy(l, err)
	}
	return reply{status: http.StatusOK, kind: typeJSON, size: size, end: end, write: func(w io.Writer) error {
		s.work <- struct{}{}
		defer s.work.give()
		b := bufio.NewWriterSize(idle{w, s.work}, 8<<10)
		if err := file.Write(b, s.options(l)); err != nil {
			return err
		}
		return b.Flush()
	}}
}

// idle gives the place of whoever writes to others while a lock reads.
type idle struct {
	w    io.Writer
	work slots
}

// Write writes without a place and returns with one.
func (i idle) Write(b []byte) (int, error) {
	i.work.give()
	n, err := i.w.Write(b)
	i.work <- struct{}{}
	return n, err
}

// plan makes the answer to a lock and says how long it is.
func (s *Server) plan(ctx context.Context, l *lock, known *tables, claimed uint64, table *swordfish.Table, cfg *hostConfig) (p plan, size int64, err error) {
	if err := s.work.take(ctx); err != nil {
		return p, 0, err
	}
	defer s.work.give()
	clock := s.deps.Clock()
	if p, err = s.maker(l).plan(known, claimed, table, cfg, clock.Now); err == nil {
		p.file.DownloadAt = s.nextCall(l, clock, table.Next, table.Good)
		size, err = p.file.Size(s.options(l))
	}
	if err != nil {
		return p, 0, fmt.Errorf("the door file of lock %s: %w", l.ID, err)
	}
	return p, size, nil
}

func (s *Server) options(l *lock) swordfish.WriteOptions {
	return swordfish.WriteOptions{Cards: s.cards, Profile: &l.Profile, Zone: s.cfg.Zone}
}

func (s *Server) maker(l *lock) *maker {
	return &maker{cards: s.deps.Cards, basis: basisOf(s.cfg.SiteKey, s.cfg.Zone, &l.Profile)}
}

// compile makes the lock's table. policy is no newer than it.
func (s *Server) compile(ctx context.Context, l *lock) (t swordfish.Table, policy uint64, err error) {
	if err := s.tables.take(ctx); err != nil {
		return t, 0, err
	}
	defer s.tables.give()
	policy = s.deps.Tables.Version()
	if t, err = s.deps.Tables.Table(ctx, l.ID); err != nil {
		return t, 0, fmt.Errorf("the table of lock %s: %w", l.ID, err)
	}
	return t, policy, nil
}

// file makes the door file and keeps what the lock will have of it.
func (s *Server) file(ctx context.Context, l *lock, claimed uint64) (*swordfish.File, int64, error) {
	if err := l.turn.take(ctx); err != nil {
		return nil, 0, err
	}
	defer l.turn.give()
	known, err := s.known(l)
	if err != nil {
		return nil, 0, err
	}
	moved := known.confirm(claimed)
	if claimed != swordfish.VersionAll && claimed != known.has.version {
		l.doubt() // it may be any table: of a state that was lost, or of another host
	}
	if other := claimed == swordfish.VersionAll || claimed != known.has.version; other != known.other {
		moved, known.other = true, other
	}
	cfg, err := s.waiting(l, &known)
	if err != nil {
		return nil, 0, err
	}
	table, policy, err := s.compile(ctx, l)
	if err != nil {
		return nil, 0, err
	}
	now := s.deps.Clock().Now
	p, size, err := s.plan(ctx, l, &known, claimed, &table, cfg)
	if err != nil {
		return nil, 0, err
	}
	switch {
	case p.same:
		moved = moved || known.offer.version != 0
		known.offer = none
	case !p.again:
		moved = true
		known.answer(p.next)
	}
	if moved {
		if err := l.setTables(&known); err != nil {
			return nil, 0, err
		}
	}
	if p.file.Full {
		s.log.Info("a lock gets a full door file", "lock", l.ID, "has", swordfish.FormatVersion(claimed), "users", len(p.file.Add))
	}
	if err := s.calledIn(l, now, p.file.DownloadAt, !known.other); err != nil {
		return nil, 0, err
	}
	l.mu.Lock()
	l.check.found(&p, &table, policy, now)
	l.mu.Unlock()
	return &p.file, size, nil
}

// confirm takes what a lock says it has for what it was answered. It is false where
// nothing changes.
func (t *tables) confirm(claimed uint64) bool {
	if claimed == swordfish.VersionAll || claimed != t.offer.version {
		return false
	}
	t.has, t.offer, t.other = t.offer, none, false
	return true
}

// confirm does so where a lock says it beside its audits, also of the file that it
// had before: at its last call it may have said another. The caller has the turn.
func (s *Server) confirm(l *lock, claimed uint64) error {
	l.mu.Lock()
	news := claimed != swordfish.VersionAll && (claimed == l.sum.offer || claimed == l.sum.has && (l.sum.other || l.st.unsure))
	l.mu.Unlock()
	if !news {
		return nil
	}
	t, err := s.known(l)
	if err != nil {
		return err
	}
	offered := t.confirm(claimed)
	if claimed != t.has.version {
		return nil
	}
	if offered {
		if _, err := s.waiting(l, &t); err != nil {
			return err
		}
	}
	if offered || t.other {
		t.other = false
		if err := l.setTables(&t); err != nil {
			return err
		}
	}
	l.change(true, func(st *state) { st.unsure = false })
	l.mu.Lock()
	if l.check.want == claimed {
		l.check.behind, l.check.changes, l.check.since = l.pending, 0, time.Time{}
	} else {
		l.check.done = false
	}
	l.mu.Unlock()
	return l.save()
}

// known reads the tables of a lock. Damaged ones are set aside, and then nothing is
// known. The caller has the turn.
func (s *Server) known(l *lock) (tables, error) {
	t, err := l.readTables()
	if errors.Is(err, errState) {
		return tables{ident: l.ident}, s.lose(l)
	}
	return t, err
}

// waiting returns the config that waits for the lock, and removes one that it has
// got. The caller has the turn.
func (s *Server) waiting(l *lock, t *tables) (*hostConfig, error) {
	l.mu.Lock()
	pending := l.pending
	l.mu.Unlock()
	if !pending {
		return nil, nil
	}
	id, text, err := readBody(l.path + filePending)
	switch {
	case errors.Is(err, ErrNoConfig):
		l.setPending(false)
		return nil, nil
	case errors.Is(err, errState):
		if err := s.aside(l, l.path+filePending); err != nil {
			return nil, err
		}
		l.setPending(false)
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("config of lock %s: %w", l.ID, err)
	}
	if t.has.version != 0 && t.has.config == id {
		return nil, l.dropPending()
	}
	return &hostConfig{id: id, text: text}, nil
}

// found takes in how far the lock is behind. since is kept while it stays behind.
func (c *check) found(p *plan, t *swordfish.Table, policy uint64, now time.Time) {
	since := c.since
	if since.IsZero() || !c.behind {
		since = now
	}
	*c = check{done: true, at: now, policy: policy, until: t.Next, behind: !p.same, changes: p.changes, want: p.file.Version, lost: t.Lost}
	if c.behind {
		c.since = since
	}
	for _, loss := range t.Losses[:min(len(t.Losses), maxLosses)] {
		text := loss.What
		if loss.Credential != "" {
			text = string(loss.Credential) + ": " + text
		}
		c.losses = append(c.losses, text)
	}
}

// maxLosses is how many losses of a lock are held in memory.
const maxLosses = 16
