package swordfish

import (
	"fmt"
	"time"

	"gatehouse/agent/card"
	"gatehouse/agent/site"
)

// Limits of a door file.
const (
	MaxFile      = 8 << 20 // bytes
	MaxSchedules = 16
	MaxHolidays  = 64
	MaxAuto      = 64
	MaxUserID    = 65534
	// maxDepth is how deep values may be nested, those that are skipped as well.
	maxDepth = 16
)

// Op is what a record of a door file asks for.
type Op uint8

// The lists of usrRcrd.
const (
	OpDelete Op = iota + 1
	OpUpdate
	OpAdd
)

// String returns the list's name.
func (o Op) String() string {
	switch o {
	case OpDelete:
		return "delete"
	case OpUpdate:
		return "update"
	case OpAdd:
		return "add"
	}
	return fmt.Sprintf("op(%d)", uint8(o))
}

// Tags says which members a record has.
type Tags uint16

// The members of a record that mean something here.
const (
	TagID Tags = 1 << iota
	TagADA
	TagFunction
	TagSchedules
	TagFrom
	TagUntil
	TagCard
	// Those below are only checked.
	tagType
	tagSecond
	tagSecondType
)

// User is one record. Only the members in Has were given.
type User struct {
	ID        uint16
	Has       Tags
	ADA       bool
	Function  site.Function
	Schedules uint16 // bit n-1 stands for schedule n
	From      time.Time
	Until     time.Time
	Block     card.Block
}

// Holiday is a time in which the days of the week do not count.
type Holiday struct {
	Start, End time.Time // End is exclusive
	Action     HolidayAction
}

// HolidayAction is what a holiday does to the door. The literals are not public:
// those of Literals are the candidates.
type HolidayAction uint8

// What a holiday does. The zero value is the strictest.
const (
	HolidayRestricted HolidayAction = iota // locked, and no schedule lets anybody in
	HolidaySecured                         // locked, cards pass as ever
	HolidayPassage                         // unlocked
)

// Auto changes the state of the door once at each of its times.
type Auto struct {
	Unlock bool // pass; else sec
	Days   site.Days
	Minute int // since local midnight
}

// Summary is what a door file says beside its records.
type Summary struct {
	DeleteAll              bool
	Deletes, Updates, Adds int
	Schedules              *[]site.Interval // nil: unchanged; schedule n is at n-1
	Holidays               *[]Holiday       // nil: unchanged
	Auto                   *[]Auto          // nil: unchanged
	Config                 bool             // there is a config
	DownloadAt             string           // dbDwnLdTm as it came
	Version                string           // nxtDbVerTS as it came

	// Implausible is how many cards end as hardly any card does; see Plausible.
	Implausible int
	// Ignored are names of tags that are not known, at most 16 of them, without
	// repeats.
	Ignored []string
	// NeedSchedule is, for each schedule that a record names, the first such
	// record: what is beyond the schedules that there are is a fault.
	NeedSchedule [MaxSchedules]Place
}

// Place is a record of a door file.
type Place struct {
	Op     Op
	Record int // from 1; 0: none
}

// Literals are the words of a model for which the vendor has no public list.
// Words are compared in lower case.
type Literals struct {
	Functions map[string]site.Function
	Holidays  map[string]HolidayAction
}

// DefaultLiterals has the one function that is documented and the candidates for
// the others (engage.md section 5, fnctn). There is none for dogged: it is refused.
func DefaultLiterals() Literals {
	return Literals{
		Functions: map[string]site.Function{
			"norm": site.FunctionNorm, "normal": site.FunctionNorm,
			"toggle": site.FunctionToggle, "freeze": site.FunctionFreeze,
			"pass-through": site.FunctionPassThrough, "passthrough": site.FunctionPassThrough, "passthru": site.FunctionPassThrough,
			"pass_through": site.FunctionPassThrough, "lockdown": site.FunctionLockdown,
			"one-time": site.FunctionOneTime, "onetime": site.FunctionOneTime, "one_time": site.FunctionOneTime,
			"supervised": site.FunctionSupervised, "blocked": site.FunctionBlocked,
		},
		Holidays: map[string]HolidayAction{
			"secured": HolidaySecured, "secure": HolidaySecured, "sec": HolidaySecured,
			"passage": HolidayPassage, "pass": HolidayPassage,
			"restricted": HolidayRestricted,
		},
	}
}

// Fault says what is wrong with a door file, and where. Nothing of the file may be
// kept.
type Fault struct {
	List   string // "add", "schedules" and so on; empty: the file
	Record int    // in that list, from 1; 0: the list as a whole
	Field  string // empty: the record as a whole
	Err    error
}

// Error returns "add: record 4999: primeCr: cause".
func (f *Fault) Error() string {
	s := ""
	if f.List != "" {
		s += f.List + ": "
	}
	if f.Record > 0 {
		s += fmt.Sprintf("record %d: ", f.Record)
	}
	if f.Field != "" {
		s += f.Field + ": "
	}
	return s + f.Err.Error()
}

// Unwrap returns the cause.
func (f *Fault) Unwrap() error { return f.Err }
