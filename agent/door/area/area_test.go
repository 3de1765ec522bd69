package area_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/agent/door/area"
	"gatehouse/agent/site"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func at(d time.Duration) time.Time { return noon.Add(d) }

func mustNew(t testing.TB, c area.Config) *area.Owner {
	t.Helper()
	o, err := area.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// way builds a move through a reader of the same name as its door.
func way(h site.HolderID, d site.DoorID, from, to site.AreaID) area.Move {
	return area.Move{Holder: h, Reader: site.ReaderID(d) + "-r", Door: d, From: from, To: to}
}

func TestNewRefuses(t *testing.T) {
	lab := area.Area{ID: "lab"}
	for _, tt := range []struct {
		name string
		c    area.Config
		want string
	}{
		{"no id", area.Config{Areas: []area.Area{{}}}, `area "": an id is empty`},
		{"two of one id", area.Config{Areas: []area.Area{lab, {ID: "yard"}, lab}}, `area "lab": there are two of this id`},
		{"negative limit", area.Config{Areas: []area.Area{{ID: "lab", Occupancy: -1}}}, `area "lab": occupancy -1 is negative`},
		{"negative forget", area.Config{Areas: []area.Area{{ID: "lab", Forget: -1}}}, `area "lab": forget time -1ns is negative`},
		{"no such rule", area.Config{Areas: []area.Area{{ID: "lab", Passback: 9}}}, `area "lab": there is no passback rule Passback(9)`},
		{"timed without a time", area.Config{Areas: []area.Area{{ID: "lab", Passback: area.Timed}}}, `area "lab": timed passback needs a forget time`},
		{"exit timed", area.Config{Areas: []area.Area{{ID: "lab", Passback: area.Hard, Exit: area.Timed}}}, `area "lab": exit passback is timed: soft or hard`},
		{"exit hard, entry free", area.Config{Areas: []area.Area{{ID: "lab", Exit: area.Hard}}}, `area "lab": exit passback is hard where passback is none`},
		{"exit hard, entry timed", area.Config{Areas: []area.Area{{ID: "lab", Passback: area.Timed, Forget: 1, Exit: area.Hard}}}, `area "lab": exit passback is hard where passback is timed`},
		{"interlock of one", area.Config{Interlocks: []area.Interlock{{Doors: []site.DoorID{"a"}}}}, `interlock 1: it has 1 doors, at least two are needed`},
		{"door twice", area.Config{Interlocks: []area.Interlock{{Doors: []site.DoorID{"a", "b"}}, {Doors: []site.DoorID{"a", "b", "a"}}}}, `interlock 2: door "a" is in it twice`},
		{"door without id", area.Config{Interlocks: []area.Interlock{{Doors: []site.DoorID{"a", ""}}}}, `interlock 1: door "": an id is empty`},
		{"negative repeat", area.Config{Interlocks: []area.Interlock{{Doors: []site.DoorID{"a", "b"}, Repeat: -1}}}, `interlock 1: repeat time -1ns is negative`},
		{"negative tries", area.Config{PIN: area.Lockout{Tries: -1}}, `PIN lock-out: -1 tries: 0 to 100`},
		{"many tries", area.Config{PIN: area.Lockout{Tries: 101, For: time.Hour}}, `PIN lock-out: 101 tries: 0 to 100`},
		{"negative within", area.Config{PIN: area.Lockout{Tries: 3, Within: -1, For: time.Hour}}, `PIN lock-out: the time of the tries, -1ns, is negative`},
		{"no length", area.Config{PIN: area.Lockout{Tries: 3}}, `PIN lock-out: it lasts 0s, at least a millisecond is needed`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := area.New(tt.c); err == nil || err.Error() != tt.want {
				t.Errorf("error %v, want %s", err, tt.want)
			}
		})
	}
}

// step is one thing done to an owner, and the reason that it is answered with.
type step struct {
	at   time.Duration
	do   string // ask, reserve, enter, cancel, forgive, forgive all
	m    area.Move
	want site.Reason
}

func (s step) run(t *testing.T, o *area.Owner, i int) {
	t.Helper()
	now := at(s.at)
	var got site.Reason
	switch s.do {
	case "ask":
		before := o.Snapshot()
		got = o.Ask(s.m, now)
		if diff := cmp.Diff(before, o.Snapshot()); diff != "" {
			t.Errorf("step %d: to ask changed (-before +after):\n%s", i, diff)
		}
	case "reserve":
		if ask := o.Ask(s.m, now); ask != s.want {
			t.Errorf("step %d: asked before it is reserved: %q, want %q", i, ask, s.want)
		}
		got = o.Reserve(s.m, now)
	case "enter":
		o.Enter(s.m, now)
	case "cancel":
		o.Cancel(s.m)
	case "forgive":
		o.Forgive(s.m.Holder)
	case "forgive all":
		o.ForgiveAll(s.m.To)
	default:
		t.Fatalf("step %d: %q is no step", i, s.do)
	}
	if got != s.want {
		t.Errorf("step %d: %s at %v: %q, want %q", i, s.do, s.at, got, s.want)
	}
}

var (
	in     = way("ada", "front", "", "lab")
	inBack = way("ada", "back", "", "lab")
	out    = way("ada", "front", "lab", "")
	toYard = way("ada", "gate", "", "yard")
	across = way("ada", "inner", "yard", "lab")
)

func areasOf(p, exit area.Passback, forget time.Duration) []area.Area {
	return []area.Area{{ID: "lab", Passback: p, Exit: exit, Forget: forget}, {ID: "yard"}}
}

const (
	refused  = site.ReasonPassback
	soft     = site.ReasonGrantedPassback
	occupied = site.ReasonOccupancy
)

func TestPassback(t *testing.T) {
	type steps = []step
	for _, tt := range []struct {
		name  string
		areas []area.Area
		steps steps
	}{
		{"none", areasOf(area.None, area.None, 0), steps{{0, "ask", in, ""}, {0, "enter", in, ""}, {1, "ask", in, ""}, {1, "reserve", in, ""}, {1, "ask", inBack, ""}}},
		{"hard: unknown holder", areasOf(area.Hard, area.None, 0), steps{{0, "ask", in, ""}, {0, "ask", out, ""}}},
		{"hard: twice in", areasOf(area.Hard, area.None, 0), steps{{0, "reserve", in, ""}, {0, "enter", in, ""}, {time.Hour, "reserve", in, refused}, {time.Hour, "ask", inBack, refused}}},
		{"hard: for ever", areasOf(area.Hard, area.None, 0), steps{{0, "enter", in, ""}, {90 * 365 * 24 * time.Hour, "ask", in, refused}}},
		{"hard: out and in", areasOf(area.Hard, area.None, 0), steps{{0, "enter", in, ""}, {1, "ask", out, ""}, {1, "enter", out, ""}, {2, "ask", in, ""}}},
		{"hard: another holder", areasOf(area.Hard, area.None, 0), steps{{0, "enter", in, ""}, {1, "ask", way("bob", "front", "", "lab"), ""}}},
		{"hard: forgotten", areasOf(area.Hard, area.None, time.Hour), steps{{0, "enter", in, ""}, {time.Hour - time.Millisecond, "ask", in, refused}, {time.Hour, "ask", in, ""}}},
		{"hard: the clock went back", areasOf(area.Hard, area.None, time.Hour), steps{{0, "enter", in, ""}, {-48 * time.Hour, "ask", in, refused}}},
		{"hard: forgiven", areasOf(area.Hard, area.None, 0), steps{{0, "enter", in, ""}, {1, "forgive", in, ""}, {1, "ask", in, ""}}},
		{"hard: another forgiven", areasOf(area.Hard, area.None, 0), steps{{0, "enter", in, ""}, {1, "forgive", way("bob", "", "", "lab"), ""}, {1, "ask", in, refused}}},
		{"hard: the area forgiven", areasOf(area.Hard, area.None, 0), steps{{0, "enter", in, ""}, {1, "forgive all", in, ""}, {1, "ask", in, ""}}},
		{"hard: another area forgiven", areasOf(area.Hard, area.None, 0), steps{{0, "enter", in, ""}, {1, "forgive all", toYard, ""}, {1, "ask", in, refused}}},
		{"hard: all forgiven", areasOf(area.Hard, area.None, 0), steps{{0, "enter", in, ""}, {1, "forgive all", out, ""}, {1, "ask", in, ""}}},
		{"hard: left by another area", areasOf(area.Hard, area.None, 0), steps{{0, "enter", in, ""}, {1, "enter", toYard, ""}, {2, "ask", in, ""}}},
		{"hard: on the way by another door", areasOf(area.Hard, area.None, 0), steps{{0, "reserve", in, ""}, {1, "reserve", in, ""}, {1, "reserve", inBack, refused}, {2, "cancel", in, ""}, {2, "reserve", inBack, ""}}},
		{"hard: unknown holders are free", areasOf(area.Hard, area.Hard, 0), steps{{0, "enter", way("", "front", "", "lab"), ""}, {1, "reserve", way("", "front", "", "lab"), ""}, {1, "ask", way("", "front", "lab", ""), ""}}},
		{"hard: no move", areasOf(area.Hard, area.Hard, 0), steps{{0, "enter", in, ""}, {1, "ask", way("ada", "x", "lab", "lab"), ""}, {1, "ask", way("ada", "x", "", ""), ""}}},
		{"hard: an area that is not in the settings", areasOf(area.Hard, area.Hard, 0), steps{{0, "enter", in, ""}, {1, "reserve", way("ada", "x", "", "attic"), ""}, {1, "enter", way("ada", "x", "", "attic"), ""}, {2, "ask", in, ""}}},

		{"soft: twice in", areasOf(area.Soft, area.None, 0), steps{{0, "enter", in, ""}, {1, "reserve", in, soft}, {1, "ask", inBack, soft}}},
		{"soft: forgotten", areasOf(area.Soft, area.None, time.Hour), steps{{0, "enter", in, ""}, {time.Hour - 1, "ask", in, soft}, {time.Hour, "ask", in, ""}}},
		{"soft: on the way by another door", areasOf(area.Soft, area.None, 0), steps{{0, "reserve", in, ""}, {1, "ask", inBack, soft}}},

		{"timed: soon again", areasOf(area.Timed, area.None, time.Minute), steps{{0, "enter", in, ""}, {time.Minute - time.Millisecond, "ask", in, refused}, {time.Minute, "reserve", in, ""}}},
		{"timed: a second entry counts anew", areasOf(area.Timed, area.None, time.Minute), steps{{0, "enter", in, ""}, {time.Minute, "enter", in, ""}, {90 * time.Second, "ask", in, refused}, {2 * time.Minute, "ask", in, ""}}},
		{"timed: leaving is free", areasOf(area.Timed, area.None, time.Minute), steps{{0, "enter", toYard, ""}, {1, "ask", out, ""}}},
		{"timed: on the way by another door", areasOf(area.Timed, area.None, time.Minute), steps{{0, "reserve", in, ""}, {1, "ask", inBack, refused}}},

		{"exit of hard is soft", areasOf(area.Hard, area.None, 0), steps{{0, "enter", in, ""}, {1, "enter", out, ""}, {2, "reserve", out, soft}}},
		{"exit set soft", areasOf(area.Hard, area.Soft, 0), steps{{0, "enter", toYard, ""}, {2, "ask", out, soft}}},
		{"exit set hard", areasOf(area.Hard, area.Hard, 0), steps{{0, "enter", toYard, ""}, {2, "reserve", out, refused}}},
		{"exit set hard, entry soft", areasOf(area.Soft, area.Hard, 0), steps{{0, "enter", in, ""}, {1, "enter", out, ""}, {2, "ask", out, refused}}},
		{"exit: unknown", areasOf(area.Hard, area.Hard, 0), steps{{0, "enter", toYard, ""}, {1, "forgive", out, ""}, {1, "ask", out, ""}}},
		{"exit: outside is forgotten", areasOf(area.Hard, area.Hard, time.Hour), steps{{0, "enter", out, ""}, {time.Hour - time.Millisecond, "ask", out, refused}, {time.Hour, "ask", out, ""}}},
		{"exit of an area without a rule", areasOf(area.None, area.None, 0), steps{{0, "enter", toYard, ""}, {1, "ask", out, ""}}},
		{"exit and entry: the worse counts", []area.Area{{ID: "lab", Passback: area.Hard}, {ID: "yard", Passback: area.Soft}}, steps{{0, "enter", in, ""}, {1, "ask", across, refused}}},
		{"entry free, exit soft", []area.Area{{ID: "lab"}, {ID: "yard", Passback: area.Soft}}, steps{{0, "enter", in, ""}, {1, "ask", across, soft}}},
		{"entry soft, exit hard", []area.Area{{ID: "lab", Passback: area.Soft}, {ID: "yard", Passback: area.Soft, Exit: area.Hard}}, steps{{0, "enter", in, ""}, {1, "ask", across, refused}}},
		{"through and back", []area.Area{{ID: "lab", Passback: area.Hard}, {ID: "yard", Passback: area.Hard, Exit: area.Hard}}, steps{{0, "enter", toYard, ""}, {1, "reserve", across, ""}, {2, "enter", across, ""}, {3, "ask", way("ada", "inner", "lab", "yard"), ""}}},

		{"full after passback", []area.Area{{ID: "lab", Passback: area.Soft, Occupancy: 1}, {ID: "yard", Passback: area.Soft}}, steps{
			{0, "enter", way("bob", "front", "", "lab"), ""}, {1, "ask", in, occupied}, {1, "enter", out, ""}, {2, "ask", across, occupied},
		}},
		{"passback before full", []area.Area{{ID: "lab", Passback: area.Soft, Occupancy: 1}, {ID: "yard", Passback: area.Soft, Exit: area.Hard}}, steps{
			{0, "enter", way("bob", "front", "", "lab"), ""}, {1, "enter", out, ""}, {2, "ask", across, refused},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := mustNew(t, area.Config{Areas: tt.areas})
			for i, s := range tt.steps {
				s.run(t, o, i)
			}
		})
	}
}

func TestOccupancy(t *testing.T) {
	type steps = []step
	bob, cyd := way("bob", "front", "", "lab"), way("cyd", "back", "", "lab")
	limit := func(p area.Passback, forget time.Duration) []area.Area {
		return []area.Area{{ID: "lab", Occupancy: 2, Passback: p, Forget: forget}, {ID: "yard"}}
	}
	for _, tt := range []struct {
		name            string
		areas           []area.Area
		steps           steps
		count, reserved int
	}{
		{"empty", limit(0, 0), steps{{0, "ask", in, ""}}, 0, 0},
		{"present and reserved make it full", limit(0, 0), steps{{0, "enter", in, ""}, {1, "reserve", bob, ""}, {2, "reserve", cyd, occupied}}, 1, 1},
		{"a reservation is had once", limit(0, 0), steps{{0, "reserve", in, ""}, {1, "reserve", in, ""}, {2, "reserve", bob, ""}, {2, "reserve", bob, ""}, {3, "ask", cyd, occupied}}, 0, 2},
		{"one holder at two doors needs one place", limit(0, 0), steps{{0, "reserve", in, ""}, {1, "reserve", inBack, ""}, {2, "reserve", bob, ""}, {3, "ask", cyd, occupied}, {4, "cancel", in, ""}, {4, "ask", cyd, occupied}, {5, "cancel", inBack, ""}, {5, "ask", cyd, ""}}, 0, 1},
		{"who is inside needs none", limit(0, 0), steps{{0, "enter", in, ""}, {0, "enter", bob, ""}, {1, "reserve", in, ""}, {2, "ask", cyd, occupied}}, 2, 0},
		{"cancelled", limit(0, 0), steps{{0, "reserve", in, ""}, {0, "reserve", bob, ""}, {1, "cancel", bob, ""}, {1, "cancel", bob, ""}, {1, "reserve", cyd, ""}}, 0, 2},
		{"used", limit(0, 0), steps{{0, "reserve", in, ""}, {1, "enter", in, ""}, {1, "cancel", in, ""}}, 1, 0},
		{"leaving is never refused", limit(area.Hard, 0), steps{{0, "enter", in, ""}, {0, "enter", bob, ""}, {1, "reserve", out, ""}, {2, "enter", out, ""}, {3, "ask", cyd, ""}}, 1, 0},
		{"leaves with a way back reserved", limit(0, 0), steps{{0, "enter", in, ""}, {1, "enter", bob, ""}, {2, "reserve", inBack, ""}, {3, "enter", out, ""}, {4, "ask", cyd, occupied}}, 1, 1},
		{"forgotten", limit(0, time.Hour), steps{{0, "enter", in, ""}, {1, "enter", bob, ""}, {time.Hour - time.Millisecond, "ask", cyd, occupied}, {time.Hour, "ask", cyd, ""}, {time.Hour + time.Second, "enter", cyd, ""}}, 1, 0},
		{"forgiven", limit(0, 0), steps{{0, "enter", in, ""}, {1, "enter", bob, ""}, {1, "forgive", bob, ""}, {2, "ask", cyd, ""}}, 1, 0},
		{"nobody counts", limit(0, 0), steps{{0, "enter", way("", "front", "", "lab"), ""}, {0, "reserve", way("", "front", "", "lab"), ""}}, 0, 0},
		{"went in unasked", limit(0, 0), steps{{0, "enter", in, ""}, {0, "enter", bob, ""}, {0, "enter", cyd, ""}, {1, "ask", way("dee", "front", "", "lab"), occupied}}, 3, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := mustNew(t, area.Config{Areas: tt.areas})
			for i, s := range tt.steps {
				s.run(t, o, i)
			}
			now := at(tt.steps[len(tt.steps)-1].at)
			got := o.Areas(now)[0]
			want := area.Status{ID: "lab", Limit: 2, Passback: tt.areas[0].Passback, Count: tt.count, Reserved: tt.reserved}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("status (-want +got):\n%s", diff)
			}
			if n := o.Count("lab", now); n != tt.count {
				t.Errorf("count %d, want %d", n, tt.count)
			}
		})
	}
}

func TestCancelDoor(t *testing.T) {
	o := mustNew(t, area.Config{Areas: []area.Area{{ID: "lab", Occupancy: 3}}})
	for _, m := range []area.Move{in, way("bob", "front", "", "lab"), way("cyd", "back", "", "lab")} {
		if why := o.Reserve(m, noon); why != "" {
			t.Fatal(why)
		}
	}
	if n := o.CancelDoor("front"); n != 2 {
		t.Errorf("%d reservations ended, want 2", n)
	}
	if n := o.Areas(noon)[0].Reserved; n != 1 {
		t.Errorf("%d reserved, want the one of the other door", n)
	}
}

func TestWhereAndOccupants(t *testing.T) {
	o := mustNew(t, area.Config{Areas: []area.Area{{ID: "lab", Passback: area.Hard, Forget: time.Hour}, {ID: "yard"}}})
	o.Enter(way("bob", "front", "", "lab"), at(2*time.Second+400*time.Microsecond))
	o.Enter(in, at(time.Second))
	o.Enter(way("cyd", "gate", "", "yard"), noon)
	o.Enter(way("dee", "front", "lab", ""), noon)
	want := []area.Presence{
		{Holder: "ada", Area: "lab", Reader: "front-r", Since: at(time.Second)},
		{Holder: "bob", Area: "lab", Reader: "front-r", Since: at(2 * time.Second)},
	}
	if diff := cmp.Diff(want, o.Occupants("lab", at(time.Minute))); diff != "" {
		t.Errorf("occupants (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want[1:], o.Occupants("lab", at(time.Hour+time.Second))); diff != "" {
		t.Errorf("occupants an hour later (-want +got):\n%s", diff)
	}
	if got := append(o.Occupants("attic", noon), o.Occupants("", noon)...); got != nil {
		t.Errorf("an unknown area and the outside hold %v", got)
	}
	for _, tt := range []struct {
		h    site.HolderID
		now  time.Duration
		want site.AreaID
		ok   bool
	}{
		{"ada", time.Minute, "lab", true},
		{"ada", time.Hour + time.Second, "", false},
		{"cyd", 1000 * time.Hour, "yard", true},
		{"dee", time.Minute, "", true},
		{"dee", time.Hour, "", false},
		{"eve", 0, "", false},
	} {
		if got, _, ok := o.Where(tt.h, at(tt.now)); got != tt.want || ok != tt.ok {
			t.Errorf("%s after %v is at %q (%v), want %q (%v)", tt.h, tt.now, got, ok, tt.want, tt.ok)
		}
	}
}

func TestEnterChanged(t *testing.T) {
	o := mustNew(t, area.Config{Areas: areasOf(area.Hard, area.None, 0)})
	for i, tt := range []struct {
		m    area.Move
		at   time.Duration
		want bool
	}{
		{in, 0, true},
		{in, 0, false},
		{in, time.Second, true}, // timed passback and forgetting start anew
		{way("", "front", "", "lab"), 0, false},
		{way("ada", "x", "", ""), 0, false},
		{out, time.Second, true},
		{way("bob", "x", "", "attic"), 0, false},
		{way("ada", "x", "", "attic"), 0, true},
	} {
		if got := o.Enter(tt.m, at(tt.at)); got != tt.want {
			t.Errorf("entry %d: changed %v, want %v", i, got, tt.want)
		}
	}
	plain := mustNew(t, area.Config{Areas: areasOf(area.None, area.None, 0)})
	if plain.Enter(out, noon) {
		t.Error("nobody asks for the outside, and it was kept")
	}
}

func TestPassbackString(t *testing.T) {
	var got []string
	for p := range area.Passback(5) {
		got = append(got, p.String())
	}
	if s := strings.Join(got, " "); s != "none soft timed hard Passback(4)" {
		t.Error(s)
	}
}
