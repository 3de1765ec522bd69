package lock_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse/agent/card"
	"gatehouse/agent/site"
	"gatehouse/agent/swordfish"
	"gatehouse/agent/swordfish/link"
	"gatehouse/store"
	"gatehouse/tools/sitesim/lock"
)

// world is one site with its locks, which lives through changes and faults.
type world struct {
	t      *testing.T
	r      *rand.Rand
	zone   *time.Location
	time   atomic.Pointer[time.Time] // the event log's writer asks it beside the test
	auth   link.Auth
	root   string
	copies int
	agent  *agent
	locks  []policyLock
	cards  []policyCard

	revoked map[card.Block]bool // by the operator, and not enrolled anew
	steps   []string            // what was done last
	seen    map[string]int
}

// policyLock is a lock and what the test knows of it.
type policyLock struct {
	door    site.DoorID
	device  site.DeviceName // on a serial line; else it calls over HTTP
	profile swordfish.Profile
	sim     *lock.Lock
	caller  *faultyCaller
	users   map[int]uint16 // usrIDs that the IP host gave, by the number of the card
	saved   map[string][]byte
	strayed bool            // its files were set back or damaged since it last called
	audits  []string        // all that it wrote, as event and time
	again   map[string]bool // those that came once more, later
}

// policyCard is a card; several may have one block.
type policyCard struct {
	bits  card.Bits
	block card.Block
}

func pick[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

// lengths of the cards; the two of 24 and 32 bits have one block.
var lengths = []int{26, 26, 26, 26, 26, 37, 37, 56, 128, 24, 32}

// newWorld makes a site whose clocks change soon or whose year ends.
func newWorld(t *testing.T, r *rand.Rand) *world {
	t.Helper()
	w := &world{t: t, r: r, root: t.TempDir(), auth: link.AuthNone, revoked: map[card.Block]bool{}, seen: map[string]int{}}
	var err error
	if w.zone, err = time.LoadLocation(pick(r, "Europe/Berlin", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Havana", "UTC")); err != nil {
		t.Fatal(err)
	}
	base := pick(r, time.Date(2026, 10, 22, 9, 0, 0, 0, time.UTC), time.Date(2026, 3, 25, 1, 0, 0, 0, time.UTC), time.Date(2026, 12, 22, 3, 0, 0, 0, time.UTC),
		time.Date(2026, 3, 5, 3, 0, 0, 0, time.UTC), time.Date(2026, 10, 29, 3, 0, 0, 0, time.UTC))
	w.set(base.Add(time.Duration(r.IntN(3*24*3600)) * time.Second))
	for i, n := range lengths {
		data := make([]byte, (n+7)/8)
		data[0], data[1], data[2] = 0x5A, byte(i), 0x40
		if n == 24 || n == 32 {
			data[1] = 0xEE
		}
		if n == 32 {
			data[3] = 0xFF
		}
		b, err := card.NewBits(n, data)
		if err != nil {
			t.Fatal(err)
		}
		block, err := b.Block()
		if err != nil {
			t.Fatal(err)
		}
		w.cards = append(w.cards, policyCard{b, block})
	}
	w.addLocks()
	w.agent = startAgent(t, w, filepath.Join(w.root, "0"))
	t.Cleanup(func() {
		if err := w.agent.end(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// addLocks makes three locks: a plain one, one whose firmware takes one schedule for
// a user, and one on a serial line that takes few users and schedules and no
// holidays.
func (w *world) addLocks() {
	for i, model := range []string{"nde", "le", "control"} {
		l := policyLock{door: site.DoorID(fmt.Sprint("lock", i)), users: map[int]uint16{}, again: map[string]bool{}}
		l.profile, _ = swordfish.ProfileOf(model)
		cfg := lock.Config{Serial: fmt.Sprintf("0000000000000000A0B100000000%04X", i+1), SiteKey: unhex(w.t, siteKeyHex), Model: model, Zone: w.zone}
		switch i {
		case 1:
			l.profile.SoleSchedule, l.profile.DayEnd = true, 1440
			cfg.SoleSchedule, cfg.DayEnd = true, 1440
		case 2:
			l.device = "shed"
			l.profile.Users, l.profile.Schedules, l.profile.Holidays = 5, 5, false
			cfg.NoHolidays = true
		}
		l.sim = lock.New(cfg)
		l.sim.NumberAudits(w.r.IntN(2) == 0)
		l.caller = &faultyCaller{w: w, i: i}
		w.locks = append(w.locks, l)
	}
}

// now is the world's time.
func (w *world) now() time.Time { return *w.time.Load() }

// set makes it at.
func (w *world) set(at time.Time) { w.time.Store(&at) }

func (w *world) clock() (time.Time, bool) { return w.now(), true }

func (w *world) lock(door site.DoorID) *policyLock {
	for i := range w.locks {
		if w.locks[i].door == door {
			return &w.locks[i]
		}
	}
	w.t.Fatalf("no lock %s", door)
	return nil
}

// step notes what is done, for whoever has to read of a failure.
func (w *world) step(format string, args ...any) {
	w.steps = append(w.steps, w.now().In(w.zone).Format("Mon 2006-01-02 15:04:05 MST ")+fmt.Sprintf(format, args...))
	if len(w.steps) > 60 {
		w.steps = slices.Delete(w.steps, 0, 20)
	}
}

// fail ends the world with what it is like.
func (w *world) fail(l *policyLock, format string, args ...any) {
	w.t.Helper()
	text := fmt.Sprintf(format, args...) + "\n"
	p := w.agent.store.Snapshot()
	if l != nil {
		text += fmt.Sprintf("lock %s of model %s, next call %s, version %s\n", l.door, l.profile.Model, l.sim.NextCall().In(w.zone), l.sim.Version())
		for _, f := range p.Files {
			if f.Door == l.door {
				text += fmt.Sprintf("host: schedules %v holidays %v\n", f.Schedules, f.Holidays)
			}
		}
		if table := w.agent.tables[l.door]; table != nil {
			text += fmt.Sprintf("table: slots %v holidays %v next %v good %v losses %v\n", table.Schedules, table.Holidays, table.Next.In(w.zone), table.Good.In(w.zone), table.Losses)
		}
	}
	for _, s := range p.Schedules {
		text += fmt.Sprintf("schedule %s %s %v ignores %v\n", s.Source, s.ID, s.Intervals, s.IgnoreHolidays)
	}
	for _, v := range p.Levels {
		text += fmt.Sprintf("level %s %s %v\n", v.Source, v.ID, v.Rights)
	}
	for _, h := range p.Holidays {
		text += fmt.Sprintf("holiday %s %v to %v kind %d\n", h.ID, h.First, h.Last, h.Kind)
	}
	for _, s := range w.steps[max(0, len(w.steps)-25):] {
		text += s + "\n"
	}
	w.t.Fatal(text)
}

// tick lets a moment pass, so that no two audits are of one second.
func (w *world) tick() { w.set(w.now().Add(time.Duration(1+w.r.IntN(20)) * time.Second)) }

// pass lets time pass: to the night, over some nights, over a change of the clocks,
// and seldom back.
func (w *world) pass() {
	from := w.now()
	switch n := w.r.IntN(20); {
	case n < 10:
		w.set(w.now().Add(time.Duration(1+w.r.IntN(3*3600)) * time.Second))
	case n < 15:
		if next := w.locks[w.r.IntN(len(w.locks))].sim.NextCall(); next.After(w.now()) {
			w.set(next.Add(time.Duration(w.r.IntN(300)) * time.Second))
		}
	case n < 19:
		w.set(w.now().Add(time.Duration(w.r.IntN(4*24*3600)) * time.Second))
	default:
		if w.auth == link.AuthNone { // else tokens would go back
			w.set(w.now().Add(-time.Duration(w.r.IntN(40*60)) * time.Second))
		}
	}
	w.tick()
	w.step("time passed: %s", w.now().Sub(from))
}

// apply makes a change. One that is refused changes nothing, and is none.
func (w *world) apply(src site.Source, what string, ops ...store.Op) bool {
	_, err := w.agent.store.Apply(w.t.Context(), "test", store.Change{Source: src, Ops: ops})
	if err != nil {
		if !isRefused(err) {
			w.fail(nil, "%s %s: %v", src, what, err)
		}
		w.seen["refused"]++
		return false
	}
	w.seen["changes"]++
	w.step("%s %s", src, what)
	return true
}

// save keeps a lock's files of this moment, to be set back to.
func (w *world) save(l *policyLock) {
	l.saved = map[string][]byte{}
	for _, name := range lockFiles {
		if b, err := os.ReadFile(filepath.Join(w.agent.dir, "locks", string(l.door)+name)); err == nil {
			l.saved[name] = b
		}
	}
}

// lockFiles are what a lock's files end in.
var lockFiles = []string{".lock", ".table", ".config", ".pending"}
