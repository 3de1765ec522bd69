package hal

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// SystemClock is the clock of this machine. The zero value is ready; it may be
// used from any goroutine.
type SystemClock struct{}

var _ Clock = SystemClock{}

// Now implements Clock.
func (SystemClock) Now() time.Time { return time.Now() }

// Synchronised implements Clock. It asks the kernel, which chrony, ntpd,
// systemd-timesyncd and the like tell when they have set the clock; the kernel
// takes it back when nothing has steered the clock for long enough (adjtimex(2):
// STA_UNSYNC, TIME_ERROR). A battery-backed clock alone does not count. Where the
// kernel cannot be asked the answer is false.
func (SystemClock) Synchronised() bool {
	var t unix.Timex // no modes: only asks
	state, err := unix.Adjtimex(&t)
	return err == nil && synchronised(state, t.Status)
}

func synchronised(state int, status int32) bool {
	return state != unix.TIME_ERROR && status&unix.STA_UNSYNC == 0
}

// Monotonic reads CLOCK_MONOTONIC, the clock of Edge.At. It does not run while
// the machine is suspended and says nothing about the time of day.
func Monotonic() (time.Duration, error) {
	var ts unix.Timespec
	err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	for errors.Is(err, unix.EINTR) {
		err = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	}
	if err != nil {
		return 0, fmt.Errorf("clock: monotonic: %w", err)
	}
	return time.Duration(ts.Nano()), nil
}
