package app

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse/agent/config"
	"gatehouse/agent/control"
	"gatehouse/agent/site"
	"gatehouse/agent/task"
	"gatehouse/hal"
	"gatehouse/hal/haltest"
)

// These tests look inside because a bounce is measured in milliseconds and the
// disk must be broken at the right moment.

// inputBench is inputs without the rest of an agent.
type inputBench struct {
	*App
	board *haltest.Board

	mu   sync.Mutex // guards seen
	seen []lineState
}

func newInputBench() *inputBench {
	b := &inputBench{board: &haltest.Board{}}
	b.App = &App{hw: Hardware{Board: b.board, Clock: &haltest.Clock{}}, health: task.NewHealth(nil)}
	return b
}

// run runs an input until the bubble's test ends.
func runInput(t *testing.T, in *siteInput) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- in.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	synctest.Wait()
}

func (b *inputBench) input(t *testing.T) *siteInput {
	in := b.newSiteInput(inputConfig{id: "mains", line: "M", active: hal.High, cut: hal.High},
		func(_ context.Context, s lineState) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.seen = append(b.seen, s)
		})
	runInput(t, in)
	return in
}

// want compares what the input told since the last call.
func (b *inputBench) want(t *testing.T, what string, want ...lineState) {
	t.Helper()
	synctest.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.seen) != len(want) {
		t.Fatalf("%s: told %v, want %v", what, b.seen, want)
	}
	for i := range want {
		if b.seen[i] != want[i] {
			t.Fatalf("%s: told %v, want %v", what, b.seen, want)
		}
	}
	b.seen = nil
}

// TestInputSettles: a change counts after it has stood for 50 ms, each once.
func TestInputSettles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newInputBench()
		b.board.Drive("M", hal.Low)
		b.input(t)
		b.want(t, "at start", lineNormal)
		b.board.Drive("M", hal.High)
		time.Sleep(inputSettle - time.Millisecond)
		b.want(t, "before it settled")
		b.board.Drive("M", hal.Low)
		time.Sleep(time.Second)
		b.want(t, "a spike")
		for range 100 {
			b.board.Drive("M", hal.High)
			time.Sleep(20 * time.Millisecond)
			b.board.Drive("M", hal.Low)
			time.Sleep(20 * time.Millisecond)
		}
		b.want(t, "bounce")
		b.board.Drive("M", hal.High)
		time.Sleep(inputSettle)
		b.want(t, "after it settled", lineActive)
		time.Sleep(time.Hour)
		b.want(t, "an hour later")
		b.board.Drive("M", hal.Low)
		time.Sleep(inputSettle)
		b.want(t, "the end", lineNormal)
	})
}

// TestInputCutWire: a line that nothing drives reads as not normal.
func TestInputCutWire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newInputBench()
		b.input(t)
		b.want(t, "a cut wire", lineActive)
	})
}

// TestInputEdgeLost: a change whose edge was lost is found all the same.
func TestInputEdgeLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newInputBench()
		b.board.Drive("M", hal.Low)
		b.input(t)
		b.want(t, "at start", lineNormal)
		b.board.LoseEdges("M", 1)
		b.board.Drive("M", hal.High)
		time.Sleep(inputPoll + inputSettle)
		b.want(t, "a lost edge", lineActive)
	})
}

// TestInputLine: a line that cannot be claimed or is lost is one fault until it
// is back, and what it showed last counts meanwhile.
func TestInputLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newInputBench()
		b.board.Drive("M", hal.High)
		b.board.FailClaim("M", hal.ErrBusy)
		in := b.input(t)
		b.want(t, "a busy line", lineUnknown)
		if fs := b.health.List(); len(fs) != 1 || fs[0].ID != "input.mains" || !strings.Contains(fs[0].Text, "busy") {
			t.Errorf("faults %+v", fs)
		}
		select {
		case <-in.Ready():
		default:
			t.Error("the rest waits for a line that cannot be had")
		}
		time.Sleep(10 * lineRetry)
		b.want(t, "still busy")
		b.board.FailClaim("M", nil)
		time.Sleep(lineRetry)
		b.want(t, "the line is there", lineActive)
		if fs := b.health.List(); len(fs) != 0 {
			t.Errorf("faults %+v", fs)
		}
		b.board.Lose()
		time.Sleep(lineRetry)
		b.want(t, "a lost board")
		if st := in.shown.Load(); st.state != lineUnknown || len(b.health.List()) != 1 {
			t.Errorf("shown %+v, faults %+v", st, b.health.List())
		}
		b.board.Restore()
		time.Sleep(lineRetry)
		b.want(t, "back, as it was")
		b.board.FailRead("M", errors.New("no answer"))
		time.Sleep(inputPoll)
		synctest.Wait()
		if len(b.health.List()) != 1 {
			t.Error("a line that cannot be read is no fault")
		}
		b.board.FailRead("M", nil)
		b.board.Drive("M", hal.Low)
		time.Sleep(lineRetry)
		b.want(t, "back, and normal", lineNormal)
	})
}

// TestFireNotKept: with a disk that takes nothing an alarm begins and is reset
// all the same; the operator is told that it would not be remembered.
func TestFireNotKept(t *testing.T) {
	blocked := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(blocked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		b := newInputBench()
		b.board.Drive("F", hal.Low)
		keep := openInputKeeper(filepath.Join(blocked, "inputs.json"), blocked, b.health, func() keptInputs { return keptInputs{} })
		b.health.Clear("inputs.damaged")
		var events []site.Event
		released := false
		f := &fireAlarm{cfg: config.Fire{Line: "F", Normal: hal.Low, Latched: true}, keep: keep, now: time.Now,
			emit: func(ev site.Event) { events = append(events, ev) }, doors: func(on bool) { released = on }}
		f.publish()
		f.in = b.newSiteInput(inputConfig{id: "fire", line: "F", active: hal.High, cut: hal.High}, func(_ context.Context, s lineState) { f.input(s) })
		ctx, cancel := context.WithCancel(t.Context())
		wrote := make(chan error, 1)
		go func() { wrote <- keep.run(ctx) }()
		runInput(t, f.in)
		b.board.Drive("F", hal.High)
		time.Sleep(time.Second)
		synctest.Wait()
		if !released || len(events) != 1 || b.health.List()[0].ID != "inputs.kept" {
			t.Errorf("released %v, events %+v, faults %+v", released, events, b.health.List())
		}
		b.board.Drive("F", hal.Low)
		time.Sleep(time.Second)
		synctest.Wait()
		err := f.Reset(t.Context(), "cli")
		if !errors.Is(err, control.ErrNotReady) || !strings.Contains(err.Error(), "not kept") {
			t.Errorf("reset: %v", err)
		}
		if released || len(events) != 2 || !events[1].Cleared || events[1].By != "cli" {
			t.Errorf("released %v, events %+v", released, events)
		}
		cancel()
		if err := <-wrote; err == nil {
			t.Error("a file below a file was written")
		}
	})
}

// TestKeptInputs: what was changed is read again, whenever it was written.
func TestKeptInputs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "inputs.json")
	health := task.NewHealth(nil)
	unknown := func() keptInputs { t.Error("the log is asked although there is a file"); return keptInputs{} }
	k := openInputKeeper(path, t.TempDir(), health, func() keptInputs { return keptInputs{Panic: true} })
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- k.run(ctx) }()
	since := time.Date(2026, 11, 21, 18, 0, 0, 0, time.UTC)
	k.change(func(s *keptInputs) { s.Fire, s.FireSince = true, since })
	if err := k.wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := openInputKeeper(path, t.TempDir(), health, unknown).now(); !got.Fire || !got.Panic || !got.FireSince.Equal(since) {
		t.Errorf("read %+v", got)
	}
	k.change(func(s *keptInputs) { s.Panic = false })
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if got := openInputKeeper(path, t.TempDir(), health, unknown).now(); !got.Fire || got.Panic {
		t.Errorf("at the end: %+v", got)
	}
	if fs := health.List(); len(fs) != 0 {
		t.Errorf("faults %+v", fs)
	}
}

// FuzzKeptInputs: whatever the file holds is refused or read as what it says.
func FuzzKeptInputs(f *testing.F) {
	for _, text := range []string{`{"fire":true,"fire_since":"2026-11-21T18:00:00Z","panic":true}`, `{}`, `{"fire":tru`, `{"fires":true}`, `{}{}`, `null`, ``} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := parseKeptInputs(data)
		if err != nil {
			if got != (keptInputs{}) {
				t.Errorf("refused, but read as %+v", got)
			}
			return
		}
		again, err := json.Marshal(got)
		if err != nil {
			return // a year that JSON does not take
		}
		back, err := parseKeptInputs(again)
		if err != nil || back.Fire != got.Fire || back.Panic != got.Panic || !back.FireSince.Equal(got.FireSince) {
			t.Errorf("%s: %+v, %v", again, back, err)
		}
	})
}
