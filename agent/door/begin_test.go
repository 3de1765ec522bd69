package door_test

import (
	"testing"
	"time"

	"gatehouse/agent/door"
	"gatehouse/agent/site"
	"gatehouse/hal"
)

// TestStartUnderFire: a maglock that fire or a schedule keeps free is not locked
// for an instant when its agent starts.
func TestStartUnderFire(t *testing.T) {
	cfg := door.Config{ID: "front", Strike: "s", Active: hal.High, Fail: door.FailSafe, Unlock: time.Second, Fire: door.FireRelease}
	for _, tt := range []struct {
		name   string
		in     door.Start
		locked bool
	}{
		{"nothing", door.Start{}, true},
		{"fire", door.Start{Fire: true}, false},
		{"schedule", door.Start{Schedule: door.Schedule{Mode: site.ModePassage}}, false},
		{"schedule under lockdown", door.Start{Schedule: door.Schedule{Mode: site.ModePassage},
			Kept: site.DoorKept{Lockdown: &site.DoorOverride{Mode: site.ModeLockdown}}}, true},
		{"fire under lockdown", door.Start{Fire: true, Kept: site.DoorKept{Lockdown: &site.DoorOverride{Mode: site.ModeLockdown}}}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, actions := door.Step(&cfg, door.State{}, tt.in, door.Now{Wall: time.Unix(1e9, 0), Trusted: true})
			if s.Locked() != tt.locked {
				t.Errorf("locked %v", s.Locked())
			}
			strikes := 0
			for _, a := range actions {
				if v, ok := a.(door.Strike); ok {
					strikes++
					if v.Energise != tt.locked {
						t.Errorf("the maglock is energised: %v", v.Energise)
					}
				}
			}
			if strikes != 1 {
				t.Errorf("%d strike commands", strikes)
			}
		})
	}
}
