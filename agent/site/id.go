package site

import (
	"fmt"
	"strings"
)

// DoorID names a door: a GPIO door or a lock. It is the id of the settings.
type DoorID string

// ReaderID names one reader side of a door.
type ReaderID string

// AreaID names an area of the site (anti-passback, occupancy, lockdown).
type AreaID string

// OutputID names an auxiliary output.
type OutputID string

// HolderID names the person or thing that holds credentials. It is made by the
// store and says nothing about the person.
type HolderID string

// CredentialID names one credential record. It is made by the store from the
// encrypted card block, so it says nothing about the card to one without the
// device key.
type CredentialID string

// LevelID names an access level.
type LevelID string

// ScheduleID names a schedule. The empty ScheduleID in a Right means always.
type ScheduleID string

// HolidayID names a holiday.
type HolidayID string

// DeviceName names a Hive device, as it stands in its envelope.
type DeviceName string

// Source says who owns a record. Rights are the union over sources; each
// source changes its own records only (door.md, Decision).
type Source string

// The sources of records.
const (
	SourceOperator Source = "operator" // entered on the site
	SourceIPHost   Source = "iphost"   // came in a door file from the ENGAGE host
	SourceHive     Source = "hive"     // an upstream Hive server
)

// EventSeq numbers events inside one log, without gaps, from 1.
type EventSeq uint64

// LogID names one unbroken numbering of events: 8 lower-case hex digits.
type LogID string

// MaxIDLen is the longest identifier accepted from settings, imports and
// commands, in bytes.
const MaxIDLen = 64

// CheckID reports why s cannot be an identifier of a door, a reader, a level
// and the like, or nil. An identifier is 1 to 64 lower- or upper-case ASCII
// letters, digits, '-', '_' and '.', and starts with a letter or a digit.
func CheckID(s string) error {
	if s == "" {
		return fmt.Errorf("an id is empty")
	}
	if len(s) > MaxIDLen {
		return fmt.Errorf("id %.16q…: longer than %d characters", s, MaxIDLen)
	}
	for i, r := range s {
		ok := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		if !ok && (i == 0 || !strings.ContainsRune("-_.", r)) {
			return fmt.Errorf("id %q: character %q is not allowed (letters, digits, then also - _ .)", s, r)
		}
	}
	return nil
}
