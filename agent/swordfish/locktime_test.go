package swordfish_test

import (
	"testing"
	"time"
	_ "time/tzdata" // the zones of the tests, on any machine

	"gatehouse/agent/swordfish"
)

func zoneOf(t testing.TB, name string) *time.Location {
	t.Helper()
	zone, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return zone
}

var lockTimes = []struct {
	name, zone, in, first, second string
	skipped, bad                  bool
}{
	{name: "no text is refused", zone: "UTC", bad: true},
	{name: "13 digits are refused", zone: "UTC", in: "2026112118040", bad: true},
	{name: "15 digits are refused", zone: "UTC", in: "202611211804055", bad: true},
	{name: "a sign is refused", zone: "UTC", in: "+2026112118040", bad: true},
	{name: "a fraction is refused", zone: "UTC", in: "2026112118040.", bad: true},
	{name: "month 13 is refused", zone: "UTC", in: "20261321180405", bad: true},
	{name: "month 0 is refused", zone: "UTC", in: "20260021180405", bad: true},
	{name: "day 0 is refused", zone: "UTC", in: "20261100180405", bad: true},
	{name: "29 February of a common year is refused", zone: "UTC", in: "20260229180405", bad: true},
	{name: "hour 24 is refused", zone: "UTC", in: "20261121240000", bad: true},
	{name: "second 60 is refused", zone: "UTC", in: "20261121235960", bad: true},
	{name: "29 February of a leap year is read", zone: "UTC", in: "20280229180405", first: "2028-02-29T18:04:05Z"},
	{name: "a winter day", zone: "Europe/Berlin", in: "20261121180405", first: "2026-11-21T17:04:05Z"},
	{name: "a summer day", zone: "Europe/Berlin", in: "20260721180405", first: "2026-07-21T16:04:05Z"},
	{name: "1970", zone: "Europe/Berlin", in: "19700101000000", first: "1969-12-31T23:00:00Z"},
	{name: "2099", zone: "Europe/Berlin", in: "20991231235959", first: "2099-12-31T22:59:59Z"},
	{name: "the year 0", zone: "UTC", in: "00000101000000", first: "0000-01-01T00:00:00Z"},
	{name: "the last second before the repeated hour", zone: "Europe/Berlin", in: "20261025015959", first: "2026-10-24T23:59:59Z"},
	{name: "the first second of the repeated hour", zone: "Europe/Berlin", in: "20261025020000", first: "2026-10-25T00:00:00Z", second: "2026-10-25T01:00:00Z"},
	{name: "the last second of the repeated hour", zone: "Europe/Berlin", in: "20261025025959", first: "2026-10-25T00:59:59Z", second: "2026-10-25T01:59:59Z"},
	{name: "the first second after it", zone: "Europe/Berlin", in: "20261025030000", first: "2026-10-25T02:00:00Z"},
	{name: "the last second before the skipped hour", zone: "Europe/Berlin", in: "20260329015959", first: "2026-03-29T00:59:59Z"},
	{name: "the first second of the skipped hour", zone: "Europe/Berlin", in: "20260329020000", first: "2026-03-29T01:00:00Z", skipped: true},
	{name: "the last second of the skipped hour", zone: "Europe/Berlin", in: "20260329025959", first: "2026-03-29T01:59:59Z", skipped: true},
	{name: "the first second after it", zone: "Europe/Berlin", in: "20260329030000", first: "2026-03-29T01:00:00Z"},
	{name: "the repeated hour west of Greenwich", zone: "America/New_York", in: "20261101013000", first: "2026-11-01T05:30:00Z", second: "2026-11-01T06:30:00Z"},
	{name: "the skipped hour west of Greenwich", zone: "America/New_York", in: "20260308023000", first: "2026-03-08T07:30:00Z", skipped: true},
	{name: "half an hour is repeated", zone: "Australia/Lord_Howe", in: "20260405014500", first: "2026-04-04T14:45:00Z", second: "2026-04-04T15:15:00Z"},
	{name: "half an hour is skipped", zone: "Australia/Lord_Howe", in: "20261004021500", first: "2026-10-03T15:45:00Z", skipped: true},
	{name: "a whole day is skipped", zone: "Pacific/Apia", in: "20111230120000", first: "2011-12-30T22:00:00Z", skipped: true},
	{name: "the repeated hour begins at midnight", zone: "America/Havana", in: "20261101003000", first: "2026-11-01T04:30:00Z", second: "2026-11-01T05:30:00Z"},
}

func TestLockTime(t *testing.T) {
	for _, tt := range lockTimes {
		t.Run(tt.name, func(t *testing.T) {
			first, second, skipped, err := swordfish.LockTime(tt.in, zoneOf(t, tt.zone))
			show := func(at time.Time) string {
				if at.IsZero() && tt.in[:4] != "0001" {
					return ""
				}
				return at.UTC().Format(time.RFC3339)
			}
			if tt.bad {
				if err == nil || !first.IsZero() || !second.IsZero() || skipped {
					t.Errorf("was read as %v, %v", first, second)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if show(first) != tt.first || show(second) != tt.second || skipped != tt.skipped {
				t.Errorf("%s, %s, %v: want %s, %s, %v", show(first), show(second), skipped, tt.first, tt.second, tt.skipped)
			}
		})
	}
	if first, _, _, err := swordfish.LockTime("20261121180405", nil); err != nil || first.Location() != time.UTC {
		t.Errorf("no zone: %v, %v", first, err)
	}
}

// TestLockTimeYear reads what a wall clock shows at each quarter of an hour of a year,
// in zones of every kind, and finds that instant among the readings.
func TestLockTimeYear(t *testing.T) {
	for _, name := range []string{"Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Africa/Casablanca", "Asia/Kathmandu", "Pacific/Apia", "America/Havana", "Europe/Dublin", "Antarctica/Troll"} {
		zone, twice := zoneOf(t, name), 0
		start := time.Date(2026, 1, 1, 0, 0, 0, 0, zone)
		for at := start; at.Before(start.AddDate(1, 0, 0)); at = at.Add(15 * time.Minute) {
			first, second, skipped, err := swordfish.LockTime(at.Format("20060102150405"), zone)
			if err != nil || skipped || !first.Equal(at) && !second.Equal(at) {
				t.Fatalf("%v: %v, %v, %v, %v", at, first, second, skipped, err)
			}
			if !second.IsZero() {
				twice++
			}
		}
		if twice%2 != 0 || twice > 8*4 {
			t.Errorf("%s: %d readings of repeated times", name, twice)
		}
	}
}

// offsetsNear are all offsets that a zone has within a day of a wall clock, looked up
// without LockTime's means.
func offsetsNear(wall time.Time, zone *time.Location) map[int]bool {
	out := map[int]bool{}
	for at := wall.Add(-27 * time.Hour); at.Before(wall.Add(27 * time.Hour)); at = at.Add(10 * time.Minute) {
		_, offset := at.In(zone).Zone()
		out[offset] = true
	}
	return out
}

func FuzzLockTime(f *testing.F) {
	zones := []string{"UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "America/Havana", "Antarctica/Troll"}
	for i, tt := range lockTimes {
		f.Add(tt.in, uint8(i))
	}
	f.Fuzz(func(t *testing.T, s string, z uint8) {
		zone := zoneOf(t, zones[int(z)%len(zones)])
		first, second, skipped, err := swordfish.LockTime(s, zone)
		wall, bad := time.Parse("20060102150405", s)
		if (err != nil) != (bad != nil || len(s) != 14) {
			t.Fatalf("%q: %v, package time says %v", s, err, bad)
		}
		if err != nil {
			return
		}
		readings := map[int64]bool{}
		for offset := range offsetsNear(wall, zone) {
			if at := wall.Add(-time.Duration(offset) * time.Second); at.In(zone).Format("20060102150405") == s {
				readings[at.Unix()] = true
			}
		}
		switch {
		case skipped && (len(readings) != 0 || !second.IsZero()):
			t.Errorf("%q was skipped, and shown %d times", s, len(readings))
		case !skipped && !readings[first.Unix()], len(readings) > 1 != !second.IsZero(), !second.IsZero() && (!readings[second.Unix()] || !second.After(first)):
			t.Errorf("%q: %v, %v of %v", s, first, second, readings)
		case skipped && first.In(zone).Format("20060102150405") <= s:
			t.Errorf("%q was skipped, and is read as %v", s, first)
		}
	})
}
