package supervise_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"gatehouse/agent/task/supervise"
)

const (
	roleEnv = "SUPERVISE_TEST_ROLE"
	// promise is design.md promise 2.
	promise = 2 * time.Second
	// patience is for what happens at once unless the machine is busy.
	patience = 30 * time.Second
)

// TestMain lets the test binary be a parent, a child and a grandchild.
func TestMain(m *testing.M) {
	role, what, _ := strings.Cut(os.Getenv(roleEnv), ":")
	switch role {
	case "":
		os.Exit(m.Run())
	case "child":
		os.Exit(child(what))
	case "parent":
		os.Exit(parent(what))
	case "idle":
		time.Sleep(patience)
	}
	os.Exit(99)
}

// child is an agent that behaves as told.
func child(what string) int {
	what, value, _ := strings.Cut(what, "=")
	switch what {
	case "exit":
		code, err := strconv.Atoi(value)
		if err != nil {
			return 98
		}
		return code
	case "mute":
		fmt.Println("up", os.Getpid())
		time.Sleep(patience)
		return 97
	}
	var beats atomic.Int64
	c, err := supervise.Inherit(func() bool {
		n := beats.Add(1)
		if what == "hang" && n > 3 {
			select {}
		}
		return what != "dead-door" || n <= 3
	})
	if err != nil {
		return 96
	}
	terminated := make(chan os.Signal, 1)
	signal.Notify(terminated, syscall.SIGTERM)
	if what == "family" {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), roleEnv+"=idle")
		if err := cmd.Start(); err != nil {
			return 95
		}
		fmt.Println("grandchild", cmd.Process.Pid)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	<-c.Ready()
	fmt.Println("up", os.Getpid())
	for {
		select {
		case <-c.Gone():
			fmt.Println("safe")
			if err := <-done; !errors.Is(err, supervise.ErrGone) {
				return 94
			}
			return 3
		case <-terminated:
			if what == "stubborn" {
				continue
			}
			if value != "" { // stops, alive, for longer than the silence limit
				time.Sleep(1500 * time.Millisecond)
			}
			cancel()
			if err := <-done; err != nil {
				return 93
			}
			return 0
		}
	}
}

// parent is a supervisor that a test can kill.
func parent(what string) int {
	p, err := supervise.New(supervise.Config{
		Path: os.Args[0], Env: []string{roleEnv + "=child:" + what},
		Safe: func(context.Context) error { return nil },
	})
	if err != nil {
		return 92
	}
	code, err := p.Run(context.Background())
	if err != nil {
		return 91
	}
	return code
}

// run is a parent in this process.
type run struct {
	t     *testing.T
	lines chan string
	safe  chan time.Time
	stop  context.CancelFunc
	done  chan int
	err   error // after done
}

func start(t *testing.T, what string, change func(*supervise.Config)) *run {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	s := &run{t: t, lines: read(r), safe: make(chan time.Time, 100), done: make(chan int, 1)}
	cfg := supervise.Config{
		Path: os.Args[0], Env: []string{roleEnv + "=child:" + what}, Stdout: w,
		Safe:     func(context.Context) error { s.safe <- time.Now(); return nil },
		MinDelay: 10 * time.Millisecond,
	}
	if change != nil {
		change(&cfg)
	}
	p, err := supervise.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.stop = cancel
	go func() {
		code, err := p.Run(ctx)
		s.err = err
		s.done <- code
		close(s.done)
	}()
	t.Cleanup(func() {
		cancel()
		for range s.done {
		}
		if err := w.Close(); err != nil {
			t.Error(err)
		}
		for range s.lines { // ends when no child is left
		}
	})
	return s
}

// read gives the lines of r, and closes r at its end.
func read(r *os.File) chan string {
	lines := make(chan string, 100)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(r); s.Scan(); {
			lines <- s.Text()
		}
		r.Close() //nolint:errcheck // it was read only
	}()
	return lines
}

// expect returns the number after word in the next line.
func expect(t *testing.T, lines <-chan string, word string) int {
	t.Helper()
	select {
	case l, ok := <-lines:
		rest, is := strings.CutPrefix(l, word)
		if !ok || !is {
			t.Fatalf("heard %q, want %s", l, word)
		}
		n, err := strconv.Atoi(strings.TrimSpace(rest))
		if err != nil && rest != "" {
			t.Fatalf("heard %q", l)
		}
		return n
	case <-time.After(patience):
		t.Fatalf("%s was not heard", word)
	}
	return 0
}

func (s *run) wantSafe(since time.Time) {
	s.t.Helper()
	select {
	case at := <-s.safe:
		if took := at.Sub(since); took > promise {
			s.t.Errorf("safe after %v, promised %v", took, promise)
		}
	case <-time.After(patience):
		s.t.Fatal("Safe was not called")
	}
}

func (s *run) wantEnd(want int) {
	s.t.Helper()
	select {
	case code := <-s.done:
		if code != want || s.err != nil {
			s.t.Errorf("Run = %d, %v, want %d", code, s.err, want)
		}
	case <-time.After(patience):
		s.t.Fatal("Run does not return")
	}
}

// ended reports whether a process has ended, be it reaped or not.
func ended(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	_, state, _ := strings.Cut(string(b), ") ")
	return strings.HasPrefix(state, "Z") || strings.HasPrefix(state, "X")
}

func wantEnded(t *testing.T, pid int, since time.Time, within time.Duration) {
	t.Helper()
	for !ended(pid) {
		if time.Since(since) > within {
			t.Fatalf("process %d is alive after %v", pid, within)
		}
		time.Sleep(5 * time.Millisecond) // another process is watched from outside
	}
}

func kill(t *testing.T, pid int, s syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(pid, s); err != nil {
		t.Fatal(err)
	}
}

func TestChildKilledOrStopped(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGKILL, syscall.SIGSTOP, syscall.SIGHUP} {
		t.Run(sig.String(), func(t *testing.T) {
			s := start(t, "beat", nil)
			for range 2 { // the restarted one is looked after as well
				pid := expect(t, s.lines, "up")
				at := time.Now()
				kill(t, pid, sig)
				s.wantSafe(at)
				if !ended(pid) {
					t.Error("Safe was called while the child lived")
				}
			}
			expect(t, s.lines, "up")
			s.stop()
			s.wantSafe(time.Now().Add(patience))
			s.wantEnd(0)
		})
	}
}

func TestChildHangs(t *testing.T) {
	for _, what := range []string{"dead-door", "hang", "mute"} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			s := start(t, what, func(c *supervise.Config) { c.Startup = time.Second })
			pid := expect(t, s.lines, "up")
			s.wantSafe(time.Now())
			if !ended(pid) {
				t.Error("Safe was called while the child lived")
			}
			expect(t, s.lines, "up") // and goes on
		})
	}
}

func TestChildGroupIsCleared(t *testing.T) {
	s := start(t, "family", nil)
	grandchild := expect(t, s.lines, "grandchild")
	pid := expect(t, s.lines, "up")
	kill(t, pid, syscall.SIGKILL)
	s.wantSafe(time.Now())
	wantEnded(t, grandchild, time.Now(), promise)
}

func TestExitCodes(t *testing.T) {
	for _, code := range []int{supervise.ExitConfig, supervise.ExitNoRestart} {
		t.Run(strconv.Itoa(code), func(t *testing.T) {
			s := start(t, fmt.Sprintf("exit=%d", code), nil)
			s.wantEnd(code)
			if len(s.safe) != 1 {
				t.Errorf("Safe was called %d times, want once", len(s.safe))
			}
		})
	}
	t.Run("0 unasked restarts", func(t *testing.T) {
		s := start(t, "exit=0", func(c *supervise.Config) { c.MinDelay = time.Millisecond })
		<-s.safe
		<-s.safe
		s.stop()
		s.wantEnd(0)
	})
	t.Run("1 restarts with growing delay", func(t *testing.T) {
		s := start(t, "exit=1", func(c *supervise.Config) { c.MinDelay, c.MaxDelay = 40*time.Millisecond, time.Hour })
		var at [4]time.Time
		for i := range at {
			at[i] = <-s.safe
		}
		for i := range 3 {
			if got, want := at[i+1].Sub(at[i]), 40*time.Millisecond<<i; got < want {
				t.Errorf("delay %d is %v, want at least %v", i, got, want)
			}
		}
		s.stop() // in the middle of a delay
		s.wantEnd(0)
	})
}

func TestStop(t *testing.T) {
	t.Run("in order, slower than the silence limit", func(t *testing.T) {
		s := start(t, "beat=slow", nil)
		expect(t, s.lines, "up")
		s.stop()
		s.wantEnd(0)
		s.wantSafe(time.Now())
	})
	t.Run("one that does not", func(t *testing.T) {
		s := start(t, "stubborn", func(c *supervise.Config) { c.StopWait = 300 * time.Millisecond })
		pid := expect(t, s.lines, "up")
		at := time.Now()
		s.stop()
		s.wantEnd(128 + int(syscall.SIGKILL))
		s.wantSafe(at)
		if !ended(pid) {
			t.Error("an orphan is left")
		}
	})
	t.Run("one that is stopped", func(t *testing.T) {
		s := start(t, "beat", nil)
		pid := expect(t, s.lines, "up")
		at := time.Now()
		kill(t, pid, syscall.SIGSTOP)
		s.stop()
		s.wantSafe(at)
		s.wantEnd(128 + int(syscall.SIGKILL))
	})
}

func TestParentKilledOrStopped(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGKILL, syscall.SIGSTOP} {
		t.Run(sig.String(), func(t *testing.T) {
			t.Parallel()
			cmd, lines := startParent(t)
			pid := expect(t, lines, "up")
			at := time.Now()
			kill(t, cmd.Process.Pid, sig)
			expect(t, lines, "safe")
			if took := time.Since(at); took > promise {
				t.Errorf("the child was safe after %v, promised %v", took, promise)
			}
			wantEnded(t, pid, at, promise)
			if sig == syscall.SIGSTOP { // it wakes up, and the site goes on
				kill(t, cmd.Process.Pid, syscall.SIGCONT)
				if again := expect(t, lines, "up"); again == pid {
					t.Error("no new child")
				}
			}
		})
	}
}

// A pause of the whole machine: both are stopped for far longer than the
// silence limit, then go on in either order. Neither is taken for dead.
func TestBothPaused(t *testing.T) {
	cmd, lines := startParent(t)
	pid := expect(t, lines, "up")
	for round, order := range [][2]int{{pid, cmd.Process.Pid}, {cmd.Process.Pid, pid}} {
		kill(t, cmd.Process.Pid, syscall.SIGSTOP)
		kill(t, pid, syscall.SIGSTOP)
		time.Sleep(1500 * time.Millisecond) // processes, not goroutines, are paused
		kill(t, order[0], syscall.SIGCONT)
		kill(t, order[1], syscall.SIGCONT)
		select {
		case l := <-lines:
			t.Fatalf("round %d: after the pause: %q", round, l)
		case <-time.After(1200 * time.Millisecond):
		}
		if ended(pid) {
			t.Fatalf("round %d: the child was killed for a pause of the machine", round)
		}
	}
}

// startParent starts a parent as a process. When it has ended, so has its
// child: lines ends only then.
func startParent(t *testing.T) (*exec.Cmd, chan string) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), roleEnv+"=parent:beat")
	cmd.Stdout = w
	err = cmd.Start()
	if e := w.Close(); err != nil || e != nil {
		t.Fatal(err, e)
	}
	lines := read(r)
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()
		for range lines {
		}
	})
	return cmd, lines
}

func TestSafeFails(t *testing.T) {
	broken := errors.New("line fault")
	t.Run("once", func(t *testing.T) {
		calls := 0
		s := start(t, "exit=78", func(c *supervise.Config) {
			c.Safe = func(context.Context) error {
				if calls++; calls == 1 {
					return broken
				}
				return nil
			}
		})
		s.wantEnd(supervise.ExitConfig)
		if calls != 2 {
			t.Errorf("%d calls, want 2", calls)
		}
	})
	t.Run("always", func(t *testing.T) {
		s := start(t, "exit=78", func(c *supervise.Config) {
			c.SafeWait = 100 * time.Millisecond
			c.Safe = func(context.Context) error { return broken }
		})
		if code := <-s.done; code != supervise.ExitConfig || !errors.Is(s.err, broken) {
			t.Errorf("Run = %d, %v, want 78 and the fault", code, s.err)
		}
	})
}

func TestNoProgram(t *testing.T) {
	s := start(t, "", func(c *supervise.Config) { c.Path = "/nonexistent/agent" })
	if code := <-s.done; code != 1 || !errors.Is(s.err, os.ErrNotExist) {
		t.Errorf("Run = %d, %v, want 1 and that it does not exist", code, s.err)
	}
	s.wantSafe(time.Now())
}

func TestNew(t *testing.T) {
	safe := func(context.Context) error { return nil }
	for _, tt := range []struct {
		name string
		cfg  supervise.Config
	}{
		{"no path", supervise.Config{Safe: safe}},
		{"no safe", supervise.Config{Path: "x"}},
		{"silence under three beats", supervise.Config{Path: "x", Safe: safe, Beat: time.Second, Silence: 2 * time.Second}},
		{"no beat", supervise.Config{Path: "x", Safe: safe, Beat: 1}},
		{"startup under silence", supervise.Config{Path: "x", Safe: safe, Startup: time.Millisecond}},
		{"delays crossed", supervise.Config{Path: "x", Safe: safe, MinDelay: time.Hour}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := supervise.New(tt.cfg); err == nil {
				t.Error("New took it")
			}
		})
	}
}

func TestInheritAlone(t *testing.T) {
	if _, err := supervise.Inherit(nil); !errors.Is(err, supervise.ErrNotSupervised) {
		t.Errorf("Inherit = %v, want ErrNotSupervised", err)
	}
	for _, v := range []string{"", "1", "a,b", "0,0", "100000000,-1", "700000000,100000000"} {
		t.Setenv("GATEHOUSE_SUPERVISOR", v)
		if _, err := supervise.Inherit(nil); err == nil || errors.Is(err, supervise.ErrNotSupervised) {
			t.Errorf("Inherit with %q = %v, want a fault", v, err)
		}
	}
}
