package site

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// Mode is what a door does without anybody presenting a credential (door.md,
// Modes). The zero value is the safe one.
type Mode uint8

// The modes.
const (
	ModeSecured       Mode = iota // opens for a grant or an exit
	ModePassage                   // unlocked
	ModeFrozenSecured             // locked, credentials do not pass
	ModeFrozenPassage             // unlocked, credentials change nothing
	ModeLockdown                  // locked at once, only pass_through passes
	ModeDisabled                  // readers dead, exit alive
)

var modeNames = []string{"secured", "passage", "frozen_secured", "frozen_passage", "lockdown", "disabled"}

// String returns the mode's name.
func (m Mode) String() string {
	if int(m) < len(modeNames) {
		return modeNames[m]
	}
	return fmt.Sprintf("mode(%d)", uint8(m))
}

// Unlocked reports whether the mode holds the door unlocked.
func (m Mode) Unlocked() bool { return m == ModePassage || m == ModeFrozenPassage }

// ParseMode reads a mode's name.
func ParseMode(s string) (Mode, error) {
	if i := slices.Index(modeNames, s); i >= 0 {
		return Mode(i), nil
	}
	return ModeSecured, fmt.Errorf("mode %q is not known (one of %v)", s, modeNames)
}

// MarshalText writes the mode's name.
func (m Mode) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText reads the mode's name.
func (m *Mode) UnmarshalText(b []byte) (err error) {
	*m, err = ParseMode(string(b))
	return err
}

// Alarm is the worst alarm that stands at a door. A larger value is worse.
type Alarm uint8

// The alarms, mildest first.
const (
	AlarmNone Alarm = iota
	AlarmHeldWarning
	AlarmHeld
	AlarmFault
	AlarmTamper
	AlarmForced
)

var alarmNames = []string{"", "held_warning", "held", "fault", "tamper", "forced"}

// String returns the alarm's name; none is the empty string.
func (a Alarm) String() string {
	if int(a) < len(alarmNames) {
		return alarmNames[a]
	}
	return fmt.Sprintf("alarm(%d)", uint8(a))
}

// MarshalText writes the alarm's name.
func (a Alarm) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText reads the alarm's name.
func (a *Alarm) UnmarshalText(b []byte) error {
	if i := slices.Index(alarmNames, string(b)); i >= 0 {
		*a = Alarm(i)
		return nil
	}
	return fmt.Errorf("alarm %q is not known", b)
}

// DoorStatus is what a door is at this moment (contract.md, door list --json).
// Until is the end of the operator's override, zero when there is none.
type DoorStatus struct {
	ID     DoorID    `json:"id"`
	Name   string    `json:"name"`
	Mode   Mode      `json:"mode"`
	Locked bool      `json:"locked"`
	Open   bool      `json:"open"`
	Alarm  Alarm     `json:"alarm"`
	Until  time.Time `json:"until"`
}

// doorStatusText is DoorStatus with the end as text, which contract.md wants
// empty when there is none.
type doorStatusText struct {
	ID     DoorID `json:"id"`
	Name   string `json:"name"`
	Mode   Mode   `json:"mode"`
	Locked bool   `json:"locked"`
	Open   bool   `json:"open"`
	Alarm  Alarm  `json:"alarm"`
	Until  string `json:"until"`
}

// MarshalJSON writes the form of contract.md: until is RFC 3339 or empty.
func (d DoorStatus) MarshalJSON() ([]byte, error) {
	t := doorStatusText{d.ID, d.Name, d.Mode, d.Locked, d.Open, d.Alarm, ""}
	if !d.Until.IsZero() {
		t.Until = d.Until.Format(time.RFC3339)
	}
	return json.Marshal(t)
}

// UnmarshalJSON reads the form of MarshalJSON.
func (d *DoorStatus) UnmarshalJSON(b []byte) error {
	var t doorStatusText
	if err := json.Unmarshal(b, &t); err != nil {
		return err
	}
	*d = DoorStatus{t.ID, t.Name, t.Mode, t.Locked, t.Open, t.Alarm, time.Time{}}
	if t.Until == "" {
		return nil
	}
	var err error
	d.Until, err = time.Parse(time.RFC3339, t.Until)
	return err
}

// DoorOverride is an operator's mode for a door. It survives a restart. A zero
// Until has no end.
type DoorOverride struct {
	Mode  Mode      `json:"mode"`
	Until time.Time `json:"until,omitzero"`
	By    string    `json:"by"`
}

// DoorKept is the part of a door's state that survives a restart.
type DoorKept struct {
	Lockdown *DoorOverride `json:"lockdown,omitempty"` // Mode is ModeLockdown
	Override *DoorOverride `json:"override,omitempty"`
	Freeze   *DoorOverride `json:"freeze,omitempty"`  // Mode is ModeFrozenSecured or ModeFrozenPassage
	FirstIn  time.Time     `json:"first_in,omitzero"` // when the first person came in under a schedule that waits for one
}

// Clock says what time it is and how far that can be believed (door.md,
// Untrusted clock).
type Clock struct {
	Now         time.Time
	Trusted     bool      // time is known to be right and did not go back
	LastTrusted time.Time // the last trusted time kept on disk; zero: none
	Mode        ClockMode
}

// ClockMode is the setting clock.untrusted.
type ClockMode uint8

// What is done while the clock is not trusted.
const (
	ClockDeny       ClockMode = iota // only rights without schedule and end pass
	ClockAlwaysOnly                  // rights without a schedule pass; the default of settings
	ClockIgnore                      // judge by the clock as it is
)

var clockModeNames = []string{"deny", "always-only", "ignore"}

// String returns the setting's text.
func (m ClockMode) String() string {
	if int(m) < len(clockModeNames) {
		return clockModeNames[m]
	}
	return fmt.Sprintf("clockmode(%d)", uint8(m))
}

// ParseClockMode reads the setting's text.
func ParseClockMode(s string) (ClockMode, error) {
	if i := slices.Index(clockModeNames, s); i >= 0 {
		return ClockMode(i), nil
	}
	return ClockDeny, fmt.Errorf("clock mode %q is not known (one of %v)", s, clockModeNames)
}

// Pattern is a signal to the person at a reader, shown by LED and beeper.
type Pattern uint8

// The patterns. The zero value shows nothing.
const (
	PatternNone Pattern = iota
	PatternGranted
	PatternDenied
	PatternError
	PatternWaiting
	PatternLockdown
)

var patternNames = []string{"none", "granted", "denied", "error", "waiting", "lockdown"}

// String returns the pattern's name.
func (p Pattern) String() string {
	if int(p) < len(patternNames) {
		return patternNames[p]
	}
	return fmt.Sprintf("pattern(%d)", uint8(p))
}
