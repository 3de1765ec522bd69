package app

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"gatehouse/agent/config"
	"gatehouse/agent/control"
	"gatehouse/agent/site"
	"gatehouse/agent/task"
	"gatehouse/hal"
)

const (
	// inputSettle is how long a level must stand before it counts.
	inputSettle = 50 * time.Millisecond
	// inputPoll is how often the line is read besides its edges: one that is
	// lost with a full queue is seen all the same.
	inputPoll = time.Second
	// inputQueue has room for the bounce of a contact.
	inputQueue = 64
)

// lineState is what an input of the site shows. The zero value is no level.
type lineState uint8

const (
	lineUnknown lineState = iota // the line cannot be claimed or read
	lineNormal
	lineActive // fire, a press, a failure
)

// String returns the word of status.
func (s lineState) String() string {
	switch s {
	case lineNormal:
		return "normal"
	case lineActive:
		return "active"
	case lineUnknown:
	}
	return "unknown"
}

// inputConfig is one input of the site.
type inputConfig struct {
	id     string // fire, panic, mains, battery, tamper
	line   hal.LineName
	active hal.Level // the level that is not normal
	cut    hal.Level // the level that the pull gives a cut wire
}

// siteInput is one input of the whole site and the goroutine that owns it.
// act gets its state when it is first known, or known not to be, and at each
// settled change; it is called on that goroutine and must not wait.
//
// A line that cannot be claimed or read is a standing fault and tried again.
// Until it is back the input counts as it was: doors do not wait for it.
type siteInput struct {
	inputConfig
	board  hal.Board
	health *task.Health
	act    func(context.Context, lineState)

	now func() time.Time

	asks  chan func() // run on the owner's goroutine; never closed
	ready chan struct{}
	once  sync.Once      // closes ready
	work  sync.WaitGroup // what act has begun; Run waits for it
	shown atomic.Pointer[inputShown]

	state lineState // the owner's
	told  bool
}

// inputShown is what others see of an input. It is never changed.
type inputShown struct {
	state lineState
	since time.Time
	fault string
}

func (a *App) newSiteInput(cfg inputConfig, act func(context.Context, lineState)) *siteInput {
	in := &siteInput{inputConfig: cfg, board: a.hw.Board, health: a.health, act: act, now: a.hw.Clock.Now,
		asks: make(chan func()), ready: make(chan struct{})}
	in.shown.Store(&inputShown{})
	return in
}

// String names the task.
func (in *siteInput) String() string { return "input " + in.id }

// Ready is closed when the state is known, or known not to be.
func (in *siteInput) Ready() <-chan struct{} { return in.ready }

// Run watches the line until ctx ends.
func (in *siteInput) Run(ctx context.Context) error {
	defer in.work.Wait()
	for {
		err := in.watch(ctx)
		if ctx.Err() != nil {
			return nil
		}
		in.lost(ctx, err)
		retry := time.NewTimer(lineRetry)
		for waiting := true; waiting; {
			select {
			case <-ctx.Done():
				retry.Stop()
				return nil
			case f := <-in.asks:
				f()
			case <-retry.C:
				waiting = false
			}
		}
	}
}

// watch claims the line and follows it until it is lost or ctx ends.
func (in *siteInput) watch(ctx context.Context) error {
	g, err := in.board.Inputs(inputQueue, hal.Input{Line: in.line, Pull: pullTo(in.cut), Debounce: 5 * time.Millisecond})
	if err != nil {
		return err
	}
	defer g.Close() // the line is claimed anew, or the agent ends
	level, err := g.Read(in.line)
	if err != nil {
		return err
	}
	in.set(ctx, in.stateOf(level))
	poll := time.NewTicker(inputPoll)
	defer poll.Stop()
	settle := time.NewTimer(inputSettle)
	settle.Stop()
	defer settle.Stop()
	for settling := false; ; {
		settled := false
		select {
		case <-ctx.Done():
			return nil
		case f := <-in.asks:
			f()
			continue
		case e, ok := <-g.Edges():
			if !ok {
				return hal.ErrClosed
			}
			level = e.Level
			if e.Lost {
				level, err = g.Read(in.line)
			}
		case <-poll.C:
			level, err = g.Read(in.line)
		case <-settle.C:
			settled = settling
			level, err = g.Read(in.line)
		}
		switch {
		case err != nil:
			return err
		case in.stateOf(level) == in.state:
			settling = false
			settle.Stop()
		case settled:
			settling = false
			in.set(ctx, in.stateOf(level))
		case !settling:
			settling = true
			settle.Reset(inputSettle)
		}
	}
}

func (in *siteInput) stateOf(l hal.Level) lineState {
	if l == in.active {
		return lineActive
	}
	return lineNormal
}

// set takes a state that has settled. The fault of the line, if it had one, is
// over.
func (in *siteInput) set(ctx context.Context, s lineState) {
	in.show(s, "")
	if in.state != s || !in.told {
		in.state, in.told = s, true
		in.act(ctx, s)
	}
	in.once.Do(func() { close(in.ready) })
	in.health.Clear(in.faultID())
}

// lost says that the line cannot be had. What it showed last still counts.
func (in *siteInput) lost(ctx context.Context, err error) {
	in.show(lineUnknown, err.Error())
	if !in.told {
		in.told = true
		in.act(ctx, lineUnknown)
	}
	in.once.Do(func() { close(in.ready) })
	in.health.Set(in.faultID(), fmt.Sprintf("input %s: %v", in.id, err))
}

func (in *siteInput) faultID() string { return "input." + in.id }

func (in *siteInput) show(s lineState, fault string) {
	was := in.shown.Load()
	next := &inputShown{state: s, since: was.since, fault: fault}
	if s != was.state {
		next.since = in.now()
	}
	in.shown.Store(next)
}

// ask runs f on the goroutine that owns the input.
func (in *siteInput) ask(ctx context.Context, f func()) error {
	done := make(chan struct{})
	select {
	case in.asks <- func() { f(); close(done) }:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func pullTo(l hal.Level) hal.Pull {
	if l == hal.High {
		return hal.PullUp
	}
	return hal.PullDown
}

// siteInputs is all inputs of the site, in the order of their being looked at:
// fire first.
type siteInputs struct {
	list []*siteInput
	fire *fireAlarm   // nil: no fire input
	keep *inputKeeper // nil: there is nothing to keep
}

// inputTexts say what an input means to a person: when all is well, and when not.
var inputTexts = map[string][2]string{
	"fire":    {"no fire", "fire"},
	"panic":   {"not pressed", "pressed"},
	"mains":   {"mains present", "mains failed"},
	"battery": {"battery good", "battery low or missing"},
	"tamper":  {"cabinet closed", "cabinet opened"},
}

// supervised makes an input of the site an event when it begins not to be normal
// and one when that is over. What stands at a start is told anew, and what ended
// before it, as mains do that come back after the battery was empty, has its end told.
func (a *App) supervised(id string, kind site.Kind, c *config.Input, keep *inputKeeper) *siteInput {
	cfg := inputConfig{id: id, line: c.Line, active: !c.Normal, cut: !c.Normal}
	kept := keep.now()
	standing := *kept.supervised(kind)
	return a.newSiteInput(cfg, func(_ context.Context, s lineState) {
		if s == lineUnknown {
			return
		}
		on := s == lineActive
		if on || standing {
			a.sink.Append(site.Event{Kind: kind, Cleared: !on, Text: inputText(id, on)})
		}
		standing = on
		keep.change(func(k *keptInputs) { *k.supervised(kind) = on })
	})
}

func inputText(id string, on bool) string {
	if on {
		return inputTexts[id][1]
	}
	return inputTexts[id][0]
}

// newSiteInputs makes the inputs that the settings name, over what keep has of
// them.
func (a *App) newSiteInputs(keep *inputKeeper) siteInputs {
	out := siteInputs{keep: keep}
	in := a.cfg.Inputs
	if in.Fire != nil {
		out.fire = a.newFireAlarm(*in.Fire, keep)
		out.list = append(out.list, out.fire.in)
	}
	if in.Panic != nil {
		out.list = append(out.list, a.newPanicButton(*in.Panic, keep))
	}
	for _, s := range []struct {
		id   string
		kind site.Kind
		cfg  *config.Input
	}{{"mains", site.KindPower, in.Mains}, {"battery", site.KindBattery, in.Battery}, {"tamper", site.KindTamper, in.Tamper}} {
		if s.cfg != nil {
			out.list = append(out.list, a.supervised(s.id, s.kind, s.cfg, keep))
		}
	}
	return out
}

// buildSite makes what belongs to the site as a whole, over its doors.
func (a *App) buildSite(ctx context.Context) {
	var keep *inputKeeper
	if in := a.cfg.Inputs; in.Fire != nil || in.Panic != nil || in.Mains != nil || in.Battery != nil || in.Tamper != nil {
		keep = openInputKeeper(filepath.Join(a.cfg.StateDir, "inputs.json"), filepath.Join(a.cfg.StateDir, "quarantine"), a.health,
			func() keptInputs { return a.inputsFromLog(ctx) })
	}
	a.site = a.newSiteInputs(keep)
}

// addSite adds what belongs to the site as a whole to the group of the doors: it
// starts before them, so that they begin as fire and schedules say, and stops
// after them, outputs last of all.
func (a *App) addSite(g *task.Group) {
	for _, o := range a.outputs {
		o.health = a.health
		g.Add(&droppable{Task: o, app: a}, task.Policy{})
	}
	if a.site.keep != nil {
		g.Add(task.Func("kept inputs", a.site.keep.run), task.Policy{})
	}
	for _, in := range a.site.list {
		g.Add(in, task.Policy{StartWait: readerWait})
	}
	g.Add(task.Func("schedules", a.newScheduler().run), task.Policy{})
}

// unread begins the text of an input whose line cannot be had.
const unread = "cannot be read: "

// status tells each input.
func (s *siteInputs) status() []control.InputStatus {
	out := []control.InputStatus{}
	for _, in := range s.list {
		shown := in.shown.Load()
		st := control.InputStatus{ID: in.id, OK: shown.state == lineNormal, Since: shown.since}
		switch {
		case shown.fault != "":
			st.Text = unread + shown.fault
		case shown.state == lineUnknown:
			st.Text = "not read yet"
		default:
			st.Text = inputText(in.id, shown.state == lineActive)
		}
		if s.fire != nil && in == s.fire.in {
			st = s.fire.amend(st)
		}
		out = append(out, st)
	}
	return out
}

// inputAdvice says what to do about an input that is not as it should be.
func inputAdvice(id string) (cause, do string) {
	switch id {
	case "fire":
		return "the fire alarm system reports fire, its wire is cut, or an alarm is latched", "look for the fire; then gatehouse fire reset"
	case "panic":
		return "the panic button is pressed: all doors are locked down", "look what happened; then gatehouse door release --all"
	case "mains":
		return "the power supply has no mains, or its wire is cut", "bring the mains back before the battery is empty"
	case "battery":
		return "the battery is low, missing or old, or its wire is cut", "replace the battery"
	case "tamper":
		return "the cabinet is open, or its wire is cut", "look at the cabinet and close it"
	}
	return "it is not as it should be", "see the event log"
}
