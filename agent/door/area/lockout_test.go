package area_test

import (
	"testing"
	"time"

	"gatehouse/agent/door/area"
)

func TestLockout(t *testing.T) {
	three := area.Lockout{Tries: 3, Within: time.Minute, For: 10 * time.Minute}
	type try struct {
		at     time.Duration
		do     string // wrong, right, locked
		key    string
		now    bool          // locked out now: by this one, or asked for
		ending time.Duration // of the lock-out that wrong tells of; 0: none
	}
	for _, tt := range []struct {
		name  string
		pin   area.Lockout
		tries []try
	}{
		{"none set", area.Lockout{}, []try{{0, "wrong", "c", false, 0}, {0, "wrong", "c", false, 0}, {0, "locked", "c", false, 0}}},
		{"one try", area.Lockout{Tries: 1, For: time.Minute}, []try{{0, "wrong", "c", true, time.Minute}, {0, "locked", "c", true, 0}}},
		{"three", three, []try{{0, "wrong", "c", false, 0}, {1, "wrong", "c", false, 0}, {1, "locked", "c", false, 0}, {time.Second, "wrong", "c", true, time.Second + 10*time.Minute}, {time.Second, "locked", "c", true, 0}}},
		{"it ends, and the count with it", three, []try{
			{0, "wrong", "c", false, 0}, {0, "wrong", "c", false, 0}, {0, "wrong", "c", true, 10 * time.Minute},
			{10*time.Minute - time.Millisecond, "locked", "c", true, 0}, {10 * time.Minute, "locked", "c", false, 0},
			{10 * time.Minute, "wrong", "c", false, 0}, {10 * time.Minute, "wrong", "c", false, 0}, {10 * time.Minute, "wrong", "c", true, 20 * time.Minute},
		}},
		{"each key for itself", three, []try{{0, "wrong", "c", false, 0}, {0, "wrong", "c", false, 0}, {0, "wrong", "d", false, 0}, {0, "wrong", "c", true, 10 * time.Minute}, {0, "locked", "d", false, 0}}},
		{"a right one clears", three, []try{{0, "wrong", "c", false, 0}, {0, "wrong", "c", false, 0}, {0, "right", "c", false, 0}, {0, "wrong", "c", false, 0}, {0, "wrong", "c", false, 0}, {0, "locked", "c", false, 0}}},
		{"a right one ends no lock-out", area.Lockout{Tries: 1, For: time.Minute}, []try{{0, "wrong", "c", true, time.Minute}, {0, "right", "c", false, 0}, {0, "locked", "c", true, 0}}},
		{"a wrong one makes it no longer", area.Lockout{Tries: 1, For: time.Minute}, []try{{0, "wrong", "c", true, time.Minute}, {30 * time.Second, "wrong", "c", false, time.Minute}, {time.Minute, "locked", "c", false, 0}}},
		{"old ones do not count", three, []try{{0, "wrong", "c", false, 0}, {30 * time.Second, "wrong", "c", false, 0}, {time.Minute, "wrong", "c", false, 0}, {89 * time.Second, "wrong", "c", true, 89*time.Second + 10*time.Minute}}},
		{"old ones count where no time is set", area.Lockout{Tries: 2, For: time.Minute}, []try{{0, "wrong", "c", false, 0}, {1000 * time.Hour, "wrong", "c", true, 1000*time.Hour + time.Minute}}},
		{"the clock goes back", three, []try{
			{0, "wrong", "c", false, 0}, {0, "wrong", "c", false, 0}, {0, "wrong", "c", true, 10 * time.Minute},
			{-1000 * time.Hour, "locked", "c", true, 0},
			{-1000*time.Hour + 10*time.Minute - time.Millisecond, "locked", "c", true, 0}, {-1000*time.Hour + 10*time.Minute, "locked", "c", false, 0},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := mustNew(t, area.Config{PIN: tt.pin})
			for i, s := range tt.tries {
				var now bool
				var until time.Time
				switch s.do {
				case "wrong":
					now, until = o.Wrong(s.key, at(s.at))
				case "right":
					o.Right(s.key)
				case "locked":
					now = o.LockedOut(s.key, at(s.at))
				default:
					t.Fatalf("try %d: %q", i, s.do)
				}
				var want time.Time
				if s.ending != 0 {
					want = at(s.ending)
				}
				if now != s.now || !until.Equal(want) {
					t.Errorf("try %d, %s at %v: %v until %v, want %v until %v", i, s.do, s.at, now, until, s.now, want)
				}
			}
		})
	}
}

// TestLockedAsksOnly: to ask about a time after a lock-out, or before it, does
// not end it and makes it no shorter.
func TestLockedAsksOnly(t *testing.T) {
	o := mustNew(t, area.Config{PIN: area.Lockout{Tries: 1, For: 10 * time.Minute}})
	o.Wrong("c", at(0))
	for _, tt := range []struct {
		at   time.Duration
		want bool
	}{{0, true}, {10*time.Minute - time.Millisecond, true}, {10 * time.Minute, false}, {1000 * time.Hour, false}, {-1000 * time.Hour, true}} {
		if got := o.Locked("c", at(tt.at)); got != tt.want {
			t.Errorf("at %v: %v, want %v", tt.at, got, tt.want)
		}
	}
	if o.Locked("d", at(0)) {
		t.Error("a key that was never tried is locked out")
	}
	if !o.LockedOut("c", at(10*time.Minute-time.Millisecond)) {
		t.Error("to ask has ended the lock-out")
	}
}
