package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/agent/card"
	"gatehouse/agent/hive/link"
	"gatehouse/agent/site"
	"gatehouse/agent/swordfish"
	"gatehouse/hal/serial"
	"gatehouse/tools/sitesim/lock"
)

// joint is a site behind the agent's own end of a serial line, in memory.
type joint struct {
	mu      sync.Mutex // guards following
	nonces  map[site.DeviceName][16]byte
	counter uint64
	audits  map[site.DeviceName]int
	due     bool
}

func (j *joint) Current(d site.DeviceName) ([16]byte, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	n, ok := j.nonces[d]
	if !ok {
		_, _ = rand.Read(n[:])
		j.nonces[d] = n
	}
	return n, nil
}

func (j *joint) Use(_ context.Context, d site.DeviceName, n [16]byte) ([16]byte, bool, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.nonces[d] != n {
		return j.nonces[d], false, nil
	}
	_, _ = rand.Read(n[:])
	j.nonces[d] = n
	return n, true, nil
}

func (*joint) SawVersion2(site.DeviceName) (bool, error) { return true, nil }

func (j *joint) NextCounter(site.DeviceName) (uint64, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.counter++
	return j.counter, nil
}

func (*joint) Access(_ context.Context, a link.Ask) (link.Answer, error) {
	return link.Answer{Granted: a.Door == "north", Reason: site.ReasonGranted}, nil
}

func (*joint) Vend(context.Context, link.VendAsk) (link.VendAnswer, error) {
	return link.VendAnswer{}, nil
}

func (*joint) Append(site.Event) {}

// dueNow says that each lock should call, until it has.
func (j *joint) dueNow(d site.DeviceName) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.due && d == "north"
}

// Call answers a lock with a file of 200 users, then with none.
func (j *joint) Call(_ context.Context, c link.Call) (int, []byte, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	switch route := c.Method + " " + strings.TrimPrefix(c.Path, "/swordfish/lock/"); {
	case route == "GET db/0":
		return http.StatusOK, []byte(fileOf(200)), nil
	case strings.HasPrefix(route, "GET db/"):
		j.due = false
		return http.StatusOK, []byte(none + end), nil
	case route == "POST audit":
		var up struct{ Audits []json.RawMessage }
		if err := json.Unmarshal(c.Body, &up); err != nil {
			return http.StatusBadRequest, nil, nil
		}
		j.audits[c.Device] += len(up.Audits)
		return http.StatusCreated, nil, nil
	case route == "GET certificates/current":
		return http.StatusNotFound, nil, nil
	}
	return http.StatusOK, nil, nil
}

// fileOf is a full file of n users, their cards sealed by the agent's codec.
func fileOf(n int) string {
	key, err := hex.DecodeString(siteKey)
	if err != nil {
		return err.Error()
	}
	cards, err := swordfish.NewCards(key)
	if err != nil {
		return err.Error()
	}
	var users []string
	for i := range n {
		b := card.Block{0x40, byte(i >> 8), byte(i), 0x80}
		copy(b[4:], bytes.Repeat([]byte{0xFF}, 12))
		users = append(users, fmt.Sprintf(`{"usrID":%d,"adaEn":0,"fnctn":"norm","crSch":[1],"primeCr":"%s","prCrTyp":"card","scndCr":"null","scndCrTyp":"null"}`, i+1, cards.Encrypt(b)))
	}
	const one = `"add":[`
	at := strings.Index(full, one) + len(one)
	return full[:at] + strings.Join(users, ",") + full[strings.Index(full, "]},"+week):] + end
}

func newJoint() *joint {
	return &joint{nonces: map[site.DeviceName][16]byte{}, audits: map[site.DeviceName]int{}}
}

// play hangs locks on a pseudo-terminal and the agent's line on its other end.
func (j *joint) play(t *testing.T, names ...string) (*player, *link.Server) {
	t.Helper()
	dir := t.TempDir()
	t.Cleanup(serveBoard(t, dir, &fakeBoard{levels: map[string]int{}}))
	w := &world{dir: dir, Board: "board.sock"}
	var cfg link.Config
	line := link.LineConfig{Port: filepath.Join(dir, "tty"), Baud: 921600, Poll: true}
	for i, name := range names {
		key := []byte("hive key of " + name)
		for file, text := range map[string]string{"key-" + name: "text:" + string(key), "sitekey": siteKey} {
			if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		w.Locks = append(w.Locks, lockDesc{ID: name, Serial: fmt.Sprintf("0000000000000000A0B10000000002%02d", i), SiteKeyFile: "sitekey",
			Device: name, KeyFile: "key-" + name, PTY: "tty"})
		cfg.Devices = append(cfg.Devices, link.DeviceConfig{Name: site.DeviceName(name), Key: key, Versions: link.Version2})
		line.Devices = append(line.Devices, link.LineDevice{Device: site.DeviceName(name), Door: site.DoorID(name)})
	}
	cfg.Lines = []link.LineConfig{line}
	p, err := newPlayer(w)
	if err != nil {
		t.Fatal(err)
	}
	s, err := link.New(cfg, link.Deps{Access: j, Nonces: j, Vend: j, Events: j, Swordfish: j, Ports: serial.Ports{}, Counters: j, Due: j.dueNow,
		Clock: func() site.Clock { return site.Clock{Now: time.Now(), Trusted: true} }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	wait := p.start(ctx)
	var work sync.WaitGroup
	for _, l := range s.Lines() {
		work.Go(func() { _ = l.Run(ctx) })
	}
	t.Cleanup(func() {
		cancel()
		work.Wait()
		p.Close()
		wait()
	})
	return p, s
}

// TestAgentsLine holds the locks against the agent's own serial end, whose codec
// is another's: long files and audits, orders, and being told to call.
func TestAgentsLine(t *testing.T) {
	for _, names := range [][]string{{"north"}, {"north", "south"}} {
		t.Run(fmt.Sprint(len(names), " on the line"), func(t *testing.T) {
			j := newJoint()
			p, s := j.play(t, names...)
			for range 120 {
				p.locks[0].lock.Present([16]byte{}, time.Now())
			}
			for i, l := range p.locks {
				said, err := l.call(t.Context())
				if err != nil || !strings.HasPrefix(said, "a full file of 200 users") {
					t.Fatalf("%s: %q, %v", names[i], said, err)
				}
			}
			if j.audits["north"] != 121 {
				t.Errorf("%d audits came", j.audits["north"])
			}
			j.order(t, s, p.locks[0].lock)
			j.mu.Lock()
			j.due = true
			j.mu.Unlock()
			deadline := time.Now().Add(20 * time.Second)
			for j.dueNow("north") && time.Now().Before(deadline) {
				_ = pause(t.Context(), 10*time.Millisecond)
			}
			if j.dueNow("north") {
				t.Error("a lock that was told to call did not")
			}
		})
	}
}

// order gives orders by the agent.
func (*joint) order(t *testing.T, s *link.Server, l *lock.Lock) {
	t.Helper()
	give := func(o link.Order) link.Report {
		t.Helper()
		var report link.Report
		var err error
		for range 20 { // a device that has not been heard of yet is offline
			if report, err = s.Order(t.Context(), "north", o); err == nil {
				return report
			}
			_ = pause(t.Context(), 50*time.Millisecond)
		}
		t.Error(err)
		return report
	}
	if r := give(link.Order{Op: link.OrderStatus}); !r.Locked || r.Battery != 6000 || r.Mode != site.ModeSecured || !r.ModeKnown {
		t.Errorf("status: %+v", r)
	}
	if r := give(link.Order{Op: link.OrderUnlock, For: 30 * time.Second}); r.Locked || l.Status(time.Now()).Locked {
		t.Errorf("unlock: %+v", r)
	}
	if r := give(link.Order{Op: link.OrderMode, Mode: site.ModeLockdown}); !r.Locked || l.State() != lock.Lockdown {
		t.Errorf("lockdown: %+v, %s", r, l.State())
	}
	if _, err := s.Order(t.Context(), "north", link.Order{Op: link.OrderUnlock, For: 30 * time.Second}); err == nil {
		t.Error("a lock in lockdown was unlocked")
	}
}
