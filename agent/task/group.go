package task

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"strings"
	"time"
)

// DefaultStopWait is how long a Group waits for its tasks to stop.
const DefaultStopWait = 5 * time.Second

// GroupConfig is what a Group needs. The zero value works.
type GroupConfig struct {
	// Name is what String returns; "tasks" if empty.
	Name string
	// StopWait bounds the stop of all tasks together; DefaultStopWait if zero.
	StopWait time.Duration
	// Health, if not nil, is told which tasks have failed.
	Health *Health
	// Log may be nil.
	Log *slog.Logger
}

// Group runs tasks. It is itself a Task, ready when the last one has been
// started and waited for. It is made by NewGroup and runs once.
type Group struct {
	cfg     GroupConfig
	log     *slog.Logger
	members []*member
	ready   chan struct{}
}

var _ Task = (*Group)(nil)

// member is a task in its group.
type member struct {
	task   Task
	policy Policy
	log    *slog.Logger
	health *Health

	stop   context.CancelFunc
	failed chan struct{} // closed at the first failure
	ended  chan struct{} // closed when the task will not run again
	err    error         // why, after ended; nil when it was stopped
}

// NewGroup returns a group without tasks.
func NewGroup(cfg GroupConfig) *Group {
	if cfg.Name == "" {
		cfg.Name = "tasks"
	}
	if cfg.StopWait == 0 {
		cfg.StopWait = DefaultStopWait
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Group{cfg: cfg, log: cfg.Log, ready: make(chan struct{})}
}

// Add puts a task at the end of the start order. Call it before Run.
func (g *Group) Add(t Task, p Policy) {
	g.members = append(g.members, &member{
		task: t, policy: p.withDefaults(), health: g.cfg.Health, log: g.log.With("task", t.String()),
		failed: make(chan struct{}), ended: make(chan struct{}),
	})
}

// String returns the group's name.
func (g *Group) String() string { return g.cfg.Name }

// Ready is closed when all tasks have been started, and each was ready, has
// failed once or took longer than its StartWait.
func (g *Group) Ready() <-chan struct{} { return g.ready }

// Run starts the tasks and returns when they have stopped: nil after the end of
// ctx, or the error of a fatal task; with ErrStuck for those that do not stop.
func (g *Group) Run(ctx context.Context) error {
	fatal := make(chan *member, len(g.members))
	base := context.WithoutCancel(ctx) // each task is stopped in its turn
	var cause error
	started := 0
	for _, m := range g.members {
		started++
		m.start(base, fatal)
		if cause = m.await(ctx, fatal); cause != nil || ctx.Err() != nil {
			break
		}
	}
	if cause == nil && ctx.Err() == nil {
		close(g.ready)
		select {
		case <-ctx.Done():
		case m := <-fatal:
			cause = m.err
		}
	}
	if cause != nil {
		g.log.Error("a task that all rest on has failed", "err", cause)
	}
	return errors.Join(cause, g.stop(g.members[:started]))
}

// stop ends tasks in reverse order. When the deadline has passed, those that
// are left are told all at once and not waited for.
func (g *Group) stop(members []*member) error {
	deadline := time.NewTimer(g.cfg.StopWait)
	defer deadline.Stop()
	late := false
	var stuck []string
	for i := len(members) - 1; i >= 0; i-- {
		m := members[i]
		m.stop()
		if !late {
			select {
			case <-m.ended:
				continue
			case <-deadline.C:
				late = true
			}
		}
		select {
		case <-m.ended:
		default:
			stuck = append(stuck, m.task.String())
		}
	}
	if len(stuck) > 0 {
		return fmt.Errorf("task: %s: %s: %w in %v", g.cfg.Name, strings.Join(stuck, ", "), ErrStuck, g.cfg.StopWait)
	}
	return nil
}

func (m *member) start(base context.Context, fatal chan<- *member) {
	ctx, cancel := context.WithCancel(base)
	m.stop = cancel
	go func() { // Group.stop waits for ended
		defer close(m.ended)
		m.err = m.loop(ctx)
		if m.err != nil {
			fatal <- m // has room for every member
		}
	}()
}

// await returns when the next task may start, or with the error of a fatal one.
func (m *member) await(ctx context.Context, fatal <-chan *member) error {
	var late <-chan time.Time
	if !m.policy.Fatal {
		timer := time.NewTimer(m.policy.StartWait)
		defer timer.Stop()
		late = timer.C
	}
	select {
	case <-m.task.Ready():
		m.log.Debug("ready")
	case <-m.failed:
	case <-m.ended:
	case <-late:
		m.log.Warn("not ready in time; the next task is started", "wait", m.policy.StartWait)
	case <-ctx.Done():
	case f := <-fatal:
		return f.err
	}
	if m.policy.Fatal {
		select { // a fatal task that has failed is about to say so
		case <-m.failed:
			return (<-fatal).err
		default:
		}
	}
	return nil
}

// loop runs the task again and again. It returns nil when it was stopped or is
// done, and the error of a fatal one.
func (m *member) loop(ctx context.Context) error {
	delay := m.policy.MinDelay
	for attempt := 1; ; attempt++ {
		began := time.Now()
		err := m.once(ctx)
		if ctx.Err() != nil {
			if err != nil {
				m.log.Warn("fault while stopping", "err", err)
			}
			return nil
		}
		if err == nil && m.policy.Once {
			return nil
		}
		if err == nil {
			err = ErrEnded
		}
		err = fmt.Errorf("task: %s: %w", m.task, err)
		m.fault(err)
		if m.policy.Fatal {
			return err
		}
		if time.Since(began) >= m.policy.Healthy {
			delay, attempt = m.policy.MinDelay, 1
		}
		wait := delay + rand.N(delay/4+1)
		m.log.Warn("task has failed and is restarted", "err", err, "attempt", attempt, "delay", wait)
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil
		}
		delay = min(2*delay, m.policy.MaxDelay)
	}
}

// fault notes a failure.
func (m *member) fault(err error) {
	select {
	case <-m.failed:
	default:
		close(m.failed)
	}
	if m.health != nil {
		m.health.Set(m.id(), err.Error())
	}
}

func (m *member) id() string { return "task:" + m.task.String() }

// once runs the task, and clears its fault when it has run long enough.
func (m *member) once(ctx context.Context) (err error) {
	if m.health != nil {
		well := make(chan struct{})
		t := time.AfterFunc(m.policy.Healthy, func() {
			defer close(well)
			m.health.Clear(m.id())
		})
		defer func() {
			if !t.Stop() {
				<-well // so that it cannot clear the fault that follows
			}
		}()
	}
	defer func() {
		if r := recover(); r != nil {
			m.log.Error("panic", "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
			err = fmt.Errorf("%w: %v", ErrPanic, r)
		}
	}()
	return m.task.Run(ctx)
}
