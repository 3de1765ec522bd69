package control

import (
	"fmt"
	"strings"
	"time"
)

// behindLimit is how long a lock may lack changes: one night's call is given
// every day.
const behindLimit = 24 * time.Hour

// LockFindings says what is wrong with locks, for doctor. Times in it are written
// in now's zone: give the site's.
func LockFindings(locks []LockStatus, now time.Time) []Finding {
	var out []Finding
	for i := range locks {
		out = append(out, findLock(&locks[i], now)...)
	}
	return out
}

func findLock(l *LockStatus, now time.Time) []Finding {
	return nil // not built yet
}

// PendingFindings tells of locks that call without being named, for doctor.
func PendingFindings(pending []PendingLock, now time.Time) []Finding {
	return nil // not built yet
}

var _ = fmt.Sprint
var _ = strings.EqualFold
