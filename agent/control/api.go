package control

import (
	"context"
	"time"

	"gatehouse/agent/card"
	"gatehouse/agent/site"
)

// Doors is what control needs of the site's doors; app gives it. Its commands take
// locks on serial lines as well.
type Doors interface {
	// DoorList returns the state of each door, in the order of the settings. Locks
	// may be among them or not.
	DoorList() []site.DoorStatus
	// UnlockDoor unlocks for the given time, or for the door's own when zero.
	UnlockDoor(ctx context.Context, id site.DoorID, d time.Duration, by string) error
	// LockDoor ends a pulse or an override and secures the door.
	LockDoor(ctx context.Context, id site.DoorID, by string) error
	// SetMode overrides the mode until a time; a zero until has no end.
	SetMode(ctx context.Context, id site.DoorID, mode site.Mode, until time.Time, by string) error
	// AutoDoor ends override, freeze and disabling: the schedule rules again.
	AutoDoor(ctx context.Context, id site.DoorID, by string) error
	// Lockdown locks the targets down; Release ends it. They return the doors
	// that were reached, and an error that names those that were not; Wi-Fi locks,
	// which nobody can reach, are in neither where all doors are meant.
	Lockdown(ctx context.Context, t Target, until time.Time, by string) ([]site.DoorID, error)
	Release(ctx context.Context, t Target, by string) ([]site.DoorID, error)
	// Inputs returns the live levels of a door's lines, or what a lock on a serial
	// line answers.
	Inputs(id site.DoorID) (Inputs, error)
}

// Target says which doors a site-wide command means: exactly one member is set.
type Target struct {
	Door site.DoorID `json:"door,omitempty"`
	Area site.AreaID `json:"area,omitempty"`
	All  bool        `json:"all,omitempty"`
}

// Inputs are the live levels of a door's lines, for the installer's test.
type Inputs struct {
	Door   site.DoorID `json:"door"`
	Open   *bool       `json:"open,omitempty"`   // nil: no contact
	Exit   *bool       `json:"exit,omitempty"`   // nil: no exit button
	Tamper *bool       `json:"tamper,omitempty"` // nil: no tamper input
	Secure *bool       `json:"secure,omitempty"` // nil: no bond sensor
	Locked bool        `json:"locked"`
	Mode   *site.Mode  `json:"mode,omitempty"` // of a lock on a serial line, where it says so
	Until  time.Time   `json:"until,omitzero"` // the end of such a lock's mode
}

// Reports is what control needs to tell how the agent is.
type Reports interface {
	Status(ctx context.Context) Status
	Doctor(ctx context.Context) []Finding
}

// Deciding answers `why`: the decision without opening.
type Deciding interface {
	Why(ctx context.Context, q WhyQuery) (Why, error)
}

// WhyQuery asks what would be decided at a door. Either Credential or Bits is
// set. A zero At means now.
type WhyQuery struct {
	Door       site.DoorID
	Reader     site.ReaderID // empty: the door's first
	Credential site.CredentialID
	Bits       *card.Bits
	At         time.Time
}

// Why is a decision, step by step (contract.md, why --json).
type Why struct {
	Decision string    `json:"decision"` // granted, refused or waiting
	Reason   string    `json:"reason"`
	Steps    []WhyStep `json:"steps"`
}

// WhyStep is one step of a decision.
type WhyStep struct {
	Check  string `json:"check"`
	Input  string `json:"input"`
	Result string `json:"result"`
}

// Events is what control needs of the log. Events come with the holder's name
// joined and without sealed content.
type Events interface {
	// Tail calls fn for each kept event from the first that matches, in order,
	// and for those to come while follow is set, until ctx ends or fn fails.
	Tail(ctx context.Context, q EventQuery, fn func(site.Event) error) error
}

// EventQuery selects events; zero members select all.
type EventQuery struct {
	From, To time.Time
	After    site.EventSeq // only those with a larger number
	Last     int           // only the last so many that match, then what follows
	Door     site.DoorID
	Kind     site.Kind
	Holder   string // a holder's id or exact name
	Follow   bool
	Duress   bool // duress events too: for those alone who may see them
}

// Alarms is what control needs of the alarms.
type Alarms interface {
	// AlarmList leaves out duress unless it is asked for.
	AlarmList(duress bool) []Alarm
	// AckAlarm acknowledges by name; it returns after the acknowledgement is
	// kept.
	AckAlarm(ctx context.Context, id site.EventSeq, by string) error
}

// Alarm is one alarm as it is listed.
type Alarm struct {
	ID      site.EventSeq   `json:"id"`
	Kind    site.Kind       `json:"kind"`
	Door    site.DoorID     `json:"door"`
	Reader  site.ReaderID   `json:"reader"`
	Device  site.DeviceName `json:"device,omitempty"` // the Hive device that it is about
	Text    string          `json:"text,omitempty"`
	Began   time.Time       `json:"began"`
	Ended   time.Time       `json:"ended,omitzero"`
	Acked   time.Time       `json:"acked,omitzero"`
	AckedBy string          `json:"acked_by,omitempty"`
	Times   int             `json:"times"`
}

// Status is how the agent is.
type Status struct {
	Version  string            `json:"version"`
	Site     string            `json:"site"`
	Serial   string            `json:"serial"`
	Started  time.Time         `json:"started"`
	Ready    bool              `json:"ready"` // the doors decide
	Clock    ClockStatus       `json:"clock"`
	Doors    []site.DoorStatus `json:"doors"`
	Locks    []LockStatus      `json:"locks"`         // control fills them in from Parts.Locks
	Pending  []PendingLock     `json:"pending_locks"` // so too
	Readers  []ReaderStatus    `json:"readers"`
	Inputs   []InputStatus     `json:"inputs"`
	Outputs  []OutputStatus    `json:"outputs"`
	Store    StoreStatus       `json:"store"`
	Log      LogStatus         `json:"log"`
	Disk     DiskStatus        `json:"disk"`
	Certs    []CertStatus      `json:"certificates"`
	Notify   []NotifyStatus    `json:"notify"`
	Uplink   *UplinkStatus     `json:"uplink,omitempty"` // nil: the settings have none
	Listen   map[string]string `json:"listen"`
	Faults   []Fault           `json:"faults"`
	Warnings []string          `json:"warnings"`
	Absent   []string          `json:"not_in_this_build"`
}

// ClockStatus is the clock and how far it can be believed.
type ClockStatus struct {
	Now         time.Time `json:"now"`
	Zone        string    `json:"zone"`
	Trusted     bool      `json:"trusted"`
	LastTrusted time.Time `json:"last_trusted,omitzero"`
	Untrusted   string    `json:"untrusted"` // the setting
}

// ReaderStatus is one reader.
type ReaderStatus struct {
	ID    site.ReaderID `json:"id"`
	Door  site.DoorID   `json:"door"`
	Kind  string        `json:"kind"` // wiegand, serial
	Fault string        `json:"fault,omitempty"`
}

// StoreStatus is the policy file.
type StoreStatus struct {
	Version     uint64 `json:"version"` // of the policy; 0: none yet
	Credentials uint64 `json:"credentials"`
	// PINsNotAlone counts credentials whose PIN opens no reader that takes a PIN
	// only: it was set before there was one.
	PINsNotAlone int           `json:"pins_not_alone,omitempty"`
	Bytes        int64         `json:"bytes"`
	Copied       time.Time     `json:"copied,omitzero"` // the last verified copy
	CopySeq      site.EventSeq `json:"copy_seq"`
}

// LogStatus is the event log.
type LogStatus struct {
	ID      site.LogID     `json:"log"`
	First   site.EventSeq  `json:"first"`
	Last    site.EventSeq  `json:"last"`
	Bytes   int64          `json:"bytes"`
	Budget  int64          `json:"budget"`
	Queued  int            `json:"queued"`
	Lost    uint64         `json:"lost"`
	Cursors []CursorStatus `json:"cursors"`
}

// CursorStatus is one consumer of the log.
type CursorStatus struct {
	Name   string        `json:"name"`
	At     site.EventSeq `json:"at"`
	Behind uint64        `json:"behind"`
}

// DiskStatus is the room on the state folder's file system, in bytes.
type DiskStatus struct {
	Free  uint64 `json:"free"`
	Total uint64 `json:"total"`
}

// CertStatus is one certificate.
type CertStatus struct {
	Name       string    `json:"name"`
	Until      time.Time `json:"until"`
	SelfSigned bool      `json:"self_signed"`
	// Of the root of the IP host, beside these:
	Subject  string    `json:"subject,omitempty"`
	SHA256   string    `json:"sha256,omitempty"`
	Fetched  time.Time `json:"fetched,omitzero"`
	Warnings []string  `json:"warnings,omitempty"` // what vendor devices would not take
	Error    string    `json:"error,omitempty"`    // why the last fetch failed
}

// Fault is one that stands.
type Fault struct {
	ID    string    `json:"id"`
	Text  string    `json:"text"`
	Since time.Time `json:"since"`
}

// Finding is one line of doctor: what is wrong, why, and what to do.
type Finding struct {
	What  string `json:"what"`
	Cause string `json:"cause"`
	Do    string `json:"do"`
	Wrong bool   `json:"wrong"` // false: worth knowing, nothing is broken
}
