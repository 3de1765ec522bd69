package supervise

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Errors that callers branch on.
var (
	// ErrNotSupervised is returned by Inherit when this process was not started
	// by a Parent.
	ErrNotSupervised = errors.New("not started by a supervisor")
	// ErrGone is returned by Child.Run when the parent has died or is silent.
	ErrGone = errors.New("the supervisor is gone")
)

// The child's descriptors.
const (
	fdBeats   = 3 // from the parent
	fdAnswers = 4 // to the parent
)

// Child is the agent's side. It is a task: start it first and stop it last,
// because the agent that stops must still show that it is alive. Its stop tells
// the parent that the outputs are safe and only the exit is left, for which
// there is Config.StopWait.
type Child struct {
	beats, answers *os.File
	beat, silence  time.Duration
	alive          func() bool
	ready          chan struct{}
	gone           chan struct{}
}

// Inherit takes over the pipes of the parent that started this process. Call it
// once and early: it also keeps them from programs that this process starts.
// alive is asked before each heartbeat and says whether every part that matters
// answers; it must answer at once, and one that hangs is silence.
func Inherit(alive func() bool) (*Child, error) {
	value, ok := os.LookupEnv(envName)
	if !ok {
		return nil, ErrNotSupervised
	}
	if err := os.Unsetenv(envName); err != nil {
		return nil, fmt.Errorf("supervise: inherit: %w", err)
	}
	beat, silence, err := parseTimes(value)
	if err != nil {
		return nil, fmt.Errorf("supervise: inherit: %s: %w", envName, err)
	}
	c := &Child{beat: beat, silence: silence, alive: alive, ready: make(chan struct{}), gone: make(chan struct{})}
	if c.beats, err = adopt(fdBeats, "beats"); err != nil {
		return nil, err
	}
	if c.answers, err = adopt(fdAnswers, "answers"); err != nil {
		return nil, err
	}
	return c, nil
}

// parseTimes reads "beat,silence" in nanoseconds.
func parseTimes(s string) (beat, silence time.Duration, err error) {
	a, b, ok := strings.Cut(s, ",")
	x, errX := strconv.ParseInt(a, 10, 64)
	y, errY := strconv.ParseInt(b, 10, 64)
	if !ok || errX != nil || errY != nil || x < int64(time.Millisecond) || y < x {
		return 0, 0, errors.New("not the times of a supervisor")
	}
	return time.Duration(x), time.Duration(y), nil
}

// adopt makes an inherited pipe one that has deadlines and is not inherited
// further.
func adopt(fd int, name string) (*os.File, error) {
	var st syscall.Stat_t
	if err := syscall.Fstat(fd, &st); err != nil {
		return nil, fmt.Errorf("supervise: inherit: descriptor %d: %w", fd, err)
	}
	if st.Mode&syscall.S_IFMT != syscall.S_IFIFO {
		return nil, fmt.Errorf("supervise: inherit: descriptor %d is not a pipe", fd)
	}
	syscall.CloseOnExec(fd)
	if err := syscall.SetNonblock(fd, true); err != nil {
		return nil, fmt.Errorf("supervise: inherit: descriptor %d: %w", fd, err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// String returns the task's name.
func (c *Child) String() string { return "supervisor" }

// Ready is closed when the first heartbeat has come and the first has gone.
// Touch no output before: until its first heartbeat the parent allows the agent
// the long Config.Startup, from then on the short Config.Silence.
func (c *Child) Ready() <-chan struct{} { return c.ready }

// Gone is closed when the parent has died or was silent for too long. The agent
// must then drive its outputs safe at once and exit: the rest of 2 s is for
// that.
func (c *Child) Gone() <-chan struct{} { return c.gone }

// Run sends heartbeats and listens until ctx ends, when it returns nil, or the
// parent is gone, when it returns ErrGone. Call it once. It does not return
// while alive hangs; Gone is closed in any case.
func (c *Child) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var both atomic.Int32
	first := func() {
		if both.Add(1) == 2 {
			close(c.ready)
		}
	}
	var parts sync.WaitGroup
	parts.Go(func() { send(ctx, c.answers, c.beat, c.alive, first) })
	v := listen(ctx, c.beats, c.beat, c.silence, c.silence, first)
	if v != stopped {
		close(c.gone)
	}
	cancel()
	parts.Wait()
	if v != stopped {
		return fmt.Errorf("supervise: %w", ErrGone)
	}
	// Without it the parent counts silence until the exit: no more harm than a
	// kill of an agent that has stopped.
	write(c.answers, farewellByte, c.beat) //nolint:errcheck // see above
	return nil
}
