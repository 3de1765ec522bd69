package swordfish

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// VersionAll is the version of a lock that has nothing and wants everything.
const VersionAll = 0

// maxVersionDigits is how many hex digits nxtDbVerTS has.
const maxVersionDigits = 16

var errVersion = errors.New("version: want 1 to 16 hex digits, with or without 0x before them")

// ParseVersion reads nxtDbVerTS (engage.md section 5): 1 to 16 hex digits of either
// case, with or without 0x before them. 0 is everything.
func ParseVersion(s string) (uint64, error) {
	if len(s) > 2 && strings.EqualFold(s[:2], "0x") {
		s = s[2:]
	}
	if len(s) == 0 || len(s) > maxVersionDigits {
		return 0, errVersion
	}
	v, err := strconv.ParseUint(s, 16, 64)
	if err != nil {
		return 0, errVersion
	}
	return v, nil
}

// FormatVersion writes nxtDbVerTS: 0x and 16 lower-case hex digits.
func FormatVersion(v uint64) string { return fmt.Sprintf("0x%016x", v) }

// Units of a version: the document's example counts 100 ns from the year 1.
const (
	ticksPerSecond = 10_000_000
	yearOne        = -62135596800 // 0001-01-01T00:00:00Z in Unix time
)

// NextVersion returns the version of a door file that is made now, after the last
// one: the time in 100 ns since 0001-01-01 UTC, as in the document's example, and
// always larger than last, whatever the clock says. last must be a version that this
// function made, so it is never the largest number that there is.
func NextVersion(last uint64, now time.Time) uint64 {
	var v uint64
	if s := now.Unix() - yearOne; s > 0 {
		v = uint64(s)*ticksPerSecond + uint64(now.Nanosecond())/100
	}
	return max(v, last+1)
}
