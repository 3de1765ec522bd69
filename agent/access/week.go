package access

import (
	"iter"
	"slices"
	"time"

	"gatehouse/agent/site"
)

// A lock that decides by itself cannot ask: it is given times of the week ahead of
// the days on which they hold. What is here says what Decide will say, by the same
// code.

// Timetable is a schedule of a Policy, or the right without one: the zero value
// holds always. Two of one Policy are equal when they mean the same schedule.
type Timetable struct{ s *schedule }

// ID returns the schedule's source and id; both are empty for the right without one.
func (t Timetable) ID() (site.Source, site.ScheduleID) {
	if t.s == nil {
		return "", ""
	}
	return t.s.key.source, t.s.key.id
}

// Span is minutes of a day as a wall clock shows them, End exclusive: 0 to 1440.
type Span struct{ Start, End int }

// Shape is a span of a schedule with all that says on which days it holds. It is
// comparable: spans of two schedules with equal shapes hold on the same days,
// whatever holidays there will be.
type Shape struct {
	Span
	// IgnoresHolidays: it holds by the days of the week alone.
	IgnoresHolidays bool

	week    [7]weekdayShape // by time.Weekday
	holiday kinds           // of the day itself
	late    string          // each is kinds of the day before
}

type weekdayShape struct {
	has   bool
	kinds kinds
}

// Standing says what a record is worth by its state and function, whatever the door
// and the time: veto is one of the operator's that refuses over all other records,
// usable one that may grant.
func Standing(c *site.Credential) (veto, usable bool) {
	usable = state(c) == ""
	return !usable && owner(c.Source) == site.SourceOperator, usable
}

// UsesAllowed returns how often a record may be used, 0 for no limit.
func UsesAllowed(c *site.Credential) uint32 { return usesAllowed(c) }

// RightsAt resolves the rights of a record at a door, its own and those of its
// levels. It returns true when one of them is always, else the timetables of the
// others, each once, appended to dst. A right whose schedule is not known is none.
// A nil Policy has no rights.
func (p *Policy) RightsAt(c *site.Credential, door site.DoorID, dst []Timetable) (always bool, _ []Timetable) {
	if p == nil {
		return false, dst
	}
	have := len(dst)
	for _, r := range p.rights(c, door) {
		switch {
		case r.schedule == nil:
			return true, dst[:have]
		case r.schedule != never && !slices.Contains(dst[have:], Timetable{r.schedule}):
			dst = append(dst, Timetable{r.schedule})
		}
	}
	return false, dst
}

// rights are the rights of a record at a door, with the level that has each: empty
// for the record's own.
func (p *Policy) rights(c *site.Credential, door site.DoorID) iter.Seq2[site.LevelID, levelRight] {
	return func(yield func(site.LevelID, levelRight) bool) {
		for i := range c.Rights {
			r := &c.Rights[i]
			if r.Door != door || r.Door == "" {
				continue
			}
			lr := levelRight{id: r.Schedule}
			if r.Schedule != "" {
				lr.schedule, _ = p.schedule(c.Source, r.Schedule)
			}
			if !yield("", lr) {
				return
			}
		}
		for _, l := range c.Levels {
			for _, r := range p.levelRights(c.Source, l, door) {
				if !yield(l, r) {
					return
				}
			}
		}
	}
}

// Minutes returns when a timetable holds on a day, appended to dst: exactly the
// minutes of that day in which Decide grants by it. The spans may overlap; each is
// that of one of its Shapes.
func (p *Policy) Minutes(t Timetable, d site.Date, dst []Span) []Span {
	if t.s == nil {
		return append(dst, Span{0, minutesPerDay})
	}
	day := dayNumber(d)
	for _, sp := range t.s.days[weekday(day)] {
		if p.spanHolds(t.s, sp, day) {
			dst = append(dst, Span{sp.start, sp.end})
		}
	}
	for _, sp := range t.s.holidays {
		if p.named(sp, day) && !p.suspends(sp.span, day) {
			dst = append(dst, Span{sp.start, sp.end})
		}
	}
	return dst
}

// Shapes returns the shapes of a timetable in the order in which its schedule names
// them first.
func (t Timetable) Shapes() []Shape {
	s := t.s
	if s == nil {
		s = alwaysSchedule
	}
	var out []Shape
	at := func(sp span) *Shape {
		for i := range out {
			if out[i].Start == sp.start && out[i].End == sp.end {
				return &out[i]
			}
		}
		out = append(out, Shape{Span: Span{sp.start, sp.end}, IgnoresHolidays: s.ignoreHolidays})
		return &out[len(out)-1]
	}
	for d := range s.days {
		for _, sp := range s.days[d] {
			w := &at(sp).week[d]
			w.has = true
			if !s.ignoreHolidays {
				w.kinds |= sp.kinds
			}
		}
	}
	for _, sp := range s.holidays {
		sh := at(sp.span)
		if !sp.late {
			sh.holiday |= sp.kinds
		} else if i, have := slices.BinarySearch([]byte(sh.late), byte(sp.kinds)); !have {
			sh.late = sh.late[:i] + string([]byte{byte(sp.kinds)}) + sh.late[i:]
		}
	}
	return out
}

// alwaysSchedule has the shape of the right without a schedule.
var alwaysSchedule = compileSchedule(site.Schedule{
	Intervals: []site.Interval{{Days: site.AllDays, Start: 0, End: minutesPerDay}}, IgnoreHolidays: true,
})

// ShapesOf returns the shapes that the schedule has in a Policy.
func ShapesOf(s site.Schedule) []Shape { return Timetable{compileSchedule(s)}.Shapes() }

// HolidayRun is days, both included, that are holidays of the same kinds.
type HolidayRun struct{ First, Last site.Date }

// HolidayRuns returns the holidays that are not over on the day, ascending and apart
// from each other; the first may have begun before it. Between one edge of a run and
// the next, what holds on a day of the week is the same each week, save for the day
// after an edge.
func (p *Policy) HolidayRuns(d site.Date) []HolidayRun {
	if p == nil {
		return nil
	}
	var out []HolidayRun
	for _, r := range p.holidays {
		if r.last >= dayNumber(d) {
			out = append(out, HolidayRun{dateOf(r.first), dateOf(r.last)})
		}
	}
	return out
}

// dateOf is the reverse of dayNumber.
func dateOf(day int) site.Date {
	return site.DateOf(time.Unix(int64(day)*secondsPerDay, 0).UTC())
}

// weekday is that of a day number: 1970-01-01 was a Thursday.
func weekday(day int) time.Weekday {
	w := (day + int(time.Thursday)) % 7
	if w < 0 {
		w += 7
	}
	return time.Weekday(w)
}
