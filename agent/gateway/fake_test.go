package gateway_test

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"gatehouse/agent/gateway"
	"gatehouse/agent/site"
	"gatehouse/agent/swordfish"
	"gatehouse/store"
	"gatehouse/store/storetest"
)

const (
	serial  = "0000000000000000A0B1000000000206"
	siteKey = "06fba5258a37eed076532ec47bccc2f7daa92edf5490f722234eec6f5ac7c467"
)

// fakeSite is doors that do what they are told.
type fakeSite struct {
	mu     sync.Mutex
	doors  map[site.DoorID]*gateway.Status
	orders []string
	refuse map[site.DoorID]error
}

func (s *fakeSite) Status(id site.DoorID) (gateway.Status, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d := s.doors[id]; d != nil {
		return *d, nil
	}
	return gateway.Status{}, fmt.Errorf("%w: %s is offline", gateway.ErrNotReady, id)
}

func (s *fakeSite) Command(_ context.Context, id site.DoorID, c gateway.Command) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.refuse[id]; err != nil {
		return err
	}
	s.orders = append(s.orders, fmt.Sprintf("%s %d %v", id, c.Op, c.For))
	d := s.doors[id]
	mode := map[gateway.Op]site.Mode{gateway.OpPassage: site.ModePassage, gateway.OpFreezeSecure: site.ModeFrozenSecured, gateway.OpFreezePassage: site.ModeFrozenPassage}
	d.Mode = mode[c.Op]
	d.Locked = !d.Mode.Unlocked() && c.Op != gateway.OpUnlock
	return nil
}

// fakeLog is a log in memory.
type fakeLog struct {
	mu     sync.Mutex
	events []site.Event
	first  int
	reads  int
	fail   error
}

func (l *fakeLog) add(e site.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e.Log, e.Seq = "5f3a9c01", site.EventSeq(len(l.events)+1)
	l.events = append(l.events, e)
}

func (l *fakeLog) Read(_ context.Context, from site.EventSeq, limit, _ int) ([]site.Event, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reads++
	if l.fail != nil {
		return nil, l.fail
	}
	at := min(max(int(from)-1, l.first), len(l.events))
	return append([]site.Event(nil), l.events[at:min(at+limit, len(l.events))]...), nil
}

func (l *fakeLog) First() site.EventSeq {
	l.mu.Lock()
	defer l.mu.Unlock()
	return site.EventSeq(l.first + 1)
}

func (l *fakeLog) Last() site.EventSeq {
	l.mu.Lock()
	defer l.mu.Unlock()
	return site.EventSeq(len(l.events))
}

// last is the event that was recorded last.
func (l *fakeLog) last() site.Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.events) == 0 {
		return site.Event{}
	}
	return l.events[len(l.events)-1]
}

// fakeKeeper keeps in memory.
type fakeKeeper struct {
	mu   sync.Mutex
	data []byte
	fail error
}

func (k *fakeKeeper) Load() ([]byte, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.data, k.fail
}

func (k *fakeKeeper) Save(b []byte) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.fail == nil {
		k.data = append([]byte(nil), b...)
	}
	return k.fail
}

// fakeLocks is a service of Wi-Fi locks that keeps what it is given.
type fakeLocks struct {
	gateway.NoLocks
	config map[site.DoorID]string
	down   *gateway.Download
}

func (*fakeLocks) Ready(site.DoorID) error { return nil }
func (*fakeLocks) Status(site.DoorID) (gateway.Status, error) {
	return gateway.Status{DoorStatus: site.DoorStatus{Locked: true}, State: "vendorState", Battery: "low"}, nil
}
func (*fakeLocks) Info(site.DoorID) gateway.LockInfo {
	return gateway.LockInfo{Signal: "High", Connected: true, MAC: "00:11:22:33:44:55", Main: 5.9, Li: 3.1}
}
func (l *fakeLocks) Download(site.DoorID) (gateway.Download, bool) {
	if l.down == nil {
		return gateway.Download{}, false
	}
	return *l.down, true
}
func (l *fakeLocks) PutConfig(_ context.Context, id site.DoorID, b []byte) error {
	l.config[id] = string(b)
	return nil
}
func (l *fakeLocks) DeleteConfig(_ context.Context, id site.DoorID) error {
	delete(l.config, id)
	return nil
}
func (*fakeLocks) Params(site.DoorID) ([]byte, error) { return []byte(`{"name":"Room 5"}`), nil }

// rig is a gateway over fakes and a real store.
type rig struct {
	*gateway.Gateway
	site  *fakeSite
	log   *fakeLog
	keep  *fakeKeeper
	store *store.Store
	cfg   gateway.Config
	deps  gateway.Deps
}

func berlin(t testing.TB) *time.Location {
	t.Helper()
	z, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func newRig(t testing.TB, change func(*gateway.Config, *gateway.Deps)) *rig {
	t.Helper()
	r := &rig{log: &fakeLog{}, keep: &fakeKeeper{}, site: &fakeSite{refuse: map[site.DoorID]error{}, doors: map[site.DoorID]*gateway.Status{
		"front": {DoorStatus: site.DoorStatus{ID: "front", Locked: true}, Tamper: true, MagTamper: true},
		"vault": {DoorStatus: site.DoorStatus{ID: "vault", Locked: true}}}}}
	r.store, _ = storetest.New(t)
	key, err := hex.DecodeString(siteKey)
	if err != nil {
		t.Fatal(err)
	}
	cards, err := swordfish.NewCards(key)
	if err != nil {
		t.Fatal(err)
	}
	r.cfg = gateway.Config{Serial: serial, Name: "Warehouse 7", Version: "1.0", Zone: berlin(t), Devices: []gateway.Device{
		{Door: "front", Name: "Front door"},
		{Door: "vault", Name: "Vault", Kind: gateway.KindSerial, Serial: "0000000000000000A100000000003FA7", Model: "nde"},
		{Door: "room5", Name: "Room 5", Kind: gateway.KindWiFi, Serial: "0000000000000000a100000000002479", Model: "nde"}}}
	now := time.Date(2017, 11, 20, 9, 47, 17, 0, time.UTC)
	r.deps = gateway.Deps{Site: r.site, Log: r.log, Keep: r.keep, Record: r.log.add, Cards: cards,
		Store: func() (*store.Store, error) { return r.store, nil },
		Clock: func() site.Clock { return site.Clock{Now: now, Trusted: true} }}
	if change != nil {
		change(&r.cfg, &r.deps)
	}
	r.restart(t)
	return r
}

// restart makes the gateway anew over what was kept.
func (r *rig) restart(t testing.TB) {
	t.Helper()
	g, err := gateway.New(r.cfg, r.deps)
	if err != nil {
		t.Fatal(err)
	}
	r.Gateway = g
}

// start runs the gateway until the test ends or stop is called.
func (r *rig) start(t testing.TB) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	<-r.Ready()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func (r *rig) want(t testing.TB, method, path, body string, status int, answer string) {
	t.Helper()
	got, text := r.Serve(t.Context(), method, path, body)
	if got != status || string(text) != answer {
		t.Errorf("%s %s %.80s:\n got %d %s\nwant %d %s", method, path, body, got, text, status, answer)
	}
}

var errDisk = errors.New("disk full")
