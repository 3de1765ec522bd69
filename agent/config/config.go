package config

import (
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"time"

	"gatehouse/agent/card"
	"gatehouse/agent/door"
	"gatehouse/agent/door/area"
	"gatehouse/agent/hive/link"
	"gatehouse/agent/reader"
	"gatehouse/agent/site"
	"gatehouse/agent/swordfish"
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

	Store store.Config // Dir is StateDir; PINAlone where a reader may open by a PIN alone
	Spool spool.Config // Dir is StateDir/events

	Formats []card.Format // those of the file
	Cards   *card.Set     // those and the built-in ones

	Doors   []door.Config
	Readers []reader.Config // serial ones too; hive/link owns their ports
	Hive    link.Config

	Areas      []area.Area
	Interlocks []area.Interlock
	PIN        area.Lockout
	Inputs     Inputs
	Outputs    []Output
	Locks      []Lock
	// ReaderModes holds the modes of readers that change by schedule. Such a
	// reader's own Mode is closed.
	ReaderModes map[site.ReaderID][]ReaderMode
	// AutoUnlock holds the doors that a schedule unlocks.
	AutoUnlock map[site.DoorID]AutoUnlock

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

// Lock is a Wi-Fi lock, or one on a serial line when Serial is set.
type Lock struct {
	ID     site.DoorID
	Name   string
	Number string // its serial number, 32 upper-case hex digits
	Model  string
	// Profile is that of the model, with what the settings say of its firmware.
	Profile swordfish.Profile
	Serial  *reader.SerialConfig
}

// DefaultCalls are the minutes of the day between which Wi-Fi locks are asked to
// call (engage.md section 5: once a night between 00:00 and 04:00).
var DefaultCalls = [2]int{0, 4 * 60}

// ReaderMode is what a reader asks for while a schedule holds; an empty
// Schedule is the rest of the time and the last of its list.
type ReaderMode struct {
	Schedule site.ScheduleID
	Mode     reader.Mode
}

// KeyFile reads a key file: its content, at most 64 KiB of it, and its mode.
type KeyFile func(path string) ([]byte, fs.FileMode, error)

// Folder says why a path can be no folder: it, or what it is in, is something else. One
// that is not there yet is none.
type Folder func(path string) error

// Options is what Parse must be told.
type Options struct {
	// Base is the folder that relative paths are relative to: the file's.
	Base string
	// Parts are the parts that this build has.
	Parts []Part
	// KeyFile reads key files; without it every key file is a fault.
	KeyFile KeyFile
	// Folder judges the state folder; without it none is looked at.
	Folder Folder
}

// keyID tells equal keys from different ones without keeping them.
func keyID(key []byte) string {
	sum := sha256.Sum256(key)
	return hex.EncodeToString(sum[:])
}
