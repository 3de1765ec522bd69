package door_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse/agent/door"
	"gatehouse/agent/site"
	"gatehouse/hal"
	"gatehouse/hal/haltest"
)

// mantrap is a fake door.Interlock of one group of doors. It also is a witness:
// it sees each strike command and each event in the order in which they happen.
type mantrap struct {
	doors map[site.DoorID]*door.Door

	mu       sync.Mutex // guards following
	insecure map[site.DoorID]bool
	unlocked map[site.DoorID]bool
	fire     map[site.DoorID]bool
	repeated map[site.DoorID]bool // unlocked by a press that an interlock yielded to
	asked    map[site.DoorID]bool // unlocked beside another: an event must say why
	both     int                  // how often two were unlocked
	wrong    []string
}

func (x *mantrap) Acquire(d site.DoorID) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	for other := range x.insecure {
		if other != d {
			return false
		}
	}
	x.insecure[d] = true
	return true
}

func (x *mantrap) Force(d site.DoorID) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.insecure[d] = true
}

func (x *mantrap) Release(d site.DoorID) {
	x.mu.Lock()
	was := x.insecure[d]
	delete(x.insecure, d)
	if x.unlocked[d] && !x.fire[d] {
		x.wrong = append(x.wrong, fmt.Sprintf("%s was released before it was locked", d))
	}
	x.mu.Unlock()
	for id, other := range x.doors {
		if was && id != d {
			other.Wake()
		}
	}
}

// strike is the strike line of one door, with the witness in between.
type strike struct {
	hal.OutputLine
	x  *mantrap
	id site.DoorID
}

func (s strike) Set(l hal.Level) error {
	s.x.drive(s.id, l == hal.High)
	return s.OutputLine.Set(l)
}

func (x *mantrap) drive(id site.DoorID, unlock bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.asked[id] {
		x.wrong = append(x.wrong, fmt.Sprintf("%s was unlocked beside another for no reason", id))
	}
	x.asked[id] = false
	x.unlocked[id] = unlock
	if !unlock {
		x.repeated[id] = false
		return
	}
	if !x.insecure[id] {
		x.wrong = append(x.wrong, fmt.Sprintf("%s was unlocked before the interlock knew", id))
	}
	for other, open := range x.unlocked {
		if open && other != id {
			x.both++
			x.asked[id] = !x.fire[id]
		}
	}
}

func (x *mantrap) Append(e site.Event) {
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case e.Kind == site.KindFire:
		x.fire[e.Door] = !e.Cleared
		x.asked[e.Door] = x.asked[e.Door] && e.Cleared
	case e.Kind == site.KindExit && e.Text != "":
		x.repeated[e.Door], x.asked[e.Door] = true, false
	}
}

// look checks a moment at which every door rests.
func (x *mantrap) look() {
	x.mu.Lock()
	defer x.mu.Unlock()
	var free []site.DoorID
	for id, open := range x.unlocked {
		if x.asked[id] {
			x.wrong = append(x.wrong, fmt.Sprintf("%s is unlocked beside another for no reason", id))
		}
		if open && !x.fire[id] && !x.repeated[id] {
			free = append(free, id)
		}
	}
	if len(free) > 1 {
		slices.Sort(free)
		x.wrong = append(x.wrong, fmt.Sprintf("%v are unlocked at once", free))
	}
}

// TestMantrap: two to four doors of an interlock are used by many at once, and
// never are two unlocked, save by fire or a repeated press.
func TestMantrap(t *testing.T) {
	seed := theSeed(t)
	both := 0
	for n := range howMany(12, 60, 400) {
		synctest.Test(t, func(t *testing.T) { both += runMantrap(t, rand.New(rand.NewPCG(seed, uint64(n))), 2+n%3) })
		if t.Failed() {
			t.Fatalf("site %d", n)
		}
	}
	if both == 0 {
		t.Error("no fire and no repeated press ever unlocked two: the test does not see what it should")
	}
}

func runMantrap(t *testing.T, r *rand.Rand, doors int) int {
	board, clock := &haltest.Board{}, &haltest.Clock{}
	x := &mantrap{
		doors: map[site.DoorID]*door.Door{}, insecure: map[site.DoorID]bool{}, unlocked: map[site.DoorID]bool{},
		fire: map[site.DoorID]bool{}, repeated: map[site.DoorID]bool{}, asked: map[site.DoorID]bool{},
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running, busy sync.WaitGroup
	for i := range doors {
		cfg := front(func(c *door.Config) {
			n := fmt.Sprint(i)
			c.ID, c.Strike, c.Contact, c.Rex = site.DoorID("d"+n), hal.LineName("S"+n), hal.LineName("C"+n), hal.LineName("R"+n)
			c.Unlock, c.Relock = time.Duration(200+r.IntN(2000))*ms, door.Relock(r.IntN(3))
			c.Fire = door.FirePolicy(r.IntN(2))
		})
		board.Drive(cfg.Rex, hal.High)
		board.Drive(cfg.Contact, hal.Low)
		out, _ := cfg.Output()
		line, err := board.Output(out)
		if err != nil {
			t.Fatal(err)
		}
		in, err := board.Inputs(door.InputQueue, cfg.Inputs()...)
		if err != nil {
			t.Fatal(err)
		}
		d, err := door.New(cfg, door.Deps{
			Strike: strike{line, x, cfg.ID}, Inputs: in, Decider: decider(nil), Log: x, Keeper: &keeper{}, Interlock: x,
			Clock: func() site.Clock { return site.Clock{Now: clock.Now(), Trusted: true} },
		})
		if err != nil {
			t.Fatal(err)
		}
		x.doors[cfg.ID] = d
		// Two people at each door, who do what they like.
		for range 2 {
			own := rand.New(rand.NewPCG(r.Uint64(), 0))
			busy.Go(func() {
				for range 60 {
					<-time.After(time.Duration(own.IntN(700)) * ms)
					use(ctx, own, d, board, cfg)
				}
			})
		}
	}
	for _, d := range x.doors {
		running.Go(func() { _ = d.Run(ctx) })
	}
	busy.Go(func() {
		fires := rand.New(rand.NewPCG(r.Uint64(), 0))
		for i := range 6 {
			<-time.After(time.Duration(fires.IntN(6000)) * ms)
			for _, d := range x.doors {
				d.SetFire(i%2 == 0)
			}
		}
	})
	for range 250 {
		<-time.After(100 * ms)
		synctest.Wait()
		x.look()
	}
	busy.Wait()
	for _, d := range x.doors {
		d.SetFire(false)
	}
	after(10 * s)
	x.look()
	cancel()
	running.Wait()
	for _, w := range x.wrong {
		t.Error(w)
	}
	if len(x.insecure) > 0 {
		t.Errorf("after the end %v are not secure", x.insecure)
	}
	return x.both
}

// use does one thing at a door.
func use(ctx context.Context, r *rand.Rand, d *door.Door, board *haltest.Board, cfg door.Config) {
	switch r.IntN(12) {
	case 0, 1, 2:
		_, _ = d.Present(ctx, door.Presented{Reader: "in"})
	case 3, 4:
		board.Drive(cfg.Rex, hal.Low)
	case 5, 6:
		board.Drive(cfg.Rex, hal.High)
	case 7:
		board.Drive(cfg.Contact, hal.Level(r.IntN(2) == 0))
	case 8:
		board.Drive(cfg.Contact, hal.Low)
	case 9:
		_ = d.Command(ctx, door.Command{Op: door.OpUnlock, For: time.Duration(r.IntN(3000)) * ms})
	case 10:
		m := site.ModePassage
		if r.IntN(3) > 0 {
			m = site.ModeSecured
		}
		_ = d.Command(ctx, mode(m))
	case 11:
		d.SetSchedule(door.Schedule{Mode: site.Mode(r.IntN(2))})
		_ = d.Command(ctx, do(door.OpAuto))
	}
}
