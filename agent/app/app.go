package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"

	"gatehouse/agent/config"
	"gatehouse/agent/control"
	"gatehouse/agent/door"
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

	health   *task.Health
	spool    *spool.Log
	sink     *eventSink
	clock    *clockWatch
	store    *store.Store // nil: it could not be opened; storeErr says why
	storeErr error
	kept     map[site.DoorID]site.DoorKept
	policy   *policyHolder
	doors    doorSet
	enrol    enroller
	readers  map[site.ReaderID]*reader.Reader
	hive     *link.Server
	alarms   *alarmBook
	view     *eventView
	cert     *tls.Certificate
	servers  []*server
	warnings []string
	copied   atomic.Pointer[copyMark]
	rekeep   chan struct{} // capacity 1: what the doors keep was lost while running

	doorsReady atomic.Bool
	lastPing   atomic.Int64 // Unix nanoseconds of the last time that all doors answered
	ready      chan struct{}
	running    atomic.Int32    // doors that have not driven their strike safe yet
	dropCtx    context.Context // ends with Drop; it is no one request's
	drop       context.CancelFunc
}

// copyMark is the last verified copy.
type copyMark struct {
	at  time.Time
	seq site.EventSeq
}

// New claims every strike at its safe level before anything else, and the
// inputs of the doors. It opens no file and starts nothing; Run does. When it
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

// openLog opens the event log and what stands on it.
func (a *App) openLog() error {
	a.sink = &eventSink{clock: func() site.Clock { return a.clock.Clock() }}
	a.alarms = loadAlarms(filepath.Join(a.cfg.StateDir, "alarms.json"))
	log, rep, err := spool.Open(a.cfg.Spool, spool.Options{
		MinSeq:     a.alarms.known(), // should the log's folder be gone, numbers still go on
		Quarantine: filepath.Join(a.cfg.StateDir, "quarantine"),
		Clock:      a.eventClock,
		OnFault:    a.health.Set, OnClear: a.health.Clear,
		Logger: a.log,
	})
	if err != nil {
		return fmt.Errorf("event log: %w", err)
	}
	if rep.NewLog && !rep.Fresh {
		a.log.Error("a new event log was begun", "reason", rep.Reason, "lost", rep.Lost, "quarantine", rep.Damaged)
	}
	a.spool, a.sink.log = log, log
	a.spool.Register(a.consumers()...)
	a.clock = newClockWatch(a.hw.Clock, a.cfg.Clock, log, a.sink.Append)
	a.alarms.log = log
	// First, because what follows may be about this start.
	a.sink.Append(site.Event{Kind: site.KindStart, Text: "gatehouse " + a.opt.Version})
	for _, f := range a.health.List() { // found while there was no log to say so
		a.healthChanged(task.Change{Fault: f})
	}
	a.logOpened(rep)
	return nil
}

// logOpened tells the operator what was wrong with the log. Damage that is found
// later is told by the log itself.
func (a *App) logOpened(rep spool.Report) {
	if rep.Reason != "" {
		text := "a new event log begins: " + rep.Reason
		if len(rep.Damaged) > 0 {
			text += fmt.Sprintf("; kept as %v", rep.Damaged)
		}
		a.health.Set(spool.FaultDamaged, text)
	}
	if rep.Cursors {
		a.health.Set("spool.cursors", "the consumers' positions were unreadable: they start at the oldest event kept and may repeat some")
	}
	if rep.Time {
		a.health.Set("spool.time", "the last trusted time was unreadable: ends of credentials are judged by the clock alone until time is trusted again")
	}
}

// eventClock is the clock of events that the log makes by itself; it may be
// asked before the clock is watched.
func (a *App) eventClock() (time.Time, bool) {
	if a.clock == nil {
		return a.hw.Clock.Now(), false
	}
	c := a.clock.Clock()
	return c.Now, c.Trusted
}

// consumers are the names of those who must have had an event before it may be
// trimmed.
func (a *App) consumers() []string { return []string{spool.PolicyCopy} }

// runStore opens the store, which may take a moment after damage, and runs what
// stands on it. A store that cannot be opened is a fault, not the end: exits and
// operators are served, cards are refused.
func (a *App) runStore(ctx context.Context) error {
	g := task.NewGroup(task.GroupConfig{Name: "store", StopWait: 10 * time.Second, Health: a.health, Log: a.log})
	a.openStore(ctx)
	if a.store != nil {
		g.Add(task.Func("store", a.store.Run), task.Policy{})
		g.Add(task.Func("kept states", a.keepAgain), task.Policy{})
	}
	g.Add(a.alarms, task.Policy{})
	err := a.within(ctx, g, a.runDoors)
	if a.store != nil {
		err = errors.Join(err, a.store.Close())
	}
	return err
}

func (a *App) openStore(ctx context.Context) {
	st, rep, err := store.Open(a.cfg.Store, storeLog{a.sink}, store.Options{
		Logger: a.log, Clock: a.eventClock, OnFault: a.storeFault, OnCopied: a.storeCopied,
	})
	if err != nil {
		id := "store.open"
		if errors.Is(err, store.ErrKeyMissing) || errors.Is(err, store.ErrKeyWrong) {
			id = "store.key"
		}
		a.storeErr = err
		a.health.Set(id, err.Error())
		a.log.Error("the store could not be opened; no card passes", "err", err)
		a.kept = a.keptFromLog(ctx)
	} else {
		a.store = st
		a.storeOpened(ctx, rep)
	}
	a.policy = &policyHolder{cfg: a.cfg, clock: a.clock, store: a.store, err: a.storeErr}
	a.view = &eventView{log: a.spool, store: a.store}
}

// storeOpened takes what the store kept of the doors, or what the log says of
// them where the store has lost it.
func (a *App) storeOpened(ctx context.Context, rep store.Report) {
	if rep.Damaged() {
		a.storeFault(rep)
	}
	kept, err := a.store.DoorKept()
	if err != nil {
		a.log.Error("kept door states could not be read", "err", err)
	}
	a.kept = kept
	if err == nil && !rep.DevicesLost {
		return
	}
	a.kept = a.keptFromLog(ctx)
	a.keepAll(ctx, a.kept)
}

func (a *App) keepAll(ctx context.Context, kept map[site.DoorID]site.DoorKept) {
	for id, k := range kept {
		if err := a.store.KeepDoor(ctx, id, k); err != nil {
			a.log.Error("kept door state could not be written", "door", id, "err", err)
		}
	}
}

// keepAgain writes what the doors keep once more after the file that had it was
// replaced under a running agent, until ctx ends.
func (a *App) keepAgain(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-a.rekeep:
			a.keepAll(ctx, a.keptFromLog(ctx))
		}
	}
}

// storeFault tells the operator of damage: a standing fault until the next
// start.
func (a *App) storeFault(rep store.Report) {
	if rep.PolicyDamage != nil || rep.Incomplete || rep.MissingChanges > 0 {
		a.health.Set("store.policy", damageText("policy file", rep.PolicyDamage, rep))
	}
	if rep.DevicesDamage != nil {
		a.health.Set("store.devices", damageText("device file", rep.DevicesDamage, rep))
	}
	if rep.DevicesLost {
		select {
		case a.rekeep <- struct{}{}:
		default:
		}
	}
	if rep.Uncopied != nil {
		a.health.Set("store.copy", "no verified copy could be made: "+rep.Uncopied.Error())
	}
}

func damageText(what string, cause error, rep store.Report) string {
	text := what + " was damaged"
	if cause != nil {
		text += ": " + cause.Error()
	}
	if rep.FromCopy {
		text += fmt.Sprintf("; went on from the verified copy and %d changes of the event log", rep.RolledForward)
	}
	if rep.Incomplete {
		text += "; no copy, and the event log does not reach back: cards are refused until it is restored"
	}
	if rep.MissingChanges > 0 {
		text += fmt.Sprintf("; %d acknowledged changes are missing", rep.MissingChanges)
	}
	if len(rep.Quarantined) > 0 {
		text += fmt.Sprintf("; kept as %v", rep.Quarantined)
	}
	return text
}

func (a *App) storeCopied(seq site.EventSeq) {
	a.copied.Store(&copyMark{at: a.hw.Clock.Now(), seq: seq})
	a.health.Clear("store.copy")
	if err := a.spool.Cursor(spool.PolicyCopy).Advance(seq); err != nil {
		a.log.Warn("cursor not moved", "err", err)
	}
}

// healthChanged makes one event of each onset and each end of a fault.
func (a *App) healthChanged(c task.Change) {
	if a.sink.log == nil {
		return // the log itself could not be opened: Run says so
	}
	a.sink.Append(site.Event{Kind: site.KindFault, Item: c.Fault.ID, Text: c.Fault.Text, Cleared: c.Cleared})
}

// runDoors runs the doors and, while they do, what is outside.
func (a *App) runDoors(ctx context.Context) error {
	for _, c := range a.cfg.Doors {
		d, err := door.New(c, door.Deps{
			Strike: a.strikes[c.ID], Inputs: a.inputs[c.ID],
			Decider: a.policy.decider(c.ID), Log: a.sink, Keeper: doorKeeper{a.store}, Clock: a.clock.Clock,
			Kept: a.kept[c.ID], Show: a.show, Logger: a.log,
		})
		if err != nil {
			return err
		}
		a.doors.add(c, d)
	}
	if err := a.build(); err != nil {
		return err
	}
	g := task.NewGroup(task.GroupConfig{Name: "doors", StopWait: 3 * time.Second, Health: a.health, Log: a.log})
	for _, d := range a.doors.list {
		// A door runs once: one that loses its lines ends the agent, and the
		// supervisor drives the lines safe and starts it again.
		g.Add(&droppable{Door: d, app: a}, task.Policy{Fatal: true})
	}
	err := a.within(ctx, g, a.runOutside)
	a.sink.Append(site.Event{Kind: site.KindStop})
	return err
}

// droppable is a door that also ends when the agent is dropped.
type droppable struct {
	*door.Door
	app *App
}

// Run runs the door until ctx ends or the agent is dropped.
func (d *droppable) Run(ctx context.Context) error {
	d.app.running.Add(1)
	defer d.app.running.Add(-1)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(d.app.dropCtx, cancel)()
	return d.Door.Run(ctx)
}

// doorKeeper writes what survives a restart into the store.
type doorKeeper struct{ store *store.Store }

// Keep returns when it is durable.
func (k doorKeeper) Keep(ctx context.Context, id site.DoorID, kept site.DoorKept) error {
	if k.store == nil {
		return errNoStore
	}
	return k.store.KeepDoor(ctx, id, kept)
}

// show plays a pattern at a reader on lines; Hive readers show by themselves.
func (a *App) show(id site.ReaderID, p site.Pattern) {
	if r := a.readers[id]; r != nil {
		r.Play(p)
	}
}

// build makes readers, the Hive server and the listeners.
func (a *App) build() error {
	to := newPresenter(&a.doors, &a.enrol, a.cfg.Readers)
	for _, c := range a.cfg.Readers {
		if c.Wiegand == nil {
			continue
		}
		r, err := reader.New(c, a.hw.Board, to, a.sink, a.log)
		if err != nil {
			return err
		}
		a.readers[c.ID] = r
	}
	var err error
	a.hive, err = link.New(a.cfg.Hive, link.Deps{
		Access: hiveAccess{&a.doors, &a.enrol}, Nonces: hiveNonces{a.store}, Vend: hiveVend{a.policy}, Events: a.sink,
		Ports: a.hw.Ports, Clock: a.clock.Clock, Log: a.log,
	})
	if err != nil {
		return err
	}
	return a.listen()
}

// listen opens the listeners. One that cannot be opened is a fault, not the
// end: the doors do not need it.
func (a *App) listen() error {
	l, warning, err := listenControl(filepath.Join(a.cfg.StateDir, "control.sock"))
	if err != nil {
		return err
	}
	if warning != "" {
		a.warnings = append(a.warnings, warning)
	}
	s := newServer("control", l, control.Handler(a.controlParts()), nil, a.log)
	s.http.WriteTimeout, s.http.ReadTimeout = 0, 0 // event tails and imports take their time
	a.servers = append(a.servers, s)
	cert, err := siteCertificate(a.cfg.StateDir, a.cfg.Site.Name, a.hw.Clock.Now())
	if err != nil {
		a.health.Set("listen.https", err.Error())
	} else {
		a.cert = &cert
		a.open("https", a.cfg.Listen.HTTPS, a.mux(false), a.cert)
	}
	a.open("devices", a.cfg.Listen.Devices, a.mux(true), nil)
	return nil
}

func (a *App) open(name, addr string, h http.Handler, cert *tls.Certificate) {
	if addr == "" {
		return
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		a.health.Set("listen."+name, err.Error())
		a.log.Error("listener could not be opened", "listener", name, "err", err)
		return
	}
	a.servers = append(a.servers, newServer(name, l, h, cert, a.log))
}

// Addresses returns where the agent listens, by listener; call it after Ready.
func (a *App) Addresses() map[string]string {
	out := map[string]string{}
	for _, s := range a.servers {
		out[s.name] = s.listener.Addr().String()
	}
	return out
}

// runOutside runs what is between the doors and the world.
func (a *App) runOutside(ctx context.Context) error {
	a.doorsReady.Store(true)
	defer a.doorsReady.Store(false)
	a.pinged()
	g := task.NewGroup(task.GroupConfig{Name: "outside", StopWait: shutdownTimeout + time.Second, Health: a.health, Log: a.log})
	g.Add(task.Func("heart", a.beat), task.Policy{})
	for _, c := range a.cfg.Readers {
		if r := a.readers[c.ID]; r != nil {
			g.Add(r, task.Policy{})
		}
	}
	g.Add(a.hive, task.Policy{})
	for _, l := range a.hive.Lines() {
		g.Add(l, task.Policy{})
	}
	for _, s := range a.servers {
		g.Add(s, task.Policy{})
	}
	g.Add(task.Func("verify", a.verify), task.Policy{Once: true})
	close(a.ready)
	return g.Run(ctx)
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
	if !a.doorsReady.Load() {
		return true
	}
	return time.Since(a.started)-time.Duration(a.lastPing.Load()) < beatLimit+2*beatEvery
}

// Drop is the emergency stop: the supervisor is gone. All doors drive their
// strikes safe at once. It returns when they have, or when limit is over; the
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
