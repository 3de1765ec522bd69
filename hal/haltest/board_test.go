package haltest_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/hal"
	"gatehouse/hal/haltest"
)

var errInjected = errors.New("injected")

func inputs(names ...hal.LineName) []hal.Input {
	var in []hal.Input
	for _, n := range names {
		in = append(in, hal.Input{Line: n})
	}
	return in
}

func TestClaims(t *testing.T) {
	b := haltest.NewBoard("a", "b", "c")
	out, err := b.Output(hal.Output{Line: "a", Initial: hal.High})
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		do   func() error
		want error
	}{
		{"unknown output", func() error { _, err := b.Output(hal.Output{Line: "x"}); return err }, hal.ErrNoLine},
		{"unnamed output", func() error { _, err := b.Output(hal.Output{}); return err }, hal.ErrNoLine},
		{"held output", func() error { _, err := b.Output(hal.Output{Line: "a"}); return err }, hal.ErrBusy},
		{"held input", func() error { _, err := b.Inputs(1, inputs("b", "a")...); return err }, hal.ErrBusy},
		{"unknown input", func() error { _, err := b.Inputs(1, inputs("b", "x")...); return err }, hal.ErrNoLine},
		{"input twice", func() error { _, err := b.Inputs(1, inputs("b", "b")...); return err }, hal.ErrBusy},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := tt.do(); !errors.Is(err, tt.want) {
				t.Fatalf("got %v, want %v", err, tt.want)
			}
		})
	}
	if _, err := b.Inputs(0, inputs("b")...); err == nil {
		t.Error("a queue of nothing was accepted")
	}
	if b.Claimed("b") {
		t.Error("a refused group holds a line: not all or nothing")
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	if b.Level("a") != hal.High {
		t.Error("closing drove the line")
	}
	if err := out.Set(hal.Low); !errors.Is(err, hal.ErrClosed) {
		t.Errorf("set after close: %v", err)
	}
	if _, err := b.Inputs(1, inputs("a", "b")...); err != nil {
		t.Errorf("a closed output cannot be claimed: %v", err)
	}
	names, err := b.Lines()
	if err != nil || cmp.Diff([]hal.LineName{"a", "b", "c"}, names) != "" {
		t.Errorf("lines: %v, %v", names, err)
	}
}

func TestHistory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b haltest.Board
		at := b.Now()
		w := b.Watch()
		out, err := b.Output(hal.Output{Line: "strike"})
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range []hal.Level{hal.High, hal.High, hal.Low} {
			time.Sleep(time.Second)
			if err := out.Set(v); err != nil {
				t.Fatal(err)
			}
		}
		b.FailSet("strike", errInjected)
		if err := out.Set(hal.High); !errors.Is(err, errInjected) {
			t.Errorf("injected failure: %v", err)
		}
		want := []haltest.Change{
			{Line: "strike", Level: hal.Low, At: at, Claim: true},
			{Line: "strike", Level: hal.High, At: at + time.Second},
			{Line: "strike", Level: hal.Low, At: at + 3*time.Second},
		}
		if d := cmp.Diff(want, b.History("strike")); d != "" {
			t.Errorf("history (-want +got):\n%s", d)
		}
		for _, c := range want {
			if got := <-w; got != c {
				t.Errorf("watch: got %v, want %v", got, c)
			}
		}
		if len(b.History("other")) != 0 {
			t.Error("a line that was never claimed has a history")
		}
	})
}

func TestEdges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b haltest.Board
		g, err := b.Inputs(2, hal.Input{Line: "c", Pull: hal.PullUp}, hal.Input{Line: "d"})
		if err != nil {
			t.Fatal(err)
		}
		if v, err := g.Read("c"); v != hal.High || err != nil {
			t.Errorf("pulled up line rests at %v, %v", v, err)
		}
		if v, err := g.Read("d"); v != hal.Low || err != nil {
			t.Errorf("line without pull rests at %v, %v", v, err)
		}
		if _, err := g.Read("e"); !errors.Is(err, hal.ErrNoLine) {
			t.Errorf("line of no group: %v", err)
		}
		now := b.Now()
		b.Drive("c", hal.High) // no change
		time.Sleep(time.Millisecond)
		b.Drive("c", hal.Low)
		b.DriveAt("d", hal.High, 5)
		b.Drive("d", hal.Low) // does not fit
		want := []hal.Edge{
			{Line: "c", Level: hal.Low, At: now + time.Millisecond},
			{Line: "d", Level: hal.High, At: 5},
		}
		for _, w := range want {
			if got := <-g.Edges(); got != w {
				t.Errorf("edge: got %+v, want %+v", got, w)
			}
		}
		b.Drive("d", hal.High)
		if got := <-g.Edges(); !got.Lost || got.Level != hal.High {
			t.Errorf("the edge after an overflow does not say so: %+v", got)
		}
		b.Drive("d", hal.Low)
		if got := <-g.Edges(); got.Lost {
			t.Errorf("lost is told twice: %+v", got)
		}
		b.LoseEdges("c", 1)
		b.Drive("c", hal.High)
		b.Drive("c", hal.Low)
		if got := <-g.Edges(); !got.Lost || got.Level != hal.Low {
			t.Errorf("injected loss: %+v", got)
		}
		b.FailRead("c", errInjected)
		if _, err := g.Read("c"); !errors.Is(err, errInjected) {
			t.Errorf("injected read failure: %v", err)
		}
		if err := g.Close(); err != nil {
			t.Fatal(err)
		}
		if _, ok := <-g.Edges(); ok {
			t.Error("the channel is open after Close")
		}
		if _, err := g.Read("d"); !errors.Is(err, hal.ErrClosed) {
			t.Errorf("read after close: %v", err)
		}
		b.Drive("c", hal.High) // nobody listens; must not panic
	})
}

func TestLose(t *testing.T) {
	var b haltest.Board
	out, err := b.Output(hal.Output{Line: "s", Initial: hal.High})
	if err != nil {
		t.Fatal(err)
	}
	g, err := b.Inputs(1, inputs("c")...)
	if err != nil {
		t.Fatal(err)
	}
	b.Lose()
	if _, ok := <-g.Edges(); ok {
		t.Error("edges are open on a lost board")
	}
	if err := out.Set(hal.Low); !errors.Is(err, hal.ErrClosed) {
		t.Errorf("set on a lost board: %v", err)
	}
	if _, err := b.Output(hal.Output{Line: "s"}); !errors.Is(err, hal.ErrClosed) {
		t.Errorf("claim on a lost board: %v", err)
	}
	if _, err := b.Lines(); !errors.Is(err, hal.ErrClosed) {
		t.Errorf("lines of a lost board: %v", err)
	}
	if b.Level("s") != hal.High {
		t.Error("losing the board moved a line")
	}
	b.Restore()
	if err := out.Set(hal.Low); !errors.Is(err, hal.ErrClosed) {
		t.Errorf("an old claim came back: %v", err)
	}
	b.FailClaim("s", errInjected)
	if _, err := b.Output(hal.Output{Line: "s"}); !errors.Is(err, errInjected) {
		t.Errorf("injected claim failure: %v", err)
	}
	b.FailClaim("s", nil)
	if _, err := b.Output(hal.Output{Line: "s"}); err != nil {
		t.Errorf("claim after restore: %v", err)
	}
	if err := b.Close(); err != nil || b.Claimed("s") {
		t.Errorf("close: %v, claimed %v", err, b.Claimed("s"))
	}
}

func TestWiegand(t *testing.T) {
	want := func(at time.Duration) []hal.Edge {
		const w = haltest.PulseWidth
		return []hal.Edge{
			{Line: "d1", Level: hal.Low, At: at}, {Line: "d1", Level: hal.High, At: at + w},
			{Line: "d0", Level: hal.Low, At: at + time.Millisecond}, {Line: "d0", Level: hal.High, At: at + time.Millisecond + w},
			{Line: "d1", Level: hal.Low, At: at + 2*time.Millisecond}, {Line: "d1", Level: hal.High, At: at + 2*time.Millisecond + w},
		}
	}
	send := map[string]func(b *haltest.Board) time.Duration{
		"in time": func(b *haltest.Board) time.Duration {
			at := b.Now()
			b.Wiegand("d0", "d1", "10 1", time.Millisecond)
			return at
		},
		"at once": func(b *haltest.Board) time.Duration {
			if last := b.WiegandAt("d0", "d1", "101", time.Millisecond, 7); last != 7+2*time.Millisecond {
				t.Errorf("last falling edge at %v", last)
			}
			return 7
		},
	}
	for name, f := range send {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var b haltest.Board
				g, err := b.Inputs(16, hal.Input{Line: "d0", Pull: hal.PullUp}, hal.Input{Line: "d1", Pull: hal.PullUp})
				if err != nil {
					t.Fatal(err)
				}
				at := f(&b)
				_ = g.Close()
				var got []hal.Edge
				for e := range g.Edges() {
					got = append(got, e)
				}
				if d := cmp.Diff(want(at), got); d != "" {
					t.Errorf("edges (-want +got):\n%s", d)
				}
			})
		})
	}
}

func TestBits(t *testing.T) {
	if got, want := haltest.Bits(26, "26831000"), "00100110100000110001000000"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := haltest.Bits(9, "ff"); got != "11111111" {
		t.Errorf("short hex: %s", got)
	}
}

func TestClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c haltest.Clock
		if !c.Synchronised() || !c.Now().Equal(time.Now()) {
			t.Errorf("zero clock: %v, %v", c.Now(), c.Synchronised())
		}
		at := time.Date(1970, 1, 1, 0, 0, 9, 0, time.UTC)
		c.Set(at)
		c.SetSynchronised(false)
		time.Sleep(time.Minute)
		if c.Synchronised() || !c.Now().Equal(at.Add(time.Minute)) {
			t.Errorf("set clock: %v, %v", c.Now(), c.Synchronised())
		}
	})
}
