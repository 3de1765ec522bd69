package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse/agent/config"
	"gatehouse/agent/site"
	"gatehouse/agent/task"
	"gatehouse/hal"
	"gatehouse/hal/haltest"
)

// These tests look inside because time has to stand still between two events.

// runOutput runs an output on a fake board until the test's bubble ends. It
// returns a function that shows it an event.
func runOutput(t *testing.T, cfg config.Output, board *haltest.Board) (func(site.Event), *task.Health) {
	t.Helper()
	cfg.ID, cfg.Line, cfg.Active = "x", "X", hal.High
	o := newOutput(cfg, board, slog.New(slog.DiscardHandler))
	o.health = task.NewHealth(nil)
	if err := o.claim(); err != nil {
		t.Log(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- o.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if board.Level("X") != hal.Low {
			t.Error("on after its end")
		}
		if err := o.close(); err != nil {
			t.Error(err)
		}
	})
	synctest.Wait()
	set := outputSet{o}
	return func(ev site.Event) {
		set.take(&ev)
		synctest.Wait()
	}, o.health
}

// outputStep is an event, a wait, and whether the output is on then.
type outputStep struct {
	ev   site.Event
	wait time.Duration
	want bool
}

// outputRules are what events ask of an output, second by second.
func outputRules() []outputCase {
	forced := site.Event{Kind: site.KindDoorForced, Door: "front"}
	cleared := forced
	cleared.Cleared = true
	other := site.Event{Kind: site.KindDoorForced, Door: "shed"}
	otherCleared := other
	otherCleared.Cleared = true
	access := func(r site.Reason) site.Event { return site.Event{Kind: site.KindAccess, Door: "front", Reason: r} }
	none := site.Event{Kind: site.KindLog}
	return []outputCase{
		{"until the alarm ends", config.Output{On: []site.Kind{site.KindDoorForced}}, []outputStep{
			{none, 0, false}, {forced, time.Hour, true}, {forced, 0, true}, {cleared, 0, false}, {cleared, 0, false},
		}},
		{"two alarms", config.Output{On: []site.Kind{site.KindDoorForced}}, []outputStep{
			{forced, 0, true}, {other, 0, true}, {cleared, 0, true}, {otherCleared, 0, false},
		}},
		{"two kinds", config.Output{On: []site.Kind{site.KindDoorForced, site.KindFire}}, []outputStep{
			{forced, 0, true}, {site.Event{Kind: site.KindFire}, 0, true}, {cleared, 0, true}, {site.Event{Kind: site.KindFire, Cleared: true}, 0, false},
		}},
		{"for a time, whatever ends", config.Output{On: []site.Kind{site.KindDoorForced}, For: 10 * time.Second}, []outputStep{
			{forced, 9 * time.Second, true}, {cleared, 0, true}, {none, time.Second, false},
		}},
		{"a second event extends", config.Output{On: []site.Kind{site.KindDoorForced}, For: 10 * time.Second}, []outputStep{
			{forced, 6 * time.Second, true}, {other, 6 * time.Second, true}, {none, 3 * time.Second, true}, {none, time.Second, false},
		}},
		{"an end of another kind", config.Output{On: []site.Kind{site.KindDoorForced}, Until: []site.Kind{site.KindCommand}}, []outputStep{
			{forced, time.Hour, true}, {site.Event{Kind: site.KindCommand, By: "schedule"}, 0, true},
			{site.Event{Kind: site.KindCommand, By: "interlock", Reason: site.ReasonInterlock}, 0, true},
			{site.Event{Kind: site.KindCommand, By: "cli"}, 0, false}, {other, 0, true}, {otherCleared, 0, false},
		}},
		{"an end before the time", config.Output{On: []site.Kind{site.KindAccess}, Reasons: []site.Reason{site.ReasonGranted}, Until: []site.Kind{site.KindDoorClosed}, For: time.Minute}, []outputStep{
			{access(site.ReasonGranted), time.Second, true}, {site.Event{Kind: site.KindDoorClosed, Door: "front"}, 0, false},
			{access(site.ReasonGranted), 59 * time.Second, true}, {none, time.Second, false},
		}},
		{"only these doors", config.Output{On: []site.Kind{site.KindDoorForced, site.KindFire}, Doors: []site.DoorID{"front"}}, []outputStep{
			{other, 0, false}, {site.Event{Kind: site.KindFire}, 0, false}, {forced, 0, true}, {otherCleared, 0, true}, {cleared, 0, false},
		}},
		{"only these reasons", config.Output{On: []site.Kind{site.KindAccess}, Reasons: []site.Reason{site.ReasonRevoked}, For: time.Second}, []outputStep{
			{access(site.ReasonGranted), 0, false}, {access(site.ReasonNoRight), 0, false}, {access(site.ReasonRevoked), 0, true},
		}},
		{"an exit that an interlock refused", config.Output{On: []site.Kind{site.KindExit}, For: time.Second}, []outputStep{
			{site.Event{Kind: site.KindExit, Door: "front", Reason: site.ReasonInterlock}, 0, false}, {site.Event{Kind: site.KindExit, Door: "front"}, 0, true},
		}},
		{"what happens and does not stand", config.Output{On: []site.Kind{site.KindFault}}, []outputStep{
			{site.Event{Kind: site.KindFault, Reader: "in", Count: 1, Text: "too many wrong PINs"}, 0, false},
			{site.Event{Kind: site.KindFault, Item: "store"}, 0, true}, {site.Event{Kind: site.KindFault, Item: "store", Cleared: true}, 0, false},
		}},
		{"duress by name", config.Output{On: []site.Kind{site.KindDuress}, For: time.Second}, []outputStep{
			{access(site.ReasonGranted), 0, false}, {site.Event{Kind: site.KindDuress, Door: "front"}, 0, true},
		}},
	}
}

type outputCase struct {
	name  string
	cfg   config.Output
	steps []outputStep
}

func TestOutputRules(t *testing.T) {
	for _, tt := range outputRules() {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				board := &haltest.Board{}
				take, _ := runOutput(t, tt.cfg, board)
				for i, s := range tt.steps {
					take(s.ev)
					time.Sleep(s.wait)
					synctest.Wait()
					if got := bool(board.Level("X")); got != s.want {
						t.Errorf("step %d: on is %v", i, got)
					}
				}
			})
		})
	}
}

// TestOutputFlood: any number of events at once costs an output nothing but its
// level: none of them is lost to it, and the memory for them is bounded.
func TestOutputFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		board := &haltest.Board{}
		o := newOutput(config.Output{ID: "x", Line: "X", Active: hal.High, On: []site.Kind{site.KindTamper, site.KindFault}}, board, slog.New(slog.DiscardHandler))
		set := outputSet{o} // nobody runs it: its owner is late
		event := func(i int, cleared bool) site.Event {
			return site.Event{Kind: site.KindTamper, Item: fmt.Sprint(i), Cleared: cleared}
		}
		for i := range 2 * maxStanding {
			ev := event(i, false)
			set.take(&ev)
		}
		if n := len(o.rule.standing); n != maxStanding {
			t.Errorf("%d alarms are remembered", n)
		}
		for i := range maxStanding - 1 {
			ev := event(i, true)
			set.take(&ev)
		}
		if on, _ := o.rule.level(0); !on {
			t.Error("off while an alarm stands")
		}
		ev := event(maxStanding-1, true)
		set.take(&ev)
		if on, _ := o.rule.level(0); on {
			t.Error("on when no alarm stands")
		}
	})
}

// TestOutputLine: a line that fails is a fault and driven again; a lost board is
// claimed anew; the time of a pulse begins when it is driven.
func TestOutputLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		board := &haltest.Board{}
		take, health := runOutput(t, config.Output{On: []site.Kind{site.KindDoorForced}}, board)
		board.FailSet("X", errors.New("no power"))
		take(site.Event{Kind: site.KindDoorForced})
		if fs := health.List(); len(fs) != 1 || fs[0].ID != "output.x" || board.Level("X") != hal.Low {
			t.Errorf("faults %+v", fs)
		}
		board.FailSet("X", nil)
		time.Sleep(lineRetry)
		synctest.Wait()
		if len(health.List()) != 0 || board.Level("X") != hal.High {
			t.Errorf("faults %+v", health.List())
		}
		board.Lose()
		take(site.Event{Kind: site.KindDoorForced})
		if fs := health.List(); len(fs) != 1 {
			t.Errorf("without a board: faults %+v", fs)
		}
		board.Restore()
		time.Sleep(lineRetry)
		synctest.Wait()
		if len(health.List()) != 0 || board.Level("X") != hal.High {
			t.Errorf("with the board again: faults %+v", health.List())
		}
		take(site.Event{Kind: site.KindDoorForced, Cleared: true})
	})
}
