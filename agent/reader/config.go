package reader

import (
	"time"

	"gatehouse/agent/card"
	"gatehouse/agent/site"
	"gatehouse/hal"
)

// Mode says what a reader asks of a person.
type Mode uint8

// The modes. The zero value is the settings' default.
const (
	ModeCard Mode = iota
	ModeCardPIN
	ModePIN
	ModeEither
	ModeClosed
)

// Config is one reader, validated.
type Config struct {
	ID   site.ReaderID
	Door site.DoorID
	From site.AreaID // area left; may be empty
	To   site.AreaID // area entered; may be empty
	Mode Mode

	Wiegand *WiegandConfig // a reader on two GPIO lines
	Serial  *SerialConfig  // a Hive device on a serial line: hive/link owns it
}

// WiegandConfig is a reader on two open-collector lines (wiegand.md).
type WiegandConfig struct {
	D0, D1  hal.LineName
	LED     hal.LineName  // empty: none
	Beeper  hal.LineName  // empty: none
	LEDOn   hal.Level     // the level that lights the LED; low on most
	BeepOn  hal.Level     // the level that sounds the beeper; low on most
	Silence time.Duration // the longest end-of-frame silence, 5 to 25 ms; 25 ms by default
	// Feedback replaces the usual signals; a pattern that is not in it shows
	// as SignalOf says.
	Feedback map[site.Pattern]Signal
	// Tamper is the reader's tamper contact; empty: none. Any level but
	// TamperNormal is a tamper.
	Tamper       hal.LineName
	TamperNormal hal.Level
	Formats      []card.Format // a frame that one of these accepts is a card even where it looks like a key; nil: none
}

// SerialConfig is a Hive device on a serial line.
type SerialConfig struct {
	Port   string
	Baud   int
	Device site.DeviceName
}
