package config

import "gatehouse/hal"

// LineUse says what a line is for.
type LineUse uint8

// The uses of a line.
const (
	UseNone LineUse = iota
	UseStrike
	UseContact
	UseRex
	UseWiegandD0
	UseWiegandD1
	UseLED
	UseBeeper
	UseFire
	UsePanic
	UseOutput
	UseTamper
	UseBond
	UseMains
	UseBattery
)

var useNames = []string{
	"nothing", "strike", "contact", "exit button", "D0", "D1", "LED", "beeper", "fire input", "panic input", "output",
	"tamper contact", "bond sensor", "mains input", "battery input",
}

// String returns the use in words.
func (u LineUse) String() string {
	if int(u) < len(useNames) {
		return useNames[u]
	}
	return useNames[UseNone]
}

// Line is one line that the settings name.
type Line struct {
	Name hal.LineName
	Use  LineUse
	// Of is the door, reader or output that the line belongs to; empty for
	// the inputs of the site.
	Of     string
	Output bool
	// Rest is the level of the line when nothing happens. For an output it is
	// the safe level, de-energised; for an input the inactive one: contact
	// closed, button released, D0 and D1 high, no fire, no tamper, the lock
	// holds.
	Rest hal.Level
}

// Lines lists every line of the settings once, in their order, those of parts
// that the build lacks too: an output that nobody drives still wants its safe
// level. Whether the board has them is for the caller to ask (hal.Board.Lines).
func (c *Config) Lines() []Line {
	var out []Line
	add := func(name hal.LineName, use LineUse, of string, output bool, rest hal.Level) {
		if name != "" {
			out = append(out, Line{Name: name, Use: use, Of: of, Output: output, Rest: rest})
		}
	}
	for _, d := range c.Doors {
		add(d.Strike, UseStrike, string(d.ID), true, d.Energised(false))
		add(d.Contact, UseContact, string(d.ID), false, !d.Open)
		add(d.Rex, UseRex, string(d.ID), false, !d.RexActive)
		add(d.Tamper, UseTamper, string(d.ID), false, d.TamperNormal)
		add(d.Bond, UseBond, string(d.ID), false, d.BondSecure)
	}
	for _, r := range c.Readers {
		if w := r.Wiegand; w != nil {
			add(w.D0, UseWiegandD0, string(r.ID), false, hal.High)
			add(w.D1, UseWiegandD1, string(r.ID), false, hal.High)
			add(w.LED, UseLED, string(r.ID), true, !w.LEDOn)
			add(w.Beeper, UseBeeper, string(r.ID), true, !w.BeepOn)
			add(w.Tamper, UseTamper, string(r.ID), false, w.TamperNormal)
		}
	}
	if f := c.Inputs.Fire; f != nil {
		add(f.Line, UseFire, "", false, f.Normal)
	}
	if p := c.Inputs.Panic; p != nil {
		add(p.Line, UsePanic, "", false, !p.Active)
	}
	for _, in := range []struct {
		input *Input
		use   LineUse
	}{{c.Inputs.Mains, UseMains}, {c.Inputs.Battery, UseBattery}, {c.Inputs.Tamper, UseTamper}} {
		if in.input != nil {
			add(in.input.Line, in.use, "", false, in.input.Normal)
		}
	}
	for _, o := range c.Outputs {
		add(o.Line, UseOutput, string(o.ID), true, !o.Active)
	}
	return out
}
