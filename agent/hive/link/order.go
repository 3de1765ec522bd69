package link

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"gatehouse/agent/hive"
	"gatehouse/agent/site"
)

// OrderOp is what an Order asks of a device.
type OrderOp uint8

// The orders.
const (
	OrderUnlock OrderOp = iota + 1 // unlock for Order.For
	OrderMode                      // go to Order.Mode
	OrderStatus                    // say how it is
)

// Order is a command to a device on a serial line (engage.md section 6).
type Order struct {
	Op   OrderOp
	For  time.Duration // of an unlock, 1 s to 10 min; sent in whole seconds, rounded up
	Mode site.Mode     // of OrderMode; ModeDisabled is refused
}

// Report is how a device says that it is, in its answer to an order. Locked,
// Open and Tamper are false where it does not say.
type Report struct {
	Locked    bool
	Open      bool
	Tamper    bool
	Mode      site.Mode
	ModeKnown bool // the device named a mode that is known
	Battery   int  // mV; 0 where it does not say
}

// What an Order can end in, beside ctx's error. Each is wrapped with what was
// ordered and of whom.
var (
	// ErrOffline: nothing was sent. The device is on no line, its port cannot
	// be used, or it has been silent for 8 s.
	ErrOffline = errors.New("the device is offline")
	// ErrRefused: the device answered and did not do it; or the order is one
	// that no device takes, and was not sent.
	ErrRefused = errors.New("the device refused")
	// ErrNoAnswer: it was sent and no answer came. The device may have done
	// it. It is not sent again.
	ErrNoAnswer = errors.New("the device gave no answer")
)

// String returns the order's word on the wire.
func (op OrderOp) String() string {
	switch op {
	case OrderUnlock:
		return opUnlock
	case OrderMode:
		return opMode
	case OrderStatus:
		return opStatus
	}
	return fmt.Sprintf("order(%d)", uint8(op))
}

// The bounds of an unlock, and how many orders may wait for a line.
const (
	minUnlock = time.Second
	maxUnlock = 10 * time.Minute
	maxOrders = 64
)

var errOrders = fmt.Errorf("%d orders wait for the line", maxOrders)

// Order sends an order to a device on a line and returns its answer. It waits
// for what the line is doing and for the orders before it. When ctx ends before
// it was sent, it is not sent; when ctx ends later, that is ErrNoAnswer too. An
// unlock or a mode is sent once, a status again where no answer came.
func (s *Server) Order(ctx context.Context, device site.DeviceName, o Order) (Report, error) {
	report, err := s.order(ctx, device, o)
	if err != nil {
		return report, fmt.Errorf("hive: %s of %q: %w", o.Op, device, err)
	}
	return report, nil
}

func (s *Server) order(ctx context.Context, device site.DeviceName, o Order) (Report, error) {
	extra, err := o.members()
	if err != nil {
		return Report{}, err
	}
	for _, l := range s.lines {
		for _, p := range l.peers {
			if p.Device == device && s.deps.Counters != nil {
				return l.order(ctx, &job{ctx: ctx, p: p, op: o.Op, extra: extra, done: make(chan struct{})})
			}
		}
	}
	return Report{}, fmt.Errorf("%w: it is on no line", ErrOffline)
}

// members are what the order adds to a command.
func (o Order) members() ([]hive.Member, error) {
	switch {
	case o.Op == OrderUnlock && o.For >= minUnlock && o.For <= maxUnlock:
		return []hive.Member{hive.Field("seconds", hive.Int(int64((o.For+time.Second-1)/time.Second)))}, nil
	case o.Op == OrderUnlock:
		return nil, fmt.Errorf("%w: an unlock lasts from %v to %v", ErrRefused, minUnlock, maxUnlock)
	case o.Op == OrderMode && o.Mode <= site.ModeLockdown:
		return []hive.Member{hive.Field("mode", hive.Text(o.Mode.String()))}, nil
	case o.Op == OrderMode:
		return nil, fmt.Errorf("%w: no device takes the mode %s", ErrRefused, o.Mode)
	case o.Op == OrderStatus:
		return nil, nil
	}
	return nil, fmt.Errorf("%w: it is not known", ErrRefused)
}

// job is an order on its way.
type job struct {
	ctx   context.Context
	p     *peer
	op    OrderOp
	extra []hive.Member

	done   chan struct{} // closed by finish
	report Report
	err    error
}

func (j *job) finish(r Report, err error) {
	j.report, j.err = r, err
	close(j.done)
}

// order hands a job to the line's session and waits for its end.
func (l *Line) order(ctx context.Context, j *job) (Report, error) {
	l.mu.Lock()
	switch {
	case !l.up || j.p.stats.Offline:
		l.mu.Unlock()
		return Report{}, ErrOffline
	case len(l.queue) >= maxOrders:
		l.mu.Unlock()
		return Report{}, errOrders
	}
	l.queue = append(l.queue, j)
	l.mu.Unlock()
	select {
	case l.wake <- struct{}{}:
	default:
	}
	select {
	case <-j.done:
		return j.report, j.err
	case <-ctx.Done():
	}
	l.mu.Lock()
	i := slices.Index(l.queue, j)
	if i >= 0 {
		l.queue = slices.Delete(l.queue, i, i+1)
	}
	l.mu.Unlock()
	if i >= 0 {
		return Report{}, ctx.Err()
	}
	select {
	case <-j.done: // at the same moment
		return j.report, j.err
	default:
		return Report{}, fmt.Errorf("%w: %w", ErrNoAnswer, ctx.Err())
	}
}

// take returns the next order that is still wanted; nil for none, and where
// others are to have a turn first.
func (l *Line) take(later bool) *job {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.queue) > 0 && !later {
		j := l.queue[0]
		l.queue = l.queue[1:]
		if j.ctx.Err() == nil {
			return j
		}
		j.finish(Report{}, j.ctx.Err())
	}
	return nil
}

// orderTries is how often an order is sent that may be sent again.
const orderTries = 2

// order sends an order and hands its end to who waits. The error is the
// session's end.
func (s *session) order(ctx context.Context, j *job) error {
	tries := 1
	if j.op == OrderStatus {
		tries = orderTries
	}
	var w *hive.Envelope
	var err error
	for ; tries > 0 && w == nil && err == nil; tries-- {
		w, err = s.exchange(ctx, j.p, j.op.String(), j.extra...)
	}
	var not *unsent
	switch {
	case errors.As(err, &not):
		j.finish(Report{}, fmt.Errorf("it was not sent: %w", not.err))
		return nil
	case err != nil:
		j.finish(Report{}, fmt.Errorf("%w: %w", ErrNoAnswer, err))
		return err
	case w == nil:
		j.finish(Report{}, ErrNoAnswer)
	case !w.Data.Get("response").Truth():
		j.finish(reportOf(w.Data), fmt.Errorf("%w: %s", ErrRefused, refusal(w.Data)))
	default:
		j.finish(reportOf(w.Data), nil)
	}
	return nil
}

// reportOf reads how a device says that it is.
func reportOf(data hive.Value) Report {
	r := Report{Locked: data.Get("locked").Truth(), Open: data.Get("open").Truth(), Tamper: data.Get("tamper").Truth()}
	if name, ok := data.Get("mode").Text(); ok {
		mode, err := site.ParseMode(name)
		r.Mode, r.ModeKnown = mode, err == nil
	}
	if mv, ok := data.Get("battery").Int(); ok && mv > 0 && mv <= math.MaxUint16 {
		r.Battery = int(mv)
	}
	return r
}

// refusal is the text of a refusal, fit for a log.
func refusal(data hive.Value) string {
	text, _ := data.Get("error").Text()
	return cmp.Or(plainText(text, 128), "it does not say why")
}
