package link

import (
	"fmt"
	"log/slog"
	"time"

	"gatehouse/agent/site"
)

// Config is the Hive part of the settings, validated.
type Config struct {
	Devices    []DeviceConfig
	Vend       VendConfig
	QuietHours QuietHours
	Lines      []LineConfig
}

// DeviceConfig is one device that may call (hive.md).
type DeviceConfig struct {
	Name     site.DeviceName
	Key      Key
	Versions Versions
	Items    map[string]site.DoorID // name on the wire: door
}

// Key is a device's shared key, at least 16 raw bytes. It is redacted wherever
// it is printed.
type Key []byte

// String redacts the key.
func (Key) String() string { return "[key]" }

// GoString redacts the key.
func (Key) GoString() string { return "[key]" }

// Format redacts the key whatever the verb is.
func (k Key) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(k.String())) }

// LogValue redacts the key.
func (k Key) LogValue() slog.Value { return slog.StringValue(k.String()) }

// MarshalText redacts the key.
func (Key) MarshalText() ([]byte, error) { return []byte("[key]"), nil }

// Versions is the set of protocol versions that a device may speak.
type Versions uint8

// The versions.
const (
	Version1 Versions = 1 << iota
	Version2
)

// VendConfig is the vending rule: credits that a new badge starts with, and the
// number at or below which a reply carries alert.
type VendConfig struct {
	Credits int
	Alert   int
}

// QuietHours is a span of each day in the site's time zone, minutes since
// midnight. Start equal to End means there is none.
type QuietHours struct {
	Start, End int
	Zone       *time.Location
}

// LineConfig is a serial line. With one device it is a point-to-point line, on
// which the device speaks first and, with Poll, is also polled. With more it is
// a bus, on which nobody speaks unless polled (engage.md section 6).
type LineConfig struct {
	Port    string
	Baud    int
	Devices []LineDevice // at least one; a bus polls them in this order
	Poll    bool         // a line with one device is polled too; a bus always is
}

// Bus reports whether the line is a bus.
func (c LineConfig) Bus() bool { return len(c.Devices) > 1 }

// LineDevice is a device on a serial line, and what it is for the site: a
// reader or a lock, of which the other is empty.
type LineDevice struct {
	Device site.DeviceName
	Reader site.ReaderID
	Door   site.DoorID // a lock's
}
