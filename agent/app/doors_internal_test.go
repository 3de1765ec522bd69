package app

import (
	"errors"
	"testing"

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
