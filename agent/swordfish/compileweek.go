package swordfish

import (
	"fmt"
	"slices"
	"time"

	"gatehouse/agent/access"
	"gatehouse/agent/site"
)

// week looks at the days that a table is for.
type week struct {
	c     *Compiler
	cut   bool // restricted holidays of the host are cut out of its rights; else they are passed on
	spans []access.Span
	days  map[site.Date]bool // on which more was cut than the host asks for
}

// newWeek decides what becomes of the host's restricted holidays. Passed on they
// shut out everybody: that is right only where all rights are the host's, and none is
// a pass_through.
func (c *Compiler) newWeek() *week {
	all := true
	for _, set := range c.sets {
		for _, h := range set {
			all = all && c.handles[h].class == classHost
		}
	}
	pass := all && c.takes(HolidayRestricted)
	return &week{c: c, cut: len(c.restricted) > 0 && !pass, days: map[site.Date]bool{}}
}

// takes reports whether the model has a word for what a holiday does.
func (c *Compiler) takes(a HolidayAction) bool {
	return c.profile.Holidays && c.profile.Actions[a] != ""
}

// number makes the slots of this week and gives the specs their bits. A slot that
// would hold on no day is left out: there is no way to write it.
func (w *week) number(s *slots) []site.Interval {
	var out []site.Interval
	for i, spec := range s.specs {
		if s.state[i] == slotBeyond {
			continue
		}
		sp := s.atoms[spec[0]].Span
		iv := site.Interval{Start: sp.Start, End: sp.End}
		for n := range 7 {
			day := addDays(w.c.today, n)
			for _, a := range spec {
				held, partly := w.holds(s, a, day)
				if held {
					iv.Days |= 1 << weekdayOf(day)
				}
				if partly && !w.days[day] {
					w.days[day] = true
					w.c.lose("", fmt.Sprintf("the host's holiday takes a part of %v: a schedule that it touches is suspended for the whole of that day", day))
				}
			}
		}
		if w.c.profile.DayEnd != minutesPerDay {
			w.shorten(&iv)
		}
		if iv.Days == 0 || iv.Start >= iv.End {
			s.state[i] = slotEmpty
			continue
		}
		s.bits[i] = 1 << len(out)
		out = append(out, iv)
	}
	return out
}

// shorten makes an interval one that a lock can hold whose day ends at 23:59.
func (w *week) shorten(iv *site.Interval) {
	switch {
	case iv.End == minutesPerDay-1: // it would be taken for the end of the day
		w.c.lose("", "a schedule that ends at 23:59 ends at 23:58 at this lock")
		iv.End--
	case iv.Start == minutesPerDay-1 && iv.Days != 0: // no length is short enough, and a lock may refuse the file
		w.c.lose("", "the last minute of a day is left out where a schedule begins with it: the day of this lock ends at 23:59")
		iv.Days = 0
	}
}

// holds reports whether an atom holds on a day, and where not, whether that is only
// because a holiday of the host takes a part of it.
func (w *week) holds(s *slots, a int, day site.Date) (held, partly bool) {
	x := &s.atoms[a]
	w.spans = w.c.src.Policy.Minutes(s.of[a], day, w.spans[:0])
	if !slices.Contains(w.spans, x.Span) {
		return false, false
	}
	if !x.cut || !w.cut {
		return true, false
	}
	touched, whole := w.c.touched(day, x.Span)
	return !touched, touched && !whole
}

// touched reports whether a restricted holiday of the host takes a part of a span of
// a day, and whether it takes the whole.
func (c *Compiler) touched(day site.Date, sp access.Span) (touched, whole bool) {
	begin, end := dayStart(c.src.Zone, day), dayStart(c.src.Zone, addDays(day, 1))
	from, to := time.Duration(sp.Start)*time.Minute, time.Duration(sp.End)*time.Minute
	for _, h := range c.restricted {
		switch {
		case !h.Start.Before(end) || !h.End.After(begin):
		case !h.Start.After(begin) && !h.End.Before(end):
			return true, true
		case end.Sub(begin) != 24*time.Hour: // the clocks change: minutes do not tell
			touched = true
		case h.Start.Sub(begin) < to && h.End.Sub(begin) > from:
			touched = true
			whole = whole || h.Start.Sub(begin) <= from && h.End.Sub(begin) >= to
		}
	}
	return touched, whole
}

// changes returns when the slots will be others though the policy is not, and when
// the first day comes on which the lock needs them.
func (w *week) changes(s *slots) (next, good time.Time) {
	c := w.c
	after := addDays(c.today, 7)
	for _, edge := range w.edges() {
		for n := range 8 {
			day := addDays(edge, n)
			if day.Compare(after) < 0 {
				continue
			}
			after = addDays(day, 1)
			for a := range s.atoms {
				if x := &s.atoms[a]; x.IgnoresHolidays && !(x.cut && w.cut) {
					continue
				}
				held, partly := w.holds(s, a, day)
				if before, _ := w.holds(s, a, addDays(day, -7)); held != before || partly {
					return dayStart(c.src.Zone, addDays(day, -6)), dayStart(c.src.Zone, day)
				}
			}
		}
	}
	return time.Time{}, time.Time{}
}

// edges are the days from today on which holidays begin or are over, ascending. What
// holds on a day can differ from what held a week before only in the week after one.
func (w *week) edges() []site.Date {
	c := w.c
	var out []site.Date
	for _, r := range c.src.Policy.HolidayRuns(addDays(c.today, -1)) {
		out = append(out, r.First, addDays(r.Last, 1))
	}
	if w.cut {
		for _, h := range c.restricted {
			out = append(out, site.DateOf(h.Start.In(c.src.Zone)), site.DateOf(h.End.In(c.src.Zone)), addDays(site.DateOf(h.End.In(c.src.Zone)), 1))
		}
	}
	out = slices.DeleteFunc(out, func(d site.Date) bool { return d.Compare(c.today) < 0 })
	slices.SortFunc(out, site.Date.Compare)
	return slices.Compact(out)
}

// holidays are those of the host that the model takes, and those of the site on
// which nobody may pass: with them a lock that does not call for long stays shut.
func (w *week) holidays(s *slots) []Holiday {
	c := w.c
	if c.src.Host != nil && len(c.src.Host.Holidays)+len(c.src.Host.Auto) > 0 {
		return w.hostHolidays()
	}
	if !c.takes(HolidayRestricted) || len(s.atoms) == 0 {
		return nil
	}
	var out []Holiday
	for _, r := range c.src.Policy.HolidayRuns(c.today) {
		if len(out) < MaxHolidays {
			out = w.restrict(s, r, out)
		}
	}
	return out[:min(len(out), MaxHolidays)]
}

// restrict appends the days of a run on which nobody may pass and that are not over.
// From its second day on a run is the same each week.
func (w *week) restrict(s *slots, r access.HolidayRun, out []Holiday) []Holiday {
	c := w.c
	add := func(first, last site.Date) {
		h := Holiday{Start: dayStart(c.src.Zone, first), End: dayStart(c.src.Zone, addDays(last, 1)), Action: HolidayRestricted}
		if h.End.After(c.src.Now) {
			out = append(out, h)
		}
	}
	week := addDays(r.First, 7)
	long := week.Compare(r.Last) < 0
	last := r.Last
	if long {
		last = week
	}
	var first site.Date // of days that follow each other
	for d := r.First; d.Compare(last) <= 0; d = addDays(d, 1) {
		switch shut := w.shut(s, d); {
		case shut && first == site.Date{}:
			first = d
		case !shut && long:
			return out
		case !shut && first != site.Date{}:
			add(first, addDays(d, -1))
			first = site.Date{}
		}
	}
	if first != (site.Date{}) {
		add(first, r.Last)
	}
	return out
}

// shut reports whether nobody at all may pass on a day.
func (w *week) shut(s *slots, day site.Date) bool {
	for a := range s.atoms {
		if held, partly := w.holds(s, a, day); held || partly {
			return false
		}
	}
	return true
}

// hostHolidays are those of the host that are not over and that the model takes.
func (w *week) hostHolidays() []Holiday {
	c := w.c
	var out []Holiday
	for _, h := range c.src.Host.Holidays {
		switch {
		case !h.End.After(c.src.Now), h.Action == HolidayRestricted && w.cut:
		case !c.takes(h.Action):
			c.lose("", "a holiday of the host's door file is left out: this model takes none of that kind")
		default:
			out = append(out, h)
		}
	}
	return out
}

// addDays counts on in the calendar.
func addDays(d site.Date, n int) site.Date {
	return site.DateOf(time.Date(d.Year, d.Month, d.Day+n, 0, 0, 0, 0, time.UTC))
}

func weekdayOf(d site.Date) time.Weekday {
	return time.Date(d.Year, d.Month, d.Day, 0, 0, 0, 0, time.UTC).Weekday()
}

// dayStart is the first moment at which a clock of the zone shows the day. There are
// zones where it is not midnight.
func dayStart(zone *time.Location, d site.Date) time.Time {
	t := time.Date(d.Year, d.Month, d.Day, 0, 0, 0, 0, zone)
	const step = 30 * time.Minute
	for range 4 {
		if site.DateOf(t).Compare(d) < 0 {
			t = t.Add(step)
		}
	}
	for range 4 {
		if site.DateOf(t.Add(-step)) == d {
			t = t.Add(-step)
		}
	}
	return t
}
