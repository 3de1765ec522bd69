package hal

// Inside the package because the kernel's answer cannot be chosen from outside.

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestSynchronised(t *testing.T) {
	tests := []struct {
		name   string
		state  int
		status int32
		want   bool
	}{
		{"never set", unix.TIME_ERROR, unix.STA_UNSYNC, false},
		{"error without the flag", unix.TIME_ERROR, 0, false},
		{"flag without the error", unix.TIME_OK, unix.STA_UNSYNC | unix.STA_PLL, false},
		{"steered", unix.TIME_OK, unix.STA_PLL, true},
		{"steered, in nanoseconds", unix.TIME_OK, unix.STA_PLL | unix.STA_NANO, true},
		{"a leap second is coming", unix.TIME_INS, unix.STA_INS, true},
		{"in a leap second", unix.TIME_OOP, 0, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := synchronised(tt.state, tt.status); got != tt.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestSystemClock(t *testing.T) {
	var c SystemClock
	before := time.Now()
	if got := c.Now(); got.Before(before) || time.Since(got) > time.Minute {
		t.Errorf("now is %v", got)
	}
	c.Synchronised() // whatever it is here, it answers
	a, err := Monotonic()
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	b, err := Monotonic()
	if err != nil || b < a || b-a > time.Since(begin)+time.Second || a <= 0 {
		t.Errorf("monotonic went from %v to %v, %v", a, b, err)
	}
}
