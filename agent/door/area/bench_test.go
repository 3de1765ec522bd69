package area_test

import (
	"fmt"
	"testing"
	"time"

	"gatehouse/agent/door/area"
	"gatehouse/agent/site"
)

// crowd returns an owner with n holders in the lab and one move for each to
// come.
func crowd(b *testing.B, n int, forget time.Duration) (*area.Owner, []area.Move) {
	b.Helper()
	o := mustNew(b, area.Config{Areas: []area.Area{{ID: "lab", Occupancy: n + 10, Passback: area.Hard, Forget: forget}}})
	next := make([]area.Move, 1024)
	for i := range next {
		next[i] = way(site.HolderID(fmt.Sprintf("n%d", i)), "front", "", "lab")
	}
	for i := range n {
		o.Enter(way(site.HolderID(fmt.Sprintf("h%d", i)), "front", "", "lab"), at(time.Duration(i)*time.Millisecond))
	}
	return o, next
}

// The time of one question must not grow with the number of people inside.
func BenchmarkOwner(b *testing.B) {
	for _, n := range []int{10, 100_000} {
		o, next := crowd(b, n, 8*time.Hour)
		b.Run(fmt.Sprintf("ask/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if why := o.Ask(next[i%len(next)], at(time.Hour)); why != "" {
					b.Fatal(why)
				}
			}
		})
		b.Run(fmt.Sprintf("reserve and cancel/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				m := next[i%len(next)]
				if why := o.Reserve(m, at(time.Hour)); why != "" {
					b.Fatal(why)
				}
				o.Cancel(m)
			}
		})
		b.Run(fmt.Sprintf("reserve, enter, leave/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				m, now := next[i%len(next)], at(time.Hour+time.Duration(i)*time.Millisecond)
				o.Reserve(m, now)
				o.Enter(m, now)
				o.Enter(way(m.Holder, "front", "lab", ""), now)
				o.Forgive(m.Holder)
			}
		})
		b.Run(fmt.Sprintf("snapshot/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if k := o.Snapshot(); len(k.Present) < n {
					b.Fatal(len(k.Present))
				}
			}
		})
	}
}
