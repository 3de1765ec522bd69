package app

import (
	"context"
	"crypto/ecdsa"
	"crypto/rsa"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"gatehouse/agent/config"
	"gatehouse/agent/door"
	"gatehouse/agent/site"
)

// The end of a lock's mode is noted, replaced, found when it is due, and taken up
// after a restart; without a store the caller is told that it is not kept.
func TestLockEnds(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	clock := func() site.Clock { return site.Clock{Now: now, Trusted: true} }
	kept := map[site.DoorID]site.DoorKept{
		"vault": {Override: &site.DoorOverride{Mode: site.ModePassage, Until: now.Add(time.Minute), By: "cli"}},
		"front": {Override: &site.DoorOverride{Mode: site.ModePassage, Until: now.Add(time.Second), By: "cli"}},
		"attic": {Override: &site.DoorOverride{Mode: site.ModePassage, By: "cli"}},
		// From the event log, where what is weaker stays below.
		"cellar": {Freeze: &site.DoorOverride{Mode: site.ModeFrozenPassage, Until: now.Add(time.Hour), By: "cli"}},
		"safe": {Freeze: &site.DoorOverride{Mode: site.ModeFrozenSecured, By: "cli"},
			Override: &site.DoorOverride{Mode: site.ModePassage, Until: now.Add(time.Second), By: "cli"}},
		"store": {Lockdown: &site.DoorOverride{Mode: site.ModeLockdown, Until: now.Add(2 * time.Hour), By: "cli"},
			Freeze: &site.DoorOverride{Mode: site.ModeFrozenPassage, Until: now.Add(time.Second), By: "cli"}},
	}
	e := newLockEnds(nil, clock, kept, func(id site.DoorID) bool { return id != "front" })
	if ids, next := e.due(now); len(ids) != 0 || !next.Equal(now.Add(time.Minute)) {
		t.Fatalf("due at the start: %v, next %v", ids, next)
	}
	if ids, next := e.due(now.Add(time.Minute)); len(ids) != 1 || ids[0] != "vault" || !next.Equal(now.Add(time.Hour)) {
		t.Fatalf("due at the end: %v, next %v", ids, next)
	}
	for id, want := range map[site.DoorID]time.Time{"vault": now.Add(time.Minute), "cellar": now.Add(time.Hour), "safe": {}, "store": now.Add(2 * time.Hour), "attic": {}} {
		if got := e.until(id); !got.Equal(want) {
			t.Errorf("%s: until %v, want %v", id, got, want)
		}
	}
	ctx := context.Background()
	if err := e.set(ctx, "vault", site.DoorOverride{Mode: site.ModeSecured, By: "cli"}); !errors.Is(err, door.ErrNotKept) {
		t.Errorf("set without a store: %v", err)
	}
	if ids, _ := e.due(now.Add(time.Hour)); len(ids) != 1 || ids[0] != "cellar" {
		t.Errorf("due after it was secured: %v", ids)
	}
	if err := e.set(ctx, "attic", site.DoorOverride{Mode: site.ModeSecured, By: "cli"}); err != nil {
		t.Errorf("nothing to keep: %v", err)
	}
}

// A lock that was taken out of the settings is not forgotten: it still opens.
func TestForgottenLocks(t *testing.T) {
	a := &App{cfg: &config.Config{StateDir: t.TempDir(), Locks: []config.Lock{{ID: "room5"}}}}
	if err := os.Mkdir(filepath.Join(a.cfg.StateDir, "locks"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"room5.table", "room6.table", "room6.lock", "room7.table.damaged"} {
		if err := os.WriteFile(filepath.Join(a.cfg.StateDir, "locks", name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got := a.forgotten(); len(got) != 1 || got[0] != "room6" {
		t.Errorf("forgotten: %v, want room6", got)
	}
}

// The certificate that the first start makes fits vendor locks where there are any,
// and stays.
func TestCertificateForLocks(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	plain, err := siteCertificate(dir, "Test", false, now)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := plain.PrivateKey.(*ecdsa.PrivateKey); !ok || lockWarning(&plain) == "" {
		t.Errorf("without locks: %T, warning %q", plain.PrivateKey, lockWarning(&plain))
	}
	if again, err := siteCertificate(dir, "Test", true, now); err != nil || string(again.Certificate[0]) != string(plain.Certificate[0]) {
		t.Errorf("a later start made another one: %v", err)
	}
	locks, err := siteCertificate(t.TempDir(), "Test", true, now)
	if err != nil {
		t.Fatal(err)
	}
	if key, ok := locks.PrivateKey.(*rsa.PrivateKey); !ok || key.N.BitLen() != 2048 || lockWarning(&locks) != "" {
		t.Errorf("with locks: %T, warning %q", locks.PrivateKey, lockWarning(&locks))
	}
}
