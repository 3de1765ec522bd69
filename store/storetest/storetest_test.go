package storetest_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"gatehouse/agent/site"
	"gatehouse/store"
	"gatehouse/store/storetest"
)

// TestLog: the fake numbers without gaps, remembers what was trimmed, fails and
// waits when told to, keeps what it was given, and its clone goes its own way.
func TestLog(t *testing.T) {
	var l storetest.Log
	for i := range 4 {
		seq, err := l.Append(t.Context(), site.Event{Kind: site.KindPolicy, Change: uint64(i + 1)})
		if err != nil || seq != site.EventSeq(i+1) {
			t.Fatalf("append %d: %d, %v", i, seq, err)
		}
	}
	clone := l.Clone()
	l.Trim(3)
	if got := l.Events(); len(got) != 1 || got[0].Seq != 4 || l.Last() != 4 || l.MaxChange() != 4 {
		t.Errorf("after the trim: %v, last %d, change %d", got, l.Last(), l.MaxChange())
	}
	if len(clone.Events()) != 4 {
		t.Error("a trim reached the clone")
	}
	broken, seen := errors.New("broken"), 0
	err := clone.Scan(t.Context(), 2, func(site.Event) error { seen++; return broken })
	if !errors.Is(err, broken) || seen != 1 {
		t.Errorf("scan: %v after %d events", err, seen)
	}
	l.Fail(broken)
	if _, err := l.Append(t.Context(), site.Event{}); !errors.Is(err, broken) || l.Last() != 4 {
		t.Errorf("append while failing: %v, last %d", err, l.Last())
	}
	l.Fail(nil)
	release := l.Hold()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.Append(ctx, site.Event{}); !errors.Is(err, context.Canceled) {
		t.Errorf("append while held: %v", err)
	}
	if l.Last() != 4 {
		t.Errorf("%d events while held", l.Last())
	}
	release()
	if l.Last() != 5 {
		t.Error("an event that was given is not kept, since its caller did not wait")
	}
	if seq, err := l.Append(t.Context(), site.Event{}); err != nil || seq != 6 {
		t.Errorf("append after the release: %d, %v", seq, err)
	}
}

// TestCheckFinds: the check of every store test fails on a damaged file.
func TestCheckFinds(t *testing.T) {
	dir := t.TempDir()
	s, _, err := store.Open(store.Config{Dir: dir}, &storetest.Log{}, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := storetest.Check(dir); err != nil {
		t.Fatalf("a sound store: %v", err)
	}
	path := filepath.Join(dir, "policy.db")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := 2 * 4096; i < len(data); i += 7 { // behind the two meta pages
		data[i] ^= 0x5A
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if storetest.Check(dir) == nil {
		t.Error("a damaged store passed")
	}
}
