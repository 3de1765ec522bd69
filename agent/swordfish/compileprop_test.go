package swordfish_test

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse/agent/site"
	"gatehouse/agent/swordfish"
)

// TestTableOpensAsDecide: at random minutes of the coming week, and for as long
// after it as the table says that it is good, a lock opens exactly as the policy
// decides; where something was lost, never for more.
func TestTableOpensAsDecide(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 5))
	seen := map[string]int{}
	for i := range 3000 {
		w := randomLock(t, r, i%2 == 0)
		table, p := w.compile(w.now), w.policy()
		w.checkTable(t, &table)
		whole := slices.ContainsFunc(table.Losses, func(l swordfish.Loss) bool { return l.Credential == "" })
		for n := range w.cards {
			c := &w.cards[n]
			lost := whole || slices.ContainsFunc(table.Losses, func(l swordfish.Loss) bool {
				return slices.ContainsFunc(c.records, func(x site.Credential) bool { return x.ID == l.Credential })
			})
			for range 40 {
				days := pick(r, 8, 8, 30)
				at := w.now.Add(time.Duration(r.IntN(days*24*3600)) * time.Second)
				good := table.Good.IsZero() || at.Before(table.Good)
				week := site.DateOf(at.In(w.zone)).Compare(site.DateOf(w.now.In(w.zone).AddDate(0, 0, 7))) < 0
				got, want := opens(&table, w.zone, c.block, at), w.allows(p, c, at)
				switch {
				case got && !want && (good || week):
					t.Fatalf("seed %d, lock %d: opens at %v and must not\nnow %v good %v\n%+v\n%+v\n%+v", seed, i, at.In(w.zone), w.now.In(w.zone), table.Good, c.records, w, table)
				case !got && want && good && !lost:
					t.Fatalf("seed %d, lock %d: does not open at %v, nothing was lost\nnow %v good %v\n%+v\n%+v\n%+v", seed, i, at.In(w.zone), w.now.In(w.zone), table.Good, c.records, w, table)
				case !good:
					seen["late"]++
				case lost:
					seen["lost"]++
				case got:
					seen["opens"]++
				default:
					seen["shut"]++
				}
			}
		}
	}
	t.Log(seen)
	if seen["opens"] < 25000 || seen["shut"] < 25000 || seen["lost"] < 5000 {
		t.Errorf("seed %d: too little was compared: %v", seed, seen)
	}
}

// TestTableStays: until Next the same policy makes the same table, save for users
// who expire.
func TestTableStays(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 6))
	same, differs := 0, 0
	for i := range 2000 {
		w := randomLock(t, r, false)
		table := w.compile(w.now)
		end := w.now.Add(time.Duration(r.IntN(20*24*3600)) * time.Second)
		if !table.Next.IsZero() && !end.Before(table.Next) {
			end = table.Next.Add(-time.Second)
			at := w.compile(table.Next)
			if at.Digest() != table.Digest() {
				differs++
			}
		}
		for _, c := range w.cards {
			for _, x := range c.records {
				if x.Until.After(w.now) && x.Until.Before(end.Add(4*time.Hour)) {
					end = x.Until.Add(-4 * time.Hour)
				}
			}
		}
		if !end.After(w.now) {
			continue
		}
		later := w.compile(end)
		if later.Digest() != table.Digest() {
			t.Fatalf("seed %d, lock %d: another table at %v, next is %v\nnow %v\n%+v\n%+v\n%+v", seed, i, end.In(w.zone), table.Next, w.now.In(w.zone), w, table, later)
		}
		same++
	}
	if same < 600 || differs < 60 {
		t.Errorf("seed %d: %d the same, %d differ at Next", seed, same, differs)
	}
}

// TestTableDoesNotDependOnOrder adds the cards in another order.
func TestTableDoesNotDependOnOrder(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 7))
	for i := range 1000 {
		w := randomLock(t, r, true)
		one := w.compile(w.now)
		r.Shuffle(len(w.cards), func(a, b int) { w.cards[a], w.cards[b] = w.cards[b], w.cards[a] })
		if two := w.compile(w.now); one.Digest() != two.Digest() || one.Lost != two.Lost || !one.Next.Equal(two.Next) || !one.Good.Equal(two.Good) {
			t.Fatalf("seed %d, lock %d:\n%+v\n%+v", seed, i, one, two)
		}
	}
}

// needs are the sets that Fits is asked about: what each record needs, and for a
// model with one schedule what any of one card's need together.
func (w *lockWorld) needs() (always bool, sets [][]site.Schedule) {
	find := func(src site.Source, id site.ScheduleID) []site.Schedule {
		for _, from := range []site.Source{src, site.SourceOperator} {
			for _, s := range w.schedules {
				if s.ID == id && s.Source == from {
					return []site.Schedule{s}
				}
			}
		}
		return nil
	}
	for _, c := range w.cards {
		var each [][]site.Schedule
		for _, x := range c.records {
			var set []site.Schedule
			all := false
			add := func(rights []site.Right, in site.Source) {
				for _, right := range rights {
					switch {
					case right.Door != "lock":
					case right.Schedule != "":
						set = append(set, find(in, right.Schedule)...)
					case in == site.SourceIPHost:
						set = append(set, site.Schedule{Source: site.SourceIPHost, Intervals: []site.Interval{allWeek}, IgnoreHolidays: true})
					default:
						all = true
					}
				}
			}
			add(x.Rights, x.Source)
			for _, l := range w.levels {
				if slices.Contains(x.Levels, l.ID) && (l.Source == x.Source || l.Source == site.SourceOperator) {
					add(l.Rights, l.Source)
				}
			}
			if always = always || all; !all {
				each = append(each, set)
			}
		}
		for mask := 1; mask < 1<<len(each); mask++ {
			var set []site.Schedule
			for i, one := range each {
				if mask&(1<<i) != 0 {
					set = append(set, one...)
				}
			}
			sets = append(sets, set)
		}
	}
	return always, sets
}

// TestFitsIsEnough: what Fits takes never loses a user for want of slots, on any
// day of the weeks to come.
func TestFitsIsEnough(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 8))
	seen := map[bool]int{}
	needless := 0
	for i := range 2000 {
		w := randomLock(t, r, i%4 > 0)
		w.profile.Schedules = 1 + r.IntN(8)
		err := w.profile.Fits(w.needs())
		seen[err == nil]++
		lost := false
		for d := range 9 {
			now := w.now.AddDate(0, 0, d)
			table := w.compile(now)
			for _, l := range table.Losses {
				if !strings.HasPrefix(l.What, "left out: the lock takes") || strings.HasSuffix(l.What, "users") {
					continue
				}
				if lost = true; err == nil {
					t.Fatalf("seed %d, lock %d at %v: %+v\n%+v", seed, i, now, l, w)
				}
			}
		}
		if err != nil && !lost {
			needless++
		}
	}
	t.Log(seen, "refused though nobody was lost in nine days:", needless)
	if seen[true] < 200 || seen[false] < 200 {
		t.Errorf("seed %d: Fits said %v", seed, seen)
	}
}
