package config

import (
	"time"

	"gatehouse/agent/site"
	"gatehouse/hal"
)

// Area is a part of the site that people are counted in.
type Area struct {
	ID        site.AreaID
	Name      string
	Occupancy int // zero: no limit
	Passback  Passback
	Exit      Passback      // at a reader that leads out; PassbackNone where Passback is none or timed
	Forget    time.Duration // zero: never; not for PassbackNone
}

// Passback is an area's anti-passback.
type Passback uint8

// The kinds of anti-passback.
const (
	PassbackNone Passback = iota
	PassbackSoft
	PassbackTimed
	PassbackHard
)

// Interlock is a group of doors of which at most one is unlocked.
type Interlock struct {
	Doors  []site.DoorID
	Repeat time.Duration // a second exit press within it is obeyed
}

// Lockout says when wrong PINs lock a credential out, or a reader where it
// takes a PIN only.
type Lockout struct {
	Tries  int           // wrong PINs
	Within time.Duration // that came within this time
	For    time.Duration // how long no PIN is looked at
}

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
