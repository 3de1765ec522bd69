package spool

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"gatehouse/agent/site"
)

// Config is the events section of the settings, validated.
type Config struct {
	Dir    string        // the folder of the log's files
	Budget int64         // bytes on disk before the oldest go; at least 1 MiB
	Keep   time.Duration // age after which delivered events go; zero: by budget only
	// Queue is the number of events that may wait for the disk. Zero: 4096.
	Queue int
}

// The limits of a log.
const (
	// MinBudget is the smallest budget that Open accepts, in bytes.
	MinBudget = 1 << 20
	// MaxEvent is the largest event that the log takes, in bytes of its stored
	// form. A policy change with more content is split by whoever makes it.
	MaxEvent = 1 << 20
	// MaxQueueBytes bounds the memory of the events that wait for the disk.
	MaxQueueBytes = 16 << 20

	defaultQueue = 4096
	maxSegment   = 4 << 20
	minSegment   = 128 << 10
	maxGroup     = 512 << 10 // by the estimate of its events, which is about twice what they take
)

// PolicyCopy is the name of the consumer that is the store's verified copy.
// Events with a Change that it has not had are never trimmed, not even when
// the budget is reached; other events do not wait for it.
const PolicyCopy = "policy-copy"

// The faults that Options.OnFault reports. FaultDamaged stands until the log
// is opened again, so that the operator is told; the others are cleared when
// the cause has gone.
const (
	FaultWrite   = "spool.write"   // events cannot be written; they wait in the queue
	FaultDamaged = "spool.damaged" // a file was altered and was set aside
	FaultBudget  = "spool.budget"  // the budget is reached and nothing more may go
	FaultState   = "spool.state"   // the trusted time or the trimming could not be written
)

// Options are what Open needs besides the settings. The zero value is useful.
type Options struct {
	// MinSeq is the highest sequence number known from elsewhere (the policy
	// file, a backup). A log that ends below it cannot prove its continuity: a
	// new log begins above it.
	MinSeq site.EventSeq
	// NewLog, when not empty, begins a new log and is the reason that its
	// first event gives ("restored from a backup").
	NewLog string
	// Quarantine is the folder that damaged files are kept in. Empty: the
	// folder "quarantine" beside Config.Dir.
	Quarantine string
	// Clock returns the wall clock and whether it is known to be right, for
	// the events that the log itself makes. Nil: time.Now, not trusted.
	Clock func() (time.Time, bool)
	// OnFault and OnClear report health, from the log's own goroutines, with
	// no lock held. They must not block. A fault may be reported repeatedly.
	OnFault func(id, text string)
	OnClear func(id string)
	// Logger is for the log's own diagnostics. Nil: discarded.
	Logger *slog.Logger
	// FS is the file layer. Nil: the operating system's. Tests inject faults.
	FS FS
}

// Report is what Open found.
type Report struct {
	Fresh     bool     // there was no log; this is its first start, or a reset
	NewLog    bool     // a new log id was begun
	Reason    string   // why, in words
	Damaged   []string // quarantine paths of files that were altered
	Lost      uint64   // events known to have been lost
	Truncated int64    // bytes of unfinished writes removed; none was acknowledged
	Cursors   bool     // the cursors were unreadable: consumers start at the oldest kept
	Time      bool     // the last trusted time was unreadable
}

func (c Config) withDefaults() (Config, error) {
	if c.Dir == "" {
		return c, errors.New("spool: settings: no folder")
	}
	if c.Budget < MinBudget {
		return c, fmt.Errorf("spool: settings: budget of %d bytes: at least %d", c.Budget, MinBudget)
	}
	if c.Queue <= 0 {
		c.Queue = defaultQueue
	}
	return c, nil
}

// segmentSize returns the size at which a segment is closed.
func (c Config) segmentSize() int64 { return min(max(c.Budget/8, minSegment), maxSegment) }

// groupSize returns the size of a write, by the estimate of its events.
func (c Config) groupSize() int { return int(min(maxGroup, c.segmentSize()/2)) }

func (o Options) withDefaults() Options {
	if o.Clock == nil {
		o.Clock = func() (time.Time, bool) { return time.Now(), false }
	}
	if o.OnFault == nil {
		o.OnFault = func(string, string) {}
	}
	if o.OnClear == nil {
		o.OnClear = func(string) {}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.FS == nil {
		o.FS = osFS{}
	}
	return o
}
