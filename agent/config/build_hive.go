package config

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"gatehouse/agent/hive/link"
	"gatehouse/agent/site"
)

// minHiveKey is the shortest key that a Hive device may have (hive.md).
const minHiveKey = 16

func (b *builder) hive(c *Config, raw *rawFile, doors map[string]bool) {
	for i := range raw.Hive.Devices {
		c.Hive.Devices = append(c.Hive.Devices, b.hiveDevice(&raw.Hive.Devices[i], doors))
	}
	c.Hive.Vend = link.VendConfig{Credits: raw.Hive.Vend.Credits.V, Alert: raw.Hive.Vend.Alert.V}
	if q := raw.Hive.QuietHours; q != nil {
		c.Hive.QuietHours = link.QuietHours{Start: int(q.Start.V), End: int(q.End.V), Zone: c.Site.Zone}
		if q.Start.Set && q.End.Set && q.Start.V == q.End.V {
			b.warnf(q.At, "start and end are the same; there are no quiet hours")
		}
	}
}

func (b *builder) hiveDevice(r *rawHiveDevice, doors map[string]bool) link.DeviceConfig {
	d := link.DeviceConfig{Name: site.DeviceName(r.Name.V), Versions: link.Version1 | link.Version2}
	entry := &hiveDevice{raw: r}
	if b.unique("hive device", r.Name) {
		b.devices[r.Name.V] = entry
	}
	if r.KeyFile.Set {
		if key, ok := b.key(r.KeyFile, Warning); ok {
			if len(key) < minHiveKey {
				b.errorf(r.KeyFile.at, "the key has %d bytes; at least %d are needed", len(key), minHiveKey)
			} else {
				d.Key, entry.key = key, keyID(key)
			}
		}
	}
	if r.Versions != nil {
		d.Versions = 0
		for _, v := range r.Versions {
			bit := link.Versions(1) << (v.V - 1)
			if v.Set && d.Versions&bit != 0 {
				b.errorf(v.at, "version %d is listed twice", v.V)
			}
			if v.Set {
				d.Versions |= bit
			}
		}
		if len(r.Versions) == 0 {
			b.errorf(b.keys[r.At.Path+".versions"], "is empty; leave it out for both versions")
		}
	}
	for _, item := range r.Items.List {
		if d.Items == nil {
			d.Items = map[string]site.DoorID{}
		}
		b.known("door", item.Door, doors)
		d.Items[item.Name] = site.DoorID(item.Door.V)
	}
	return d
}

// sharedKeys compares the devices' keys. On a line a shared key would let one
// device answer for the other; over the network it is only unwise.
func (b *builder) sharedKeys() {
	byKey := map[string][]*hiveDevice{}
	for _, d := range b.devices {
		if d.key != "" {
			byKey[d.key] = append(byKey[d.key], d)
		}
	}
	for _, ds := range byKey {
		slices.SortFunc(ds, func(x, y *hiveDevice) int {
			return cmp.Or(cmp.Compare(x.raw.Name.Line, y.raw.Name.Line), cmp.Compare(x.raw.Name.Col, y.raw.Name.Col))
		})
		var line *hiveDevice
		for i, d := range ds {
			switch {
			case d.line.Line != 0 && line != nil:
				b.errorf(d.raw.KeyFile.at, "devices %s and %s are both on serial lines and share a key",
					quote(line.raw.Name.V), quote(d.raw.Name.V))
			case i > 0:
				b.warnf(d.raw.KeyFile.at, "devices %s and %s share a key", quote(ds[0].raw.Name.V), quote(d.raw.Name.V))
			}
			if d.line.Line != 0 {
				line = d
			}
		}
	}
}

// siteKey reads the site key: 64 hex digits in a file that only its owner may
// read.
func (b *builder) siteKey(file text) SiteKey {
	key, ok := b.key(file, Error)
	if !ok {
		return nil
	}
	if len(key) != 32 {
		b.errorf(file.at, "the site key is not 64 hex digits")
		return nil
	}
	return SiteKey(key)
}

// key reads a key file. open is what it is worth when others may read it.
// Nothing of the content is ever in an issue.
func (b *builder) key(file text, open Severity) ([]byte, bool) {
	content, ok := b.keyFile(file, open)
	if !ok {
		return nil, false
	}
	key, err := parseKey(content)
	if err != nil {
		b.errorf(file.at, "%v", err)
		return nil, false
	}
	if open == Error && bytes.HasPrefix(content, []byte("text:")) {
		b.errorf(file.at, "the site key is not 64 hex digits")
		return nil, false
	}
	return key, true
}

// keyFile reads the content of a key file and judges its mode.
func (b *builder) keyFile(file text, open Severity) ([]byte, bool) {
	if b.opts.KeyFile == nil {
		b.errorf(file.at, "key files cannot be read here")
		return nil, false
	}
	content, mode, err := b.opts.KeyFile(b.resolve(file.V))
	if err != nil {
		b.errorf(file.at, "%v", err)
		return nil, false
	}
	if mode.Perm()&0o077 != 0 {
		b.add(file.at, open, "%s has mode %04o; others may read or change it: want 0600", filepath.Base(file.V), mode.Perm())
	}
	return content, true
}

// parseKey reads the one line of a key file: hex digits, or text: and the
// key's own characters (contract.md, Settings).
func parseKey(content []byte) ([]byte, error) {
	line, err := keyLine(content)
	if err != nil {
		return nil, err
	}
	if t, ok := strings.CutPrefix(line, "text:"); ok {
		return []byte(t), nil
	}
	key, err := hex.DecodeString(strings.TrimSpace(line))
	if err != nil || len(key) == 0 {
		return nil, fmt.Errorf("the key file holds neither hex digits nor text: with a key")
	}
	return key, nil
}

// keyLine returns the one line of a key file.
func keyLine(content []byte) (string, error) {
	if len(content) >= maxKey {
		return "", fmt.Errorf("the key file is too long")
	}
	line := strings.TrimSuffix(strings.TrimSuffix(string(content), "\n"), "\r")
	if strings.ContainsAny(line, "\r\n") {
		return "", fmt.Errorf("the key file has more than one line")
	}
	return line, nil
}
