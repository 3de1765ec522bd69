package haltest

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"gatehouse/hal"
)

var _ hal.Board = (*Board)(nil)

// Change is one level that an output took.
type Change struct {
	Line  hal.LineName
	Level hal.Level
	At    time.Duration // on the board's clock, as an edge's stamp
	Claim bool          // the initial level of a claim
}

// Board is a fake hal.Board. The zero value has every line that is asked for;
// NewBoard makes one that has only those named.
//
// An input that nobody drove rests at the level of its pull: high for PullUp,
// low otherwise.
type Board struct {
	mu      sync.Mutex // guards following; never held while waiting
	known   []hal.LineName
	start   time.Time // of the board's clock; zero until first use
	lines   map[hal.LineName]*line
	history []Change
	watches []chan Change
	lost    bool
}

// line is the state of one line.
type line struct {
	level  hal.Level
	driven bool // someone set the level
	output bool
	owner  any    // *output or *group; nil when free
	group  *group // the owner, when that is a group

	failClaim, failSet, failRead error
}

// NewBoard returns a board that has only the given lines. All others are
// hal.ErrNoLine.
func NewBoard(lines ...hal.LineName) *Board {
	return &Board{known: append([]hal.LineName{}, lines...)}
}

// clockBase keeps stamps away from zero, as on a machine that has been up.
const clockBase = time.Hour

// Now is the board's clock: what the stamp of an edge would be at this moment.
func (b *Board) Now() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.nowLocked()
}

func (b *Board) nowLocked() time.Duration {
	if b.start.IsZero() {
		b.start = time.Now()
	}
	return clockBase + time.Since(b.start)
}

// line returns the state of a line, or nil where the board has none.
func (b *Board) lineLocked(name hal.LineName) *line {
	if l := b.lines[name]; l != nil {
		return l
	}
	if name == "" || b.known != nil && !slices.Contains(b.known, name) {
		return nil
	}
	if b.lines == nil {
		b.lines = make(map[hal.LineName]*line)
	}
	l := &line{}
	b.lines[name] = l
	return l
}

// claimable returns the line when it can be claimed now.
func (b *Board) claimableLocked(name hal.LineName) (*line, error) {
	l := b.lineLocked(name)
	switch {
	case l == nil:
		return nil, fmt.Errorf("board: %s: %w", name, hal.ErrNoLine)
	case l.failClaim != nil:
		return nil, fmt.Errorf("board: %s: %w", name, l.failClaim)
	case l.owner != nil:
		return nil, fmt.Errorf("board: %s: %w", name, hal.ErrBusy)
	}
	return l, nil
}

// Output implements hal.Board. The line has its initial level when Output
// returns, and that level is the first entry of its history.
func (b *Board) Output(o hal.Output) (hal.OutputLine, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.lost {
		return nil, fmt.Errorf("board: %s: %w", o.Line, hal.ErrClosed)
	}
	l, err := b.claimableLocked(o.Line)
	if err != nil {
		return nil, err
	}
	out := &output{b: b, name: o.Line, l: l}
	l.owner, l.output = out, true
	b.setLocked(o.Line, l, o.Initial, true)
	return out, nil
}

func (b *Board) setLocked(name hal.LineName, l *line, v hal.Level, claim bool) {
	l.level, l.driven = v, true
	c := Change{Line: name, Level: v, At: b.nowLocked(), Claim: claim}
	b.history = append(b.history, c)
	for _, w := range b.watches {
		select {
		case w <- c:
		default:
		}
	}
}

// Inputs implements hal.Board.
func (b *Board) Inputs(queue int, in ...hal.Input) (hal.InputGroup, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.lost:
		return nil, fmt.Errorf("board: inputs: %w", hal.ErrClosed)
	case queue < 1:
		return nil, fmt.Errorf("board: inputs: queue %d: want at least 1", queue)
	case len(in) == 0:
		return nil, fmt.Errorf("board: inputs: no lines")
	}
	seen := make(map[hal.LineName]bool, len(in))
	for _, i := range in {
		if _, err := b.claimableLocked(i.Line); err != nil {
			return nil, err
		}
		if seen[i.Line] {
			return nil, fmt.Errorf("board: %s: asked for twice: %w", i.Line, hal.ErrBusy)
		}
		seen[i.Line] = true
	}
	g := &group{b: b, edges: make(chan hal.Edge, queue)}
	for _, i := range in {
		l := b.lineLocked(i.Line)
		l.owner, l.group, l.output = g, g, false
		if !l.driven {
			l.level = hal.Level(i.Pull == hal.PullUp)
		}
		g.lines = append(g.lines, i)
	}
	return g, nil
}

// Lines implements hal.Board. A zero board returns the lines used so far.
func (b *Board) Lines() ([]hal.LineName, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.lost {
		return nil, fmt.Errorf("board: lines: %w", hal.ErrClosed)
	}
	out := slices.Clone(b.known)
	if b.known == nil {
		for n := range b.lines {
			out = append(out, n)
		}
	}
	slices.Sort(out)
	return out, nil
}

// Close implements hal.Board: all claims end, nothing is driven. The board can
// be claimed again, as after a restart of the agent.
func (b *Board) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.releaseLocked()
	return nil
}

func (b *Board) releaseLocked() {
	for _, l := range b.lines {
		if l.group != nil {
			l.group.closeLocked()
		}
		l.owner, l.group = nil, nil
	}
}

// output is a claimed output of a Board.
type output struct {
	b    *Board
	name hal.LineName
	l    *line
}

func (o *output) Set(v hal.Level) error {
	o.b.mu.Lock()
	defer o.b.mu.Unlock()
	switch {
	case o.l.owner != o || o.b.lost:
		return fmt.Errorf("board: set %s: %w", o.name, hal.ErrClosed)
	case o.l.failSet != nil:
		return fmt.Errorf("board: set %s: %w", o.name, o.l.failSet)
	}
	if o.l.level != v {
		o.b.setLocked(o.name, o.l, v, false)
	}
	return nil
}

func (o *output) Close() error {
	o.b.mu.Lock()
	defer o.b.mu.Unlock()
	if o.l.owner == o {
		o.l.owner = nil
	}
	return nil
}

// group is a claimed set of inputs of a Board. Its fields are guarded by the
// board's lock; sends to edges never wait.
type group struct {
	b      *Board
	lines  []hal.Input
	edges  chan hal.Edge
	lost   bool // the next edge says that some were lost
	drop   int  // edges to lose, injected
	closed bool
}

func (g *group) Edges() <-chan hal.Edge { return g.edges }

func (g *group) Read(name hal.LineName) (hal.Level, error) {
	g.b.mu.Lock()
	defer g.b.mu.Unlock()
	if g.closed {
		return hal.Low, fmt.Errorf("board: read %s: %w", name, hal.ErrClosed)
	}
	for _, i := range g.lines {
		if i.Line == name {
			l := g.b.lines[name]
			if l.failRead != nil {
				return hal.Low, fmt.Errorf("board: read %s: %w", name, l.failRead)
			}
			return l.level, nil
		}
	}
	return hal.Low, fmt.Errorf("board: read %s: not in this group: %w", name, hal.ErrNoLine)
}

func (g *group) Close() error {
	g.b.mu.Lock()
	defer g.b.mu.Unlock()
	if g.closed {
		return nil
	}
	for _, i := range g.lines {
		l := g.b.lines[i.Line]
		l.owner, l.group = nil, nil
	}
	g.closeLocked()
	return nil
}

func (g *group) closeLocked() {
	if !g.closed {
		g.closed = true
		close(g.edges)
	}
}

func (g *group) sendLocked(e hal.Edge) {
	if g.closed {
		return
	}
	if g.drop > 0 {
		g.drop--
		g.lost = true
		return
	}
	e.Lost = g.lost
	select {
	case g.edges <- e:
		g.lost = false
	default:
		g.lost = true
	}
}
