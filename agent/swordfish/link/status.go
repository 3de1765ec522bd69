package link

import (
	"time"

	"gatehouse/agent/card"
	"gatehouse/agent/site"
)

// The values of LockStatus.Line.
const (
	LineWiFi   = "wifi"
	LineSerial = "serial"
)

// LockStatus is what is known of one lock.
type LockStatus struct {
	ID     site.DoorID
	Name   string
	Serial string
	Model  string // of the settings
	Line   string // LineWiFi or LineSerial

	Called time.Time // when it last called; zero: never
	Next   time.Time // when it is to call next; zero: not known
	Late   bool      // it missed its call

	// Has and Want are the numbers (nxtDbVerTS) of the door file that the lock
	// has stored and of the one that it is to have. Has is 0 where the lock has
	// none that is known; Want is 0 while the file that it lacks has no number.
	Has, Want uint64
	Sent      time.Time // when the file Want was answered; zero: it was not
	Behind    bool      // the lock lacks changes, or is not known to have stored them
	// BehindSince is when that was found; zero: it is not behind.
	BehindSince time.Time
	Changes     int  // how many changes it lacks; -1: a full file
	Config      bool // a config of the host waits for its call
	Users       int  // how many users the file Has holds

	Battery  string // as the lock says it, or "low" or "critical"
	Main, Li float64
	// Drift is how far the lock's clock was ahead of the site's at its last
	// alert, and DriftKnown whether there was one.
	Drift      time.Duration
	DriftKnown bool

	// What it says of itself in its Config.
	DeviceName, DeviceModel, Firmware string

	Mode    string     // of its last audit that tells one; empty: not known
	Alarm   site.Alarm // the worst that its audits left standing
	Refused string     // why it was last refused, or would have been; empty: it was let in since
	// RefusedAt is when.
	RefusedAt time.Time
	Losses    []string // what the lock cannot hold as the policy says it, the first of them
	Lost      int      // how many there are
}

// Pending is a lock that called and is not named in the settings.
type Pending struct {
	Serial      string
	First, Last time.Time
	Calls       int
	Address     string // of the last call
}

// StillOpens is a lock that may open for a card although the policy does not say
// so any more.
type StillOpens struct {
	Door  site.DoorID
	Until time.Time // when it is to call and will hear of it; zero: not known
	Line  bool      // it hangs on a serial line, where it is called at once
	// Unsure: what the lock holds is not known, because its state was damaged.
	Unsure bool
}

// Locks returns what is known of each lock, in the order of the settings.
func (s *Server) Locks() []LockStatus { return nil }

// Pending returns the locks that called and are not named, at most 64, the one
// that called last first.
func (s *Server) Pending() []Pending { return nil }

// Holders returns the locks that have the card, or were answered a door file with
// it, whatever the policy says now. It reads the state of every lock.
func (s *Server) Holders(block card.Block) []StillOpens { return nil }

// Due reports whether a lock on a serial line should call: it lacks changes, or
// its time has come.
func (s *Server) Due(device site.DeviceName) bool { return false }
