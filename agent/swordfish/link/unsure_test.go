package link_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse/agent/site"
	"gatehouse/agent/swordfish"
	"gatehouse/agent/swordfish/link"
)

// unsure reports whether a card that nobody has is named as one that may open room5.
func (w *world) unsure() bool {
	for _, h := range w.srv.Holders(blockOf(77)) {
		if h.Door == "room5" && h.Unsure {
			return true
		}
	}
	return false
}

// TestUnreadable: one lock whose files cannot be read gets 503 and may hold anything;
// the others are served, and it is as well once they can be read.
func TestUnreadable(t *testing.T) {
	for _, name := range []string{"room5.lock", "room5.table", "room5.pending"} {
		for _, damaged := range []bool{false, true} {
			w := newWorld(t)
			w.policy.set("room5", 1)
			w.policy.set("room6", 2)
			lock, other := &testLock{}, &testLock{}
			w.get(serial1, lock, false)
			w.get(serial1, lock, false)
			w.upload(201, "05020000 20260302110000")
			if err := w.srv.PutConfig("room5", []byte(`{"a":1}`)); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(w.cfg.Dir, name)
			whole := readFile(t, path)
			blocked := []string{path}
			if damaged { // and cannot be renamed
				writeFile(t, path, whole[:len(whole)-1])
				blocked = []string{path + ".damaged"}
				for i := 2; i <= 9; i++ {
					blocked = append(blocked, fmt.Sprintf("%s.damaged-%d", path, i))
				}
			} else if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			for _, p := range blocked {
				if err := os.Mkdir(p, 0o700); err != nil {
					t.Fatal(err)
				}
			}
			w.open()
			for range 2 {
				if a := w.call(serial1, "GET", "/swordfish/lock/db/"+lock.version, ""); a.status != 503 {
					t.Errorf("%s: db %d", name, a.status)
				}
				w.upload(503, "05020000 20260302110000")
			}
			if err := w.srv.PutConfig("room5", []byte(`{}`)); err == nil {
				t.Errorf("%s: a config was taken", name)
			}
			if !w.unsure() {
				t.Errorf("%s: not unsure", name)
			}
			w.get(serial2, other, false)
			if f := w.log.of(site.KindFault); len(f) != 1 || f[0].Door != "room5" || f[0].Cleared || !strings.Contains(f[0].Text, "cannot be read") {
				t.Errorf("%s: told %+v", name, f)
			}
			for _, p := range blocked {
				if err := os.Remove(p); err != nil {
					t.Fatal(err)
				}
			}
			if !damaged {
				writeFile(t, path, whole)
			}
			w.upload(202, "05020000 20260302110000")
			w.get(serial1, lock, false)
			w.get(serial1, lock, false)
			if w.unsure() {
				t.Errorf("%s: unsure after it said what it has", name)
			}
			f := w.log.of(site.KindFault)
			if last := f[len(f)-1]; !last.Cleared || last.Item != f[0].Item || len(w.log.audits()) != 1 {
				t.Errorf("%s: told %+v", name, f)
			}
			if s := w.status("room5"); s.Users != 1 || s.Called.IsZero() {
				t.Errorf("%s: %+v", name, s)
			}
		}
	}
}

// TestNoFolder: without its folder New serves nobody, and all once it can be made.
func TestNoFolder(t *testing.T) {
	w := newWorld(t)
	w.policy.set("room5", 1)
	file := filepath.Join(t.TempDir(), "file")
	writeFile(t, file, nil)
	w.cfg.Dir = filepath.Join(file, "locks")
	w.open()
	if a := w.call(serial1, "GET", "/swordfish/lock/db/0", ""); a.status != 503 || !w.unsure() {
		t.Errorf("db %d", a.status)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	w.get(serial1, &testLock{}, false)
}

// TestLogUnreadable: a log that cannot be read keeps nobody out; its audits are looked
// for at the next upload.
func TestLogUnreadable(t *testing.T) {
	w := newWorld(t)
	w.policy.set("room5", 1)
	w.upload(201, "05020000 20260302110000")
	if err := os.Remove(filepath.Join(w.cfg.Dir, "room5.lock")); err != nil {
		t.Fatal(err)
	}
	w.log.failScan(os.ErrInvalid)
	w.open()
	if !w.unsure() {
		t.Error("not unsure though nobody can say whether it called")
	}
	w.get(serial1, &testLock{}, false)
	w.upload(503, "05020000 20260302110001")
	w.log.failScan(nil)
	w.upload(201, "05020000 20260302110001")
}

// TestMissingFiles: a lock whose files are missing may hold anything until it says
// that it stored a file of ours.
func TestMissingFiles(t *testing.T) {
	tests := []struct {
		name   string
		files  []string // that go missing
		upload bool     // it sent an audit
		serial string   // of the lock in its place; empty: the same
		claim  string   // what it says next; empty: what it has
		want   bool     // unsure after the start
		after  bool     // unsure after it called
	}{
		{"the tables", []string{"room5.table"}, false, "", "", true, true},
		{"the tables of one that sent audits", []string{"room5.table"}, true, "", "0", true, true},
		{"the state, with the tables there", []string{"room5.lock"}, true, "", "", false, false},
		{"both, with audits in the log", []string{"room5.lock", "room5.table"}, true, "", "0", true, true},
		{"both, and it says what it has", []string{"room5.lock", "room5.table"}, false, "", "", false, true},
		{"both, and it says that it has nothing", []string{"room5.lock", "room5.table"}, false, "", "0", false, false},
		{"both, and it is another lock", []string{"room5.lock", "room5.table"}, true, strings.Repeat("A", 32), "0", false, false},
		{"nothing, and it says a strange version", nil, false, "", "0x0000000000000123", false, true},
	}
	for _, tt := range tests {
		w := newWorld(t)
		w.policy.set("room5", 1)
		lock, serial := &testLock{}, serial1
		w.get(serial1, lock, false)
		w.get(serial1, lock, false)
		if tt.upload {
			w.upload(201, "05020000 20260302110000")
		}
		for _, f := range tt.files {
			if err := os.Remove(filepath.Join(w.cfg.Dir, f)); err != nil {
				t.Fatal(err)
			}
		}
		if tt.serial != "" {
			serial, w.cfg.Locks[0].Serial = tt.serial, tt.serial
		}
		for range 2 {
			w.open()
			if w.unsure() != tt.want {
				t.Errorf("%s: unsure %t, want %t", tt.name, w.unsure(), tt.want)
			}
		}
		if tt.claim != "" {
			lock.version = tt.claim
		}
		w.get(serial, lock, false)
		w.open()
		if w.unsure() != tt.after {
			t.Errorf("%s: unsure %t after its call, want %t", tt.name, w.unsure(), tt.after)
		}
		w.get(serial, lock, false)
		if w.unsure() {
			t.Errorf("%s: unsure for good", tt.name)
		}
	}
}

// TestLateOldVersion: a lock that says an old version once and what it has beside its
// audits afterwards has what it has.
func TestLateOldVersion(t *testing.T) {
	w := newWorld(t)
	w.policy.set("room5", 1)
	lock := &testLock{}
	w.get(serial1, lock, false)
	w.get(serial1, lock, false)
	has := w.status("room5").Has
	w.get(serial1, &testLock{version: "0x0000000000000123"}, true)
	if s := w.status("room5"); s.Has != 0 || !s.Behind || !w.unsure() {
		t.Errorf("%+v", s)
	}
	body := strings.Replace(uploadOf("05020000 20260302110000"), `"0x0"`, fmt.Sprintf("%q", lock.version), 1)
	if a := w.call(serial1, "POST", "/swordfish/lock/audit", body); a.status != 201 {
		t.Fatal(a.status)
	}
	for range 2 {
		if s := w.status("room5"); s.Has != has || s.Behind || !s.Unchecked || w.unsure() {
			t.Errorf("%+v", s)
		}
		w.open()
	}
	if f := w.get(serial1, lock, false); f.DB.Records.DeleteAll != 0 || w.status("room5").Behind || w.status("room5").Unchecked {
		t.Errorf("%+v", f)
	}
}

// TestNobodyStarves: with a policy that changes all the time each lock is compared in
// its turn, those on lines first.
func TestNobodyStarves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := swordfish.ProfileOf("nde")
		w := newWorld(t, func(c *link.Config) {
			for i := range 60 {
				c.Locks = append(c.Locks, link.Lock{ID: site.DoorID(fmt.Sprintf("l%d", i)), Serial: fmt.Sprintf("%032X", 0xA0000+i), Profile: p})
			}
		})
		for _, l := range w.cfg.Locks {
			w.policy.set(l.ID)
		}
		live(t, w, func() {
			for _, l := range w.cfg.Locks {
				for version := "0"; l.Device == ""; {
					lock := &testLock{version: version, users: map[int]string{}}
					w.get(strings.ToUpper(l.Serial), lock, false)
					if lock.version == version {
						break
					}
					version = lock.version
				}
			}
			for _, l := range w.cfg.Locks {
				w.policy.set(l.ID, 1)
			}
			if s := w.status("l59"); !s.Unchecked || s.Behind {
				t.Errorf("the policy changed: %+v", s)
			}
			for range 30 {
				w.policy.set("room5", 1)
				time.Sleep(2 * time.Second)
			}
			for _, s := range w.srv.Locks() {
				if !s.Behind || s.Changes == 0 {
					t.Errorf("was not compared: %+v", s)
				}
			}
			time.Sleep(time.Minute)
			for _, s := range w.srv.Locks() {
				if s.Unchecked {
					t.Errorf("nothing changed for a minute: %+v", s)
				}
			}
		})
	})
}

// TestDueUnchecked: a lock on a line calls although nobody had time to compare it, at
// most every ten seconds.
func TestDueUnchecked(t *testing.T) {
	w := newWorld(t)
	w.policy.set("cellar", 1)
	lock := &testLock{}
	call := func() {
		t.Helper()
		status, out, err := w.srv.Call(t.Context(), "line1", "GET", "/swordfish/lock/db/"+max(lock.version, "0"), nil)
		if err != nil || status != 200 {
			t.Fatal(status, err)
		}
		if err := lock.store(string(out)); err != nil {
			t.Fatal(err)
		}
	}
	want := func(when string, due bool) {
		t.Helper()
		if got := w.srv.Due("line1"); got != due {
			t.Errorf("%s: due %t", when, got)
		}
	}
	call()
	call()
	w.pass(time.Hour)
	want("nothing changed", false)
	w.policy.set("cellar", 1, 2)
	want("changed now", false)
	w.pass(2500 * time.Millisecond)
	want("changed a while ago", true)
	call()
	call()
	w.policy.set("cellar", 1)
	want("changed after its call", false)
	w.pass(5 * time.Second)
	want("called five seconds ago", false)
	w.pass(6 * time.Second)
	want("called eleven seconds ago", true)
}

// TestClockWasAhead: a time that was worked out with a clock years ahead is none, and
// the lock is late all the same.
func TestClockWasAhead(t *testing.T) {
	for _, again := range []bool{false, true} { // the server starts anew in between
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.policy.set("room5", 1)
			years := 73 * 365 * 24 * time.Hour
			w.setTime(time.Now().Add(years), true)
			w.get(serial1, &testLock{}, false)
			w.policy.set("room5")
			live(t, w, func() {
				time.Sleep(5 * time.Minute)
				if s := w.status("room5"); !s.Next.IsZero() || s.Late {
					t.Errorf("%+v", s)
				}
				if h := w.srv.Holders(blockOf(1)); len(h) != 1 || !h[0].Until.IsZero() {
					t.Errorf("%+v", h)
				}
				if !again {
					time.Sleep(28 * time.Hour)
					if w.status("room5").Late {
						t.Error("late too early")
					}
					time.Sleep(2 * time.Hour)
				}
			})
			if again {
				time.Sleep(30 * time.Hour)
				live(t, w, func() { time.Sleep(2 * time.Minute) })
			}
			if e := w.log.of(site.KindFault); len(e) != 1 || e[0].Cleared || !w.status("room5").Late {
				t.Errorf("%+v", e)
			}
		})
	}
}

// TestNotACall: a call for a door file that gets none is no call: the lock stays late,
// and is expected when it was.
func TestNotACall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.policy.set("room5", 1)
		call := func() int {
			return w.callAs("192.0.2.7:1", auth(serial1, time.Now()), "GET", "/swordfish/lock/db/0", "").status
		}
		live(t, w, func() {
			if got := call(); got != 200 {
				t.Fatal(got)
			}
			next := w.status("room5").Next
			time.Sleep(time.Until(next) + 2*time.Hour)
			refused := func(why string) {
				t.Helper()
				if got := call(); got != 503 {
					t.Errorf("%s: %d", why, got)
				}
				if s := w.status("room5"); !s.Late || !s.Next.Equal(next) || len(w.log.of(site.KindFault)) != 1 {
					t.Errorf("%s: %+v", why, s)
				}
			}
			w.policy.fail(os.ErrInvalid)
			refused("no table")
			w.policy.fail(nil)
			path := filepath.Join(w.cfg.Dir, "room5.lock")
			whole := readFile(t, path)
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Fatal(err)
			}
			refused("no disk")
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			writeFile(t, path, whole)
			if got := call(); got != 200 || w.status("room5").Late || len(w.log.of(site.KindFault)) != 2 {
				t.Errorf("%d, %+v", got, w.status("room5"))
			}
		})
	})
}

// fail makes Table fail.
func (p *policy) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err = err
}

// failScan makes Scan fail.
func (l *eventLog) failScan(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.unread = err
}
