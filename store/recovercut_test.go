package store_test

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

// cutLog fails where a power cut would end a recovery: while the log is read.
type cutLog struct {
	*storetest.Log
	cut   error
	spare int // readings that go well before
}

func (l *cutLog) Scan(ctx context.Context, from site.EventSeq, fn func(site.Event) error) error {
	if l.cut != nil {
		if l.spare == 0 {
			return l.cut
		}
		l.spare--
	}
	return l.Log.Scan(ctx, from, fn)
}

// TestRecoveryCut: a recovery that a power cut ended is made again at the next
// start, and told: nothing half made passes for the policy.
func TestRecoveryCut(t *testing.T) {
	for _, tt := range []struct {
		name     string
		copy     bool // there is a verified copy
		trimmed  bool // the log does not reach back to the first change
		unusable bool // cards are refused
	}{
		{name: "from the copy", copy: true, trimmed: true},
		{name: "from the log alone"},
		{name: "from a log that does not reach back", trimmed: true, unusable: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir, l := t.TempDir(), &cutLog{Log: &storetest.Log{}}
			s, _ := openStore(t, dir, l)
			cards := fill(t, s, 50)
			nonce, err := s.Nonce("shed")
			if err != nil {
				t.Fatal(err)
			}
			if tt.copy {
				if err := s.Copy(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if tt.trimmed {
				l.Trim(l.Last())
			}
			apply(t, s, store.SetState{ID: lookup(t, s, cards[5])[0].ID, State: site.CredentialRevoked})
			closeStore(t, s)
			if err := os.Truncate(filepath.Join(dir, "policy.db"), 9000); err != nil {
				t.Fatal(err)
			}
			l.cut = errors.New("power cut")
			if _, _, err := store.Open(store.Config{Dir: dir}, l, store.Options{}); !errors.Is(err, l.cut) {
				t.Fatalf("got %v", err)
			}
			l.cut = nil

			s, rep := openStore(t, dir, l)
			if rep.PolicyDamage == nil || !rep.NoncesReplaced || rep.FromCopy != tt.copy || rep.Incomplete != tt.unusable {
				t.Errorf("report %+v", rep)
			}
			if n, err := s.Nonce("shed"); err != nil || n == nonce {
				t.Errorf("the nonce is the one of before: %v", err)
			}
			switch got, err := s.LookupBits(cards[5], nil); {
			case tt.unusable && !errors.Is(err, store.ErrIncomplete):
				t.Errorf("looked up in what is left: %v", err)
			case !tt.unusable && (err != nil || len(got) != 1 || got[0].State != site.CredentialRevoked):
				t.Errorf("got %v, %v", got, err)
			}
			closeStore(t, s)
			s, rep = openStore(t, dir, l)
			if rep.PolicyDamage != nil || rep.Incomplete != tt.unusable {
				t.Errorf("recovered once more: %+v", rep)
			}
			closeStore(t, s)
		})
	}
}

// TestDevicesRecoveryCut: until credits and doors are kept again, the devices file
// counts as lost: a cut in between loses no lockdown.
func TestDevicesRecoveryCut(t *testing.T) {
	dir, l := t.TempDir(), &cutLog{Log: &storetest.Log{}}
	s, _ := openStore(t, dir, l)
	ada := site.HolderID(apply(t, s, store.PutHolder{Name: "Ada"}).IDs[0])
	credits := func() uint32 {
		t.Helper()
		n, err := s.Credits(ada, 5)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	vend := store.Vend{Device: "snack", Holder: ada, Initial: 5, Event: func(bool, uint32) site.Event { return site.Event{} }}
	if res, err := s.Vend(t.Context(), vend); err != nil || !res.Taken || credits() != 4 {
		t.Fatalf("%+v, %v", res, err)
	}
	closeStore(t, s)
	if err := os.Truncate(filepath.Join(dir, "devices.db"), 9000); err != nil {
		t.Fatal(err)
	}
	l.cut, l.spare = errors.New("power cut"), 1 // that of the policy
	if _, _, err := store.Open(store.Config{Dir: dir}, l, store.Options{}); !errors.Is(err, l.cut) {
		t.Fatalf("got %v", err)
	}
	l.cut = nil
	for range 2 { // the second one before the doors were kept again
		var rep store.Report
		if s, rep = openStore(t, dir, l); !rep.DevicesLost || rep.DevicesDamage == nil || !rep.NoncesReplaced || credits() != 4 {
			t.Errorf("%d credits, report %+v", credits(), rep)
		}
		closeStore(t, s)
	}
	s, _ = openStore(t, dir, l)
	if err := s.DoorsKept(); err != nil {
		t.Fatal(err)
	}
	closeStore(t, s)
	s, rep := openStore(t, dir, l)
	if rep.Damaged() || rep.DevicesLost || credits() != 4 {
		t.Errorf("recovered once more: %d credits, report %+v", credits(), rep)
	}
	closeStore(t, s)
}
