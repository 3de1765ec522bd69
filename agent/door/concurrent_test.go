package door_test

import (
	"context"
	"errors"
	"strings"
	"sync"
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

// Promise 1: neither a decision nor a command waits for what is kept.
func TestBlockedKeeper(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := setUp(t, front(), func(b *bench, _ *door.Deps) { b.keeper.block = make(chan struct{}) })
		acked := make(chan error, 1)
		go func() { acked <- b.door.Command(t.Context(), mode(site.ModePassage)) }()
		synctest.Wait()
		if b.board.Level("GPIO24") != hal.High {
			t.Error("the mode waits for the keeper")
		}
		ctx, cancel := context.WithTimeout(t.Context(), s)
		defer cancel()
		if err := b.door.Command(ctx, do(door.OpLockdown)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("lockdown: %v", err)
		}
		if b.board.Level("GPIO24") != hal.Low || b.door.Status().Mode != site.ModeLockdown {
			t.Error("the lockdown waits for the keeper")
		}
		if r := b.present(t); r.Outcome != access.Refused {
			t.Errorf("got %+v", r)
		}
		select {
		case err := <-acked:
			t.Errorf("acknowledged before it was durable: %v", err)
		default:
		}
		close(b.keeper.block)
		if err := <-acked; err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if diff := cmp.Diff([]string{"keep passage", "keep lockdown passage"}, b.keeper.all()); diff != "" {
			t.Errorf("kept (-want +got):\n%s", diff)
		}
		b.stop()
	})
}

func TestKeeperFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		full := errors.New("disk full")
		b := setUp(t, front())
		b.keeper.set(full)
		err := b.door.Command(t.Context(), do(door.OpLockdown))
		if !errors.Is(err, door.ErrNotKept) || !errors.Is(err, full) {
			t.Errorf("lockdown: %v", err)
		}
		if b.door.Status().Mode != site.ModeLockdown {
			t.Error("the lockdown is not in force")
		}
		after(12 * s)
		b.keeper.set(nil)
		after(5 * s)
		if diff := cmp.Diff([]string{"keep lockdown"}, b.keeper.all()); diff != "" {
			t.Errorf("kept (-want +got):\n%s", diff)
		}
		b.stop()
		b.wantEvents(t, "command lockdown by cli", "mode lockdown by cli", "fault kept state", "fault kept state cleared")
	})
}

// A lockdown by a card has no caller that waits for the disk, and is written
// all the same, in the worst case at the end.
func TestKeptAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := setUp(t, front(), func(b *bench, d *door.Deps) {
			b.keeper.err = errors.New("not now")
			d.Decider = decider(func(door.Presented, site.Mode) door.Decision {
				return granted(site.Credential{ID: "c1", Holder: "ada", Function: site.FunctionLockdown})
			})
		})
		if r := b.present(t); r.Outcome != access.Granted || r.Opened {
			t.Errorf("got %+v", r)
		}
		after(s)
		b.keeper.set(nil)
		b.stop()
		if diff := cmp.Diff([]string{"keep lockdown"}, b.keeper.all()); diff != "" {
			t.Errorf("kept (-want +got):\n%s", diff)
		}
	})
	synctest.Test(t, func(t *testing.T) { // a keeper that hangs does not hang the end
		b := setUp(t, front(), func(b *bench, _ *door.Deps) { b.keeper.block = make(chan struct{}) })
		go func() { _ = b.door.Command(t.Context(), do(door.OpLockdown)) }()
		synctest.Wait()
		began := time.Now()
		b.stop()
		if d := time.Since(began); d > 5*s {
			t.Errorf("the end took %v", d)
		}
		synctest.Wait()
	})
}

// slow is a decider that takes its time and counts how many decide at once.
type slow struct {
	d         time.Duration
	now, most atomic.Int32
	decided   atomic.Int32
}

func (w *slow) Decide(door.Presented, *door.Pending, site.Mode) door.Decision {
	n := w.now.Add(1)
	defer w.now.Add(-1)
	if n > w.most.Load() {
		w.most.Store(n)
	}
	w.decided.Add(1)
	if w.d > 0 {
		<-time.After(w.d)
	}
	return granted(site.Credential{ID: "c1", Holder: "ada"})
}

// A flood of cards is refused in part and delays no command, no edge and no
// timer by more than the decision under way.
func TestFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &slow{d: 100 * ms}
		b := setUp(t, front(), func(_ *bench, d *door.Deps) { d.Decider = w })
		var wg sync.WaitGroup
		var busy atomic.Int32
		for range 50 {
			wg.Go(func() {
				if _, err := b.door.Present(t.Context(), door.Presented{Reader: "in"}); errors.Is(err, door.ErrBusy) {
					busy.Add(1)
				}
			})
		}
		<-time.After(50 * ms)
		began := time.Now()
		b.command(t, do(door.OpLockdown))
		if d := b.log.first(site.KindCommand).Time.Sub(began); d < 0 || d > 100*ms {
			t.Errorf("the lockdown waited %v", d)
		}
		b.board.Drive("GPIO22", hal.Low)
		began = time.Now()
		for b.board.Level("GPIO24") != hal.High && time.Since(began) < 10*s {
			<-time.After(10 * ms)
		}
		if d := time.Since(began); d > 110*ms {
			t.Errorf("the exit press waited %v", d)
		}
		wg.Wait()
		if busy.Load() == 0 || busy.Load()+w.decided.Load() != 50 {
			t.Errorf("%d busy, %d decided of 50", busy.Load(), w.decided.Load())
		}
		accesses := 0
		for _, e := range b.log.kinds() {
			if strings.HasPrefix(e, "access ") {
				accesses++
			}
		}
		if accesses != 50 {
			t.Errorf("%d access events of 50", accesses)
		}
		b.stop()
	})
}

// Who gave up waiting is not let in later.
func TestCallerGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &slow{d: s}
		b := setUp(t, front(), func(_ *bench, d *door.Deps) { d.Decider = w })
		go func() { _, _ = b.door.Present(t.Context(), door.Presented{Reader: "in"}) }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 10*ms)
		defer cancel()
		if _, err := b.door.Present(ctx, door.Presented{Reader: "out"}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("present: %v", err)
		}
		if err := b.door.Command(ctx, do(door.OpUnlock)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("unlock: %v", err)
		}
		if err := b.door.Command(ctx, do(door.OpLockdown)); err == nil {
			t.Error("acknowledged to nobody")
		}
		after(3 * s)
		if n := w.decided.Load(); n != 1 {
			t.Errorf("%d decisions", n)
		}
		b.stop()
		if st := b.door.Status(); st.Mode != site.ModeLockdown {
			t.Errorf("the lockdown was dropped: %+v", st)
		}
		b.wantEvents(t, "access granted ada", "command lockdown by cli", "mode lockdown by cli", "access fault", "unused granted ada")
	})
}

// Two goroutines never touch one door: run with -race.
func TestManyCallers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &slow{}
		var watching atomic.Int32
		b := setUp(t, front(), func(_ *bench, d *door.Deps) {
			d.Decider = w
			d.Watch = func(site.DoorStatus) {
				if watching.Add(1) != 1 {
					t.Error("two goroutines own the door")
				}
				watching.Add(-1)
			}
		})
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				for n := range 50 {
					switch (i + n) % 8 {
					case 0, 1:
						_, _ = b.door.Present(t.Context(), door.Presented{Reader: "in"})
					case 2:
						_ = b.door.Command(t.Context(), do(door.OpLockdown))
					case 3:
						_ = b.door.Command(t.Context(), do(door.OpRelease))
					case 4:
						b.board.Drive("GPIO23", hal.Level(n%2 == 0))
						b.board.Drive("GPIO22", hal.Level(n%3 == 0))
					case 5:
						b.door.SetFire(n%2 == 0)
						b.door.SetSchedule(door.Schedule{Mode: site.Mode(n % 2)})
					case 6:
						_ = b.door.Status()
						_, _ = b.door.Inputs(t.Context())
					case 7:
						_ = b.door.Ping(t.Context())
						<-time.After(time.Duration(n) * ms)
					}
				}
			})
		}
		wg.Wait()
		b.stop()
		if w.most.Load() > 1 {
			t.Errorf("%d decisions at once", w.most.Load())
		}
		if b.board.Level("GPIO24") != hal.Low {
			t.Error("energised after the end")
		}
	})
}

func TestOutside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := setUp(t, front(func(c *door.Config) { c.Fire = door.FireRelease }))
		after(s)
		b.door.SetSchedule(door.Schedule{Mode: site.ModePassage})
		after(s)
		b.clock.SetSynchronised(false) // no schedule unlocks a door now
		after(10 * s)
		b.door.SetFire(true)
		after(s)
		live, err := b.door.Inputs(t.Context())
		want := door.Live{Contact: hal.Low, Rex: hal.High, Secure: true, Energised: true}
		if diff := cmp.Diff(want, live); diff != "" || err != nil {
			t.Errorf("inputs (-want +got):\n%s%v", diff, err)
		}
		b.door.SetFire(false)
		after(s)
		b.stop()
		b.wantChanges(t, "0s low", "1s high", "11s low", "12s high", "13s low")
		b.wantEvents(t, "command schedule passage by schedule", "mode passage", "mode secured", "fire door released", "fire door released cleared")
	})
}

// A lockdown and an override are in force again before the door is ready.
func TestKeptRestored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		until := time.Now().Add(time.Minute)
		b := setUp(t, front(), func(_ *bench, d *door.Deps) {
			d.Kept = site.DoorKept{Override: &site.DoorOverride{Mode: site.ModePassage, Until: until, By: "cli"}}
		})
		<-b.door.Ready()
		if st := b.door.Status(); st.Locked || !st.Until.Equal(until) || st.Mode != site.ModePassage {
			t.Errorf("status %+v", st)
		}
		after(2 * time.Minute)
		b.stop()
		b.wantChanges(t, "0s low", "0s high", "1m0s low")
		if diff := cmp.Diff([]string{"keep"}, b.keeper.all()); diff != "" {
			t.Errorf("kept (-want +got):\n%s", diff)
		}
	})
}
