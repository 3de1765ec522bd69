package app_test

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gatehouse/agent/site"
	"gatehouse/hal"
	"gatehouse/store"
)

// damageSite is a site with a history, in two forms: as an agent left it that
// was stopped in order, and as one left it that was killed.
type damageSite struct {
	stopped, killed string
	model           model
	events          []site.Event
	nonce           string // of the device shed, current at the end
}

const modelCards = 300

// newDamageSite enrols, copies (an import ends with a verified copy), changes,
// and leaves both forms of the state.
func newDamageSite(t *testing.T) *damageSite {
	t.Helper()
	s := newTestSite(t)
	s.configure(faultSettings)
	r := s.start()
	d := &damageSite{stopped: s.dir, killed: t.TempDir()}
	d.model = r.enrolModel(modelCards)
	if st := r.status(); st.Store.Copied.IsZero() {
		t.Fatal("an import was acknowledged without a verified copy")
	}
	r.fillLog()
	r.changeModel(d.model)
	d.nonce = r.hive("shed", hiveKey).fetchNonce()
	d.events = r.events("")
	copyState(t, s.dir, d.killed)
	r.stop()
	return d
}

// fillLog makes enough events for more than one file of the log.
func (r *running) fillLog() {
	r.t.Helper()
	kiosk := r.hive("kiosk", kioskKey)
	for i := range 40 {
		list := []any{}
		for j := range 10 {
			list = append(list, map[string]any{"absolute_timestamp": 1000 + j, "text": fmt.Sprintf("reading %d %s", i*10+j, strings.Repeat("·", 150))})
		}
		if got := kiosk.send(map[string]any{"operation": "log", "current_timestamp": 2000, "messages": list}); got["response"] != true {
			r.t.Fatalf("log refused: %v", got)
		}
	}
}

// damage is one way of spoiling a file.
type damage struct {
	name string
	do   func(rnd *rand.Rand, data []byte) []byte
}

func overwrite(places int) func(*rand.Rand, []byte) []byte {
	return func(rnd *rand.Rand, data []byte) []byte {
		for range places {
			at := rnd.IntN(len(data))
			if rnd.IntN(2) == 0 { // the pages in use are at the beginning
				at = rnd.IntN(min(len(data), 64<<10))
			}
			for i := at; i < min(at+1+rnd.IntN(32), len(data)); i++ {
				data[i] ^= byte(1 + rnd.IntN(255))
			}
		}
		return finished(data)
	}
}

// finished gives data an end that is not zero: a log that ends in a zero byte ends in
// an unfinished write, not in damage (store/spool, Damage).
func finished(data []byte) []byte {
	if len(data) > 0 && data[len(data)-1] == 0 {
		data[len(data)-1] = 1
	}
	return data
}

var (
	truncated = damage{"truncated", func(rnd *rand.Rand, data []byte) []byte { return data[:rnd.IntN(len(data))] }}
	emptied   = damage{"emptied", func(*rand.Rand, []byte) []byte { return []byte{} }}
	zeroed    = damage{"zeroed page", func(rnd *rand.Rand, data []byte) []byte {
		at := rnd.IntN(min(len(data)/4096+1, 16)) * 4096
		clear(data[at:min(at+4096, len(data))])
		return finished(data)
	}}
	zeroedHead = damage{"zeroed head", func(rnd *rand.Rand, data []byte) []byte {
		clear(data[rnd.IntN(2)*4096:][:4096])
		return data
	}}
	onePlace   = damage{"one place", overwrite(1)}
	manyPlaces = damage{"50 places", overwrite(50)}
)

// plan lists the rounds of one file.
func plan() []damage {
	if !fullFaults() {
		return []damage{onePlace, manyPlaces, zeroed, zeroedHead, truncated, emptied}
	}
	out := slices.Repeat([]damage{onePlace}, 50)
	return append(out, manyPlaces, manyPlaces, zeroed, zeroed, zeroed, zeroedHead, zeroedHead, zeroedHead, truncated, truncated, truncated, emptied)
}

// rounds damages the file of a fresh copy of the site, once for each round of
// the plan and for each form of the state, and calls check.
func (d *damageSite) rounds(t *testing.T, file string, check func(t *testing.T, s *testSite, damaged []byte)) {
	rnd := seeded(t)
	forms := map[string]string{"stopped": d.stopped, "killed": d.killed}
	for i, how := range plan() {
		for _, form := range slices.Sorted(maps.Keys(forms)) {
			if !fullFaults() && i%2 == len(form)%2 {
				continue
			}
			t.Run(fmt.Sprintf("%d %s, %s", i, how.name, form), func(t *testing.T) {
				s := cloneState(t, forms[form])
				path := filepath.Join(s.dir, file)
				before, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				after := how.do(rnd, bytes.Clone(before))
				if err := os.WriteFile(path, after, 0o600); err != nil {
					t.Fatal(err)
				}
				if bytes.Equal(before, after) {
					after = nil
				}
				check(t, s, after)
			})
		}
	}
}

// told checks that the operator learns of the damage: a standing fault, an
// event, and the damaged bytes kept.
func (r *running) told(fault string, damaged []byte) {
	r.t.Helper()
	wait(r.t, "the fault "+fault, func() bool { return r.hasFault(fault) })
	r.waitEvent("the fault's event", site.KindFault, func(ev site.Event) bool { return strings.HasPrefix(ev.Item, fault) && !ev.Cleared })
	if !r.quarantined(damaged) {
		r.t.Error("the damaged file is not kept as it was found")
	}
}

// keptLockdown checks that the lockdown of the shed survived.
func (r *running) keptLockdown() {
	r.t.Helper()
	for _, d := range r.status().Doors {
		if d.ID == "shed" && d.Mode != site.ModeLockdown {
			r.t.Errorf("the lockdown of the shed is gone: %+v", d)
		}
	}
}

// TestDamagePolicy: whatever is written over the policy file, doors decide as
// before, from the verified copy rolled forward.
func TestDamagePolicy(t *testing.T) {
	d := newDamageSite(t)
	d.rounds(t, "policy.db", func(t *testing.T, s *testSite, damaged []byte) {
		wrong := store.CheckFile(t.Context(), filepath.Join(s.dir, "policy.db")) // nil: only free space was hit
		r := s.start()
		if wrong != nil {
			r.told("store.policy", damaged)
		}
		r.checkModel(d.model)
		r.keptLockdown()
		if wrong != nil && r.hive("shed", hiveKey).fetchNonce() == d.nonce {
			t.Error("a nonce is valid that was so before the damage")
		}
	})
}

// TestDamageDevices: the file of nonces is replaced by new ones; cards and the
// kept states of doors are as before.
func TestDamageDevices(t *testing.T) {
	d := newDamageSite(t)
	d.rounds(t, "devices.db", func(t *testing.T, s *testSite, damaged []byte) {
		wrong := store.CheckFile(t.Context(), filepath.Join(s.dir, "devices.db"))
		r := s.start()
		if wrong != nil {
			r.told("store.devices", damaged)
			if r.hive("shed", hiveKey).fetchNonce() == d.nonce {
				t.Error("a nonce is valid that was so before the damage")
			}
		}
		r.checkModel(d.model)
		r.keptLockdown()
		if notes, err := filepath.Glob(filepath.Join(s.dir, "*.recovering")); err != nil || len(notes) > 0 {
			t.Errorf("a recovery did not come to its end: %v, %v", notes, err)
		}
	})
}

// TestDamageCopy: the copy is not what doors decide from.
func TestDamageCopy(t *testing.T) {
	d := newDamageSite(t)
	d.rounds(t, "policy.copy.db", func(t *testing.T, s *testSite, _ []byte) {
		s.start().checkModel(d.model)
	})
}

// TestDamageBoth: policy and copy are both damaged, and the log does not reach
// back. Nobody who was refused is let in, exits work, and the operator is told.
func TestDamageBoth(t *testing.T) {
	d := newDamageSite(t)
	rnd := seeded(t)
	s := cloneState(t, d.killed)
	for _, name := range []string{"policy.db", "policy.copy.db"} {
		path := filepath.Join(s.dir, name)
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		clear(data[:2*4096])
		if err := os.WriteFile(path, overwrite(50)(rnd, data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r := s.start()
	if !r.hasFault("store.policy") {
		t.Errorf("no fault: %+v", r.status().Faults)
	}
	for number, want := range d.model {
		if got := r.why(number); got.Grants() && !want.Grants() || got.Grants() && want == site.ReasonRevoked {
			t.Errorf("card %d: %s, want %s or a refusal", number, got, want)
		}
	}
	r.card(h10301(modelFacility, 10_010))
	r.waitEvent("the refusal", site.KindAccess, func(ev site.Event) bool { return !ev.Reason.Grants() })
	r.board.Drive("GPIO22", hal.Low)
	r.waitLevel("GPIO24", hal.High)
	r.board.Drive("GPIO22", hal.High)
}

// TestDamageLog: each file of the event log in turn. Doors decide as before;
// each event is there as it was, or an events_lost event stands for it.
func TestDamageLog(t *testing.T) {
	d := newDamageSite(t)
	names, err := filepath.Glob(filepath.Join(d.killed, "events", "*.spool"))
	if err != nil || len(names) < 2 {
		t.Fatalf("%d files of events, %v", len(names), err)
	}
	for i, name := range names {
		file, newest := filepath.Join("events", filepath.Base(name)), i == len(names)-1
		t.Run(filepath.Base(name), func(t *testing.T) {
			d.rounds(t, file, func(t *testing.T, s *testSite, damaged []byte) {
				r := s.start()
				// The newest file cut short looks like an unfinished write, unless
				// something knows how far it went: an agent that stopped in order
				// has noted it.
				cut := newest && (strings.Contains(t.Name(), truncated.name) || strings.Contains(t.Name(), emptied.name))
				if damaged != nil && !cut {
					r.told("spool.damaged", damaged)
				} else if cut && strings.Contains(t.Name(), "stopped") {
					wait(t, "the fault", func() bool { return r.hasFault("spool.damaged") })
				}
				model := d.model
				if cut && strings.Contains(t.Name(), "killed") {
					// A use that is a second old is in the log alone, and that
					// part of it is gone.
					model = maps.Clone(model)
					maps.DeleteFunc(model, func(_ uint32, want site.Reason) bool { return want == site.ReasonUsedUp })
				}
				r.checkModel(model)
				r.keptLockdown()
				if !cut {
					d.accounted(t, r.events(""), damaged != nil)
				}
			})
		})
	}
}

// accounted checks that each event of before is in the list as it was, or is
// counted by an events_lost event, and that a new log begins after damage.
func (d *damageSite) accounted(t *testing.T, now []site.Event, damaged bool) {
	t.Helper()
	have := map[site.EventSeq]site.Event{}
	lost := map[site.EventSeq]bool{}
	for i, ev := range now {
		have[ev.Seq] = ev
		if i > 0 && ev.Seq <= now[i-1].Seq {
			t.Errorf("event %d after %d", ev.Seq, now[i-1].Seq)
		}
		if ev.Kind == site.KindEventsLost {
			for n := range site.EventSeq(ev.Count) + 1 { // the first event of a new log has a number of its own
				lost[ev.Seq-n] = true
			}
		}
	}
	for _, want := range d.events {
		got, ok := have[want.Seq]
		if ok && got.Kind == want.Kind && got.Time.Equal(want.Time) && got.Log == want.Log || lost[want.Seq] {
			continue
		}
		t.Errorf("event %d (%s) is neither there nor counted as lost: %+v", want.Seq, want.Kind, got)
	}
	if last := now[len(now)-1]; damaged && last.Log == d.events[0].Log {
		t.Error("the log goes on under its old id after damage")
	}
}

// TestDamageLive: the policy file is overwritten under a running agent. What it
// answers until it has gone over to the copy is a refusal or right; then all is
// right, and the operator is told.
func TestDamageLive(t *testing.T) {
	d := newDamageSite(t)
	rnd := seeded(t)
	rounds := 2
	if fullFaults() {
		rounds = 20
	}
	for i := range rounds {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			s := cloneState(t, d.killed)
			r := s.start()
			r.spoilLive(rnd, i)
			wait(t, "the recovery", func() bool {
				all := true
				for number, want := range d.model {
					got := r.why(number)
					if got != want && got != site.ReasonFault {
						t.Fatalf("card %d: %s, want %s or fault", number, got, want)
					}
					all = all && got == want
				}
				return all && r.hasFault("store.policy")
			})
			r.checkModel(d.model)
			r.must(r.ask(http.MethodPost, "/v1/credentials", map[string]any{"holder": "After", "format": "H10301",
				"facility": modelFacility, "card": 61_000, "rights": "front"}, nil))
			if got := r.why(61_000); got != site.ReasonGranted {
				t.Errorf("a card enrolled after the recovery: %s", got)
			}
			r.stop()
			r = s.start()
			r.checkModel(d.model)
		})
	}
}

// spoilLive writes over every page of the policy file but the metas and the
// first few, so that reads meet damage at once; or, each second time, cuts the
// file short.
func (r *running) spoilLive(rnd *rand.Rand, round int) {
	r.t.Helper()
	f, err := os.OpenFile(filepath.Join(r.dir, "policy.db"), os.O_RDWR, 0)
	if err != nil {
		r.t.Fatal(err)
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		r.t.Fatal(err)
	}
	if round%2 == 1 {
		if err := f.Truncate(3 * 4096); err != nil {
			r.t.Fatal(err)
		}
		return
	}
	for at := int64(2 * 4096); at < min(fi.Size(), 1<<20); at += 4096 {
		page := make([]byte, 1+rnd.IntN(4096))
		for i := range page {
			page[i] = byte(rnd.Uint32())
		}
		if _, err := f.WriteAt(page, at); err != nil {
			r.t.Fatal(err)
		}
	}
}

// TestDamageLarge: a policy file too large for the check at the start (32 MiB)
// is checked in the background: the damage is found though nobody asks for the
// records that it hit, the agent goes over to the copy, and a card that was
// revoked since stays revoked.
func TestDamageLarge(t *testing.T) {
	rows := 120_000
	s := newTestSite(t)
	r := s.start()
	m := r.enrolModel(100)
	r.importCrowd(t, rows, "front")
	revoked := r.credentialIDs()[10_000]
	r.must(r.ask(http.MethodPost, "/v1/credentials/"+string(revoked)+"/state", map[string]string{"state": "revoked"}, nil))
	m[10_000] = site.ReasonRevoked
	r.stop()
	path := filepath.Join(s.dir, "policy.db")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(data) <= 32<<20 {
		t.Fatalf("the policy file has %d bytes: too small for this test", len(data))
	}
	rnd := seeded(t)
	for range 50 {
		data[8*4096+rnd.IntN(len(data)-8*4096)] ^= 0x55
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if store.CheckFile(t.Context(), path) == nil {
		t.Fatal("only free space was hit")
	}
	r = s.start()
	if got := r.why(10_000); got.Grants() {
		t.Errorf("a revoked card before the check: %s", got)
	}
	waitLong(t, "the fault", func() bool { return r.hasFault("store.policy") })
	waitLong(t, "decisions", func() bool { return r.why(10_001) == m[10_001] })
	for number, want := range m {
		if got := r.why(number); got != want {
			t.Errorf("card %d: %s, want %s", number, got, want)
		}
	}
	for i := range rows / 1000 {
		if got := r.whyBits("37:" + h10302(1_000_000+uint64(i)*1000)); got != site.ReasonGranted {
			t.Errorf("imported card %d: %s", i, got)
		}
	}
	if st := r.status().Store.Credentials; st != uint64(rows+len(m)-1) {
		t.Errorf("%d credentials, want %d", st, rows+len(m)-1)
	}
}

// h10302 returns a frame in hex: even parity over the first 18 bits, 35 bits of
// number, odd parity over the last 18.
func h10302(number uint64) string {
	data := fmt.Sprintf("%035b", number)
	frame := fmt.Sprint(strings.Count(data[:18], "1")%2) + data + fmt.Sprint(1-strings.Count(data[17:], "1")%2)
	return fmt.Sprintf("%x", packBits(frame))
}
