package control_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/agent/control"
	"gatehouse/agent/site"
	"gatehouse/agent/swordfish"
	"gatehouse/store"
)

// night is the table of the first lock: made at 02:10 on 2026-11-22.
var night = time.Date(2026, 11, 22, 2, 10, 0, 0, time.UTC)

func version(t time.Time) control.TableVersion {
	return control.TableVersion(t.Unix()+62135596800) * 1e7
}

// lockRoom is a site's locks, which work in memory: each has a copy of the cards
// that its door had when it last called.
type lockRoom struct {
	mu      sync.Mutex // guards the following
	list    []control.LockStatus
	pending []control.PendingLock
	has     map[site.DoorID][]site.CardRef
	until   map[site.DoorID]time.Time
	store   *store.Store
}

func newLockRoom(s *store.Store) *lockRoom {
	return &lockRoom{store: s, has: map[site.DoorID][]site.CardRef{}, until: map[site.DoorID]time.Time{"room5": night.AddDate(0, 0, 1)},
		list: []control.LockStatus{
			{ID: "room5", Name: "Room 5", Serial: "0000000000000000A100000000002479", Model: "nde", Line: control.LockWiFi, Called: night, Next: night.AddDate(0, 0, 1),
				Has: version(night), Want: version(night.Add(time.Hour)), Behind: true, Changes: 3, Users: 12, UsersMax: 5000},
			{ID: "vault", Serial: "0000000000000000A100000000003FA7", Model: "nde", Line: control.LockSerial, Device: "vault-line", Losses: []string{"counted credentials are left out"}, Lost: 1},
		},
		pending: []control.PendingLock{{Serial: "0000000000000000A10000000000AB01", First: night, Last: night, Calls: 2, Address: "192.0.2.7"}},
	}
}

func (l *lockRoom) LockList() []control.LockStatus {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.list)
}

func (l *lockRoom) PendingLocks() []control.PendingLock {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.pending)
}

func (l *lockRoom) StillOpens(id site.CredentialID) []control.StillOpen {
	c, err := l.store.Credential(id)
	if err != nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []control.StillOpen
	for _, s := range l.list {
		if slices.Contains(l.has[s.ID], c.Card) {
			out = append(out, control.StillOpen{Lock: s.ID, Until: l.until[s.ID], Line: s.Line})
		}
	}
	return out
}

// call gives a lock the cards that are active at the site.
func (l *lockRoom) call(t *testing.T, ids ...site.DoorID) {
	t.Helper()
	var cards []site.CardRef
	err := l.store.Credentials(t.Context(), store.Filter{}, func(c site.Credential) error {
		if c.State == site.CredentialActive {
			cards = append(cards, c.Card)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, id := range ids {
		l.has[id] = cards
	}
}

// lockHouse is a house with locks.
func lockHouse(t *testing.T) (*house, *lockRoom, *api) {
	h := newHouse(t)
	room := newLockRoom(h.store)
	p := h.parts()
	p.Locks = room
	return h, room, &api{t, control.Handler(p)}
}

func TestLocks(t *testing.T) {
	h, _, a := lockHouse(t)
	h.alarms = []control.Alarm{{ID: 7, Door: "shed"}, {ID: 8, Kind: site.KindBattery, Door: "room5"}, {ID: 9, Kind: site.KindFault, Device: "vault-line"}}
	book := must[control.LockBook](a, "GET", "/v1/locks", "")
	st := must[control.Status](a, "GET", "/v1/status", "")
	if d := cmp.Diff(book, control.LockBook{Locks: st.Locks, Pending: st.Pending}); d != "" {
		t.Errorf("status is not the list: %s", d)
	}
	if len(book.Locks) != 2 || len(book.Pending) != 1 || book.Locks[0].State != control.LockBehind || book.Locks[1].State != control.LockOffline || !book.Locks[0].HasMade.Equal(night) {
		t.Errorf("locks %+v", book)
	}
	for path, want := range map[string]site.EventSeq{"room5": 8, "vault": 9, "0000000000000000a100000000002479": 8} {
		if v := must[control.LockView](a, "GET", "/v1/locks/"+path, ""); len(v.Alarms) != 1 || v.Alarms[0].ID != want {
			t.Errorf("%s: %+v", path, v)
		}
	}
	for path, want := range map[string]string{"front": "not found in the settings", "0000000000000000A10000000000AB01": "though it calls"} {
		if status, text := a.ask("GET", "/v1/locks/"+path, ""); status != http.StatusNotFound || !strings.Contains(text, want) {
			t.Errorf("%s: %d %s", path, status, text)
		}
	}
	if _, text := a.ask("GET", "/v1/locks", ""); !strings.Contains(text, `"has":"0x08df`) || !strings.Contains(text, `"losses":[]`) {
		t.Errorf("versions and lists in %s", text)
	}
}

// TestNoLocks: a site without locks has empty lists, and nothing still opens.
func TestNoLocks(t *testing.T) {
	h := newHouse(t)
	a := h.api(t)
	if _, text := a.ask("GET", "/v1/locks", ""); strings.TrimSpace(text) != `{"locks":[],"pending_locks":[]}` {
		t.Error(text)
	}
	if _, text := a.ask("GET", "/v1/status", ""); !strings.Contains(text, `"locks":[],"pending_locks":[]`) {
		t.Error(text)
	}
	if status, _ := a.ask("GET", "/v1/locks/room5", ""); status != http.StatusNotFound {
		t.Error(status)
	}
	c := a.addAda()
	if _, text := a.ask("POST", "/v1/credentials/"+string(c.ID)+"/state", `{"state":"revoked"}`); !strings.Contains(text, `"still_opens":[]`) {
		t.Error(text)
	}
}

// TestStillOpens: a change that takes away names the locks that have the card
// after it, and no lock that has called since.
func TestStillOpens(t *testing.T) {
	_, room, a := lockHouse(t)
	ada := a.addAda()
	path := "/v1/credentials/" + string(ada.ID)
	wifi := control.StillOpen{Lock: "room5", Until: night.AddDate(0, 0, 1), Line: control.LockWiFi}
	serial := control.StillOpen{Lock: "vault", Line: control.LockSerial}
	room.call(t, "room5", "vault")
	state := func(word string) []control.StillOpen {
		t.Helper()
		return must[control.StateAnswer](a, "POST", path+"/state", `{"state":"`+word+`"}`).StillOpens
	}
	both := []control.StillOpen{wifi, serial}
	if d := cmp.Diff(both, state("blocked")); d != "" {
		t.Errorf("blocked: %s", d)
	}
	if got := state("active"); got == nil || len(got) != 0 {
		t.Errorf("active: %v", got)
	}
	if d := cmp.Diff(both, state("revoked")); d != "" {
		t.Errorf("revoked: %s", d)
	}
	room.call(t, "room5")
	if d := cmp.Diff([]control.StillOpen{serial}, state("revoked")); d != "" {
		t.Errorf("after a call: %s", d)
	}
	if got := must[control.StateAnswer](a, "DELETE", path, "").StillOpens; !cmp.Equal(got, []control.StillOpen{serial}) {
		t.Errorf("removed: %v", got)
	}

	bob := must[control.CredentialView](a, "POST", "/v1/credentials", `{"holder":"Bob","bits":"8:02","rights":"front"}`)
	room.call(t, "room5", "vault")
	replaced := must[control.Replaced](a, "POST", "/v1/credentials/"+string(bob.ID)+"/replace", `{"bits":"8:03"}`)
	if d := cmp.Diff(both, replaced.StillOpens); d != "" {
		t.Errorf("replaced: %s", d)
	}
	room.call(t, "vault") // has the new card, room5 the old one
	erased := must[control.Erased](a, "POST", "/v1/holders/Bob/erase", "")
	if d := cmp.Diff([]site.DoorID{"room5", "vault"}, lockIDs(erased.StillOpens)); d != "" || erased.Name != "erased 000002" {
		t.Errorf("erased: %+v %s", erased, d)
	}
}

// TestStillOpensRight: a right that is taken away names the lock that it was for,
// where that has the card, and no other lock.
func TestStillOpensRight(t *testing.T) {
	_, room, a := lockHouse(t)
	path := "/v1/credentials/" + string(a.addAda().ID) + "/rights"
	must[control.StateAnswer](a, "POST", path, `{"add":[{"door":"room5"},{"door":"vault"}]}`)
	room.call(t, "room5", "vault")
	wifi := []control.StillOpen{{Lock: "room5", Until: night.AddDate(0, 0, 1), Line: control.LockWiFi}}
	for _, tt := range []struct {
		name, method, path, body string
		want                     []control.StillOpen
	}{
		{"a right that is given names none", "POST", path, `{"add":[{"door":"shed"}]}`, []control.StillOpen{}},
		{"one at a door of this board names none", "POST", path, `{"remove":[{"door":"shed"}]}`, []control.StillOpen{}},
		{"one at a lock names that lock", "POST", path, `{"remove":[{"door":"room5"}]}`, wifi},
		{"the other form does so too", "DELETE", path + "?door=vault", "", []control.StillOpen{{Lock: "vault", Line: control.LockSerial}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := &api{t, a.h}
			if d := cmp.Diff(tt.want, must[control.StateAnswer](a, tt.method, tt.path, tt.body).StillOpens); d != "" {
				t.Error(d)
			}
		})
	}
}

func lockIDs(list []control.StillOpen) []site.DoorID {
	var out []site.DoorID
	for _, o := range list {
		out = append(out, o.Lock)
	}
	slices.Sort(out)
	return out
}

// TestStillOpensFile: a card that only a door file has is revoked by its id, and
// the locks are named.
func TestStillOpensFile(t *testing.T) {
	h, room, a := lockHouse(t)
	block, err := badge(t, 1, 2).Block()
	if err != nil {
		t.Fatal(err)
	}
	f := h.store.StageFile("front")
	if err := f.Add(swordfish.OpAdd, 1, &swordfish.User{ID: 1, Block: block, Schedules: 1, Has: swordfish.TagID | swordfish.TagCard | swordfish.TagSchedules}); err != nil {
		t.Fatal(err)
	}
	sum := swordfish.Summary{DeleteAll: true, Adds: 1, Schedules: &[]site.Interval{{Days: site.AllDays, End: 1440}}}
	if _, err := h.store.CommitFile(t.Context(), "iphost", f, sum); err != nil {
		t.Fatal(err)
	}
	list := objects[control.CredentialView](a, "GET", "/v1/credentials?source=iphost", "")
	if len(list) != 1 {
		t.Fatalf("credentials of the file: %+v", list)
	}
	room.has["room5"] = []site.CardRef{list[0].Card}
	got := must[control.StateAnswer](a, "POST", "/v1/credentials/"+string(list[0].ID)+"/state", `{"state":"revoked"}`)
	if got.Source != site.SourceOperator || !cmp.Equal(lockIDs(got.StillOpens), []site.DoorID{"room5"}) {
		t.Errorf("%+v", got)
	}
}

// TestStillOpensMerged: a lock that has several cards of one holder is named once,
// with the latest end; an end that nobody knows is later than any, and what one
// card makes sure is sure.
func TestStillOpensMerged(t *testing.T) {
	h := newHouse(t)
	a := h.api(t)
	one, two := a.addAda(), must[control.CredentialView](a, "POST", "/v1/credentials", `{"holder":"Ada","bits":"8:02"}`)
	unknown := time.Time{}
	for _, tt := range []struct{ one, two, want time.Time }{
		{night, night.Add(1), night.Add(1)}, {night.Add(1), night, night.Add(1)}, {unknown, night, unknown}, {night, unknown, unknown}, {unknown, unknown, unknown},
	} {
		p := h.parts()
		p.Locks = endings{one.ID: tt.one, two.ID: tt.two}
		got := must[control.Erased](&api{t, control.Handler(p)}, "POST", "/v1/holders/h1/erase", "")
		want := control.StillOpen{Lock: "room5", Until: tt.want, Line: control.LockWiFi, Unsure: tt.one.IsZero() && tt.two.IsZero()}
		if d := cmp.Diff([]control.StillOpen{want}, got.StillOpens); d != "" {
			t.Errorf("%v, %v: %s", tt.one, tt.two, d)
		}
	}
}

// endings is one lock that has several cards, each with an end; it is unsure of
// those without one.
type endings map[site.CredentialID]time.Time

func (endings) LockList() []control.LockStatus { return nil }

func (endings) PendingLocks() []control.PendingLock { return nil }

func (e endings) StillOpens(id site.CredentialID) []control.StillOpen {
	return []control.StillOpen{{Lock: "room5", Until: e[id], Line: control.LockWiFi, Unsure: e[id].IsZero()}}
}

// TestWiFiCommand: a command to a Wi-Fi lock is refused for what it is, and an id
// that is nothing is not found.
func TestWiFiCommand(t *testing.T) {
	_, _, a := lockHouse(t)
	for _, r := range [][2]string{{"POST", "doors/%s/unlock"}, {"POST", "doors/%s/lock"}, {"POST", "doors/%s/mode"}, {"GET", "doors/%s/inputs"}, {"POST", "lockdown"}, {"POST", "release"}} {
		for id, want := range map[string]int{"room5": 409, "attic": 404} {
			path, body := r[1], fmt.Sprintf(`{"target":{"door":%q}}`, id)
			if strings.Contains(path, "%s") {
				path, body = fmt.Sprintf(path, id), `{"mode":"passage"}`
			}
			if r[0] == "GET" {
				body = ""
			}
			status, text := a.ask(r[0], "/v1/"+path, body)
			if status != want || want == 409 && !strings.Contains(text, "lock room5 has no live line") {
				t.Errorf("%v %s: %d %s", r, id, status, text)
			}
		}
	}
}

// TestPartLockdown: a lockdown that reaches some doors says which, beside the error
// that names the others; one of all doors names the Wi-Fi locks.
func TestPartLockdown(t *testing.T) {
	h, _, a := lockHouse(t)
	got := must[control.Reached](a, "POST", "/v1/lockdown", `{"target":{"all":true}}`)
	if d := cmp.Diff(control.Reached{Doors: []site.DoorID{"front", "shed"}, NoLine: []site.DoorID{"room5"}}, got); d != "" {
		t.Error(d)
	}
	if got := must[control.Reached](a, "POST", "/v1/lockdown", `{"target":{"door":"shed"}}`); len(got.NoLine) != 0 {
		t.Errorf("one door: %+v", got)
	}
	h.stuck = map[site.DoorID]error{"shed": fmt.Errorf("door shed: its line is gone: %w", control.ErrNotReady)}
	for _, path := range []string{"/v1/lockdown", "/v1/release"} {
		status, text := a.ask("POST", path, `{"target":{"all":true}}`)
		if status != 503 || !strings.Contains(text, "door shed: its line is gone") || !strings.Contains(text, `"doors":["front"]`) {
			t.Errorf("%s: %d %s", path, status, text)
		}
	}
	h.stuck["front"] = errors.New("door front: broken")
	if status, text := a.ask("POST", "/v1/lockdown", `{"target":{"all":true}}`); status != 500 && status != 503 || strings.Contains(text, `"doors"`) {
		t.Errorf("none reached: %d %s", status, text)
	}
}

func TestTableVersion(t *testing.T) {
	// The example of engage.md section 5.
	var v control.TableVersion
	if err := v.UnmarshalText([]byte("0x08d1707d1ebcb056")); err != nil || v.String() != "0x08d1707d1ebcb056" {
		t.Fatal(v, err)
	}
	if got := v.Made().Format("2006-01-02 15:04:05"); got != "2014-07-18 08:55:12" {
		t.Error(got)
	}
	for _, odd := range []control.TableVersion{0, 1, 1<<63 - 1, 1<<64 - 1} {
		if got := odd.Made(); !got.IsZero() {
			t.Errorf("%s: made %s", odd, got)
		}
	}
	for _, text := range []string{"", "0x", "0x1", "08d1707d1ebcb05600", "0x08d1707d1ebcb0561", "0x-8d1707d1ebcb056", "0xg8d1707d1ebcb056"} {
		if err := v.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q was read", text)
		}
	}
}
