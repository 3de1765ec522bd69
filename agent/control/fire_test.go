package control_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"gatehouse/agent/control"
	"gatehouse/agent/site"
)

// firePanel is a fire alarm that works in memory.
type firePanel struct {
	mu      sync.Mutex // guards following
	on      bool
	burning bool // the input shows fire
	by      string
}

func (f *firePanel) FireStatus() control.FireStatus {
	f.mu.Lock()
	defer f.mu.Unlock()
	st := control.FireStatus{Configured: true, On: f.on, Latched: true, Input: "normal", Doors: []site.DoorID{"shed"}}
	if f.burning {
		st.Input = "fire"
	}
	return st
}

func (f *firePanel) ResetFire(_ context.Context, by string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.burning || !f.on {
		return fmt.Errorf("%w: fire: reset: the input still shows fire", control.ErrRefused)
	}
	f.on, f.by = false, by
	return nil
}

func TestFire(t *testing.T) {
	h := newHouse(t)
	h.fire.on, h.fire.burning = true, true
	a := h.api(t)
	if got := must[control.FireStatus](a, "GET", "/v1/fire", ""); !got.On || got.Input != "fire" || len(got.Doors) != 1 {
		t.Errorf("fire %+v", got)
	}
	if status, text := a.ask("POST", "/v1/fire/reset", ""); status != 409 || !strings.Contains(text, "still shows fire") {
		t.Errorf("reset in fire: %d %s", status, text)
	}
	h.fire.mu.Lock()
	h.fire.burning = false
	h.fire.mu.Unlock()
	if got := must[control.FireStatus](a, "POST", "/v1/fire/reset", ""); got.On {
		t.Errorf("after the reset: %+v", got)
	}
	if h.fire.by != "cli" {
		t.Errorf("reset by %q", h.fire.by)
	}
}
