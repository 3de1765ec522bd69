package cli_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/agent/control"
	"gatehouse/agent/site"
)

// firePanel is a fire alarm that works in memory.
type firePanel struct {
	mu sync.Mutex // guards following
	st control.FireStatus
}

func (f *firePanel) FireStatus() control.FireStatus {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.st
}

func (f *firePanel) ResetFire(context.Context, string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.st.Input != "normal" || !f.st.On {
		return fmt.Errorf("%w: fire: reset: the fire input GPIO5 still shows fire", control.ErrRefused)
	}
	f.st.On, f.st.Since = false, time.Time{}
	return nil
}

func TestFire(t *testing.T) {
	none := control.FireStatus{Input: "none"}
	quiet := control.FireStatus{Configured: true, Latched: true, Input: "normal", Doors: []site.DoorID{"shed"}}
	burning, over := quiet, quiet
	burning.On, burning.Input, burning.Since = true, "fire", time.Date(2026, 11, 21, 8, 0, 0, 0, time.UTC)
	over.On, over.Latched = true, true
	broken := control.FireStatus{Configured: true, Input: "unknown", Fault: "line or port is busy"}
	for _, tt := range []struct {
		args string
		st   control.FireStatus
		code int
		want []string // parts of what is printed
	}{
		{"fire", quiet, 2, []string{"reset, status"}},
		{"fire status", none, 0, []string{"no fire input"}},
		{"fire status", quiet, 0, []string{"alarm: no fire (latched", "input: normal\n", "shed: is released by fire"}},
		{"fire status", burning, 0, []string{"FIRE since 2026-11-21", "input: fire\n", "shed: released"}},
		{"fire status", broken, 0, []string{"follows the input", "input: unknown, line or port is busy"}},
		{"fire status --json", burning, 0, []string{`"on":true`, `"input":"fire"`, `"doors":["shed"]`, `"since":"2026-11-21T08:00:00Z"`}},
		{"fire status x", quiet, 2, []string{"x"}},
		{"fire reset", burning, 1, []string{"GPIO5 still shows fire"}},
		{"fire reset", over, 0, []string{"the fire alarm is reset"}},
		{"fire reset --json", over, 0, []string{`"on":false`}},
	} {
		a := newAgent(t)
		a.fire.st = tt.st
		code, stdout, stderr := a.run(strings.Fields(tt.args)...)
		if code != tt.code {
			t.Errorf("%s: code %d\n%s%s", tt.args, code, stdout, stderr)
		}
		for _, w := range tt.want {
			if !strings.Contains(stdout+stderr, w) {
				t.Errorf("%s: no %q in\n%s%s", tt.args, w, stdout, stderr)
			}
		}
	}
}

// TestStatusOfInputs: status has a line for each input and output of the site.
func TestStatusOfInputs(t *testing.T) {
	a := newAgent(t)
	a.inputs = []control.InputStatus{{ID: "fire", OK: true, Text: "no fire"}, {ID: "mains", Text: "mains failed"}}
	a.outputs = []control.OutputStatus{{ID: "siren", On: true}, {ID: "opener", Fault: "GPIO12: busy"}}
	got := a.must("status")
	for _, want := range []string{"input fire: no fire\n", "input mains: NOT OK, mains failed\n", "output siren: on\n", "output opener: off, FAULT GPIO12: busy\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}
