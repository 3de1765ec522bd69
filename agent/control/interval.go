package control

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"gatehouse/agent/site"
)

// Interval is a site.Interval that text writes as people do: "Mo-Fr
// 08:00-18:00".
type Interval site.Interval

// daily is the word for all days.
const daily = "daily"

// dayCodes are the two-letter names of the days, from Monday, as a week is read.
var dayCodes = [7]string{"Mo", "Tu", "We", "Th", "Fr", "Sa", "Su"}

// weekday maps a place in dayCodes to a time.Weekday.
func weekday(i int) time.Weekday { return time.Weekday((i + 1) % 7) }

// maxInterval bounds the text of an interval.
const maxInterval = 200

var errInterval = errors.New("want days and times as \"Mo-Fr 08:00-18:00\"")

// ParseInterval reads days and times. Days are names (Mo, mon, Monday), kinds of
// holidays (H1 to H8), ranges of either (Mo-Fr, Fr-Mo, H1-H3) separated by
// commas, or "daily". Times are HH:MM-HH:MM;
// an end of 24:00, or of 00:00, is the end of the day, an end at or before the
// start is on the next day.
func ParseInterval(s string) (site.Interval, error) {
	var iv site.Interval
	if len(s) > maxInterval {
		return iv, fmt.Errorf("interval: longer than %d characters", maxInterval)
	}
	words := strings.Fields(s)
	if len(words) < 2 {
		return iv, fmt.Errorf("interval %q: %w", s, errInterval)
	}
	days, err := ParseDays(strings.Join(words[:len(words)-1], ""))
	if err != nil {
		return iv, fmt.Errorf("interval %q: %w", s, err)
	}
	from, to, found := strings.Cut(words[len(words)-1], "-")
	if !found {
		return iv, fmt.Errorf("interval %q: %w", s, errInterval)
	}
	start, err := ParseMinute(from)
	if err != nil {
		return iv, fmt.Errorf("interval %q: %w", s, err)
	}
	end, err := ParseMinute(to)
	if err != nil {
		return iv, fmt.Errorf("interval %q: %w", s, err)
	}
	return NewInterval(days, start, end)
}

// NewInterval makes an interval of days and minutes since midnight, by the rules
// of ParseInterval.
func NewInterval(days site.Days, start, end int) (site.Interval, error) {
	if days == 0 {
		return site.Interval{}, errors.New("interval: days are missing")
	}
	if start < 0 || start > 1439 || end < 0 || end > 1440 {
		return site.Interval{}, errors.New("interval: want a start from 00:00 to 23:59 and an end from 00:01 to 24:00")
	}
	if end == 0 {
		end = 1440
	}
	return site.Interval{Days: days, Start: start, End: end}, nil
}

// ParseDays reads the days of ParseInterval.
func ParseDays(s string) (site.Days, error) {
	if strings.EqualFold(s, daily) {
		return site.AllDays, nil
	}
	var out site.Days
	for part := range strings.SplitSeq(s, ",") {
		first, last, found := strings.Cut(part, "-")
		if !found {
			last = first
		}
		d, err := parseRange(first, last)
		if err != nil {
			return 0, err
		}
		out |= d
	}
	return out, nil
}

// parseRange reads the days from one to another: of the week, which goes round,
// or kinds of holidays.
func parseRange(first, last string) (out site.Days, err error) {
	a, err := dayIndex(first)
	if err != nil {
		return 0, err
	}
	b, err := dayIndex(last)
	if err != nil {
		return 0, err
	}
	switch {
	case a < 7 && b < 7:
		for i := a; ; i = (i + 1) % 7 {
			out |= 1 << uint(weekday(i))
			if i == b {
				return out, nil
			}
		}
	case a >= 7 && b >= a:
		for i := a; i <= b; i++ {
			out |= 1 << i
		}
		return out, nil
	}
	return 0, fmt.Errorf("days %.16q to %.16q are no range", first, last)
}

// dayIndex returns the place of a day: 0 to 6 in the week, from Monday, then the
// kinds of holidays, whose bits of site.Days have the same places.
func dayIndex(name string) (int, error) {
	d, err := site.ParseDays([]string{name})
	if err != nil {
		return 0, fmt.Errorf("day %.16q is not known (Mo, Tu, We, Th, Fr, Sa, Su, H1 to H%d for holidays, or %s)", name, site.HolidayKinds, daily)
	}
	for i := range dayCodes {
		if d.Has(weekday(i)) {
			return i, nil
		}
	}
	for k := range site.HolidayKinds {
		if d.HasHoliday(k + 1) {
			return 7 + k, nil
		}
	}
	return 0, fmt.Errorf("day %.16q is not known", name)
}

// ParseMinute reads HH:MM, 00:00 to 24:00, as minutes since midnight.
func ParseMinute(s string) (int, error) {
	hour, minute, found := strings.Cut(s, ":")
	h, err1 := strconv.ParseUint(hour, 10, 8)
	m, err2 := strconv.ParseUint(minute, 10, 8)
	if !found || err1 != nil || err2 != nil || len(hour) > 2 || len(minute) != 2 || h > 24 || m > 59 || h == 24 && m > 0 {
		return 0, fmt.Errorf("time %.16q: want HH:MM from 00:00 to 24:00", s)
	}
	return int(h)*60 + int(m), nil
}

// FormatDays is the reverse of ParseDays.
func FormatDays(d site.Days) string {
	if d == site.AllDays {
		return daily
	}
	out := appendRuns(nil, dayCodes[:], func(i int) bool { return d.Has(weekday(i)) })
	kinds := make([]string, site.HolidayKinds)
	for i := range kinds {
		kinds[i] = fmt.Sprintf("H%d", i+1)
	}
	return strings.Join(appendRuns(out, kinds, func(i int) bool { return d.HasHoliday(i + 1) }), ",")
}

// appendRuns appends the names that are chosen, three and more in a row as a
// range.
func appendRuns(out, names []string, has func(int) bool) []string {
	for i := 0; i < len(names); i++ {
		if !has(i) {
			continue
		}
		last := i
		for last+1 < len(names) && has(last+1) {
			last++
		}
		switch last - i {
		case 0:
			out = append(out, names[i])
		case 1:
			out = append(out, names[i], names[last])
		default:
			out = append(out, names[i]+"-"+names[last])
		}
		i = last
	}
	return out
}

// FormatInterval is the reverse of ParseInterval.
func FormatInterval(iv site.Interval) string {
	return fmt.Sprintf("%s %02d:%02d-%02d:%02d", FormatDays(iv.Days), iv.Start/60, iv.Start%60, iv.End/60, iv.End%60)
}

// String is FormatInterval.
func (iv Interval) String() string { return FormatInterval(site.Interval(iv)) }

// MarshalText writes the form of String.
func (iv Interval) MarshalText() ([]byte, error) { return []byte(iv.String()), nil }

// UnmarshalText reads the form of String.
func (iv *Interval) UnmarshalText(b []byte) error {
	v, err := ParseInterval(string(b))
	*iv = Interval(v)
	return err
}
