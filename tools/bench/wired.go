package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"gatehouse/agent/app"
	"gatehouse/agent/card"
	"gatehouse/agent/config"
	"gatehouse/agent/site"
	"gatehouse/hal"
	"gatehouse/hal/haltest"
)

// wiredBoard is the fake board with reader lines whose edges the benchmark
// queues itself, and strikes that note when they are commanded.
type wiredBoard struct {
	*haltest.Board
	wires   map[hal.LineName]*wire   // by D0
	strikes map[hal.LineName]*strike // by line
}

// Inputs gives a reader its wire, and everything else the fake's lines.
func (b *wiredBoard) Inputs(queue int, in ...hal.Input) (hal.InputGroup, error) {
	w := b.wires[in[0].Line]
	if w == nil {
		return b.Board.Inputs(queue, in...)
	}
	if w.edges != nil {
		return nil, fmt.Errorf("board: %s: %w", w.d0, hal.ErrBusy)
	}
	w.edges = make(chan hal.Edge, queue)
	close(w.claimed)
	return w, nil
}

// Output notes the commands of a strike.
func (b *wiredBoard) Output(o hal.Output) (hal.OutputLine, error) {
	out, err := b.Board.Output(o)
	s := b.strikes[o.Line]
	if err != nil || s == nil {
		return out, err
	}
	s.OutputLine = out
	return s, nil
}

// strike is a line that notes when it was last energised.
type strike struct {
	hal.OutputLine
	at atomic.Int64 // since epoch; 0: it is not energised
}

// epoch is what the stamps of strikes count from.
var epoch = time.Now()

// Set notes the time of the command, and gives it.
func (s *strike) Set(v hal.Level) error {
	if v == hal.High {
		s.at.Store(int64(time.Since(epoch)))
	} else {
		s.at.Store(0)
	}
	return s.OutputLine.Set(v)
}

// wire is the two lines of one reader. Its stamps are its own: a frame of the
// benchmark has the slowest pace that a decoder takes, so that no timer ends it
// before the benchmark does.
type wire struct {
	d0, d1  hal.LineName
	claimed chan struct{} // closed when the reader has the lines
	edges   chan hal.Edge
	stamp   time.Duration
}

// wirePace is between two bits: the silence that ends the frame is four times
// as long.
const wirePace = 6 * time.Millisecond

// Edges returns the queue.
func (w *wire) Edges() <-chan hal.Edge { return w.edges }

// Read says that the lines are at rest.
func (w *wire) Read(hal.LineName) (hal.Level, error) { return hal.High, nil }

// Close gives nothing back: the board is used once.
func (w *wire) Close() error { return nil }

// push queues an edge; one that finds no room is lost, as in the kernel.
func (w *wire) push(line hal.LineName, level hal.Level) {
	select {
	case w.edges <- hal.Edge{Line: line, Level: level, At: w.stamp}:
	default:
	}
}

// send queues the pulses of a frame, all but its end.
func (w *wire) send(b card.Bits) {
	for i := range b.Len() {
		line := w.d0
		if b.Bit(i) {
			line = w.d1
		}
		w.stamp += wirePace
		w.push(line, hal.Low)
		w.stamp += haltest.PulseWidth
		w.push(line, hal.High)
	}
}

// end queues the edge that ends the frame: one of no line, from which a decoder
// learns that the silence is over and nothing else. So the reader presents the
// frame at an instant that is known, where a timer would come late.
func (w *wire) end() {
	w.stamp += 5 * wirePace
	w.push("", hal.High)
}

// gate is a door of a whole agent, with its reader.
type gate struct {
	door   site.DoorID
	strike *strike
	wire   *wire
}

// agentSite is a whole agent in this process.
type agentSite struct {
	app   *app.App
	board *wiredBoard
	gates []*gate
	stop  func() error
}

// newWiredBoard makes a board for a number of doors; gate i has the strike Si
// and the reader lines Ai and Bi.
func newWiredBoard(doors int) (*wiredBoard, []*gate) {
	b := &wiredBoard{Board: new(haltest.Board), wires: map[hal.LineName]*wire{}, strikes: map[hal.LineName]*strike{}}
	var gates []*gate
	for i := range doors {
		g := &gate{door: gateID(i), strike: new(strike), wire: b.wire(i)}
		b.strikes[hal.LineName(fmt.Sprintf("S%d", i))] = g.strike
		gates = append(gates, g)
	}
	return b, gates
}

// wire adds the lines Ai and Bi.
func (b *wiredBoard) wire(i int) *wire {
	w := &wire{d0: hal.LineName(fmt.Sprintf("A%d", i)), d1: hal.LineName(fmt.Sprintf("B%d", i)), claimed: make(chan struct{}), stamp: time.Hour}
	b.wires[w.d0] = w
	return w
}

func gateID(i int) site.DoorID { return site.DoorID(fmt.Sprintf("gate%02d", i)) }

// startSite runs a whole agent on the board until stop. change, where there is
// one, alters the validated settings.
func startSite(ctx context.Context, settings string, change func(*config.Config), board *wiredBoard, gates []*gate) (*agentSite, error) {
	cfg, issues := config.Parse([]byte(settings), "bench.yaml", config.Options{})
	if cfg == nil {
		return nil, fmt.Errorf("settings: %v", issues)
	}
	if change != nil {
		change(cfg)
	}
	a, err := app.New(cfg, app.Hardware{Board: board, Ports: new(haltest.Ports), Clock: new(haltest.Clock)}, app.Options{Version: "bench"})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	s := &agentSite{app: a, board: board, gates: gates, stop: func() error {
		cancel()
		return <-done
	}}
	select {
	case <-a.Ready():
	case err := <-done:
		cancel()
		return nil, errors.Join(errors.New("the agent ended before it was ready"), err)
	}
	for _, w := range board.wires {
		select {
		case <-w.claimed:
		case <-time.After(10 * time.Second):
			return nil, errors.Join(fmt.Errorf("the reader on %s does not start", w.d0), s.stop())
		}
	}
	return s, nil
}

// strikeWait bounds the wait for a strike, and for its relock.
const strikeWait = 5 * time.Second

// until polls. What it waits for is stamped where it happens.
func until(ctx context.Context, what string, ok func() bool) error {
	for end := time.Now().Add(strikeWait); !ok(); time.Sleep(time.Millisecond) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if time.Now().After(end) {
			return fmt.Errorf("%s: not within %s", what, strikeWait)
		}
	}
	return nil
}

// ready waits until a gate is locked and its reader has taken what was queued.
func (g *gate) ready(ctx context.Context) error {
	return until(ctx, string(g.door)+" is locked", func() bool { return g.strike.at.Load() == 0 && len(g.wire.edges) == 0 })
}

// passes are the times from the end of frames to strikes.
type passes struct {
	took  samples
	early int // frames that the reader's timer had ended before
}

// present brings a card to each of the gates at once, and waits for the strikes.
// Every one must open.
func present(ctx context.Context, gates []*gate, frame func(*gate) card.Bits, out *passes) error {
	for _, g := range gates {
		if err := g.ready(ctx); err != nil {
			return err
		}
	}
	for _, g := range gates {
		g.wire.send(frame(g))
	}
	for end := time.Now().Add(10 * time.Millisecond); time.Now().Before(end); time.Sleep(500 * time.Microsecond) {
		waiting := 0
		for _, g := range gates {
			waiting += len(g.wire.edges)
		}
		if waiting == 0 {
			break
		}
	}
	runtime.Gosched()
	began := time.Since(epoch)
	for _, g := range gates {
		g.wire.end()
	}
	opened := make([]time.Duration, len(gates))
	err := until(ctx, "strikes of cards that have the right", func() bool {
		all := true
		for i, g := range gates {
			if opened[i] == 0 {
				opened[i] = time.Duration(g.strike.at.Load())
			}
			all = all && opened[i] != 0
		}
		return all
	})
	if err != nil {
		return err
	}
	for _, at := range opened {
		if at < began {
			out.early++
			continue
		}
		out.took = append(out.took, max(at-began, 1))
	}
	return nil
}
