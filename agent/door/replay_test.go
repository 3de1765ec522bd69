package door_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse/agent/access"
	"gatehouse/agent/door"
	"gatehouse/agent/site"
	"gatehouse/hal"

	"github.com/google/go-cmp/cmp"
)

// switched is a fake door.Interlock: another door is not secure, or is.
type switched struct{ on atomic.Bool }

func (x *switched) Acquire(site.DoorID) bool { return !x.on.Load() }
func (x *switched) Force(site.DoorID)        {}
func (x *switched) Release(site.DoorID)      {}

// recorder is a strike line that notes each command, failed ones too.
type recorder struct {
	hal.OutputLine
	levels []hal.Level
}

func (r *recorder) Set(l hal.Level) error {
	r.levels = append(r.levels, l)
	return r.OutputLine.Set(l)
}

// day is a recorded day of a door.
type day struct {
	b      *bench
	strike recorder
	lock   switched
	kept   site.DoorKept
	cfg    door.Config
}

// crowd decides by chance, as a site with all kinds of people would.
func crowd(r *rand.Rand) decider {
	waits := false
	return func(p door.Presented, m site.Mode) door.Decision {
		c := site.Credential{ID: site.CredentialID(fmt.Sprint("c", r.IntN(9))), Holder: "h", ADA: r.IntN(4) == 0}
		c.Holder += site.HolderID(c.ID)
		d := granted(c)
		d.Out = p.Reader == "out"
		switch n := r.IntN(20); {
		case n < 3:
			d.Outcome, d.Reason = access.Refused, site.ReasonNoRight
		case n == 3:
			d.Outcome, d.Reason = access.Waiting, site.ReasonPINRequired
		case n == 4:
			d.Outcome, d.Reason = access.Waiting, site.ReasonSecondPersonRequired
			waits = true
		case n < 8 && waits:
			d.Completes, waits = true, false
		case n >= 8 && n < 13:
			d.Credential.Function = []site.Function{
				site.FunctionToggle, site.FunctionFreeze, site.FunctionPassThrough, site.FunctionLockdown, site.FunctionOneTime,
			}[n-8]
			if d.Credential.Function == site.FunctionLockdown && r.IntN(3) > 0 {
				d.Credential.Function = site.FunctionNorm
			}
		case n == 13:
			d.Duress = true
		}
		return d
	}
}

// happens does one thing at the door.
func (x *day) happens(t *testing.T, r *rand.Rand) {
	b := x.b
	one := func(n int) bool { return r.IntN(n) == 0 }
	switch r.IntN(26) {
	case 0, 1, 2, 3, 4, 5, 6:
		_, _ = b.door.Present(t.Context(), door.Presented{Reader: []site.ReaderID{"in", "out"}[r.IntN(2)], Note: []string{"", "badge"}[r.IntN(2)]})
	case 7, 8, 9, 10:
		b.board.Drive("GPIO23", hal.High)
	case 11, 12, 13, 14:
		b.board.Drive("GPIO23", hal.Low)
	case 15, 16:
		b.board.Drive("GPIO22", hal.Low)
	case 17, 18:
		b.board.Drive("GPIO22", hal.High)
	case 19:
		c := door.Command{Op: door.Op(1 + r.IntN(6)), Mode: site.Mode(r.IntN(6)), By: "cli"}
		if one(2) {
			c.For = time.Duration(1+r.IntN(600)) * s
		}
		_ = b.door.Command(t.Context(), c)
	case 20:
		_ = b.door.Command(t.Context(), do([]door.Op{door.OpAuto, door.OpRelease}[r.IntN(2)]))
	case 21:
		b.door.SetFire(one(5))
	case 22:
		b.door.SetSchedule(door.Schedule{Mode: site.Mode(r.IntN(2)), FirstIn: one(2), Since: time.Now()})
	case 23:
		x.lock.on.Store(one(3))
		b.door.Wake()
	case 24:
		b.board.Drive([]hal.LineName{"GPIO7", "GPIO8"}[r.IntN(2)], hal.Level(one(3)))
	case 25:
		x.trouble(r)
	}
}

// trouble is a strike line that fails, a clock that is lost, a contact that
// bounces.
func (x *day) trouble(r *rand.Rand) {
	switch b := x.b; r.IntN(3) {
	case 0:
		b.board.FailSet("GPIO24", errors.New("short circuit"))
		after(time.Duration(1+r.IntN(20000)) * ms)
		b.board.FailSet("GPIO24", nil)
	case 1:
		ok := r.IntN(2) == 0
		b.clock.SetSynchronised(ok)
		b.log.Append(site.Event{Kind: site.KindClock, Time: time.Now(), Trusted: ok})
	case 2:
		after(20 * s) // noise puts off an unused event, and the log does not tell
		was := b.board.Level("GPIO23")
		for range 11 + r.IntN(20) {
			b.board.Drive("GPIO23", !was)
			after(7 * ms)
			b.board.Drive("GPIO23", was)
			after(time.Duration(60+r.IntN(600)) * ms)
		}
	}
}

// record lets a door run for a day.
func (x *day) record(t *testing.T, r *rand.Rand) {
	x.cfg = front(supervised, func(c *door.Config) {
		c.Relock, c.Fail, c.Fire = door.Relock(r.IntN(3)), door.Fail(r.IntN(2)), door.FirePolicy(r.IntN(2))
		c.RexUnlock = r.IntN(4) > 0
	})
	began := time.Now()
	if r.IntN(2) == 0 {
		x.kept = site.DoorKept{Lockdown: &site.DoorOverride{Mode: site.ModeLockdown, Until: began.Add(time.Hour), By: "cli"}}
	}
	open := hal.Level(r.IntN(2) == 0)
	x.b = setUp(t, x.cfg, func(b *bench, d *door.Deps) {
		b.log.Append(site.Event{Kind: site.KindStart, Time: began, Trusted: true})
		b.board.Drive("GPIO7", hal.Low)
		b.board.Drive("GPIO8", hal.Low)
		b.board.Drive("GPIO23", open)
		x.strike.OutputLine = d.Strike
		d.Strike, d.Decider, d.Kept, d.Interlock = &x.strike, crowd(r), x.kept, &x.lock
	})
	for time.Since(began) < 24*time.Hour {
		gap := time.Duration(r.IntN(5000)) * ms
		if r.IntN(8) == 0 {
			gap = time.Duration(r.IntN(2400)) * s
		}
		after(gap + time.Duration(1+r.IntN(1e6)))
		x.happens(t, r)
	}
	// What is found open at the start shows when it closes.
	x.b.board.Drive("GPIO23", hal.High)
	after(s)
	x.b.board.Drive("GPIO23", hal.Low)
	after(s)
	x.b.log.Append(site.Event{Kind: site.KindStop, Time: time.Now(), Trusted: true})
	x.b.stop()
}

// TestReplay records days of a door and replays them from their events.
func TestReplay(t *testing.T) {
	seed := theSeed(t)
	for n := range howMany(3, 20, 100) {
		synctest.Test(t, func(t *testing.T) { replayDay(t, rand.New(rand.NewPCG(seed, uint64(n)))) })
		if t.Failed() {
			t.Fatalf("day %d", n)
		}
	}
}

func replayDay(t *testing.T, r *rand.Rand) {
	x := &day{}
	x.record(t, r)
	actions, err := door.Replay(x.cfg, x.kept, x.b.log.events)
	if err != nil {
		t.Fatal(err)
	}
	line := func(e site.Event) string {
		return e.Time.Format("15:04:05.000000000 ") + string(e.Reader) + " " + describe(door.Emit{Event: e})
	}
	var want, got []string
	for _, e := range x.b.log.events {
		if e.Door != "" {
			want = append(want, line(e))
		}
	}
	var levels []hal.Level
	for _, a := range actions {
		switch a := a.(type) {
		case door.Emit:
			got = append(got, line(a.Event))
		case door.Strike:
			levels = append(levels, x.cfg.Energised(a.Energise))
		}
	}
	if len(want) < 100 {
		t.Errorf("only %d events in a day", len(want))
	}
	for i := range max(len(want), len(got)) {
		if i >= len(want) || i >= len(got) || want[i] != got[i] {
			t.Fatalf("from event %d on (-want +got):\n%s", i, cmp.Diff(want[max(0, i-8):min(i+5, len(want))], got[max(0, i-8):min(i+5, len(got))]))
		}
	}
	if end := len(x.strike.levels) - 1; !cmp.Equal(x.strike.levels[:end], levels) {
		t.Errorf("strike: %d commands of the door, %d of the replay", end, len(levels))
	}
}

func TestReplayRefuses(t *testing.T) {
	e := site.Event{Door: "front", Kind: site.KindExit, Time: noon}
	with := func(change func(*site.Event)) site.Event { x := e; change(&x); return x }
	for _, tt := range []struct {
		name   string
		events []site.Event
	}{
		{"two doors", []site.Event{e, with(func(x *site.Event) { x.Door = "back" })}},
		{"out of order", []site.Event{e, with(func(x *site.Event) { x.Time = noon.Add(-s) })}},
		{"an unknown command", []site.Event{with(func(x *site.Event) { x.Kind, x.Text = site.KindCommand, "dance" })}},
		{"an unknown mode", []site.Event{with(func(x *site.Event) { x.Kind, x.Text, x.Mode = site.KindCommand, "mode", "ajar" })}},
		{"an unknown part", []site.Event{with(func(x *site.Event) { x.Kind, x.Text = site.KindFault, "hinge" })}},
		{"no schedule", []site.Event{with(func(x *site.Event) {
			x.Kind, x.By, x.Mode, x.Text = site.KindCommand, "schedule", "passage", "schedule, after the first person since noon"
		})}},
	} {
		if actions, err := door.Replay(front(), site.DoorKept{}, tt.events); !errors.Is(err, door.ErrReplay) || actions != nil {
			t.Errorf("%s: %d actions, %v", tt.name, len(actions), err)
		}
	}
	if actions, err := door.Replay(front(), site.DoorKept{}, nil); err != nil || len(actions) > 0 {
		t.Errorf("no events: %d actions, %v", len(actions), err)
	}
}
