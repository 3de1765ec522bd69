package gpio

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"sync"

	"github.com/warthog618/go-gpiocdev/uapi"
	"golang.org/x/sys/unix"

	"gatehouse/hal"
)

var (
	_ hal.Board      = (*Board)(nil)
	_ hal.OutputLine = (*output)(nil)
	_ hal.InputGroup = (*group)(nil)
)

// consumer is what gpioinfo shows as the holder of our lines.
const consumer = "gatehouse"

// Board is the GPIO lines of this machine. Make it with Open.
type Board struct {
	k   kernel
	log *slog.Logger

	mu     sync.Mutex // guards following; not held over calls to the kernel
	closed bool
	held   map[io.Closer]struct{}
}

// Open returns the board of this machine. It fails where no GPIO chip can be
// read, and says why. It claims nothing. log may be nil.
func Open(log *slog.Logger) (*Board, error) { return open(system(), log) }

func open(k kernel, log *slog.Logger) (*Board, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	chips, err := k.scan()
	if len(chips) == 0 {
		return nil, fmt.Errorf("gpio: %w", err)
	}
	if err != nil {
		log.Warn("gpio: some chips cannot be read", "err", err)
	}
	return &Board{k: k, log: log, held: make(map[io.Closer]struct{})}, nil
}

// Model returns what the machine calls itself, "Raspberry Pi 4 Model B Rev 1.4";
// empty where it does not say. For check and doctor.
func (b *Board) Model() string { return b.k.model() }

// Lines implements hal.Board: the kernel's name of each line, or chip:offset
// where it has none or several have it.
func (b *Board) Lines() ([]hal.LineName, error) {
	names, err := b.k.lines()
	if err != nil {
		return nil, fmt.Errorf("gpio: lines: %w", err)
	}
	return names, nil
}

// Output implements hal.Board.
func (b *Board) Output(o hal.Output) (hal.OutputLine, error) {
	p, err := b.k.find(o.Line)
	if err != nil {
		return nil, fmt.Errorf("gpio: output %s: %w", o.Line, err)
	}
	f, err := b.request(p.chip, outputRequest(p.offset, o.Initial))
	if err != nil {
		return nil, fmt.Errorf("gpio: output %s: %w", o.Line, err)
	}
	out := &output{b: b, name: o.Line, f: f}
	if err := b.hold(out); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("gpio: output %s: %w", o.Line, err)
	}
	return out, nil
}

// Inputs implements hal.Board. All lines must lie on one chip.
func (b *Board) Inputs(queue int, lines ...hal.Input) (hal.InputGroup, error) {
	if queue < 1 || len(lines) == 0 {
		return nil, fmt.Errorf("gpio: inputs: %d lines with a queue of %d: want at least one of each", len(lines), queue)
	}
	g := &group{b: b, byOffset: make(map[uint32]hal.LineName), edges: make(chan hal.Edge, queue), done: make(chan struct{})}
	var on *chip
	var offsets []int
	for _, l := range lines {
		p, err := b.k.find(l.Line)
		if err != nil {
			return nil, fmt.Errorf("gpio: input %s: %w", l.Line, err)
		}
		if on != nil && p.chip.path != on.path {
			return nil, fmt.Errorf("gpio: input %s: on %s, and %s on %s: a group wants one chip", l.Line, p.chip.name, lines[0].Line, on.name)
		}
		if other, twice := g.byOffset[uint32(p.offset)]; twice {
			return nil, fmt.Errorf("gpio: input %s: the same line as %s: %w", l.Line, other, hal.ErrBusy)
		}
		on = p.chip
		g.names, offsets = append(g.names, l.Line), append(offsets, p.offset)
		g.byOffset[uint32(p.offset)] = l.Line
	}
	req, err := inputRequest(offsets, lines, queue)
	if err != nil {
		return nil, fmt.Errorf("gpio: inputs %v: %w", g.names, err)
	}
	if g.f, err = b.request(on, req); err != nil {
		return nil, fmt.Errorf("gpio: inputs %v: %w", g.names, err)
	}
	if err := b.hold(g); err != nil {
		_ = g.f.Close()
		return nil, fmt.Errorf("gpio: inputs %v: %w", g.names, err)
	}
	go g.watch(g.start())
	return g, nil
}

// request asks the kernel for lines. The file is ready for the poller.
func (b *Board) request(c *chip, r *uapi.LineRequest) (*os.File, error) {
	f, err := b.k.open(c.path)
	if err != nil {
		return nil, mapped(err)
	}
	defer func() { _ = f.Close() }() // a request outlives its chip's file
	if err := b.k.request(f, r); err != nil {
		return nil, mapped(err)
	}
	if err := unix.SetNonblock(int(r.Fd), true); err != nil {
		_ = unix.Close(int(r.Fd))
		return nil, err
	}
	return os.NewFile(uintptr(r.Fd), c.name), nil
}

// hold remembers what Close must give back.
func (b *Board) hold(c io.Closer) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return hal.ErrClosed
	}
	b.held[c] = struct{}{}
	return nil
}

func (b *Board) drop(c io.Closer) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.held, c)
}

// Close implements hal.Board.
func (b *Board) Close() error {
	b.mu.Lock()
	b.closed = true
	held := make([]io.Closer, 0, len(b.held))
	for c := range b.held {
		held = append(held, c)
	}
	b.mu.Unlock()
	var errs []error
	for _, c := range held {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

// mapped gives the errors that callers branch on their names and keeps the cause.
func mapped(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EBUSY):
		return fmt.Errorf("%w: %w", hal.ErrBusy, err)
	case errors.Is(err, fs.ErrNotExist): // the chip went after it was found
		return fmt.Errorf("%w: %w", hal.ErrNoLine, err)
	case errors.Is(err, unix.ENODEV), errors.Is(err, os.ErrClosed):
		return fmt.Errorf("%w: %w", hal.ErrClosed, err)
	}
	return err
}

// output is one claimed output.
type output struct {
	b    *Board
	name hal.LineName
	f    *os.File
}

// Set implements hal.OutputLine.
func (o *output) Set(v hal.Level) error {
	err := o.b.k.setValues(o.f, uapi.LineValues{Mask: 1, Bits: uapi.LineBitmap(v.Int())})
	if err != nil {
		return fmt.Errorf("gpio: set %s %v: %w", o.name, v, mapped(err))
	}
	return nil
}

// Close implements hal.OutputLine.
func (o *output) Close() error {
	o.b.drop(o)
	if err := o.f.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return fmt.Errorf("gpio: close %s: %w", o.name, err)
	}
	return nil
}
