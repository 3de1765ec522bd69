package access

import (
	"slices"
	"time"

	"gatehouse/agent/site"
)

// Policy is an immutable snapshot of what rights refer to: schedules, levels and
// holidays, in the site's time zone. A nil Policy refuses all with no_policy.
type Policy struct {
	zone      *time.Location
	schedules map[scheduleKey]*schedule
	levels    map[levelKey][]levelRight
	holidays  []dayRange // ascending, apart from each other
}

type scheduleKey struct {
	source site.Source
	id     site.ScheduleID
}

// levelKey names what one level has at one door; the empty door stands for the
// level itself, so that one that is known can be told from one that is not.
type levelKey struct {
	source site.Source
	id     site.LevelID
	door   site.DoorID
}

// levelRight is a right of a level; the schedule is nil where it is always, and
// never where it is not known.
type levelRight struct {
	id       site.ScheduleID
	schedule *schedule
}

// schedule is a schedule cut into parts that do not cross midnight.
type schedule struct {
	key            scheduleKey // empty: it stands for none that is known
	days           [7][]span   // by time.Weekday
	holidays       []holidaySpan
	ignoreHolidays bool
}

// span is minutes of a day, end exclusive. kinds are the holidays on which its
// interval holds.
type span struct {
	start, end int
	kinds      kinds
}

// holidaySpan is a span of the holidays of its kinds or, where late, of the day
// after them.
type holidaySpan struct {
	span
	late bool
}

// kinds is a set of kinds of holidays: bit 0 is kind 1.
type kinds uint8

// kindsOf returns the kinds of holidays among days.
func kindsOf(d site.Days) (k kinds) {
	for i := range site.HolidayKinds {
		if d.HasHoliday(i + 1) {
			k |= 1 << i
		}
	}
	return k
}

// never is what stands for a schedule that is not known: it never holds.
var never = &schedule{}

// dayRange is whole days, both included, as day numbers (see dayNumber), and the
// kinds of holidays that they are.
type dayRange struct {
	first, last int
	kinds       kinds
}

// minutesPerDay is what a wall clock shows in a day, whatever its length.
const minutesPerDay = 24 * 60

// Compile makes a policy. It keeps nothing of its arguments. A nil zone is UTC.
// Intervals whose start or end is no minute of a day never hold; a right of a
// level whose schedule is not known never holds.
func Compile(zone *time.Location, schedules []site.Schedule, levels []site.Level, holidays []site.Holiday) *Policy {
	if zone == nil {
		zone = time.UTC
	}
	p := &Policy{
		zone:      zone,
		schedules: make(map[scheduleKey]*schedule, len(schedules)),
		levels:    make(map[levelKey][]levelRight),
		holidays:  compileHolidays(holidays),
	}
	for _, s := range schedules {
		k := scheduleKey{owner(s.Source), s.ID}
		if _, twice := p.schedules[k]; twice {
			p.schedules[k] = never
			continue
		}
		p.schedules[k] = compileSchedule(s)
		p.schedules[k].key = k
	}
	p.compileLevels(levels)
	return p
}

// owner is the source under which a record is kept: one without a source counts
// as the operator's, who must be able to refuse.
func owner(s site.Source) site.Source {
	if s == "" {
		return site.SourceOperator
	}
	return s
}

// compileSchedule cuts intervals at midnight: the part after it belongs to the
// next day.
func compileSchedule(s site.Schedule) *schedule {
	c := &schedule{ignoreHolidays: s.IgnoreHolidays}
	for _, iv := range s.Intervals {
		if iv.Start < 0 || iv.Start >= minutesPerDay || iv.End < 1 || iv.End > minutesPerDay {
			continue
		}
		k := kindsOf(iv.Days)
		first, late := span{iv.Start, iv.End, k}, span{kinds: k}
		if iv.Start >= iv.End {
			first.end, late.end = minutesPerDay, iv.End
		}
		for d := range c.days {
			if !iv.Days.Has(time.Weekday(d)) {
				continue
			}
			c.days[d] = append(c.days[d], first)
			if late.end > 0 {
				next := (d + 1) % len(c.days)
				c.days[next] = append(c.days[next], late)
			}
		}
		if k == 0 || s.IgnoreHolidays {
			continue
		}
		c.holidays = append(c.holidays, holidaySpan{first, false})
		if late.end > 0 {
			c.holidays = append(c.holidays, holidaySpan{late, true})
		}
	}
	return c
}

// compileLevels files the rights of levels by door.
func (p *Policy) compileLevels(levels []site.Level) {
	count := make(map[levelKey]int)
	for _, l := range levels {
		count[levelKey{source: owner(l.Source), id: l.ID}]++
	}
	for _, l := range levels {
		k := levelKey{source: owner(l.Source), id: l.ID}
		p.levels[k] = nil
		if count[k] > 1 {
			continue
		}
		for _, r := range l.Rights {
			if r.Door == "" {
				continue
			}
			k.door = r.Door
			lr := levelRight{id: r.Schedule}
			if r.Schedule != "" {
				lr.schedule, _ = p.schedule(k.source, r.Schedule)
			}
			p.levels[k] = append(p.levels[k], lr)
		}
	}
}

// compileHolidays cuts the days of all holidays where their kinds change. A
// holiday of a kind that is none is one of no kind: it suspends all the same.
func compileHolidays(holidays []site.Holiday) []dayRange {
	var all []dayRange
	var cuts []int
	for _, h := range holidays {
		r := dayRange{first: dayNumber(h.First), last: dayNumber(h.Last)}
		if n := h.HolidayKind(); n <= site.HolidayKinds {
			r.kinds = 1 << (n - 1)
		}
		if r.first <= r.last {
			all = append(all, r)
			cuts = append(cuts, r.first, r.last+1)
		}
	}
	slices.SortFunc(all, func(a, b dayRange) int { return a.first - b.first })
	slices.Sort(cuts)
	cuts = slices.Compact(cuts)
	var out, open []dayRange
	for i := 0; i+1 < len(cuts); i++ {
		r := dayRange{first: cuts[i], last: cuts[i+1] - 1}
		open = slices.DeleteFunc(open, func(o dayRange) bool { return o.last < r.first })
		for len(all) > 0 && all[0].first == r.first {
			open, all = append(open, all[0]), all[1:]
		}
		for _, o := range open {
			r.kinds |= o.kinds
		}
		if len(open) > 0 {
			out = append(out, r)
		}
	}
	return slices.Clip(out)
}

// secondsPerDay is a day of the calendar as time.Unix counts it.
const secondsPerDay = 24 * 60 * 60

// dayNumber counts the days of the calendar from 1970-01-01.
func dayNumber(d site.Date) int {
	return int(time.Date(d.Year, d.Month, d.Day, 0, 0, 0, 0, time.UTC).Unix() / secondsPerDay)
}

// schedule finds the schedule that id means to a record of that source. It
// returns never and false where there is none.
func (p *Policy) schedule(source site.Source, id site.ScheduleID) (*schedule, bool) {
	source = owner(source)
	if s, ok := p.schedules[scheduleKey{source, id}]; ok {
		return s, true
	}
	if source != site.SourceOperator {
		if s, ok := p.schedules[scheduleKey{site.SourceOperator, id}]; ok {
			return s, true
		}
	}
	return never, false
}

// levelRights finds the rights that a level of a record of that source has at a
// door.
func (p *Policy) levelRights(source site.Source, id site.LevelID, door site.DoorID) []levelRight {
	k := levelKey{owner(source), id, door}
	if rs, ok := p.levels[k]; ok || k.source == site.SourceOperator {
		return rs
	}
	if _, ok := p.levels[levelKey{source: k.source, id: id}]; ok {
		return nil // its own level has nothing here
	}
	k.source = site.SourceOperator
	return p.levels[k]
}

// holiday reports whether the day is one, and of which kinds.
func (p *Policy) holiday(day int) (kinds, bool) {
	i, exact := slices.BinarySearchFunc(p.holidays, day, func(r dayRange, day int) int { return r.first - day })
	if !exact {
		if i--; i < 0 || day > p.holidays[i].last {
			return 0, false
		}
	}
	return p.holidays[i].kinds, true
}

// wall is what a wall clock at the site shows.
type wall struct {
	weekday time.Weekday
	minute  int
	day     int // see dayNumber
}

// wallAt reads the wall clock. The zone is looked up once: this is most of what a
// decision by a schedule costs.
func (p *Policy) wallAt(t time.Time) wall {
	_, offset := t.In(p.zone).Zone()
	local := t.Unix() + int64(offset)
	day, second := local/secondsPerDay, local%secondsPerDay
	if second < 0 { // before 1970
		day, second = day-1, second+secondsPerDay
	}
	return wall{weekday(int(day)), int(second / 60), int(day)}
}

// holds judges a schedule by the wall clock: granted, holiday or
// out_of_schedule.
func (p *Policy) holds(s *schedule, w wall) site.Reason {
	out := site.ReasonOutOfSchedule
	for _, sp := range s.days[w.weekday] {
		if w.minute < sp.start || w.minute >= sp.end {
			continue
		}
		if p.spanHolds(s, sp, w.day) {
			return site.ReasonGranted
		}
		out = site.ReasonHoliday
	}
	for _, sp := range s.holidays {
		if w.minute < sp.start || w.minute >= sp.end {
			continue
		}
		if !p.named(sp, w.day) {
			continue
		}
		if !p.suspends(sp.span, w.day) {
			return site.ReasonGranted
		}
		out = site.ReasonHoliday
	}
	return out
}

// spanHolds reports whether a span of a schedule's days of the week holds on a day
// of that weekday.
func (p *Policy) spanHolds(s *schedule, sp span, day int) bool {
	return s.ignoreHolidays || !p.suspends(sp, day)
}

// named reports whether the day belongs to a holiday of the span's kinds.
func (p *Policy) named(sp holidaySpan, day int) bool {
	if sp.late {
		day--
	}
	k, _ := p.holiday(day)
	return k&sp.kinds != 0
}

// suspends reports whether the day is a holiday, and none of the kinds on which
// the span's interval holds.
func (p *Policy) suspends(sp span, day int) bool {
	k, ok := p.holiday(day)
	return ok && k&sp.kinds == 0
}

// Active reports whether a schedule of the operator's holds now, for what goes by
// a schedule without a credential: a door that unlocks itself, the mode of a
// reader. The reason is granted where it holds and else says why not.
//
// While the clock is not trusted no schedule is active, under ignore as well
// (door.md, Untrusted clock). The empty schedule, which in a right means always,
// and one that is not known are never active.
func (p *Policy) Active(id site.ScheduleID, c site.Clock) (bool, site.Reason) {
	if p == nil {
		return false, site.ReasonNoPolicy
	}
	s, ok := p.schedule(site.SourceOperator, id)
	if id == "" || !ok {
		return false, site.ReasonOutOfSchedule
	}
	if !c.Trusted {
		return false, site.ReasonClockUntrusted
	}
	r := p.holds(s, p.wallAt(c.Now))
	return r == site.ReasonGranted, r
}
