package supervise

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"sync"
	"syscall"
	"time"
)

// envName tells a child that it is supervised, and with which times.
const envName = "GATEHOUSE_SUPERVISOR"

const safeAgain = 20 * time.Millisecond

// Parent runs one child after the other. It is made by New.
type Parent struct {
	cfg Config
}

// New returns a parent that has started nothing yet.
func New(cfg Config) (*Parent, error) {
	cfg.defaults()
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("supervise: %w", err)
	}
	return &Parent{cfg: cfg}, nil
}

// Run keeps a child running until one ends in order or for good, or ctx ends,
// which asks the child to stop. It returns the exit code that this process
// should have, when the child is dead and Safe has been called. The error says
// what kept Safe from working at the end, or the first child from starting; it
// is nil after an exit code that the child chose.
//
// The caller turns SIGTERM and SIGINT into the end of ctx.
func (p *Parent) Run(ctx context.Context) (code int, err error) {
	delay := p.cfg.MinDelay
	for first := true; ; first = false {
		began := time.Now()
		code, err := p.child(ctx)
		asked := ctx.Err() != nil // a child that fell by itself is not what was asked for
		safe := p.safe(ctx)
		switch {
		case err != nil && first:
			return 1, errors.Join(err, safe)
		case err != nil:
			p.cfg.Log.Error("agent could not be started", "err", err)
		case asked, slices.Contains(p.cfg.Final, code):
			if safe != nil && code == 0 {
				code = 1
			}
			return code, safe
		}
		if safe != nil {
			p.cfg.Log.Error("outputs could not be driven safe", "err", safe)
		}
		if time.Since(began) >= p.cfg.Healthy {
			delay = p.cfg.MinDelay
		}
		p.cfg.Log.Warn("agent is restarted", "code", code, "delay", delay)
		timer := time.NewTimer(delay)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return 0, safe
		}
		delay = min(2*delay, p.cfg.MaxDelay)
	}
}

// safe calls Safe until it works, as long as SafeWait allows. It is not cut
// short by a request to stop.
func (p *Parent) safe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.cfg.SafeWait)
	defer cancel()
	for {
		err := p.cfg.Safe(ctx)
		if err == nil {
			return nil
		}
		timer := time.NewTimer(safeAgain)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("supervise: safe: %w", err)
		}
	}
}

// pipes are this process's ends, and the child's until it has started.
type pipes struct {
	beats, answers *os.File // ours: to write, to read
	childR, childW *os.File
}

func newPipes() (*pipes, error) {
	var p pipes
	var err error
	if p.childR, p.beats, err = os.Pipe(); err != nil {
		return nil, err
	}
	if p.answers, p.childW, err = os.Pipe(); err != nil {
		return nil, errors.Join(err, p.childR.Close(), p.beats.Close())
	}
	return &p, nil
}

func closeAll(files ...*os.File) {
	for _, f := range files {
		f.Close() //nolint:errcheck // a pipe: nothing is kept back
	}
}

// child runs one child until its death, and returns its exit code: 128 and the
// signal's number when a signal ended it.
func (p *Parent) child(ctx context.Context) (code int, err error) {
	if ctx.Err() != nil {
		return 0, nil
	}
	pipe, err := newPipes()
	if err != nil {
		return 0, fmt.Errorf("supervise: start: %w", err)
	}
	defer closeAll(pipe.beats, pipe.answers)
	cmd := exec.Command(p.cfg.Path, p.cfg.Args...)
	cmd.Env = append(os.Environ(), p.cfg.Env...)
	cmd.Env = append(cmd.Env, fmt.Sprintf("%s=%d,%d", envName, p.cfg.Beat.Nanoseconds(), p.cfg.Silence.Nanoseconds()))
	cmd.Stdout, cmd.Stderr = p.cfg.Stdout, p.cfg.Stderr
	cmd.ExtraFiles = []*os.File{pipe.childR, pipe.childW}
	// A group of its own: a terminal's Ctrl-C reaches this process alone, which
	// stops the child in order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	err = cmd.Start()
	closeAll(pipe.childR, pipe.childW)
	if err != nil {
		return 0, fmt.Errorf("supervise: start: %w", err)
	}

	watch, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var parts sync.WaitGroup
	defer parts.Wait()
	defer cancel()
	dead := make(chan error, 1)
	verdicts := make(chan verdict, 1)
	parts.Go(func() { dead <- cmd.Wait() })
	parts.Go(func() { send(watch, pipe.beats, p.cfg.Beat, func() bool { return true }, nil) })
	parts.Go(func() {
		verdicts <- listen(watch, pipe.answers, p.cfg.Beat, p.cfg.Startup, p.cfg.Silence, nil)
	})
	ordered := p.attend(ctx, cmd.Process.Pid, dead, verdicts)
	code = exitCode(cmd.ProcessState)
	if !ordered || code != 0 {
		p.signal(-cmd.Process.Pid, syscall.SIGKILL) // what it left in its group
	}
	return code, nil
}

// attend returns when the child is dead; ordered says that it was not killed
// here.
func (p *Parent) attend(ctx context.Context, pid int, dead <-chan error, verdicts <-chan verdict) (ordered bool) {
	stop := ctx.Done()
	late := time.NewTimer(0) // set when there is a deadline
	late.Stop()
	defer late.Stop()
	log := p.cfg.Log.With("pid", pid)
	for {
		select {
		case err := <-dead:
			log.Info("agent has ended", "err", err)
			return true
		case <-stop:
			stop = nil
			p.signal(pid, syscall.SIGTERM)
			late.Reset(p.cfg.StopWait)
			continue
		case v := <-verdicts:
			if v == closed {
				// It is about to end: its death follows, or it has lost its pipe
				// and is as good as silent.
				late.Reset(p.cfg.Silence)
				continue
			}
			if v == leaving {
				late.Reset(p.cfg.StopWait)
				continue
			}
			log.Error("agent is silent and is killed", "after", p.cfg.Silence)
		case <-late.C:
			log.Error("agent does not end and is killed")
		}
		p.signal(-pid, syscall.SIGKILL)
		<-dead // nothing else helps: while it lives, it holds the lines
		return false
	}
}

// signal sends a signal to a process, or with -pid to its group. One that has
// ended meanwhile is no fault.
func (p *Parent) signal(pid int, s syscall.Signal) {
	if err := syscall.Kill(pid, s); err != nil && !errors.Is(err, syscall.ESRCH) {
		p.cfg.Log.Error("agent cannot be signalled", "pid", pid, "signal", s.String(), "err", err)
	}
}

func exitCode(s *os.ProcessState) int {
	if w, ok := s.Sys().(syscall.WaitStatus); ok && w.Signaled() {
		return 128 + int(w.Signal())
	}
	return s.ExitCode()
}
