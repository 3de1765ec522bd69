package area_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"gatehouse/agent/door/area"
	"gatehouse/agent/site"
)

// world is an owner, its model, and what is on disk of it.
type world struct {
	t     *testing.T
	r     *rand.Rand
	c     area.Config
	o     *area.Owner
	n     *naive
	now   time.Time
	moves []area.Move

	disk  []byte // the last snapshot
	log   []byte // the events since then, one JSON object a line
	wrong map[string][]time.Time
	until map[string]time.Time
}

var (
	modelHolders = []site.HolderID{"", "h1", "h2", "h3", "h4", "h5", "h6", "h7", "h8", "h9"}
	modelDoors   = []site.DoorID{"a", "b", "c", "d", "e"}
	modelAreas   = []site.AreaID{"", "lab", "yard", "vault", "hall", "attic"} // the settings have no attic
	modelKeys    = []string{"c1", "c2", "r1"}
)

func pick[T any](r *rand.Rand, s []T) T { return s[r.IntN(len(s))] }

// newWorld makes one with random settings.
func newWorld(t *testing.T, r *rand.Rand) *world {
	w := &world{t: t, r: r, now: noon}
	for _, id := range modelAreas[1:5] {
		a := area.Area{ID: id, Occupancy: r.IntN(4), Passback: area.Passback(r.IntN(4)), Forget: time.Duration(r.IntN(3)) * 20 * time.Second}
		if a.Passback == area.Timed {
			a.Forget = 10 * time.Second
		} else if a.Passback != area.None {
			a.Exit = pick(r, []area.Passback{area.None, area.Soft, area.Hard})
		}
		w.c.Areas = append(w.c.Areas, a)
	}
	w.c.Interlocks = []area.Interlock{{Doors: modelDoors[:2]}, {Doors: modelDoors[1:4]}}
	w.c.PIN = area.Lockout{Tries: 1 + r.IntN(4), Within: 30 * time.Second, For: 20 * time.Second}
	w.o, w.n = mustNew(t, w.c), newNaive(w.c)
	w.save()
	return w
}

func (w *world) save() {
	data, err := json.Marshal(w.o.Snapshot())
	if err != nil {
		w.t.Fatal(err)
	}
	w.disk, w.log = data, nil
	w.wrong, w.until = maps.Clone(w.n.wrong), maps.Clone(w.n.until)
}

func (w *world) append(ev site.Event) {
	data, err := json.Marshal(ev)
	if err != nil {
		w.t.Fatal(err)
	}
	w.log = append(append(w.log, data...), '\n')
}

// restart makes the owner anew from what is on disk. People must be where they
// were; lock-outs are as they were saved; grants and interlocks are gone.
func (w *world) restart() {
	before := w.o.Snapshot().Present
	o := mustNew(w.t, w.c)
	if err := o.Restore(fromJSON(w.t, string(w.disk))); err != nil {
		w.t.Fatal(err)
	}
	for line := range bytes.Lines(w.log) {
		var ev site.Event
		if err := json.Unmarshal(line, &ev); err != nil {
			w.t.Fatal(err)
		}
		o.Fold(ev)
	}
	if diff := gocmp.Diff(before, o.Snapshot().Present); diff != "" {
		w.t.Fatalf("after a restart (-before +after):\n%s", diff)
	}
	w.o = o
	w.n.reserved, w.n.insecure = nil, map[site.DoorID]bool{}
	w.n.wrong, w.n.until = maps.Clone(w.wrong), maps.Clone(w.until)
}

// move makes a random one, often one that was made before.
func (w *world) move() area.Move {
	if len(w.moves) > 0 && w.r.IntN(2) == 0 {
		return pick(w.r, w.moves)
	}
	m := way(pick(w.r, modelHolders), pick(w.r, modelDoors), pick(w.r, modelAreas), pick(w.r, modelAreas))
	if w.moves = append(w.moves, m); len(w.moves) > 8 {
		w.moves = w.moves[1:]
	}
	return m
}

// step does one random thing to both and returns what it was and their answers.
func (w *world) step() (what string, got, want any) {
	m, d, key, now := w.move(), pick(w.r, modelDoors), pick(w.r, modelKeys), w.now
	switch n := w.r.IntN(100); {
	case n < 12:
		return fmt.Sprint("ask ", m), w.o.Ask(m, now), w.n.ask(m, now)
	case n < 35:
		return fmt.Sprint("reserve ", m), w.o.Reserve(m, now), w.n.reserve(m, now)
	case n < 58:
		changed := w.o.Enter(m, now)
		if changed {
			w.append(m.Event(now))
		}
		return fmt.Sprint("enter ", m), changed, w.n.enter(m, now)
	case n < 64:
		w.o.Cancel(m)
		w.n.cancel(m)
		return fmt.Sprint("cancel ", m), nil, nil
	case n < 66:
		before := len(w.n.reserved)
		w.n.reserved = slices.DeleteFunc(w.n.reserved, func(r area.Move) bool { return r.Door == d })
		return "cancel door", w.o.CancelDoor(d), before - len(w.n.reserved)
	case n < 69:
		return w.forgive(m)
	case n < 74:
		return "acquire", w.o.Acquire(d), w.n.acquire(d)
	case n < 76:
		w.o.Force(d)
		w.n.insecure[d] = len(w.n.peers(d)) > 0
		return "force", nil, nil
	case n < 78:
		return "free", w.o.Free(d), w.n.insecure[d] || len(w.n.blockers(d)) == 0
	case n < 83:
		return w.release(d)
	case n < 85:
		return "blockers", w.o.Blockers(d), w.n.blockers(d)
	case n < 90:
		locked, _ := w.o.Wrong(key, now)
		return "wrong " + key, locked, w.n.wrongPIN(key, now)
	case n < 92:
		w.o.Right(key)
		if w.n.until[key].IsZero() {
			delete(w.n.wrong, key)
		}
		return "right " + key, nil, nil
	case n < 95:
		return "locked " + key, w.o.LockedOut(key, now), w.n.locked(key, now)
	case n < 98:
		w.save()
		return "snapshot", nil, nil
	}
	w.restart()
	return "restart", nil, nil
}

func (w *world) forgive(m area.Move) (what string, got, want any) {
	if w.r.IntN(2) == 0 {
		w.append(area.Forgiveness("", m.From, w.now))
		return fmt.Sprint("forgive all in ", m.From), w.o.ForgiveAll(m.From), w.n.forgive("", m.From)
	}
	if m.Holder == "" {
		return "", nil, nil
	}
	w.append(area.Forgiveness(m.Holder, "", w.now))
	return fmt.Sprint("forgive ", m.Holder), w.o.Forgive(m.Holder), w.n.forgive(m.Holder, "") > 0
}

func (w *world) release(d site.DoorID) (what string, got, want any) {
	var peers []site.DoorID
	if w.n.insecure[d] {
		peers = w.n.peers(d)
	}
	w.n.insecure[d] = false
	return "release", w.o.Release(d), peers
}

// look compares all that can be asked without a change.
func (w *world) look() (diff string) {
	var want []area.Status
	for _, a := range w.c.Areas {
		inside, coming := w.n.taken(a.ID, w.now)
		want = append(want, area.Status{ID: a.ID, Count: len(inside), Reserved: len(coming), Limit: a.Occupancy, Passback: a.Passback})
		var there []area.Presence
		for h := range inside {
			there = append(there, w.n.people[h])
		}
		slices.SortFunc(there, func(a, b area.Presence) int { return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.Holder, b.Holder)) })
		diff += gocmp.Diff(there, w.o.Occupants(a.ID, w.now))
	}
	diff += gocmp.Diff(want, w.o.Areas(w.now))
	for _, h := range modelHolders {
		at, ok := w.n.where(h, w.now)
		if gotAt, _, gotOK := w.o.Where(h, w.now); gotAt != at || gotOK != ok {
			diff += fmt.Sprintf("%s is at %q (%v), want %q (%v)\n", h, gotAt, gotOK, at, ok)
		}
	}
	return diff
}

// seeded returns a source of chance whose seed is printed; GATEHOUSE_SEED
// repeats a run.
func seeded(t *testing.T) *rand.Rand {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("GATEHOUSE_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("GATEHOUSE_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 3))
}

// TestModel compares the owner with the naive one after each of many random
// steps: 20,000, or 1,000,000 with GATEHOUSE_FAULTS=full.
func TestModel(t *testing.T) {
	r := seeded(t)
	steps := 20_000
	if os.Getenv("GATEHOUSE_FAULTS") == "full" {
		steps = 1_000_000
	}
	const each = 500 // steps in one world
	for i := 0; i < steps; {
		w := newWorld(t, r)
		for range each {
			w.now = w.now.Add(time.Duration(r.IntN(3000)) * time.Millisecond)
			if r.IntN(200) == 0 {
				w.now = w.now.Add(-time.Duration(r.IntN(60)) * time.Second) // somebody sets the clock
			}
			what, got, want := w.step()
			diff := gocmp.Diff(want, got)
			if i%16 == 0 && diff == "" {
				diff = w.look()
			}
			if diff != "" {
				t.Fatalf("step %d, %s, under %+v (-want +got):\n%s", i, what, w.c, diff)
			}
			i++
		}
	}
}
