package sim

import (
	"context"
	"encoding/hex"
	"fmt"
	"time"

	"gatehouse/hal"
)

// Frame is a Wiegand frame for [Board.Wiegand].
type Frame struct {
	D0, D1 hal.LineName
	Bits   int
	// Data holds the bits, first on the wire first, left-justified; unused bits
	// are 0.
	Data []byte
	// Pace is the time from bit to bit, in whole microseconds from 100 µs to
	// 100 ms; 1 ms if zero.
	Pace time.Duration
}

// Wiegand plays a frame and returns after its last edge. It uses a connection
// of its own, so it holds up nothing else.
func (b *Board) Wiegand(ctx context.Context, f Frame) error {
	r := frameRequest{D0: f.D0, D1: f.D1, Bits: f.Bits, Hex: hex.EncodeToString(f.Data)}
	if f.Pace != 0 {
		us := f.Pace.Microseconds()
		r.US = &us
	}
	if err := r.check(); err != nil {
		return fmt.Errorf("sim: %w: %w", errBad, err)
	}
	other, err := Dial(ctx, b.path)
	if err != nil {
		return err
	}
	defer other.Close() //nolint:errcheck // all that was asked has been answered
	stop := context.AfterFunc(ctx, func() { drop(other.conn) })
	defer stop()
	if _, err := other.ask(request{Wiegand: &r}, r.pace()*time.Duration(r.Bits)+answerWait); err != nil {
		return fmt.Errorf("sim: %w", err)
	}
	return nil
}

// Set sets an input, as a hand, a door or a wire would.
func (b *Board) Set(n hal.LineName, l hal.Level) error {
	if _, err := b.ask(request{Set: &n, Level: levelPointer(l)}, answerWait); err != nil {
		return fmt.Errorf("sim: %w", err)
	}
	return nil
}

// Stick makes a line keep a level whatever drives it, until Release.
func (b *Board) Stick(n hal.LineName, l hal.Level) error {
	return b.fault(faultRequest{Line: n, Stuck: levelPointer(l)})
}

// Refuse makes claims and drives of a line fail, until Release.
func (b *Board) Refuse(n hal.LineName) error {
	return b.fault(faultRequest{Line: n, Refuse: true})
}

// Release takes the faults of a line away.
func (b *Board) Release(n hal.LineName) error {
	return b.fault(faultRequest{Line: n})
}

func (b *Board) fault(f faultRequest) error {
	if _, err := b.ask(request{Fault: &f}, answerWait); err != nil {
		return fmt.Errorf("sim: %w", err)
	}
	return nil
}

// Trust says whether the simulated clock is vouched for. A new holder starts
// with a clock that is.
func (b *Board) Trust(trusted bool) error {
	if _, err := b.ask(request{Clock: &clockRequest{Trusted: &trusted}}, answerWait); err != nil {
		return fmt.Errorf("sim: clock: %w", err)
	}
	return nil
}
