package config

import (
	"iter"
	"maps"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"gatehouse/agent/card"
	"gatehouse/agent/site"
	"gatehouse/store"
	"gatehouse/store/spool"
)

// builder turns raw settings into a Config and checks what holds between them.
// It goes on after faults: its result counts only when none was noted.
type builder struct {
	*issueList
	keys map[string]at
	opts Options

	used    map[string]at // lines that are taken
	ids     map[string]at // ids that are taken, by kind of id
	devices map[string]*hiveDevice
	lines   []*serialLine
}

// hiveDevice is one device of hive.devices.
type hiveDevice struct {
	raw  *rawHiveDevice
	key  string // keyID of its key; empty when there is none
	line at     // the serial line that it is on
}

func (b *builder) build(raw *rawFile) *Config {
	b.used, b.ids, b.devices = map[string]at{}, map[string]at{}, map[string]*hiveDevice{}
	c := &Config{Version: raw.Version.V}
	b.base(c, raw)
	b.parts(raw)
	b.formats(c, raw)
	// Names first: a reader may stand before its door in the file.
	doors, areas := b.names(raw)
	for i := range raw.Doors {
		c.Doors = append(c.Doors, b.door(&raw.Doors[i], raw, areas))
	}
	b.areas(c, raw)
	b.pin(c, raw)
	b.interlocks(c, raw, doors)
	b.siteInputs(c, raw)
	b.outputs(c, raw, doors)
	b.hive(c, raw, doors)
	b.readers(c, raw, areas)
	b.locks(c, raw)
	b.serialLines(c)
	b.sharedKeys()
	b.egress(raw)
	b.doorRules(c, raw)
	b.counting(raw)
	b.services(c, raw)
	return c
}

// unique notes an id of one kind and reports whether it is new.
func (b *builder) unique(kind string, id text) bool {
	if id.V == "" {
		return false
	}
	key := kind + "\x00" + id.V
	if first, ok := b.ids[key]; ok {
		b.errorf(id.at, "%s %s is named twice, first in line %d", kind, quote(id.V), first.Line)
		return false
	}
	b.ids[key] = id.at
	return true
}

// claim takes a line for one use. An empty name takes nothing.
func (b *builder) claim(kind string, name text) {
	if name.V == "" {
		return
	}
	key := kind + "\x00" + name.V
	if first, ok := b.used[key]; ok {
		b.errorf(name.at, "%s %s is used twice, first in line %d by %s", kind, name.V, first.Line, first.Path)
		return
	}
	b.used[key] = name.at
}

// resolve makes a path of the file absolute to Options.Base.
func (b *builder) resolve(path string) string {
	if path == "" || filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(b.opts.Base, path)
}

func (b *builder) base(c *Config, raw *rawFile) {
	c.Site.Name, c.Site.Zone = raw.Site.Name.V, time.UTC
	if raw.Site.Timezone.Set {
		if zone, err := time.LoadLocation(raw.Site.Timezone.V); err == nil {
			c.Site.Zone = zone
		}
	}
	if raw.Site.KeyFile.Set {
		c.Site.Key = b.siteKey(raw.Site.KeyFile)
	}
	c.Device.Serial = raw.Device.Serial.V
	if raw.Device.Serial.Set {
		b.ids["serial number\x00"+c.Device.Serial] = raw.Device.Serial.at
	}
	c.Device.Board = b.board(raw.Device.Board)
	c.StateDir = b.resolve(raw.StateDir.V)
	if n := len(c.StateDir) + len("/control.sock"); n > maxSocket {
		b.errorf(raw.StateDir.at, "is too long: the path of control.sock in it has %d bytes, and a socket's has at most %d", n, maxSocket)
	}
	if b.opts.Folder != nil {
		if err := b.opts.Folder(c.StateDir); err != nil {
			b.errorf(raw.StateDir.at, "cannot be the state folder: %v", err)
		}
	}
	c.Listen = Listen{HTTPS: raw.Listen.HTTPS.V, Devices: raw.Listen.Devices.V}
	b.listeners(raw)
	c.Clock = site.ClockAlwaysOnly
	if m, err := site.ParseClockMode(raw.Clock.Untrusted.V); err == nil {
		c.Clock = m
	}
	c.Store = store.Config{Dir: c.StateDir, CopyEvery: raw.Store.CopyEvery.V}
	c.Spool = spool.Config{
		Dir: filepath.Join(c.StateDir, "events"), Budget: int64(raw.Events.Budget.V), Keep: raw.Events.Keep.V,
	}
}

// maxSocket is the longest path of a unix socket (sun_path of unix(7), less its
// end).
const maxSocket = 107

func (b *builder) board(t text) Board {
	switch {
	case t.V == "auto":
		return Board{}
	case t.V == "sim":
		return Board{Sim: true}
	case strings.ContainsRune(t.V, '/'), strings.HasSuffix(t.V, ".yaml"), strings.HasSuffix(t.V, ".yml"):
		return Board{File: b.resolve(t.V)}
	}
	return Board{Name: t.V}
}

func (b *builder) listeners(raw *rawFile) {
	d := raw.Listen.Devices
	if !d.Set {
		return
	}
	if sameAddress(d.V, raw.Listen.HTTPS.V) {
		b.errorf(d.at, "is the address of listen.https, %s", quote(raw.Listen.HTTPS.V))
	}
	b.warnf(d.at, "plain HTTP: what passes here can be read and altered on the network; keep it on a network of its own")
}

// sameAddress reports whether two listeners want the same port of an address: one
// without a host has it of all.
func sameAddress(a, b string) bool {
	ahost, aport, aerr := net.SplitHostPort(a)
	bhost, bport, berr := net.SplitHostPort(b)
	if aerr != nil || berr != nil || aport != bport || aport == "0" {
		return false
	}
	all := func(host, other string) bool {
		return host == "" || host == "::" || host == "0.0.0.0" && !strings.Contains(other, ":")
	}
	return ahost == bhost || all(ahost, bhost) || all(bhost, ahost)
}

// maxFormats bounds the formats of a site: each card is tried against all.
const maxFormats = 64

func (b *builder) formats(c *Config, raw *rawFile) {
	span := func(s *rawSpan) card.Field {
		if s == nil {
			return card.Field{}
		}
		return card.Field{Offset: s.Start.V, Len: s.Len.V}
	}
	order := func(s string) card.ByteOrder {
		if s == "lsb" {
			return card.LSBFirst
		}
		return card.MSBFirst
	}
	serials := order(raw.Cards.CSN.V)
	c.Cards, _ = card.NewSet(serials)
	if len(raw.Formats) > maxFormats {
		b.errorf(raw.Formats[maxFormats].At, "more than %d formats", maxFormats)
		return
	}
	for i := range raw.Formats {
		r := &raw.Formats[i]
		if r.Name.V == "" || !r.Bits.Set || r.Card == nil {
			continue // already a fault
		}
		spec := card.FormatSpec{
			Name: r.Name.V, Bits: r.Bits.V, Facility: span(r.Facility), Issue: span(r.Issue), Card: span(r.Card),
			Order: order(r.Order.V), Ones: values(r.Ones),
		}
		for _, p := range r.Parity {
			spec.Parities = append(spec.Parities, card.Parity{Bit: p.Bit.V, Odd: p.Kind.V == "odd", Covers: values(p.Over)})
		}
		f, err := card.NewFormat(spec)
		if err != nil {
			b.errorf(r.At, "%v", err)
			continue
		}
		set, err := card.NewSet(serials, append(c.Formats, f)...)
		if err != nil {
			b.errorf(r.At, "%v", err)
			continue
		}
		c.Formats, c.Cards = append(c.Formats, f), set
	}
}

// values strips the places of a list.
func values[T any](list []field[T]) []T {
	var out []T
	for _, f := range list {
		out = append(out, f.V)
	}
	return out
}

// names notes the ids of doors, locks and areas. The value of doors tells a
// door on this board (true) from a lock.
func (b *builder) names(raw *rawFile) (doors map[string]bool, areas map[string]bool) {
	doors, areas = map[string]bool{}, map[string]bool{}
	for i := range raw.Doors {
		if b.unique("door", raw.Doors[i].ID) {
			doors[raw.Doors[i].ID.V] = true
		}
	}
	for i := range raw.Locks {
		if b.unique("door", raw.Locks[i].ID) {
			doors[raw.Locks[i].ID.V] = false
		}
	}
	for i := range raw.Areas {
		if b.unique("area", raw.Areas[i].ID) {
			areas[raw.Areas[i].ID.V] = true
		}
	}
	return doors, areas
}

// known checks a reference and suggests the nearest name.
func (b *builder) known(kind string, ref text, names map[string]bool) bool {
	if !ref.Set {
		return false
	}
	if _, ok := names[ref.V]; ok {
		return true
	}
	b.errorf(ref.at, "there is no %s %s%s", kind, quote(ref.V), b.nearest(ref.V, maps.Keys(names)))
	return false
}

// nearest suggests one of names for a name that is not there, as long as that
// is worth the work.
func (b *builder) nearest(s string, names iter.Seq[string]) string {
	const enough = 1000
	if b.count[Error] >= maxIssues {
		return ""
	}
	words := slices.Sorted(names)
	if w := suggest(s, words[:min(len(words), enough)]); w != "" {
		return " (did you mean " + w + "?)"
	}
	return ""
}

func nameOr(name, id text) string {
	if name.V != "" {
		return name.V
	}
	return id.V
}
