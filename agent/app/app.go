package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"gatehouse/agent/config"
	"gatehouse/agent/door"
	"gatehouse/agent/gateway"
	"gatehouse/agent/hive/link"
	"gatehouse/agent/reader"
	"gatehouse/agent/site"
	"gatehouse/agent/task"
	"gatehouse/hal"
	"gatehouse/store"
	"gatehouse/store/spool"
)

// Options are what New needs besides settings and hardware. The zero value is
// good.
type Options struct {
	Version string
	Issues  []config.Issue // warnings of the settings, for status and doctor
	Log     *slog.Logger   // nil: discard
}

// App is one agent.
type App struct {
	cfg     *config.Config
	hw      Hardware
	opt     Options
	log     *slog.Logger
	started time.Time

	strikes map[site.DoorID]hal.OutputLine
	inputs  map[site.DoorID]hal.InputGroup
	outputs outputSet

	health    *task.Health
	spool     *spool.Log
	sink      *eventSink
	clock     *clockWatch
	store     *store.Store // nil: it could not be opened; storeErr says why
	storeErr  error
	kept      map[site.DoorID]site.DoorKept
	policy    *policyHolder
	areas     *areaBook
	doors     doorSet
	enrol     enroller
	readers   map[site.ReaderID]*reader.Reader
	hive      *link.Server
	alarms    *alarmBook
	notify    notifySet
	tokens    tokenSet
	uplink    ipLink
	resources *gateway.Gateway // nil: nobody could ask
	locks     lockSet
	lines     *lockLines
	site      siteInputs
	view      *eventView
	cert      *tls.Certificate
	servers   []*server
	gateway   http.Handler // the gateway's resources over local HTTPS; nil: not mounted
	warnings  []string
	copied    atomic.Pointer[copyMark]
	rekeep    chan struct{} // capacity 1: what the doors keep was lost while running

	doorsReady atomic.Bool
	beating    atomic.Bool  // the doors run and are asked
	lastPing   atomic.Int64 // Unix nanoseconds of the last time that all doors answered
	ready      chan struct{}
	running    atomic.Int32    // doors and outputs that have not driven their line safe yet
	dropCtx    context.Context // ends with Drop; it is no one request's
	drop       context.CancelFunc
}

// New claims every strike and output at its safe level before anything else, and
// the inputs of the doors. It opens no file and starts nothing; Run does. When it
// fails, what it claimed is given back. It takes hw over: Run closes the board.
func New(cfg *config.Config, hw Hardware, opt Options) (*App, error) {
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	a := &App{
		cfg: cfg, hw: hw, opt: opt, log: opt.Log,
		strikes: map[site.DoorID]hal.OutputLine{}, inputs: map[site.DoorID]hal.InputGroup{},
		readers: map[site.ReaderID]*reader.Reader{},
		ready:   make(chan struct{}), rekeep: make(chan struct{}, 1),
	}
	a.dropCtx, a.drop = context.WithCancel(context.Background())
	for _, c := range cfg.Doors {
		line, ok := c.Output()
		if !ok {
			continue
		}
		out, err := hw.Board.Output(line)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("door %s: strike %s: %w", c.ID, c.Strike, err), a.closeLines())
		}
		a.strikes[c.ID] = out
	}
	for _, c := range cfg.Outputs {
		o := newOutput(c, hw.Board, a.log)
		if err := o.claim(); err != nil { // its task says so and tries again
			a.log.Error("output could not be claimed", "output", c.ID, "line", c.Line, "err", err)
		}
		a.outputs = append(a.outputs, o)
	}
	for _, c := range cfg.Doors {
		lines := c.Inputs()
		if len(lines) == 0 {
			continue
		}
		group, err := hw.Board.Inputs(door.InputQueue, lines...)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("door %s: contact and exit button: %w", c.ID, err), a.closeLines())
		}
		a.inputs[c.ID] = group
	}
	return a, nil
}

// closeLines gives the lines and the board back. The doors have driven their
// strikes safe.
func (a *App) closeLines() error {
	var err error
	for _, g := range a.inputs {
		err = errors.Join(err, g.Close())
	}
	for _, o := range a.strikes {
		err = errors.Join(err, o.Close())
	}
	for _, o := range a.outputs {
		err = errors.Join(err, o.close())
	}
	return errors.Join(err, a.hw.Board.Close())
}

// Ready is closed when the doors decide.
func (a *App) Ready() <-chan struct{} { return a.ready }

func (a *App) isReady() bool { return a.doorsReady.Load() }

// Run runs the agent until ctx ends, which is no failure. It stops the outside
// first, then the doors, which drive their strikes safe, then store and log, so
// that the last event of a door is kept.
func (a *App) Run(ctx context.Context) (err error) {
	defer func() { err = errors.Join(err, a.closeLines()) }()
	defer a.drop()
	unlock, err := lockState(a.cfg.StateDir)
	if err != nil {
		return err
	}
	defer unlock()
	a.started = time.Now()
	a.health = task.NewHealth(a.healthChanged)
	if err := a.openLog(); err != nil {
		return err
	}
	base := task.NewGroup(task.GroupConfig{Name: "base", StopWait: 10 * time.Second, Log: a.log})
	base.Add(a.spool, task.Policy{Fatal: true})
	base.Add(a.clock, task.Policy{})
	return errors.Join(a.within(ctx, base, a.runStore), a.spool.Close())
}

// within runs a group, and inner while the group is ready. It stops inner
// first.
func (a *App) within(ctx context.Context, g *task.Group, inner func(context.Context) error) error {
	gctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- g.Run(gctx) }()
	ictx, cancel := context.WithCancel(ctx)
	defer cancel()
	select {
	case err := <-ended:
		return err
	case <-g.Ready():
	case <-ctx.Done():
		stop()
		return <-ended
	}
	done := make(chan error, 1)
	go func() { done <- inner(ictx) }()
	select {
	case err := <-done:
		stop()
		return errors.Join(err, <-ended)
	case err := <-ended:
		cancel()
		return errors.Join(err, <-done)
	}
}

// runDoors runs the doors and, while they do, what is outside.
func (a *App) runDoors(ctx context.Context) error {
	for _, c := range a.cfg.Doors {
		d, err := door.New(c, door.Deps{
			Strike: a.strikes[c.ID], Inputs: a.inputs[c.ID],
			Decider: a.policy.decider(c, a.areas), Log: a.sink, Keeper: doorKeeper{a.store}, Clock: a.clock.Clock,
			Interlock: a.areas, Passages: a.areas,
			Kept: a.kept[c.ID], Show: a.show, Logger: a.log,
		})
		if err != nil {
			return err
		}
		a.doors.add(c, d)
		a.doors.border(c.ID, c.Area)
	}
	for _, r := range a.cfg.Readers {
		a.doors.border(r.Door, r.From, r.To)
	}
	a.buildSite(ctx)
	if err := a.build(); err != nil {
		return err
	}
	g := task.NewGroup(task.GroupConfig{Name: "doors", StopWait: 3 * time.Second, Health: a.health, Log: a.log})
	a.addSite(g)
	for _, d := range a.doors.list {
		// A door runs once: one that loses its lines ends the agent, and the
		// supervisor drives the lines safe and starts it again.
		g.Add(&droppable{Task: d, app: a}, task.Policy{Fatal: true})
	}
	err := a.within(ctx, g, a.runOutside)
	a.sink.Append(site.Event{Kind: site.KindStop})
	return err
}

// runOutside runs what is between the doors and the world.
func (a *App) runOutside(ctx context.Context) error {
	defer a.doorsReady.Store(false)
	a.view.life = ctx
	a.pinged()
	a.beating.Store(true)
	defer a.beating.Store(false)
	g := task.NewGroup(task.GroupConfig{Name: "outside", StopWait: shutdownTimeout + time.Second, Health: a.health, Log: a.log})
	g.Add(task.Func("heart", a.beat), task.Policy{})
	for _, c := range a.cfg.Readers {
		if r := a.readers[c.ID]; r != nil {
			g.Add(r, task.Policy{StartWait: readerWait})
		}
	}
	g.Add(task.Func("ready", a.nowReady), task.Policy{Once: true})
	g.Add(a.hive, task.Policy{})
	for _, l := range a.hive.Lines() {
		g.Add(l, task.Policy{})
	}
	for _, s := range a.servers {
		g.Add(s, task.Policy{})
	}
	a.notify.addTo(g)
	g.Add(task.Func("tokens", a.tokens.run), task.Policy{})
	a.addGateway(g)
	a.locks.addTo(g)
	a.lines.addTo(g)
	a.uplink.addTo(g)
	g.Add(task.Func("verify", a.verify), task.Policy{Once: true})
	return g.Run(ctx)
}

// readerWait bounds what one reader without its lines keeps the site from being
// ready.
const readerWait = time.Second

// nowReady says that the doors decide: their readers hold their lines.
func (a *App) nowReady(context.Context) error {
	if a.doorsReady.CompareAndSwap(false, true) {
		close(a.ready)
	}
	return nil
}
