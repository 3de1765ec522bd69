package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gatehouse/agent/card"
	"gatehouse/agent/site"
	"gatehouse/store"
	"gatehouse/store/storetest"
)

// seeded returns a source of chance whose seed is printed.
func seeded(t testing.TB) *rand.Rand {
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("STORE_SEED"); s != "" {
		if _, err := fmt.Sscan(s, &seed); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("STORE_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 1))
}

// fill makes n credentials of H10301, facility 7, numbers 0 to n-1.
func fill(t testing.TB, s *store.Store, n int) []card.Bits {
	t.Helper()
	apply(t, s, office())
	out := make([]card.Bits, n)
	ops := make([]store.Op, 0, 50)
	for i := range n {
		out[i] = bits(t, 7, uint64(i))
		ops = append(ops, store.PutCredential{Bits: out[i], Format: "H10301", HolderName: fmt.Sprintf("Person %d", i%(n/2+1)),
			Rights: []site.Right{{Door: "front", Schedule: "office"}}})
		if len(ops) == cap(ops) || i == n-1 {
			apply(t, s, ops...)
			ops = ops[:0]
		}
	}
	return out
}

// place returns a random place of a file, every other time one that is not
// empty.
func place(rnd *rand.Rand, raw []byte) int {
	at := rnd.IntN(len(raw))
	for full := rnd.IntN(2) == 0; full && raw[at] == 0; {
		at = rnd.IntN(len(raw))
	}
	return at
}

func copyDir(t testing.TB, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

// closeStore closes a store that the test opened by itself.
func closeStore(t testing.TB, s *store.Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func openStore(t testing.TB, dir string, l store.Log) (*store.Store, store.Report) {
	t.Helper()
	s, rep, err := store.Open(store.Config{Dir: dir}, l, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s, rep
}

// TestPolicyOverwritten overwrites the policy file at 50 random places, one
// after the other, each time from the same state: the store opens, every
// credential is decided as before, the one revoked after the copy stays
// revoked, and the damaged file is kept.
func TestPolicyOverwritten(t *testing.T) {
	rnd := seeded(t)
	base := filepath.Join(t.TempDir(), "base")
	if err := os.Mkdir(base, 0o700); err != nil {
		t.Fatal(err)
	}
	l := &storetest.Log{}
	s, _ := openStore(t, base, l)
	cards := fill(t, s, 400)
	if err := s.Copy(t.Context()); err != nil {
		t.Fatal(err)
	}
	revoked := lookup(t, s, cards[123])[0].ID
	apply(t, s, store.SetState{ID: revoked, State: site.CredentialRevoked})
	added := bits(t, 9, 1)
	apply(t, s, store.PutCredential{Bits: added, Format: "H10301", HolderName: "Late"})
	closeStore(t, s)
	recovered := 0
	for i := range 50 {
		dir := filepath.Join(t.TempDir(), "damaged")
		copyDir(t, base, dir)
		path := filepath.Join(dir, "policy.db")
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		at, n := place(rnd, raw), 1+rnd.IntN(64)
		for j := at; j < min(at+n, len(raw)); j++ {
			raw[j] = byte(rnd.Uint32())
		}
		if err := os.WriteFile(path, raw, 0o600); err != nil {
			t.Fatal(err)
		}
		s, rep := openStore(t, dir, l.Clone())
		for j, c := range cards {
			got := lookup(t, s, c)
			want := site.CredentialActive
			if j == 123 {
				want = site.CredentialRevoked
			}
			if len(got) != 1 || got[0].State != want || len(got[0].Rights) != 1 {
				t.Fatalf("place %d (%d bytes at %d): card %d: %+v", i, n, at, j, got)
			}
		}
		if len(lookup(t, s, added)) != 1 {
			t.Errorf("place %d: the late card is unknown", i)
		}
		if rep.PolicyDamage != nil {
			recovered++
			if len(rep.Quarantined) != 1 || !rep.FromCopy || !rep.NoncesReplaced || rep.MissingChanges != 0 {
				t.Errorf("place %d: report %+v", i, rep)
			} else if _, err := os.Stat(rep.Quarantined[0]); err != nil {
				t.Error(err)
			}
		}
		closeStore(t, s)
		if err := storetest.Check(dir); err != nil && rep.PolicyDamage != nil {
			t.Errorf("place %d: after recovery: %v", i, err)
		}
	}
	if recovered == 0 {
		t.Error("no overwrite was damage")
	}
}

// TestDevicesOverwritten does the same to the devices file: a nonce that was
// used up is never taken again, no counter number comes twice.
func TestDevicesOverwritten(t *testing.T) {
	rnd := seeded(t)
	base := filepath.Join(t.TempDir(), "base")
	if err := os.Mkdir(base, 0o700); err != nil {
		t.Fatal(err)
	}
	l := &storetest.Log{}
	s, _ := openStore(t, base, l)
	var used [][16]byte
	n, err := s.Nonce("shed")
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		used = append(used, n)
		var ok bool
		if n, ok, err = s.UseNonce(t.Context(), "shed", n); err != nil || !ok {
			t.Fatal(ok, err)
		}
	}
	var counter uint64
	for range 3000 {
		if counter, err = s.NextCounter("shed"); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.KeepDoor(t.Context(), "front", site.DoorKept{Lockdown: &site.DoorOverride{Mode: site.ModeLockdown, By: "x"}}); err != nil {
		t.Fatal(err)
	}
	closeStore(t, s)
	lost := 0
	for i := range 50 {
		dir := filepath.Join(t.TempDir(), "damaged")
		copyDir(t, base, dir)
		path := filepath.Join(dir, "devices.db")
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		at := place(rnd, raw)
		for j := at; j < min(at+1+rnd.IntN(64), len(raw)); j++ {
			raw[j] = byte(rnd.Uint32())
		}
		if err := os.WriteFile(path, raw, 0o600); err != nil {
			t.Fatal(err)
		}
		s, rep := openStore(t, dir, l.Clone())
		for _, old := range used {
			if _, ok, err := s.UseNonce(t.Context(), "shed", old); ok || err != nil {
				t.Fatalf("place %d: an old nonce: %v %v", i, ok, err)
			}
		}
		if c, err := s.NextCounter("shed"); err != nil || c <= counter {
			t.Errorf("place %d: counter %d after %d: %v", i, c, counter, err)
		}
		kept, err := s.DoorKept()
		if err != nil {
			t.Error(err)
		}
		if rep.DevicesLost {
			lost++
		} else if kept["front"].Lockdown == nil {
			t.Errorf("place %d: lockdown is gone and nobody said so", i)
		}
		closeStore(t, s)
	}
	if lost == 0 {
		t.Error("no overwrite was damage")
	}
}

func TestKeyMissingOrWrong(t *testing.T) {
	dir := t.TempDir()
	l := &storetest.Log{}
	s, rep := openStore(t, dir, l)
	if !rep.Created {
		t.Error("not created")
	}
	apply(t, s, office())
	closeStore(t, s)
	path := filepath.Join(dir, "device.key")
	key, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		key  string
		want error
	}{
		{"missing", "", store.ErrKeyMissing},
		{"short", "abcd", store.ErrKeyWrong},
		{"other", strings.Repeat("0f", 32), store.ErrKeyWrong},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Fatal(err)
			}
			if tt.key != "" {
				if err := os.WriteFile(path, []byte(tt.key), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			_, _, err := store.Open(store.Config{Dir: dir}, l, store.Options{})
			if !errors.Is(err, tt.want) {
				t.Fatalf("got %v", err)
			}
			if tt.key == "" {
				if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
					t.Error("a new key was made")
				}
			} else if strings.Contains(err.Error(), tt.key) {
				t.Error("the error holds the key")
			}
			if _, err := os.Stat(filepath.Join(dir, "quarantine")); !errors.Is(err, fs.ErrNotExist) {
				t.Error("a file was set aside")
			}
		})
	}
	if err := os.WriteFile(path, key, 0o600); err != nil {
		t.Fatal(err)
	}
	s, _ = openStore(t, dir, l)
	closeStore(t, s)
}

// TestDamageAndOtherKey: what is damaged is not set aside while the copy, or
// the devices file, says that it is of another key; a file with one good meta
// page is gone on with, for that copy is not better.
func TestDamageAndOtherKey(t *testing.T) {
	oneMeta := func(raw []byte) []byte { clear(raw[:4096]); return raw }
	cut := func(raw []byte) []byte { return raw[:9000] }
	tests := []struct {
		name    string
		foreign []string // files of another store
		damage  func([]byte) []byte
		want    error
	}{
		{"one meta, the copy", []string{"policy.copy.db"}, oneMeta, nil},
		{"cut, the copy", []string{"policy.copy.db"}, cut, store.ErrKeyWrong},
		{"cut, the devices", []string{"devices.db"}, cut, store.ErrKeyWrong},
		{"one meta, all", []string{"policy.db", "policy.copy.db", "devices.db"}, oneMeta, store.ErrKeyWrong},
		{"cut, all", []string{"policy.db", "policy.copy.db", "devices.db"}, cut, store.ErrKeyWrong},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir, other := t.TempDir(), t.TempDir()
			l := &storetest.Log{}
			var c card.Bits
			for _, d := range []string{other, dir} {
				dl := &storetest.Log{}
				if d == dir {
					dl = l
				}
				s, _ := openStore(t, d, dl)
				c = fill(t, s, 30)[0]
				if err := s.Copy(t.Context()); err != nil {
					t.Fatal(err)
				}
				closeStore(t, s)
			}
			for _, name := range tt.foreign {
				replace(t, filepath.Join(dir, name), func([]byte) []byte { return read(t, filepath.Join(other, name)) })
			}
			path := filepath.Join(dir, "policy.db")
			replace(t, path, tt.damage)
			before := read(t, path)
			s, rep, err := store.Open(store.Config{Dir: dir}, l, store.Options{})
			if !errors.Is(err, tt.want) {
				t.Fatalf("got %v", err)
			}
			if _, err := os.Stat(filepath.Join(dir, "quarantine")); !errors.Is(err, fs.ErrNotExist) {
				t.Error("a file was set aside")
			}
			if tt.want != nil {
				if !bytes.Equal(read(t, path), before) {
					t.Error("the file was touched")
				}
				return
			}
			defer closeStore(t, s)
			if rep.PolicyDamage == nil || len(lookup(t, s, c)) != 1 {
				t.Errorf("report %+v", rep)
			}
		})
	}
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// replace changes a file.
func replace(t testing.TB, path string, fn func([]byte) []byte) {
	t.Helper()
	if err := os.WriteFile(path, fn(read(t, path)), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestNoCopy damages the policy where no copy is: the log has it all, or the
// store refuses until a person says otherwise.
func TestNoCopy(t *testing.T) {
	for _, complete := range []bool{true, false} {
		t.Run(fmt.Sprintf("complete=%v", complete), func(t *testing.T) {
			dir := t.TempDir()
			l := &storetest.Log{}
			s, _ := openStore(t, dir, l)
			cards := fill(t, s, 100)
			apply(t, s, store.SetState{ID: lookup(t, s, cards[5])[0].ID, State: site.CredentialBlocked})
			closeStore(t, s)
			if !complete {
				l.Trim(2)
			}
			if err := os.Truncate(filepath.Join(dir, "policy.db"), 9000); err != nil {
				t.Fatal(err)
			}
			s, rep := openStore(t, dir, l)
			defer closeStore(t, s)
			if rep.PolicyDamage == nil || rep.FromCopy || rep.Incomplete == complete {
				t.Fatalf("report %+v", rep)
			}
			_, err := s.LookupBits(cards[5], nil)
			if complete {
				if err != nil || lookup(t, s, cards[5])[0].State != site.CredentialBlocked {
					t.Errorf("got %v", err)
				}
				return
			}
			if !errors.Is(err, store.ErrIncomplete) {
				t.Errorf("got %v", err)
			}
			if err := s.AcceptIncomplete(t.Context(), "test"); err != nil {
				t.Fatal(err)
			}
			if lookup(t, s, cards[99])[0].State != site.CredentialActive {
				t.Error("not there")
			}
		})
	}
}

// TestLostCommit takes the policy file of an earlier moment: what the log has
// and the file lacks is rolled forward at start.
func TestLostCommit(t *testing.T) {
	dir := t.TempDir()
	l := &storetest.Log{}
	s, _ := openStore(t, dir, l)
	cards := fill(t, s, 10)
	closeStore(t, s)
	path := filepath.Join(dir, "policy.db")
	old, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s, _ = openStore(t, dir, l)
	apply(t, s, store.SetState{ID: lookup(t, s, cards[3])[0].ID, State: site.CredentialRevoked})
	closeStore(t, s)
	if err := os.WriteFile(path, old, 0o600); err != nil {
		t.Fatal(err)
	}
	s, rep := openStore(t, dir, l)
	defer closeStore(t, s)
	if rep.RolledForward != 1 || lookup(t, s, cards[3])[0].State != site.CredentialRevoked {
		t.Errorf("report %+v", rep)
	}
}

// TestLiveDamage damages the file under an open store: reads never crash, and
// Run replaces it.
func TestLiveDamage(t *testing.T) {
	dir := t.TempDir()
	l := &storetest.Log{}
	reports := make(chan store.Report, 10)
	s, _, err := store.Open(store.Config{Dir: dir}, l, store.Options{OnFault: func(r store.Report) { reports <- r }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeStore(t, s) })
	cards := fill(t, s, 300)
	if err := s.Copy(t.Context()); err != nil {
		t.Fatal(err)
	}
	revoked := lookup(t, s, cards[7])[0].ID
	apply(t, s, store.SetState{ID: revoked, State: site.CredentialRevoked})
	storetest.Run(t, s)
	before, err := s.Nonce("shed")
	if err != nil {
		t.Fatal(err)
	}
	// All pages but the metas go.
	f, err := os.OpenFile(filepath.Join(dir, "policy.db"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte(strings.Repeat("\xA5", int(fi.Size())-8192)), 8192); err != nil {
		t.Fatal(err)
	}
	for _, c := range cards {
		if got, err := s.LookupBits(c, nil); err == nil && len(got) == 1 && got[0].ID == revoked && got[0].State != site.CredentialRevoked {
			t.Fatal("a revoked credential is active")
		}
	}
	select {
	case rep := <-reports:
		if rep.PolicyDamage == nil || !rep.FromCopy || !rep.NoncesReplaced {
			t.Errorf("report %+v", rep)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("not recovered")
	}
	for i, c := range cards {
		got := lookup(t, s, c)
		if len(got) != 1 || (got[0].State == site.CredentialRevoked) != (i == 7) {
			t.Fatalf("card %d: %+v", i, got)
		}
	}
	if after, err := s.Nonce("shed"); err != nil || after == before {
		t.Errorf("nonce was not replaced: %v", err)
	}
}

// TestTruncatedLive cuts the file under an open store, which makes faults of
// the memory map.
func TestTruncatedLive(t *testing.T) {
	dir := t.TempDir()
	l := &storetest.Log{}
	s, _ := openStore(t, dir, l)
	cards := fill(t, s, 300)
	if err := os.Truncate(filepath.Join(dir, "policy.db"), 8192); err != nil {
		t.Fatal(err)
	}
	for _, c := range cards {
		if _, err := s.LookupBits(c, nil); !errors.Is(err, store.ErrFault) {
			t.Fatalf("got %v", err)
		}
	}
	if err := s.Close(); err != nil {
		t.Log(err)
	}
	s, rep := openStore(t, dir, l)
	defer closeStore(t, s)
	if rep.PolicyDamage == nil || len(lookup(t, s, cards[0])) != 1 {
		t.Errorf("report %+v", rep)
	}
}

// spyLog calls back in the middle of a scan.
type spyLog struct {
	*storetest.Log
	during func()
}

func (l *spyLog) Scan(ctx context.Context, from site.EventSeq, fn func(site.Event) error) error {
	if l.during != nil {
		l.during()
	}
	return l.Log.Scan(ctx, from, fn)
}

// TestDamageUnseenCopy: while the copy is brought up to date nobody reads it:
// what was revoked after it is active there.
func TestDamageUnseenCopy(t *testing.T) {
	dir := t.TempDir()
	l := &spyLog{Log: &storetest.Log{}}
	reports := make(chan store.Report, 10)
	s, _, err := store.Open(store.Config{Dir: dir}, l, store.Options{OnFault: func(r store.Report) { reports <- r }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeStore(t, s) })
	id := lookup(t, s, fill(t, s, 50)[7])[0].ID
	apply(t, s, store.SetPIN{ID: id, PIN: "4711"})
	if err := s.Copy(t.Context()); err != nil {
		t.Fatal(err)
	}
	apply(t, s, store.SetState{ID: id, State: site.CredentialRevoked}, store.SetPIN{ID: id, ClearPIN: true})
	looked := 0
	l.during = func() {
		looked++
		if c, err := s.Credential(id); err == nil && c.State != site.CredentialRevoked {
			t.Error("a revoked credential is active")
		}
		if ok, _, err := s.CheckPIN(id, "4711"); ok && err == nil {
			t.Error("a PIN of before passes")
		}
	}
	storetest.Run(t, s)
	replace(t, filepath.Join(dir, "policy.db"), func(raw []byte) []byte {
		return append(raw[:8192:8192], bytes.Repeat([]byte{0xA5}, len(raw)-8192)...)
	})
	if _, err := s.Credential(id); !errors.Is(err, store.ErrFault) {
		t.Fatalf("got %v", err)
	}
	rep := <-reports
	for rep.PolicyDamage == nil { // a copy that met the damage first
		rep = <-reports
	}
	if !rep.FromCopy || looked == 0 {
		t.Errorf("looked %d times, report %+v", looked, rep)
	}
	if c, err := s.Credential(id); err != nil || c.State != site.CredentialRevoked {
		t.Errorf("%v %v", c.State, err)
	}
}

// TestDamageOnlyPanic: a panic in the middle of a change is no damage of the
// file. It is opened again as it is, however little log there is.
func TestDamageOnlyPanic(t *testing.T) {
	dir := t.TempDir()
	l := &storetest.Log{}
	s, _, err := store.Open(store.Config{Dir: dir}, l, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeStore(t, s) })
	cards := fill(t, s, 50)
	l.Trim(l.Last())
	version, changed := s.Snapshot().Version, s.Changed()
	_, err = s.Apply(t.Context(), "x", store.Change{Source: site.SourceOperator,
		Ops:   []store.Op{store.PutHolder{Name: "Ada"}, store.PutLevel{Level: site.Level{ID: "l", Rights: []site.Right{{Door: "front"}}}}},
		Doors: func(site.DoorID) bool { panic("of the caller") }})
	if !errors.Is(err, store.ErrFault) {
		t.Fatalf("got %v", err)
	}
	storetest.Run(t, s)
	<-changed
	if got := lookup(t, s, cards[3]); len(got) != 1 || s.Snapshot().Version != version {
		t.Errorf("version %d, %+v", s.Snapshot().Version, got)
	}
	apply(t, s, store.SetState{ID: lookup(t, s, cards[3])[0].ID, State: site.CredentialRevoked})
	if _, err := os.Stat(filepath.Join(dir, "quarantine")); !errors.Is(err, fs.ErrNotExist) {
		t.Error("a file was set aside")
	}
}
