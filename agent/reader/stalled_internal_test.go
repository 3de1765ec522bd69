package reader

// Inside the package because a timer is never late in a synctest bubble, and on a
// real machine it is late when it likes.

import (
	"testing"
	"testing/synctest"
	"time"

	"gatehouse/agent/card"
	"gatehouse/hal"
)

// fakeGroup is a group with levels and edges that a test sets.
type fakeGroup struct {
	hal.InputGroup
	edges chan hal.Edge
	level map[hal.LineName]hal.Level
	reads int
}

func (g *fakeGroup) Edges() <-chan hal.Edge { return g.edges }

func (g *fakeGroup) Read(n hal.LineName) (hal.Level, error) { g.reads++; return g.level[n], nil }

// TestStalledTimer counts the steps that the end of a frame waits.
func TestStalledTimer(t *testing.T) {
	tests := []struct {
		name     string
		late     time.Duration // of the timer
		real     hal.Level     // of D0
		believed hal.Level
		steps    int
		reads    bool
	}{
		{"in time", 0, hal.High, hal.High, 0, false},
		{"as late as timers are", 4 * time.Millisecond, hal.High, hal.High, 0, false},
		{"late, and the lines say nothing", 6 * time.Millisecond, hal.High, hal.High, maxAgree, true},
		{"late, and an edge is to come", 6 * time.Millisecond, hal.Low, hal.High, maxDiffer, true},
		{"in time, and a rise is to come", 0, hal.High, hal.Low, maxDiffer, true},
		{"held low", 0, hal.Low, hal.Low, maxAgree, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := &fakeGroup{edges: make(chan hal.Edge), level: map[hal.LineName]hal.Level{"a": tt.real, "b": hal.High}}
				r, err := New(Config{Wiegand: &WiegandConfig{D0: "a", D1: "b"}}, nil, nil, nil, nil)
				if err != nil {
					t.Fatal(err)
				}
				s := session{Reader: r, group: g, w: NewWiegand("a", "b", 0)}
				s.due = time.Now().Add(-tt.late)
				s.w = s.w.Sync(tt.believed, hal.High)
				steps := 0
				for late := tt.late; s.waitMore(late); late = 0 {
					steps++
				}
				if steps != tt.steps || (g.reads > 0) != tt.reads {
					t.Errorf("%d steps with %d reads, want %d", steps, g.reads, tt.steps)
				}
			})
		})
	}
}

// TestStalledProcess: the process did not run for 30 ms in the middle of a frame,
// and its edges come 1 ms after the timer, all lines high as if it were over.
func TestStalledProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &fakeGroup{edges: make(chan hal.Edge, 256), level: map[hal.LineName]hal.Level{"a": hal.High, "b": hal.High}}
		r, err := New(Config{Wiegand: &WiegandConfig{D0: "a", D1: "b"}}, nil, nil, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		s := session{Reader: r, group: g, w: NewWiegand("a", "b", 0)}
		frame, calm := time.NewTimer(time.Hour), time.NewTimer(time.Hour)
		pulse := func(at time.Duration) {
			s.edge(hal.Edge{Line: "a", Level: hal.Low, At: at}, frame, calm)
			s.edge(hal.Edge{Line: "a", Level: hal.High, At: at + 50*time.Microsecond}, frame, calm)
		}
		for i := range 13 {
			pulse(time.Second + time.Duration(i)*time.Millisecond)
		}
		s.due = s.due.Add(-30 * time.Millisecond)
		s.silence(frame, calm)
		if len(r.queue) != 0 {
			t.Fatal("half of a frame was handed over")
		}
		<-frame.C // a step of waiting
		for i := 13; i < 26; i++ {
			pulse(time.Second + time.Duration(i)*time.Millisecond)
		}
		<-frame.C
		s.silence(frame, calm)
		if len(r.queue) != 1 {
			t.Fatalf("%d frames", len(r.queue))
		}
		if e := <-r.queue; e.bits.Len() != 26 || e.key != card.Key(0) {
			t.Errorf("a frame of %d bits", e.bits.Len())
		}
	})
}
