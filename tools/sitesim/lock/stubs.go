package lock

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"
)

var errNotBuilt = errors.New("lock: not built yet")

type cipherKey struct{}

func newCipherKey([]byte) (*cipherKey, error) { return &cipherKey{}, nil }

type table struct{ byID map[int]struct{} }

// CallIn calls the device server: Config, db, audit, certificates/current. now is
// the lock's clock.
func (l *Lock) CallIn(ctx context.Context, c Caller, now time.Time) (Result, error) {
	return Result{}, errNotBuilt
}

// Present holds a card's 16-byte block at the lock and returns whether it opens,
// from the lock's own table. It writes an audit.
func (l *Lock) Present(block [16]byte, at time.Time) (opens bool) { return false }

// Alert sends an event (4 hex digits code, 4 hex digits data) at once and keeps
// it as an audit too.
func (l *Lock) Alert(ctx context.Context, c Caller, event, data string, at time.Time) error {
	return errNotBuilt
}

// HTTP calls a device server at base, as in http://10.0.0.5:8088, with device
// tokens. A nil client is one that speaks HTTP/1.1 only.
func HTTP(base string, client *http.Client, serial string, siteKey []byte) Caller { return nil }

// Line is a serial line with one or more devices on this end.
type Line struct{}

// DeviceConfig says which Hive device a lock or a reader is.
type DeviceConfig struct {
	Name    string
	Key     []byte
	Bus     bool   // speaks only when polled
	Counter uint64 // the last counter that was taken
	OnDue   func() // a poll said that the device should call; it must not block
}

// NewLine makes the devices' end of a serial line. Run must be running for its
// devices to work.
func NewLine(port io.ReadWriter) *Line { return &Line{} }

// Add hangs a device on the line; l may be nil for one that is no lock. It must
// not be called after Run.
func (ln *Line) Add(cfg DeviceConfig, l *Lock) *Device { return &Device{} }

// Run reads the line until it fails or ctx ends; the caller closes the port then.
func (ln *Line) Run(ctx context.Context) error { return errNotBuilt }

// Device is one Hive device on a line. It is the Caller of its lock.
type Device struct{}

// Call makes a Swordfish call over the line (engage.md section 6).
func (d *Device) Call(ctx context.Context, method, path string, body []byte) (int, []byte, http.Header, error) {
	return 0, nil, nil, errNotBuilt
}

// Counter returns the last counter that the device took.
func (d *Device) Counter() uint64 { return 0 }
