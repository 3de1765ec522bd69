package door_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse/agent/access"
	"gatehouse/agent/door"
	"gatehouse/agent/site"
	"gatehouse/hal"
	"gatehouse/hal/haltest"

	"github.com/google/go-cmp/cmp"
)

// log is a fake door.Log: it keeps what it is given, with the level that the
// strike had by then.
type log struct {
	mu     sync.Mutex // guards following
	events []site.Event
	levels []hal.Level
	board  *haltest.Board
}

func (l *log) Append(e site.Event) {
	level := l.board.Level("GPIO24")
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events, l.levels = append(l.events, e), append(l.levels, level)
}

func (l *log) kinds() (out []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.events {
		out = append(out, describe(door.Emit{Event: e}))
	}
	return out
}

// first returns the first event of a kind; the zero one if there is none.
func (l *log) first(k site.Kind) site.Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.events {
		if e.Kind == k {
			return e
		}
	}
	return site.Event{}
}

// keeper is a fake door.Keeper that can be slow and can fail.
type keeper struct {
	mu    sync.Mutex // guards following
	kept  []string
	err   error
	block chan struct{} // nil: does not block
	busy  bool
}

func (k *keeper) Keep(ctx context.Context, _ site.DoorID, kept site.DoorKept) error {
	k.mu.Lock()
	block, twice := k.block, k.busy
	k.busy = true
	k.mu.Unlock()
	defer func() {
		k.mu.Lock()
		k.busy = false
		k.mu.Unlock()
	}()
	if twice {
		return errors.New("two writes at once")
	}
	if block != nil {
		select {
		case <-block:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.err == nil {
		k.kept = append(k.kept, describe(door.Keep{Kept: kept}))
	}
	return k.err
}

func (k *keeper) set(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.err = err
}

func (k *keeper) all() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.kept)
}

// decider grants what its func says; nil grants everything.
type decider func(door.Presented, site.Mode) door.Decision

func (f decider) Decide(p door.Presented, _ *door.Pending, m site.Mode) door.Decision {
	if f != nil {
		return f(p, m)
	}
	return granted(site.Credential{ID: "c1", Holder: "ada"})
}

func granted(c site.Credential) door.Decision {
	return door.Decision{Decision: access.Decision{Outcome: access.Granted, Reason: site.ReasonGranted, Credential: &c}}
}

// bench is a door on a fake board, running.
type bench struct {
	board  haltest.Board
	clock  haltest.Clock
	log    log
	keeper keeper
	door   *door.Door
	stop   context.CancelFunc
	end    chan error // closed after the result of Run
}

// setUp starts a door. Call it inside a bubble, and stop before it ends.
func setUp(t *testing.T, cfg door.Config, change ...func(*bench, *door.Deps)) *bench {
	t.Helper()
	b := &bench{end: make(chan error, 1)}
	b.log.board = &b.board
	b.board.Drive(cfg.Rex, !cfg.RexActive)
	b.board.Drive(cfg.Contact, !cfg.Open)
	out, _ := cfg.Output()
	strike, err := b.board.Output(out)
	if err != nil {
		t.Fatal(err)
	}
	in, err := b.board.Inputs(door.InputQueue, cfg.Inputs()...)
	if err != nil {
		t.Fatal(err)
	}
	deps := door.Deps{
		Strike: strike, Inputs: in, Decider: decider(nil), Log: &b.log, Keeper: &b.keeper,
		Clock: func() site.Clock { return site.Clock{Now: b.clock.Now(), Trusted: b.clock.Synchronised()} },
	}
	for _, f := range change {
		f(b, &deps)
	}
	if b.door, err = door.New(cfg, deps); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	b.stop = func() { cancel(); <-b.end }
	go func() {
		b.end <- b.door.Run(ctx)
		close(b.end)
	}()
	synctest.Wait()
	return b
}

func (b *bench) present(t *testing.T) door.Result {
	t.Helper()
	r, err := b.door.Present(t.Context(), door.Presented{Reader: "in"})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (b *bench) command(t *testing.T, c door.Command) {
	t.Helper()
	if err := b.door.Command(t.Context(), c); err != nil {
		t.Fatal(err)
	}
}

// changes returns what the strike did since the claim, with times since start.
func (b *bench) changes() (out []string) {
	h := b.board.History("GPIO24")
	for _, c := range h {
		out = append(out, fmt.Sprintf("%v %v", c.At-h[0].At, c.Level))
	}
	return out
}

func (b *bench) wantChanges(t *testing.T, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, b.changes()); diff != "" {
		t.Errorf("strike (-want +got):\n%s", diff)
	}
}

func (b *bench) wantEvents(t *testing.T, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, b.log.kinds()); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

// after lets d of the bubble's time pass.
func after(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func TestNewRefuses(t *testing.T) {
	board := &haltest.Board{}
	cfg := front()
	out, _ := cfg.Output()
	strike, _ := board.Output(out)
	in, _ := board.Inputs(1, cfg.Inputs()...)
	good := door.Deps{
		Strike: strike, Inputs: in, Decider: decider(nil), Log: &log{board: board}, Keeper: &keeper{},
		Clock: func() site.Clock { return site.Clock{} },
	}
	for _, tt := range []struct {
		name   string
		change func(*door.Config, *door.Deps)
	}{
		{"no unlock time", func(c *door.Config, _ *door.Deps) { c.Unlock = 0 }},
		{"no strike output", func(_ *door.Config, d *door.Deps) { d.Strike = nil }},
		{"a strike too many", func(c *door.Config, _ *door.Deps) { c.Strike = "" }},
		{"no inputs", func(_ *door.Config, d *door.Deps) { d.Inputs = nil }},
		{"no decider", func(_ *door.Config, d *door.Deps) { d.Decider = nil }},
		{"no log", func(_ *door.Config, d *door.Deps) { d.Log = nil }},
		{"no keeper", func(_ *door.Config, d *door.Deps) { d.Keeper = nil }},
		{"no clock", func(_ *door.Config, d *door.Deps) { d.Clock = nil }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, d := cfg, good
			tt.change(&c, &d)
			if _, err := door.New(c, d); err == nil {
				t.Error("accepted")
			}
		})
	}
	if _, err := door.New(cfg, good); err != nil {
		t.Error(err)
	}
}

func TestPulse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := setUp(t, front(relock(door.RelockOnClose)))
		after(s)
		r := b.present(t)
		if !r.Opened || r.Reason != site.ReasonGranted || b.board.Level("GPIO24") != hal.High {
			t.Errorf("got %+v, strike %v, when the reply came", r, b.board.Level("GPIO24"))
		}
		after(s)
		b.board.Drive("GPIO23", hal.High)
		after(s)
		if st := b.door.Status(); !st.Open || st.Locked {
			t.Errorf("status %+v in the pulse", st)
		}
		b.board.Drive("GPIO23", hal.Low)
		after(s)
		b.board.Drive("GPIO22", hal.Low)
		after(s)
		b.stop()
		b.wantChanges(t, "0s low", "1s high", "3.05s low", "4s high", "5s low")
		b.wantEvents(t, "access granted ada", "door_opened", "door_closed", "exit")
		if b.log.levels[0] != hal.High {
			t.Error("the grant was logged before the strike was driven")
		}
	})
}

func TestRefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var shown []site.Pattern
		var modes []site.Mode
		b := setUp(t, front(), func(_ *bench, d *door.Deps) {
			d.Kept = site.DoorKept{Lockdown: &site.DoorOverride{Mode: site.ModeLockdown}}
			d.Show = func(_ site.ReaderID, p site.Pattern) { shown = append(shown, p) }
			d.Decider = decider(func(_ door.Presented, m site.Mode) door.Decision {
				modes = append(modes, m)
				if len(modes) == 1 {
					return door.Decision{} // the zero decision
				}
				return granted(site.Credential{ID: "c1", Holder: "ada"}) // wrong: it is a lockdown
			})
		})
		for range 2 {
			if r := b.present(t); r.Opened || r.Outcome != access.Refused {
				t.Errorf("got %+v", r)
			}
		}
		err := b.door.Command(t.Context(), do(door.OpUnlock))
		if !errors.Is(err, door.ErrRefused) {
			t.Errorf("unlock in lockdown: %v", err)
		}
		if err := b.door.Command(t.Context(), door.Command{}); !errors.Is(err, door.ErrCommand) {
			t.Errorf("no command: %v", err)
		}
		b.stop()
		b.wantChanges(t, "0s low")
		b.wantEvents(t, "access", "access lockdown ada", "command unlock lockdown by cli")
		if diff := cmp.Diff([]site.Pattern{site.PatternDenied, site.PatternLockdown}, shown); diff != "" {
			t.Errorf("patterns (-want +got):\n%s", diff)
		}
		if !slices.Equal(modes, []site.Mode{site.ModeLockdown, site.ModeLockdown}) {
			t.Errorf("decided under %v", modes)
		}
	})
}

// Promise 2: whatever way a run ends, the strike is de-energised.
func TestSafeAtTheEnd(t *testing.T) {
	for _, tt := range []struct {
		name   string
		fail   door.Fail
		during func(*testing.T, *bench)
	}{
		{"in a pulse", door.FailSecure, func(t *testing.T, b *bench) { b.present(t) }},
		{"in passage", door.FailSecure, func(t *testing.T, b *bench) { b.command(t, mode(site.ModePassage)) }},
		{"a maglock is let go", door.FailSafe, func(*testing.T, *bench) {}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := setUp(t, front(func(c *door.Config) { c.Fail = tt.fail }))
				tt.during(t, b)
				if b.board.Level("GPIO24") != hal.High {
					t.Fatal("not energised before the end")
				}
				b.stop()
				if b.board.Level("GPIO24") != hal.Low {
					t.Error("energised after the end")
				}
				if locked := b.door.Status().Locked; locked != (tt.fail == door.FailSecure) {
					t.Errorf("status says locked %v", locked)
				}
				if err := b.door.Run(t.Context()); err == nil {
					t.Error("ran twice")
				}
			})
		})
	}
}

func TestStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := setUp(t, front())
		b.stop()
		if err := b.door.Ping(t.Context()); !errors.Is(err, door.ErrStopped) {
			t.Errorf("ping: %v", err)
		}
		if err := b.door.Command(t.Context(), do(door.OpLock)); !errors.Is(err, door.ErrStopped) {
			t.Errorf("command: %v", err)
		}
		if _, err := b.door.Present(t.Context(), door.Presented{}); !errors.Is(err, door.ErrStopped) {
			t.Errorf("present: %v", err)
		}
	})
}
