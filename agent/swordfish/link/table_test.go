package link_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/agent/site"
	"gatehouse/agent/swordfish"
	"gatehouse/agent/swordfish/link"
)

// TestDoorFiles: everything, changes, nothing, and a full file past 500 changes.
func TestDoorFiles(t *testing.T) {
	w := newWorld(t)
	lock := &testLock{}
	w.policy.set("room5", 3, 1, 2)
	f := w.get(serial1, lock, false)
	if f.DB.Records.DeleteAll != 1 || len(f.DB.Records.Add) != 3 || len(f.DB.Schedules) != 1 {
		t.Errorf("the first file: %+v", f)
	}
	ids := lock.users

	again := w.get(serial1, lock, false)
	if again.Version != f.Version || again.DB.Records.DeleteAll != 0 || len(again.DB.Records.Add) != 0 || len(again.DB.Schedules) != 1 {
		t.Errorf("nothing changed: %+v", again)
	}

	w.policy.set("room5", 2, 3, 4)
	f = w.get(serial1, lock, false)
	r := f.DB.Records
	if r.DeleteAll != 0 || len(r.Delete) != 1 || len(r.Add) != 1 || len(r.Update) != 0 || f.Version <= again.Version {
		t.Errorf("one came, one went: %+v", f)
	}
	for id, c := range ids {
		if now, ok := lock.users[id]; ok && now != c {
			t.Errorf("usrID %d went to another card", id)
		}
	}
	if got := lock.holds(); !slices.Equal(got, []int{2, 3, 4}) {
		t.Errorf("holds %v", got)
	}

	entries := []swordfish.Entry{{Block: blockOf(2), Function: site.FunctionNorm, ADA: true, Schedules: 1}, {Block: blockOf(3), Function: site.FunctionNorm, Schedules: 1}, {Block: blockOf(4), Function: site.FunctionNorm, Schedules: 1}}
	w.policy.put("room5", swordfish.Table{Entries: entries, Schedules: []site.Interval{{Days: site.AllDays, Start: 0, End: 1440}}})
	if r := w.get(serial1, lock, false).DB.Records; len(r.Update) != 1 || len(r.Add)+len(r.Delete) != 0 {
		t.Errorf("one changed: %+v", r)
	}

	var many []int
	for i := range 504 {
		many = append(many, 1000+i)
	}
	w.policy.set("room5", append(many[:497], 2, 3, 4)...) // one update, 497 that come
	if r := w.get(serial1, lock, false).DB.Records; r.DeleteAll != 0 || len(r.Add) != 497 {
		t.Errorf("498 changes: %d %d", r.DeleteAll, len(r.Add))
	}
	var others []int
	for i := range 501 {
		others = append(others, 5000+i)
	}
	w.policy.set("room5", others...)
	if r := w.get(serial1, lock, false).DB.Records; r.DeleteAll != 1 || len(r.Add) != 501 {
		t.Errorf("more than 500 changes: %d %d", r.DeleteAll, len(r.Add))
	}
	if got := lock.holds(); !slices.Equal(got, others) {
		t.Errorf("holds %d cards", len(got))
	}
}

// TestFreedIDs: a usrID is not given to another card while the lock may still have
// the one that had it.
func TestFreedIDs(t *testing.T) {
	w := newWorld(t)
	lock := &testLock{}
	w.policy.set("room5", 1)
	w.get(serial1, lock, false)
	old := *lock
	w.policy.set("room5", 2)
	f := w.get(serial1, lock, true) // lost: the lock still has 1
	w.policy.set("room5", 3)
	g := w.get(serial1, lock, false)
	for _, u := range append(f.DB.Records.Add, g.DB.Records.Add...) {
		if _, taken := old.users[u.ID]; taken {
			t.Errorf("usrID %d is that of a card that the lock has", u.ID)
		}
	}
	if f.DB.Records.Add[0].ID == g.DB.Records.Add[0].ID {
		t.Error("two cards were offered one usrID")
	}
}

// TestLostAnswer: the same file again has the same version; a changed one another.
func TestLostAnswer(t *testing.T) {
	w := newWorld(t)
	lock := &testLock{}
	w.policy.set("room5", 1)
	a := w.get(serial1, lock, true)
	w.pass(time.Minute)
	b := w.get(serial1, lock, true)
	if a.Version != b.Version {
		t.Errorf("the same content as %s and %s", a.Version, b.Version)
	}
	w.policy.set("room5", 1, 2)
	c := w.get(serial1, lock, false)
	if c.Version <= b.Version {
		t.Errorf("version went from %s to %s", b.Version, c.Version)
	}
	// The lock says a version that was answered and replaced: it gets everything.
	lock.version = a.Version
	if d := w.get(serial1, lock, false); d.DB.Records.DeleteAll != 1 || d.Version < c.Version {
		t.Errorf("a replaced version: %+v", d)
	}
}

// TestVersionsOfOthers: a lock may say anything, and never stays at a number that
// this server might give to something else.
func TestVersionsOfOthers(t *testing.T) {
	for _, claim := range []string{"ffffffffffffffff", "0xFFFFFFFFFFFFFFFE", "3fffffffffffffff", "0x1", "08d1707d1ebcb056"} {
		w := newWorld(t)
		w.policy.set("room5", 1)
		lock := &testLock{version: claim, users: map[int]string{9: "x"}}
		if f := w.get(serial1, lock, false); f.DB.Records.DeleteAll != 1 || f.Version == claim {
			t.Errorf("%s: %+v", claim, f)
		}
		if f := w.get(serial1, lock, false); f.DB.Records.DeleteAll != 0 {
			t.Errorf("%s: the next file: %+v", claim, f)
		}
	}
}

// TestReset: a lock that lost its table gets everything, also when it had it all, and
// counts as having nothing until it says so.
func TestReset(t *testing.T) {
	w := newWorld(t)
	lock := &testLock{}
	w.policy.set("room5", 1, 2)
	w.get(serial1, lock, false)
	w.get(serial1, lock, false)
	if s := w.status("room5"); s.Behind || s.Users != 2 || s.Has == 0 || s.Want != s.Has {
		t.Errorf("%+v", s)
	}
	*lock = testLock{}
	f := w.get(serial1, lock, true)
	if f.DB.Records.DeleteAll != 1 || len(f.DB.Records.Add) != 2 {
		t.Errorf("%+v", f)
	}
	for range 2 {
		if s := w.status("room5"); !s.Behind || s.Users != 0 || s.Has != 0 || s.Changes != -1 {
			t.Errorf("after a reset: %+v", s)
		}
		w.open()
	}
	w.get(serial1, lock, false)
	w.get(serial1, lock, false)
	if s := w.status("room5"); s.Behind || s.Users != 2 {
		t.Errorf("after its call: %+v", s)
	}
}

// TestAnotherBasis: another site key, profile or zone is another file; other
// hardware under the lock's name has nothing.
func TestAnotherBasis(t *testing.T) {
	tests := []struct {
		name   string
		change func(*link.Config)
	}{
		{"site key", func(c *link.Config) { c.SiteKey = append(link.SiteKey(nil), make([]byte, 32)...) }},
		{"zone", func(c *link.Config) { c.Zone = time.UTC }},
		{"profile", func(c *link.Config) { c.Locks[0].Profile.DayEnd = 1440 }},
		{"hardware", func(c *link.Config) { c.Locks[0].Serial = "0000000000000000A100000000002479"[:31] + "A" }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			lock := &testLock{}
			w.policy.set("room5", 1)
			w.get(serial1, lock, false)
			w.get(serial1, lock, false)
			tt.change(&w.cfg)
			w.open()
			a := w.callAs("192.0.2.7:1", "Device "+token(t, w.cfg.Locks[0].Serial), "GET", "/swordfish/lock/db/"+lock.version, "")
			if a.status != 200 || !bytes.Contains([]byte(a.body), []byte(`"deleteAll":1`)) {
				t.Errorf("%d %s", a.status, a.body)
			}
		})
	}
}

func token(t *testing.T, serial string) string {
	t.Helper()
	s, err := swordfish.MakeToken(serial, siteKey, start)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestHostConfig: a config of the host goes with the next file, until the lock says
// that it stored that one, over lost answers and restarts.
func TestHostConfig(t *testing.T) {
	w := newWorld(t)
	lock := &testLock{}
	w.policy.set("room5", 1)
	w.get(serial1, lock, false)
	w.get(serial1, lock, false)
	for _, bad := range []string{"", "[]", "null", `{"config":1}`, `{"a"`} {
		if err := w.srv.PutConfig("room5", []byte(bad)); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
	if err := w.srv.PutConfig("room5", []byte(`{"config": {"relock": 5}}`)); err != nil {
		t.Fatal(err)
	}
	if s := w.status("room5"); !s.Behind || !s.Config {
		t.Errorf("%+v", s)
	}
	if f := w.get(serial1, lock, true); string(f.Config) != `{"relock":5}` {
		t.Errorf("config %s", f.Config)
	}
	w.open()
	if w.get(serial1, lock, false); lock.config != `{"relock":5}` {
		t.Errorf("the lock has config %s", lock.config)
	}
	if f := w.get(serial1, lock, false); f.Config != nil || w.status("room5").Config || w.status("room5").Behind {
		t.Errorf("config again: %s", f.Config)
	}
	if err := w.srv.DeleteConfig("room5"); !errors.Is(err, link.ErrNoConfig) {
		t.Errorf("delete of none: %v", err)
	}
	if err := w.srv.PutConfig("room5", []byte(`{"relock":6}`)); err != nil {
		t.Fatal(err)
	}
	if err := w.srv.DeleteConfig("room5"); err != nil {
		t.Fatal(err)
	}
	if f := w.get(serial1, lock, false); f.Config != nil {
		t.Errorf("a deleted config: %s", f.Config)
	}
}

// TestRandomChanges: whatever happens between calls, a lock that called holds
// exactly what the policy gives it, and a usrID never changes its card within a
// table. Answers are lost, the agent is cut off, its table file is set back by one
// step, the lock is reset.
func TestRandomChanges(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 5))
		w := newWorld(t)
		lock := &testLock{}
		path := filepath.Join(w.cfg.Dir, "room5.table")
		var before []byte
		var all []int
		removed := map[int]bool{}
		for step := range 50 {
			switch r.IntN(6) {
			case 0, 1:
				n := 1 + r.IntN(400)
				removed[n] = false
				all = append(all, n)
			case 2:
				if len(all) > 0 {
					i := r.IntN(len(all))
					removed[all[i]] = true
					all = slices.DeleteFunc(all, func(n int) bool { return removed[n] })
				}
			case 3:
				if r.IntN(4) == 0 {
					*lock = testLock{}
				}
			case 4:
				w.open()
			case 5:
				if r.IntN(2) == 0 && before != nil {
					writeFile(t, path, before) // the disk lied
					w.open()
				}
			}
			slices.Sort(all)
			all = slices.Compact(all)
			w.policy.set("room5", all...)
			w.pass(time.Duration(r.IntN(100)) * time.Hour)
			if b, err := os.ReadFile(path); err == nil {
				before = b
			}
			lost := r.IntN(3) == 0
			if w.get(serial1, lock, lost); lost {
				continue
			}
			if got := lock.holds(); !slices.Equal(got, all) && len(got)+len(all) > 0 {
				t.Fatalf("seed %d, step %d: the lock holds %v, want %v", seed, step, got, all)
			}
		}
	}
}

// TestHolders: who has the card, or may have it, until it is known not to.
func TestHolders(t *testing.T) {
	w := newWorld(t)
	lock := &testLock{}
	w.policy.set("room5", 1, 2)
	w.policy.set("cellar", 2)
	w.get(serial1, lock, false)
	if status, _, err := w.srv.Call(t.Context(), "line1", "GET", "/swordfish/lock/db/0", nil); status != 200 || err != nil {
		t.Fatal(status, err)
	}
	next, nextLine := w.status("room5").Next, w.status("cellar").Next
	both := []link.StillOpens{{Door: "room5", Until: next}, {Door: "cellar", Until: nextLine, Line: true}}
	for range 2 { // offered only, also over a restart
		if d := cmp.Diff(both, w.srv.Holders(blockOf(2))); d != "" {
			t.Errorf("(-want +got)\n%s", d)
		}
		w.open()
	}
	w.get(serial1, lock, false)
	w.policy.set("room5", 1)
	w.get(serial1, lock, true)
	if got := w.srv.Holders(blockOf(2)); len(got) != 2 {
		t.Errorf("after a lost answer: %v", got)
	}
	w.get(serial1, lock, false)
	if got := w.srv.Holders(blockOf(2)); len(got) != 2 {
		t.Errorf("before it said that it stored the file: %v", got)
	}
	w.get(serial1, lock, false)
	if got := w.srv.Holders(blockOf(2)); len(got) != 1 || got[0].Door != "cellar" {
		t.Errorf("after: %v", got)
	}
	if got := w.srv.Holders(blockOf(99)); got != nil {
		t.Errorf("a card that nobody has: %v", got)
	}
	w.pass(72 * time.Hour)
	if got := w.srv.Holders(blockOf(1)); len(got) != 1 || !got[0].Until.IsZero() {
		t.Errorf("a lock that did not call: %v", got)
	}
}

// TestConfirmedByAudits: a lock that says beside its audits what it has stored has
// stored it.
func TestConfirmedByAudits(t *testing.T) {
	w := newWorld(t)
	lock := &testLock{}
	w.policy.set("room5", 1)
	f := w.get(serial1, lock, false)
	if s := w.status("room5"); !s.Behind || s.Sent.IsZero() || fmt.Sprintf("0x%016x", s.Want) != f.Version || s.Users != 0 {
		t.Errorf("sent: %+v", s)
	}
	body := `{"audits":[{"event":"06010000","time":"20260302120001"}],"nxtDbVerTS":"` + f.Version + `"}`
	if a := w.call(serial1, "POST", "/swordfish/lock/audit", body); a.status != 201 {
		t.Fatal(a.status)
	}
	for range 2 {
		if s := w.status("room5"); s.Behind || s.Users != 1 || !s.Sent.IsZero() {
			t.Errorf("stored: %+v", s)
		}
		w.open()
	}
}

// TestNextCall: dbDwnLdTm is in the next night, at a place of its own for each lock,
// and sooner where the table is good for less.
func TestNextCall(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	at := func(day, hour, minute int) time.Time { return time.Date(2026, 3, day, hour, minute, 0, 0, berlin) }
	tests := []struct {
		name       string
		now        time.Time
		window     [2]int
		next, good time.Time
		from, to   time.Time
	}{
		{"by day", at(2, 12, 0), [2]int{0, 240}, time.Time{}, time.Time{}, at(3, 0, 0), at(3, 4, 0)},
		{"in the night", at(2, 2, 0), [2]int{0, 240}, time.Time{}, time.Time{}, at(3, 0, 0), at(3, 4, 0)},
		{"before midnight", at(2, 23, 59), [2]int{0, 240}, time.Time{}, time.Time{}, at(3, 0, 0), at(3, 4, 0)},
		{"a window over midnight", at(2, 12, 0), [2]int{1380, 60}, time.Time{}, time.Time{}, at(2, 23, 0), at(3, 1, 0)},
		{"within a window over midnight", at(3, 0, 30), [2]int{1380, 60}, time.Time{}, time.Time{}, at(3, 23, 0), at(4, 1, 0)},
		{"a table that changes by day", at(2, 12, 0), [2]int{0, 240}, at(2, 18, 0), at(2, 18, 0), at(2, 18, 1), at(2, 18, 1)},
		{"a table that is good on", at(2, 12, 0), [2]int{0, 240}, at(2, 18, 0), at(8, 18, 0), at(3, 0, 0), at(3, 4, 0)},
		{"a table that changes at once", at(2, 12, 0), [2]int{0, 240}, at(2, 12, 1), at(2, 12, 1), at(2, 12, 15), at(2, 12, 15)},
		{"a time that is over", at(2, 12, 0), [2]int{0, 240}, at(1, 12, 1), at(1, 12, 1), at(2, 12, 15), at(2, 12, 15)},
		{"the night the clocks go forward", at(28, 12, 0), [2]int{0, 240}, time.Time{}, time.Time{}, at(29, 0, 0), at(29, 5, 0)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, func(c *link.Config) { c.Window = tt.window })
			w.setTime(tt.now, true)
			places := map[string]bool{}
			for _, serial := range []string{serial1, serial2} {
				id := site.DoorID("room5")
				if serial == serial2 {
					id = "room6"
				}
				w.policy.put(id, swordfish.Table{Next: tt.next, Good: tt.good})
				f := w.get(serial, &testLock{}, false)
				got, err := time.ParseInLocation("20060102150405", f.Download, berlin)
				if err != nil || got.Before(tt.from) || got.After(tt.to) {
					t.Errorf("%s, want %s to %s", f.Download, tt.from, tt.to)
				}
				if !w.status(id).Next.Equal(got) {
					t.Errorf("status says %s", w.status(id).Next)
				}
				places[f.Download] = true
			}
			if len(places) != 2 && tt.from != tt.to {
				t.Error("two locks are to call at the same time")
			}
		})
	}
}

// TestNoTime: a site that does not know the time tells locks none, and calls nobody
// late; with ignore it judges by the clock as it is.
func TestNoTime(t *testing.T) {
	w := newWorld(t)
	w.policy.set("room5", 1)
	w.setTime(time.Unix(100, 0), false)
	lock := &testLock{}
	if f := w.get(serial1, lock, false); f.Download != "" || !w.status("room5").Next.IsZero() {
		t.Errorf("%q, next %s", f.Download, w.status("room5").Next)
	}
	w.setTime(start, true)
	if f := w.get(serial1, lock, false); f.Download == "" || f.DB.Records.DeleteAll != 0 {
		t.Errorf("%+v", f)
	}
}

// TestHoldersOfReplacedFiles: a card of a file that was answered and replaced counts as
// in the lock, also of a lock that never said it stored any.
func TestHoldersOfReplacedFiles(t *testing.T) {
	w := newWorld(t)
	lock := &testLock{}
	w.policy.set("room5", 1, 2)
	w.get(serial1, lock, true)
	w.policy.set("room5", 1)
	w.get(serial1, lock, true)
	if got := w.srv.Holders(blockOf(2)); len(got) != 1 {
		t.Errorf("after two lost answers: %+v", got)
	}
	w.get(serial1, lock, false)
	w.get(serial1, lock, false)
	if got := w.srv.Holders(blockOf(2)); len(got) != 0 {
		t.Errorf("after it stored the last: %+v", got)
	}
}
