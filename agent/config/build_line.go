package config

import (
	"cmp"
	"slices"

	"gatehouse/agent/hive/link"
	"gatehouse/agent/reader"
)

// serialLine is a serial port and what the settings put on it.
type serialLine struct {
	link.LineConfig
	first at // where it is first named
	on    []onLine
}

// onLine is a device on a serial line, and where the settings put it there.
type onLine struct {
	link.LineDevice
	port at
	ref  text
}

// onLine puts a device on the line of its port. Devices that name one port share
// a bus.
func (b *builder) onLine(s *reader.SerialConfig, port at, ref text, d link.LineDevice, poll bool) {
	d.Device = s.Device
	i := slices.IndexFunc(b.lines, func(l *serialLine) bool { return l.Port == s.Port })
	if i < 0 {
		i = len(b.lines)
		b.lines = append(b.lines, &serialLine{LineConfig: link.LineConfig{Port: s.Port, Baud: s.Baud}, first: port})
	}
	l := b.lines[i]
	if l.Baud != s.Baud {
		b.errorf(port, "serial port %s has %d baud here and %d in line %d; all devices of a bus want the same",
			s.Port, s.Baud, l.Baud, l.first.Line)
	}
	l.Poll = l.Poll || poll
	l.on = append(l.on, onLine{d, port, ref})
}

// serialLines builds the lines. Lines, and the devices of each, are in the order
// of the settings.
func (b *builder) serialLines(c *Config) {
	place := func(x, y at) int { return cmp.Or(cmp.Compare(x.Line, y.Line), cmp.Compare(x.Col, y.Col)) }
	for _, l := range b.lines {
		slices.SortStableFunc(l.on, func(x, y onLine) int { return place(x.port, y.port) })
	}
	slices.SortStableFunc(b.lines, func(x, y *serialLine) int { return place(x.on[0].port, y.on[0].port) })
	for _, l := range b.lines {
		for _, d := range l.on {
			l.Devices = append(l.Devices, d.LineDevice)
			if len(l.on) > 1 {
				b.onBus(l, d)
			}
		}
		l.Poll = l.Poll || l.Bus()
		c.Hive.Lines = append(c.Hive.Lines, l.LineConfig)
	}
}

// onBus warns of a device on a bus that may speak version 1 elsewhere: with its
// key, which is on the cable that others share, nothing replayed is noticed.
func (b *builder) onBus(l *serialLine, d onLine) {
	dev, ok := b.devices[d.ref.V]
	if !ok {
		return // already a fault
	}
	if vs := values(dev.raw.Versions); len(vs) == 0 || slices.Contains(vs, 1) && slices.Contains(vs, 2) {
		b.warnf(d.ref.at, "device %s is on the bus %s and may speak version 1 over the network, which has no replay protection: set versions: [2]",
			quote(d.ref.V), l.Port)
	}
}
