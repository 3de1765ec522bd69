package oauth

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

const testUUID = "6f1c0a52-6a3e-4c41-9d55-0f6b0a6f2c11"

// world is one device over restarts of its authority.
type world struct {
	t     *testing.T
	dir   string
	uuid  string
	clock Clock
	*Authority

	mu      sync.Mutex // guards refused while Run runs
	refused []Refused
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, dir: t.TempDir(), uuid: testUUID, clock: Clock{Now: time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC), Trusted: true}}
	w.restart()
	return w
}

func (w *world) restart() {
	w.t.Helper()
	a, err := Open(Options{Dir: w.dir, UUID: w.uuid, Clock: func() Clock { return w.clock }, Record: w.record})
	if err != nil {
		w.t.Fatal(err)
	}
	w.Authority = a
}

func (w *world) record(r Refused) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.refused = append(w.refused, r)
}

func (w *world) pass(d time.Duration) { w.clock.Now = w.clock.Now.Add(d) }

func (w *world) add(name string, scopes ...Scope) (Token, Issued) {
	w.t.Helper()
	if scopes == nil {
		scopes = []Scope{ScopeGateway}
	}
	token, issued, err := w.Add(Order{Name: name, Scopes: scopes, Lifetime: time.Hour, By: "cli"})
	if err != nil {
		w.t.Fatal(err)
	}
	return token, issued
}

// cause returns why a token is refused, or "".
func (w *world) cause(token Token, need ...Scope) Cause {
	w.t.Helper()
	_, err := w.Check(Use{Token: token, Need: need, From: "192.0.2.7:1"})
	if err == nil {
		return ""
	}
	r, ok := errors.AsType[*Refusal](err)
	if !ok {
		w.t.Fatal(err)
	}
	return r.Cause
}

func (w *world) want(what string, token Token, want Cause) {
	w.t.Helper()
	if got := w.cause(token); got != want {
		w.t.Errorf("%s: refused for %q, want %q", what, got, want)
	}
}

func TestAddCheckRevoke(t *testing.T) {
	w := newWorld(t)
	token, issued := w.add("bms", ScopeGateway, ScopeBACnet)
	got, err := w.Check(Use{Token: token, Need: []Scope{ScopeBACnet, ScopeGateway}})
	want := Grant{ID: issued.ID, Name: "bms", Scopes: []Scope{ScopeGateway, ScopeBACnet}, Until: w.clock.Now.Add(time.Hour)}
	if err != nil || cmp.Diff(want, got) != "" {
		t.Fatalf("%v\n%s", err, cmp.Diff(want, got))
	}
	if got := w.cause(token, ScopeGateway, ScopeGatewayControl); got != CauseScope {
		t.Errorf("without the scope: %q", got)
	}
	if list := w.List(); len(list) != 1 || list[0].Name != "bms" || list[0].By != "cli" || !list[0].Used.Equal(w.clock.Now) {
		t.Errorf("list %+v", list)
	}
	w.restart()
	w.want("after a restart", token, "")
	other, _ := w.add("other")
	if _, err := w.Revoke(issued.ID); err != nil {
		t.Fatal(err)
	}
	w.want("revoked", token, CauseRevoked)
	w.want("the other", other, "")
	w.restart()
	w.want("revoked, after a restart", token, CauseRevoked)
	w.want("the other, after a restart", other, "")
	for id, want := range map[string]error{issued.ID: ErrEnded, "0123456789abcdef": ErrNotFound, "": ErrNotFound} {
		if _, err := w.Revoke(id); !errors.Is(err, want) {
			t.Errorf("revoke %q: %v, want %v", id, err, want)
		}
	}
}

// TestRotation: a new key signs after its time, the old one checks on, and
// RevokeAll ends both.
func TestRotation(t *testing.T) {
	w := newWorld(t)
	long, _, err := w.Add(Order{Name: "long", Scopes: []Scope{ScopeGateway}, Lifetime: MaxLifetime})
	if err != nil {
		t.Fatal(err)
	}
	keys := func() int { return len(w.state.Load().keys) }
	w.clock.Trusted = false
	w.pass(keyLife)
	w.add("untrusted")
	if keys() != 1 {
		t.Error("a clock that is not trusted retired a key")
	}
	w.clock.Trusted = true
	short, _ := w.add("short")
	if keys() != 2 {
		t.Errorf("%d keys", keys())
	}
	w.restart()
	w.want("of the old key", long, "")
	w.want("of the new key", short, "")
	w.pass(MaxLifetime + keepEnded)
	last, _ := w.add("last")
	if keys() != 1 {
		t.Errorf("%d keys after the tokens of the old ones ended", keys())
	}
	w.want("of a dropped key", long, CauseSignature)
	ended, err := w.RevokeAll()
	if err != nil || len(ended) != 1 || ended[0].Name != "last" {
		t.Errorf("%v %v", ended, err)
	}
	w.want("after RevokeAll", last, CauseSignature)
	fresh, _ := w.add("fresh")
	w.restart()
	w.want("after RevokeAll and a restart", last, CauseSignature)
	w.want("made after RevokeAll", fresh, "")
}

func TestOrders(t *testing.T) {
	w := newWorld(t)
	good := Order{Name: "Gebäude 7", Scopes: []Scope{ScopeGateway}, Lifetime: MinLifetime}
	for _, tt := range []struct {
		name   string
		change func(*Order)
		want   error
	}{
		{"good", func(*Order) {}, nil},
		{"longest", func(o *Order) { o.Lifetime = MaxLifetime }, nil},
		{"no name", func(o *Order) { o.Name = "" }, ErrOrder},
		{"long name", func(o *Order) { o.Name = strings.Repeat("x", MaxName+1) }, ErrOrder},
		{"line feed", func(o *Order) { o.Name = "a\nb" }, ErrOrder},
		{"not UTF-8", func(o *Order) { o.Name = "a\xff" }, ErrOrder},
		{"space before", func(o *Order) { o.Name = " cli" }, ErrOrder},
		{"somebody else's name", func(o *Order) { o.Name = "IPhost" }, ErrOrder},
		{"no scope", func(o *Order) { o.Scopes = nil }, ErrOrder},
		{"unknown scope", func(o *Order) { o.Scopes = []Scope{"root"} }, ErrOrder},
		{"too short", func(o *Order) { o.Lifetime = MinLifetime - 1 }, ErrOrder},
		{"too long", func(o *Order) { o.Lifetime = MaxLifetime + 1 }, ErrOrder},
		{"negative", func(o *Order) { o.Lifetime = -time.Hour }, ErrOrder},
	} {
		o := good
		tt.change(&o)
		before := len(w.List())
		token, _, err := w.Add(o)
		if !errors.Is(err, tt.want) || (err != nil) != (token == "") {
			t.Errorf("%s: %v", tt.name, err)
		}
		if err != nil && len(w.List()) != before {
			t.Errorf("%s: refused, and in the list", tt.name)
		}
	}
}

// TestFull: the number of tokens is bounded; those that ended make room.
func TestFull(t *testing.T) {
	w := newWorld(t)
	now := w.clock.Now
	s := &state{}
	for i := range MaxTokens {
		s.tokens = append(s.tokens, record{Issued: Issued{ID: fmt.Sprintf("%016x", i), Name: "x", Made: now, Until: now.Add(time.Hour)}})
	}
	w.state.Store(s)
	order := Order{Name: "one more", Scopes: []Scope{ScopeGateway}, Lifetime: time.Hour}
	if _, _, err := w.Add(order); !errors.Is(err, ErrFull) {
		t.Fatal(err)
	}
	if _, err := w.Revoke(fmt.Sprintf("%016x", 7)); err != nil {
		t.Fatal(err)
	}
	token, _, err := w.Add(order)
	if err != nil {
		t.Fatal(err)
	}
	w.restart()
	w.want("in a full list", token, "")
	if n := len(w.List()); n != MaxTokens {
		t.Errorf("%d tokens", n)
	}
}

// TestClock: an end is judged against the latest time known, a beginning by a
// trusted clock only.
func TestClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		start := w.clock.Now
		token, _ := w.add("bms")
		w.pass(time.Hour - time.Second)
		w.want("a second before its end", token, "")
		w.pass(time.Second)
		w.want("at its end", token, CauseExpired)
		w.clock = Clock{Now: start, LastTrusted: start.Add(time.Hour)}
		w.want("set back after its end", token, CauseExpired)
		w.restart()
		w.want("set back after its end, after a restart", token, CauseExpired)

		w.clock = Clock{Now: start, Trusted: true, LastTrusted: start}
		w.restart()
		w.want("in its time", token, "")
		w.clock = Clock{Now: time.Unix(0, 0), LastTrusted: start}
		w.want("1970, not trusted", token, "")
		time.Sleep(time.Hour) // elapsed counts, whatever the clock says
		w.want("1970, an hour later", token, CauseExpired)

		w.clock = Clock{Now: start.Add(-leeway - time.Second), Trusted: true}
		w.restart()
		w.want("before its beginning", token, CauseNotYet)
		w.clock.Now = start.Add(-leeway)
		w.want("within the leeway", token, "")
		w.clock = Clock{Now: start, Deny: true, LastTrusted: start}
		w.want("not trusted, where the settings want it", token, CauseClock)
	})
}

func TestUUID(t *testing.T) {
	w := newWorld(t)
	token, _ := w.add("bms")
	w.uuid = "00000000-6a3e-4c41-9d55-0f6b0a6f2c11"
	w.restart()
	w.want("for another device", token, CauseAudience)
	w.uuid = ""
	w.restart()
	if _, err := os.Stat(filepath.Join(w.dir, uuidName)); err == nil {
		t.Error("Open made a UUID")
	}
	id, err := w.UUID()
	if err != nil || !uuidForm.MatchString(id) {
		t.Fatalf("%q %v", id, err)
	}
	own, _ := w.add("own")
	w.restart()
	if again, err := w.UUID(); again != id || err != nil {
		t.Errorf("%q, then %q, %v", id, again, err)
	}
	w.want("of the UUID that was made", own, "")
	if _, err := Open(Options{Dir: w.dir, UUID: "x"}); err == nil {
		t.Error("x is a UUID")
	}
}

// TestOpenWritesNothing: keys are made at first use.
func TestOpenWritesNothing(t *testing.T) {
	w := newWorld(t)
	w.want("before there is a key", "a.b.c", CauseMalformed)
	if files, _ := os.ReadDir(w.dir); len(files) > 0 {
		t.Errorf("files %v", files)
	}
	w.add("bms")
	files, _ := os.ReadDir(w.dir)
	if len(files) != 1 {
		t.Errorf("files %v", files)
	}
	for _, f := range files {
		if info, err := f.Info(); err != nil || info.Mode() != 0o600 {
			t.Errorf("%s: %v %v", f.Name(), info.Mode(), err)
		}
	}
}

// TestWriteFails: a change that cannot be kept does not happen.
func TestWriteFails(t *testing.T) {
	w := newWorld(t)
	token, issued := w.add("bms")
	w.opt.Dir = filepath.Join(w.dir, stateName) // a file: nothing can be written in it
	if token, _, err := w.Add(Order{Name: "x", Scopes: []Scope{ScopeAuth}, Lifetime: time.Hour}); err == nil || token != "" {
		t.Errorf("%q %v", token, err)
	}
	if _, err := w.Revoke(issued.ID); err == nil {
		t.Error("revoked without a disk")
	}
	if _, err := w.RevokeAll(); err == nil {
		t.Error("all revoked without a disk")
	}
	w.want("after refused changes", token, "")
	if n := len(w.List()); n != 1 {
		t.Errorf("%d tokens", n)
	}
}

// TestDamage: whatever byte is altered or missing, nothing of the file is
// believed, and it is not touched.
func TestDamage(t *testing.T) {
	w := newWorld(t)
	_, issued := w.add("bms")
	if _, err := w.Revoke(issued.ID); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(w.dir, stateName)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	try := func(what string, data []byte) {
		t.Helper()
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Open(Options{Dir: w.dir})
		if d, ok := errors.AsType[*DamageError](err); !ok || d.Path != path {
			t.Errorf("%s: %v", what, err)
		}
	}
	for i := range good {
		bad := append([]byte(nil), good...)
		bad[i] ^= 1
		try(fmt.Sprint("byte ", i), bad)
		try(fmt.Sprint("cut at ", i), good[:i])
	}
	try("longer", append(append([]byte(nil), good...), ' '))
	try("too long", make([]byte, maxFile+1))
	if err := os.WriteFile(path, good, 0o600); err != nil {
		t.Fatal(err)
	}
	w.restart()
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Options{Dir: w.dir}); err == nil || !strings.Contains(err.Error(), "0600") {
		t.Errorf("a file that others may read: %v", err)
	}
	if err := os.WriteFile(filepath.Join(w.dir, uuidName), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Options{Dir: w.dir}); !strings.Contains(fmt.Sprint(err), uuidName) {
		t.Errorf("uuid: %v", err)
	}
}
