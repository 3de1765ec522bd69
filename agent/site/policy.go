package site

import (
	"fmt"
	"slices"
	"time"
)

// Holder is a person or a thing that holds credentials.
type Holder struct {
	ID     HolderID `json:"id"`
	Source Source   `json:"source"`
	Name   string   `json:"name"`
}

// CredentialState says whether a credential may be used at all.
type CredentialState uint8

// The states of a credential. The zero state is not a usable one.
const (
	CredentialInvalid CredentialState = iota // never stored; refuses
	CredentialActive
	CredentialBlocked // may come back
	CredentialRevoked // never comes back by itself
)

// String returns the state's name.
func (s CredentialState) String() string {
	switch s {
	case CredentialActive:
		return "active"
	case CredentialBlocked:
		return "blocked"
	case CredentialRevoked:
		return "revoked"
	case CredentialInvalid:
	}
	return "invalid"
}

// MarshalText makes the state readable in listings.
func (s CredentialState) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText is the reverse of MarshalText.
func (s *CredentialState) UnmarshalText(b []byte) error {
	for _, v := range []CredentialState{CredentialInvalid, CredentialActive, CredentialBlocked, CredentialRevoked} {
		if v.String() == string(b) {
			*s = v
			return nil
		}
	}
	return fmt.Errorf("credential state %q is not known", b)
}

// Function says what a credential does at a door beyond opening it (ENGAGE's
// fnctn; door.md, Functions).
type Function uint8

// The functions. Norm is the zero value: it opens for one pulse.
const (
	FunctionNorm        Function = iota
	FunctionToggle               // flips the door between secured and passage
	FunctionFreeze               // flips the door between frozen and not
	FunctionPassThrough          // beats lockdown and freeze
	FunctionLockdown             // locks the door down
	FunctionOneTime              // one use
	FunctionSupervised           // needs a second person
	FunctionBlocked              // never passes
)

var functionNames = []string{"norm", "toggle", "freeze", "pass_through", "lockdown", "one_time", "supervised", "blocked"}

// String returns the function's name as settings and imports write it.
func (f Function) String() string {
	if int(f) < len(functionNames) {
		return functionNames[f]
	}
	return fmt.Sprintf("function(%d)", uint8(f))
}

// ParseFunction reads a function's name. Empty and "normal" mean norm
// (contract.md, Import and export).
func ParseFunction(s string) (Function, error) {
	if s == "" || s == "normal" {
		return FunctionNorm, nil
	}
	if i := slices.Index(functionNames, s); i >= 0 {
		return Function(i), nil
	}
	return FunctionBlocked, fmt.Errorf("function %q is not known (one of %v)", s, functionNames)
}

// MarshalText writes the function's name.
func (f Function) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalText reads the function's name.
func (f *Function) UnmarshalText(b []byte) (err error) {
	*f, err = ParseFunction(string(b))
	return err
}

// Right lets a credential pass one door, always or by a schedule.
type Right struct {
	Door     DoorID     `json:"door"`
	Schedule ScheduleID `json:"schedule,omitempty"` // empty: always
}

// Credential is one record of one source: a card that is enrolled. It holds no
// card number and no PIN; the store keeps those (encrypted block, keyed hash)
// and never hands them out with it.
type Credential struct {
	ID       CredentialID    `json:"id"`
	Source   Source          `json:"source"`
	Holder   HolderID        `json:"holder"`
	Bits     int             `json:"bits,omitempty"`   // length of the card in bits; 0: any length (came in a door file)
	Format   string          `json:"format,omitempty"` // as enrolled: a format's name or "raw"
	Card     CardRef         `json:"card"`
	State    CredentialState `json:"state"`
	Function Function        `json:"function"`
	ADA      bool            `json:"ada,omitempty"`
	HasPIN   bool            `json:"has_pin,omitempty"`
	Uses     uint32          `json:"uses,omitempty"` // allowed uses; 0: no limit
	Used     uint32          `json:"used,omitempty"` // uses so far
	From     time.Time       `json:"from,omitzero"`
	Until    time.Time       `json:"until,omitzero"`
	Rights   []Right         `json:"rights,omitempty"`
	Levels   []LevelID       `json:"levels,omitempty"`
}

// CardRef is what people see of a card: the last two digits of its number
// (empty where the number is not known) and a short keyed tag.
type CardRef struct {
	Last2 string
	Tag   string
}

// String returns the form of listings and events: "…68 a41f0c".
func (c CardRef) String() string {
	if c == (CardRef{}) {
		return ""
	}
	return "…" + c.Last2 + " " + c.Tag
}

// MarshalText writes the form of String.
func (c CardRef) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads the form of String.
func (c *CardRef) UnmarshalText(b []byte) error {
	*c = CardRef{}
	if len(b) == 0 {
		return nil
	}
	var ok bool
	s := string(b)
	if len(s) < len("… ") || s[:len("…")] != "…" {
		return fmt.Errorf("card reference %.12q: not of the form …NN tag", s)
	}
	for i, r := range s {
		if r == ' ' {
			c.Last2, c.Tag, ok = s[len("…"):i], s[i+1:], true
			break
		}
	}
	if !ok {
		return fmt.Errorf("card reference %.12q: not of the form …NN tag", s)
	}
	return nil
}

// Level is a set of doors with schedules that many credentials share.
type Level struct {
	ID     LevelID `json:"id"`
	Source Source  `json:"source"`
	Name   string  `json:"name"`
	Rights []Right `json:"rights"`
}

// Days is a set of days: bits 0 to 6 are the days of the week from Sunday, as in
// time.Weekday, bits 7 to 14 the holidays of kind 1 to 8.
type Days uint16

// AllDays holds the seven days of the week, and no holiday.
const AllDays Days = 0x7F

// HolidayKinds is how many kinds of holidays there are; they count from 1.
const HolidayKinds = 8

// dayNames are ENGAGE's (engage.md section 5).
var dayNames = [7]string{"Su", "Mo", "Tu", "We", "Th", "Fr", "Sa"}

// Has reports whether d contains w.
func (d Days) Has(w time.Weekday) bool { return d&(1<<uint(w)) != 0 }

// HasHoliday reports whether d contains holidays of that kind.
func (d Days) HasHoliday(kind int) bool {
	return kind >= 1 && kind <= HolidayKinds && d&(1<<(6+kind)) != 0
}

// Names returns ENGAGE's names of the days in d, from Sunday, then H1 to H8 for
// holidays.
func (d Days) Names() []string {
	var out []string
	for i, n := range dayNames {
		if d.Has(time.Weekday(i)) {
			out = append(out, n)
		}
	}
	for k := 1; k <= HolidayKinds; k++ {
		if d.HasHoliday(k) {
			out = append(out, fmt.Sprintf("H%d", k))
		}
	}
	return out
}

// ParseDays reads names as Names writes them; case does not matter and any
// longer English name of a week day ("mon", "Monday") is accepted.
func ParseDays(names []string) (Days, error) {
	var d Days
next:
	for _, n := range names {
		for i := range dayNames {
			if long := time.Weekday(i).String(); len(n) >= 2 && len(n) <= len(long) && equalFold(n, long[:len(n)]) {
				d |= 1 << uint(i)
				continue next
			}
		}
		if len(n) == 2 && (n[0] == 'H' || n[0] == 'h') && n[1] >= '1' && n[1] < '1'+HolidayKinds {
			d |= 1 << (6 + n[1] - '0')
			continue
		}
		return 0, fmt.Errorf("day %q is not known (one of %v, or H1 to H%d for holidays)", n, dayNames, HolidayKinds)
	}
	return d, nil
}

func equalFold(a, b string) bool {
	lower := func(c byte) byte {
		if c >= 'A' && c <= 'Z' {
			return c + 'a' - 'A'
		}
		return c
	}
	for i := range len(a) {
		if lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return len(a) == len(b)
}

// Interval is a part of some days in the site's time zone. Start and End are
// minutes since local midnight as a wall clock shows them, Start in 0..1439,
// End in 1..1440, exclusive. An End at or below Start crosses midnight and
// belongs to the day on which it starts.
type Interval struct {
	Days  Days `json:"days"`
	Start int  `json:"start"`
	End   int  `json:"end"`
}

// Schedule is a union of intervals.
type Schedule struct {
	ID        ScheduleID `json:"id"`
	Source    Source     `json:"source"`
	Name      string     `json:"name"`
	Intervals []Interval `json:"intervals"`
	// IgnoreHolidays keeps the schedule in force on holidays.
	IgnoreHolidays bool `json:"ignore_holidays,omitempty"`
}

// Date is a day of the site's calendar.
type Date struct {
	Year  int
	Month time.Month
	Day   int
}

// DateOf returns the day of t in its own location.
func DateOf(t time.Time) Date {
	y, m, d := t.Date()
	return Date{y, m, d}
}

// Compare is negative when d is before o, positive when after, else zero.
func (d Date) Compare(o Date) int {
	n := func(d Date) int { return d.Year*10000 + int(d.Month)*100 + d.Day }
	return n(d) - n(o)
}

// String returns the ISO 8601 form, 2026-12-24.
func (d Date) String() string { return fmt.Sprintf("%04d-%02d-%02d", d.Year, d.Month, d.Day) }

// MarshalText writes the form of String.
func (d Date) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads the form of String and refuses a day that does not exist.
func (d *Date) UnmarshalText(b []byte) error {
	t, err := time.Parse("2006-01-02", string(b))
	if err != nil {
		return fmt.Errorf("date %q: want YYYY-MM-DD of a real day", b)
	}
	*d = DateOf(t)
	return nil
}

// Holiday is one or more whole days on which the days of the week do not count:
// a schedule holds only by its intervals for holidays of that kind (Days), unless
// it ignores holidays.
type Holiday struct {
	ID     HolidayID `json:"id"`
	Source Source    `json:"source"`
	Name   string    `json:"name"`
	First  Date      `json:"first"`
	Last   Date      `json:"last"`           // inclusive
	Kind   int       `json:"kind,omitempty"` // 1 to HolidayKinds; 0 means 1
}

// HolidayKind returns the kind, which is 1 where none was given.
func (h Holiday) HolidayKind() int { return max(h.Kind, 1) }

// Has reports whether the holiday covers the day.
func (h Holiday) Has(d Date) bool { return d.Compare(h.First) >= 0 && d.Compare(h.Last) <= 0 }
