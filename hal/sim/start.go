package sim

import (
	"context"
	"fmt"
	"os/exec"
	"syscall"
	"time"
)

const (
	ensurePoll = 20 * time.Millisecond
	// startAgain is when another holder is started because none has answered:
	// longer than one waits for the lock of one that is just ending.
	startAgain = 3 * time.Second
)

// Ensure connects to the holder at path. When nobody serves it, start is called
// to start one (see Start) and Ensure waits until it answers. Two agents may do
// so at once: the holders' lock file leaves one. ctx bounds the wait.
func Ensure(ctx context.Context, path string, start func() error) (*Board, error) {
	poll := time.NewTicker(ensurePoll)
	defer poll.Stop()
	var asked time.Time
	for {
		b, err := Dial(ctx, path)
		if err == nil {
			return b, nil
		}
		if ctx.Err() == nil && (asked.IsZero() || time.Since(asked) > startAgain) {
			if err := start(); err != nil {
				return nil, fmt.Errorf("sim: start holder: %w", err)
			}
			asked = time.Now()
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", ctx.Err(), err)
		}
	}
}

// Start starts exe as a holder: in a session of its own, so that a signal to
// the agent's process group or terminal spares it, with nothing for input and
// output. It does not wait; the holder ends by itself.
func Start(exe string, args ...string) error {
	cmd := exec.Command(exe, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("sim: start holder: %w", err)
	}
	go cmd.Wait() //nolint:errcheck // reaps a holder that ends before this process; nothing to tell
	return nil
}
