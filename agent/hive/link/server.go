package link

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"gatehouse/agent/site"
)

// MinKey is the shortest key that is accepted, in bytes (hive.md, Envelope).
const MinKey = 16

// noteVersion1 marks the events of a request that anybody could have recorded
// and sent again.
const noteVersion1 = "hive version 1: no replay protection"

// device is one configured device and what was seen of it.
type device struct {
	DeviceConfig
	spoke1 atomic.Bool // an accepted request in version 1 since the start
	spoke2 atomic.Uint32

	mu    sync.Mutex // guards parts
	parts *assembly  // a body that it sends; nil: none
}

// What is known of a device having spoken version 2. A device goes from
// spokeUnknown to neverSpoke2, and from either to maySpeak2, for good.
const (
	spokeUnknown uint32 = iota
	neverSpoke2         // Nonces said so, and no nonce was offered to it since
	maySpeak2           // Nonces must be asked
)

// spokeVersion2 reports whether the device ever had a packet of version 2
// accepted. Nonces is asked once, and each time for a device that tried.
func (s *Server) spokeVersion2(d *device) (bool, error) {
	if d.spoke2.Load() == neverSpoke2 {
		return false, nil
	}
	saw, err := s.deps.Nonces.SawVersion2(d.Name)
	if err == nil && !saw {
		// Not where a nonce was offered while Nonces was asked.
		d.spoke2.CompareAndSwap(spokeUnknown, neverSpoke2)
	}
	return saw, err
}

// Server answers the Hive devices of the site.
type Server struct {
	cfg     Config
	deps    Deps
	log     *slog.Logger
	devices map[site.DeviceName]*device
	items   map[string]bool // every item that any device has
	lines   []*Line
	faults  *faults
	limits  deadlines
	bodies  bodies
	ready   chan struct{}
}

// New builds the server of validated settings. It starts nothing and opens
// nothing.
func New(cfg Config, deps Deps) (*Server, error) {
	if deps.Access == nil || deps.Nonces == nil || deps.Vend == nil || deps.Events == nil {
		return nil, errors.New("hive: a dependency is missing")
	}
	if deps.Clock == nil {
		deps.Clock = systemClock
	}
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{
		cfg: cfg, deps: deps, log: deps.Log,
		devices: make(map[site.DeviceName]*device, len(cfg.Devices)),
		items:   make(map[string]bool),
		ready:   make(chan struct{}),
	}
	s.faults = newFaults(s.record)
	for _, d := range cfg.Devices {
		if err := s.addDevice(d); err != nil {
			return nil, err
		}
	}
	for _, l := range cfg.Lines {
		if err := s.addLine(l); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (s *Server) addDevice(d DeviceConfig) error {
	switch {
	case d.Name == "":
		return errors.New("hive: a device has no name")
	case s.devices[d.Name] != nil:
		return fmt.Errorf("hive: device %q: named twice", d.Name)
	case len(d.Key) < MinKey:
		return fmt.Errorf("hive: device %q: key of %d bytes: want at least %d", d.Name, len(d.Key), MinKey)
	case d.Versions == 0 || d.Versions&^(Version1|Version2) != 0:
		return fmt.Errorf("hive: device %q: versions are none of 1 and 2", d.Name)
	}
	s.devices[d.Name] = &device{DeviceConfig: d}
	for item := range d.Items {
		s.items[item] = true
	}
	return nil
}

// addLine refuses lines that could not work, and a key that two devices on
// lines share: with it one device's packet would pass for the other's.
func (s *Server) addLine(c LineConfig) error {
	switch {
	case s.deps.Ports == nil:
		return errors.New("hive: lines without ports: a dependency is missing")
	case len(c.Devices) == 0:
		return fmt.Errorf("hive: line %s: has no device", c.Port)
	case (c.Bus() || c.Poll) && s.deps.Counters == nil:
		return fmt.Errorf("hive: line %s is polled without counters: a dependency is missing", c.Port)
	}
	for i, d := range c.Devices {
		if err := s.lineDevice(c, d.Device, c.Devices[:i]); err != nil {
			return err
		}
	}
	c.Devices = slices.Clone(c.Devices)
	s.lines = append(s.lines, newLine(s, c))
	return nil
}

// lineDevice checks one device of a line against those before it, on this line
// and others.
func (s *Server) lineDevice(c LineConfig, name site.DeviceName, before []LineDevice) error {
	d := s.devices[name]
	switch {
	case d == nil:
		return fmt.Errorf("hive: line %s: device %q is not known", c.Port, name)
	case d.Versions&Version2 == 0:
		return fmt.Errorf("hive: line %s: device %q may speak version 1 only, a line speaks version 2", c.Port, name)
	}
	with := func(port string, other site.DeviceName) error {
		switch {
		case other == name:
			return fmt.Errorf("hive: line %s: device %q is also on line %s", c.Port, name, port)
		case bytes.Equal(s.devices[other].Key, d.Key):
			return fmt.Errorf("hive: line %s: devices %q and %q share a key", c.Port, other, name)
		}
		return nil
	}
	for _, l := range s.lines {
		if l.cfg.Port == c.Port {
			return fmt.Errorf("hive: line %s: is named twice", c.Port)
		}
		for _, other := range l.cfg.Devices {
			if err := with(l.cfg.Port, other.Device); err != nil {
				return err
			}
		}
	}
	for _, other := range before {
		if err := with(c.Port, other.Device); err != nil {
			return err
		}
	}
	return nil
}

// Lines returns the serial lines of the settings. The caller runs each.
func (s *Server) Lines() []*Line { return slices.Clone(s.lines) }

// String names the task.
func (s *Server) String() string { return "hive" }

// Ready is closed when Run has begun.
func (s *Server) Ready() <-chan struct{} { return s.ready }

// Run records the counts of faults that were held back, once their minute is
// over and at the end, and forgets long bodies that devices did not send to their
// end. It may be run once, and returns nil when ctx ends.
// Requests are answered whether or not it runs.
func (s *Server) Run(ctx context.Context) error {
	close(s.ready)
	t := time.NewTicker(faultGap)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			s.faults.flush(time.Now(), true)
			return nil
		case now := <-t.C:
			s.faults.flush(now, false)
			s.dropStaleParts(now)
		}
	}
}

// Warnings says, for status and doctor, which devices may speak version 1 and
// so have no replay protection. It is empty when there is none.
func (s *Server) Warnings() []string {
	var out []string
	for _, d := range slices.SortedFunc(maps.Values(s.devices), func(a, b *device) int { return cmp.Compare(a.Name, b.Name) }) {
		if d.Versions&Version1 == 0 {
			continue
		}
		if d.Versions&Version2 != 0 {
			if saw, err := s.spokeVersion2(d); err == nil && saw {
				continue // not let back to 1
			}
		}
		verb := "may speak"
		if d.spoke1.Load() {
			verb = "speaks"
		}
		out = append(out, fmt.Sprintf("hive device %q %s version 1, which has no replay protection: set versions: [2] where the device can", d.Name, verb))
	}
	return out
}

// record stamps an event and hands it to the log.
func (s *Server) record(e site.Event) {
	c := s.deps.Clock()
	if e.Time.IsZero() {
		e.Time = c.Now
	}
	e.Trusted = c.Trusted
	s.deps.Events.Append(e)
}
