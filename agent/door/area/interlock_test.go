package area_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/agent/door/area"
	"gatehouse/agent/site"
)

// locks are two groups that share the door b; e is in none.
var locks = area.Config{Interlocks: []area.Interlock{
	{Doors: []site.DoorID{"b", "a"}},
	{Doors: []site.DoorID{"c", "b", "d"}, Repeat: 2 * time.Second},
}}

func doors(s string) []site.DoorID {
	var out []site.DoorID
	for _, f := range strings.Fields(s) {
		out = append(out, site.DoorID(f))
	}
	return out
}

func TestInterlock(t *testing.T) {
	type call struct {
		do   string // acquire, force, free, release, blockers
		door site.DoorID
		ok   bool
		list string
	}
	for _, tt := range []struct {
		name  string
		calls []call
	}{
		{"one of a group", []call{{"acquire", "a", true, ""}, {"acquire", "b", false, ""}, {"free", "b", false, ""}, {"blockers", "b", false, "a"}}},
		{"again", []call{{"acquire", "a", true, ""}, {"acquire", "a", true, ""}, {"free", "a", true, ""}, {"release", "a", true, "b"}, {"release", "a", true, ""}, {"acquire", "b", true, ""}}},
		{"other groups go on", []call{{"acquire", "a", true, ""}, {"acquire", "c", true, ""}, {"acquire", "d", false, ""}, {"blockers", "b", false, "a c"}, {"blockers", "d", false, "c"}}},
		{"the shared door holds both", []call{{"acquire", "b", true, ""}, {"acquire", "a", false, ""}, {"acquire", "c", false, ""}, {"acquire", "d", false, ""}, {"release", "b", true, "a c d"}, {"free", "a", true, ""}, {"free", "d", true, ""}}},
		{"a refusal takes nothing", []call{{"acquire", "c", true, ""}, {"acquire", "b", false, ""}, {"acquire", "a", true, ""}}},
		{"free takes nothing", []call{{"free", "b", true, ""}, {"acquire", "a", true, ""}}},
		{"force", []call{{"acquire", "a", true, ""}, {"force", "b", true, ""}, {"acquire", "b", true, ""}, {"acquire", "c", false, ""}, {"release", "a", true, "b"}, {"acquire", "a", false, ""}, {"release", "b", true, "a c d"}, {"acquire", "a", true, ""}}},
		{"in no group", []call{{"acquire", "e", true, ""}, {"force", "e", true, ""}, {"release", "e", true, ""}, {"acquire", "a", true, ""}, {"acquire", "e", true, ""}, {"blockers", "e", true, ""}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := mustNew(t, locks)
			for i, c := range tt.calls {
				ok, list := c.ok, []site.DoorID(nil)
				switch c.do {
				case "acquire":
					ok = o.Acquire(c.door)
				case "free":
					ok = o.Free(c.door)
				case "force":
					o.Force(c.door)
				case "release":
					list = o.Release(c.door)
				case "blockers":
					list = o.Blockers(c.door)
				default:
					t.Fatalf("call %d: %q", i, c.do)
				}
				if diff := cmp.Diff(doors(c.list), list); ok != c.ok || diff != "" {
					t.Fatalf("call %d, %s %s: %v, want %v; doors (-want +got):\n%s", i, c.do, c.door, ok, c.ok, diff)
				}
			}
		})
	}
}

func TestRepeat(t *testing.T) {
	o := mustNew(t, locks)
	for d, want := range map[site.DoorID]time.Duration{"a": 5 * time.Second, "b": 2 * time.Second, "d": 2 * time.Second, "e": 0} {
		if got := o.Repeat(d); got != want {
			t.Errorf("%s: %v, want %v", d, got, want)
		}
	}
}

func TestReleaseGivesAway(t *testing.T) {
	o := mustNew(t, locks)
	o.Force("a")
	o.Release("a")[0] = "x"
	o.Force("a")
	if diff := cmp.Diff(doors("b"), o.Release("a")); diff != "" {
		t.Errorf("the caller changed the owner's list (-want +got):\n%s", diff)
	}
}

// TestInterlockConcurrent has many goroutines a door. Each believes to be alone
// in its groups while it holds the door.
func TestInterlockConcurrent(t *testing.T) {
	o := mustNew(t, locks)
	groups := [][]site.DoorID{doors("a b"), doors("b c d")}
	var mu sync.Mutex // guards open
	open := map[site.DoorID]bool{}
	var got int
	var wg sync.WaitGroup
	for _, d := range doors("a b c d") {
		wg.Go(func() { // one goroutine owns one door
			for range 5000 {
				if !o.Acquire(d) {
					continue
				}
				mu.Lock()
				open[d] = true
				for _, g := range groups {
					if n := openOf(open, g); n > 1 {
						t.Errorf("%d doors of %v are not secure: %v", n, g, open)
					}
				}
				got++
				open[d] = false
				mu.Unlock()
				o.Release(d)
			}
		})
	}
	wg.Wait()
	if got == 0 {
		t.Error("no door was ever acquired")
	}
}

func openOf(open map[site.DoorID]bool, group []site.DoorID) int {
	n := 0
	for _, d := range group {
		if open[d] {
			n++
		}
	}
	return n
}
