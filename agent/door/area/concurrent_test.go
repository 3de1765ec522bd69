package area_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse/agent/door/area"
	"gatehouse/agent/site"
)

// TestNeverAboveTheLimit has many doors let people into two areas at once. Each
// grant reserves; some are used, some are not. At no instant are there more
// people and reservations in an area than its limit.
func TestNeverAboveTheLimit(t *testing.T) {
	limits := map[site.AreaID]int{"lab": 3, "yard": 7}
	o := mustNew(t, area.Config{Areas: []area.Area{
		{ID: "lab", Occupancy: limits["lab"], Passback: area.Hard},
		{ID: "yard", Occupancy: limits["yard"]},
	}})
	var clock atomic.Int64 // milliseconds after noon
	var full, entered atomic.Int64
	stop := make(chan struct{})
	var watch, doors sync.WaitGroup
	watch.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			for _, a := range o.Areas(at(time.Duration(clock.Load()) * time.Millisecond)) {
				if a.Count+a.Reserved > limits[a.ID] {
					t.Errorf("%d in %s and %d on their way: the limit is %d", a.Count, a.ID, a.Reserved, limits[a.ID])
				}
			}
		}
	})
	for d := range 16 {
		doors.Go(func() {
			r := rand.New(rand.NewPCG(uint64(d), 4))
			for range 2000 {
				door(o, site.DoorID(fmt.Sprintf("d%d", d)), r, clock.Add(int64(r.IntN(10))), &full, &entered)
			}
		})
	}
	doors.Wait()
	close(stop)
	watch.Wait()
	if full.Load() == 0 || entered.Load() == 0 {
		t.Errorf("%d were refused for occupancy, %d entered: nothing was tried", full.Load(), entered.Load())
	}
	for _, a := range o.Areas(noon) {
		if a.Reserved != 0 {
			t.Errorf("%d reservations of %s are left over", a.Reserved, a.ID)
		}
	}
}

// door is one grant at one door and its end.
func door(o *area.Owner, d site.DoorID, r *rand.Rand, ms int64, full, entered *atomic.Int64) {
	places := []site.AreaID{"", "lab", "yard"}
	m := way(site.HolderID(fmt.Sprintf("h%d", r.IntN(20))), d, places[r.IntN(3)], places[r.IntN(3)])
	now := at(time.Duration(ms) * time.Millisecond)
	switch o.Reserve(m, now) {
	case site.ReasonOccupancy:
		full.Add(1)
	case site.ReasonPassback:
	default:
		if r.IntN(4) == 0 {
			o.Cancel(m)
		} else if o.Enter(m, now) {
			entered.Add(1)
		}
	}
}

// TestOnePlaceManyDoors has every door offer the last place to another holder:
// exactly one gets it.
func TestOnePlaceManyDoors(t *testing.T) {
	for range 200 {
		o := mustNew(t, area.Config{Areas: []area.Area{{ID: "lab", Occupancy: 1}}})
		var granted atomic.Int64
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				m := way(site.HolderID(fmt.Sprintf("h%d", i)), site.DoorID(fmt.Sprintf("d%d", i)), "", "lab")
				if o.Reserve(m, noon) == "" {
					granted.Add(1)
				}
			})
		}
		wg.Wait()
		if granted.Load() != 1 {
			t.Fatalf("%d got the one place", granted.Load())
		}
	}
}

// TestOneCardTwoDoors has one holder present his card at two doors of a hard
// area in the same instant: only one of them opens.
func TestOneCardTwoDoors(t *testing.T) {
	for range 200 {
		o := mustNew(t, area.Config{Areas: []area.Area{{ID: "lab", Passback: area.Hard}}})
		var granted atomic.Int64
		var wg sync.WaitGroup
		for _, m := range []area.Move{in, inBack} {
			wg.Go(func() {
				if o.Reserve(m, noon) == "" {
					granted.Add(1)
				}
			})
		}
		wg.Wait()
		if granted.Load() != 1 {
			t.Fatalf("%d doors opened", granted.Load())
		}
	}
}

// TestSnapshotWhileInUse takes snapshots while doors work: each can be restored.
func TestSnapshotWhileInUse(t *testing.T) {
	o := full(t)
	var wg sync.WaitGroup
	for d := range 4 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(d), 5))
			var full, entered atomic.Int64
			for i := range 1000 {
				door(o, site.DoorID(fmt.Sprintf("d%d", d)), r, int64(i), &full, &entered)
				o.Wrong(fmt.Sprintf("c%d", r.IntN(5)), noon)
				if i%100 == 0 {
					o.ForgiveAll("")
				}
			}
		})
	}
	for range 50 {
		if err := mustNew(t, keptConfig).Restore(o.Snapshot()); err != nil {
			t.Error(err)
		}
	}
	wg.Wait()
}
