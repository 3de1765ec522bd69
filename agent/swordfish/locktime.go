package swordfish

import (
	"errors"
	"slices"
	"time"
)

// stampLayout is YYYYMMDDHHMMSS.
const stampLayout = "20060102150405"

var errStamp = errors.New("want a time of 14 digits, YYYYMMDDHHMMSS")

// parseStamp reads 14 digits as a wall clock, kept in UTC.
func parseStamp(s string) (time.Time, error) {
	if len(s) != len(stampLayout) || !digits(s) {
		return time.Time{}, errStamp
	}
	t, err := time.Parse(stampLayout, s)
	if err != nil {
		return time.Time{}, errStamp
	}
	return t, nil
}

// LockTime reads a lock's 14 digits as a wall clock in zone, nil for UTC: times of
// locks have no offset (engage.md section 5).
//
// Where a clock was put back and showed the time twice, second is the later reading;
// else it is zero. Where one was put forward and never showed it, skipped is set, and
// first is what a clock means that was not yet put forward. Whether the time is
// plausible is the caller's to judge. The error does not hold the text.
func LockTime(s string, zone *time.Location) (first, second time.Time, skipped bool, err error) {
	wall, err := parseStamp(s)
	if err != nil {
		return time.Time{}, time.Time{}, false, err
	}
	if zone == nil {
		zone = time.UTC
	}
	// Date returns a time within a day of the one that is meant. What the clock shows
	// twice or never lies beside the begin or the end of the offset that holds there.
	near := time.Date(wall.Year(), wall.Month(), wall.Day(), wall.Hour(), wall.Minute(), wall.Second(), 0, zone)
	begin, end := near.ZoneBounds()
	around := []time.Time{near}
	if !begin.IsZero() {
		around = append(around, begin.Add(-time.Second))
	}
	if !end.IsZero() {
		around = append(around, end)
	}
	var shown, meant []time.Time
	for _, at := range around {
		_, offset := at.Zone()
		t := wall.Add(-time.Duration(offset) * time.Second).In(zone)
		meant = append(meant, t)
		if t.Format(stampLayout) == s {
			shown = append(shown, t)
		}
	}
	byTime := func(a, b time.Time) int { return a.Compare(b) }
	slices.SortFunc(shown, byTime)
	shown = slices.CompactFunc(shown, time.Time.Equal)
	switch len(shown) {
	case 0:
		return notForward(wall, zone, meant), time.Time{}, true, nil
	case 1:
		return shown[0], time.Time{}, false, nil
	}
	return shown[0], shown[1], false, nil
}

// notForward returns, of readings of a time that was skipped, that of the offset
// which held before: where it lies the clock has been put forward, and shows more.
func notForward(wall time.Time, zone *time.Location, meant []time.Time) time.Time {
	best := meant[0]
	for _, t := range meant {
		_, offset := t.Zone()
		shows := t.Add(time.Duration(offset) * time.Second)
		begin, _ := t.ZoneBounds()
		_, before := begin.Add(-time.Second).In(zone).Zone()
		if shows.After(wall) && t.Add(time.Duration(before)*time.Second).Equal(wall) {
			best = t
		}
	}
	return best
}
