package store_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse/agent/site"
	"gatehouse/store"
	"gatehouse/store/storetest"
)

// copyRig is a store that runs in a bubble, with a copy, and what it tells.
type copyRig struct {
	dir     string
	log     *storetest.Log
	s       *store.Store
	reports []store.Report // read them after synctest.Wait
	copies  int
}

func newCopyRig(t *testing.T, dir string) *copyRig {
	r := &copyRig{dir: dir, log: &storetest.Log{}}
	r.open(t)
	fill(t, r.s, 300)
	if err := r.s.Copy(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.copies = 0
	return r
}

func (r *copyRig) open(t *testing.T) {
	var err error
	r.s, _, err = store.Open(store.Config{Dir: r.dir}, r.log, store.Options{
		OnFault:  func(rep store.Report) { r.reports = append(r.reports, rep) },
		OnCopied: func(site.EventSeq) { r.copies++ },
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (r *copyRig) path() string { return filepath.Join(r.dir, "policy.copy.db") }

// run lets the store run for a time of the bubble, then stops it.
func (r *copyRig) run(t *testing.T, during func()) {
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.s.Run(ctx) }()
	during()
	synctest.Wait()
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// restored says what must hold after a damaged copy was found.
func (r *copyRig) restored(t *testing.T, bad []byte) {
	t.Helper()
	if len(r.reports) != 1 || r.reports[0].CopyDamage == nil || r.reports[0].PolicyDamage != nil || len(r.reports[0].Quarantined) != 1 {
		t.Fatalf("reports %+v", r.reports)
	}
	if !bytes.Equal(read(t, r.reports[0].Quarantined[0]), bad) {
		t.Error("what was set aside is not the damaged copy")
	}
	if err := store.CheckFile(t.Context(), r.path()); err != nil || r.copies != 1 {
		t.Errorf("%d copies were made: %v", r.copies, err)
	}
	events := r.log.Events()
	if last := events[len(events)-1]; last.Kind != site.KindFault || !strings.HasPrefix(last.Text, "copy of the policy file damaged") {
		t.Errorf("last event %+v", last)
	}
}

// TestDamageCopy damages the copy before a start: it is found, told of, set
// aside and made anew.
func TestDamageCopy(t *testing.T) {
	rnd := seeded(t)
	foreign := func(t *testing.T) []byte {
		dir := t.TempDir()
		s, _ := openStore(t, dir, &storetest.Log{})
		fill(t, s, 300)
		if err := s.Copy(t.Context()); err != nil {
			t.Fatal(err)
		}
		closeStore(t, s)
		return read(t, filepath.Join(dir, "policy.copy.db"))
	}
	tests := []struct {
		name   string
		damage func([]byte) []byte
	}{
		{"cut", func(raw []byte) []byte { return raw[:len(raw)/2] }},
		{"empty", func([]byte) []byte { return nil }},
		{"first meta", func(raw []byte) []byte { clear(raw[:4096]); return raw }},
		{"second meta", func(raw []byte) []byte { clear(raw[4096:8192]); return raw }},
		{"a record", func(raw []byte) []byte {
			at := bytes.LastIndex(raw, []byte("Person 7"))
			raw[at] ^= byte(1 << rnd.IntN(8))
			return raw
		}},
		{"of another key", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir, other := t.TempDir(), foreign(t)
			if tt.damage == nil {
				tt.damage = func([]byte) []byte { return other }
			}
			synctest.Test(t, func(t *testing.T) {
				r := newCopyRig(t, dir)
				closeStore(t, r.s)
				replace(t, r.path(), tt.damage)
				bad := read(t, r.path())
				r.open(t)
				r.run(t, func() { time.Sleep(time.Minute) })
				r.restored(t, bad)
				closeStore(t, r.s)
			})
		})
	}
}

// TestDamageCopyLater damages the copy of a store that runs: it is found within
// a day, and a sound one is left alone for as long as it is.
func TestDamageCopyLater(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := newCopyRig(t, dir)
		var bad []byte
		r.run(t, func() {
			time.Sleep(50 * time.Hour)
			synctest.Wait()
			if len(r.reports) != 0 || r.copies != 0 {
				t.Errorf("a sound copy: %+v, %d copies", r.reports, r.copies)
			}
			replace(t, r.path(), func(raw []byte) []byte { return raw[:len(raw)-100] })
			bad = read(t, r.path())
			time.Sleep(25 * time.Hour)
		})
		r.restored(t, bad)
		closeStore(t, r.s)
	})
}

// TestDamageCopyGone: a copy that somebody deleted under a running store is no
// damage; it is made anew at the next start.
func TestDamageCopyGone(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := newCopyRig(t, dir)
		if err := os.Remove(r.path()); err != nil {
			t.Fatal(err)
		}
		r.run(t, func() { time.Sleep(time.Minute) })
		if _, err := os.Stat(filepath.Join(dir, "quarantine")); len(r.reports) != 0 || !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%+v, %v", r.reports, err)
		}
		if err := store.CheckFile(t.Context(), r.path()); err != nil || r.copies != 1 {
			t.Errorf("%d copies: %v", r.copies, err)
		}
		closeStore(t, r.s)
	})
}
