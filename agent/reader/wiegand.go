package reader

import (
	"fmt"
	"time"

	"gatehouse/agent/card"
	"gatehouse/hal"
)

// The times of protocols/wiegand.md.
const (
	// MinSilence is the shortest silence that ends a frame.
	MinSilence = 5 * time.Millisecond
	// MaxSilence is the longest silence that ends a frame, the default of the
	// setting, and what ends a frame of one bit.
	MaxSilence = 25 * time.Millisecond
	// pace is how many times the longest gap of a frame its end takes.
	pace = 4
	// ringing is the shortest time for which a line is high between two pulses.
	// What falls earlier is the same pulse ringing on a long cable: pulses are
	// at least 20 µs wide and 200 µs apart.
	ringing = 5 * time.Microsecond
)

// Fault is why a frame was dropped.
type Fault uint8

// The faults. The zero value is none.
const (
	FaultNone  Fault = iota
	FaultBoth        // both lines were low at once
	FaultLine        // a pulse on a line that carries no bits of this reader
	FaultLong        // more than 256 bits
	FaultLost        // edges were lost between the line and the decoder
	FaultHeld        // a line was still low when the frame should have ended
	FaultStray       // an edge of a frame that had been ended by the timer
)

// String says the fault in words.
func (f Fault) String() string {
	switch f {
	case FaultNone:
		return "none"
	case FaultBoth:
		return "both lines low at once"
	case FaultLine:
		return "pulse on a line that is not in use"
	case FaultLong:
		return "more than 256 bits"
	case FaultLost:
		return "edges lost"
	case FaultHeld:
		return "line held low"
	case FaultStray:
		return "edge after the end of the frame"
	}
	return fmt.Sprintf("fault(%d)", uint8(f))
}

// Input is one input of the decoder: an edge, or the news that it is Now and no
// edge has come.
type Input struct {
	Edge    hal.Edge      // when Timeout is false
	Timeout bool          // no edge with a stamp before Now is still to come
	Now     time.Duration // with Timeout; on the clock of the stamps
}

// Output is what one step gave. A step may end one frame and find a fault in
// the next. Where both had a fault, the first is told: one edge is one fault.
type Output struct {
	Frame card.Bits // a whole frame, when its Len is not 0
	Fault Fault     // a frame was dropped; told once for each frame
}

// Wiegand is the state of the decoder of one reader. It is a plain value; Step
// makes the next one. Make the first with NewWiegand.
//
//	idle ──pulse──▶ frame ──silence──▶ idle, Frame
//	                  │ fault
//	                  ▼
//	                broken ──silence──▶ idle
type Wiegand struct {
	lines   [2]hal.LineName
	silence time.Duration

	open   bool          // a frame or a broken one is under way
	broken bool          // it had a fault: wait for its end
	bits   card.Bits     // of the frame
	last   time.Duration // stamp of its last pulse
	gap    time.Duration // longest between two of its pulses
	ended  time.Duration // the silence of the last frame was over then
	timed  bool          // and a timeout said so, not an edge

	low   [2]bool          // what the lines are, by their edges
	rose  [2]time.Duration // stamp of the last rise
	risen [2]bool          // rose is set
}

// NewWiegand returns a decoder of two idle lines. silence is the longest silence
// that ends a frame; it is brought into MinSilence to MaxSilence, and 0 means
// MaxSilence.
func NewWiegand(d0, d1 hal.LineName, silence time.Duration) Wiegand {
	if silence == 0 {
		silence = MaxSilence
	}
	return Wiegand{lines: [2]hal.LineName{d0, d1}, silence: min(max(silence, MinSilence), MaxSilence)}
}

// String says how far the decoder is, and no bit of the frame.
func (w Wiegand) String() string {
	switch {
	case w.broken:
		return "wiegand: broken frame"
	case w.open:
		return fmt.Sprintf("wiegand: frame of %v", w.bits)
	}
	return "wiegand: idle"
}

// Sync returns the decoder with the levels as they were read: at the start, and
// after FaultLost and FaultHeld.
func (w Wiegand) Sync(d0, d1 hal.Level) Wiegand {
	w.low = [2]bool{d0 == hal.Low, d1 == hal.Low}
	return w
}

// Low reports whether the line is low by the edges so far.
func (w Wiegand) Low(line hal.LineName) bool {
	i, ok := w.index(line)
	return ok && w.low[i]
}

// Deadline returns the stamp at which the frame under way ends if no pulse
// comes, and false when there is none.
func (w Wiegand) Deadline() (time.Duration, bool) {
	if !w.open {
		return 0, false
	}
	switch {
	case w.broken:
		return w.last + w.silence, true
	case w.bits.Len() == 1:
		return w.last + MaxSilence, true
	}
	return w.last + min(max(pace*w.gap, MinSilence), w.silence), true
}

// Step returns the state after in, and what came of it. It never fails; edges
// whose stamp lies before that of an earlier one are taken as if it were equal.
func (w Wiegand) Step(in Input) (Wiegand, Output) {
	var out Output
	if in.Timeout {
		w = w.end(in.Now, true, &out)
		return w, out
	}
	e := in.Edge
	if e.Lost {
		w = w.lost(e, &out)
		return w, out
	}
	e.At = max(e.At, w.last)
	w = w.end(e.At, false, &out)
	i, ok := w.index(e.Line)
	if !ok {
		if e.Level == hal.Low {
			w = w.fault(FaultLine, e.At, &out)
		}
		return w, out
	}
	wasLow, isLow := w.low[i], e.Level == hal.Low
	w.low[i] = isLow
	rings := w.risen[i] && e.At-w.rose[i] < ringing
	if !isLow {
		w.rose[i], w.risen[i] = e.At, true
	}
	// A rise of a line that was high is the end of a pulse so short, or seen so
	// late, that chip and kernel made one event of it: a pulse all the same.
	if (isLow || !wasLow) && !rings {
		w = w.pulse(i, e.At, &out)
	}
	return w, out
}

func (w Wiegand) index(line hal.LineName) (int, bool) {
	switch line {
	case w.lines[0]:
		return 0, true
	case w.lines[1]:
		return 1, true
	}
	return 0, false
}

// pulse takes a pulse of line i at stamp at.
func (w Wiegand) pulse(i int, at time.Duration, out *Output) Wiegand {
	switch {
	case w.low[1-i]:
		return w.fault(FaultBoth, at, out)
	case w.broken:
		w.last = at
		return w
	case !w.open && w.timed && at < w.ended:
		return w.fault(FaultStray, at, out)
	}
	bits, ok := w.bits.With(i == 1)
	if !ok {
		return w.fault(FaultLong, at, out)
	}
	if w.open {
		w.gap = max(w.gap, at-w.last)
	}
	w.open, w.bits, w.last = true, bits, at
	return w
}

// fault drops the frame under way, if any, and waits for its end. A frame has
// one fault, its first.
func (w Wiegand) fault(f Fault, at time.Duration, out *Output) Wiegand {
	if !w.broken && out.Fault == FaultNone {
		out.Fault = f
	}
	w.open, w.broken, w.bits, w.gap, w.last = true, true, card.Bits{}, 0, max(at, w.last)
	return w
}

// lost is an edge before which others were lost: nobody knows of which frames.
func (w Wiegand) lost(e hal.Edge, out *Output) Wiegand {
	if i, ok := w.index(e.Line); ok {
		w.low[i] = e.Level == hal.Low
	}
	w.risen = [2]bool{}
	w.broken = false // what was lost is news even in a broken frame
	return w.fault(FaultLost, e.At, out)
}

// end ends the frame under way when its silence was over at now.
func (w Wiegand) end(now time.Duration, timeout bool, out *Output) Wiegand {
	deadline, ok := w.Deadline()
	if !ok || now < deadline {
		return w
	}
	switch {
	case w.broken:
	case w.low[0] || w.low[1]:
		out.Fault = FaultHeld
	default:
		out.Frame = w.bits
	}
	w.open, w.broken, w.bits, w.gap = false, false, card.Bits{}, 0
	w.ended, w.timed = deadline, timeout
	return w
}
