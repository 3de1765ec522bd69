package swordfish

import (
	"maps"

	"gatehouse/agent/site"
)

// Profile is what a model of lock takes, as data (engage.md section 5). A caller
// may change its own copy: ProfileOf returns a new one each time.
type Profile struct {
	Model        string
	Users        int  // at most so many
	Schedules    int  // at most so many, and never more than MaxSchedules
	SoleSchedule bool // crSch is one number, not a list (some LE firmware)
	// DayEnd is the minute at which a schedule that goes on to the end of the day
	// is written to end: 1439 or 1440.
	DayEnd    int
	Holidays  bool                     // takes holidays
	Auto      bool                     // takes autoUnlock
	Functions map[site.Function]string // the word to write; absent: the model has none
	Actions   map[HolidayAction]string // the word to write; absent: the model has none
	Literals  Literals                 // what is understood from a host for this model
}

// Limits of a lock (engage.md section 5).
const (
	MaxUsers   = 5000
	MaxChanges = 500 // more than these are sent as a full file
)

// models are the types that a scan list names (engage.md section 3).
var models = []string{"nde", "le", "control", "cte", "rmru"}

// functionWords: only norm is documented; the others are the first candidate of
// each (engage.md section 5, fnctn). Nothing is ever written for blocked.
var functionWords = map[site.Function]string{
	site.FunctionNorm: "norm", site.FunctionToggle: "toggle", site.FunctionFreeze: "freeze",
	site.FunctionPassThrough: "pass-through", site.FunctionLockdown: "lockdown",
	site.FunctionOneTime: "one-time", site.FunctionSupervised: "supervised",
}

// actionWords are candidates (engage.md section 5, holidays).
var actionWords = map[HolidayAction]string{
	HolidaySecured: "secured", HolidayPassage: "passage", HolidayRestricted: "restricted",
}

// ProfileOf returns the profile of a model: nde, le, control, cte or rmru, in lower
// case. It is false for any other. Where firmware differs (SoleSchedule, DayEnd, the
// words), change the copy.
func ProfileOf(model string) (Profile, bool) {
	for _, m := range models {
		if m == model {
			return Profile{
				Model: m, Users: MaxUsers, Schedules: MaxSchedules, DayEnd: minutesPerDay - 1, Holidays: true, Auto: true,
				Functions: maps.Clone(functionWords), Actions: maps.Clone(actionWords), Literals: DefaultLiterals(),
			}, true
		}
	}
	return Profile{}, false
}
