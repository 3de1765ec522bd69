package swordfish

import "time"

// LockTime reads a lock's 14 digits as a wall clock in zone.
func LockTime(s string, zone *time.Location) (first, second time.Time, skipped bool, err error) {
	return time.Time{}, time.Time{}, false, errNotBuilt
}
