package control

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"gatehouse/agent/site"
)

// Locks is what control needs of the site's locks; app gives it. Its methods may
// be called from any goroutine and wait for no lock: they tell what is known.
type Locks interface {
	// LockList returns each lock of the settings, in their order.
	LockList() []LockStatus
	// PendingLocks returns those that called and that no lock of the settings is.
	PendingLocks() []PendingLock
	// StillOpens returns the locks whose own table has the card of a credential,
	// whatever the policy says of it now, in the order of the settings. The id may
	// be one of any source, of any state; one that is not known opens nothing.
	StillOpens(id site.CredentialID) []StillOpen
}

// LockLine says how a lock is reached.
type LockLine string

// The lines of locks.
const (
	LockWiFi   LockLine = "wifi"   // it calls; nobody can call it
	LockSerial LockLine = "serial" // it is asked, and takes commands at once
)

// TableVersion is a version of a lock's table (nxtDbVerTS, engage.md section 5).
// JSON has it as text, 0x and 16 hex digits, for JSON's numbers cannot hold it.
// Zero is no table.
type TableVersion uint64

// String writes the version as a door file has it.
func (v TableVersion) String() string { return fmt.Sprintf("0x%016x", uint64(v)) }

// MarshalText writes the version as String does.
func (v TableVersion) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (v *TableVersion) UnmarshalText(b []byte) error {
	digits, ok := strings.CutPrefix(string(b), "0x")
	n, err := strconv.ParseUint(digits, 16, 64)
	if !ok || err != nil || len(digits) != 16 {
		return fmt.Errorf("table version %.32q: want 0x and 16 hex digits", b)
	}
	*v = TableVersion(n)
	return nil
}

// ticksAD1 is the Unix epoch in the versions' ticks of 100 ns since the year 1.
const ticksAD1 = 62135596800 * 1e7

// Made returns when the table was made, which is what the version counts; the zero
// time for no table, and for a number that is no time of this or the last century.
func (v TableVersion) Made() time.Time {
	ticks := int64(v) - ticksAD1
	t := time.Unix(ticks/1e7, ticks%1e7*100).UTC()
	if v == 0 || t.Year() < 1970 || t.Year() > 2200 {
		return time.Time{}
	}
	return t
}

// FullFile is the number of changes of a lock that gets a whole table.
const FullFile = -1

// LockStatus is one lock. What nothing is known of is zero and left out.
type LockStatus struct {
	ID     site.DoorID     `json:"id"`
	Name   string          `json:"name"`
	Serial string          `json:"serial"`
	Model  string          `json:"model"`
	Line   LockLine        `json:"line"`
	Device site.DeviceName `json:"device,omitempty"` // of a serial lock

	State LockState `json:"state"` // filled in by control with StateOf; what app sets is not read
	// Online: a serial lock answers on its line. It says nothing of a Wi-Fi lock.
	Online bool      `json:"online,omitempty"`
	Called time.Time `json:"called,omitzero"` // the last call that was let in
	Next   time.Time `json:"next,omitzero"`   // when it is expected to call
	Late   bool      `json:"late"`            // it did not call when it was expected to

	Has         TableVersion `json:"has"`                   // the table that it said it stored
	HasMade     time.Time    `json:"has_made,omitzero"`     // filled in by control from Has
	Want        TableVersion `json:"want"`                  // the one that it is to have; 0 while that has no version yet
	Sent        time.Time    `json:"sent,omitzero"`         // when Want was offered
	Behind      bool         `json:"behind"`                // the policy has changed what it should have
	Unchecked   bool         `json:"unchecked,omitempty"`   // not compared yet with the policy as it is: Behind is of before
	BehindSince time.Time    `json:"behind_since,omitzero"` // zero also where that is not known
	Changes     int          `json:"changes"`               // that it lacks; FullFile: it gets the whole table
	Users       int          `json:"users"`                 // in the table that it has
	UsersMax    int          `json:"users_max,omitempty"`   // that a lock of its model takes
	Losses      []string     `json:"losses"`                // what it cannot hold as the policy says it; never a card
	Lost        int          `json:"lost"`                  // how many there are in all, listed or not

	// Refused says why a call of it was refused the last time. It is history where
	// RefusedAt is not after Called.
	Refused   string    `json:"refused,omitempty"`
	RefusedAt time.Time `json:"refused_at,omitzero"`

	Mode  string     `json:"mode,omitempty"` // by its last audit that tells one
	Alarm site.Alarm `json:"alarm"`          // the worst that its audits left standing
	// ConfigWaits: settings that the host has for it are given to it at its next call.
	ConfigWaits bool `json:"config_waits,omitempty"`

	SaysName  string `json:"says_name,omitempty"` // its own name and model, as it was commissioned
	SaysModel string `json:"says_model,omitempty"`

	Battery  string   `json:"battery,omitempty"`       // as it says; "low" and "critical" are found wrong
	Main     float64  `json:"battery_main,omitempty"`  // volts
	Li       float64  `json:"battery_clock,omitempty"` // volts of the cell that keeps its clock
	Firmware string   `json:"firmware,omitempty"`
	ClockOff Duration `json:"clock_off,omitempty"` // how far its clock is ahead of the site's
}

// LockState is the word for how a lock is, the worst first.
type LockState string

// The states of locks.
const (
	LockOffline LockState = "offline" // a serial lock does not answer
	LockRefused LockState = "refused" // its last call was refused
	LockUnseen  LockState = "unseen"  // it has never called
	LockLate    LockState = "late"    // it did not call when it was expected to
	LockBehind  LockState = "behind"  // it lacks changes that it will get when it calls
	// LockChecking: what it has was not compared with the policy since that changed.
	LockChecking LockState = "checking"
	LockOK       LockState = "ok"
)

// StateOf returns the worst that is so of a lock. It does not read State.
func StateOf(l *LockStatus) LockState {
	switch {
	case l.Line == LockSerial && !l.Online:
		return LockOffline
	case l.refused():
		return LockRefused
	case l.Called.IsZero():
		return LockUnseen
	case l.Late:
		return LockLate
	case l.Behind:
		return LockBehind
	case l.Unchecked:
		return LockChecking
	}
	return LockOK
}

// refused reports whether the last call was refused: one that was let in after
// it makes a refusal history.
func (l *LockStatus) refused() bool {
	return l.Refused != "" && (l.RefusedAt.IsZero() || l.RefusedAt.After(l.Called))
}

// PendingLock is a lock that called and that the settings do not name.
type PendingLock struct {
	Serial  string    `json:"serial"`
	First   time.Time `json:"first"`
	Last    time.Time `json:"last"`
	Calls   uint64    `json:"calls"`
	Address string    `json:"address"`
}

// StillOpen is a lock that opens for a card though the policy says otherwise.
type StillOpen struct {
	Lock  site.DoorID `json:"lock"`
	Until time.Time   `json:"until,omitzero"` // about when it will have called; zero: nobody can say
	Line  LockLine    `json:"line"`
	// Unsure: what the lock has is not known, so it may open or not.
	Unsure bool `json:"unsure,omitempty"`
}

// LockBook is all locks: those of the settings and those that wait for a name.
type LockBook struct {
	Locks   []LockStatus  `json:"locks"`
	Pending []PendingLock `json:"pending_locks"`
}

// LockView is one lock with its alarms, save duress.
type LockView struct {
	LockStatus
	Alarms []Alarm `json:"alarms"`
}

func (s *server) lockRoutes() []route {
	return []route{
		{"GET /v1/locks", s.locks},
		{"GET /v1/locks/{id}", s.lockShow},
	}
}

// lockBook asks for all locks and fills in their states.
func (s *server) lockBook() LockBook {
	b := LockBook{Locks: []LockStatus{}, Pending: []PendingLock{}}
	if s.Locks == nil {
		return b
	}
	b.Locks = append(b.Locks, s.Locks.LockList()...)
	b.Pending = append(b.Pending, s.Locks.PendingLocks()...)
	for i := range b.Locks {
		l := &b.Locks[i]
		l.State, l.HasMade = StateOf(l), l.Has.Made()
		if l.Losses == nil {
			l.Losses = []string{}
		}
	}
	return b
}

func (s *server) locks(w http.ResponseWriter, _ *http.Request) error {
	return ok(w, s.lockBook())
}

// lockShow answers with the lock of an id, or of a serial.
func (s *server) lockShow(w http.ResponseWriter, r *http.Request) error {
	id, book := r.PathValue("id"), s.lockBook()
	i := slices.IndexFunc(book.Locks, func(l LockStatus) bool { return string(l.ID) == id || strings.EqualFold(l.Serial, id) })
	if i < 0 {
		if slices.ContainsFunc(book.Pending, func(p PendingLock) bool { return strings.EqualFold(p.Serial, id) }) {
			return fmt.Errorf("lock %.64q: %w in the settings, though it calls: name it under locks", id, ErrNotFound)
		}
		return fmt.Errorf("lock %.64q: %w in the settings", id, ErrNotFound)
	}
	v := LockView{LockStatus: book.Locks[i], Alarms: []Alarm{}}
	for _, a := range s.Alarms.AlarmList(false) {
		if a.Door == v.ID || v.Device != "" && a.Device == v.Device {
			v.Alarms = append(v.Alarms, a)
		}
	}
	return ok(w, v)
}

// explained says of a command that found no door that it was meant for a Wi-Fi
// lock, which nobody can command.
func (s *server) explained(id site.DoorID, err error) error {
	if s.Locks == nil || !errors.Is(err, ErrNotFound) {
		return err
	}
	for _, l := range s.Locks.LockList() {
		if l.ID == id && l.Line == LockWiFi {
			return fmt.Errorf("%w: lock %s has no live line: a Wi-Fi lock calls by itself and takes no commands", ErrRefused, id)
		}
	}
	return err
}

// lineless returns the Wi-Fi locks, which a command to all doors does not reach.
func (s *server) lineless(t Target) []site.DoorID {
	if s.Locks == nil || !t.All {
		return nil
	}
	var out []site.DoorID
	for _, l := range s.Locks.LockList() {
		if l.Line == LockWiFi {
			out = append(out, l.ID)
		}
	}
	return out
}

// stillOpens asks which locks still open for one of some credentials: each lock
// once, with the latest end. Ask when a change is made: a lock that called in the
// meantime is none of them.
func (s *server) stillOpens(ids ...site.CredentialID) []StillOpen {
	out := []StillOpen{}
	if s.Locks == nil {
		return out
	}
	at := map[site.DoorID]int{}
	for _, id := range ids {
		for _, o := range s.Locks.StillOpens(id) {
			i, known := at[o.Lock]
			if !known {
				at[o.Lock] = len(out)
				out = append(out, o)
				continue
			}
			if was := &out[i]; o.Until.IsZero() || !was.Until.IsZero() && o.Until.After(was.Until) {
				was.Until = o.Until
			}
			out[i].Unsure = out[i].Unsure && o.Unsure
		}
	}
	return out
}
