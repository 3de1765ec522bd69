package store

import (
	"context"
	"log/slog"
	"time"

	"gatehouse/agent/site"
)

// Config is where the store lives and how it is copied, validated.
type Config struct {
	Dir string // STATE
	// PINAlone says that a reader of the site takes a PIN without a card: PINs
	// that are set from now on are found by LookupPIN, and nobody gets one that
	// another has. Those of before stay bound to their card (PINsNotAlone).
	PINAlone bool
	// CopyEvery is the time between verified background copies; zero: only
	// after bulk changes and on request.
	CopyEvery time.Duration
	// MapSize is the size of the memory map that the policy file opens with,
	// so that growth never waits for a reader. Zero: by the platform.
	MapSize int
	// Locks are the locks that keep their cards themselves: no change takes one
	// over what its model holds (LockLimit). Each door once.
	Locks []LockLimit
}

// Log is the event log as the store needs it. store/spool is one. All methods
// may be called from any goroutine.
type Log interface {
	// Append gives the event its place and returns when it is durable. Where ctx
	// ends first, the event may still get its place.
	Append(ctx context.Context, e site.Event) (site.EventSeq, error)
	// Last returns the highest sequence number given, 0 for none.
	Last() site.EventSeq
	// MaxChange returns the highest Event.Change in the log, 0 for none. It
	// must know it even where the event itself was trimmed.
	MaxChange() uint64
	// Scan calls fn with each durable event from seq on, in order.
	Scan(ctx context.Context, from site.EventSeq, fn func(site.Event) error) error
}

// Options are what Open may be given besides its Config. The zero value is
// good.
type Options struct {
	Logger *slog.Logger     // nil: discard
	Now    func() time.Time // nil: time.Now
	// Clock says whether the time of an event is to be trusted; nil: yes.
	Clock func() (now time.Time, trusted bool)
	// OnFault is told of damage and of recovery, from the goroutine that found
	// it; it must not block and must not call the store. Nil: nobody.
	OnFault func(Report)
	// OnCopied is told after each verified copy how far the log is no longer
	// needed for it: every change and every use with an event at or below seq
	// is in the copy. Nil: nobody.
	OnCopied func(seq site.EventSeq)
}

// Report says what Open or a later recovery had to do. Its zero value means
// that nothing was wrong.
type Report struct {
	Created bool // there was no store; this is a new one
	// PolicyDamage and DevicesDamage say what was wrong, nil for nothing.
	PolicyDamage  error
	DevicesDamage error
	Quarantined   []string // where the damaged files are now
	FromCopy      bool     // the policy goes on from the verified copy
	RolledForward int      // changes taken from the event log
	// MissingChanges counts changes that were acknowledged once and are in
	// neither file nor log.
	MissingChanges uint64
	// Incomplete: there was no copy and the log does not reach back to the
	// beginning; Lookup refuses with ErrIncomplete.
	Incomplete bool
	// DevicesLost: all nonces are new, all counters have jumped, and the kept
	// states of doors (lockdown, overrides) are gone: the caller rebuilds
	// those from the event log, keeps them again, and calls DoorsKept.
	DevicesLost bool
	// NoncesReplaced: all Hive nonces are new (also after a policy recovery).
	NoncesReplaced bool
	// Uncopied says why a verified copy that was due could not be made; given to
	// OnFault only.
	Uncopied error
	// CopyDamage says what was wrong with the verified copy, which is set aside;
	// a new one is made at once. Given to OnFault only.
	CopyDamage error
}

// Damaged reports whether anything was wrong.
func (r Report) Damaged() bool {
	return r.PolicyDamage != nil || r.DevicesDamage != nil || r.Incomplete || r.MissingChanges > 0
}
