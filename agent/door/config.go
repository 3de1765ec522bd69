package door

import (
	"time"

	"gatehouse/agent/site"
	"gatehouse/hal"
)

// Relock says what ends an unlock pulse early.
type Relock uint8

// The three ways to relock. The zero value is the settings' default.
const (
	RelockOnClose Relock = iota // when the door closes again, or at the end of the time
	RelockOnOpen                // as soon as the door opens, or at the end of the time
	RelockTimer                 // at the end of the time only
)

// FirePolicy says what the fire input does to a door.
type FirePolicy uint8

// The fire policies.
const (
	FireNone    FirePolicy = iota // the default for fail: secure
	FireRelease                   // the default for fail: safe
)

// Config is one door, validated. All times are positive; zero times mean "not
// used" where the field says so.
type Config struct {
	ID   site.DoorID
	Name string

	Strike  hal.LineName // empty: a lock without a line of ours
	Active  hal.Level    // the level that energises the coil
	Fail    Fail
	Unlock  time.Duration // length of an unlock pulse
	Relock  Relock
	Contact hal.LineName // empty: no contact
	Open    hal.Level    // the contact's level when the door is open

	Rex       hal.LineName // empty: no exit button
	RexActive hal.Level
	RexUnlock bool          // a press unlocks; false only masks forced
	RexStuck  time.Duration // active longer than this is a fault

	HeldWarn  time.Duration // zero: no warning
	HeldAlarm time.Duration // zero: no held-open alarm

	ADAUnlock, ADAWarn, ADAAlarm time.Duration // zero: as without ADA

	Tamper       hal.LineName // empty: no tamper input
	TamperNormal hal.Level    // any other level is tampering

	Bond       hal.LineName  // strike feedback, a bond sensor; empty: none
	BondSecure hal.Level     // its level when the lock holds the door
	BondTime   time.Duration // how long a locked and closed door may not be secure; zero: DefaultBondTime

	TwoPerson  bool          // every grant that opens needs a second person
	ExitRepeat time.Duration // a second press within it opens in spite of an interlock; zero: DefaultExitRepeat

	Fire            FirePolicy
	HardwareRelease bool // a maglock's way out that needs no software (door.md, Egress)

	Area site.AreaID // the area that the door belongs to for lockdown --area; may be empty
}

// The times of a door that names none.
const (
	DefaultExitRepeat = 5 * time.Second
	DefaultBondTime   = 2 * time.Second
)

// Fail says what the lock does without power.
type Fail uint8

// The fail modes. The zero value is the settings' default.
const (
	FailSecure Fail = iota // energised means unlocked
	FailSafe               // energised means locked (a maglock)
)

// Energised returns the level of the strike line that energises the coil when
// on is true, and the safe, de-energised one otherwise.
func (c Config) Energised(on bool) hal.Level {
	if on {
		return c.Active
	}
	return !c.Active
}

// Output returns the strike line to claim, de-energised. False: no strike.
func (c Config) Output() (hal.Output, bool) {
	return hal.Output{Line: c.Strike, Initial: c.Energised(false)}, c.Strike != ""
}

// InputQueue is the queue that the door's inputs want: room for a second of
// bounce while the door's goroutine is late.
const InputQueue = 256

// debounce keeps electrical noise from being taken for a press.
const debounce = 5 * time.Millisecond

// Inputs returns the lines to claim as one group; none for a door without
// contact, exit button and supervision. Where the chip has a bias resistor, a
// contact's cut wire reads as open, a button's as released, a tamper input's as
// tampering and a bond sensor's as not secure.
func (c Config) Inputs() []hal.Input {
	var in []hal.Input
	if c.Contact != "" {
		in = append(in, hal.Input{Line: c.Contact, Pull: pullTo(c.Open), Debounce: debounce})
	}
	if c.Rex != "" {
		in = append(in, hal.Input{Line: c.Rex, Pull: pullTo(!c.RexActive), Debounce: debounce})
	}
	if c.Tamper != "" {
		in = append(in, hal.Input{Line: c.Tamper, Pull: pullTo(!c.TamperNormal), Debounce: debounce})
	}
	if c.Bond != "" {
		in = append(in, hal.Input{Line: c.Bond, Pull: pullTo(!c.BondSecure), Debounce: debounce})
	}
	return in
}

// exitRepeat is ExitRepeat, or the default.
func (c *Config) exitRepeat() time.Duration {
	if c.ExitRepeat > 0 {
		return c.ExitRepeat
	}
	return DefaultExitRepeat
}

// bondTime is BondTime, or the default.
func (c *Config) bondTime() time.Duration {
	if c.BondTime > 0 {
		return c.BondTime
	}
	return DefaultBondTime
}

func pullTo(l hal.Level) hal.Pull {
	if l == hal.High {
		return hal.PullUp
	}
	return hal.PullDown
}
