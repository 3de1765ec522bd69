package link

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"gatehouse/agent/card"
	"gatehouse/agent/site"
)

// The values of LockStatus.Line.
const (
	LineWiFi   = "wifi"
	LineSerial = "serial"
)

// LockStatus is what is known of one lock.
type LockStatus struct {
	ID     site.DoorID
	Name   string
	Serial string
	Model  string // of the settings
	Line   string // LineWiFi or LineSerial

	Called time.Time // when it last called; zero: never
	Next   time.Time // when it is to call next; zero: not known
	Late   bool      // it missed its call

	// Has and Want are the numbers (nxtDbVerTS) of the door file that the lock
	// has stored and of the one that it is to have. Has is 0 where the lock has
	// none that is known; Want is 0 while the file that it lacks has no number.
	Has, Want uint64
	Sent      time.Time // when the file Want was answered; zero: it was not
	Behind    bool      // the lock lacks changes, or is not known to have stored them
	// Unchecked: the table was not compared with the present policy yet, so the
	// lock may lack more than Behind, Want and Changes say, or lack something though
	// Behind is false. A lock is compared within seconds where many wait in turn.
	Unchecked bool
	// BehindSince is when that was found; zero: it is not behind.
	BehindSince time.Time
	Changes     int  // how many changes it lacks; -1: a full file
	Config      bool // a config of the host waits for its call
	Users       int  // how many users the file Has holds

	Battery  string // as the lock says it, or "low" or "critical"
	Main, Li float64
	// Drift is how far the lock's clock was ahead of the site's at its last
	// alert, and DriftKnown whether there was one.
	Drift      time.Duration
	DriftKnown bool

	// What it says of itself in its Config.
	DeviceName, DeviceModel, Firmware string

	Mode  string     // of its last audit that tells one; empty: not known
	Alarm site.Alarm // the worst that its audits left standing
	// Refused is why it was last refused, or would have been; empty: it was let in
	// since. A call that could not be read (400, 413) counts until a good one of its
	// kind, or a start.
	Refused string
	// RefusedAt is when.
	RefusedAt time.Time
	Losses    []string // what the lock cannot hold as the policy says it, the first of them
	Lost      int      // how many there are
}

// Pending is a lock that called and is not named in the settings.
type Pending struct {
	Serial      string
	First, Last time.Time
	Calls       int
	Address     string // of the last call
}

// StillOpens is a lock that may open for a card although the policy does not say
// so any more.
type StillOpens struct {
	Door  site.DoorID
	Until time.Time // when it is to call and will hear of it; zero: not known
	Line  bool      // it hangs on a serial line, where it is called at once
	// Unsure: what the lock holds is not known, because what was kept of it was
	// damaged, is missing or cannot be read, or because it said that it has a file
	// that is not known here. It ends when the lock says that it stored a known one.
	Unsure bool
}

// Locks returns what is known of each lock, in the order of the settings. It waits
// for nothing.
func (s *Server) Locks() []LockStatus {
	out := make([]LockStatus, len(s.list))
	var policy uint64
	if s.deps.Tables != nil {
		policy = s.deps.Tables.Version()
	}
	now := s.deps.Clock().Now
	for i, l := range s.list {
		out[i] = s.status(l, policy, now)
	}
	return out
}

func (s *Server) status(l *lock, policy uint64, now time.Time) LockStatus {
	l.mu.Lock()
	defer l.mu.Unlock()
	st, c := &l.st, &l.check
	out := LockStatus{
		ID: l.ID, Name: l.Name, Serial: l.Serial, Model: l.Profile.Model, Line: LineWiFi,
		Called: st.called, Next: s.expected(st, now), Late: st.late,
		Has: l.sum.has, Want: c.want, Behind: c.behind, BehindSince: c.since, Changes: c.changes,
		Config: l.pending, Users: l.sum.users,
		Battery: st.battery, Main: st.main, Li: st.li, Drift: st.drift, DriftKnown: st.driftKnown,
		DeviceName: st.name, DeviceModel: st.model, Firmware: st.firmware,
		Mode: st.mode, Alarm: st.alarm(), Refused: st.refused, RefusedAt: st.since,
		Losses: slices.Clone(c.losses), Lost: c.lost,
	}
	for _, u := range l.unfit {
		if out.Refused == "" || u.at.After(out.RefusedAt) {
			out.Refused, out.RefusedAt = u.why, u.at
		}
	}
	if l.Device != "" {
		out.Line = LineSerial
	}
	if l.sum.other {
		out.Has, out.Users = 0, 0
	}
	if !c.done { // nothing was compared since the start
		out.Want = l.sum.offer
		out.Behind = l.sum.has == 0 || l.sum.other || l.pending
		out.Changes = 0
		if l.sum.has == 0 || l.sum.other {
			out.Changes = -1
		}
	} else if l.pending {
		out.Behind = true
	}
	out.Unchecked = !c.current(policy, now)
	if (out.Behind || out.Unchecked) && out.Want != 0 && out.Want == l.sum.offer {
		out.Sent = l.sum.sent
	}
	if !out.Behind && !out.Unchecked {
		out.Want = out.Has
	}
	return out
}

// Pending returns the locks that called and are not named, at most 64, the one
// that called last first.
func (s *Server) Pending() []Pending {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Pending, 0, len(s.pending))
	for _, p := range s.pending {
		out = append(out, *p)
	}
	slices.SortFunc(out, func(a, b Pending) int {
		return cmp.Or(b.Last.Compare(a.Last), strings.Compare(a.Serial, b.Serial))
	})
	return out
}

// Holders returns the locks that have the card, or were answered a door file with
// it, whatever the policy says now. It reads the tables of all locks: some 130 KiB
// for each that holds 5,000 users.
func (s *Server) Holders(block card.Block) []StillOpens {
	sealed := s.deps.Cards.Seal(block)
	now := s.deps.Clock().Now
	var out []StillOpens
	for _, l := range s.list {
		t, err := l.readTables()
		st := l.state()
		has := t.has.find(&sealed) != nil || t.offer.find(&sealed) != nil
		unsure := st.unsure || err != nil || l.unreadable() != nil
		if !has && !unsure {
			continue
		}
		o := StillOpens{Door: l.ID, Line: l.Device != "", Unsure: !has}
		if next := s.expected(&st, now); next.After(now) {
			o.Until = next
		}
		out = append(out, o)
	}
	return out
}

const (
	// dueAgain is how long a lock on a line that lacks something is left alone after
	// its last call.
	dueAgain = time.Minute
	// dueStale is how long it may take to find what a lock on a line lacks before it
	// is to call without that, and dueStaleAgain how long it is left alone then.
	dueStale      = 2 * time.Second
	dueStaleAgain = 10 * time.Second
)

// Due reports whether a lock on a serial line should call: it lacks changes, or
// its time has come. After a call it is left alone for a minute, unless the policy
// changed since. Where the policy changed two seconds ago and nobody had time to
// compare, it should call as well, at most every ten seconds.
func (s *Server) Due(device site.DeviceName) bool {
	l := s.byDevice[device]
	if l == nil {
		return false
	}
	now := s.deps.Clock().Now
	var policy uint64
	if s.deps.Tables != nil {
		policy = s.deps.Tables.Version()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	called := later(l.st.callIn, l.tried)
	if l.st.callIn.After(now) { // the clock was ahead
		called = l.tried
	}
	rest := now.Sub(called).Abs()
	lately := !called.IsZero() && rest < dueAgain
	if s.deps.Tables != nil && l.check.waits(policy, now) > dueStale && (called.IsZero() || rest >= dueStaleAgain) {
		return true
	}
	switch next := s.expected(&l.st, now); {
	case l.st.callIn.IsZero(), !l.st.next.IsZero() && !now.Before(next):
		return !lately
	case l.check.done && l.check.behind, l.pending:
		// A file that it was answered and has not stored yet may wait; a newer one
		// or a first one may not.
		return !lately || l.check.at.After(called) && (l.check.want == 0 || l.check.want != l.sum.offer)
	}
	return false
}

// PutConfig keeps a config of the host for the lock's next call, in place of one
// that waits: a JSON object, or one whose only member "config" is that object. It
// returns once the config is on disk.
func (s *Server) PutConfig(door site.DoorID, body []byte) error {
	l := s.byDoor[door]
	if l == nil {
		return fmt.Errorf("locks: %s: %w", door, ErrUnknownLock)
	}
	text, err := configOf(body)
	if err == nil {
		err = s.readable(context.Background(), l)
	}
	if err == nil {
		err = l.putConfig(text)
	}
	if err != nil {
		return fmt.Errorf("locks: %s: %w", door, err)
	}
	return nil
}

// DeleteConfig takes back a config that waits; ErrNoConfig where there is none.
func (s *Server) DeleteConfig(door site.DoorID) error {
	l := s.byDoor[door]
	if l == nil {
		return fmt.Errorf("locks: %s: %w", door, ErrUnknownLock)
	}
	err := s.readable(context.Background(), l)
	if err == nil {
		err = l.deleteConfig()
	}
	if err != nil {
		return fmt.Errorf("locks: %s: %w", door, err)
	}
	return nil
}

// Params returns the Config that the lock put last, as it came; ErrNoConfig where
// it has put none.
func (s *Server) Params(door site.DoorID) ([]byte, error) {
	l := s.byDoor[door]
	if l == nil {
		return nil, fmt.Errorf("locks: %s: %w", door, ErrUnknownLock)
	}
	_, text, err := readBody(l.path + fileConfig)
	if err != nil {
		return nil, fmt.Errorf("locks: %s: config: %w", door, err)
	}
	return text, nil
}
