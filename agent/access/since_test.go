package access_test

import (
	"testing"
	"time"

	"gatehouse/agent/access"
	"gatehouse/agent/site"
)

// TestSince: the beginning of the interval that holds, over midnights, holidays
// and the two days on which the clocks of Berlin are put on and back.
func TestSince(t *testing.T) {
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	const all = site.AllDays
	schedule := func(id site.ScheduleID, ivs ...site.Interval) site.Schedule {
		return site.Schedule{ID: id, Source: site.SourceOperator, Intervals: ivs}
	}
	iv := func(days site.Days, start, end int) site.Interval {
		return site.Interval{Days: days, Start: start, End: end}
	}
	day := func(wd ...time.Weekday) (d site.Days) {
		for _, w := range wd {
			d |= 1 << w
		}
		return d
	}
	weekend := []site.Interval{
		iv(day(time.Friday), 18*60, 24*60), iv(day(time.Saturday, time.Sunday), 0, 24*60), iv(day(time.Monday), 0, 6*60),
	}
	office := schedule("office", iv(all, 8*60, 18*60))
	stubborn := office
	stubborn.ID, stubborn.IgnoreHolidays = "stubborn", true
	p := access.Compile(zone, []site.Schedule{
		office, stubborn,
		schedule("parts", iv(all, 8*60, 12*60), iv(all, 11*60, 13*60), iv(all, 13*60, 15*60), iv(all, 16*60, 17*60)),
		schedule("night", iv(all, 22*60, 6*60)),
		schedule("halves", iv(all, 22*60, 24*60), iv(all, 0, 6*60)),
		schedule("always", iv(all, 0, 24*60)),
		schedule("weekend", weekend...),
		schedule("gap", iv(all, 2*60+30, 4*60)),
		schedule("odd", iv(all, 1*60+30, 2*60+30)),
	}, nil, []site.Holiday{{ID: "x", First: site.Date{Year: 2026, Month: 12, Day: 24}, Last: site.Date{Year: 2026, Month: 12, Day: 24}}})

	tests := []struct {
		name     string
		schedule site.ScheduleID
		now      string
		want     string // empty: it does not hold
	}{
		{"none", "", "2026-11-23T09:00:00+01:00", ""},
		{"unknown", "nobody", "2026-11-23T09:00:00+01:00", ""},
		{"before", "office", "2026-11-23T07:59:59+01:00", ""},
		{"first second", "office", "2026-11-23T08:00:00+01:00", "2026-11-23T08:00:00+01:00"},
		{"inside", "office", "2026-11-23T17:59:59.9+01:00", "2026-11-23T08:00:00+01:00"},
		{"after", "office", "2026-11-23T18:00:00+01:00", ""},
		{"overlapping and touching", "parts", "2026-11-23T14:30:00+01:00", "2026-11-23T08:00:00+01:00"},
		{"after a gap", "parts", "2026-11-23T16:30:00+01:00", "2026-11-23T16:00:00+01:00"},
		{"evening", "night", "2026-11-23T23:59:00+01:00", "2026-11-23T22:00:00+01:00"},
		{"midnight", "night", "2026-11-24T00:00:00+01:00", "2026-11-23T22:00:00+01:00"},
		{"morning", "night", "2026-11-24T05:59:00+01:00", "2026-11-23T22:00:00+01:00"},
		{"two halves of a night", "halves", "2026-11-24T05:59:00+01:00", "2026-11-23T22:00:00+01:00"},
		{"always", "always", "2026-11-24T05:59:00+01:00", "2026-11-24T00:00:00+01:00"},
		{"always, at midnight", "always", "2026-11-24T00:00:00+01:00", "2026-11-24T00:00:00+01:00"},
		{"friday evening", "weekend", "2026-11-27T19:00:00+01:00", "2026-11-27T18:00:00+01:00"},
		{"saturday", "weekend", "2026-11-28T19:00:00+01:00", "2026-11-28T00:00:00+01:00"},
		{"monday morning", "weekend", "2026-11-30T05:00:00+01:00", "2026-11-30T00:00:00+01:00"},
		{"holiday", "office", "2026-12-24T09:00:00+01:00", ""},
		{"holiday ignored", "stubborn", "2026-12-24T09:00:00+01:00", "2026-12-24T08:00:00+01:00"},
		{"the clocks are put on", "office", "2026-03-29T10:00:00+02:00", "2026-03-29T08:00:00+02:00"},
		{"a night of 7 hours", "night", "2026-03-29T05:00:00+02:00", "2026-03-28T22:00:00+01:00"},
		{"a beginning that is left out", "gap", "2026-03-29T03:10:00+02:00", "2026-03-29T03:00:00+02:00"},
		{"a day of 23 hours", "always", "2026-03-29T23:59:00+02:00", "2026-03-29T00:00:00+01:00"},
		{"a night of 9 hours", "night", "2026-10-25T05:00:00+01:00", "2026-10-24T22:00:00+02:00"},
		{"a day of 25 hours", "always", "2026-10-25T23:59:00+01:00", "2026-10-25T00:00:00+02:00"},
		{"the first time at two", "odd", "2026-10-25T02:10:00+02:00", "2026-10-25T01:30:00+02:00"},
		{"the second time at two", "odd", "2026-10-25T02:10:00+01:00", "2026-10-25T02:00:00+01:00"},
		{"between the two", "odd", "2026-10-25T02:40:00+02:00", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			now, err := time.Parse(time.RFC3339, tt.now)
			if err != nil {
				t.Fatal(err)
			}
			got, on := p.Since(tt.schedule, site.Clock{Now: now, Trusted: true})
			if on != (tt.want != "") {
				t.Fatalf("holds: %v since %v", on, got)
			}
			if on {
				if want, err := time.Parse(time.RFC3339, tt.want); err != nil || !got.Equal(want) {
					t.Errorf("since %v, want %v (%v)", got.In(zone), tt.want, err)
				}
			}
			if on, reason := p.Active(tt.schedule, site.Clock{Now: now, Trusted: true}); on != (tt.want != "") {
				t.Errorf("active %v, %s", on, reason)
			}
		})
	}
	noon, err := time.Parse(time.RFC3339, "2026-11-23T12:00:00+01:00")
	if err != nil {
		t.Fatal(err)
	}
	for _, mode := range []site.ClockMode{site.ClockDeny, site.ClockAlwaysOnly, site.ClockIgnore} {
		if _, on := p.Since("office", site.Clock{Now: noon, Mode: mode}); on {
			t.Errorf("%v: an untrusted clock has an interval", mode)
		}
	}
	var none *access.Policy
	if _, on := none.Since("office", site.Clock{Now: noon, Trusted: true}); on {
		t.Error("no policy has an interval")
	}
}
