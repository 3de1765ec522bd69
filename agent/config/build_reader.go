package config

import (
	"maps"
	"slices"

	"gatehouse/agent/hive/link"
	"gatehouse/agent/reader"
	"gatehouse/agent/site"
	"gatehouse/agent/swordfish"
	"gatehouse/hal"
	"gatehouse/store"
)

// readerModes are the words of the settings.
var readerModes = map[string]reader.Mode{
	"card": reader.ModeCard, "card_pin": reader.ModeCardPIN, "pin": reader.ModePIN,
	"either": reader.ModeEither, "closed": reader.ModeClosed,
}

func (b *builder) readers(c *Config, raw *rawFile, areas map[string]bool) {
	onBoard := map[string]bool{}
	for i := range raw.Doors {
		onBoard[raw.Doors[i].ID.V] = true
	}
	for i := range raw.Readers {
		r := &raw.Readers[i]
		b.unique("reader", r.ID)
		b.known("door", r.Door, onBoard)
		b.known("area", r.From, areas)
		b.known("area", r.To, areas)
		if r.From.V != "" && r.From.V == r.To.V {
			b.errorf(r.To.at, "leads into the area that it leaves")
		}
		conf := reader.Config{
			ID: site.ReaderID(r.ID.V), Door: site.DoorID(r.Door.V), From: site.AreaID(r.From.V), To: site.AreaID(r.To.V),
		}
		b.readerMode(c, r, &conf)
		if b.readerWire(c, r, &conf); conf.Serial != nil {
			b.onLine(conf.Serial, r.Serial.Port.at, r.HiveDevice, link.LineDevice{Reader: conf.ID}, r.Serial.Poll.V)
		}
		c.Readers = append(c.Readers, conf)
	}
}

// readerMode fills the mode. One that the build lacks is a refusal: the reader
// would otherwise open for less than the settings ask.
func (b *builder) readerMode(c *Config, r *rawReader, conf *reader.Config) {
	conf.Mode = readerModes[r.Mode.Mode.V]
	all := []text{r.Mode.Mode}
	if len(r.Mode.Rules) > 0 {
		conf.Mode, all = reader.ModeClosed, nil
		if c.ReaderModes == nil {
			c.ReaderModes = map[site.ReaderID][]ReaderMode{}
		}
		var modes []ReaderMode
		for _, rule := range r.Mode.Rules {
			all = append(all, rule.Mode)
			modes = append(modes, ReaderMode{Schedule: site.ScheduleID(rule.Schedule.V), Mode: readerModes[rule.Mode.V]})
		}
		c.ReaderModes[conf.ID] = modes
		if b.missing(PartReaderModes) {
			b.warnf(r.Mode.At, "this build has no %s; the reader would open nothing", PartReaderModes)
		}
	}
	for _, m := range all {
		mode := readerModes[m.V]
		c.Store.PINAlone = c.Store.PINAlone || mode == reader.ModePIN || mode == reader.ModeEither
		if mode != reader.ModeCard && mode != reader.ModeClosed && b.missing(PartPIN) {
			b.warnf(m.at, "mode %s: this build has no %s; the reader would open nothing", m.V, PartPIN)
		}
	}
}

// readerWire fills how the reader is connected: by two lines, or by a serial
// line with a Hive device at its end.
func (b *builder) readerWire(c *Config, r *rawReader, conf *reader.Config) {
	switch {
	case r.Wiegand != nil && r.Serial != nil:
		b.errorf(r.Serial.At, "a reader is connected by wiegand or by serial, not both")
	case r.Wiegand == nil && r.Serial == nil:
		b.errorf(r.At, "has neither wiegand nor serial (a reader that calls over the network is under hive.devices)")
	case r.Wiegand != nil && r.HiveDevice.Set:
		b.errorf(r.HiveDevice.at, "goes with serial, not with wiegand")
	}
	if a, given := b.keys[r.At.Path+".feedback"]; given && r.Wiegand == nil {
		b.errorf(a, "goes with wiegand; a reader on a serial line has signals of its own")
	}
	if w := r.Wiegand; w != nil {
		for _, l := range []text{w.D0, w.D1, w.LED, w.Beeper} {
			b.claim("line", l)
		}
		conf.Wiegand = &reader.WiegandConfig{
			D0: hal.LineName(w.D0.V), D1: hal.LineName(w.D1.V), LED: hal.LineName(w.LED.V), Beeper: hal.LineName(w.Beeper.V),
			LEDOn: w.LEDActive.V, BeepOn: w.BeeperActive.V, Silence: w.Silence.V, Formats: c.Formats,
			Feedback: b.feedback(r),
		}
		if t := b.watched(w.Tamper); t != nil {
			conf.Wiegand.Tamper, conf.Wiegand.TamperNormal = t.Line, t.Normal
		}
	}
	if s := r.Serial; s != nil {
		conf.Serial = b.serial(s.Port, s.Baud, r.HiveDevice, s.At)
	}
}

// maxTones bounds a signal.
const maxTones = 32

// feedback fills the signals that are not as usual; nil when all are.
func (b *builder) feedback(r *rawReader) map[site.Pattern]reader.Signal {
	f := &r.Feedback
	var out map[site.Pattern]reader.Signal
	for _, s := range []struct {
		pattern site.Pattern
		raw     *rawSignal
	}{
		{site.PatternGranted, f.Granted}, {site.PatternDenied, f.Denied}, {site.PatternError, f.Error},
		{site.PatternWaiting, f.Waiting}, {site.PatternLockdown, f.Lockdown},
	} {
		if s.raw == nil {
			continue
		}
		if out == nil {
			out = map[site.Pattern]reader.Signal{}
		}
		out[s.pattern] = b.signal(r, s.raw)
	}
	return out
}

func (b *builder) signal(r *rawReader, s *rawSignal) reader.Signal {
	if len(s.Tones) > maxTones {
		b.errorf(s.Tones[maxTones].At, "more than %d tones", maxTones)
	}
	sig := reader.Signal{Repeat: s.Repeat.V}
	led, beep := false, false
	for i := range s.Tones {
		t := &s.Tones[i]
		led, beep = led || t.LED.V, beep || t.Beep.V
		sig.Tones = append(sig.Tones, reader.Tone{LED: t.LED.V, Beep: t.Beep.V, For: t.For.V})
	}
	if s.Repeat.V > 0 && s.Tones != nil && len(s.Tones) == 0 {
		b.errorf(s.Repeat.at, "there is no tone to play again")
	}
	if w := r.Wiegand; w != nil {
		if led && !w.LED.Set {
			b.warnf(s.At, "lights the LED, and wiegand.led is not set")
		}
		if beep && !w.Beeper.Set {
			b.warnf(s.At, "sounds the beeper, and wiegand.beeper is not set")
		}
	}
	return sig
}

// bauds are the speeds that serial ports have.
var bauds = []int{1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200, 230400, 460800, 921600}

// serial takes the serial connection of a device.
func (b *builder) serial(port text, baud number, device text, a at) *reader.SerialConfig {
	if baud.Set && !slices.Contains(bauds, baud.V) {
		b.errorf(baud.at, "%d is no usual speed (one of %v)", baud.V, bauds)
	}
	if !device.Set {
		b.errorf(a, "a serial line wants hive_device, the device at its end")
	} else {
		b.lineDevice(device)
	}
	return &reader.SerialConfig{Port: b.resolve(port.V), Baud: baud.V, Device: site.DeviceName(device.V)}
}

// lineDevice puts a Hive device on a serial line. Lines speak version 2 only,
// and a device is on one (hive.md).
func (b *builder) lineDevice(ref text) {
	d, ok := b.devices[ref.V]
	if !ok {
		b.errorf(ref.at, "there is no device %s in hive.devices%s", quote(ref.V), b.nearest(ref.V, maps.Keys(b.devices)))
		return
	}
	if d.line.Line != 0 {
		b.errorf(ref.at, "device %s is on two serial lines, first in line %d", quote(ref.V), d.line.Line)
		return
	}
	d.line = ref.at
	if vs := values(d.raw.Versions); len(vs) > 0 && !slices.Contains(vs, 2) {
		b.errorf(ref.at, "device %s may speak version 1 only; a serial line speaks version 2", quote(ref.V))
	}
}

func (b *builder) locks(c *Config, raw *rawFile) {
	for i := range raw.Locks {
		r := &raw.Locks[i]
		l := Lock{ID: site.DoorID(r.ID.V), Name: nameOr(r.Name, r.ID), Number: r.Serial.V, Model: r.Model.V}
		if r.Serial.Set {
			b.unique("serial number", r.Serial)
		}
		l.Profile, _ = swordfish.ProfileOf(r.Model.V) // the schema has the models
		l.Profile.SoleSchedule, l.Profile.DayEnd = r.OneSched.V, r.DayEnd.V
		l.Profile.Holidays = l.Profile.Holidays && r.Holidays.V
		switch {
		case r.Port.Set:
			l.Serial = b.serial(r.Port, r.Baud, r.HiveDevice, r.Port.at)
			if !b.missing(PartLocks) {
				b.onLine(l.Serial, r.Port.at, r.HiveDevice, link.LineDevice{Door: l.ID}, true)
			}
		case r.HiveDevice.Set:
			b.errorf(r.HiveDevice.at, "goes with port, and there is none")
		case r.Baud.Set:
			b.errorf(r.Baud.at, "goes with port, and there is none")
		}
		c.Locks = append(c.Locks, l)
		if !b.missing(PartLocks) {
			c.Store.Locks = append(c.Store.Locks, store.LockLimit{Door: l.ID, Profile: &l.Profile})
		}
	}
	if a, ok := b.keys["locks"]; ok && len(raw.Locks) > 0 && !raw.Site.KeyFile.Set {
		b.warnf(a, "there is no site.key_file; locks that need the site key get no door file")
	}
}
