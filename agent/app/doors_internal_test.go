package app

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/agent/control"
	"gatehouse/agent/door"
	"gatehouse/agent/site"
)

// TestTargets: an area means the doors in it and those whose readers lead from
// or to it.
func TestTargets(t *testing.T) {
	var s doorSet
	for _, id := range []site.DoorID{"front", "shed", "gate"} {
		s.add(door.Config{ID: id}, &door.Door{})
	}
	s.border("front", "", "lab")
	s.border("shed", "lab")
	s.border("gate", "", "yard")
	for _, tt := range []struct {
		target control.Target
		want   []site.DoorID
	}{
		{control.Target{Area: "nowhere"}, nil},
		{control.Target{Area: ""}, nil},
		{control.Target{Door: "attic"}, nil},
		{control.Target{Area: "lab"}, []site.DoorID{"front", "shed"}},
		{control.Target{Door: "gate"}, []site.DoorID{"gate"}},
		{control.Target{All: true}, []site.DoorID{"front", "shed", "gate"}},
	} {
		got, err := s.targets(tt.target)
		if !cmp.Equal(got, tt.want) || (tt.want == nil) != errors.Is(err, control.ErrNotFound) {
			t.Errorf("%+v: %v, %v", tt.target, got, err)
		}
	}
}

// plainDoor is what a door without lines needs of the rest, and a keeper that fails.
type plainDoor struct{ full error }

func (plainDoor) Decide(door.Presented, *door.Pending, site.Mode) door.Decision {
	return door.Decision{}
}
func (plainDoor) Append(site.Event) {}
func (p plainDoor) Keep(context.Context, site.DoorID, site.DoorKept) error {
	return p.full
}

// TestEach: a lockdown names the doors that are locked down, and no other.
func TestEach(t *testing.T) {
	var s doorSet
	add := func(id site.DoorID, full error) (stop func()) {
		cfg := door.Config{ID: id, Unlock: time.Second}
		d, err := door.New(cfg, door.Deps{Decider: plainDoor{}, Log: plainDoor{}, Keeper: plainDoor{full},
			Clock: func() site.Clock { return site.Clock{Now: time.Now(), Trusted: true} }})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- d.Run(ctx) }()
		s.add(cfg, d)
		return func() {
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
	}
	defer add("front", nil)()
	defer add("gate", errors.New("the disk is full"))()
	add("shed", nil)() // it has ended
	got, err := s.Lockdown(t.Context(), control.Target{All: true}, time.Time{}, "Ada")
	if d := cmp.Diff([]site.DoorID{"front", "gate"}, got); d != "" {
		t.Error(d)
	}
	if text := err.Error(); !errors.Is(err, control.ErrNotReady) || !strings.Contains(text, "door shed: ") || !strings.Contains(text, "door gate: ") || strings.Contains(text, "front") {
		t.Error(err)
	}
	for i, want := range []bool{true, true, false} {
		if got := s.DoorList()[i]; (got.Mode == site.ModeLockdown) != want {
			t.Errorf("%s: mode %s", got.ID, got.Mode)
		}
	}
	if got, err := s.Release(t.Context(), control.Target{Door: "shed"}, "Ada"); len(got) > 0 || err == nil {
		t.Errorf("a door that has ended: %v %v", got, err)
	}
}
