package config

import (
	"time"

	"gatehouse/agent/door/area"
	"gatehouse/agent/site"
	"gatehouse/hal"
)

// Area composes what the doors share for their owner.
func (c *Config) Area() area.Config {
	return area.Config{Areas: c.Areas, Interlocks: c.Interlocks, PIN: c.PIN}
}

// Passback is an area's anti-passback.
type Passback = area.Passback

// The kinds of anti-passback.
const (
	PassbackNone  = area.None
	PassbackSoft  = area.Soft
	PassbackTimed = area.Timed
	PassbackHard  = area.Hard
)

// AutoUnlock is a schedule that holds a door unlocked.
type AutoUnlock struct {
	Schedule    site.ScheduleID
	FirstPerson bool // only after somebody was let in while the schedule holds
}

// Inputs are the inputs of the whole site; nil: not wired.
type Inputs struct {
	Fire    *Fire
	Panic   *Panic
	Mains   *Input // events of kind power
	Battery *Input
	Tamper  *Input // of the cabinet
}

// Input is an input that is watched: any level but Normal is an event that
// begins, Normal ends it. Its pull must be away from Normal, so that a cut wire
// is told.
type Input struct {
	Line   hal.LineName
	Normal hal.Level
}

// Fire is the fire alarm system's input.
type Fire struct {
	Line    hal.LineName
	Normal  hal.Level // any other is fire
	Latched bool
}

// Panic is a button that locks all doors down.
type Panic struct {
	Line   hal.LineName
	Active hal.Level
}

// Output is an auxiliary output.
type Output struct {
	ID     site.OutputID
	Line   hal.LineName
	Active hal.Level
	On     []site.Kind   // turn it on
	Until  []site.Kind   // turn it off
	For    time.Duration // zero: until the alarm is cleared, or until Until
	Doors  []site.DoorID // only events of these; empty: all
	// Reasons are those of KindAccess that count; never empty where On or Until
	// names that kind.
	Reasons []site.Reason
}
