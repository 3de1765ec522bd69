package gateway

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"gatehouse/agent/site"
	"gatehouse/agent/swordfish"
	"gatehouse/store"
)

// Errors of the parts that the gateway asks. Each has its status.
var (
	// ErrRefused is what Site.Command wraps when the door does not do it now: 403.
	ErrRefused = errors.New("refused")
	// ErrNotReady says that a part is not there at the moment: 503.
	ErrNotReady = errors.New("not ready")
	// ErrUnsupported says that this build or this device has no such thing: 501.
	ErrUnsupported = errors.New("not supported")
	// ErrInvalid says that what was sent is wrong: 400.
	ErrInvalid = errors.New("invalid")
)

// Kind is what an edge device is.
type Kind uint8

// The kinds of edge devices.
const (
	KindDoor   Kind = iota // an own door
	KindSerial             // a lock on a serial line
	KindWiFi               // a lock that calls by itself
)

// Device is one edge device, as the settings name it.
type Device struct {
	Door   site.DoorID
	Name   string
	Kind   Kind
	Serial string // of a Wi-Fi lock: 32 hex digits
	Model  string // of a Wi-Fi lock: nde, le and so on
}

// Config says what the gateway is. Serial is that of the appliance, 32 hex digits.
type Config struct {
	Serial  string
	Name    string
	Version string
	Devices []Device
	Zone    *time.Location // the site's; nil: UTC

	// AcceptedStatus answers a door file that was accepted: 200, which 0 means, or
	// 202, which other firmware sends.
	AcceptedStatus int
	// HideGrants leaves granted accesses out of what a host is told.
	HideGrants bool
}

// Status is what an edge device is at this moment.
type Status struct {
	site.DoorStatus
	Rex        bool // the exit button is pressed
	Fault      bool // a line or part of the door has a fault
	Tamper     bool
	MagTamper  bool
	RTCBattery string // a literal; empty: normal
	Battery    string // a literal; empty: normal
	State      string // a lock's own literal; empty: by the mode
}

// Op is what a host orders at a door.
type Op uint8

// The orders.
const (
	OpSecure       Op = iota + 1 // locked, cards pass; ends passage and freeze
	OpPassage                    // unlocked until another order
	OpFreezeSecure               // locked, cards do not pass
	OpFreezePassage
	OpUnlock // for a moment
)

// Command is an order. For is how long OpUnlock unlocks; 0: the door's own time.
type Command struct {
	Op  Op
	For time.Duration
}

// Site is what the gateway needs of the doors that have a live line.
type Site interface {
	Status(id site.DoorID) (Status, error)
	// Command orders something in the name of the IP host and returns when it is
	// done. It wraps ErrRefused where the door does not do it.
	Command(ctx context.Context, id site.DoorID, c Command) error
}

// LockInfo is what is known of a Wi-Fi lock beside its settings.
type LockInfo struct {
	Signal    string // High, Med or Low; empty: not known
	Connected bool   // it has called when it should
	MAC       string
	Main, Li  float64 // volts; 0: not known
}

// Locks is the service of the Wi-Fi locks.
type Locks interface {
	// Ready reports why a door file or a config cannot be kept for the lock's next
	// call, or nil.
	Ready(id site.DoorID) error
	Status(id site.DoorID) (Status, error)
	Info(id site.DoorID) LockInfo
	// Literals are the words of the lock's model.
	Literals(id site.DoorID) swordfish.Literals
	// Download tells how far the lock has the last door file; false: what the
	// gateway knows of it is right.
	Download(id site.DoorID) (Download, bool)
	// PutConfig keeps a config, {"config":{…}}, for the next call; DeleteConfig
	// takes it back.
	PutConfig(ctx context.Context, id site.DoorID, body []byte) error
	DeleteConfig(ctx context.Context, id site.DoorID) error
	// Params returns the last Config that the lock put, as JSON.
	Params(id site.DoorID) ([]byte, error)
}

// NoLocks stands for the service where there is none: it refuses all with
// ErrUnsupported.
type NoLocks struct{}

var errNoLocks = fmt.Errorf("%w: this build has no service for Wi-Fi locks", ErrUnsupported)

// Ready refuses.
func (NoLocks) Ready(site.DoorID) error { return errNoLocks }

// Status refuses.
func (NoLocks) Status(site.DoorID) (Status, error) { return Status{}, errNoLocks }

// Info knows nothing.
func (NoLocks) Info(site.DoorID) LockInfo { return LockInfo{} }

// Literals are the default ones.
func (NoLocks) Literals(site.DoorID) swordfish.Literals { return swordfish.DefaultLiterals() }

// Download knows nothing.
func (NoLocks) Download(site.DoorID) (Download, bool) { return Download{}, false }

// PutConfig refuses.
func (NoLocks) PutConfig(context.Context, site.DoorID, []byte) error { return errNoLocks }

// DeleteConfig refuses.
func (NoLocks) DeleteConfig(context.Context, site.DoorID) error { return errNoLocks }

// Params refuses.
func (NoLocks) Params(site.DoorID) ([]byte, error) { return nil, errNoLocks }

// Log is the event log; a *spool.Log is one.
type Log interface {
	Read(ctx context.Context, from site.EventSeq, limit, maxBytes int) ([]site.Event, error)
	First() site.EventSeq
	Last() site.EventSeq
}

// Keeper keeps a small text across restarts: links, and how far audits were deleted.
type Keeper interface {
	// Load returns what was last saved, nil when nothing ever was.
	Load() ([]byte, error)
	// Save returns when data is durable; after a power cut it is there whole or
	// what was there before is.
	Save(data []byte) error
}

// IPMode is the network that a host asks for (engage.md section 3,
// gatewayIpModeConfig). What it does not name is empty.
type IPMode struct {
	FixedIPAddr string `json:"fixedIpAddr"`
	Netmask     string `json:"netmask"`
	Gateway     string `json:"gateway"`
	DNS         string `json:"DNS"`
}

// Deps are the parts that the gateway asks. Those marked optional may be nil: what
// needs them is then refused.
type Deps struct {
	Site   Site
	Log    Log
	Keep   Keeper
	Store  func() (*store.Store, error) // an error while there is none
	Record func(e site.Event)           // gives an event to the log; it must not block
	Clock  func() site.Clock

	Locks  Locks            // optional: NoLocks
	Cards  *swordfish.Cards // optional: door files want the site key
	Logger *slog.Logger     // optional

	// Credentials makes what a local client signs in with: a name, and a bearer
	// token as password. Optional.
	Credentials func(ctx context.Context) (usr, pwd string, err error)
	// Network applies a network on trial. Optional.
	Network func(ctx context.Context, n IPMode) error
}

func (d Deps) check() (Deps, error) {
	if d.Site == nil || d.Log == nil || d.Keep == nil || d.Store == nil || d.Record == nil || d.Clock == nil {
		return d, errors.New("gateway: a part is missing")
	}
	if d.Locks == nil {
		d.Locks = NoLocks{}
	}
	if d.Logger == nil {
		d.Logger = slog.New(slog.DiscardHandler)
	}
	return d, nil
}

func (c Config) check() (Config, []byte, error) {
	serial, err := hex.DecodeString(c.Serial)
	if err != nil || len(serial) != 16 {
		return c, nil, errors.New("gateway: the serial is not 32 hex digits")
	}
	switch c.AcceptedStatus {
	case 0:
		c.AcceptedStatus = 200
	case 200, 202:
	default:
		return c, nil, fmt.Errorf("gateway: accepted status %d: want 200 or 202", c.AcceptedStatus)
	}
	if c.Zone == nil {
		c.Zone = time.UTC
	}
	c.Devices = slices.Clone(c.Devices)
	for i, d := range c.Devices {
		if d.Door == "" || slices.ContainsFunc(c.Devices[:i], func(o Device) bool { return o.Door == d.Door }) {
			return c, nil, fmt.Errorf("gateway: device %d: door %q is empty or stands twice", i+1, d.Door)
		}
		if raw, err := hex.DecodeString(d.Serial); d.Kind == KindWiFi && (err != nil || len(raw) != 16) {
			return c, nil, fmt.Errorf("gateway: lock %s: the serial is not 32 hex digits", d.Door)
		}
		c.Devices[i].Serial = strings.ToUpper(d.Serial)
	}
	return c, serial, nil
}
