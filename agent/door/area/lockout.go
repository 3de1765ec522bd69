package area

import (
	"fmt"
	"slices"
	"time"
)

// Lockout says when wrong PINs lock out (door.md, Decision).
type Lockout struct {
	Tries  int           // wrong PINs that lock out; 0: none do
	Within time.Duration // the time in which they are counted; 0: until a right one
	For    time.Duration // how long nothing is compared
}

// MaxTries is the largest number of tries that a Lockout may allow.
const MaxTries = 100

func (l Lockout) check() error {
	switch {
	case l.Tries < 0 || l.Tries > MaxTries:
		return fmt.Errorf("%d tries: 0 to %d", l.Tries, MaxTries)
	case l.Within < 0:
		return fmt.Errorf("the time of the tries, %v, is negative", l.Within)
	case l.For < 0 || l.Tries > 0 && l.For < time.Millisecond:
		return fmt.Errorf("it lasts %v, at least a millisecond is needed", l.For)
	}
	return nil
}

// lock is what is known of one key: the times of its last wrong PINs (fewer than
// Lockout.Tries), oldest first, or when its lock-out ends.
type lock struct {
	wrong []int64
	until int64 // 0: not locked out
}

// LockedOut reports whether a key is locked out; then no PIN is compared. A key
// is a credential or, where a PIN alone opens, a reader.
func (o *Owner) LockedOut(key string, now time.Time) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.lockedOut(key, millis(now))
}

// Locked reports what LockedOut would, at any time, and changes nothing: no
// lock-out ends because somebody asked about tomorrow.
func (o *Owner) Locked(key string, at time.Time) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	l, now := o.locks[key], millis(at)
	return l != nil && l.until != 0 && now < min(l.until, now+o.pin.For.Milliseconds())
}

// lockedOut ends a lock-out that is over. One that ends later than it could if
// it began now was made by a clock that has gone back since: it begins now, so
// that a wrong clock locks nobody out for years.
func (o *Owner) lockedOut(key string, now int64) bool {
	l := o.locks[key]
	if l == nil || l.until == 0 {
		return false
	}
	if now >= l.until {
		delete(o.locks, key)
		return false
	}
	l.until = min(l.until, now+o.pin.For.Milliseconds())
	return true
}

// Wrong counts a wrong PIN. lockedNow reports whether this one locked the key
// out; until is the end of the lock-out, zero when there is none.
func (o *Owner) Wrong(key string, now time.Time) (lockedNow bool, until time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.pin.Tries == 0 {
		return false, time.Time{}
	}
	ms := millis(now)
	if o.lockedOut(key, ms) {
		return false, time.UnixMilli(o.locks[key].until).UTC()
	}
	l := o.locks[key]
	if l == nil {
		l = &lock{}
		o.locks[key] = l
	}
	if o.pin.Within > 0 {
		l.wrong = slices.DeleteFunc(l.wrong, func(t int64) bool { return ms-t >= o.pin.Within.Milliseconds() })
	}
	if l.wrong = append(l.wrong, ms); len(l.wrong) < o.pin.Tries {
		return false, time.Time{}
	}
	l.wrong, l.until = nil, ms+o.pin.For.Milliseconds()
	return true, time.UnixMilli(l.until).UTC()
}

// Right forgets the wrong PINs of a key. It ends no lock-out.
func (o *Owner) Right(key string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if l := o.locks[key]; l != nil && l.until == 0 {
		delete(o.locks, key)
	}
}
