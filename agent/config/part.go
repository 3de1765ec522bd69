package config

import "slices"

// Part names something that a build may lack (package doc, What is not in the
// build).
type Part string

// The parts that come after the first release.
const (
	PartPIN         Part = "PIN entry"
	PartReaderModes Part = "reader modes by schedule"
	PartPassback    Part = "anti-passback"
	PartOccupancy   Part = "occupancy"
	PartInterlocks  Part = "interlocks"
	PartFire        Part = "fire input"
	PartPanic       Part = "panic input"
	PartSupply      Part = "supply and cabinet inputs" // mains, battery, tamper
	PartAutoUnlock  Part = "unlocking by schedule"
	PartTwoPerson   Part = "two-person rule"
	PartOutputs     Part = "outputs"
	PartLocks       Part = "locks"
	PartSwordfish   Part = "swordfish"
	PartGateway     Part = "gateway"
	PartUplink      Part = "uplink"
	PartMQTT        Part = "mqtt"
	PartBACnet      Part = "bacnet"
	PartPresence    Part = "presence"
	PartNotify      Part = "notify"
)

// allParts lists them.
var allParts = []Part{
	PartPIN, PartReaderModes, PartPassback, PartOccupancy, PartInterlocks, PartFire, PartPanic,
	PartSupply, PartAutoUnlock, PartTwoPerson, PartOutputs,
	PartLocks, PartSwordfish, PartGateway, PartUplink, PartMQTT, PartBACnet, PartPresence, PartNotify,
}

// AllParts returns every part, for tests and for a complete build.
func AllParts() []Part { return slices.Clone(allParts) }

// missing reports whether the build lacks p.
func (b *builder) missing(p Part) bool { return !slices.Contains(b.opts.Parts, p) }

// ignored warns where the file has a section of a part that only talks to the
// outside, and reports whether the part is there.
func (b *builder) ignored(p Part, section string) {
	if a, given := b.keys[section]; given && b.missing(p) {
		b.warnf(a, "this build has no %s part; the section is ignored", p)
	}
}

// parts judges every section that belongs to a part of its own.
func (b *builder) parts(raw *rawFile) {
	for _, s := range []struct {
		part    Part
		section string
	}{
		{PartOutputs, "outputs"}, {PartLocks, "locks"}, {PartSwordfish, "swordfish"}, {PartGateway, "gateway"},
		{PartUplink, "uplink"}, {PartMQTT, "mqtt"}, {PartBACnet, "bacnet"}, {PartPresence, "presence"},
		{PartNotify, "notify"},
	} {
		b.ignored(s.part, s.section)
	}
	for i := range raw.Interlocks {
		if b.missing(PartInterlocks) {
			b.warnf(raw.Interlocks[i].At, "this build has no %s; these doors could be unlocked at the same time", PartInterlocks)
		}
	}
	for i := range raw.Areas {
		b.areaParts(&raw.Areas[i])
	}
	if p := raw.Inputs.Panic; p != nil && b.missing(PartPanic) {
		b.warnf(p.At, "this build has no %s; the button would do nothing", PartPanic)
	}
	for _, in := range []*rawInput{raw.Inputs.Mains, raw.Inputs.Battery, raw.Inputs.Tamper} {
		if in != nil && b.missing(PartSupply) {
			b.warnf(in.At, "this build has no %s; the input is ignored", PartSupply)
		}
	}
	for i := range raw.Doors {
		d := &raw.Doors[i]
		if d.TwoPerson.V && b.missing(PartTwoPerson) {
			b.warnf(d.TwoPerson.at, "this build has no %s; one person would be enough", PartTwoPerson)
		}
		if d.AutoUnlock != nil && b.missing(PartAutoUnlock) {
			b.warnf(d.AutoUnlock.At, "this build has no %s; the door stays as it is", PartAutoUnlock)
		}
	}
}

func (b *builder) areaParts(a *rawArea) {
	if a.Occupancy.Set && b.missing(PartOccupancy) {
		b.warnf(a.Occupancy.at, "this build has no %s; the limit would not hold", PartOccupancy)
	}
	if a.Passback == nil || !b.missing(PartPassback) {
		return
	}
	if a.Passback.Mode.V == "soft" {
		b.warnf(a.Passback.At, "this build has no %s; nothing is recorded", PartPassback)
		return
	}
	b.warnf(a.Passback.At, "this build has no %s; a card could be handed back and used again", PartPassback)
}
