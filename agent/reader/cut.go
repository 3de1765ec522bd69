package reader

import (
	"fmt"

	"gatehouse/hal"
)

// cut is what the data lines rest at. Open-collector lines rest high: the pull-ups
// on our side see to that, so a cut data wire looks like a reader that nobody
// uses. Both lines low is a reader without power, where its outputs then pull
// down (many do not), or a level shifter without supply; one line low is a short
// to ground or a broken driver (docs/wiring.md, Wiegand).
type cut uint8

const (
	cutNone cut = iota // both high
	cutD0              // D0 is held low
	cutD1
	cutBoth
)

func cutOf(d0, d1 hal.Level) cut {
	switch {
	case d0 == hal.Low && d1 == hal.Low:
		return cutBoth
	case d0 == hal.Low:
		return cutD0
	case d1 == hal.Low:
		return cutD1
	}
	return cutNone
}

// text says it in words.
func (c cut) text(d0, d1 hal.LineName) string {
	switch c {
	case cutNone:
		return "reader lines are at rest"
	case cutD0:
		return fmt.Sprintf("reader line %s is held low: shorted, or a broken reader", d0)
	case cutD1:
		return fmt.Sprintf("reader line %s is held low: shorted, or a broken reader", d1)
	case cutBoth:
	}
	return fmt.Sprintf("reader lines %s and %s are held low: the reader has no power, or its cable is damaged", d0, d1)
}
