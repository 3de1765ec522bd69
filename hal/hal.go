// Package hal holds the contracts between gatehouse and its hardware: digital
// lines, serial ports and the clock. It has interfaces and plain types, and the
// clock of a Linux machine (SystemClock). The other implementations are hal/gpio
// and hal/serial (Linux), hal/sim (the simulated board) and hal/haltest (fakes
// for tests).
//
// # Safety
//
// An output is requested with the level it takes at once: there is no instant
// in which a claimed line has another. Closing an output drives nothing; who
// owns a line sets its safe level first (design.md promise 2). A released GPIO
// line has no defined level; docs/wiring.md asks for a resistor.
//
// # Time
//
// Edges are stamped where they happen (the kernel, the simulated board), in
// CLOCK_MONOTONIC, so that the gap between two edges does not depend on when a
// goroutine ran. Compare stamps with each other only.
package hal

import (
	"errors"
	"io"
	"time"
)

// LineName names a digital line as the settings do: "GPIO17", or a name that
// the board knows.
type LineName string

// Level is the electrical level of a line.
type Level bool

// The levels.
const (
	Low  Level = false
	High Level = true
)

// String returns "low" or "high".
func (l Level) String() string {
	if l {
		return "high"
	}
	return "low"
}

// Int returns 0 or 1.
func (l Level) Int() int {
	if l {
		return 1
	}
	return 0
}

// Errors that callers branch on.
var (
	// ErrNoLine is returned when the board has no line of that name.
	ErrNoLine = errors.New("no such line")
	// ErrBusy is returned when another process, or another part of this one,
	// holds the line or the port.
	ErrBusy = errors.New("line or port is busy")
	// ErrClosed is returned by a call on something that was closed, and by a
	// board whose connection has ended.
	ErrClosed = errors.New("closed")
)

// Edge is one change of an input line.
type Edge struct {
	Line  LineName
	Level Level         // the level after the change
	At    time.Duration // CLOCK_MONOTONIC
	// Lost is true when edges of the group were lost before this one because
	// the queue was full. The owner must Read the lines again.
	Lost bool
}

// Pull asks for a bias resistor of the chip where it has one.
type Pull uint8

// The pulls. The zero value leaves the line as the board has it.
const (
	PullNone Pull = iota
	PullUp
	PullDown
)

// Input asks for one input line.
type Input struct {
	Line LineName
	Pull Pull
	// Debounce drops changes shorter than this; zero keeps each one. Wiegand
	// lines want zero.
	Debounce time.Duration
}

// Output asks for one output line.
type Output struct {
	Line LineName
	// Initial is the level from the first instant: the safe one.
	Initial Level
}

// OutputLine is a claimed output.
type OutputLine interface {
	// Set drives the line. It returns when the line has the level, never waits
	// for a network or a disk, and may be called from one goroutine at a time.
	Set(Level) error
	// Close gives the line back without driving it.
	Close() error
}

// InputGroup is a set of inputs that were requested together. Edges of all its
// lines arrive in the order in which they happened.
type InputGroup interface {
	// Edges is the queue of changes. It is closed after Close, and when the
	// board is lost. The reader of the channel must keep up; what does not fit
	// is dropped and marked on the next edge (Edge.Lost).
	Edges() <-chan Edge
	// Read returns the level of a line of the group now.
	Read(LineName) (Level, error)
	// Close gives the lines back.
	Close() error
}

// Board is a set of lines.
type Board interface {
	// Output claims a line as output. ErrNoLine, ErrBusy.
	Output(Output) (OutputLine, error)
	// Inputs claims lines as one group. queue is the number of edges that
	// must fit between the line and the reader of Edges; at least 1. All or
	// nothing. ErrNoLine, ErrBusy.
	Inputs(queue int, lines ...Input) (InputGroup, error)
	// Lines returns the names of all lines, for check and doctor.
	Lines() ([]LineName, error)
	// Close gives back what is left. It drives nothing.
	Close() error
}

// Port is an open serial port, 8 data bits, no parity, one stop bit.
type Port interface {
	io.ReadWriteCloser
	// SetReadTimeout bounds each following Read; a Read that times out returns
	// 0, nil. A negative value waits without end.
	SetReadTimeout(time.Duration) error
}

// Ports opens serial ports.
type Ports interface {
	// Open opens a port for this process alone. ErrBusy.
	Open(name string, baud int) (Port, error)
}

// Clock tells the wall clock and whether it can be believed.
type Clock interface {
	// Now is the wall clock, with Go's monotonic reading.
	Now() time.Time
	// Synchronised reports whether something outside (NTP, GNSS, a battery
	// backed clock that was set) vouches for Now.
	Synchronised() bool
}
