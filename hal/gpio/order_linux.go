package gpio

import (
	"encoding/binary"
	"os"
	"slices"
	"time"
)

// The kernel numbers the edges of a request in the interrupt, but each line's
// edges get into the queue by a thread of that line (edge_irq_thread of
// drivers/gpio/gpiolib-cdev.c). Where two lines change soon one after the other,
// the second one's thread may be first: the queue then has 4 before 3. So an
// event whose number leaves a gap waits for what is missing.
const (
	// patience is how long: well over what a thread of real-time priority takes
	// to run, and under the shortest silence that ends a Wiegand frame, 5 ms.
	// What has not come by then was replaced by a later edge of its line (a
	// line has room for one edge between interrupt and thread), or dropped from
	// a full queue.
	patience = 2 * time.Millisecond
	// maxHeld is how many events wait at most: far more than come in that time
	// from lines that work.
	maxHeld = 64
)

// lineEvent is struct gpio_v2_line_event as the kernel writes it.
type lineEvent [eventSize]byte

// seq is the event's number in its request.
func (e *lineEvent) seq() uint32 { return binary.NativeEndian.Uint32(e[16:]) }

// what is the kind of edge and the line.
func (e *lineEvent) what() (id, offset uint32) {
	return binary.NativeEndian.Uint32(e[8:]), binary.NativeEndian.Uint32(e[12:])
}

// sorter brings events into the order of their numbers, which wrap around. The
// zero value is for a new request.
type sorter struct {
	last uint32      // number of the event that was taken last
	held []lineEvent // later ones, in order
}

// add holds an event. One whose turn is over is dropped: its number was missed
// when that of a later one was taken, so the loss is told already.
func (s *sorter) add(e lineEvent) {
	if int32(e.seq()-s.last) <= 0 {
		return
	}
	i := len(s.held)
	for i > 0 && int32(s.held[i-1].seq()-e.seq()) > 0 {
		i--
	}
	if i > 0 && s.held[i-1].seq() == e.seq() && !s.split(i-1, &e) {
		return
	}
	s.held = slices.Insert(s.held, i, e)
}

// split makes room for an event of the same number as the i-th, and reports
// whether it is another edge. The kernel takes the number last: when a line
// changes again while its thread makes an event of the change before, that event
// gets the number of the second change, and so does the next. Where both are to
// one level, the thread saw the second change already in the first event.
func (s *sorter) split(i int, e *lineEvent) bool {
	first := &s.held[i]
	before := s.last
	if i > 0 {
		before = s.held[i-1].seq()
	}
	id, offset := e.what()
	firstID, firstOffset := first.what()
	if id == firstID || offset != firstOffset || before == e.seq()-1 {
		return false
	}
	binary.NativeEndian.PutUint32(first[16:], e.seq()-1)
	return true
}

// take returns the event whose turn it is. When nothing more is waited for, that
// is the first one that is held, whatever is missing before it.
func (s *sorter) take(wait bool) (lineEvent, bool) {
	if len(s.held) == 0 || wait && len(s.held) <= maxHeld && s.held[0].seq() != s.last+1 {
		return lineEvent{}, false
	}
	e := s.held[0]
	s.held = slices.Delete(s.held, 0, 1)
	s.last = e.seq()
	return e, true
}

// pause bounds the wait for a missing event by the deadline of the next read.
// The zero value waits for nothing.
type pause struct {
	on    bool
	after uint32 // the event before the missing one
	looks int    // reads that have found nothing since
}

// over is called when a read found nothing by its deadline, and reports whether
// that was the last one. A read whose deadline has passed does not look into the
// queue, and this process may not have run meanwhile: so there are two.
func (p *pause) over() bool {
	p.looks++
	return p.looks > 1
}

// set gives the next read its deadline: a new one for each missing event.
func (p *pause) set(f *os.File, s *sorter) error {
	switch {
	case len(s.held) == 0:
		if !p.on {
			return nil
		}
		*p = pause{}
		return f.SetReadDeadline(time.Time{})
	case !p.on || p.after != s.last:
		*p = pause{on: true, after: s.last}
		return f.SetReadDeadline(time.Now().Add(patience))
	case p.looks > 0:
		return f.SetReadDeadline(time.Now().Add(patience / 4))
	}
	return nil
}
