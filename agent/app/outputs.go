package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"gatehouse/agent/config"
	"gatehouse/agent/control"
	"gatehouse/agent/site"
	"gatehouse/agent/task"
	"gatehouse/hal"
)

// lineRetry is the pace at which a line of the site that cannot be claimed,
// driven or read is tried again.
const lineRetry = 2 * time.Second

// maxStanding bounds the alarms that hold one output on. One more is not told
// apart from them: the output is on already, and that one's end is not waited
// for.
const maxStanding = 4096

// outputSet is the auxiliary outputs of the site.
type outputSet []*output

// take shows an event to every output at the moment at which it happened, disk
// or no disk. It is called by whoever has the event and never waits: an output
// keeps no queue of events, only the level that they ask for, so a flood of them
// loses nothing.
func (s outputSet) take(ev *site.Event) {
	if open, alarm, ok := ev.Duress(); ok {
		s.take(&open)
		s.take(&alarm)
		return
	}
	for _, o := range s {
		if o.rule.take(ev) {
			select {
			case o.news <- struct{}{}:
			default: // its owner is on its way and sees the newest level
			}
		}
	}
}

// status tells each output, in the order of the settings.
func (s outputSet) status() []control.OutputStatus {
	out := []control.OutputStatus{}
	for _, o := range s {
		st := control.OutputStatus{ID: o.rule.cfg.ID, On: o.on.Load()}
		if f := o.fault.Load(); f != nil {
			st.Fault = *f
		}
		out = append(out, st)
	}
	return out
}

// outputRule is what the events so far ask of one output.
type outputRule struct {
	cfg config.Output

	mu       sync.Mutex // guards following
	fresh    bool       // an event that turns it on for a time came since it was last asked
	timed    bool       // it is on until end ...
	end      time.Duration
	standing map[alarmKey]struct{} // what holds it on until it is over
}

// take folds one event and reports whether the level may be another now.
func (r *outputRule) take(ev *site.Event) bool {
	if len(r.cfg.Doors) > 0 && !slices.Contains(r.cfg.Doors, ev.Door) {
		return false
	}
	over := happens(ev)
	meant := asMeant(*ev)
	ev = &meant
	on, off := r.counts(r.cfg.On, ev), !ev.Cleared && r.counts(r.cfg.Until, ev)
	if on && r.cfg.For == 0 && len(r.cfg.Until) == 0 && over {
		on = false // nothing would ever turn it off
	}
	if !on && !off {
		return false
	}
	key := alarmKey{ev.Kind, ev.Door, ev.Reader, ev.Device, ev.Item}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case off:
		r.fresh, r.timed = false, false
		clear(r.standing)
	case r.cfg.For > 0 && !ev.Cleared:
		r.fresh = true
	case ev.Cleared:
		delete(r.standing, key)
	case len(r.standing) < maxStanding:
		if r.standing == nil {
			r.standing = map[alarmKey]struct{}{}
		}
		r.standing[key] = struct{}{}
	}
	return true
}

// bySchedule is who a door names in a command event for a change of its schedule.
const bySchedule = "schedule"

// counts reports whether an event is one of kinds. Of access those count that
// the settings name; of all else those that were not refused, as an exit by an
// interlock is. A command is somebody's: what a door records of its schedule as
// one is none.
func (r *outputRule) counts(kinds []site.Kind, ev *site.Event) bool {
	switch {
	case !slices.Contains(kinds, ev.Kind):
		return false
	case ev.Kind == site.KindDuress:
		return true // let in or not
	case ev.Kind == site.KindAccess:
		return slices.Contains(r.cfg.Reasons, ev.Reason)
	}
	if ev.Kind == site.KindCommand && ev.By == bySchedule {
		return false
	}
	return ev.Reason == "" || ev.Reason.Grants()
}

// level returns whether the output is on at now and, if so, when to ask again;
// zero: when there is news. The time of an event begins when it is first asked
// about, so that a pulse has its length however late its owner is. A further
// event extends the time and never shortens it.
func (r *outputRule) level(now time.Duration) (on bool, until time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fresh {
		r.fresh, r.timed, r.end = false, true, now+r.cfg.For
	}
	if r.timed && r.end <= now {
		r.timed = false
	}
	if r.timed {
		return true, r.end
	}
	return len(r.standing) > 0, 0
}

// output is one auxiliary output and the goroutine that owns its line: siren,
// door operator, alarm shunt. It is de-energised from the instant at which its
// line is claimed until an event turns it on, and again as the last act of Run.
// What an earlier run of the agent had turned on is off after a restart, unless
// its cause is told anew, as a fire that goes on is.
type output struct {
	rule   outputRule
	board  hal.Board
	health *task.Health
	log    *slog.Logger

	began time.Time     // zero of the rule's times
	news  chan struct{} // capacity 1: the level may be another
	ready chan struct{}
	once  sync.Once

	line  hal.OutputLine // nil: not claimed
	on    atomic.Bool
	fault atomic.Pointer[string] // nil: none
}

func newOutput(cfg config.Output, board hal.Board, log *slog.Logger) *output {
	return &output{rule: outputRule{cfg: cfg}, board: board, log: log.With("output", cfg.ID),
		began: time.Now(), news: make(chan struct{}, 1), ready: make(chan struct{})}
}

// claim takes the line, de-energised.
func (o *output) claim() error {
	if o.line != nil {
		return nil
	}
	line, err := o.board.Output(hal.Output{Line: o.rule.cfg.Line, Initial: !o.rule.cfg.Active})
	if err != nil {
		return err
	}
	o.line = line
	return nil
}

// close gives the line back; Run has ended, or never ran.
func (o *output) close() error {
	if o.line == nil {
		return nil
	}
	line := o.line
	o.line = nil
	return line.Close()
}

// Run drives the line as the rule says until ctx ends, then safe. A line that
// cannot be claimed or driven is a fault and tried again: doors do not wait for
// a siren.
func (o *output) Run(ctx context.Context) error {
	defer func() {
		if err := o.drive(false); err != nil && o.line != nil {
			o.log.Error("output was not driven safe", "err", err)
		}
	}()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		now := time.Since(o.began)
		on, until := o.rule.level(now)
		err := o.claim()
		if err == nil {
			err = o.drive(on)
		}
		o.tell(err)
		o.once.Do(func() { close(o.ready) })
		switch {
		case err != nil:
			timer.Reset(lineRetry)
		case until > 0:
			timer.Reset(until - now)
		default:
			timer.Stop()
		}
		select {
		case <-ctx.Done():
			return nil
		case <-o.news:
		case <-timer.C:
		}
	}
}

func (o *output) drive(on bool) error {
	if o.line == nil {
		return errors.New("not claimed")
	}
	err := o.line.Set(hal.Level(on == bool(o.rule.cfg.Active)))
	if errors.Is(err, hal.ErrClosed) {
		err = errors.Join(err, o.close()) // the board was lost: it may come back
	}
	if err != nil {
		return err
	}
	o.on.Store(on)
	return nil
}

// tell begins or ends the fault of the line.
func (o *output) tell(err error) {
	id := "output." + string(o.rule.cfg.ID)
	if err == nil {
		if o.fault.Swap(nil) != nil {
			o.health.Clear(id)
		}
		return
	}
	text := fmt.Sprintf("%s: %v", o.rule.cfg.Line, err)
	if o.fault.Swap(&text) == nil {
		o.health.Set(id, "output "+text)
	}
}

// Ready is closed when the line was driven for the first time, or could not be.
func (o *output) Ready() <-chan struct{} { return o.ready }

// String names the task.
func (o *output) String() string { return "output " + string(o.rule.cfg.ID) }
