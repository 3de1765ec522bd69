package config

import (
	"slices"

	"gatehouse/agent/door/area"
	"gatehouse/agent/site"
	"gatehouse/hal"
)

var passbacks = map[string]area.Passback{"soft": area.Soft, "timed": area.Timed, "hard": area.Hard}

func (b *builder) areas(c *Config, raw *rawFile) {
	for i := range raw.Areas {
		r := &raw.Areas[i]
		a := area.Area{ID: site.AreaID(r.ID.V), Name: nameOr(r.Name, r.ID), Occupancy: r.Occupancy.V}
		if p := r.Passback; p != nil {
			a.Passback, a.Exit, a.Forget = passbacks[p.Mode.V], passbacks[p.Exit.V], p.Forget.V
			switch {
			case a.Passback == area.Timed && p.Exit.Set:
				b.errorf(p.Exit.at, "goes with mode hard or soft; mode timed judges who enters, and forgets by time alone")
			case a.Passback != area.Timed && a.Passback != area.None && a.Exit == area.None:
				a.Exit = area.Soft
			}
			if p.Mode.V == "timed" && !p.Forget.Set {
				b.errorf(p.At, "mode timed wants forget")
			}
		}
		c.Areas = append(c.Areas, a)
	}
}

// counting warns of areas whose count cannot be right.
func (b *builder) counting(raw *rawFile) {
	for i := range raw.Areas {
		r := &raw.Areas[i]
		counts := r.Occupancy.Set && !b.missing(PartOccupancy) || r.Passback != nil && !b.missing(PartPassback)
		if r.ID.V == "" || !counts {
			continue
		}
		in, out := false, false
		for j := range raw.Readers {
			in = in || raw.Readers[j].To.V == r.ID.V
			out = out || raw.Readers[j].From.V == r.ID.V
		}
		forgets := r.Passback != nil && r.Passback.Forget.Set
		switch {
		case !in:
			b.warnf(r.ID.at, "no reader leads to this area; nobody is counted in it")
		case !out && !forgets:
			b.warnf(r.ID.at, "no reader leads out of this area, and passback.forget is not set; who entered counts as inside until forgiven")
		}
	}
}

func (b *builder) pin(c *Config, raw *rawFile) {
	c.PIN = area.Lockout{Tries: raw.PIN.Tries.V, Within: raw.PIN.Within.V, For: raw.PIN.Lockout.V}
}

func (b *builder) interlocks(c *Config, raw *rawFile, doors map[string]bool) {
	for i := range raw.Interlocks {
		r := &raw.Interlocks[i]
		if len(r.Doors) < 2 && r.Doors != nil {
			b.errorf(r.At, "an interlock wants two doors or more")
		}
		group := area.Interlock{Repeat: r.Repeat.V}
		seen := map[string]bool{}
		for _, d := range r.Doors {
			if seen[d.V] {
				b.errorf(d.at, "door %s is in the group twice", quote(d.V))
			}
			seen[d.V] = true
			if b.known("door", d, doors) && !doors[d.V] {
				b.errorf(d.at, "%s is a lock; an interlock is of doors on this board", quote(d.V))
			}
			group.Doors = append(group.Doors, site.DoorID(d.V))
			b.interlockPower(d, raw)
		}
		c.Interlocks = append(c.Interlocks, group)
	}
}

// interlockPower warns of a door in an interlock that power cannot hold.
func (b *builder) interlockPower(d text, raw *rawFile) {
	for i := range raw.Doors {
		r := &raw.Doors[i]
		if d.Set && r.ID.V == d.V && r.Strike != nil && r.Strike.Fail.V == "safe" {
			b.warnf(d.at, "door %s is fail: safe; a loss of power unlocks it whatever the other doors of the interlock are", quote(d.V))
		}
	}
}

// watched takes an input of the site; nil when it is not wired.
func (b *builder) watched(r *rawInput) *Input {
	if r == nil {
		return nil
	}
	b.claim("line", r.Line)
	return &Input{Line: hal.LineName(r.Line.V), Normal: r.Normal.V}
}

func (b *builder) siteInputs(c *Config, raw *rawFile) {
	if f := raw.Inputs.Fire; f != nil {
		b.claim("line", f.Line)
		c.Inputs.Fire = &Fire{Line: hal.LineName(f.Line.V), Normal: f.Normal.V, Latched: f.Latched.V}
	}
	if p := raw.Inputs.Panic; p != nil {
		b.claim("line", p.Line)
		c.Inputs.Panic = &Panic{Line: hal.LineName(p.Line.V), Active: p.Active.V}
	}
	c.Inputs.Mains = b.watched(raw.Inputs.Mains)
	c.Inputs.Battery = b.watched(raw.Inputs.Battery)
	c.Inputs.Tamper = b.watched(raw.Inputs.Tamper)
}

func (b *builder) outputs(c *Config, raw *rawFile, doors map[string]bool) {
	for i := range raw.Outputs {
		r := &raw.Outputs[i]
		b.unique("output", r.ID)
		b.claim("line", r.Line)
		if r.On != nil && len(r.On) == 0 {
			b.errorf(r.At, "on names no kind of event; the output would never be on")
		}
		o := Output{
			ID: site.OutputID(r.ID.V), Line: hal.LineName(r.Line.V), Active: r.Active.V,
			On: kindsOf(r.On), Until: kindsOf(r.Until), For: r.For.V, Reasons: b.outputReasons(r),
		}
		for _, k := range r.Until {
			if k.Set && slices.Contains(o.On, site.Kind(k.V)) {
				b.errorf(k.at, "%s turns the output on; it cannot turn it off as well", k.V)
			}
		}
		for _, d := range r.Doors {
			b.known("door", d, doors)
			o.Doors = append(o.Doors, site.DoorID(d.V))
		}
		b.outputDeaf(r)
		b.outputEnds(r)
		c.Outputs = append(c.Outputs, o)
	}
}

// outputReasons are those of access that count for an output. An output that a
// refused card turned on would be wrong for a door operator, so only those that
// grant count unless the file says else.
func (b *builder) outputReasons(r *rawOutput) []site.Reason {
	var out []site.Reason
	for _, w := range r.Reasons {
		out = append(out, site.Reason(w.V))
	}
	access := slices.Contains(values(r.On), string(site.KindAccess)) || slices.Contains(values(r.Until), string(site.KindAccess))
	switch {
	case !access && len(r.Reasons) > 0:
		b.errorf(r.Reasons[0].at, "reasons are those of access, and on does not name it")
	case r.Reasons != nil && len(r.Reasons) == 0:
		b.errorf(b.keys[r.At.Path+".reasons"], "is empty; leave it out for those that grant")
	case access && len(out) == 0:
		out = []site.Reason{site.ReasonGranted, site.ReasonGrantedPassback}
	}
	return out
}

// lasting are the kinds of events that have an end (contract.md, Events:
// cleared).
var lasting = []site.Kind{
	site.KindDoorForced, site.KindDoorHeldWarning, site.KindDoorHeld, site.KindFire, site.KindTamper, site.KindFault,
	site.KindBattery, site.KindPower, site.KindClock, site.KindPanic,
}

// outputDeaf warns of a kind that no output gets: the event log makes it itself,
// and outputs see events before the log does.
func (b *builder) outputDeaf(r *rawOutput) {
	for _, k := range slices.Concat(r.On, r.Until) {
		if k.V == string(site.KindEventsLost) {
			b.warnf(k.at, "%s does not reach outputs, for the event log makes it itself; notify can send it", k.V)
		}
	}
}

// outputEnds warns of an output that nothing turns off.
func (b *builder) outputEnds(r *rawOutput) {
	if r.For.Set || len(r.Until) > 0 {
		return
	}
	for _, k := range r.On {
		if k.Set && k.V != string(site.KindEventsLost) && !slices.Contains(lasting, site.Kind(k.V)) {
			b.warnf(k.at, "an event of kind %s has no end, so the output stays on; give for or until", k.V)
		}
	}
}

func kindsOf(list []text) []site.Kind {
	var out []site.Kind
	for _, k := range list {
		out = append(out, site.Kind(k.V))
	}
	return out
}
