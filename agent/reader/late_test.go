package reader_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/hal"
	"gatehouse/hal/haltest"
)

// lateBoard brings the edges of a board late, as the kernel's queue and a busy
// machine do: levels are read as they are, edges wait while it is held.
type lateBoard struct {
	haltest.Board
	mu   sync.Mutex // guards following
	held bool
	wake chan struct{} // closed and replaced when held changes
}

func newLateBoard() *lateBoard { return &lateBoard{wake: make(chan struct{})} }

// hold keeps edges back until it is called with false.
func (b *lateBoard) hold(on bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.held = on
	close(b.wake)
	b.wake = make(chan struct{})
}

func (b *lateBoard) state() (bool, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.held, b.wake
}

func (b *lateBoard) Inputs(queue int, in ...hal.Input) (hal.InputGroup, error) {
	g, err := b.Board.Inputs(queue, in...)
	if err != nil {
		return nil, err
	}
	late := &lateGroup{InputGroup: g, edges: make(chan hal.Edge, queue)}
	go late.bring(b)
	return late, nil
}

type lateGroup struct {
	hal.InputGroup
	edges chan hal.Edge
}

func (g *lateGroup) Edges() <-chan hal.Edge { return g.edges }

func (g *lateGroup) bring(b *lateBoard) {
	defer close(g.edges)
	var kept []hal.Edge
	for {
		held, wake := b.state()
		if !held {
			for _, e := range kept {
				g.edges <- e
			}
			kept = nil
		}
		select {
		case <-wake:
		case e, ok := <-g.InputGroup.Edges():
			if !ok {
				return
			}
			kept = append(kept, e)
		}
	}
}

// The edges of a frame stop coming in the middle of a pulse, the lines are high
// again, and the timer fires in time: the reader waits for what must still come,
// as long as it can be believed to come.
func TestReaderEdgesLate(t *testing.T) {
	const gap = time.Millisecond // the frame's silence is 5 ms
	tests := []struct {
		name  string
		late  time.Duration // after the last edge
		want  []string
		fault string
	}{
		{"in time", 0, []string{"26:26831000"}, ""},
		{"later than the silence", 7 * time.Millisecond, []string{"26:26831000"}, ""},
		{"as late as it waits", 24 * time.Millisecond, []string{"26:26831000"}, ""},
		{"lost for good", 100 * time.Millisecond, nil, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newLateBoard()
				d := newDesk()
				_, stop := start(t, config(), b, d, nil)
				b.Wiegand(d0, d1, frame26[:25], gap)
				time.Sleep(gap - haltest.PulseWidth)
				last := d0
				if frame26[25] == '1' {
					last = d1
				}
				b.Drive(last, hal.Low)
				synctest.Wait()
				b.hold(true)
				time.Sleep(haltest.PulseWidth)
				b.Drive(last, hal.High) // the decoder does not hear of it
				time.Sleep(tt.late)
				b.hold(false)
				time.Sleep(time.Second)
				seen, _, events := d.take()
				if diff := cmp.Diff(tt.want, seen); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
				if len(events) != 0 {
					t.Errorf("events: %v", events)
				}
				b.Wiegand(d0, d1, frame26, gap)
				time.Sleep(time.Second)
				if seen, _, _ := d.take(); len(seen) != 1 {
					t.Errorf("the frame after it: %v", seen)
				}
				if err := stop(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// Half of a frame is late, whole pulses among it: the level of a line tells that
// at least one edge is to come, and with it come the others.
func TestReaderHalfAFrameLate(t *testing.T) {
	for _, late := range []time.Duration{0, 8 * time.Millisecond, 15 * time.Millisecond} {
		t.Run(fmt.Sprint(late), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newLateBoard()
				d := newDesk()
				_, stop := start(t, config(), b, d, nil)
				const gap = 200 * time.Microsecond
				b.Wiegand(d0, d1, frame37[:20], gap)
				time.Sleep(gap - haltest.PulseWidth)
				line := map[byte]hal.LineName{'0': d0, '1': d1}[frame37[20]]
				b.Drive(line, hal.Low)
				synctest.Wait()
				b.hold(true)
				time.Sleep(haltest.PulseWidth)
				b.Drive(line, hal.High)
				time.Sleep(gap - haltest.PulseWidth)
				b.Wiegand(d0, d1, frame37[21:], gap)
				time.Sleep(late)
				b.hold(false)
				time.Sleep(time.Second)
				seen, _, events := d.take()
				if diff := cmp.Diff([]string{bits(t, frame37).Text()}, seen); diff != "" || len(events) != 0 {
					t.Errorf("events %v (-want +got):\n%s", events, diff)
				}
				if err := stop(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestReaderLostEdges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b haltest.Board
		d := newDesk()
		var log bytes.Buffer
		_, stop := start(t, config(), &b, d, slog.New(slog.NewTextHandler(&log, nil)))
		b.LoseEdges(d0, 3)
		b.Wiegand(d0, d1, frame26, time.Millisecond)
		time.Sleep(time.Second)
		if seen, _, _ := d.take(); len(seen) != 0 {
			t.Errorf("a frame with a hole was presented: %v", seen)
		}
		b.Wiegand(d0, d1, frame26, time.Millisecond)
		time.Sleep(time.Second)
		if seen, _, _ := d.take(); len(seen) != 1 {
			t.Errorf("the frame after it: %v", seen)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		if !strings.Contains(log.String(), "edges lost") || strings.Contains(log.String(), "2683") {
			t.Errorf("log: %s", log.String())
		}
	})
}
