package link

import (
	"crypto/sha256"
	"encoding/binary"
	"time"

	"gatehouse/agent/site"
)

const (
	minutesPerDay = 1440
	// soonest is the least time to the next call.
	soonest = 15 * time.Minute
	// afterNext is how long after the table changes by itself a lock calls for it.
	afterNext = time.Minute
	// lateAfter is how long a lock may stay out after the time that it was given.
	lateAfter = time.Hour
)

// nextCall is when a lock that calls now is to call again: in the next night, at
// its own place in the window, or sooner where its table is good for less. It is zero
// while the site does not know the time: the lock then calls when it does by itself.
func (s *Server) nextCall(l *lock, clock site.Clock, next, good time.Time) time.Time {
	if !usable(clock) {
		return time.Time{}
	}
	now := clock.Now
	at := nightly(now, s.cfg.Zone, s.cfg.Window, spread(l.ident))
	if good.IsZero() || !good.Before(at) {
		return at
	}
	if next.IsZero() || next.After(good) {
		next = good
	}
	sooner := next.Add(afterNext)
	if least := now.Add(soonest); sooner.Before(least) {
		sooner = least
	}
	if sooner.Before(at) {
		return sooner.Truncate(time.Second)
	}
	return at
}

// spread is a lock's place in the window, the same each night.
func spread(ident string) uint32 {
	sum := sha256.Sum256([]byte(ident))
	return binary.BigEndian.Uint32(sum[:4])
}

// nightly is the place in the next window that has not begun: a lock that calls
// within tonight's has done it.
func nightly(now time.Time, zone *time.Location, window [2]int, place uint32) time.Time {
	length := (window[1] - window[0] + minutesPerDay) % minutesPerDay
	if length == 0 {
		length = minutesPerDay
	}
	now = now.In(zone)
	y, m, d := now.Date()
	for n := -1; ; n++ {
		begin := time.Date(y, m, d+n, 0, window[0], 0, 0, zone)
		if begin.After(now) {
			return time.Date(y, m, d+n, 0, window[0], int(place%uint32(length*60)), 0, zone)
		}
	}
}

// calledIn puts on disk that a lock called for its door file and got one, and when it
// will again. sure: it said that it has a file that is known. With an error nothing
// was taken in. The caller has the turn.
func (s *Server) calledIn(l *lock, now, next time.Time, sure bool) error {
	was := l.state()
	l.change(true, func(st *state) {
		st.callIn, st.next, st.late, st.unsure = now, next, false, st.unsure && !sure
	})
	if err := l.save(); err != nil {
		l.change(true, func(st *state) {
			st.callIn, st.next, st.late, st.unsure = was.callIn, was.next, was.late, was.unsure
		})
		return err
	}
	if was.late {
		s.log.Info("a lock that had missed its call called", "lock", l.ID)
		s.tell(site.Event{Kind: site.KindFault, Door: l.ID, Device: l.who, Item: aboutCall, Cleared: true, Text: "the lock called again"})
	}
	return nil
}

// horizon is the furthest that a time of nightly can be: a day of 25 hours and the
// whole window. What is beyond was worked out while the clock was wrong.
func (s *Server) horizon() time.Duration {
	length := (s.cfg.Window[1] - s.cfg.Window[0] + minutesPerDay) % minutesPerDay
	if length == 0 {
		length = minutesPerDay
	}
	return 25*time.Hour + time.Duration(length)*time.Minute
}

// expected is when a lock is to call next; zero where that is not known.
func (s *Server) expected(st *state, now time.Time) time.Time {
	if st.next.After(now.Add(s.horizon())) {
		return time.Time{}
	}
	return st.next
}

// miss notices locks that did not call.
func (s *Server) miss(l *lock) {
	clock := s.deps.Clock()
	st := l.state()
	if !usable(clock) || st.late || st.next.IsZero() {
		return
	}
	limit, what := st.next.Add(lateAfter), "at "+st.next.In(s.cfg.Zone).Format(time.RFC3339)
	if s.expected(&st, clock.Now).IsZero() { // the clock was far ahead
		if st.callIn.After(clock.Now) {
			// It cannot be told when it called: not after this moment.
			l.change(true, func(st *state) { st.callIn = clock.Now })
			return
		}
		limit, what = st.callIn.Add(s.horizon()), "since "+st.callIn.In(s.cfg.Zone).Format(time.RFC3339)
	}
	if clock.Now.Before(limit) {
		return
	}
	l.change(true, func(st *state) { st.late = true })
	s.log.Warn("a lock missed its call", "lock", l.ID, "expected", what)
	s.tell(site.Event{Kind: site.KindFault, Door: l.ID, Device: l.who, Item: aboutCall,
		Text: "the lock did not call " + what + ": cards that were removed since its last call still open it"})
}
