package sim

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"gatehouse/hal"
)

// Defaults of [HolderConfig].
const (
	DefaultLinger = 10 * time.Second
	DefaultGrace  = 300 * time.Millisecond
)

const (
	maxClients = 64
	lockWait   = 2 * time.Second
	lockPoll   = 20 * time.Millisecond
	// lastWrite bounds the writing of what waits for a client that has ended
	// its side.
	lastWrite = time.Second
)

// ErrHeld is returned by [Holder.Run] when another holder serves the socket.
var ErrHeld = errors.New("another holder serves this socket")

// HolderConfig is what a Holder needs. The zero value but for Path works.
type HolderConfig struct {
	// Path is the socket. A lock file stands beside it, with ".lock" added.
	Path string
	// Linger is how long the holder stays when its last client has gone, and at
	// its start; DefaultLinger if zero.
	Linger time.Duration
	// Grace is how long a claim waits for another owner to go; DefaultGrace if
	// zero.
	Grace time.Duration
	// Log may be nil.
	Log *slog.Logger
}

// Holder holds the lines of a simulated board. It is made by NewHolder.
type Holder struct {
	cfg   HolderConfig
	log   *slog.Logger
	ready chan struct{}

	mu sync.Mutex
	// guards following
	lines    lines
	clients  map[*client]bool
	trusted  bool
	released chan struct{} // closed and replaced when a line loses its owner
}

// NewHolder returns a holder without lines. It starts nothing.
func NewHolder(cfg HolderConfig) *Holder {
	if cfg.Linger == 0 {
		cfg.Linger = DefaultLinger
	}
	if cfg.Grace == 0 {
		cfg.Grace = DefaultGrace
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	h := &Holder{
		cfg: cfg, log: cfg.Log, ready: make(chan struct{}),
		clients: make(map[*client]bool), trusted: true, released: make(chan struct{}),
	}
	h.lines = lines{pins: make(map[hal.LineName]*pin), changed: h.tell}
	return h
}

// Ready is closed when clients can connect.
func (h *Holder) Ready() <-chan struct{} { return h.ready }

// Run takes the lock, serves the socket and returns nil when the last client
// has been gone for Linger or ctx ends. It returns ErrHeld when another holder
// has the lock. A socket file that a killed holder left is replaced.
func (h *Holder) Run(ctx context.Context) error {
	lock, err := takeLock(ctx, h.cfg.Path+".lock")
	if err != nil {
		return fmt.Errorf("sim: hold: %s: %w", h.cfg.Path, err)
	}
	defer lock.Close() //nolint:errcheck // ends the lock; nothing was written
	if err := os.Remove(h.cfg.Path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("sim: hold: %w", err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: h.cfg.Path, Net: "unix"})
	if err != nil {
		return fmt.Errorf("sim: hold: %w", socketError(h.cfg.Path, err))
	}
	// When the folder was removed meanwhile the path may be another holder's by
	// the end: only a file that is still this one's is removed.
	l.SetUnlinkOnClose(false)
	if ours, err := os.Stat(h.cfg.Path); err == nil {
		defer func() {
			if now, err := os.Stat(h.cfg.Path); err == nil && os.SameFile(ours, now) {
				_ = os.Remove(h.cfg.Path)
			}
		}()
	}
	if err := os.Chmod(h.cfg.Path, 0o600); err != nil {
		return errors.Join(fmt.Errorf("sim: hold: %w", err), l.Close())
	}
	return h.Serve(ctx, l)
}

// takeLock returns the open lock file. Its lock ends with the process.
func takeLock(ctx context.Context, path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, lockWait)
	defer cancel()
	tick := time.NewTicker(lockPoll)
	defer tick.Stop()
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			return nil, errors.Join(err, f.Close())
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, errors.Join(ErrHeld, f.Close())
		}
	}
}

// socketError explains the kernel's bare "invalid argument".
func socketError(path string, err error) error {
	if len(path) > 107 {
		return fmt.Errorf("%w: a socket's path has at most 107 bytes, this one %d", err, len(path))
	}
	return err
}

// Serve serves l, which it closes, under the same rules as Run but without lock
// and file. It returns when all connections have ended.
func (h *Holder) Serve(ctx context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	conns := make(chan net.Conn)
	failed := make(chan error, 1)
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				failed <- err
				return
			}
			select {
			case conns <- c:
			case <-ctx.Done():
				drop(c)
				failed <- ctx.Err()
				return
			}
		}
	})
	close(h.ready)
	err := h.serve(ctx, conns, failed, &all)
	cancel()
	if e := l.Close(); e != nil && err == nil && !errors.Is(e, net.ErrClosed) {
		err = e
	}
	all.Wait()
	if err != nil {
		return fmt.Errorf("sim: serve: %w", err)
	}
	return nil
}

// serve runs the connections until the holder is to end.
func (h *Holder) serve(ctx context.Context, conns <-chan net.Conn, failed <-chan error, all *sync.WaitGroup) error {
	linger := time.NewTimer(h.cfg.Linger)
	defer linger.Stop()
	gone := make(chan struct{})
	n := 0
	for {
		select {
		case c := <-conns:
			if n >= maxClients {
				h.log.Warn("too many connections", "limit", maxClients)
				drop(c)
				continue
			}
			n++
			linger.Stop()
			all.Go(func() {
				h.client(ctx, c)
				select {
				case gone <- struct{}{}:
				case <-ctx.Done():
				}
			})
		case <-gone:
			if n--; n == 0 {
				linger.Reset(h.cfg.Linger)
			}
		case <-linger.C:
			return nil
		case err := <-failed:
			if ctx.Err() != nil {
				return nil
			}
			return err
		case <-ctx.Done():
			return nil
		}
	}
}

func drop(c net.Conn) {
	c.Close() //nolint:errcheck // nothing was written on it
}

// tell sends a change to all who watch the line. h.mu is held.
func (h *Holder) tell(e hal.Edge) {
	for c := range h.clients {
		if c.watch[e.Line] {
			c.out.event(func(lost bool) message { return eventMessage(e, lost) })
		}
	}
}

// now is CLOCK_MONOTONIC, the clock of the kernel's edge stamps.
func now() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return time.Since(started) // a kernel without the clock: still monotonic
	}
	return time.Duration(ts.Nano())
}

var started = time.Now()
