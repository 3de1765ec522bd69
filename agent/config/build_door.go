package config

import (
	"slices"

	"gatehouse/agent/door"
	"gatehouse/agent/site"
	"gatehouse/hal"
)

func (b *builder) door(r *rawDoor, raw *rawFile, areas map[string]bool) door.Config {
	c := door.Config{
		ID: site.DoorID(r.ID.V), Name: nameOr(r.Name, r.ID), HardwareRelease: r.HardwareRelease.V,
		Area: site.AreaID(r.Area.V),
	}
	b.known("area", r.Area, areas)
	if s := r.Strike; s != nil {
		b.claim("line", s.Line)
		c.Strike, c.Active, c.Unlock = hal.LineName(s.Line.V), s.Active.V, s.Unlock.V
		if s.Fail.V == "safe" {
			c.Fail = door.FailSafe
		}
	}
	if k := r.Contact; k != nil {
		b.claim("line", k.Line)
		c.Contact, c.Open = hal.LineName(k.Line.V), k.Open.V
	}
	if x := r.Rex; x != nil {
		b.claim("line", x.Line)
		c.Rex, c.RexActive, c.RexUnlock, c.RexStuck = hal.LineName(x.Line.V), x.Active.V, x.Unlock.V, x.Stuck.V
	}
	if t := b.watched(r.Tamper); t != nil {
		c.Tamper, c.TamperNormal = t.Line, t.Normal
	}
	if s := r.Bond; s != nil {
		b.claim("line", s.Line)
		c.Bond, c.BondSecure, c.BondTime = hal.LineName(s.Line.V), s.Secure.V, s.Within.V
	}
	c.TwoPerson = r.TwoPerson.V
	b.relock(r, &c)
	b.held(r, &c)
	b.fire(r, raw, &c)
	b.maglock(r, &c)
	return c
}

func (b *builder) relock(r *rawDoor, c *door.Config) {
	switch r.Relock.V {
	case "on_open":
		c.Relock = door.RelockOnOpen
	case "timer":
		c.Relock = door.RelockTimer
	default:
		c.Relock = door.RelockOnClose
	}
	if r.Contact != nil {
		return
	}
	if r.Relock.Set && c.Relock != door.RelockTimer {
		b.warnf(r.Relock.at, "%s needs a contact, and there is none; the door relocks by timer", r.Relock.V)
	}
	c.Relock = door.RelockTimer
}

// held fills the held-open times. The ADA ones that are absent are as those
// without ADA.
func (b *builder) held(r *rawDoor, c *door.Config) {
	if h := r.HeldOpen; h != nil {
		c.HeldWarn, c.HeldAlarm = h.Warn.V, h.Alarm.V
		if h.Warn.Set && h.Alarm.Set && h.Warn.V >= h.Alarm.V {
			b.errorf(h.Warn.at, "the warning does not come before the alarm")
		}
		if r.Contact == nil {
			b.warnf(h.At, "needs a contact, and there is none; the door is never held open")
		}
	}
	a := r.ADA
	if a == nil {
		return
	}
	c.ADAUnlock, c.ADAWarn, c.ADAAlarm = a.Unlock.V, a.Warn.V, a.Alarm.V
	less := func(ada dur, normal dur, what string) {
		if ada.Set && ada.V < normal.V {
			b.errorf(ada.at, "is shorter than %s", what)
		}
	}
	if r.Strike != nil {
		less(a.Unlock, r.Strike.Unlock, "strike.unlock")
	}
	if r.HeldOpen != nil {
		less(a.Warn, r.HeldOpen.Warn, "held_open.warn")
		less(a.Alarm, r.HeldOpen.Alarm, "held_open.alarm")
	}
	warn, alarm := c.ADAWarn, c.ADAAlarm
	if warn == 0 {
		warn = c.HeldWarn
	}
	if alarm == 0 {
		alarm = c.HeldAlarm
	}
	if warn != 0 && alarm != 0 && warn >= alarm && (a.Warn.Set || a.Alarm.Set) {
		b.errorf(a.At, "with ADA the warning does not come before the alarm")
	}
}

func (b *builder) fire(r *rawDoor, raw *rawFile, c *door.Config) {
	switch {
	case r.Fire.V == "release", !r.Fire.Set && c.Fail == door.FailSafe:
		c.Fire = door.FireRelease
	default:
		c.Fire = door.FireNone
	}
	if raw.Inputs.Fire == nil && r.Fire.Set && c.Fire == door.FireRelease {
		b.warnf(r.Fire.at, "there is no inputs.fire; nothing releases this door")
	}
}

// maglock applies door.md, Egress: a lock that holds by power needs a way out
// that needs no software, or at the least an exit button that unlocks.
func (b *builder) maglock(r *rawDoor, c *door.Config) {
	if c.Fail != door.FailSafe || c.HardwareRelease || r.Strike == nil {
		return
	}
	a := r.Strike.Fail.at
	if c.Rex != "" && c.RexUnlock {
		b.warnf(a, "a lock with fail: safe needs a way out that needs no software; wire one and state hardware_release: true")
		return
	}
	b.errorf(a, "a lock with fail: safe has neither hardware_release: true nor an exit button that unlocks; people could be locked in")
}

// doorRules fills what a door has by rules of the site, and judges it.
func (b *builder) doorRules(c *Config, raw *rawFile) {
	for i := range raw.Doors {
		r := &raw.Doors[i]
		if a := r.AutoUnlock; a != nil && r.ID.V != "" {
			if c.AutoUnlock == nil {
				c.AutoUnlock = map[site.DoorID]AutoUnlock{}
			}
			c.AutoUnlock[site.DoorID(r.ID.V)] = AutoUnlock{
				Schedule: site.ScheduleID(a.Schedule.V), FirstPerson: a.FirstPerson.V,
			}
		}
		b.readersNeeded(r, raw)
		d := &c.Doors[i]
		for _, g := range c.Interlocks {
			if slices.Contains(g.Doors, d.ID) && (d.ExitRepeat == 0 || g.Repeat < d.ExitRepeat) {
				d.ExitRepeat = g.Repeat
			}
		}
	}
}

// readersNeeded judges what wants somebody to show a card at the door.
func (b *builder) readersNeeded(r *rawDoor, raw *rawFile) {
	for i := range raw.Readers {
		if raw.Readers[i].Door.V == r.ID.V {
			return
		}
	}
	for i := range raw.Hive.Devices {
		for _, item := range raw.Hive.Devices[i].Items.List {
			if item.Door.V == r.ID.V {
				return
			}
		}
	}
	if r.TwoPerson.V {
		b.errorf(r.TwoPerson.at, "two people must show a card, and the door has no reader")
	}
	if a := r.AutoUnlock; a != nil && a.FirstPerson.V {
		b.errorf(a.FirstPerson.at, "somebody must be let in first, and the door has no reader")
	}
}

// egress judges what holds between doors, readers and the fire input.
func (b *builder) egress(raw *rawFile) {
	releases := false
	for i := range raw.Doors {
		d := &raw.Doors[i]
		safe := d.Strike != nil && d.Strike.Fail.V == "safe"
		releases = releases || d.Fire.V == "release" || safe && !d.Fire.Set
		b.readerEgress(d, raw)
	}
	f := raw.Inputs.Fire
	if f == nil || !b.missing(PartFire) {
		return
	}
	if releases {
		b.warnf(f.At, "this build has no %s; a door that waits for it would stay locked", PartFire)
		return
	}
	b.warnf(f.At, "this build has no %s; the input is ignored (no door is released by it)", PartFire)
}

// readerEgress warns where people seem to leave through a reader: one that
// leads out of an area, or the second at a door.
func (b *builder) readerEgress(d *rawDoor, raw *rawFile) {
	if d.HardwareRelease.V || d.Rex != nil && d.Rex.Unlock.V || d.ID.V == "" {
		return
	}
	count, leaves := 0, false
	for i := range raw.Readers {
		if r := &raw.Readers[i]; r.Door.V == d.ID.V {
			count++
			leaves = leaves || r.From.V != "" && r.To.V == ""
		}
	}
	if count >= 2 || leaves {
		b.warnf(d.ID.at, "people leave through a reader, and a reader is not egress: add an exit button that unlocks, "+
			"or state hardware_release: true where a handle or the like lets them out")
	}
}
