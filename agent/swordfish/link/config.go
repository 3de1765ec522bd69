package link

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"gatehouse/agent/card"
	"gatehouse/agent/site"
	"gatehouse/agent/swordfish"
)

// Config is the locks' part of the settings, validated.
type Config struct {
	Locks []Lock
	Auth  Auth
	Zone  *time.Location // locks tell local time without an offset; nil: UTC
	Dir   string         // where the state of each lock is kept; made (0700) where there is none
	// SiteKey is the site's key, 32 bytes. Without one no door file and no
	// certificate is answered, and with AuthEnforce no lock over HTTP at all.
	SiteKey SiteKey
	// Window is the part of the night in which locks call, in minutes since
	// local midnight. Both zero: 0 to 240 (engage.md section 5). An end at or
	// below its start is on the next day.
	Window [2]int
}

// Lock is one lock of the settings.
type Lock struct {
	ID      site.DoorID
	Name    string
	Serial  string            // 32 hex digits; a lock on a serial line may have none
	Profile swordfish.Profile // what its model takes
	Device  site.DeviceName   // the device on a serial line; empty: a Wi-Fi lock
}

// Auth says what a lock's token is for (engage.md section 5). The lock is always
// the one whom the token's first field names.
type Auth uint8

// What is done with tokens. The zero value is the strictest.
const (
	AuthEnforce Auth = iota // a token that is not good is refused
	AuthReport              // it is let in, and the operator is told
	AuthNone                // tokens are not looked at
)

var authNames = []string{"enforce", "report", "none"}

// String returns the setting's text.
func (a Auth) String() string {
	if int(a) < len(authNames) {
		return authNames[a]
	}
	return fmt.Sprintf("auth(%d)", uint8(a))
}

// ParseAuth reads the setting's text.
func ParseAuth(s string) (Auth, error) {
	if i := slices.Index(authNames, s); i >= 0 {
		return Auth(i), nil
	}
	return AuthEnforce, fmt.Errorf("auth %q is not known (one of %v)", s, authNames)
}

// SiteKey is the site's key, 32 bytes. It is redacted wherever it is printed.
type SiteKey []byte

// String redacts the key.
func (SiteKey) String() string { return "[site key]" }

// GoString redacts the key.
func (SiteKey) GoString() string { return "[site key]" }

// Format redacts the key whatever the verb is.
func (k SiteKey) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(k.String())) }

// MarshalText redacts the key.
func (SiteKey) MarshalText() ([]byte, error) { return []byte("[site key]"), nil }

// LogValue redacts the key.
func (k SiteKey) LogValue() slog.Value { return slog.StringValue(k.String()) }

// Deps is what the server needs of the site. Cards and Events must be given.
type Deps struct {
	Tables      Tables // nil: door files are answered by 503
	Cards       Sealer
	Events      Events
	Clock       func() site.Clock // nil: the machine's clock, trusted
	Certificate func() []byte     // the DER that locks are to trust; nil, or giving none: 404
	// Work has a value in it for each who has a processor busy for long. Files are
	// made only with a place in it, and Tables is to take one for its passes, so that
	// a processor is left to the doors however many locks call. nil: one place.
	Work   chan struct{}
	Logger *slog.Logger // nil: discard
}

// Tables compiles what a lock is to hold.
type Tables interface {
	// Version is that of the policy. It changes with every change.
	Version() uint64
	// Table compiles the table of one lock now. Callers at the same time share
	// one pass over the store. The result is the caller's.
	Table(ctx context.Context, door site.DoorID) (swordfish.Table, error)
}

// Sealer keeps cards at rest under the device key, and names them for people.
type Sealer interface {
	Seal(b card.Block) [16]byte
	Open(sealed [16]byte) card.Block
	Tag(b card.Block) string
}

// Events is the event log.
type Events interface {
	// Append hands an event over and does not wait.
	Append(e site.Event)
	// Keep hands events over in their order and returns when all are on disk:
	// the number of the last. After an error some may be on disk, but none may get
	// there any more: what Scan then finds is what there is.
	Keep(ctx context.Context, evs []site.Event) (last site.EventSeq, err error)
	// Scan calls fn for each event after a number, in order, until it returns
	// an error.
	Scan(ctx context.Context, after site.EventSeq, fn func(site.Event) error) error
	// Last is the number of the last event on disk.
	Last() site.EventSeq
}

// Errors that callers branch on.
var (
	// ErrUnknownLock is returned for a door that is no lock of the settings,
	// and for a device that no lock hangs on.
	ErrUnknownLock = errors.New("no such lock")
	// ErrNoConfig is returned by DeleteConfig when none waits for the lock, and
	// by Params when the lock has sent none yet.
	ErrNoConfig = errors.New("there is no config")
)
