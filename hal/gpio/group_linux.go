package gpio

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/warthog618/go-gpiocdev/uapi"

	"gatehouse/hal"
)

// eventSize is the size of struct gpio_v2_line_event (linux/gpio.h):
// timestamp_ns u64, id u32, offset u32, seqno u32, line_seqno u32, 6 spare u32.
const eventSize = 48

// group is one claimed set of inputs.
type group struct {
	b        *Board
	names    []hal.LineName // in the order of the request
	byOffset map[uint32]hal.LineName
	f        *os.File
	edges    chan hal.Edge // closed by watch
	done     chan struct{} // closed when watch has ended
}

// Edges implements hal.InputGroup.
func (g *group) Edges() <-chan hal.Edge { return g.edges }

// Read implements hal.InputGroup.
func (g *group) Read(name hal.LineName) (hal.Level, error) {
	i := slices.Index(g.names, name)
	if i < 0 {
		return hal.Low, fmt.Errorf("gpio: read %s: not in this group: %w", name, hal.ErrNoLine)
	}
	v := uapi.LineValues{Mask: 1 << i}
	if err := g.b.k.values(g.f, &v); err != nil {
		return hal.Low, fmt.Errorf("gpio: read %s: %w", name, mapped(err))
	}
	return hal.Level(v.Get(i) != 0), nil
}

// Close implements hal.InputGroup. When it returns the channel is closed.
func (g *group) Close() error {
	g.b.drop(g)
	err := g.f.Close()
	<-g.done
	if err != nil && !errors.Is(err, os.ErrClosed) {
		return fmt.Errorf("gpio: close %v: %w", g.names, err)
	}
	return nil
}

// watch moves edges from the kernel's queue to the channel, in the order of
// their numbers, until the group is closed or its chip is gone.
func (g *group) watch(levels map[hal.LineName]hal.Level) {
	defer close(g.done)
	defer close(g.edges)
	buf := make([]byte, 16*eventSize)
	t := tracker{levels: levels}
	var (
		s sorter
		p pause
	)
	for {
		n, err := g.f.Read(buf)
		for b := buf[:n]; len(b) >= eventSize; b = b[eventSize:] {
			s.add(lineEvent(b))
		}
		expired := errors.Is(err, os.ErrDeadlineExceeded)
		wait := err == nil || expired && !p.over()
		for e, ok := s.take(wait); ok; e, ok = s.take(wait) {
			if edge, ok := t.edge(e[:], g.byOffset); ok {
				t.send(edge, g.edges)
			}
		}
		if err == nil || expired {
			err = p.set(g.f, &s)
		}
		switch {
		case err == nil:
		case errors.Is(err, os.ErrClosed):
			return
		default:
			if errors.Is(err, io.EOF) {
				err = hal.ErrClosed
			}
			g.b.log.Error("gpio: the lines are gone", "lines", g.names, "err", err)
			return
		}
	}
}

// start returns the levels of the lines before the first edge is read; none when
// they cannot be had: then the first pulse of a line may look like a loss.
func (g *group) start() map[hal.LineName]hal.Level {
	levels := make(map[hal.LineName]hal.Level, len(g.names))
	v := uapi.LineValues{Mask: ^uapi.LineBitmap(0) >> (uapi.LinesMax - len(g.names))}
	if err := g.b.k.values(g.f, &v); err != nil {
		return levels
	}
	for i, name := range g.names {
		levels[name] = v.Get(i) != 0
	}
	return levels
}

// tracker finds lost edges: by the kernel's numbers, and by a full channel.
type tracker struct {
	seq    uint32                     // of the last event; they begin with 1
	lost   bool                       // the next edge tells
	levels map[hal.LineName]hal.Level // as far as they are known; not nil
	short  hal.Edge                   // the last pulse that was one event, if it is its line's last event
}

// echo: the thread that made one event of a pulse may run once more for the edge
// that it had seen already, and the kernel makes a second event of that
// (edge_irq_thread, where there is no stamp). It comes at once; pulses of a reader
// are at least as far apart.
const echo = 200 * time.Microsecond

// edge reads one event of the kernel.
func (t *tracker) edge(b []byte, names map[uint32]hal.LineName) (hal.Edge, bool) {
	at := binary.NativeEndian.Uint64(b)
	id := uapi.LineEventID(binary.NativeEndian.Uint32(b[8:]))
	name, ok := names[binary.NativeEndian.Uint32(b[12:])]
	missing := binary.NativeEndian.Uint32(b[16:]) - t.seq - 1
	t.seq += missing + 1
	if !ok || id != uapi.LineEventRisingEdge && id != uapi.LineEventFallingEdge {
		t.lost = true // an event that is not ours to read stands for one that was
		return hal.Edge{}, false
	}
	e := hal.Edge{Line: name, Level: id == uapi.LineEventRisingEdge, At: time.Duration(at)}
	same := t.same(e)
	switch short := t.short; {
	case missing == 1 && same:
		t.short = e
	case missing == 0 && same && short.Line == name && e.At-short.At < echo:
		t.short = hal.Edge{}
		return hal.Edge{}, false
	default:
		t.lost = t.lost || missing != 0
		if short.Line == name {
			t.short = hal.Edge{}
		}
	}
	t.levels[name] = e.Level
	return e, true
}

// same reports whether e brings its line to the level that it had: then the
// line had changed and changed back before its thread in the kernel ran, which
// told the second change alone. The one number that is missing is the first's,
// and nothing is lost but its stamp.
func (t *tracker) same(e hal.Edge) bool {
	level, known := t.levels[e.Line]
	return known && level == e.Level
}

// send puts e into the channel or, when that is full, marks the next one.
func (t *tracker) send(e hal.Edge, to chan<- hal.Edge) {
	e.Lost = t.lost
	select {
	case to <- e:
		t.lost = false
	default:
		t.lost = true
	}
}
