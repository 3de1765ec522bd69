package lock

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Config says which lock it is.
type Config struct {
	Serial       string // 32 hex digits
	SiteKey      []byte // 32 bytes
	Name         string // as it reports itself; empty: the serial's end
	Model        string // nde le control cte rmru; empty: le
	Firmware     string // empty: 4.0.0
	Zone         *time.Location
	SoleSchedule bool // crSch is one number, not a list (engage.md section 5, some LE firmware)
	DayEnd       int  // where the end of the day lies, 1439 or 1440; 0: 1439
	NoHolidays   bool // the model has none: the lists holidays may be absent and must be empty
	NoAuto       bool // the same of autoUnlock
}

// Check says what is wrong with a Config. A Lock made of a wrong one never opens
// and fails every call with this error.
func (c Config) Check() error {
	if raw, err := hex.DecodeString(c.Serial); err != nil || len(raw) != 16 {
		return errors.New("lock: the serial is not 32 hex digits")
	}
	if len(c.SiteKey) != 32 {
		return errors.New("lock: the site key has not 32 bytes")
	}
	if c.DayEnd != 0 && c.DayEnd != 1439 && c.DayEnd != 1440 {
		return fmt.Errorf("lock: day end %d: want 1439 or 1440", c.DayEnd)
	}
	return nil
}

// Mode is what state a lock's bolt is in.
type Mode string

// The modes, in the words of a serial line (engage.md section 6).
const (
	Secured       Mode = "secured"
	Passage       Mode = "passage"
	FrozenSecured Mode = "frozen_secured"
	FrozenPassage Mode = "frozen_passage"
	Lockdown      Mode = "lockdown"
)

// Caller carries a lock's calls to its device server. HTTP and Device are two.
type Caller interface {
	// Call makes one call and returns the whole answer. The error is for what is
	// no proper answer at all; a status that the lock did not want is none.
	Call(ctx context.Context, method, path string, body []byte) (status int, answer []byte, header http.Header, err error)
}

// Fetcher is a Caller that can also fetch a certificate file by its address.
type Fetcher interface {
	Fetch(ctx context.Context, url string) ([]byte, error)
}

// Result is what came of a call-in, as far as it went.
type Result struct {
	Full                    bool // the file was a full one
	Deleted, Updated, Added int  // users
	Idle                    int  // deletes of users who were not there
	Version                 string
	Audits                  int   // audits that the server acknowledged
	AuditStatus             int   // 201 or 202
	Bytes                   int64 // bodies sent and received
	CertHash                string
	Connected               string // X-Device-Last-Connected of the last answer
	Repeat                  error  // what went wrong in the second of two equal calls (Duplicate)
}

// Loss is how an answer is lost.
type Loss uint8

// The ways in which LoseAnswer loses an answer.
const (
	LoseNothing Loss = iota
	LoseBefore       // nobody receives it: nothing is stored
	LoseAfter        // the table is stored, the lock asks again with the version before
)

// Audit is one entry of a lock's log.
type Audit struct {
	Event string // 8 upper-case hex digits: code and data
	Time  string // 14 digits, the lock's own time
	ID    string // auditId; empty: the lock sends none
}

// ErrLost is returned by CallIn where LoseAnswer took the answer away.
var ErrLost = errors.New("lock: the answer was lost")

// FileError says why a door file was refused. Nothing of it was stored.
type FileError struct {
	Where string // as in db.usrRcrd.add[3].primeCr
	What  string
	JSON  bool // it is no JSON at all: audit 0900, else 0600
}

// Error says where and what.
func (e *FileError) Error() string {
	if e.Where == "" {
		return "door file: " + e.What
	}
	return "door file: " + e.Where + ": " + e.What
}

// Lock is one lock.
type Lock struct {
	cfg Config
	bad error
	aes *cipherKey

	calling sync.Mutex // one call-in at a time; taken before mu

	mu sync.Mutex // guards following
	table
	version   string
	torn      bool // LoseAfter: the table is newer than the version
	mode      Mode
	until     time.Time // end of a momentary unlock
	clock     time.Time // until when autoUnlock was applied
	nextCall  string    // dbDwnLdTm, 14 digits
	config    []byte    // the host's config, as it came
	certHash  string
	audits    []Audit
	auditIDs  bool
	sequence  uint64
	lose      Loss
	twice     bool
	battery   int  // mV
	open      bool // the leaf
	tampered  bool
	firstWait time.Time // a supervised card waits for its second
	firstCard [16]byte
}

// New makes a lock without a table, secured, at version 0.
func New(cfg Config) *Lock {
	if cfg.Zone == nil {
		cfg.Zone = time.UTC
	}
	if cfg.DayEnd == 0 {
		cfg.DayEnd = 1439
	}
	if cfg.Model == "" {
		cfg.Model = "le"
	}
	if cfg.Firmware == "" {
		cfg.Firmware = "4.0.0"
	}
	cfg.Serial = strings.ToUpper(cfg.Serial)
	l := &Lock{cfg: cfg, bad: cfg.Check(), version: "0", mode: Secured, battery: freshBattery}
	if l.bad == nil {
		l.aes, l.bad = newCipherKey(cfg.SiteKey)
	}
	if cfg.Name == "" && l.bad == nil {
		l.cfg.Name = "Lock " + cfg.Serial[26:]
	}
	return l
}

// Version returns the nxtDbVerTS of the last file that the lock believes it
// stored; 0: none.
func (l *Lock) Version() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.version
}

// Users returns how many users the table has.
func (l *Lock) Users() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.byID)
}

// State returns the mode as it was last set or worked out.
func (l *Lock) State() Mode {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mode
}

// Serial returns the serial as 32 upper-case hex digits.
func (l *Lock) Serial() string { return l.cfg.Serial }

// NextCall returns the dbDwnLdTm of the last file in the lock's zone; zero: none.
func (l *Lock) NextCall() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	t, err := time.ParseInLocation(digits14, l.nextCall, l.cfg.Zone)
	if err != nil {
		return time.Time{}
	}
	return t
}

// HostConfig returns the config object of the last file that had one.
func (l *Lock) HostConfig() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]byte(nil), l.config...)
}

// Audits returns the audits that are not acknowledged yet, oldest first.
func (l *Lock) Audits() []Audit {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]Audit(nil), l.audits...)
}

// Reset forgets table, version, config and certificate, as a factory reset does.
// Audits, faults and the mode secured stay.
func (l *Lock) Reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.table = table{}
	l.version, l.torn, l.mode, l.nextCall, l.config, l.certHash = "0", false, Secured, "", nil, ""
	l.clock, l.until = time.Time{}, time.Time{}
}

// LoseAnswer takes away the next answer to db, once. CallIn then returns ErrLost.
// After LoseAfter the table is newer than the version, so the next file may add
// who is there, update who is not and delete who is gone.
func (l *Lock) LoseAnswer(how Loss) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lose = how
}

// Duplicate makes the next CallIn send each of its calls twice; the first answer
// counts, the second must be proper (Result.Repeat).
func (l *Lock) Duplicate() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.twice = true
}

// NumberAudits makes audits from now on carry an auditId.
func (l *Lock) NumberAudits(on bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.auditIDs = on
}

// Voltages of a lock's battery in mV.
const (
	freshBattery = 6000
	lowBattery   = 4600
)

// digits14 is how a lock writes a time.
const digits14 = "20060102150405"
