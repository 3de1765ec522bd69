//go:build linux

package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// order is one line from outside.
type order struct {
	ID     int      `json:"id"`
	Run    []string `json:"run"`
	Signal int      `json:"signal"`
}

// word is one line to the outside.
type word struct {
	Ready bool    `json:"ready,omitempty"`
	ID    int     `json:"id,omitempty"`
	Out   *string `json:"out,omitempty"`
	Err   *string `json:"err,omitempty"`
	Exit  *int    `json:"exit,omitempty"`
}

// mounts are made in this order.
var mounts = []struct{ what, where string }{
	{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}, {"tmpfs", "/run"}, {"tmpfs", "/tmp"},
}

// prepare makes the machine one in which an agent can live.
func prepare() error {
	for _, m := range mounts {
		if err := os.MkdirAll(m.where, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(m.what, m.where, m.what, 0, ""); err != nil {
			return fmt.Errorf("mount %s: %w", m.where, err)
		}
	}
	modules, err := filepath.Glob("/modules/*.ko")
	if err != nil {
		return err
	}
	for _, path := range modules {
		if err := load(path); err != nil {
			return fmt.Errorf("module %s: %w", path, err)
		}
	}
	return loopback()
}

func load(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	return unix.FinitModule(int(f.Fd()), "", 0)
}

// loopback brings the interface up on which the agent listens.
func loopback() error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(s) }()
	r, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	r.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, r)
}

// openPort opens the serial port and takes from it all that a terminal does.
func openPort(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	t, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	t.Iflag, t.Oflag, t.Lflag = 0, 0, 0
	t.Cc[unix.VMIN], t.Cc[unix.VTIME] = 1, 0
	if err := unix.IoctlSetTermios(int(f.Fd()), unix.TCSETS, t); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// host is the connection to the outside and the programs that run for it.
type host struct {
	mu       sync.Mutex // guards following
	port     io.Writer
	programs map[int]*os.Process
}

// say writes one word. A word that cannot be written is lost with the machine.
func (h *host) say(w word) {
	line, err := json.Marshal(w)
	if err != nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	_, _ = h.port.Write(append(append([]byte{'@'}, line...), '\n'))
}

func (h *host) exit(id, code int) {
	h.mu.Lock()
	delete(h.programs, id)
	h.mu.Unlock()
	h.say(word{ID: id, Exit: &code})
}

// serve is process 1. It returns when the port is gone, which panics the kernel
// and ends the machine.
func serve(path string) error {
	if err := prepare(); err != nil {
		return err
	}
	port, err := openPort(path)
	if err != nil {
		return err
	}
	return obeyAll(port)
}

// obeyAll does what it is told on port, and says first that it is ready.
func obeyAll(port io.ReadWriter) error {
	h := &host{port: port, programs: make(map[int]*os.Process)}
	h.say(word{Ready: true})
	in := bufio.NewScanner(port)
	for in.Scan() {
		var o order
		if err := json.Unmarshal(in.Bytes(), &o); err != nil {
			text := err.Error()
			h.say(word{Err: &text})
			continue
		}
		h.obey(o)
	}
	return in.Err()
}

func (h *host) obey(o order) {
	if len(o.Run) > 0 {
		if err := h.start(o); err != nil {
			text := err.Error()
			h.say(word{ID: o.ID, Err: &text})
			h.exit(o.ID, 127)
		}
		return
	}
	h.mu.Lock()
	p := h.programs[o.ID]
	h.mu.Unlock()
	if p != nil {
		_ = p.Signal(syscall.Signal(o.Signal)) // it may have ended by now
	}
}

// start runs a program and tells what it says.
func (h *host) start(o order) error {
	cmd := exec.Command(o.Run[0], o.Run[1:]...)
	cmd.Env = []string{"HOME=/run", "TMPDIR=/tmp"}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	h.mu.Lock()
	h.programs[o.ID] = cmd.Process
	h.mu.Unlock()
	var wg sync.WaitGroup
	wg.Go(func() { h.relay(stdout, func(s string) word { return word{ID: o.ID, Out: &s} }) })
	wg.Go(func() { h.relay(stderr, func(s string) word { return word{ID: o.ID, Err: &s} }) })
	go func() {
		state, err := cmd.Process.Wait() // not cmd.Wait: a grandchild may keep the pipes
		code := 127
		if err == nil {
			code = exitCode(state)
		}
		if code < 128 {
			wg.Wait()
		}
		h.exit(o.ID, code)
	}()
	return nil
}

func exitCode(s *os.ProcessState) int {
	if ws, ok := s.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return s.ExitCode()
}

// relay tells lines until the pipe ends.
func (h *host) relay(r io.Reader, as func(string) word) {
	in := bufio.NewScanner(r)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		h.say(as(in.Text()))
	}
}
