package config

import (
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"time"

	"gatehouse/agent/card"
	"gatehouse/agent/door"
	"gatehouse/agent/hive/link"
	"gatehouse/agent/reader"
	"gatehouse/agent/site"
	"gatehouse/hal"
	"gatehouse/store"
	"gatehouse/store/spool"
)

// Config is a settings file that was accepted: every reference in it leads
// somewhere, every path is resolved, every default is filled in.
type Config struct {
	Version  int
	Site     Site
	Device   Device
	StateDir string
	Listen   Listen
	Clock    site.ClockMode

	Store store.Config // Dir is StateDir
	Spool spool.Config // Dir is StateDir/events

	Formats []card.Format // those of the file
	Cards   *card.Set     // those and the built-in ones

	Doors   []door.Config
	Readers []reader.Config // serial ones too; hive/link owns their ports
	Hive    link.Config

	Areas      []Area
	Interlocks []Interlock
	Inputs     Inputs
	Outputs    []Output
	Locks      []Lock
	// ReaderModes holds the modes of readers that change by schedule. Such a
	// reader's own Mode is closed.
	ReaderModes map[site.ReaderID][]ReaderMode

	// The parts that talk to the outside; nil when the file does not have them.
	Swordfish *Swordfish
	Gateway   *Gateway
	Uplink    *Uplink
	MQTT      *MQTT
	BACnet    *BACnet
	Presence  *Presence
	Notify    []Notify
}

// Site is the site as a whole.
type Site struct {
	Name string
	Zone *time.Location
	Key  SiteKey // nil without a key file
}

// SiteKey is the 32 bytes that the site's locks share. It is redacted wherever
// it is printed.
type SiteKey []byte

// String redacts the key.
func (SiteKey) String() string { return "[site key]" }

// GoString redacts the key.
func (SiteKey) GoString() string { return "[site key]" }

// MarshalText redacts the key.
func (SiteKey) MarshalText() ([]byte, error) { return []byte("[site key]"), nil }

// Device is this appliance.
type Device struct {
	Serial string // 32 upper-case hex digits
	Board  Board
}

// Board says where the lines are. Of Sim, File and Name at most one is set;
// none means that the board is found out.
type Board struct {
	Sim  bool   // the simulated board
	Name string // a profile's name
	File string // a profile's file
}

// Listen holds the listeners' addresses, host:port.
type Listen struct {
	HTTPS   string
	Devices string // empty: off
}

// Area is a part of the site that people are counted in.
type Area struct {
	ID        site.AreaID
	Name      string
	Occupancy int // zero: no limit
	Passback  Passback
	Forget    time.Duration // zero: never; not for PassbackNone
}

// Passback is an area's anti-passback.
type Passback uint8

// The kinds of anti-passback.
const (
	PassbackNone Passback = iota
	PassbackSoft
	PassbackTimed
	PassbackHard
)

// Interlock is a group of doors of which at most one is unlocked.
type Interlock struct {
	Doors  []site.DoorID
	Repeat time.Duration // a second exit press within it is obeyed
}

// Inputs are the inputs of the whole site.
type Inputs struct {
	Fire  *Fire
	Panic *Panic
}

// Fire is the fire alarm system's input.
type Fire struct {
	Line    hal.LineName
	Normal  hal.Level // any other is fire
	Latched bool
}

// Panic is a button that locks all doors down.
type Panic struct {
	Line   hal.LineName
	Active hal.Level
}

// Output is an auxiliary output.
type Output struct {
	ID     site.OutputID
	Line   hal.LineName
	Active hal.Level
	On     []site.Kind
	For    time.Duration // zero: until the alarm is cleared
}

// Lock is a Wi-Fi lock, or one on a serial line when Serial is set.
type Lock struct {
	ID     site.DoorID
	Name   string
	Number string // its serial number, 32 upper-case hex digits
	Model  string
	Serial *reader.SerialConfig
}

// ReaderMode is what a reader asks for while a schedule holds; an empty
// Schedule is the rest of the time and the last of its list.
type ReaderMode struct {
	Schedule site.ScheduleID
	Mode     reader.Mode
}

// Swordfish is the locks' protocol.
type Swordfish struct{ Auth SwordfishAuth }

// SwordfishAuth says what happens to a lock that does not authenticate itself.
type SwordfishAuth uint8

// The choices; the zero value is the default and the safe one.
const (
	AuthEnforce SwordfishAuth = iota
	AuthReport
	AuthNone
)

// Gateway is the gateway's RESTful API.
type Gateway struct{ Local bool }

// Uplink is the client of the IP host.
type Uplink struct {
	ServerURL, CAURL string
	FromOldest       bool // a new host gets the oldest event first, else only what comes from now on
}

// MQTT is the client of a broker.
type MQTT struct{ Broker, TopicPrefix string }

// BACnet is the BACnet web services.
type BACnet struct {
	UUID          string // empty: made and kept by the part
	TokenLifetime time.Duration
}

// Presence is the receiver of Wi-Fi location notifications.
type Presence struct{}

// Notify is one receiver of alarms: a webhook, or mail.
type Notify struct {
	ID      string
	On      []site.Kind // empty: all alarms
	Webhook string
	Mail    []string
	SMTP    string
}

// KeyFile reads a key file: its content, at most 64 KiB of it, and its mode.
type KeyFile func(path string) ([]byte, fs.FileMode, error)

// Options is what Parse must be told.
type Options struct {
	// Base is the folder that relative paths are relative to: the file's.
	Base string
	// Parts are the parts that this build has.
	Parts []Part
	// KeyFile reads key files; without it every key file is a fault.
	KeyFile KeyFile
}

// keyID tells equal keys from different ones without keeping them.
func keyID(key []byte) string {
	sum := sha256.Sum256(key)
	return hex.EncodeToString(sum[:])
}
