package access

import (
	"time"

	"gatehouse/agent/site"
)

// Since returns when the interval began in which a schedule of the operator's
// holds now: for what happens once in an interval, such as a door that waits for
// the first person. False where [Policy.Active] is. It looks at each minute since
// the beginning, so it is not for each decision.
//
// Intervals that overlap or touch are one. What goes on over midnight began on
// the day before; but a whole day, from midnight to midnight, is an interval of
// its own. So 22:00 to 06:00 begins at 22:00, and a schedule that always holds
// begins anew each day. Where clocks are put back, a minute that is shown twice
// counts in the interval in which it stands.
func (p *Policy) Since(id site.ScheduleID, c site.Clock) (time.Time, bool) {
	holds := func(t time.Time) bool {
		at := c
		at.Now = t
		on, _ := p.Active(id, at)
		return on
	}
	if !holds(c.Now) {
		return time.Time{}, false
	}
	now := c.Now.Round(0).Truncate(time.Minute)
	begin, midnight := p.reach(now, -time.Minute, holds)
	if !midnight || !holds(begin.Add(-time.Minute)) {
		return begin, true
	}
	if _, whole := p.reach(now, time.Minute, holds); whole {
		return begin, true
	}
	before, whole := p.reach(begin.Add(-time.Minute), -time.Minute, holds)
	if whole {
		return begin, true
	}
	return before, true
}

// reach goes from t in steps of a minute, forth or back, to the last minute of
// its day until which holds is true. It reports whether that is the end of the
// day.
func (p *Policy) reach(t time.Time, step time.Duration, holds func(time.Time) bool) (time.Time, bool) {
	day := p.wallAt(t).day
	for {
		next := t.Add(step)
		if p.wallAt(next).day != day {
			return t, true
		}
		if !holds(next) {
			return t, false
		}
		t = next
	}
}
