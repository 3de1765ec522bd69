package sim

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"gatehouse/hal"
)

// answerWait bounds one request: the holder answers at once unless it hangs. A
// holder that does not is treated as dead.
const answerWait = time.Second

// Board is the agent's side of a simulated board. It is made by Dial or Ensure.
// When the holder dies, every call returns hal.ErrClosed and the Edges channels
// are closed.
type Board struct {
	path    string
	conn    net.Conn
	answers chan message  // capacity 1: the answer to the request in flight
	turn    chan struct{} // capacity 1: who holds the token makes a request
	lost    chan struct{} // closed by receive when the connection has ended
	trusted atomic.Bool

	mu sync.Mutex
	// guards following
	groups map[hal.LineName]*group
}

var _ hal.Board = (*Board)(nil)

// Dial connects to the holder that serves the socket at path.
func Dial(ctx context.Context, path string) (*Board, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("sim: dial: %w", socketError(path, err))
	}
	return newBoard(path, conn)
}

// newBoard takes over conn. It returns when the holder has answered.
func newBoard(path string, conn net.Conn) (*Board, error) {
	b := &Board{
		path: path, conn: conn,
		answers: make(chan message, 1), turn: make(chan struct{}, 1), lost: make(chan struct{}),
		groups: make(map[hal.LineName]*group),
	}
	b.turn <- struct{}{}
	go b.receive() // ends with conn; Close and newBoard's error wait for it
	if _, err := b.ask(request{Clock: &clockRequest{Watch: true}}, answerWait); err != nil {
		return nil, errors.Join(fmt.Errorf("sim: dial: %w", err), b.Close())
	}
	return b, nil
}

// receive sorts what the holder sends until the connection ends.
func (b *Board) receive() {
	defer b.end()
	r := bufio.NewReader(b.conn)
	for {
		line, tooLong, err := readLine(r)
		if err != nil || tooLong {
			return
		}
		m, err := parseMessage(line)
		if err != nil {
			return
		}
		if m.Clock != nil {
			b.trusted.Store(m.Clock.Trusted)
		}
		switch {
		case m.At == nil:
			select {
			case b.answers <- m:
			default: // nobody asked: the request had given up and closed conn
			}
		case m.Clock == nil:
			b.edge(hal.Edge{Line: m.Line, Level: *m.Level == 1, At: time.Duration(*m.At), Lost: m.Lost})
		}
	}
}

// end marks the board as lost and ends every group.
func (b *Board) end() {
	drop(b.conn)
	b.trusted.Store(false)
	close(b.lost)
	b.mu.Lock()
	groups := b.groups
	b.groups = nil
	b.mu.Unlock()
	for _, g := range groups {
		g.end()
	}
}

func (b *Board) edge(e hal.Edge) {
	b.mu.Lock()
	g := b.groups[e.Line]
	b.mu.Unlock()
	if g != nil {
		g.edge(e)
	}
}

// ask makes one request and waits for its answer.
func (b *Board) ask(r request, wait time.Duration) (message, error) {
	select {
	case <-b.turn:
	case <-b.lost:
		return message{}, hal.ErrClosed
	}
	defer func() { b.turn <- struct{}{} }()
	line, err := json.Marshal(r)
	if err != nil {
		return message{}, err
	}
	if err := b.conn.SetWriteDeadline(time.Now().Add(wait)); err != nil {
		return message{}, fmt.Errorf("%w: %w", hal.ErrClosed, err)
	}
	if _, err := b.conn.Write(append(line, '\n')); err != nil {
		drop(b.conn)
		return message{}, fmt.Errorf("%w: %w", hal.ErrClosed, err)
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case m := <-b.answers:
		return m, m.err()
	case <-b.lost:
		select {
		case m := <-b.answers: // it came with the end
			return m, m.err()
		default:
			return message{}, hal.ErrClosed
		}
	case <-timer.C:
		drop(b.conn) // an answer that came later would be taken for the next one
		return message{}, fmt.Errorf("%w: the holder did not answer in %v", hal.ErrClosed, wait)
	}
}

// Declare makes lines known to the holder. A line that it knows already, in
// the same direction, keeps its level. Declare before the first Output or
// Inputs.
func (b *Board) Declare(lines ...Line) error {
	if len(lines) == 0 {
		return nil
	}
	r := request{}
	for _, l := range lines {
		r.Lines = append(r.Lines, declaration{Line: l.Name, Dir: l.Dir, Rest: l.Rest.Int()})
	}
	if _, err := b.ask(r, answerWait); err != nil {
		return fmt.Errorf("sim: declare: %w", err)
	}
	return nil
}

// Output claims a line as output, with its level at once.
func (b *Board) Output(o hal.Output) (hal.OutputLine, error) {
	v := o.Initial.Int()
	if _, err := b.ask(request{Own: []hal.LineName{o.Line}, Level: &v}, answerWait); err != nil {
		return nil, fmt.Errorf("sim: output: %w", err)
	}
	return &output{board: b, name: o.Line}, nil
}

// Inputs claims lines as one group. Pull does nothing here.
func (b *Board) Inputs(queue int, lines ...hal.Input) (hal.InputGroup, error) {
	if len(lines) == 0 || queue < 1 {
		return nil, fmt.Errorf("sim: inputs: %d lines, queue of %d: want at least 1 of each", len(lines), queue)
	}
	g := newGroup(b, queue, lines)
	if err := unique(g.names); err != nil {
		return nil, fmt.Errorf("sim: inputs: %w", err)
	}
	// The group must be known before the claim: events may follow its answer.
	b.mu.Lock()
	closed := b.groups == nil
	busy := slices.ContainsFunc(g.names, func(n hal.LineName) bool { return b.groups[n] != nil })
	for _, n := range g.names {
		if !closed && !busy {
			b.groups[n] = g
		}
	}
	b.mu.Unlock()
	if closed {
		return nil, fmt.Errorf("sim: inputs: %w", hal.ErrClosed)
	}
	if busy {
		return nil, fmt.Errorf("sim: inputs: %s: %w", g.names, hal.ErrBusy)
	}
	m, err := b.ask(request{Own: g.names}, answerWait)
	if err != nil {
		b.forget(g)
		return nil, fmt.Errorf("sim: inputs: %w", err)
	}
	g.begin(m.Lines)
	return g, nil
}

func (b *Board) forget(g *group) {
	b.mu.Lock()
	for _, n := range g.names {
		delete(b.groups, n)
	}
	b.mu.Unlock()
	g.end()
}

// Lines returns the names of all declared lines.
func (b *Board) Lines() ([]hal.LineName, error) {
	m, err := b.ask(request{List: true}, answerWait)
	if err != nil {
		return nil, fmt.Errorf("sim: lines: %w", err)
	}
	names := make([]hal.LineName, 0, len(m.Lines))
	for _, l := range m.Lines {
		names = append(names, l.Line)
	}
	return names, nil
}

// Level reads any line, owned or not.
func (b *Board) Level(n hal.LineName) (hal.Level, error) {
	m, err := b.ask(request{Get: &n}, answerWait)
	if err != nil {
		return hal.Low, fmt.Errorf("sim: %w", err)
	}
	if m.Level == nil {
		return hal.Low, fmt.Errorf("sim: get: %s: answer without level", n)
	}
	return *m.Level == 1, nil
}

// Close gives back what is left, drives nothing, and waits for the end of the
// connection.
func (b *Board) Close() error {
	err := b.conn.Close()
	<-b.lost
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// Lost is closed when the board is closed or the holder has died.
func (b *Board) Lost() <-chan struct{} { return b.lost }

// Clock is the machine's clock with the trust that was simulated for it.
// Synchronised is false once the board is lost. It makes no request.
func (b *Board) Clock() hal.Clock { return clock{b} }

type clock struct{ board *Board }

func (clock) Now() time.Time        { return time.Now() }
func (c clock) Synchronised() bool  { return c.board.trusted.Load() }
func levelPointer(l hal.Level) *int { v := l.Int(); return &v }

type output struct {
	board *Board
	name  hal.LineName
}

func (o *output) Set(l hal.Level) error {
	if _, err := o.board.ask(request{Drive: &o.name, Level: levelPointer(l)}, answerWait); err != nil {
		return fmt.Errorf("sim: %w", err)
	}
	return nil
}

func (o *output) Close() error {
	if _, err := o.board.ask(request{Disown: []hal.LineName{o.name}}, answerWait); err != nil && !errors.Is(err, hal.ErrClosed) {
		return fmt.Errorf("sim: close: %w", err)
	}
	return nil
}
