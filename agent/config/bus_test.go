package config_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"gatehouse/agent/config"
	"gatehouse/agent/hive/link"
)

// TestSerialLines: readers and locks that name one port share a bus, in the order of
// the settings; a lock is polled, a lone reader where its settings say so.
func TestSerialLines(t *testing.T) {
	tests := []struct {
		name, settings string
		want           []link.LineConfig
	}{
		{"a lone reader", `
readers:
  - {id: a, door: front, serial: {port: /dev/ttyS0, baud: 9600}, hive_device: x}
`, []link.LineConfig{{Port: "/dev/ttyS0", Baud: 9600, Devices: []link.LineDevice{{Device: "x", Reader: "a"}}}}},
		{"a lone reader that is polled", `
readers:
  - {id: a, door: front, serial: {port: /dev/ttyS0, poll: true}, hive_device: x}
`, []link.LineConfig{{Port: "/dev/ttyS0", Baud: 115200, Poll: true, Devices: []link.LineDevice{{Device: "x", Reader: "a"}}}}},
		{"a lock", `
locks:
  - {id: vault, serial: "0000000000000000A100000000002479", model: le, port: /dev/ttyS1, hive_device: y}
`, []link.LineConfig{{Port: "/dev/ttyS1", Baud: 115200, Poll: true, Devices: []link.LineDevice{{Device: "y", Door: "vault"}}}}},
		{"a bus, whose lock stands first, and a line", `
locks:
  - {id: vault, serial: "0000000000000000A100000000002479", model: le, port: tty/../bus, baud: 38400, hive_device: y}
readers:
  - {id: b, door: front, serial: {port: /dev/ttyS0}, hive_device: z}
  - {id: a, door: front, serial: {port: bus, baud: 38400}, hive_device: x}
`, []link.LineConfig{
			{Port: "/settings/bus", Baud: 38400, Poll: true, Devices: []link.LineDevice{{Device: "y", Door: "vault"}, {Device: "x", Reader: "a"}}},
			{Port: "/dev/ttyS0", Baud: 115200, Devices: []link.LineDevice{{Device: "z", Reader: "b"}}},
		}},
	}
	const head = `version: 1
site: {name: s, timezone: UTC, key_file: site.key}
device: {serial: "0000000000000000A0B1000000000206"}
doors: [{id: front, strike: {line: GPIO24}, rex: {line: GPIO22}}]
hive:
  devices:
    - {name: x, key_file: x.key, versions: [2]}
    - {name: y, key_file: y.key, versions: [2]}
    - {name: z, key_file: z.key, versions: [2]}
`
	opts := config.Options{Base: "/settings", Parts: config.AllParts(), KeyFile: keyFolder{
		"/settings/x.key":    {"text:key of the device x", 0o600},
		"/settings/y.key":    {"text:key of the device y", 0o600},
		"/settings/z.key":    {"text:key of the device z", 0o600},
		"/settings/site.key": {siteKeyText, 0o600},
	}.read}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, issues := config.Parse([]byte(head+tt.settings), "f", opts)
			if len(issues) > 0 {
				t.Fatalf("issues %v", texts(issues))
			}
			if diff := cmp.Diff(tt.want, c.Hive.Lines); diff != "" {
				t.Errorf("lines (-want +got):\n%s", diff)
			}
		})
	}
}
