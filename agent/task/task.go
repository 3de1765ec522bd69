package task

import (
	"context"
	"errors"
	"time"
)

// Task is a long-lived part.
type Task interface {
	// Run blocks until ctx ends or the task fails, and until all that it has
	// started has ended. The end of ctx is not a failure: it returns nil. It may
	// be called again after it has failed.
	Run(ctx context.Context) error
	// Ready is closed when the task serves for the first time. The channel is
	// always the same one.
	Ready() <-chan struct{}
	// String is the task's name, the same at every call.
	String() string
}

// Errors that callers branch on.
var (
	// ErrPanic is wrapped by the error that a panic in Run becomes.
	ErrPanic = errors.New("panic")
	// ErrEnded is the failure of a task that returned nil although nobody had
	// asked it to.
	ErrEnded = errors.New("ended by itself")
	// ErrStuck is wrapped by Group.Run's error when tasks have not ended within
	// the stop's deadline.
	ErrStuck = errors.New("does not stop")
)

// Defaults of [Policy].
const (
	DefaultMinDelay  = 100 * time.Millisecond
	DefaultMaxDelay  = 30 * time.Second
	DefaultHealthy   = 10 * time.Second
	DefaultStartWait = 5 * time.Second
)

// Policy says what happens when a task fails. The zero value restarts it.
type Policy struct {
	// Fatal ends the whole group with the task's error.
	Fatal bool
	// Once accepts a task that ends by itself with nil: it is done, not failed.
	Once bool
	// MinDelay and MaxDelay bound the growing delay before a restart, to which
	// up to a quarter is added at random. It begins anew when the task has run
	// for Healthy.
	MinDelay, MaxDelay, Healthy time.Duration
	// StartWait is how long the next task waits for this one to be ready. A
	// fatal task is waited for without end; one that fails first is not waited
	// for.
	StartWait time.Duration
}

func (p Policy) withDefaults() Policy {
	for _, d := range []struct {
		value *time.Duration
		or    time.Duration
	}{
		{&p.MinDelay, DefaultMinDelay}, {&p.MaxDelay, DefaultMaxDelay},
		{&p.Healthy, DefaultHealthy}, {&p.StartWait, DefaultStartWait},
	} {
		if *d.value <= 0 {
			*d.value = d.or
		}
	}
	p.MaxDelay = max(p.MaxDelay, p.MinDelay)
	return p
}

// Func makes a task of a function that is ready at once.
func Func(name string, run func(context.Context) error) Task {
	ready := make(chan struct{})
	close(ready)
	return function{name: name, run: run, ready: ready}
}

type function struct {
	name  string
	run   func(context.Context) error
	ready chan struct{}
}

func (f function) Run(ctx context.Context) error { return f.run(ctx) }
func (f function) Ready() <-chan struct{}        { return f.ready }
func (f function) String() string                { return f.name }
