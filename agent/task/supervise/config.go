package supervise

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"
)

// Defaults of [Config].
const (
	DefaultBeat     = 100 * time.Millisecond
	DefaultSilence  = 700 * time.Millisecond
	DefaultStartup  = 15 * time.Second
	DefaultStopWait = 10 * time.Second
	DefaultSafeWait = time.Second
	DefaultMinDelay = 200 * time.Millisecond
	DefaultMaxDelay = 30 * time.Second
	DefaultHealthy  = time.Minute
)

// Exit codes of a child that end the parent as well, if Config.Final is nil.
const (
	ExitConfig    = 78  // EX_CONFIG of sysexits.h
	ExitNoRestart = 125 // as gokrazy has it
)

// Config is what a Parent needs. Durations that are zero take their defaults.
type Config struct {
	// Path and Args are the child: its program, absolute, and what follows the
	// program's name. Env is added to this process's environment.
	Path string
	Args []string
	Env  []string
	// Stdout and Stderr are the child's; nil means this process's own.
	Stdout, Stderr *os.File

	// Beat is the time between two heartbeats, both ways.
	Beat time.Duration
	// Silence is how long either side may miss the other; at least 3 beats.
	// Silence and SafeWait together must stay well under 2 s.
	Silence time.Duration
	// Startup is how long the child may take until its first heartbeat.
	Startup time.Duration
	// StopWait is how long the child may take to stop when asked; it must send
	// heartbeats meanwhile.
	StopWait time.Duration
	// SafeWait bounds one call of Safe. A failed call is repeated within it.
	SafeWait time.Duration
	// MinDelay and MaxDelay bound the growing delay of a restart. It begins
	// anew after the child has run for Healthy.
	MinDelay, MaxDelay, Healthy time.Duration
	// Final are the exit codes after which the child is not restarted; nil
	// means ExitConfig and ExitNoRestart.
	Final []int

	// Safe drives every output to its safe level: it opens the board, claims
	// each output at that level, and closes the board. It is called when no
	// child lives, after each death and so also last at exit, and must heed its
	// ctx.
	Safe func(context.Context) error
	// Log may be nil.
	Log *slog.Logger
}

func (c *Config) defaults() {
	for _, d := range []struct {
		value *time.Duration
		or    time.Duration
	}{
		{&c.Beat, DefaultBeat}, {&c.Silence, DefaultSilence}, {&c.Startup, DefaultStartup},
		{&c.StopWait, DefaultStopWait}, {&c.SafeWait, DefaultSafeWait},
		{&c.MinDelay, DefaultMinDelay}, {&c.MaxDelay, DefaultMaxDelay}, {&c.Healthy, DefaultHealthy},
	} {
		if *d.value == 0 {
			*d.value = d.or
		}
	}
	if c.Final == nil {
		c.Final = []int{ExitConfig, ExitNoRestart}
	}
	if c.Stdout == nil {
		c.Stdout = os.Stdout
	}
	if c.Stderr == nil {
		c.Stderr = os.Stderr
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
}

func (c *Config) check() error {
	switch {
	case c.Path == "":
		return errors.New("no program to run")
	case c.Safe == nil:
		return errors.New("no way to drive the outputs safe")
	case c.Beat < time.Millisecond:
		return fmt.Errorf("beat %v is under 1 ms", c.Beat)
	case c.Silence < 3*c.Beat:
		return fmt.Errorf("silence %v is under 3 beats of %v", c.Silence, c.Beat)
	case c.Startup < c.Silence || c.StopWait <= 0 || c.SafeWait <= 0 || c.Healthy <= 0:
		return errors.New("startup is under silence, or a wait is not positive")
	case c.MinDelay <= 0 || c.MaxDelay < c.MinDelay:
		return fmt.Errorf("restart delay of %v to %v", c.MinDelay, c.MaxDelay)
	}
	return nil
}
