package app

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/agent/config"
	"gatehouse/agent/control"
	"gatehouse/agent/gateway"
	"gatehouse/agent/hive"
	"gatehouse/agent/hive/link"
	"gatehouse/agent/reader"
	"gatehouse/agent/site"
	"gatehouse/hal/haltest"
	"gatehouse/store"
	"gatehouse/store/spool"
)

// wiredLock is a lock on a line: it takes commands while it is not away.
type wiredLock struct {
	key []byte
	out io.Writer

	mu     sync.Mutex // guards the following
	away   bool
	refuse bool
	got    []string // what it did since it was asked last
}

// hear takes a line.
func (w *wiredLock) hear(line []byte) {
	env, err := hive.ParseRequest(line)
	if err != nil || !hive.Verify(w.key, env.Data, env.Checksum) {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.away {
		return
	}
	op, _ := env.Data.Get("operation").Text()
	answer := `"response":true`
	switch {
	case op == "poll":
		answer = `"operation":"idle"`
	case w.refuse:
		answer = `"response":false,"error":"dogged"`
	case op == "mode":
		mode, _ := env.Data.Get("mode").Text()
		w.got = append(w.got, mode)
	default:
		w.got = append(w.got, op)
	}
	v, err := hive.Parse([]byte(`{"random_response":` + env.Data.Get("random").Raw() + `,` + answer + `}`))
	if err != nil {
		panic(err)
	}
	_, _ = w.out.Write(append(hive.Encode(w.key, "vault", v), '\n'))
}

// run hears what comes until the line ends.
func (w *wiredLock) run(from io.Reader) {
	var held []byte
	for buf := make([]byte, 4096); ; {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		held = append(held, buf[:n]...)
		for {
			line, rest, ok := bytes.Cut(held, []byte{'\n'})
			if !ok {
				break
			}
			w.hear(line)
			held = rest
		}
	}
}

// set changes the lock under its lock.
func (w *wiredLock) set(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

// goes lets the lock go away, or come back.
func (w *wiredLock) goes(away bool) {
	w.set(func() { w.away = away })
	time.Sleep(20 * time.Second) // it is offline, or is back and has what waited
}

func (w *wiredLock) did() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	got := w.got
	w.got = nil
	return got
}

// lineCounter goes on over restarts.
type lineCounter struct{ n uint64 }

func (c *lineCounter) NextCounter(site.DeviceName) (uint64, error) { c.n++; return c.n, nil }

// lockSite is what an agent has for the lock vault on a line.
type lockSite struct {
	t     *testing.T
	dir   string
	lock  *wiredLock
	line  *haltest.Device
	ports *haltest.Ports
	count *lineCounter

	a    *App
	g    *gateway.Gateway
	stop func()
}

func newLockSite(t *testing.T) *lockSite {
	s := &lockSite{t: t, dir: t.TempDir(), ports: &haltest.Ports{}, count: &lineCounter{}}
	s.line = s.ports.Add("line")
	s.lock = &wiredLock{key: []byte("test key of vault only"), out: s.line}
	go s.lock.run(s.line)
	t.Cleanup(s.line.Unplug)
	s.start()
	return s
}

// start makes the parts anew over what is on the disk.
func (s *lockSite) start() {
	s.t.Helper()
	events, _, err := spool.Open(spool.Config{Dir: filepath.Join(s.dir, "events"), Budget: spool.MinBudget}, spool.Options{})
	if err != nil {
		s.t.Fatal(err)
	}
	clock := func() site.Clock { return site.Clock{Now: time.Now(), Trusted: true} }
	cfg := &config.Config{StateDir: s.dir, Locks: []config.Lock{{ID: "vault", Serial: &reader.SerialConfig{Port: "line", Baud: 115200, Device: "vault"}}}}
	s.a = &App{cfg: cfg, log: slog.New(slog.DiscardHandler), spool: events, sink: &eventSink{log: events, clock: clock},
		clock: &clockWatch{hw: &haltest.Clock{}, keep: noTime{}}}
	s.a.hive, err = link.New(link.Config{
		Devices: []link.DeviceConfig{{Name: "vault", Key: s.lock.key, Versions: link.Version2}},
		Lines:   []link.LineConfig{{Port: "line", Baud: 115200, Poll: true, Devices: []link.LineDevice{{Device: "vault", Door: "vault"}}}},
	}, link.Deps{Access: hiveAccess{}, Nonces: hiveNonces{}, Vend: hiveVend{}, Events: s.a.sink, Counters: s.count, Ports: s.ports, Clock: clock})
	if err != nil {
		s.t.Fatal(err)
	}
	s.a.lines = s.a.newLockLines()
	s.g, err = gateway.New(gateway.Config{Serial: strings.Repeat("0", 32), Devices: []gateway.Device{{Door: "vault", Kind: gateway.KindSerial}}}, gateway.Deps{
		Site: gatewaySite{s.a}, Log: events, Keep: smallFile(filepath.Join(s.dir, "gateway.json")), Record: s.a.sink.Append, Clock: clock,
		Store: func() (*store.Store, error) { return nil, errNoStore }})
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var work sync.WaitGroup
	for _, run := range []func(context.Context) error{events.Run, s.a.hive.Lines()[0].Run, s.a.lines.runEnds} {
		work.Go(func() {
			if err := run(ctx); err != nil && !errors.Is(err, context.Canceled) {
				s.t.Error(err)
			}
		})
	}
	s.stop = sync.OnceFunc(func() { cancel(); work.Wait(); _ = events.Close() })
	s.t.Cleanup(s.stop)
	time.Sleep(2 * time.Second)
}

// restart is a new start of the agent.
func (s *lockSite) restart() { s.stop(); s.start() }

// host orders a state as the IP host does.
func (s *lockSite) host(state string, want int, text string) {
	s.t.Helper()
	status, body := s.g.Serve(s.t.Context(), "PUT", "/edgeDevices/dev00000/lockControl", `{"lockControl":{"lockState":{"nextLockState":"`+state+`"}}}`)
	if status != want || !strings.Contains(string(body), text) {
		s.t.Errorf("%s: %d %s, want %d %s", state, status, body, want, text)
	}
}

// kept orders a state of the lock that is away.
func (s *lockSite) kept(state string) {
	s.t.Helper()
	s.host(state, 202, `{"statusMessage":"Command cached"}`)
}

func (s *lockSite) did(want ...string) {
	s.t.Helper()
	if d := cmp.Diff(want, s.lock.did()); d != "" {
		s.t.Errorf("what the lock did (-want +got):\n%s", d)
	}
}

// orders returns the lock's commands and modes in the log.
func (s *lockSite) orders() (out []string) {
	s.t.Helper()
	time.Sleep(2 * time.Second) // they are in the log
	err := s.a.spool.Scan(context.Background(), s.a.spool.First(), s.a.spool.Last(), func(ev site.Event) bool {
		if (ev.Kind == site.KindMode || ev.Kind == site.KindCommand) && ev.Door == "vault" {
			out = append(out, fmt.Sprintf("%s %q %q %s", ev.Kind, ev.Mode, ev.Text, ev.By))
		}
		return true
	})
	if err != nil {
		s.t.Error(err)
	}
	return out
}

// noTime keeps no trusted time.
type noTime struct{}

func (noTime) TrustedTime() time.Time    { return time.Time{} }
func (noTime) KeepTrustedTime(time.Time) {}

// lockTest is a test with a lock on a line.
func lockTest(name string, t *testing.T, f func(*testing.T, *lockSite)) {
	t.Run(name, func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newLockSite(t)
			f(t, s)
			s.stop()
			s.line.Unplug()
		})
	})
}

// TestLockCache: a mode that the IP host orders of a lock that is away is done when
// it is back, once, the newest one, unless somebody ordered something since.
func TestLockCache(t *testing.T) {
	lockTest("over a restart, with the event as if it came then", t, func(t *testing.T, s *lockSite) {
		s.host("passage", 200, "")
		s.did("passage")
		s.lock.goes(true)
		s.kept("secure")
		s.kept("frozenSecure")
		s.restart()
		s.did()
		s.lock.goes(false)
		s.did("frozen_secured")
		if d := cmp.Diff([]string{`command "passage" "mode" iphost`, `mode "passage" "" iphost`,
			`command "frozen_secured" "mode" iphost`, `mode "frozen_secured" "" iphost`}, s.orders()); d != "" {
			t.Errorf("events (-want +got):\n%s", d)
		}
		s.restart()
		time.Sleep(time.Minute)
		s.did()
	})
	lockTest("of a lock that has just gone", t, func(t *testing.T, s *lockSite) {
		s.lock.set(func() { s.lock.away = true })
		s.kept("passage") // no answer: it is not offline yet
		s.lock.goes(false)
		s.did("passage")
	})
	lockTest("a momentary unlock is never kept, and leaves what is", t, func(t *testing.T, s *lockSite) {
		s.lock.goes(true)
		s.host("momentaryUnlock", 503, "offline")
		s.restart()
		s.lock.goes(false)
		s.did()
		s.lock.goes(true)
		s.kept("frozenPassage")
		s.host("momentaryUnlock", 503, "offline")
		s.lock.goes(false)
		s.did("frozen_passage")
	})
}

// TestLockCacheDropped: what somebody orders later comes in place of what waits, also
// where the lock does not do it.
func TestLockCacheDropped(t *testing.T) {
	cli := func(s *lockSite) siteDoors { return siteDoors{&doorSet{}, s.a.lines} }
	for name, order := range map[string]func(s *lockSite) error{
		"mode": func(s *lockSite) error {
			return cli(s).SetMode(s.t.Context(), "vault", site.ModeSecured, time.Time{}, "cli")
		},
		"lock": func(s *lockSite) error { return cli(s).LockDoor(s.t.Context(), "vault", "cli") },
		"lockdown": func(s *lockSite) error {
			_, err := cli(s).Lockdown(s.t.Context(), control.Target{All: true}, time.Time{}, "cli")
			return err
		},
	} {
		lockTest("an operator's "+name+" is refused and drops it", t, func(t *testing.T, s *lockSite) {
			s.lock.goes(true)
			s.kept("passage")
			if err := order(s); !errors.Is(err, control.ErrNotReady) {
				t.Errorf("while it is away: %v", err)
			}
			s.restart()
			s.lock.goes(false)
			s.did()
		})
	}
	lockTest("a lockdown of the panic button is not undone", t, func(t *testing.T, s *lockSite) {
		s.lock.goes(true)
		s.kept("passage")
		s.lock.set(func() { s.lock.away = false })
		for done := false; !done; { // it is heard again before it is tried again
			s.a.lines.lockdown(s.t.Context(), byPanic, s.a.log)
			time.Sleep(10 * time.Millisecond)
			s.lock.set(func() { done = len(s.lock.got) > 0 })
		}
		time.Sleep(time.Minute)
		s.did("lockdown")
	})
	lockTest("an order that is wrong in itself drops nothing", t, func(t *testing.T, s *lockSite) {
		s.lock.goes(true)
		s.kept("passage")
		if err := cli(s).SetMode(s.t.Context(), "vault", site.ModeSecured, time.Now().Add(-time.Hour), "cli"); !errors.Is(err, control.ErrInput) {
			t.Error(err)
		}
		s.lock.goes(false)
		s.did("passage")
	})
	lockTest("what the lock refuses is not tried for ever", t, func(t *testing.T, s *lockSite) {
		s.lock.goes(true)
		s.kept("passage")
		s.lock.set(func() { s.lock.refuse = true })
		s.lock.goes(false)
		s.lock.set(func() { s.lock.refuse = false })
		time.Sleep(time.Minute)
		s.did()
		s.host("secure", 200, "")
		s.did("secured")
	})
	lockTest("it comes in place of the end of an earlier mode", t, func(t *testing.T, s *lockSite) {
		if err := cli(s).SetMode(s.t.Context(), "vault", site.ModePassage, time.Now().Add(time.Minute), "cli"); !errors.Is(err, control.ErrNotReady) {
			t.Errorf("without a store: %v", err) // the end is not kept, the mode holds
		}
		s.did("passage")
		s.lock.goes(true)
		s.kept("frozenSecure")
		time.Sleep(2 * time.Minute)
		s.lock.goes(false)
		s.did("frozen_secured")
	})
}

// TestLockCacheFile: a file that cannot be written is no promise and leaves nothing
// old behind; one that cannot be read, or has locks that are gone, is forgotten.
func TestLockCacheFile(t *testing.T) {
	dir := t.TempDir()
	file := smallFile(filepath.Join(dir, "state", "lockcommands.json"))
	log := slog.New(slog.DiscardHandler)
	open := func() *lockCache {
		return openLockCache(file, log, func(id site.DoorID) bool { return id == "vault" })
	}
	passage := site.DoorOverride{Mode: site.ModePassage, By: byHost}
	c := open()
	if err := errors.Join(c.put("vault", passage), c.put("gone", passage)); err != nil {
		t.Fatal(err)
	}
	c = open()
	if got := c.locks(); !slices.Equal(got, []site.DoorID{"vault"}) {
		t.Errorf("after a restart: %v", got)
	}
	if o, _ := c.get("vault"); o != passage {
		t.Errorf("after a restart: %+v", o)
	}
	if err := os.WriteFile(string(file), []byte(`{"vault":`), 0o600); err != nil {
		t.Fatal(err)
	}
	if c = open(); len(c.locks()) > 0 || c.write() != nil {
		t.Errorf("a damaged file: %v", c.locks())
	}
	if got, err := os.ReadFile(string(file)); err != nil || string(got) != "{}" {
		t.Errorf("the file is %q %v", got, err)
	}
	if list, err := os.ReadDir(filepath.Join(dir, "state", "quarantine")); err != nil || len(list) != 1 {
		t.Errorf("set aside: %v %v", list, err)
	}
	if err := os.WriteFile(string(file), []byte("null"), 0o600); err != nil {
		t.Fatal(err)
	}
	if c = open(); c.put("vault", passage) != nil || len(c.locks()) != 1 {
		t.Errorf("after null: %v", c.locks())
	}
	if err := errors.Join(os.RemoveAll(filepath.Dir(string(file))), os.WriteFile(filepath.Dir(string(file)), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := c.put("vault", passage); err == nil || len(c.locks()) > 0 {
		t.Errorf("a file that cannot be written: %v, %v", err, c.locks())
	}
	if err := os.Remove(filepath.Dir(string(file))); err != nil {
		t.Fatal(err)
	}
	if err := c.write(); err != nil || len(open().locks()) > 0 {
		t.Errorf("written later: %v", err)
	}
}
