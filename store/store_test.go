package store_test

import (
	"errors"
	"testing"

	"gatehouse/agent/card"
	"gatehouse/agent/site"
	"gatehouse/store"
	"gatehouse/store/storetest"
)

// bits returns the H10301 bits of a card.
func bits(t testing.TB, facility, number uint64) card.Bits {
	t.Helper()
	b, err := card.HiveBadge(facility<<16 | number)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func apply(t testing.TB, s *store.Store, ops ...store.Op) store.Result {
	t.Helper()
	r, err := s.Apply(t.Context(), "test", store.Change{Source: site.SourceOperator, Ops: ops})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func lookup(t testing.TB, s *store.Store, b card.Bits) []site.Credential {
	t.Helper()
	c, err := s.LookupBits(b, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestApplyAndLookup(t *testing.T) {
	s, l := storetest.New(t)
	if v := s.Snapshot().Version; v != 0 {
		t.Fatalf("version %d before any change", v)
	}
	changed := s.Changed()
	b := bits(t, 77, 1568)
	r := apply(t, s,
		store.PutSchedule{Schedule: site.Schedule{ID: "office", Intervals: []site.Interval{{Days: site.AllDays, Start: 480, End: 1080}}}},
		store.PutCredential{Bits: b, Format: "H10301", Last2: "68", HolderName: "Ada", PIN: "4711",
			Rights: []site.Right{{Door: "front", Schedule: "office"}}})
	select {
	case <-changed:
	default:
		t.Error("change was not announced")
	}
	got := lookup(t, s, b)
	if len(got) != 1 || string(got[0].ID) != r.IDs[1] || got[0].State != site.CredentialActive || !got[0].HasPIN || s.HolderName(got[0].Holder) != "Ada" {
		t.Fatalf("got %+v", got)
	}
	for pin, want := range map[string]bool{"4711": true, "4712": false, "": false} {
		if ok, duress, err := s.CheckPIN(got[0].ID, pin); ok != want || duress || err != nil {
			t.Errorf("PIN %q: %v %v %v", pin, ok, duress, err)
		}
	}
	if c, err := s.FindCredential(string(got[0].ID)[:5]); err != nil || c.ID != got[0].ID {
		t.Errorf("find: %v %v", c.ID, err)
	}
	apply(t, s, store.SetState{ID: got[0].ID, State: site.CredentialRevoked})
	if got := lookup(t, s, b); got[0].State != site.CredentialRevoked {
		t.Errorf("state %v", got[0].State)
	}
	_, err := s.Apply(t.Context(), "test", store.Change{Source: site.SourceOperator, Ops: []store.Op{
		store.SetState{ID: got[0].ID, State: site.CredentialActive}}})
	re, ok := errors.AsType[*store.RecordError](err)
	if !ok || re.Record != 1 || re.Field != "state" {
		t.Errorf("got %v", err)
	}
	if n := len(l.Events()); n != 2 {
		t.Errorf("%d events", n)
	}
}
