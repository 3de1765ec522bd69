package app

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/agent/door"
	"gatehouse/agent/site"
)

// TestKeptFold: whatever is done to a door, its events say what it keeps.
func TestKeptFold(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	began := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	cfg := door.Config{ID: "front", Unlock: 5 * time.Second}
	seen := map[string]bool{}
	for range 300 {
		var s door.State
		var k keptFold
		now := door.Now{Wall: began, Trusted: true}
		var did []string
		step := func(in door.Input) {
			var actions []door.Action
			s, actions = door.Step(&cfg, s, in, now)
			for _, a := range actions {
				if e, ok := a.(door.Emit); ok {
					k.fold(e.Event)
					did = append(did, e.Event.Time.Format(time.TimeOnly)+" "+string(e.Event.Kind)+" "+e.Event.Text+" "+e.Event.Mode+" by "+e.Event.By)
				}
			}
		}
		step(door.Start{})
		for range 30 {
			d := time.Duration(r.IntN(40)) * time.Second
			now.Mono, now.Wall = now.Mono+d, now.Wall.Add(d)
			step(door.Tick{}) // as whoever runs the machine does before it decides
			in := someOrder(r)
			step(in)
			want := s.Kept()
			if diff := cmp.Diff(want, k.at(now.Wall)); diff != "" {
				t.Fatalf("after %#v (-kept +log): %s\n%v", in, diff, did)
			}
			mode, _ := s.Mode()
			seen[mode.String()] = true
		}
	}
	if len(seen) != 6 {
		t.Errorf("modes %v", seen)
	}
}

// someOrder is one of what changes the mode of a door.
func someOrder(r *rand.Rand) door.Input {
	switch n := r.IntN(10); n {
	case 0:
		return door.Schedule{Mode: []site.Mode{site.ModeSecured, site.ModePassage}[r.IntN(2)]}
	case 1, 2:
		f := []site.Function{site.FunctionToggle, site.FunctionFreeze, site.FunctionLockdown}[r.IntN(3)]
		return door.Grant{Access: door.Access{Reason: site.ReasonGranted, Credential: "c", Holder: "h"}, Function: f}
	default:
		c := door.Command{Op: door.Op(r.IntN(6) + 1), By: "cli"}
		if c.Op == door.OpMode {
			c.Mode = site.Mode(r.IntN(6))
		}
		if r.IntN(2) == 0 {
			c.For = time.Duration(r.IntN(90)+1) * time.Second
		}
		return c
	}
}

// TestScheduleIsNoOverride: a door that its schedule had unlocked when the file
// was lost does not stay unlocked when the schedule ends.
func TestScheduleIsNoOverride(t *testing.T) {
	var k keptFold
	k.fold(site.Event{Kind: site.KindCommand, By: bySchedule, Text: "schedule", Mode: site.ModePassage.String()})
	k.fold(site.Event{Kind: site.KindMode, Mode: site.ModePassage.String()})
	if diff := cmp.Diff(site.DoorKept{}, k.at(time.Now())); diff != "" {
		t.Error(diff)
	}
}
