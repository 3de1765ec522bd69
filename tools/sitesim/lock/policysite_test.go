package lock_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"gatehouse/agent/access"
	"gatehouse/agent/card"
	"gatehouse/agent/site"
	"gatehouse/agent/swordfish"
	"gatehouse/agent/swordfish/link"
	"gatehouse/store"
	"gatehouse/store/spool"
)

// agent is what of an agent has to do with locks, on one folder: event log, store,
// and the device server, joined as agent/app joins them.
type agent struct {
	w      *world
	dir    string
	log    *spool.Log
	store  *store.Store
	server *link.Server
	end    func() error

	tables map[site.DoorID]*swordfish.Table // the last that was made of each lock
	hook   func(where string)               // called at the places where the power may fail
}

// startAgent opens what dir holds.
func startAgent(t testing.TB, w *world, dir string) *agent {
	t.Helper()
	a := &agent{w: w, dir: dir, tables: map[site.DoorID]*swordfish.Table{}, hook: func(string) {}}
	log, rep, err := spool.Open(spool.Config{Dir: filepath.Join(dir, "spool"), Budget: 32 << 20}, spool.Options{Clock: w.clock, Quarantine: filepath.Join(dir, "quarantine")})
	if err != nil {
		t.Fatal(err)
	}
	if rep.NewLog && !rep.Fresh {
		t.Fatalf("a new log: %+v", rep)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- log.Run(ctx) }()
	a.log = log
	a.end = func() error {
		err := a.store.Close()
		cancel()
		return errors.Join(err, <-done, log.Close())
	}
	cfg := store.Config{Dir: filepath.Join(dir, "store")}
	for i := range w.locks {
		cfg.Locks = append(cfg.Locks, store.LockLimit{Door: w.locks[i].door, Profile: &w.locks[i].profile})
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	st, srep, err := store.Open(cfg, storeLog{log}, store.Options{Clock: w.clock, Now: w.now})
	if err != nil {
		t.Fatal(err)
	}
	if srep.Damaged() {
		t.Fatalf("the store: %+v", srep)
	}
	a.store = st
	a.listen(t)
	return a
}

// listen opens the device server, or opens it anew.
func (a *agent) listen(t testing.TB) {
	t.Helper()
	w := a.w
	cfg := link.Config{Zone: w.zone, Dir: filepath.Join(a.dir, "locks"), SiteKey: link.SiteKey(unhex(t, siteKeyHex)), Auth: w.auth}
	for i := range w.locks {
		l := &w.locks[i]
		cfg.Locks = append(cfg.Locks, link.Lock{ID: l.door, Serial: l.sim.Serial(), Profile: l.profile, Device: l.device})
	}
	var err error
	a.server, err = link.New(cfg, link.Deps{
		Tables: a, Cards: sealer{a.store}, Events: events{a},
		Clock: func() site.Clock { return site.Clock{Now: w.now(), Trusted: true} },
	})
	if err != nil {
		t.Fatal(err)
	}
}

// copyTo copies the folder as it is at this moment.
func (a *agent) copyTo(t testing.TB, dir string) {
	t.Helper()
	if err := os.CopyFS(dir, os.DirFS(a.dir)); err != nil {
		t.Fatal(err)
	}
}

// Version is the number of the last change.
func (a *agent) Version() uint64 { return a.store.Snapshot().Version }

// policy compiles what rights refer to.
func (a *agent) policy() *access.Policy {
	p := a.store.Snapshot()
	return access.Compile(a.w.zone, p.Schedules, p.Levels, p.Holidays)
}

// Table makes the table of a lock.
func (a *agent) Table(ctx context.Context, door site.DoorID) (swordfish.Table, error) {
	a.hook("table")
	src := swordfish.Source{Profile: &a.w.lock(door).profile, Door: door, Now: a.w.now(), Zone: a.w.zone, Policy: a.policy()}
	for _, f := range a.store.Snapshot().Files {
		if f.Door == door {
			src.Host = &swordfish.HostLists{Schedules: f.Schedules, Holidays: f.Holidays, Auto: f.Auto}
		}
	}
	c := swordfish.NewCompiler(src)
	err := a.store.CardsAt(ctx, []site.DoorID{door}, func(_ site.DoorID, block card.Block, records []site.Credential) error {
		c.Add(block, records)
		return nil
	})
	if err != nil {
		return swordfish.Table{}, err
	}
	t := c.Table()
	a.tables[door] = &t
	return t, nil
}

// sealer is the store as the server needs it.
type sealer struct{ *store.Store }

func (s sealer) Open(sealed [16]byte) card.Block { return s.OpenBlock(sealed) }

// events is the log as the server needs it.
type events struct{ a *agent }

func (e events) Append(ev site.Event) { e.a.log.Append(ev) }

func (e events) Keep(ctx context.Context, evs []site.Event) (last site.EventSeq, err error) {
	e.a.hook("before events")
	var waits []*spool.Receipt
	for _, ev := range evs {
		waits = append(waits, e.a.log.Append(ev))
	}
	for _, r := range waits {
		if last, err = r.Wait(ctx); err != nil {
			return last, err
		}
	}
	e.a.hook("events")
	return last, nil
}

func (e events) Scan(ctx context.Context, after site.EventSeq, fn func(site.Event) error) error {
	return storeLog{e.a.log}.Scan(ctx, max(after+1, e.a.log.First()), fn)
}

func (e events) Last() site.EventSeq { return e.a.log.Last() }

// storeLog is the log as the store needs it.
type storeLog struct{ *spool.Log }

func (l storeLog) Append(ctx context.Context, e site.Event) (site.EventSeq, error) {
	return l.Log.Append(e).Wait(ctx)
}

func (l storeLog) Scan(ctx context.Context, from site.EventSeq, fn func(site.Event) error) error {
	var failed error
	err := l.Log.Scan(ctx, from, l.Last(), func(e site.Event) bool {
		failed = fn(e)
		return failed == nil
	})
	return errors.Join(failed, err)
}

// audits returns what the log has of a lock, each as code, data and time.
func (a *agent) audits(t testing.TB, door site.DoorID) (out []string) {
	t.Helper()
	err := storeLog{a.log}.Scan(t.Context(), a.log.First(), func(e site.Event) error {
		if e.Kind == site.KindLockAudit && e.Door == door {
			out = append(out, fmt.Sprintf("%s%s at %s", e.Code, e.Data, e.LockTime))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
