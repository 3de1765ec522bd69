package link

import (
	"strconv"
	"strings"
	"time"

	"gatehouse/agent/site"
	"gatehouse/agent/swordfish"
)

// byAlert is Event.By of an audit that came as an alert.
const byAlert = "alert"

// badAudit begins Event.Text of an entry that is no audit; what came follows.
const badAudit = "no audit: "

// A lock's time is taken for the event when it is no further from the site's.
const (
	maxAhead  = 10 * time.Minute
	maxBehind = 400 * 24 * time.Hour
)

// auditOf is the audit that an event of the log was made of.
func auditOf(e *site.Event) heard {
	a := heard{swordfish.Audit{Code: e.Code, Data: e.Data, Time: e.LockTime, ID: e.Item}, e.Card.Tag, e.Seq}
	if raw, ok := strings.CutPrefix(e.Text, badAudit); ok && e.Code == "" {
		a.Raw = raw
	}
	return a
}

// when is a lock's time as the site's.
type when struct {
	at    time.Time
	good  bool      // at is the lock's time, not that of the call
	other time.Time // the other reading in the repeated hour of autumn
	note  string    // for Event.Text
}

// usable reports whether the site's time counts for anything.
func usable(c site.Clock) bool { return c.Trusted || c.Mode == site.ClockIgnore }

// timeOf reads a lock's time. In the repeated hour it takes, of a live audit, the
// reading that is nearer to now, else the one that keeps the order after prev, else
// the earlier.
func timeOf(lockTime string, zone *time.Location, clock site.Clock, prev time.Time, live bool) when {
	now := clock.Now
	first, second, skipped, err := swordfish.LockTime(lockTime, zone)
	switch {
	case err != nil:
		return when{at: now, note: "the lock's time cannot be read: the time is that of the call"}
	case !usable(clock):
		return when{at: now, note: "the site's clock is not known to be right: the time is that of the call"}
	}
	w := when{at: first, good: true}
	if !second.IsZero() {
		w.other = second
		later := first.Before(prev) && !second.Before(prev)
		if live {
			later = now.Sub(second).Abs() < now.Sub(first).Abs()
		}
		if later && !second.After(now.Add(maxAhead)) {
			w.at, w.other = second, first
		}
		w.note = "the clock showed this time twice that night: it may as well be " + w.other.UTC().Format(time.RFC3339)
	}
	switch {
	case w.at.After(now.Add(maxAhead)):
		return when{at: now, note: "the lock's time is ahead of the site's: the time is that of the call"}
	case w.at.Before(now.Add(-maxBehind)):
		return when{at: now, note: "the lock's time is long past: the time is that of the call"}
	case skipped:
		w.note = "the clock never showed this time"
	}
	return w
}

// eventOf makes the event of one audit, whose card was hidden before.
func (s *Server) eventOf(l *lock, a *swordfish.Audit, w when, tag string, live bool) site.Event {
	e := site.Event{
		Kind: site.KindLockAudit, Door: l.ID, Device: l.who, Time: w.at, Trusted: s.deps.Clock().Trusted,
		Code: a.Code, Data: a.Data, LockTime: a.Time, Item: a.ID,
	}
	if live {
		e.By = byAlert
	}
	if tag != "" {
		e.Card = site.CardRef{Tag: tag}
	}
	if a.Code == "" {
		e.Text = badAudit + a.Raw
		return e
	}
	m, ok := a.Meaning()
	if ok {
		e.As, e.Reason, e.Mode, e.Cleared, e.Text = m.Kind, m.Reason, m.Mode, m.Cleared, m.Text
	} else {
		e.Text = "code " + a.Code + " is not known"
	}
	if w.note != "" {
		e.Text += " (" + w.note + ")"
	}
	return e
}

// tags names the cards that were hidden, by the place of the last audit of each.
func (s *Server) tags(cards []swordfish.HiddenCard) map[int]string {
	out := make(map[int]string, len(cards))
	for _, c := range cards {
		if b, err := c.Bits.Block(); err == nil {
			out[c.Index] = s.deps.Cards.Tag(b)
		}
	}
	return out
}

// note takes what an audit says of the lock into its state.
func (s *state) note(a *swordfish.Audit, e *site.Event) {
	switch a.Code {
	case "0100", "0101":
		s.battery = "low"
		if a.Code == "0101" {
			s.battery = "critical"
		}
		if mv, err := strconv.ParseUint(a.Data, 16, 16); err == nil && mv > 0 {
			s.main = float64(mv) / 1000
		}
	}
	if e.As == site.KindMode { // empty: the code does not tell what holds now
		s.mode = cut(e.Mode)
	}
	set := func(bit uint8, on bool) {
		if s.alarms &^= bit; on {
			s.alarms |= bit
		}
	}
	switch e.As {
	case site.KindDoorForced:
		set(alarmForced, !e.Cleared)
	case site.KindDoorHeld, site.KindDoorHeldWarning:
		set(alarmHeld, !e.Cleared)
	case site.KindTamper:
		set(alarmTamper, !e.Cleared)
	case site.KindDoorClosed:
		set(alarmForced|alarmHeld, false)
	}
}

// alarm is the worst that stands.
func (s *state) alarm() site.Alarm {
	switch {
	case s.alarms&alarmForced != 0:
		return site.AlarmForced
	case s.alarms&alarmTamper != 0:
		return site.AlarmTamper
	case s.alarms&alarmHeld != 0:
		return site.AlarmHeld
	}
	return site.AlarmNone
}
