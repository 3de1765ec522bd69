package access_test

import (
	"strings"
	"testing"
	"time"

	"gatehouse/agent/access"
	"gatehouse/agent/site"
)

// TestHolidayKinds: a schedule's days of the week and kinds of holidays, on and
// about holidays. The site is in UTC; 2026-12-21 is a Monday.
func TestHolidayKinds(t *testing.T) {
	day := func(d int) site.Date { return site.Date{Year: 2026, Month: 12, Day: d} }
	holidays := []site.Holiday{
		{ID: "one", First: day(22), Last: day(22)},          // Tuesday: H1, no kind given
		{ID: "two", First: day(24), Last: day(25), Kind: 2}, // Thursday, Friday: H2
		{ID: "three", First: day(25), Last: day(26), Kind: 3},
		{ID: "within", First: day(24), Last: day(24), Kind: 2},
		{ID: "odd", First: day(28), Last: day(28), Kind: 9}, // Monday: a kind that is none
	}
	iv := func(start, end int, days ...string) site.Interval {
		d, err := site.ParseDays(days)
		if err != nil {
			t.Fatal(err)
		}
		return site.Interval{Days: d, Start: start * 60, End: end * 60}
	}
	week := []string{"Mo", "Tu", "We", "Th", "Fr"}
	type asks map[string]site.Reason
	const on, off, hol = site.ReasonGranted, site.ReasonOutOfSchedule, site.ReasonHoliday
	for _, tt := range []struct {
		name   string
		ignore bool
		iv     []site.Interval
		asks   asks
	}{
		{"the week alone", false, []site.Interval{iv(8, 18, week...)}, asks{
			"21 08:00": on, "22 07:59": off, "22 08:00": hol, "23 08:00": on, "24 08:00": hol, "25 08:00": hol, "26 08:00": off, "28 08:00": hol}},
		{"the week and H1", false, []site.Interval{iv(8, 18, append(week, "H1")...)}, asks{
			"21 08:00": on, "22 08:00": on, "22 18:00": off, "24 08:00": hol, "28 08:00": hol}},
		{"short on holidays", false, []site.Interval{iv(8, 18, week...), iv(10, 12, "H1", "H3")}, asks{
			"21 08:00": on, "22 08:00": hol, "22 10:00": on, "22 12:00": hol, "22 19:00": off, "24 10:00": hol,
			"25 10:00": on, "25 13:00": hol, "26 10:00": on, "26 13:00": off}},
		{"holidays alone", false, []site.Interval{iv(10, 12, "H2")}, asks{
			"21 10:00": off, "22 10:00": off, "24 10:00": on, "25 10:00": on, "26 10:00": off}},
		{"ignored", true, []site.Interval{iv(8, 18, week...), iv(20, 21, "H1")}, asks{
			"22 08:00": on, "24 08:00": on, "22 20:00": off}},
		{"a shift of the week", false, []site.Interval{iv(22, 6, week...)}, asks{
			"21 23:00": on, "22 05:00": hol, "22 23:00": hol, "23 05:00": on, "26 05:00": hol}},
		{"a shift of a holiday", false, []site.Interval{iv(22, 6, "H1")}, asks{
			"21 23:00": off, "22 05:00": off, "22 23:00": on, "23 05:00": on, "23 06:00": off, "23 23:00": off}},
		{"a shift from one holiday to another", false, []site.Interval{iv(22, 6, "H3")}, asks{
			"25 05:00": off, "25 22:00": on, "26 05:00": on, "26 22:00": on, "27 05:00": on, "27 22:00": off}},
		{"a shift into a holiday of another kind", false, []site.Interval{iv(22, 6, "We", "H1")}, asks{
			"23 22:00": on, "24 05:00": hol}},
		{"a shift of the week into its own holiday", false, []site.Interval{iv(22, 6, "Mo", "H1")}, asks{
			"21 22:00": on, "22 05:00": on, "22 22:00": on, "23 05:00": on}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := access.Compile(nil, []site.Schedule{{ID: "s", Source: "operator", Intervals: tt.iv, IgnoreHolidays: tt.ignore}}, nil, holidays)
			for at, want := range tt.asks {
				now, err := time.Parse("2006-01 02 15:04", "2026-12 "+at)
				if err != nil {
					t.Fatal(err)
				}
				ok, r := p.Active("s", site.Clock{Now: now, Trusted: true})
				if r != want || ok != (want == on) {
					t.Errorf("%s: %s, want %s", at, r, want)
				}
			}
		})
	}
}

// TestHolidayKindsInWhy: the step names the kinds of the day.
func TestHolidayKindsInWhy(t *testing.T) {
	d := site.DateOf(monday)
	p := access.Compile(nil, nil, nil, []site.Holiday{{First: d, Last: d, Kind: 8}, {First: d, Last: d}})
	got := access.Decide(p, []site.Credential{record()}, request(t, func(r *access.Request) { r.Trace = true }))
	for _, s := range got.Steps {
		if s.Check == "schedule" {
			if !strings.HasSuffix(s.Input, ", a holiday H1 H8") {
				t.Errorf("input %q", s.Input)
			}
			return
		}
	}
	t.Error("no step for the schedule")
}
