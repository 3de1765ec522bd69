package link

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"gatehouse/agent/site"
	"gatehouse/agent/swordfish"
)

const (
	// tokenFor is how long a token may be used (engage.md section 5).
	tokenFor = 10 * time.Minute
	// tokenAhead is how far a token's time may be ahead of the site's: it may be a
	// local time (engage.md section 1), and one from a lock whose clock is years
	// ahead would keep out all that come later.
	tokenAhead = 24 * time.Hour
	// tellGap is the least time between two events of one lock that a stranger can
	// cause.
	tellGap = time.Minute
)

// admit says whether a lock that names itself with a token is let in, and why not.
// A token that is good is the lock's last one from then on.
func (s *Server) admit(l *lock, t swordfish.Token, bad error, addr string) error {
	clock := s.deps.Clock()
	if bad != nil {
		return fmt.Errorf("its token cannot be read: %w", bad)
	}
	at, err := t.Open(s.cfg.SiteKey)
	if err != nil {
		return fmt.Errorf("its token is not good: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	last := l.st.token
	if usable(clock) && at.After(later(clock.Now, last.at).Add(tokenAhead)) {
		return fmt.Errorf("its token is of %s, which is ahead of the time here: set the lock's clock", stamp(at))
	}
	switch c := at.Compare(last.at); {
	case c < 0:
		return fmt.Errorf("the time of its token went back from %s to %s: set the lock's clock", stamp(last.at), stamp(at))
	case c > 0 || last.first.IsZero():
		l.st.token = token{at: at, first: clock.Now, addr: addr, cipher: t.Cipher}
		l.changes++
		l.needed = l.changes
		return nil
	case t.Cipher != last.cipher:
		return fmt.Errorf("its token has the time of the one before, %s, and is another", stamp(at))
	case addr != last.addr:
		return fmt.Errorf("its token was used from %s before and comes from %s now", last.addr, addr)
	case clock.Now.Sub(last.first).Abs() > tokenFor:
		return fmt.Errorf("its token was first used %s ago, it is good for %s: does the lock read X-Device-Last-Connected?", clock.Now.Sub(last.first).Round(time.Second), tokenFor)
	}
	return nil
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// stampForm is how times stand in tokens and in X-Device-Last-Connected.
const stampForm = "20060102150405"

func stamp(t time.Time) string { return t.UTC().Format(stampForm) }

// hostTime is the time that a lock is told for its next token: the site's, and
// never one at which that token would have gone back.
func (s *Server) hostTime(l *lock) string {
	l.mu.Lock()
	last := l.st.token.at
	l.mu.Unlock()
	now := s.deps.Clock().Now
	if !last.IsZero() && !last.Before(now.Truncate(time.Second)) {
		now = last.Add(time.Second)
	}
	return stamp(now)
}

// gate decides whether a call of a lock over HTTP goes on: 0, or the status that
// refuses it.
func (s *Server) gate(l *lock, t swordfish.Token, bad error, addr string) int {
	if s.cfg.Auth == AuthNone {
		return 0
	}
	if s.cards == nil {
		if s.cfg.Auth == AuthReport {
			return 0
		}
		s.refused(l, errors.New("no token can be checked, for there is no site key"), addr)
		return http.StatusServiceUnavailable
	}
	if err := s.admit(l, t, bad, addr); err != nil {
		s.refused(l, err, addr)
		if s.cfg.Auth == AuthEnforce {
			return http.StatusUnauthorized
		}
		return 0
	}
	s.welcome(l)
	return 0
}

// refused tells the operator why, at most once a minute a lock.
func (s *Server) refused(l *lock, why error, addr string) {
	now := s.deps.Clock().Now
	l.change(false, func(st *state) { st.refused, st.since = cut(why.Error()), now })
	count, ok := l.mayTell(now)
	if !ok {
		return
	}
	verb := "was refused"
	if s.cfg.Auth != AuthEnforce {
		verb = "would be refused with enforce"
	}
	s.log.Warn("a lock's call "+verb, "lock", l.ID, "serial", l.Serial, "peer", addr, "why", why.Error(), "before", count)
	s.tell(site.Event{Kind: site.KindFault, Door: l.ID, Device: l.who, Item: aboutToken, Count: count + 1,
		Text: cut(fmt.Sprintf("a call of the lock from %s %s: %s", addr, verb, why))})
}

// mayTell reports whether a minute has gone, and how many were held back since.
func (l *lock) mayTell(now time.Time) (held uint64, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.told.may(now)
}

// welcome ends what refused began.
func (s *Server) welcome(l *lock) {
	if l.state().refused == "" {
		return
	}
	l.change(false, func(st *state) { st.refused, st.since = "", time.Time{} })
	s.log.Info("a lock's calls are let in again", "lock", l.ID)
	s.tell(site.Event{Kind: site.KindFault, Door: l.ID, Device: l.who, Item: aboutToken, Cleared: true, Text: "the calls of the lock are let in again"})
}

const (
	// maxPending is how many locks that are not named are remembered.
	maxPending = 64
	// strangerGap is the least time between two lines of the log about them:
	// anybody can make up serial numbers.
	strangerGap = 10 * time.Second
)

// What a fault event is about, in Item: the end of one fault is not another's.
const (
	aboutToken = "token"
	aboutCall  = "call"
	aboutFile  = "file"
)

// stranger remembers a lock that is not named in the settings. One that is named as a
// lock on a serial line is none, though it gets nothing over HTTP.
func (s *Server) stranger(serial, addr string) {
	if slices.ContainsFunc(s.list, func(l *lock) bool { return l.Serial == serial }) {
		return
	}
	now := s.deps.Clock().Now
	s.mu.Lock()
	p := s.pending[serial]
	first := p == nil
	if first {
		if len(s.pending) >= maxPending {
			s.forgetOldest()
		}
		p = &Pending{Serial: serial, First: now}
		s.pending[serial] = p
	}
	p.Last, p.Address = now, addr
	p.Calls++
	tell := first && (s.told.IsZero() || now.Sub(s.told).Abs() >= strangerGap)
	if tell {
		s.told = now
	}
	s.mu.Unlock()
	if tell {
		s.log.Warn("a lock calls that the settings do not name: name it under locks to let it in", "serial", serial, "peer", addr)
	}
}

// forgetOldest makes room. The caller holds mu.
func (s *Server) forgetOldest() {
	var oldest *Pending
	for _, p := range s.pending {
		if oldest == nil || p.Last.Before(oldest.Last) || p.Last.Equal(oldest.Last) && p.Calls < oldest.Calls {
			oldest = p
		}
	}
	delete(s.pending, oldest.Serial)
}
