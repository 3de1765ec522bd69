package access_test

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/agent/access"
	"gatehouse/agent/site"
)

// grants reports whether the timetables, or always, hold at t.
func grants(p *access.Policy, always bool, tts []access.Timetable, t time.Time) bool {
	minute := t.Hour()*60 + t.Minute()
	if always {
		tts = []access.Timetable{{}}
	}
	for _, tt := range tts {
		for _, sp := range p.Minutes(tt, site.DateOf(t), nil) {
			if minute >= sp.Start && minute < sp.End {
				return true
			}
		}
	}
	return false
}

// TestMinutesAreThoseOfDecide asks at random minutes of random sites, daylight
// saving and holidays of all kinds among them.
func TestMinutesAreThoseOfDecide(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 3))
	seen := map[bool]int{}
	for i := range 4000 {
		w := randomWorld(t, r)
		p := access.Compile(w.zone, w.schedules, w.levels, w.holidays)
		for _, c := range w.records {
			veto, usable := access.Standing(&c)
			if !usable && veto != (c.Source == "" || c.Source == site.SourceOperator) {
				t.Fatalf("seed %d, world %d: veto %v of %+v", seed, i, veto, c)
			}
			c.From, c.Until, c.Uses, c.Used = time.Time{}, time.Time{}, 0, 0
			if c.Function == site.FunctionOneTime || c.Function == site.FunctionSupervised {
				c.Function = site.FunctionNorm
			}
			always, tts := p.RightsAt(&c, "front", nil)
			for range 20 {
				now := w.req.Clock.Now.Add(time.Duration(r.IntN(8*24*60*60)-4*24*60*60) * time.Second).In(w.zone)
				req := access.Request{Door: "front", Bits: mustBits(t, frames[0]), Clock: site.Clock{Now: now, Trusted: true}}
				one := c
				one.Bits = 0
				d := access.Decide(p, []site.Credential{one}, req)
				got := usable && grants(p, always, tts, now)
				if got != (d.Outcome == access.Granted) {
					t.Fatalf("seed %d, world %d: %v at %v, the decision is %s\n%+v\n%+v", seed, i, got, now, d.Reason, c, w)
				}
				seen[got]++
			}
		}
	}
	if seen[true] < 1000 || seen[false] < 1000 {
		t.Errorf("seen %v", seen)
	}
}

// TestShapesSayOnWhichDays: a span of a day is one of the shapes, and spans of equal
// shape hold on the same days, whatever the holidays are.
func TestShapesSayOnWhichDays(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 4))
	equal := 0
	for range 4000 {
		w := randomWorld(t, r)
		for i := range w.schedules {
			s := &w.schedules[i]
			s.ID, s.Source = site.ScheduleID(rune('a'+i)), ""
			for k := range s.Intervals { // few, so that shapes meet
				s.Intervals[k].Start = []int{0, 480, 1320}[r.IntN(3)]
				s.Intervals[k].End = []int{300, 480, 1440}[r.IntN(3)]
				s.Intervals[k].Days = []site.Days{0x7F, 0x3E, 0x80, 0xFF, 0x1BE}[r.IntN(5)]
			}
		}
		p := access.Compile(w.zone, w.schedules, nil, w.holidays)
		holds := map[access.Shape]int{} // days as bits
		for _, s := range w.schedules {
			_, tts := p.RightsAt(&site.Credential{Rights: []site.Right{{Door: "d", Schedule: s.ID}}}, "d", nil)
			shapes := tts[0].Shapes()
			if diff := cmp.Diff(access.ShapesOf(s), shapes, cmp.Comparer(func(a, b access.Shape) bool { return a == b })); diff != "" {
				t.Fatalf("seed %d: ShapesOf and Shapes differ:\n%s", seed, diff)
			}
			days := map[access.Span]int{}
			for n := range 14 {
				d := site.DateOf(w.req.Clock.Now.AddDate(0, 0, n-7))
				for _, sp := range p.Minutes(tts[0], d, nil) {
					if !slices.ContainsFunc(shapes, func(sh access.Shape) bool { return sh.Span == sp }) {
						t.Fatalf("seed %d: %v is none of %v", seed, sp, shapes)
					}
					days[sp] |= 1 << n
				}
			}
			for _, sh := range shapes {
				if was, ok := holds[sh]; ok && was != days[sh.Span] {
					t.Fatalf("seed %d: %+v holds on %b and on %b", seed, sh, was, days[sh.Span])
				} else if ok {
					equal++
				}
				holds[sh] = days[sh.Span]
			}
		}
	}
	if equal < 100 {
		t.Errorf("%d shapes were equal", equal)
	}
}

func TestRightsAt(t *testing.T) {
	p := policy(t)
	id := func(tts []access.Timetable) (out []string) {
		for _, tt := range tts {
			src, id := tt.ID()
			out = append(out, string(src)+"/"+string(id))
		}
		return out
	}
	for _, tt := range []struct {
		name   string
		c      site.Credential
		door   site.DoorID
		always bool
		want   []string
	}{
		{"a right without a schedule hides the others", record(rights(front("office"), front(""))), "front", true, nil},
		{"each schedule is named once", record(rights(front("office"), front("office"))), "front", false, []string{"operator/office"}},
		{"a schedule that is not known is no right", record(rights(front("gone"))), "front", false, nil},
		{"another door has no right", record(rights(front("office"))), "garage", false, nil},
		{"no door has no right", record(rights(site.Right{})), "", false, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			always, tts := p.RightsAt(&tt.c, tt.door, nil)
			if diff := cmp.Diff(tt.want, id(tts)); diff != "" || always != tt.always {
				t.Errorf("always %v (-want +got):\n%s", always, diff)
			}
		})
	}
	if always, tts := (*access.Policy)(nil).RightsAt(new(record()), "front", nil); always || tts != nil {
		t.Error("a nil policy has rights")
	}
}

func TestHolidayRuns(t *testing.T) {
	day := func(n int) site.Date { return site.Date{Year: 2026, Month: 12, Day: n} }
	p := access.Compile(nil, nil, nil, []site.Holiday{{First: day(20), Last: day(26)}, {First: day(24), Last: day(24), Kind: 2}, {First: day(3), Last: day(4)}})
	all := []access.HolidayRun{{First: day(3), Last: day(4)}, {First: day(20), Last: day(23)}, {First: day(24), Last: day(24)}, {First: day(25), Last: day(26)}}
	for from, want := range map[int][]access.HolidayRun{4: all, 5: all[1:], 23: all[1:], 24: all[2:], 26: all[3:], 27: nil} {
		if got := p.HolidayRuns(day(from)); !slices.Equal(got, want) {
			t.Errorf("from %d: %v, want %v", from, got, want)
		}
	}
}
