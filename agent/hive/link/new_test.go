package link_test

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"gatehouse/agent/hive/link"
	"gatehouse/hal/haltest"
)

func TestNewRefuses(t *testing.T) {
	line := func(port string, c *link.Config, device int) {
		c.Lines = append(c.Lines, link.LineConfig{Port: port, Baud: 9600, Devices: []link.LineDevice{{Device: c.Devices[device].Name}}})
	}
	tests := []struct {
		name, want string
		change     func(*link.Config, *link.Deps)
	}{
		{"no store", "hive: a dependency is missing", func(_ *link.Config, d *link.Deps) { d.Nonces = nil }},
		{"short key", `hive: device "one": key of 15 bytes: want at least 16`, func(c *link.Config, _ *link.Deps) { c.Devices[0].Key = c.Devices[0].Key[:15] }},
		{"no name", "hive: a device has no name", func(c *link.Config, _ *link.Deps) { c.Devices[0].Name = "" }},
		{"named twice", `hive: device "one": named twice`, func(c *link.Config, _ *link.Deps) { c.Devices[1].Name = "one" }},
		{"no version", `hive: device "one": versions are none of 1 and 2`, func(c *link.Config, _ *link.Deps) { c.Devices[0].Versions = 0 }},
		{"line without ports", "hive: lines without ports: a dependency is missing", func(c *link.Config, d *link.Deps) { d.Ports = nil; line("a", c, 1) }},
		{"line of nobody", `hive: line a: device "zz" is not known`, func(c *link.Config, _ *link.Deps) {
			c.Lines = []link.LineConfig{{Port: "a", Devices: []link.LineDevice{{Device: "zz"}}}}
		}},
		{"line of a version-1 device", `hive: line a: device "one" may speak version 1 only, a line speaks version 2`, func(c *link.Config, _ *link.Deps) { line("a", c, 0) }},
		{"one port twice", `hive: line a: is named twice`, func(c *link.Config, _ *link.Deps) { line("a", c, 1); line("a", c, 2) }},
		{"one device twice", `hive: line b: device "two" is also on line a`, func(c *link.Config, _ *link.Deps) { line("a", c, 1); line("b", c, 1) }},
		{"one key twice", `hive: line b: devices "two" and "both" share a key`, func(c *link.Config, _ *link.Deps) {
			c.Devices[2].Key = c.Devices[1].Key
			line("a", c, 1)
			line("b", c, 2)
		}},
		{"no device", "hive: line a: has no device", func(c *link.Config, _ *link.Deps) { c.Lines = []link.LineConfig{{Port: "a"}} }},
		{"one device twice on a bus", `hive: line a: device "two" is also on line a`, func(c *link.Config, d *link.Deps) {
			d.Counters = &counters{}
			line("a", c, 1)
			c.Lines[0].Devices = append(c.Lines[0].Devices, c.Lines[0].Devices[0])
		}},
		{"one key twice on a bus", `hive: line a: devices "two" and "both" share a key`, func(c *link.Config, d *link.Deps) {
			d.Counters = &counters{}
			c.Devices[2].Key = c.Devices[1].Key
			line("a", c, 1)
			c.Lines[0].Devices = append(c.Lines[0].Devices, link.LineDevice{Device: "both"})
		}},
		{"a bus without counters", "hive: line a is polled without counters: a dependency is missing", func(c *link.Config, _ *link.Deps) {
			line("a", c, 1)
			c.Lines[0].Devices = append(c.Lines[0].Devices, link.LineDevice{Device: "both"})
		}},
		{"a polled line without counters", "hive: line a is polled without counters: a dependency is missing", func(c *link.Config, _ *link.Deps) {
			line("a", c, 1)
			c.Lines[0].Poll = true
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg, deps := testConfig(), newWorld().deps()
			deps.Ports = &haltest.Ports{}
			tt.change(&cfg, &deps)
			if _, err := link.New(cfg, deps); err == nil || err.Error() != tt.want {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}

// A key is redacted wherever it is printed.
func TestKeyIsRedacted(t *testing.T) {
	var out strings.Builder
	cfg := testConfig()
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%X", "%q", "%d", "%o", "%b"} {
		fmt.Fprintf(&out, verb+" "+verb+"\n", cfg, cfg.Devices[0].Key)
	}
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "cfg", cfg, "key", cfg.Devices[0].Key)
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "cfg", cfg, "key", cfg.Devices[0].Key)
	for _, secret := range []string{"key of device", "107 101 121", "6b6579", "6B6579", "0x6b, 0x65", "a2V5"} {
		if strings.Contains(out.String(), secret) {
			t.Errorf("%q is in %s", secret, out.String())
		}
	}
}
