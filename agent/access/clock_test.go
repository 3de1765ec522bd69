package access_test

import (
	"fmt"
	"testing"
	"time"

	"gatehouse/agent/access"
	"gatehouse/agent/site"
)

// TestClock walks through all clock modes, trusted or not, rights with and
// without schedule, and all places of from and until about the clock and the last
// trusted time. The rule is written out a second time as door.md words it.
func TestClock(t *testing.T) {
	p := policy(t)
	hour := time.Hour
	marks := map[string]time.Duration{"none": 0, "past": -hour, "soon": hour, "far": 100 * 24 * hour}
	lasts := map[string]time.Duration{"none": 0, "earlier": -30 * 24 * hour, "later": 30 * 24 * hour}
	at := func(d time.Duration) time.Time {
		if d == 0 {
			return time.Time{}
		}
		return monday.Add(d)
	}
	n := 0
	for m := site.ClockDeny; m <= site.ClockIgnore+1; m++ { // the last is no mode: deny
		for _, trusted := range []bool{true, false} {
			for lastName, last := range lasts {
				for _, sched := range []site.ScheduleID{"", "office", "night"} {
					for fromName, from := range marks {
						for untilName, until := range marks {
							name := fmt.Sprintf("%v trusted=%v last=%s schedule=%q from=%s until=%s", m, trusted, lastName, sched, fromName, untilName)
							c := record(rights(front(sched)))
							c.From, c.Until = at(from), at(until)
							r := request(t)
							r.Clock = site.Clock{Now: monday, Trusted: trusted, LastTrusted: at(last), Mode: m}
							want := clockRule(m, trusted, last == 30*24*hour, sched, fromName, untilName)
							if got := access.Decide(p, []site.Credential{c}, r); got.Reason != want {
								t.Errorf("%s: %s, want %s", name, got.Reason, want)
							}
							n++
						}
					}
				}
			}
		}
	}
	if n != 4*2*3*3*4*4 {
		t.Errorf("%d cases", n)
	}
}

// clockRule is door.md's paragraph in its order of words. lastLater: the last
// trusted time is a month after the clock.
func clockRule(m site.ClockMode, trusted, lastLater bool, sched site.ScheduleID, from, until string) site.Reason {
	bySchedule := map[site.ScheduleID]site.Reason{"": site.ReasonGranted, "office": site.ReasonGranted, "night": site.ReasonOutOfSchedule}[sched]
	if trusted {
		switch {
		case from == "soon" || from == "far":
			return site.ReasonNotActive
		case until == "past":
			return site.ReasonExpired
		}
		return bySchedule
	}
	// until is judged in every mode against the later of the clock and the last trusted time
	if until == "past" || until == "soon" && lastLater {
		return site.ReasonExpired
	}
	// from is not judged
	switch m {
	case site.ClockIgnore: // a right with a schedule is judged by the clock as it is
		return bySchedule
	case site.ClockAlwaysOnly:
		if sched != "" {
			return site.ReasonClockUntrusted
		}
	default: // under deny only rights that have neither schedule nor until pass
		if sched != "" || until != "none" {
			return site.ReasonClockUntrusted
		}
	}
	return site.ReasonGranted
}

// TestActive: what goes by a schedule without a credential.
func TestActive(t *testing.T) {
	p := policy(t)
	clock := func(now time.Time, trusted bool, m site.ClockMode) site.Clock {
		return site.Clock{Now: now, Trusted: trusted, Mode: m}
	}
	for _, tt := range []struct {
		name  string
		p     *access.Policy
		id    site.ScheduleID
		clock site.Clock
		want  site.Reason
	}{
		{"no policy", nil, "office", clock(monday, true, 0), site.ReasonNoPolicy},
		{"unknown", p, "gone", clock(monday, true, 0), site.ReasonOutOfSchedule},
		{"none", p, "", clock(monday, true, 0), site.ReasonOutOfSchedule},
		{"the operator's, not the host's", p, "1", clock(monday, true, 0), site.ReasonOutOfSchedule},
		{"deny", p, "office", clock(monday, false, site.ClockDeny), site.ReasonClockUntrusted},
		{"always-only", p, "office", clock(monday, false, site.ClockAlwaysOnly), site.ReasonClockUntrusted},
		{"ignore unlocks nothing", p, "office", clock(monday, false, site.ClockIgnore), site.ReasonClockUntrusted},
		{"out", p, "night", clock(monday, true, 0), site.ReasonOutOfSchedule},
		{"holiday", p, "office", clock(monday.AddDate(0, 0, 1), true, 0), site.ReasonHoliday},
		{"holds", p, "office", clock(monday, true, 0), site.ReasonGranted},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ok, r := tt.p.Active(tt.id, tt.clock)
			if r != tt.want || ok != (tt.want == site.ReasonGranted) {
				t.Errorf("%v %s, want %s", ok, r, tt.want)
			}
		})
	}
}

// TestWallClock asks schedules at instants about changes of the clocks.
func TestWallClock(t *testing.T) {
	day := func(w time.Weekday) site.Days { return 1 << uint(w) }
	iv := func(d site.Days, from, to string) site.Interval {
		minute := func(s string) int {
			var h, m int
			if _, err := fmt.Sscanf(s, "%d:%d", &h, &m); err != nil {
				t.Fatal(err)
			}
			return h*60 + m
		}
		return site.Interval{Days: d, Start: minute(from), End: minute(to)}
	}
	type ask struct {
		utc  string
		want bool
	}
	for _, tt := range []struct {
		name, zone string
		iv         site.Interval
		asks       []ask
	}{
		{"plain", "Europe/Berlin", iv(day(time.Monday), "8:00", "18:00"), []ask{
			{"2026-11-23 06:59:59", false}, {"2026-11-23 07:00:00", true}, {"2026-11-23 16:59:59", true}, {"2026-11-23 17:00:00", false},
			{"2026-11-24 08:00:00", false}, {"2026-11-22 08:00:00", false}}},
		{"whole day", "Europe/Berlin", iv(day(time.Monday), "0:00", "24:00"), []ask{
			{"2026-11-22 22:59:59", false}, {"2026-11-22 23:00:00", true}, {"2026-11-23 22:59:59", true}, {"2026-11-23 23:00:00", false}}},
		{"a day from noon", "Europe/Berlin", iv(day(time.Monday), "12:00", "12:00"), []ask{
			{"2026-11-23 10:59:59", false}, {"2026-11-23 11:00:00", true}, {"2026-11-24 10:59:59", true}, {"2026-11-24 11:00:00", false}}},
		{"over midnight", "Europe/Berlin", iv(day(time.Friday), "22:00", "6:00"), []ask{
			{"2026-11-27 04:00:00", false}, {"2026-11-27 20:59:59", false}, {"2026-11-27 21:00:00", true}, {"2026-11-28 04:59:59", true},
			{"2026-11-28 05:00:00", false}, {"2026-11-28 21:00:00", false}}},
		{"over the week's end", "Europe/Berlin", iv(day(time.Saturday), "22:00", "6:00"), []ask{
			{"2026-11-28 21:00:00", true}, {"2026-11-29 04:59:59", true}, {"2026-11-29 05:00:00", false}, {"2026-11-29 21:00:00", false}}},

		{"Berlin forward: 2:00 to 3:00 is left out", "Europe/Berlin", iv(day(time.Sunday), "2:00", "3:00"), []ask{
			{"2026-03-29 00:59:59", false}, {"2026-03-29 01:00:00", false}, {"2026-03-29 01:30:00", false}, {"2026-03-22 01:30:00", true}}},
		{"Berlin forward: half of it is left", "Europe/Berlin", iv(day(time.Sunday), "1:30", "3:30"), []ask{
			{"2026-03-29 00:29:59", false}, {"2026-03-29 00:30:00", true}, {"2026-03-29 01:00:00", true}, {"2026-03-29 01:29:59", true}, {"2026-03-29 01:30:00", false}}},
		{"Berlin forward over midnight", "Europe/Berlin", iv(day(time.Saturday), "22:00", "6:00"), []ask{
			{"2026-03-28 20:59:59", false}, {"2026-03-28 21:00:00", true}, {"2026-03-29 03:59:59", true}, {"2026-03-29 04:00:00", false}}},
		{"Berlin back: 2:00 to 3:00 counts twice", "Europe/Berlin", iv(day(time.Sunday), "2:00", "3:00"), []ask{
			{"2026-10-24 23:59:59", false}, {"2026-10-25 00:00:00", true}, {"2026-10-25 00:59:59", true}, {"2026-10-25 01:00:00", true},
			{"2026-10-25 01:59:59", true}, {"2026-10-25 02:00:00", false}}},
		{"Berlin back: it ends and begins again", "Europe/Berlin", iv(day(time.Sunday), "1:00", "2:30"), []ask{
			{"2026-10-24 23:00:00", true}, {"2026-10-25 00:29:59", true}, {"2026-10-25 00:30:00", false}, {"2026-10-25 01:00:00", true}, {"2026-10-25 01:30:00", false}}},
		{"Berlin back over midnight", "Europe/Berlin", iv(day(time.Saturday), "22:00", "6:00"), []ask{
			{"2026-10-24 19:59:59", false}, {"2026-10-24 20:00:00", true}, {"2026-10-25 01:30:00", true}, {"2026-10-25 04:59:59", true}, {"2026-10-25 05:00:00", false}}},

		{"Auckland forward", "Pacific/Auckland", iv(day(time.Sunday), "2:00", "3:00"), []ask{ // 2026-09-27 2:00 NZST
			{"2026-09-26 13:59:59", false}, {"2026-09-26 14:00:00", false}, {"2026-09-26 14:30:00", false}, {"2026-10-03 13:30:00", true}}},
		{"Auckland back", "Pacific/Auckland", iv(day(time.Sunday), "2:00", "3:00"), []ask{ // 2026-04-05 3:00 NZDT
			{"2026-04-04 12:59:59", false}, {"2026-04-04 13:00:00", true}, {"2026-04-04 14:59:59", true}, {"2026-04-04 15:00:00", false}}},

		{"Lord Howe forward by 30 minutes", "Australia/Lord_Howe", iv(day(time.Sunday), "2:00", "2:30"), []ask{ // 2026-10-04 2:00 +10:30 to 2:30 +11
			{"2026-10-03 15:29:59", false}, {"2026-10-03 15:30:00", false}, {"2026-10-03 15:59:59", false}, {"2026-10-10 15:00:00", true}}},
		{"Lord Howe back by 30 minutes", "Australia/Lord_Howe", iv(day(time.Sunday), "1:30", "2:00"), []ask{ // 2026-04-05 2:00 +11 to 1:30 +10:30
			{"2026-04-04 14:29:59", false}, {"2026-04-04 14:30:00", true}, {"2026-04-04 14:59:59", true}, {"2026-04-04 15:00:00", true},
			{"2026-04-04 15:29:59", true}, {"2026-04-04 15:30:00", false}}},
		{"Lord Howe back over midnight", "Australia/Lord_Howe", iv(day(time.Saturday), "23:00", "1:45"), []ask{
			{"2026-04-04 12:00:00", true}, {"2026-04-04 14:44:59", true}, {"2026-04-04 14:45:00", false}, {"2026-04-04 15:00:00", true}, {"2026-04-04 15:15:00", false}}},

		{"Santiago back at midnight: Saturday's last hour counts twice", "America/Santiago", iv(day(time.Saturday), "23:00", "24:00"), []ask{ // 2026-04-04 24:00 -3 to 23:00 -4
			{"2026-04-05 01:59:59", false}, {"2026-04-05 02:00:00", true}, {"2026-04-05 02:59:59", true}, {"2026-04-05 03:00:00", true},
			{"2026-04-05 03:59:59", true}, {"2026-04-05 04:00:00", false}}},
		{"Santiago forward at midnight: Sunday begins at 1:00", "America/Santiago", iv(day(time.Sunday), "0:00", "1:30"), []ask{ // 2026-09-06 0:00 -4 to 1:00 -3
			{"2026-09-06 03:59:59", false}, {"2026-09-06 04:00:00", true}, {"2026-09-06 04:29:59", true}, {"2026-09-06 04:30:00", false}}},
		{"Kathmandu, a quarter of an hour", "Asia/Kathmandu", iv(day(time.Monday), "8:00", "9:00"), []ask{
			{"2026-11-23 02:14:59", false}, {"2026-11-23 02:15:00", true}, {"2026-11-23 03:15:00", false}}},

		{"a board without a clock", "Europe/Berlin", iv(day(time.Thursday), "1:00", "2:00"), []ask{
			{"1970-01-01 00:00:00", true}, {"1970-01-01 00:59:59", true}, {"1970-01-01 01:00:00", false}, {"1969-12-31 23:59:59", false}}},
		{"before 1970", "America/Santiago", iv(day(time.Wednesday), "20:00", "22:00"), []ask{
			{"1969-12-31 23:59:59", true}, {"1970-01-01 00:30:00", true}, {"1970-01-01 01:00:00", false}, {"1901-01-03 00:00:00", false}}},
		{"the zero time", "UTC", iv(day(time.Monday), "0:00", "0:01"), []ask{{"0001-01-01 00:00:59", true}, {"0001-01-01 00:01:00", false}}},

		{"start outside", "UTC", site.Interval{Days: site.AllDays, Start: 1440, End: 1}, []ask{{"2026-11-23 00:00:00", false}, {"2026-11-23 12:00:00", false}}},
		{"negative start", "UTC", site.Interval{Days: site.AllDays, Start: -1, End: 1440}, []ask{{"2026-11-23 12:00:00", false}}},
		{"end 0", "UTC", site.Interval{Days: site.AllDays, Start: 0, End: 0}, []ask{{"2026-11-23 12:00:00", false}}},
		{"end past the day", "UTC", site.Interval{Days: site.AllDays, Start: 0, End: 1441}, []ask{{"2026-11-23 12:00:00", false}}},
		{"no days", "UTC", site.Interval{Start: 0, End: 1440}, []ask{{"2026-11-23 12:00:00", false}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := access.Compile(location(t, tt.zone), []site.Schedule{{ID: "s", Intervals: []site.Interval{tt.iv}}}, nil, nil)
			for _, a := range tt.asks {
				now, err := time.Parse(time.DateTime, a.utc)
				if err != nil {
					t.Fatal(err)
				}
				if got, why := p.Active("s", site.Clock{Now: now, Trusted: true}); got != a.want {
					t.Errorf("%s (%s): %v %s", a.utc, now.In(location(t, tt.zone)), got, why)
				}
			}
		})
	}
}

// TestHolidayAtMidnight: a holiday is the day that the wall clock shows, for a
// night shift that began the day before as well.
func TestHolidayAtMidnight(t *testing.T) {
	p := policy(t) // Tuesday 2026-11-24 is a holiday; "night" is 22:00 to 6:00, Monday to Friday
	for _, tt := range []struct {
		at   string // in Berlin
		want site.Reason
	}{
		{"2026-11-23T23:59:59+01:00", site.ReasonGranted},
		{"2026-11-24T00:00:00+01:00", site.ReasonHoliday},
		{"2026-11-24T05:59:59+01:00", site.ReasonHoliday},
		{"2026-11-24T06:00:00+01:00", site.ReasonOutOfSchedule},
		{"2026-11-24T22:00:00+01:00", site.ReasonHoliday},
		{"2026-11-25T00:00:00+01:00", site.ReasonGranted},
		{"2026-11-25T06:00:00+01:00", site.ReasonOutOfSchedule},
	} {
		now, err := time.Parse(time.RFC3339, tt.at)
		if err != nil {
			t.Fatal(err)
		}
		if _, r := p.Active("night", site.Clock{Now: now, Trusted: true}); r != tt.want {
			t.Errorf("%s: %s, want %s", tt.at, r, tt.want)
		}
	}
}

// TestNoZone: a policy without a zone is in UTC and does not panic.
func TestNoZone(t *testing.T) {
	p := access.Compile(nil, []site.Schedule{{ID: "s", Intervals: []site.Interval{{Days: site.AllDays, Start: 0, End: 1}}}}, nil, nil)
	now := time.Date(2026, 1, 1, 1, 0, 30, 0, time.FixedZone("", 3600))
	if ok, r := p.Active("s", site.Clock{Now: now, Trusted: true}); !ok {
		t.Errorf("at 00:00 UTC: %s", r)
	}
}
