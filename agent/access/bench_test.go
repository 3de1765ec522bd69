package access_test

import (
	"fmt"
	"testing"

	"gatehouse/agent/access"
	"gatehouse/agent/site"
)

// cases are requests on the way between a card and a strike.
func cases(t testing.TB) map[string]struct {
	records []site.Credential
	req     access.Request
} {
	type one = struct {
		records []site.Credential
		req     access.Request
	}
	byLevel := record(rights(), func(c *site.Credential) { c.Levels = []site.LevelID{"gone", "staff"} })
	host := record(source(site.SourceIPHost), rights(site.Right{Door: "back"}))
	return map[string]one{
		"always":   {[]site.Credential{record()}, request(t)},
		"schedule": {[]site.Credential{record(rights(front("office")))}, request(t)},
		"level":    {[]site.Credential{byLevel}, request(t)},
		"three":    {[]site.Credential{host, byLevel, record(rights(front("night")))}, request(t)},
		"refused":  {[]site.Credential{record(rights(front("night")))}, request(t)},
		"unknown":  {nil, request(t)},
		"holiday":  {[]site.Credential{record(rights(front("holidays")))}, request(t, func(r *access.Request) { r.Clock.Now = monday.AddDate(0, 0, 1) })},
		"pin":      {[]site.Credential{record()}, request(t, pin(access.PINAsked, access.PINOf{Credential: "c1", PIN: access.PINRight}), second("bob", true))},
		"nobody":   {nil, request(t, byPIN(access.PINRight))},
	}
}

// TestNoAllocation: a decision without a trace leaves nothing to the collector.
func TestNoAllocation(t *testing.T) {
	p := policy(t)
	for name, c := range cases(t) {
		t.Run(name, func(t *testing.T) {
			var d access.Decision
			if n := testing.AllocsPerRun(100, func() { d = access.Decide(p, c.records, c.req) }); n != 0 {
				t.Errorf("%v allocations, decision %s", n, d.Reason)
			}
		})
	}
}

func BenchmarkDecide(b *testing.B) {
	p := policy(b)
	for name, c := range cases(b) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				access.Decide(p, c.records, c.req)
			}
		})
	}
}

// BenchmarkCompile makes the policy of a large site.
func BenchmarkCompile(b *testing.B) {
	var schedules []site.Schedule
	var levels []site.Level
	for i := range 200 {
		id := fmt.Sprint(i)
		schedules = append(schedules, site.Schedule{ID: site.ScheduleID(id), Intervals: []site.Interval{{Days: site.AllDays, Start: 480, End: 300}}})
		l := site.Level{ID: site.LevelID(id)}
		for d := range 50 {
			l.Rights = append(l.Rights, site.Right{Door: site.DoorID(fmt.Sprint(d)), Schedule: site.ScheduleID(id)})
		}
		levels = append(levels, l)
	}
	for b.Loop() {
		access.Compile(nil, schedules, levels, nil)
	}
}
