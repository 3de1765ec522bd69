package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"gatehouse/agent/task"
)

// droppable is a door or an output that also ends when the agent is dropped.
type droppable struct {
	task.Task
	app *App
}

// Run runs the task until ctx ends or the agent is dropped.
func (d *droppable) Run(ctx context.Context) error {
	d.app.running.Add(1)
	dctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(d.app.dropCtx, cancel)()
	err := d.Task.Run(dctx)
	d.app.running.Add(-1)
	if d.app.dropCtx.Err() != nil {
		<-ctx.Done() // the process ends; a door that was dropped is no fault
	}
	return err
}

// verify checks the older parts of the event log in the background.
func (a *App) verify(ctx context.Context) error {
	if err := a.spool.Verify(ctx); err != nil && ctx.Err() == nil {
		return err
	}
	return nil
}

// The heart asks every door each beatEvery; a door that has not answered for
// beatLimit is stuck.
const (
	beatEvery = 100 * time.Millisecond
	beatLimit = 500 * time.Millisecond
)

func (a *App) pinged() { a.lastPing.Store(int64(time.Since(a.started))) }

// beat notes when all doors have answered, until ctx ends.
func (a *App) beat(ctx context.Context) error {
	tick := time.NewTicker(beatEvery)
	defer tick.Stop()
	for {
		pctx, cancel := context.WithTimeout(ctx, beatLimit)
		if a.doors.alive(pctx) {
			a.pinged()
		}
		cancel()
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Alive reports whether the agent may say that it lives: while it starts and
// stops, and as long as every door answers. It answers at once.
func (a *App) Alive() bool {
	if !a.beating.Load() {
		return true
	}
	return time.Since(a.started)-time.Duration(a.lastPing.Load()) < beatLimit+2*beatEvery
}

// Drop is the emergency stop: the supervisor is gone. All doors and
// outputs drive their lines safe at once. It returns when they have, or when limit is over; the
// process is expected to end then, without waiting for Run.
func (a *App) Drop(limit time.Duration) {
	a.drop()
	wait := time.NewTimer(limit)
	defer wait.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for a.running.Load() > 0 {
		select {
		case <-wait.C:
			return
		case <-tick.C:
		}
	}
}

// LockRun takes the state folder for one supervisor: two would restart their
// agents against each other for ever. The lock ends with unlock and with the
// process. A folder that cannot hold a lock is no reason to leave the outputs
// undriven, so that only another supervisor is an error; what is wrong with the
// folder the agent says.
func LockRun(dir string) (unlock func(), err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return func() {}, nil
	}
	f, err := os.OpenFile(filepath.Join(dir, "run.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return func() {}, nil
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, errors.Join(fmt.Errorf("state: another gatehouse runs on %s", dir), f.Close())
	}
	return func() { f.Close() }, nil
}

// lockState takes the state folder for this process. A second agent on the same
// folder would tear the event log.
func lockState(dir string) (unlock func(), err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("state: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "agent.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("state: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("state: another agent runs on %s: %w", dir, err), f.Close())
	}
	return func() { f.Close() }, nil
}
