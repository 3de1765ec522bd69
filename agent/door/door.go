package door

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"gatehouse/agent/site"
	"gatehouse/hal"
)

// Capacities of the queues; what happens when they are full is in the package
// documentation.
const (
	presentQueue = 16
	commandQueue = 16
)

// Errors of a door's methods that callers branch on.
var (
	// ErrBusy is returned when the queue of cards is full. The card was not
	// looked at; an access event with the reason fault says so.
	ErrBusy = errors.New("busy")
	// ErrStopped is returned when the door's goroutine has ended.
	ErrStopped = errors.New("stopped")
	// ErrNotKept is returned with the cause when a command was done but what it
	// changed could not be written. The door goes on trying.
	ErrNotKept = errors.New("done, but not kept over a restart")
)

// Result is what became of a presented credential.
type Result struct {
	Decision
	Opened bool // the door is unlocked as far as its strike line could be driven
}

// Door is one door of the site and the goroutine that owns it. All methods may
// be called from many goroutines, before, while and after Run runs.
type Door struct {
	cfg  Config
	deps Deps
	log  *slog.Logger

	// None of these channels is ever closed; who waits on them waits on done
	// as well.
	presents chan presentation
	commands chan order
	asks     chan func(*owner)
	outside  chan struct{} // capacity 1: fire or schedule changed

	fire      atomic.Bool
	scheduled atomic.Pointer[Schedule]

	status atomic.Pointer[site.DoorStatus]
	beyond atomic.Bool // no interlock is heeded: see HeedsInterlock
	ran    atomic.Bool
	ready  chan struct{} // closed by Run
	done   chan struct{} // closed by Run
}

// New makes a door and starts nothing. It fails when the dependencies do not
// fit the configuration.
func New(cfg Config, deps Deps) (*Door, error) {
	fail := func(what string) (*Door, error) { return nil, fmt.Errorf("door %s: new: %s", cfg.ID, what) }
	switch {
	case cfg.Unlock <= 0:
		return fail("the unlock time is not positive")
	case (cfg.Strike != "") != (deps.Strike != nil):
		return fail("strike line and its output do not agree")
	case (len(cfg.Inputs()) > 0) != (deps.Inputs != nil):
		return fail("input lines and their group do not agree")
	case deps.Decider == nil || deps.Log == nil || deps.Keeper == nil || deps.Clock == nil:
		return fail("a decider, a log, a keeper and a clock are needed")
	}
	if deps.Logger == nil {
		deps.Logger = slog.New(slog.DiscardHandler)
	}
	d := &Door{
		cfg: cfg, deps: deps, log: deps.Logger.With("door", cfg.ID),
		presents: make(chan presentation, presentQueue),
		commands: make(chan order, commandQueue),
		asks:     make(chan func(*owner)),
		outside:  make(chan struct{}, 1),
		ready:    make(chan struct{}),
		done:     make(chan struct{}),
	}
	d.scheduled.Store(&Schedule{})
	d.status.Store(&site.DoorStatus{ID: cfg.ID, Name: cfg.Name, Locked: cfg.Fail == FailSecure})
	return d, nil
}

// String names the door.
func (d *Door) String() string { return "door " + string(d.cfg.ID) }

// Ready is closed when the door has read its inputs and driven its strike to
// what the mode says.
func (d *Door) Ready() <-chan struct{} { return d.ready }

// Status returns the door as it is. It waits for nothing.
func (d *Door) Status() site.DoorStatus { return *d.status.Load() }

// HeedsInterlock reports whether a card is refused here while another door of an
// interlock is not secure. It is not while fire or its mode hold this door
// unlocked. It waits for nothing.
func (d *Door) HeedsInterlock() bool { return !d.beyond.Load() }

// SetFire tells the door the level of the site's fire input. It waits for
// nothing; the latest level counts.
func (d *Door) SetFire(on bool) {
	d.fire.Store(on)
	d.Wake()
}

// SetSchedule tells the door what its schedule asks for. It waits for nothing;
// the latest one counts.
func (d *Door) SetSchedule(s Schedule) {
	d.scheduled.Store(&s)
	d.Wake()
}

// Wake lets the door look again at what it does not own: another door of its
// interlock may have become secure. It waits for nothing.
func (d *Door) Wake() {
	select {
	case d.outside <- struct{}{}:
	default: // one is on its way and will see the new value
	}
}

// presentation is a credential on its way to the door.
type presentation struct {
	Presented
	ctx   context.Context // of the caller: nobody waits at the door after it
	reply chan Result     // capacity 1
}

// Present lets the door decide on a credential and act on it. It returns when
// the strike was driven, before anything is on disk. A refusal is no error.
// When ctx ends first the credential is no longer decided on, unless that is
// happening at this very moment. ErrBusy, ErrStopped.
func (d *Door) Present(ctx context.Context, p Presented) (Result, error) {
	m := presentation{p, ctx, make(chan Result, 1)}
	select {
	case <-d.done:
		return Result{}, fmt.Errorf("door %s: present: %w", d.cfg.ID, ErrStopped)
	case d.presents <- m:
	default:
		c := d.deps.Clock()
		e := d.notDecided(p).event(site.KindAccess)
		e.Door, e.Time, e.Trusted, e.Text = d.cfg.ID, c.Now.Round(0), c.Trusted, "too many cards at once"
		d.deps.Log.Append(e)
		return Result{}, fmt.Errorf("door %s: present: %w", d.cfg.ID, ErrBusy)
	}
	select {
	case r := <-m.reply:
		return r, nil
	case <-ctx.Done():
		return Result{}, fmt.Errorf("door %s: present: %w", d.cfg.ID, ctx.Err())
	case <-d.done:
		return Result{}, fmt.Errorf("door %s: present: %w", d.cfg.ID, ErrStopped)
	}
}

// notDecided is what is recorded of a credential that was not looked at.
func (d *Door) notDecided(p Presented) Access {
	return Access{Reader: p.Reader, Reason: site.ReasonFault, Device: p.Device, Item: p.Item, Note: p.Note}
}

// order is a command on its way to the door.
type order struct {
	Command
	ctx   context.Context
	reply chan error // capacity 1
}

// Command orders the door to do something. It is done at once and acknowledged
// when what it changed is durable, so ctx wants a deadline. When ctx ends first
// a command that locks and found room in the queue is done all the same; one
// that unlocks and was not done yet no longer is. ErrCommand, ErrRefused, ErrNotKept, ErrStopped.
func (d *Door) Command(ctx context.Context, c Command) error {
	if err := d.order(order{c, ctx, make(chan error, 1)}); err != nil {
		return fmt.Errorf("door %s: %v: %w", d.cfg.ID, c.Op, err)
	}
	return nil
}

func (d *Door) order(m order) error {
	select {
	case d.commands <- m: // even when the caller is gone: it may lock
	default:
		select {
		case d.commands <- m:
		case <-m.ctx.Done():
			return m.ctx.Err()
		case <-d.done:
			return ErrStopped
		}
	}
	select {
	case err := <-m.reply:
		return err
	case <-m.ctx.Done():
		return m.ctx.Err()
	case <-d.done:
		return ErrStopped
	}
}

// Ping returns nil when the door's goroutine has answered.
func (d *Door) Ping(ctx context.Context) error {
	return d.ask(ctx, "ping", func(*owner) error { return nil })
}

// Live is what the lines of a door show at this moment.
type Live struct {
	Contact   hal.Level
	Open      bool // the contact's level means open
	Rex       hal.Level
	Pressed   bool // the exit button's level means pressed
	Tamper    hal.Level
	Tampered  bool // the tamper input is not at its normal level
	Bond      hal.Level
	Secure    bool // the bond sensor shows the door secure; true where there is none
	Energised bool // the coil as last commanded
}

// Inputs reads the lines of the door, for a door test.
func (d *Door) Inputs(ctx context.Context) (Live, error) {
	answer := make(chan Live, 1) // the door may answer after ctx ended
	err := d.ask(ctx, "inputs", func(o *owner) error {
		l, err := o.read()
		answer <- l
		return err
	})
	if err != nil {
		return Live{}, err
	}
	return <-answer, nil
}

// ask runs f on the door's goroutine.
func (d *Door) ask(ctx context.Context, op string, f func(*owner) error) error {
	reply := make(chan error, 1)
	var err error
	select {
	case d.asks <- func(o *owner) { reply <- f(o) }:
		select {
		case err = <-reply:
		case <-ctx.Done():
			err = ctx.Err()
		case <-d.done:
			err = ErrStopped
		}
	case <-ctx.Done():
		err = ctx.Err()
	case <-d.done:
		err = ErrStopped
	}
	if err != nil {
		return fmt.Errorf("door %s: %s: %w", d.cfg.ID, op, err)
	}
	return nil
}

// Run owns the door until ctx ends, then drives the strike safe and returns
// nil. It returns an error when the inputs are lost; the strike is safe then as
// well, as far as it can be driven. A door runs once.
func (d *Door) Run(ctx context.Context) error {
	if !d.ran.CompareAndSwap(false, true) {
		return fmt.Errorf("door %s: run: it ran before", d.cfg.ID)
	}
	defer close(d.done)
	o := &owner{d: d, began: time.Now()}
	return o.run(ctx)
}
