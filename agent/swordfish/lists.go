package swordfish

import (
	"encoding/json"
	"strings"

	"gatehouse/agent/site"
)

// minutesPerDay is what a wall clock shows in a day.
const minutesPerDay = 24 * 60

// objects reads a list of at most limit objects; fn reads one.
func (f *fileReader) objects(limit int, fn func() error) (absent bool, err error) {
	absent, err = f.elements(func(t json.Token) error {
		if f.n++; f.n > limit {
			f.n = 0
			return f.fault("has more than %d records", limit)
		}
		if t != json.Delim('{') {
			return f.fault("want an object")
		}
		return fn()
	})
	if err == nil {
		f.n = 0
	}
	return absent, err
}

// at reads the members days, strtHr and strtMn, which schedules and autoUnlock
// share.
type at struct {
	days       site.Days
	hour, min  int
	hasH, hasM bool
}

// member reads one of its members; known says that it was one.
func (a *at) member(f *fileReader, name string) (known bool, err error) {
	f.field = name
	switch name {
	case "days":
		a.days, err = f.days()
	case "strtHr":
		a.hour, err = f.int(0, 23)
		a.hasH = true
	case "strtMn":
		a.min, err = f.int(0, 59)
		a.hasM = true
	default:
		f.field = ""
		return false, nil
	}
	if err == nil {
		f.field = ""
	}
	return true, err
}

// check wants all of them.
func (a *at) check(f *fileReader) error {
	switch {
	case a.days == 0:
		f.field = "days"
	case !a.hasH:
		f.field = "strtHr"
	case !a.hasM:
		f.field = "strtMn"
	default:
		return nil
	}
	return f.fault("is missing")
}

func (a *at) minute() int { return a.hour*60 + a.min }

// days reads the names of days of the week, Su to Sa.
func (f *fileReader) days() (site.Days, error) {
	var out site.Days
	_, err := f.elements(func(t json.Token) error {
		s, ok := t.(string)
		d, err := site.ParseDays([]string{s})
		if !ok || err != nil || d&^site.AllDays != 0 {
			return f.fault("want a list of Su, Mo, Tu, We, Th, Fr, Sa")
		}
		out |= d
		return nil
	})
	return out, err
}

func (f *fileReader) schedules() error {
	list := []site.Interval{}
	absent, err := f.objects(MaxSchedules, func() error {
		var a at
		length := 0
		err := f.rest(func(name string) (err error) {
			if name == "lngth" {
				f.field = name
				if length, err = f.int(1, minutesPerDay); err == nil {
					f.field = ""
				}
				return err
			}
			if known, err := a.member(f, name); known || err != nil {
				return err
			}
			return f.ignore(name)
		})
		if err == nil {
			err = a.check(f)
		}
		if err == nil && length == 0 {
			f.field = "lngth"
			err = f.fault("is missing")
		}
		list = append(list, interval(a.days, a.minute(), length))
		return err
	})
	if err == nil && !absent {
		f.sum.Schedules = &list
	}
	return err
}

// interval makes an interval of a length: one that ends a minute before midnight
// ends at midnight, for that is how a host writes the end of a day.
func interval(days site.Days, start, length int) site.Interval {
	end := start + length
	switch {
	case end == minutesPerDay-1:
		end = minutesPerDay
	case end > minutesPerDay:
		end -= minutesPerDay
	}
	return site.Interval{Days: days, Start: start, End: end}
}

func (f *fileReader) holidays() error {
	list := []Holiday{}
	absent, err := f.objects(MaxHolidays, func() error {
		var h Holiday
		acts := false
		err := f.rest(func(name string) (err error) {
			f.field = name
			switch name {
			case "strtDtTm":
				h.Start, err = f.time()
			case "endDtTm":
				h.End, err = f.time()
			case "action":
				h.Action, err = f.action()
				acts = true
			default:
				f.field = ""
				return f.ignore(name)
			}
			if err == nil {
				f.field = ""
			}
			return err
		})
		if err != nil {
			return err
		}
		switch {
		case h.Start.IsZero():
			f.field = "strtDtTm"
		case h.End.IsZero():
			f.field = "endDtTm"
		case !acts:
			f.field = "action"
		case !h.Start.Before(h.End):
			f.field = "endDtTm"
			return f.fault("is not after strtDtTm")
		default:
			list = append(list, h)
			return nil
		}
		return f.fault("is missing")
	})
	if err == nil && !absent {
		f.sum.Holidays = &list
	}
	return err
}

func (f *fileReader) action() (HolidayAction, error) {
	s, _, err := f.text()
	if err != nil {
		return HolidayRestricted, err
	}
	a, ok := f.opt.Literals.Holidays[strings.ToLower(s)]
	if !ok {
		return HolidayRestricted, f.fault("%.24q is not known", s)
	}
	return a, nil
}

func (f *fileReader) auto() error {
	list := []Auto{}
	absent, err := f.objects(MaxAuto, func() error {
		var a at
		var out Auto
		acts := false
		err := f.rest(func(name string) error {
			if name == "action" {
				f.field, acts = name, true
				s, _, err := f.text()
				if err != nil {
					return err
				}
				if s != "pass" && s != "sec" {
					return f.fault("want pass or sec")
				}
				f.field, out.Unlock = "", s == "pass"
				return nil
			}
			if known, err := a.member(f, name); known || err != nil {
				return err
			}
			return f.ignore(name)
		})
		if err == nil {
			err = a.check(f)
		}
		if err == nil && !acts {
			f.field = "action"
			err = f.fault("is missing")
		}
		out.Days, out.Minute = a.days, a.minute()
		list = append(list, out)
		return err
	})
	if err == nil && !absent {
		f.sum.Auto = &list
	}
	return err
}
