package cli_test

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/agent/control"
	"gatehouse/agent/site"
	"gatehouse/store"
)

// night is when the locks of the rack called last, in a year in which their next
// call is still to come.
var night = time.Date(2099, 11, 22, 2, 10, 0, 0, time.UTC)

// lockRack is a site's locks, which work in memory: each has the cards that were
// active when it called.
type lockRack struct {
	store *store.Store

	mu      sync.Mutex // guards the following
	list    []control.LockStatus
	pending []control.PendingLock
	until   map[site.DoorID]time.Time
	cards   map[site.DoorID][]site.CardRef
	unsure  bool // what the locks have is not known for sure
}

// fill gives the rack two Wi-Fi locks and one on a line, which is offline.
func (l *lockRack) fill() {
	made := control.TableVersion(night.Unix()+62135596800) * 1e7
	l.list = []control.LockStatus{
		{ID: "room5", Name: "Room 5", Serial: "0000000000000000A100000000002479", Model: "nde", Line: control.LockWiFi, Called: night, Next: night.AddDate(0, 0, 1),
			Has: made, Want: made, Users: 12, UsersMax: 5000, Battery: "normal", Main: 5.6, Li: 3.02, Firmware: "03.07.40", SaysName: "R5", SaysModel: "NDEB", ClockOff: control.Duration(-3 * time.Second)},
		{ID: "room6", Name: "Room 6", Serial: "0000000000000000A100000000002480", Model: "le", Line: control.LockWiFi, Called: night, Next: night.AddDate(0, 0, 1), Has: made, Want: made + 1,
			Behind: true, BehindSince: night, Changes: 3, Users: 1, Alarm: site.AlarmTamper, Mode: "passage", ConfigWaits: true, Refused: "token: made by another key", RefusedAt: night.Add(time.Hour),
			Losses: []string{"credential c1: counted uses are left out"}, Lost: 4},
		{ID: "vault", Name: "Vault", Serial: "0000000000000000A100000000003FA7", Model: "nde", Line: control.LockSerial, Device: "vault-line", Behind: true, Changes: control.FullFile, Battery: "low"},
	}
	l.pending = []control.PendingLock{
		{Serial: "0000000000000000A10000000000AB01", First: night, Last: night.Add(time.Hour), Calls: 2, Address: "192.0.2.7"},
		{Serial: "0000000000000000A10000000001AB01", First: night, Last: night, Calls: 1, Address: "192.0.2.8"},
	}
	l.until = map[site.DoorID]time.Time{"room5": night.AddDate(0, 0, 1), "room6": time.Date(2001, 2, 3, 4, 5, 0, 0, time.UTC)}
}

// takes reports whether the lock takes commands.
func (l *lockRack) takes(id site.DoorID) bool {
	return slices.ContainsFunc(l.LockList(), func(s control.LockStatus) bool { return s.ID == id && s.Line == control.LockSerial })
}

func (l *lockRack) LockList() []control.LockStatus {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.list)
}

func (l *lockRack) PendingLocks() []control.PendingLock { return l.pending }

func (l *lockRack) StillOpens(id site.CredentialID) (out []control.StillOpen) {
	c, err := l.store.Credential(id)
	if err != nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.list {
		if slices.Contains(l.cards[s.ID], c.Card) {
			out = append(out, control.StillOpen{Lock: s.ID, Until: l.until[s.ID], Line: s.Line, Unsure: l.unsure})
		}
	}
	return out
}

// call gives locks the cards that are active at the site.
func (l *lockRack) call(t *testing.T, ids ...site.DoorID) {
	t.Helper()
	var cards []site.CardRef
	err := l.store.Credentials(t.Context(), store.Filter{State: site.CredentialActive}, func(c site.Credential) error {
		cards = append(cards, c.Card)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cards = map[site.DoorID][]site.CardRef{}
	for _, id := range ids {
		l.cards[id] = cards
	}
}

// update writes the golden files: look at what it made of them.
var update = flag.Bool("update", false, "write the files of testdata anew")

// golden compares what is printed with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(filepath.Join("testdata", name), []byte(strings.Join(lines(got), "\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(lines(string(want)), lines(got)); d != "" {
		t.Errorf("%s (-want +got):\n%s", name, d)
	}
}

func TestLockList(t *testing.T) {
	a := newAgent(t)
	if got := a.must("lock", "list"); got != "no lock in the settings\n" {
		t.Errorf("without locks: %s", got)
	}
	if got := a.must("lock", "show"); got != "no lock in the settings\n" {
		t.Errorf("without locks: %s", got)
	}
	a.locks.fill()
	golden(t, "lock-list.txt", a.must("lock", "list"))
	var book control.LockBook
	if err := json.Unmarshal([]byte(a.must("lock", "list", "--json")), &book); err != nil || len(book.Locks) != 3 || len(book.Pending) != 2 || book.Locks[2].State != control.LockOffline {
		t.Errorf("%+v %v", book, err)
	}
}

// TestPendingSettings: the lines that name the pending locks are settings.
func TestPendingSettings(t *testing.T) {
	a := newAgent(t)
	a.locks.fill()
	_, entries, ok := strings.Cut(a.must("lock", "list"), "\nlocks:\n")
	if !ok || strings.Count(entries, "\n") != 2 {
		t.Fatalf("entries %q", entries)
	}
	if err := os.WriteFile(a.config, []byte(settings+"locks:\n"+entries), 0o600); err != nil {
		t.Fatal(err)
	}
	a.must("lock", "list")
	a.locks.pending = a.locks.pending[:1]
	if got := a.must("lock", "list"); !strings.HasSuffix(got, "  - {id: lock-ab01, serial: \"0000000000000000A10000000000AB01\", model: nde}\n") {
		t.Error(got)
	}
}

func TestLockShow(t *testing.T) {
	a := newAgent(t)
	a.locks.fill()
	a.alarms = []control.Alarm{{ID: 8, Kind: site.KindTamper, Door: "room6", Began: night, Text: "reader tamper"}}
	golden(t, "lock-show.txt", a.must("lock", "show"))
	all := lines(a.must("lock", "show"))
	one := lines(a.must("lock", "show", "room5"))
	if d := cmp.Diff(one, all[:len(one)]); d != "" {
		t.Error(d)
	}
	var v control.LockView
	if err := json.Unmarshal([]byte(a.must("lock", "show", "0000000000000000a100000000002480", "--json")), &v); err != nil || v.ID != "room6" || len(v.Alarms) != 1 || v.Lost != 4 {
		t.Errorf("%+v %v", v, err)
	}
	var list []control.LockView
	if err := json.Unmarshal([]byte(a.must("lock", "show", "--json")), &list); err != nil || len(list) != 3 || len(list[1].Alarms) != 1 {
		t.Errorf("%+v %v", list, err)
	}
	for args, want := range map[string]string{"lock show front": "not found in the settings", "lock show 0000000000000000A10000000000AB01": "name it under locks"} {
		if code, stdout, stderr := a.run(strings.Fields(args)...); code != 1 || stdout != "" || !strings.Contains(stderr, want) {
			t.Errorf("%s: %d %s%s", args, code, stdout, stderr)
		}
	}
}

func TestLockStatusLines(t *testing.T) {
	a := newAgent(t)
	if got := a.must("status"); strings.Contains(got, "lock room5") {
		t.Error(got)
	}
	a.locks.fill()
	var got []string
	for _, l := range lines(a.must("status")) {
		if strings.HasPrefix(l, "lock ") {
			got = append(got, l)
		}
	}
	golden(t, "lock-status.txt", strings.Join(got, "\n")+"\n")
}

// TestStillOpensText: what takes a card away names the locks that still open for
// it, each with what ends that.
func TestStillOpensText(t *testing.T) {
	a := newAgent(t)
	a.locks.fill()
	a.must("credential", "add", "--holder", "Ada", "--bits", "8:01", "--right", "front")
	a.must("credential", "add", "--holder", "Bob", "--bits", "8:02", "--right", "front")
	a.must("credential", "add", "--holder", "Eve", "--bits", "8:03", "--right", "front")
	a.locks.call(t, "room5", "vault")
	id := func(holder string) string {
		var h control.HolderView
		if err := json.Unmarshal([]byte(a.must("holder", "show", holder, "--json")), &h); err != nil {
			t.Fatal(err)
		}
		return string(h.Credentials[0].ID)
	}
	both := "room5 still opens for it until its next call, about 2099-11-23 02:10; vault until it is online again"
	if got := lines(a.must("credential", "block", id("Ada"))); got[len(got)-1] != both {
		t.Error(got)
	}
	if got := lines(a.must("credential", "unblock", id("Ada"))); len(got) != 1 {
		t.Error(got)
	}
	if got := lines(a.must("credential", "revoke", id("Ada")[:6])); got[len(got)-1] != both {
		t.Error(got)
	}
	if got := lines(a.must("credential", "remove", id("Ada"))); got[len(got)-1] != both {
		t.Error(got)
	}
	old := id("Bob")
	if got := lines(a.must("credential", "replace", old, "--bits", "8:04")); got[len(got)-1] != both {
		t.Error(got)
	}
	var answer struct {
		Open json.RawMessage `json:"still_opens"`
	}
	want := `[{"lock":"room5","until":"2099-11-23T02:10:00Z","line":"wifi"},{"lock":"vault","line":"serial"}]`
	for _, args := range [][]string{{"credential", "revoke", old, "--json"}, {"holder", "erase", "Eve", "--json"}} {
		if err := json.Unmarshal([]byte(a.must(args...)), &answer); err != nil || string(answer.Open) != want {
			t.Errorf("%v: %s %v", args, answer.Open, err)
		}
	}
	if got := lines(a.must("holder", "erase", "Bob")); got[len(got)-1] != strings.Replace(both, "for it", "for a card of it", 1) {
		t.Error(got)
	}
	a.must("credential", "add", "--holder", "Gil", "--bits", "8:05", "--right", "front")
	if _, err := a.store.Apply(t.Context(), "cli", store.Change{Source: site.SourceOperator, Ops: []store.Op{
		store.AddRight{ID: site.CredentialID(id("Gil")), Right: site.Right{Door: "room5"}},
	}}); err != nil {
		t.Fatal(err)
	}
	a.locks.call(t, "room5", "vault")
	if got := lines(a.must("right", "remove", id("Gil"), "room5")); got[len(got)-1] != "room5 still opens for it by the rights it had until its next call, about 2099-11-23 02:10" {
		t.Error(got)
	}
	for _, tt := range []struct {
		lock  site.DoorID
		until time.Time
		want  string
		sure  bool
	}{
		{"room6", a.locks.until["room6"], "room6 still opens for it until it calls: the call of 2001-02-03 04:05 did not come", true},
		{"room6", time.Time{}, "room6 still opens for it until it calls; nobody knows when", true},
		{"room6", night, "room6 may still open for it until its next call, about 2099-11-22 02:10", false},
		{"vault", night, "vault still opens for it until it has fetched the change, about 2099-11-22 02:10", true},
	} {
		a.locks.until[tt.lock], a.locks.unsure = tt.until, !tt.sure
		a.must("credential", "unblock", id("Gil"))
		a.locks.call(t, tt.lock)
		if got := lines(a.must("credential", "block", id("Gil"))); got[len(got)-1] != tt.want {
			t.Error(got)
		}
	}
}

// TestLockCommands: a lock on a line is commanded as a door is; a Wi-Fi lock is
// refused with the reason.
func TestLockCommands(t *testing.T) {
	a := newAgent(t)
	a.locks.fill()
	for args, want := range map[string]string{
		"door unlock vault":       "door vault is unlocked for a moment",
		"door lock vault":         "door vault is locked, mode secured",
		"door mode vault passage": "door vault is in mode passage",
		"door show vault":         "ID     NAME   MODE     LOCK    DOOR    ALARM  UNTIL\nvault  Vault  secured  locked  closed  -      -",
	} {
		if got := strings.Join(lines(a.must(strings.Fields(args)...)), "\n"); got != want {
			t.Errorf("%s: %s", args, got)
		}
	}
	a.until = time.Date(2099, 11, 22, 18, 0, 0, 0, time.UTC)
	if got := lines(a.must("door", "show", "vault")); !strings.HasSuffix(got[1], "-      2099-11-22 18:00:00") {
		t.Errorf("a mode with an end: %q", got)
	}
	for _, args := range []string{"door unlock room5", "door lock room5", "door mode room5 passage", "door mode room5 auto", "door show room5", "door test room5"} {
		if code, stdout, stderr := a.run(strings.Fields(args)...); code != 1 || stdout != "" || !strings.Contains(stderr, "has no live line") {
			t.Errorf("%s: %d %s%s", args, code, stdout, stderr)
		}
	}
}

// TestLockdownReached: a lockdown prints the doors that it reached and the error
// that names the others, and the Wi-Fi locks that nobody can reach.
func TestLockdownReached(t *testing.T) {
	a := newAgent(t)
	a.locks.fill()
	want := "locked down: front, shed\nNOT reached, Wi-Fi locks that go on opening for their cards: room5, room6\n"
	if got := a.must("door", "lockdown", "--all"); got != want {
		t.Error(got)
	}
	if got := a.must("door", "lockdown", "--all", "--json"); got != `{"doors":["front","shed"],"no_line":["room5","room6"]}`+"\n" {
		t.Error(got)
	}
	a.broken = "shed"
	for args, want := range map[string]string{
		"door lockdown --all":        "locked down: front\nNOT reached, Wi-Fi locks that go on opening for their cards: room5, room6\n",
		"door release --all":         "released: front\n",
		"door release --all --json":  `{"doors":["front"]}` + "\n",
		"door lockdown --all --json": `{"doors":["front"],"no_line":["room5","room6"]}` + "\n",
		"door lockdown shed":         "",
	} {
		code, stdout, stderr := a.run(strings.Fields(args)...)
		if code != 1 || stdout != want || stderr != "gatehouse: door shed: not ready: its line is gone\n" {
			t.Errorf("%s: %d %s%s", args, code, stdout, stderr)
		}
	}
}

// TestCompleteIDs: a shell completes the ids of locks and of what takes commands,
// and nothing where no agent answers.
func TestCompleteIDs(t *testing.T) {
	a := newAgent(t)
	a.locks.fill()
	complete := func(args ...string) []string {
		code, stdout, _ := a.run(append([]string{"__complete"}, args...)...)
		if code != 0 {
			t.Fatalf("%v: %d", args, code)
		}
		return lines(stdout)
	}
	for _, tt := range []struct {
		args []string
		want []string
	}{
		{[]string{"lock", "show", ""}, []string{"room5\tRoom 5", "room6\tRoom 6", "vault\tVault"}},
		{[]string{"lock", "show", "room"}, []string{"room5\tRoom 5", "room6\tRoom 6"}},
		{[]string{"lock", "show", "room5", ""}, nil},
		{[]string{"door", "unlock", ""}, []string{"front\tFront door", "shed\tShed", "vault\tVault"}},
		{[]string{"door", "lockdown", "v"}, []string{"vault\tVault"}},
		{[]string{"door", "mode", "vault", "frozen"}, []string{"frozen_secured", "frozen_passage"}},
	} {
		got := complete(tt.args...)
		if len(got) == 0 || got[len(got)-1] != ":4" { // no file names
			t.Errorf("%v: %v", tt.args, got)
			continue
		}
		if d := cmp.Diff(tt.want, slices.Clip(append([]string(nil), got[:len(got)-1]...))); d != "" {
			t.Errorf("%v: %s", tt.args, d)
		}
	}
	if code, stdout, _ := run(t.Context(), "--config", filepath.Join(t.TempDir(), "none.yaml"), "__complete", "lock", "show", ""); code != 0 || stdout != ":4\n" {
		t.Errorf("without settings: %d %s", code, stdout)
	}
}
