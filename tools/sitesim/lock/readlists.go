package lock

import "slices"

var dayNames = []string{"Su", "Mo", "Tu", "We", "Th", "Fr", "Sa"}

func (r *fileReader) days() (set uint8) {
	r.list(7, func() {
		name := r.text()
		day := slices.Index(dayNames, name)
		switch {
		case r.err != nil:
		case day < 0:
			r.fault("%.8q is not one of %v", name, dayNames)
		case set&(1<<day) != 0:
			r.fault("%s twice", name)
		default:
			set |= 1 << day
		}
	})
	if r.err == nil && set == 0 {
		r.fault("is empty")
	}
	return set
}

func (r *fileReader) schedule() {
	var s schedule
	var hour, minute, length int
	r.object([]string{"days", "strtHr", "strtMn", "lngth"}, func(name string) {
		switch name {
		case "days":
			s.days = r.days()
		case "strtHr":
			hour = r.integer(0, 23)
		case "strtMn":
			minute = r.integer(0, 59)
		case "lngth":
			length = r.integer(1, allDay)
		}
	})
	if r.err != nil {
		return
	}
	s.start = hour*60 + minute
	s.end = s.start + length
	if s.end > r.cfg.DayEnd {
		r.fault("ends at minute %d, past the end of the day, which this lock has at %d", s.end, r.cfg.DayEnd)
	}
	if s.end == r.cfg.DayEnd {
		s.end = allDay
	}
	r.f.schedules = append(r.f.schedules, s)
}

func (r *fileReader) holiday() {
	var h holiday
	r.object([]string{"strtDtTm", "endDtTm", "action"}, func(name string) {
		switch name {
		case "strtDtTm":
			h.start = r.time(false)
		case "endDtTm":
			h.end = r.time(false)
		case "action":
			word := r.text()
			if h.action = holidayActions[word]; r.err == nil && h.action == 0 {
				r.fault("%.24q is not known", word)
			}
		}
	})
	if r.err == nil && h.end <= h.start {
		r.fault("endDtTm is not after strtDtTm")
	}
	r.f.holidays = append(r.f.holidays, h)
}

func (r *fileReader) auto() {
	var a auto
	var hour, minute int
	r.object([]string{"action", "strtHr", "strtMn", "days"}, func(name string) {
		switch name {
		case "action":
			word := r.text()
			if a.passage = word == "pass"; r.err == nil && !a.passage && word != "sec" {
				r.fault("%.24q: want pass or sec", word)
			}
		case "strtHr":
			hour = r.integer(0, 23)
		case "strtMn":
			minute = r.integer(0, 59)
		case "days":
			a.days = r.days()
		}
	})
	a.minute = hour*60 + minute
	r.f.auto = append(r.f.auto, a)
}
