package door_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"gatehouse/agent/door"
	"gatehouse/agent/site"
	"gatehouse/hal"
)

// noon is the wall clock at the start of every script.
var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

const (
	ms = time.Millisecond
	s  = time.Second
)

// front is the door of contract.md's example.
func front(change ...func(*door.Config)) door.Config {
	c := door.Config{
		ID: "front", Name: "Front door", Strike: "GPIO24", Active: hal.High, Unlock: 5 * s,
		Relock: door.RelockTimer, Contact: "GPIO23", Open: hal.High,
		Rex: "GPIO22", RexActive: hal.Low, RexUnlock: true, RexStuck: 60 * s,
		HeldWarn: 20 * s, HeldAlarm: 30 * s, ADAUnlock: 15 * s, ADAWarn: 60 * s, ADAAlarm: 90 * s,
	}
	for _, f := range change {
		f(&c)
	}
	return c
}

func relock(r door.Relock) func(*door.Config) { return func(c *door.Config) { c.Relock = r } }

// at is one input at an instant of the script.
type at struct {
	t  time.Duration
	in door.Input
}

func card(id string) door.Access {
	return door.Access{Reader: "in", Reason: site.ReasonGranted, Holder: site.HolderID(id), Credential: site.CredentialID(id)}
}

func grant(id string) door.Grant { return door.Grant{Access: card(id)} }

func with(f site.Function) door.Grant { return door.Grant{Access: card("ada"), Function: f} }

func denied(r site.Reason) door.Denied {
	return door.Denied{Access: door.Access{Reader: "in", Reason: r}}
}

func mode(m site.Mode) door.Command { return door.Command{Op: door.OpMode, Mode: m, By: "cli"} }

func do(op door.Op) door.Command { return door.Command{Op: op, By: "cli"} }

var (
	opens   = door.Contact{Open: true}
	closes  = door.Contact{}
	press   = door.Exit{Pressed: true}
	unpress = door.Exit{}
)

// world runs a machine in simulated time.
type world struct {
	cfg       door.Config
	state     door.State
	now       time.Duration
	skew      time.Duration // of the wall clock
	untrusted bool
	trace     []string
	shows     bool // trace signals at readers too
	people    bool // trace who passed too
	blocked   bool // another door of an interlock is not secure
	mute      bool // trace nothing

	passed, notPassed int // people so far
}

func (w *world) instant() door.Now {
	return door.Now{Mono: w.now, Wall: noon.Add(w.now + w.skew), Trusted: !w.untrusted, Interlocked: w.blocked}
}

func (w *world) step(in door.Input) []door.Action {
	if o, ok := in.(other); ok {
		w.blocked, in = o.insecure, door.Tick{}
	}
	state, actions := door.Step(&w.cfg, w.state, in, w.instant())
	w.state = state
	for _, a := range actions {
		switch a.(type) {
		case door.Passed:
			w.passed++
		case door.NotPassed:
			w.notPassed++
		}
	}
	if w.mute {
		return actions
	}
	for _, a := range actions {
		line := describe(a)
		quiet := !w.shows && strings.HasPrefix(line, "show ") || !w.people && strings.Contains(line, "passed ")
		if !quiet {
			w.trace = append(w.trace, fmt.Sprintf("%v %s", w.now, line))
		}
	}
	return actions
}

// until feeds a Tick at each deadline up to t, as the goroutine does.
func (w *world) until(tb testing.TB, t time.Duration) {
	tb.Helper()
	for {
		next, ok := w.state.Next(&w.cfg)
		if !ok || next > t {
			break
		}
		if next <= w.now && w.now > 0 {
			tb.Fatalf("at %v: the next deadline is %v: no progress", w.now, next)
		}
		w.now = next
		w.step(door.Tick{})
	}
	w.now = t
}

func (w *world) run(tb testing.TB, script []at, end time.Duration) {
	tb.Helper()
	for _, a := range script {
		w.until(tb, a.t)
		w.step(a.in)
	}
	w.until(tb, end)
}

func describe(a door.Action) string {
	switch a := a.(type) {
	case door.Strike:
		if a.Energise {
			return "energise"
		}
		return "de-energise"
	case door.Show:
		return fmt.Sprintf("show %v at %s", a.Pattern, a.Reader)
	case door.Passed:
		return "passed " + string(a.Access.Credential)
	case door.NotPassed:
		return "not passed " + string(a.Access.Credential)
	case door.Keep:
		out := "keep"
		for _, o := range []*site.DoorOverride{a.Kept.Lockdown, a.Kept.Freeze, a.Kept.Override} {
			if o != nil {
				out += " " + o.Mode.String()
				if !o.Until.IsZero() {
					out += " until " + o.Until.Format("15:04:05")
				}
			}
		}
		if !a.Kept.FirstIn.IsZero() {
			out += " first in " + a.Kept.FirstIn.Format("15:04:05")
		}
		return out
	case door.Emit:
		e := a.Event
		out := string(e.Kind)
		for _, x := range []string{e.Text, e.Mode, string(e.Reason), string(e.HolderID)} {
			if x != "" {
				out += " " + x
			}
		}
		if e.As != "" {
			out += " as " + string(e.As)
		}
		if !e.Until.IsZero() {
			out += " until " + e.Until.Format("15:04:05")
		}
		if e.Count > 0 {
			out += fmt.Sprint(" x", e.Count)
		}
		if e.By != "" {
			out += " by " + e.By
		}
		if e.Cleared {
			out += " cleared"
		}
		return out
	}
	return fmt.Sprintf("%T", a)
}

// keptAs starts a door with a lockdown or an override from before.
func keptAs(m site.Mode) door.Start {
	o := &site.DoorOverride{Mode: m}
	if m == site.ModeLockdown {
		return door.Start{Kept: site.DoorKept{Lockdown: o}}
	}
	return door.Start{Kept: site.DoorKept{Override: o}}
}
