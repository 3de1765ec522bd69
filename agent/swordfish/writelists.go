package swordfish

import (
	"strconv"

	"gatehouse/agent/site"
)

func (e *fileWriter) schedules() {
	if n := len(e.f.Schedules); n > min(e.o.Profile.Schedules, MaxSchedules) {
		e.fault("schedules", 0, "", "are %d: the model takes %d", n, e.o.Profile.Schedules)
	}
	for i, iv := range e.f.Schedules {
		if iv.Days == 0 || iv.Days&^site.AllDays != 0 || iv.Start < 0 || iv.End > minutesPerDay || iv.Start >= iv.End {
			e.fault("schedules", i+1, "", "want days of the week and minutes of one day")
		}
		e.next(i)
		e.text(`{`)
		e.days(iv.Days)
		e.at(iv.Start)
		end := iv.End
		if end == minutesPerDay && e.o.Profile.DayEnd != minutesPerDay {
			end--
		}
		e.text(`,"lngth":`)
		e.int(max(end-iv.Start, 1)) // the last minute of a day has no shorter length
		e.text("}")
	}
}

func (e *fileWriter) holidays() {
	if n := len(e.f.Holidays); n > MaxHolidays || n > 0 && !e.o.Profile.Holidays {
		e.fault("holidays", 0, "", "are %d: more than the model takes", n)
	}
	for i, h := range e.f.Holidays {
		word := e.o.Profile.Actions[h.Action]
		if word == "" {
			e.fault("holidays", i+1, "action", "the model has no word for it")
		}
		if !h.Start.Before(h.End) {
			e.fault("holidays", i+1, "endDtTm", "is not after strtDtTm")
		}
		e.next(i)
		e.text(`{"strtDtTm":`)
		e.time("holidays", i+1, "strtDtTm", h.Start)
		e.text(`,"endDtTm":`)
		e.time("holidays", i+1, "endDtTm", h.End)
		e.text(`,"action":`)
		e.word(word)
		e.text("}")
	}
}

func (e *fileWriter) auto() {
	if n := len(e.f.Auto); n > MaxAuto || n > 0 && !e.o.Profile.Auto {
		e.fault("autoUnlock", 0, "", "are %d: more than the model takes", n)
	}
	for i, a := range e.f.Auto {
		if a.Days == 0 || a.Days&^site.AllDays != 0 || a.Minute < 0 || a.Minute >= minutesPerDay {
			e.fault("autoUnlock", i+1, "", "want days of the week and a minute of the day")
		}
		e.next(i)
		if a.Unlock {
			e.text(`{"action":"pass"`)
		} else {
			e.text(`{"action":"sec"`)
		}
		e.at(a.Minute)
		e.text(",")
		e.days(a.Days)
		e.text("}")
	}
}

// at writes strtHr and strtMn.
func (e *fileWriter) at(minute int) {
	e.text(`,"strtHr":` + strconv.Itoa(minute/60) + `,"strtMn":` + strconv.Itoa(minute%60))
}

func (e *fileWriter) days(d site.Days) {
	e.text(`"days":[`)
	for i, n := range d.Names() {
		if i > 0 {
			e.text(",")
		}
		e.text(`"` + n + `"`)
	}
	e.text("]")
}
