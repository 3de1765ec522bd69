package sim_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse/hal"
	"gatehouse/hal/sim"
)

// pipes is a listener whose connections are made in memory.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), closed: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.closed) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{} }

func TestLinger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newPipes()
		start := time.Now()
		done := make(chan error, 1)
		go func() { done <- sim.NewHolder(sim.HolderConfig{}).Serve(t.Context(), l) }()
		var ends []net.Conn
		for range 2 { // two clients, one after 9 s, one after 30 s
			time.Sleep(9 * time.Second)
			here, there := net.Pipe()
			l.conns <- there
			ends = append(ends, here)
		}
		time.Sleep(12 * time.Second) // 30 s
		if err := ends[0].Close(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(30 * time.Second) // 60 s: one is still there
		select {
		case err := <-done:
			t.Fatalf("the holder ended under a client: %v", err)
		default:
		}
		if err := ends[1].Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		if got, want := time.Since(start), 70*time.Second; got != want {
			t.Errorf("the holder ended after %v, want %v", got, want)
		}
	})
}

func TestLingerWithoutClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		if err := sim.NewHolder(sim.HolderConfig{}).Serve(t.Context(), newPipes()); err != nil {
			t.Fatal(err)
		}
		if got := time.Since(start); got != 10*time.Second {
			t.Errorf("ended after %v, want 10 s", got)
		}
	})
}

// A client that never reads is told what it lost, and holds up nobody.
func TestSlowWatcher(t *testing.T) {
	path := hold(t)
	b := dial(t, path)
	p := speak(t, path)
	p.say(`{"watch":["GPIO23"]}`)
	p.hear()
	for i := range 20000 {
		if err := b.Set("GPIO23", i%2 == 0); err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	p.say(`{"get":"GPIO17"}`)
	for p.hear() != `{"line":"GPIO17","level":1}` {
		n++
	}
	if n >= 20000 {
		t.Fatal("the kernel's socket buffer held all events: the test wants more of them")
	}
	if err := b.Set("GPIO23", hal.High); err != nil {
		t.Fatal(err)
	}
	var e struct {
		Lost bool
		At   int64
	}
	unmarshal(t, p.hear(), &e)
	if !e.Lost {
		t.Errorf("%d of 20000 events came, and the next says nothing of it", n)
	}
}

func TestHolderDies(t *testing.T) {
	path := filepath.Join(short(t), "sim.sock")
	ctx, cancel := context.WithCancel(t.Context())
	h := sim.NewHolder(sim.HolderConfig{Path: path})
	done := make(chan error, 1)
	go func() { done <- h.Run(ctx) }()
	<-h.Ready()
	b := dial(t, path)
	g, err := b.Inputs(1, hal.Input{Line: "GPIO23"})
	if err != nil {
		t.Fatal(err)
	}
	o, err := b.Output(hal.Output{Line: "GPIO24"})
	if err != nil {
		t.Fatal(err)
	}
	if err := sim.NewHolder(sim.HolderConfig{Path: path}).Run(t.Context()); !errors.Is(err, sim.ErrHeld) {
		t.Errorf("a second holder: %v, want ErrHeld", err)
	}
	if _, err := b.Level("GPIO23"); err != nil {
		t.Errorf("the second holder harmed the first: %v", err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, ok := <-g.Edges(); ok {
		t.Error("an edge from a dead holder")
	}
	<-b.Lost()
	if err := o.Set(hal.High); !errors.Is(err, hal.ErrClosed) {
		t.Errorf("Set = %v, want ErrClosed", err)
	}
	if _, err := b.Inputs(1, hal.Input{Line: "GPIO23"}); !errors.Is(err, hal.ErrClosed) {
		t.Errorf("Inputs = %v, want ErrClosed", err)
	}
	if b.Clock().Synchronised() {
		t.Error("a lost board's clock is trusted")
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is left: %v", err)
	}
}

// Two agents start at once over a stale socket file; the first opens the strike
// and is killed; what it left behind is seen, and the holder is still there.
func TestKilledAgent(t *testing.T) {
	path := filepath.Join(short(t), "sim.sock")
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	stale.SetUnlinkOnClose(false)
	if err := stale.Close(); err != nil {
		t.Fatal(err)
	}
	t.Setenv(holderEnv, path)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var boards [2]*sim.Board
	var both sync.WaitGroup
	for i := range boards {
		both.Go(func() {
			b, err := sim.Ensure(ctx, path, func() error { return sim.Start(exe) })
			if err != nil {
				t.Error(err)
				return
			}
			boards[i] = b
		})
	}
	both.Wait()
	if t.Failed() {
		return
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("socket: %v, %v, want mode 0600", info, err)
	}
	agent := exec.Command(exe)
	agent.Env = append(os.Environ(), holderEnv+"=", agentEnv+"="+path)
	out, err := agent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := agent.Start(); err != nil {
		t.Fatal(err)
	}
	if s := bufio.NewScanner(out); !s.Scan() || s.Text() != "open" {
		t.Errorf("the agent did not open")
	}
	if err := agent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = agent.Wait() // it was killed
	for i, b := range boards {
		if l, err := b.Level("GPIO24"); err != nil || l != hal.High {
			t.Errorf("board %d: the strike is %v, %v, want it left high", i, l, err)
		}
	}
	o, err := boards[1].Output(hal.Output{Line: "GPIO24", Initial: hal.Low})
	if err != nil {
		t.Fatalf("claim after the kill: %v", err)
	}
	if l, err := boards[0].Level("GPIO24"); err != nil || l != hal.Low {
		t.Errorf("the strike is %v, %v after the claim, want low", l, err)
	}
	if err := o.Close(); err != nil {
		t.Error(err)
	}
	for _, b := range boards {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestEnsureGivesUp(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	starts := 0
	_, err := sim.Ensure(ctx, filepath.Join(short(t), "sim.sock"), func() error { starts++; return nil })
	if !errors.Is(err, context.DeadlineExceeded) || starts != 1 {
		t.Errorf("Ensure = %v after %d starts, want the deadline and one start", err, starts)
	}
	broken := errors.New("broken")
	if _, err := sim.Ensure(t.Context(), filepath.Join(short(t), "sim.sock"), func() error { return broken }); !errors.Is(err, broken) {
		t.Errorf("Ensure = %v, want what start said", err)
	}
}

func TestPathTooLong(t *testing.T) {
	path := filepath.Join(short(t), "a-socket-path-that-is-longer-than-the-kernel-takes-a-socket-path-that-is-longer-than-the-kernel-takes.sock")
	if err := sim.NewHolder(sim.HolderConfig{Path: path}).Run(t.Context()); err == nil {
		t.Error("Run took a path that the kernel does not")
	}
	if _, err := sim.Dial(t.Context(), path); err == nil {
		t.Error("Dial took a path that the kernel does not")
	}
}

func unmarshal(t *testing.T, line string, v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(line), v); err != nil {
		t.Fatalf("%s: %v", line, err)
	}
}
