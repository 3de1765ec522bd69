package notify

import (
	"context"
	"fmt"
	"sync"
	"time"

	"gatehouse/agent/site"
)

const (
	// maxWaiting is how many alarms are held in memory; more wait in the log.
	maxWaiting = 256
	readEvents = 256
	readBytes  = 1 << 20
	// The cursor moves past events that are not sent when they are so many, or
	// after so long, and when Run ends.
	idleEvents = 1000
	idleTime   = 5 * time.Minute
	// faultAfter is how long deliveries fail before it is a fault.
	faultAfter = 2 * time.Minute
)

// delivery is what a sender hands over at once.
type delivery struct {
	events []site.Event
	test   bool
	to     []string // those who do not have it yet; nil: all
}

// result is what became of a delivery.
type result struct {
	answer  string
	left    []string // addresses that were put off, where others have it
	refused []string // addresses that were refused, where others have it
	trouble string   // the last of these refusals
}

// sender is a way to reach people. Its methods may be called concurrently.
type sender interface {
	send(ctx context.Context, d delivery) (result, error)
	most() int          // events in one delivery
	gap() time.Duration // between two deliveries
	kind() string
	target() string // where to, without secrets
	rest()          // nothing will be sent for a while
}

// Receiver delivers alarms to one receiver. It is a task.
type Receiver struct {
	id    string
	deps  Deps
	to    sender
	pick  chooser
	ready chan struct{}

	// Owned by Run.
	next     site.EventSeq // the first event not read yet
	waiting  []site.Event  // read and not delivered, in order
	saveAt   time.Time     // when to keep the cursor; zero: it need not move
	stuck    bool          // it could not be kept
	due      time.Time     // no delivery before
	failures int           // in a row
	failing  time.Time     // since when; zero: it works
	refusals int           // of what is first, as poison
	closed   time.Time     // since when what is first is refused with all else
	single   bool          // one at a time, to find the one that is refused
	left     []string      // the first frozen events go to these only
	frozen   int

	mu    sync.Mutex // guards the following
	stats Stats
	wake  context.CancelFunc // ends the wait of Run
	kick  bool               // try at once
}

// Stats tells how a receiver is.
type Stats struct {
	ID, Kind, Target string        // Kind: webhook or mail; Target shows no secrets
	Queued           int           // alarms that wait
	More             bool          // and more than these: they are still in the log
	At               site.EventSeq // all events up to this one are settled
	Sent, Skipped    uint64        // since the start
	LastSent         time.Time
	LastError        string // empty: the last delivery worked
	LastErrorAt      time.Time
	FailingSince     time.Time // zero: it works
	RetryAt          time.Time // zero: nothing waits for another try
}

// New makes a receiver. An error says which setting is wrong.
func New(cfg Config, deps Deps) (*Receiver, error) {
	fail := func(err error) (*Receiver, error) {
		return nil, fmt.Errorf("notify %s: %w", clean(cfg.ID, site.MaxIDLen), err)
	}
	if err := cfg.check(); err != nil {
		return fail(err)
	}
	deps, err := deps.withDefaults()
	if err != nil {
		return fail(err)
	}
	r := &Receiver{id: cfg.ID, deps: deps, pick: newChooser(cfg, deps.Log), ready: make(chan struct{})}
	r.deps.Logger = deps.Logger.With("receiver", cfg.ID)
	if cfg.Webhook != "" {
		r.to, err = newHook(cfg, &r.deps)
	} else {
		r.to, err = newMailer(cfg, &r.deps)
	}
	if err != nil {
		return fail(err)
	}
	r.stats = Stats{ID: cfg.ID, Kind: r.to.kind(), Target: r.to.target(), At: deps.Cursor.Position()}
	return r, nil
}

// Ready is closed when the receiver delivers for the first time.
func (r *Receiver) Ready() <-chan struct{} { return r.ready }

// String names the task.
func (r *Receiver) String() string { return Item(r.id) }

// ID is the receiver's id.
func (r *Receiver) ID() string { return r.id }

// Begin makes a receiver that was never known begin with what comes after the
// end of the log as it is now.
func (r *Receiver) Begin() error {
	if r.deps.Cursor.Known() {
		return nil
	}
	if err := r.deps.Cursor.Advance(r.deps.Log.Last()); err != nil {
		return fmt.Errorf("notify %s: %w", r.id, err)
	}
	return nil
}

// Run delivers until ctx ends. An error is the log's; Run may then be called
// again.
func (r *Receiver) Run(ctx context.Context) error {
	if err := r.Begin(); err != nil {
		return err
	}
	r.next, r.waiting, r.left, r.frozen = r.deps.Cursor.Position()+1, nil, nil, 0
	select {
	case <-r.ready:
	default:
		close(r.ready)
	}
	defer r.to.rest()
	for ctx.Err() == nil {
		if err := r.fill(ctx); err != nil && ctx.Err() == nil {
			return fmt.Errorf("notify %s: %w", r.id, err)
		}
		r.note()
		if len(r.waiting) > 0 && !time.Now().Before(r.due) {
			r.deliver(ctx)
			continue
		}
		if err := r.rest(ctx); err != nil && ctx.Err() == nil {
			return fmt.Errorf("notify %s: %w", r.id, err)
		}
	}
	r.save()
	return nil
}

// fill reads on in the log while there is room.
func (r *Receiver) fill(ctx context.Context) error {
	for len(r.waiting) < maxWaiting {
		evs, err := r.deps.Log.Read(ctx, r.next, readEvents, readBytes)
		if err != nil || len(evs) == 0 {
			return err
		}
		for _, ev := range evs {
			ev = r.pick.seen(&ev)
			wanted, err := r.pick.wants(ctx, &ev)
			if err != nil {
				return err
			}
			if wanted {
				ev.Sealed = nil
				r.waiting = append(r.waiting, ev)
			}
			r.next = ev.Seq + 1
		}
	}
	return nil
}

// settled is the number up to which nothing waits.
func (r *Receiver) settled() site.EventSeq {
	if len(r.waiting) > 0 {
		return r.waiting[0].Seq - 1
	}
	return r.next - 1
}

// save moves the cursor. Where that fails it moves later: what was sent since
// may come again after a restart.
func (r *Receiver) save() {
	r.saveAt, r.stuck = time.Time{}, false
	at := r.settled()
	if at <= r.deps.Cursor.Position() {
		return
	}
	if err := r.deps.Cursor.Advance(at); err != nil {
		r.deps.Logger.Warn("the cursor could not be kept", "at", at, "err", err)
		r.saveAt, r.stuck = time.Now().Add(idleTime), true
		return
	}
	r.mu.Lock()
	r.stats.At = at
	r.mu.Unlock()
}

// saveIdle keeps the cursor past events that are not sent, now and then.
func (r *Receiver) saveIdle() {
	at, kept := r.settled(), r.deps.Cursor.Position()
	switch {
	case at <= kept:
		r.saveAt = time.Time{}
	case at-kept >= idleEvents && !r.stuck, !r.saveAt.IsZero() && !time.Now().Before(r.saveAt):
		r.save()
	case r.saveAt.IsZero():
		r.saveAt = time.Now().Add(idleTime)
	}
}

// rest waits for an event, for the time of the next delivery, or for the time to
// keep the cursor.
func (r *Receiver) rest(ctx context.Context) error {
	r.saveIdle()
	until := r.saveAt
	if len(r.waiting) > 0 && (until.IsZero() || r.due.Before(until)) {
		until = r.due
	}
	wctx, cancel := context.WithCancel(ctx)
	if !until.IsZero() {
		cancel()
		wctx, cancel = context.WithDeadline(ctx, until)
	}
	defer cancel()
	if !r.sleepable(cancel) {
		return nil
	}
	if len(r.waiting) >= maxWaiting {
		<-wctx.Done()
		return nil
	}
	if err := r.deps.Log.Wait(wctx, r.next-1); err != nil && wctx.Err() == nil {
		return err
	}
	return nil
}

// sleepable reports whether Run may wait; cancel ends that wait.
func (r *Receiver) sleepable(cancel context.CancelFunc) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.kick {
		r.kick = false
		r.due = time.Time{}
		return false
	}
	r.wake = cancel
	return true
}

// tryNow ends the wait for another try.
func (r *Receiver) tryNow() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.kick = true
	if r.wake != nil {
		r.wake()
	}
}

// Stats tells how the receiver is.
func (r *Receiver) Stats() Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stats
}

// Test sends a test message at once and returns what the receiver answered. One
// that works ends the wait for another try of what is queued.
func (r *Receiver) Test(ctx context.Context) (answer string, err error) {
	res, err := r.to.send(ctx, delivery{events: []site.Event{testEvent(r.id, r.deps.Now())}, test: true})
	if err != nil {
		return "", fmt.Errorf("notify %s: %s: %s", r.id, r.to.target(), words(err))
	}
	r.tryNow()
	if len(res.refused) > 0 {
		return "", fmt.Errorf("notify %s: %s: taken (%s), but not for %s", r.id, r.to.target(), res.answer, res.trouble)
	}
	return res.answer, nil
}
