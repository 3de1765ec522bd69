package sim

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"gatehouse/hal"
)

// group is a set of claimed inputs. Its channel is closed by end, under mu, and
// written under mu without ever blocking.
type group struct {
	board *Board
	names []hal.LineName

	mu sync.Mutex
	// guards following
	edges    chan hal.Edge
	lost     bool
	ended    bool
	debounce map[hal.LineName]*debounce
}

// debounce holds back the changes of one line until its level has lasted.
type debounce struct {
	period time.Duration
	known  bool // told holds a level
	told   hal.Level
	latest hal.Edge
	timer  *time.Timer // nil when nothing is held back
}

func newGroup(b *Board, queue int, lines []hal.Input) *group {
	g := &group{board: b, edges: make(chan hal.Edge, queue), debounce: make(map[hal.LineName]*debounce)}
	for _, l := range lines {
		g.names = append(g.names, l.Line)
		if l.Debounce > 0 {
			g.debounce[l.Line] = &debounce{period: l.Debounce}
		}
	}
	return g
}

// begin gives debounced lines the level from which they start.
func (g *group) begin(states []lineState) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, s := range states {
		if d := g.debounce[s.Line]; d != nil && !d.known {
			d.known, d.told = true, s.Level == 1
		}
	}
}

// edge takes a change from the holder.
func (g *group) edge(e hal.Edge) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ended {
		return
	}
	d := g.debounce[e.Line]
	if d == nil {
		g.send(e)
		return
	}
	g.lost = g.lost || e.Lost
	d.latest = e
	if d.timer != nil {
		d.timer.Stop()
	}
	var t *time.Timer
	t = time.AfterFunc(d.period, func() { g.settled(d, &t) })
	d.timer = t
}

// settled is called when a level has lasted. The stamp is that of the change
// plus the period, as the kernel stamps it.
func (g *group) settled(d *debounce, mine **time.Timer) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ended || d.timer != *mine {
		return
	}
	d.timer = nil
	if !d.known || d.latest.Level != d.told {
		d.known, d.told = true, d.latest.Level
		e := d.latest
		e.At += d.period
		g.send(e)
	}
}

// send queues an edge or marks the loss. g.mu is held.
func (g *group) send(e hal.Edge) {
	e.Lost = e.Lost || g.lost
	select {
	case g.edges <- e:
		g.lost = false
	default:
		g.lost = true
	}
}

func (g *group) end() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ended {
		return
	}
	g.ended = true
	for _, d := range g.debounce {
		if d.timer != nil {
			d.timer.Stop()
		}
	}
	close(g.edges)
}

// Edges is the queue of changes.
func (g *group) Edges() <-chan hal.Edge { return g.edges }

// Read returns the level of a line; of a debounced one, the level last told.
func (g *group) Read(n hal.LineName) (hal.Level, error) {
	if !slices.Contains(g.names, n) {
		return hal.Low, fmt.Errorf("sim: read: %s is not of this group: %w", n, hal.ErrNoLine)
	}
	g.mu.Lock()
	ended, d := g.ended, g.debounce[n]
	var told hal.Level
	if d != nil {
		told = d.told
	}
	g.mu.Unlock()
	if ended {
		return hal.Low, fmt.Errorf("sim: read: %s: %w", n, hal.ErrClosed)
	}
	if d != nil {
		return told, nil
	}
	return g.board.Level(n)
}

// Close gives the lines back and closes Edges.
func (g *group) Close() error {
	g.mu.Lock()
	ended := g.ended
	g.mu.Unlock()
	if ended {
		return nil
	}
	_, err := g.board.ask(request{Disown: g.names}, answerWait)
	g.board.forget(g)
	if err != nil && !errors.Is(err, hal.ErrClosed) {
		return fmt.Errorf("sim: close: %w", err)
	}
	return nil
}
