package store_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gatehouse/agent/site"
	"gatehouse/store"
	"gatehouse/store/storetest"
)

// openAlone opens a store where PINs open alone, and checks it at the end.
func openAlone(t testing.TB, dir string, l store.Log) *store.Store {
	t.Helper()
	s, _ := storetest.Open(t, store.Config{Dir: dir, PINAlone: true}, l, store.Options{})
	return s
}

// whose looks a PIN up and returns the ids that it finds and whether it is a
// duress PIN.
func whose(t testing.TB, s *store.Store, pin site.PIN) (ids []site.CredentialID, duress bool) {
	t.Helper()
	found, duress, err := s.LookupPIN(pin, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range found {
		ids = append(ids, c.ID)
	}
	return ids, duress
}

func wantPIN(t testing.TB, s *store.Store, pin site.PIN, want ...site.CredentialID) {
	t.Helper()
	if got, _ := whose(t, s, pin); !cmp.Equal(got, want) {
		t.Errorf("PIN %s: %v, want %v", string(pin), got, want)
	}
}

// refusedPIN makes a change that must be refused for its PIN.
func refusedPIN(t testing.TB, s *store.Store, field string, ops ...store.Op) {
	t.Helper()
	before := s.Snapshot().Version
	_, err := s.Apply(t.Context(), "t", store.Change{Source: site.SourceOperator, Ops: ops})
	re, ok := errors.AsType[*store.RecordError](err)
	if !ok || re.Field != field || re.Record != len(ops) || !strings.Contains(err.Error(), "choose another PIN") || s.Snapshot().Version != before {
		t.Errorf("got %v, version %d after %d", err, s.Snapshot().Version, before)
	}
}

// TestPINAlone: a PIN finds its credential through every change of it.
func TestPINAlone(t *testing.T) {
	s := openAlone(t, t.TempDir(), &storetest.Log{})
	ada, bob := bits(t, 1, 1), bits(t, 1, 2)
	a := site.CredentialID(apply(t, s, store.PutCredential{Bits: ada, HolderName: "Ada", PIN: "4711", DuressPIN: "0815", Uses: 3}).IDs[0])
	b := site.CredentialID(apply(t, s, store.PutCredential{Bits: bob, HolderName: "Bob"}).IDs[0])
	wantPIN(t, s, "4711", a)
	if _, duress := whose(t, s, "0815"); !duress {
		t.Error("the duress PIN is none")
	}
	if _, duress := whose(t, s, "4711"); duress {
		t.Error("the PIN is a duress PIN")
	}
	for _, none := range []site.PIN{"", "471", "4712", "47110", "x", "4711 "} {
		wantPIN(t, s, none)
	}
	if ok, duress, err := s.CheckPIN(a, "0815"); !ok || !duress || err != nil {
		t.Errorf("with the card: %v %v %v", ok, duress, err)
	}

	refusedPIN(t, s, "pin", store.SetPIN{ID: b, PIN: "4711"})
	refusedPIN(t, s, "pin", store.SetPIN{ID: b, PIN: "0815"})
	refusedPIN(t, s, "duress_pin", store.SetPIN{ID: b, PIN: "9999", DuressPIN: "4711"})
	refusedPIN(t, s, "pin", store.PutHolder{Name: "Eve"}, store.PutCredential{Bits: bits(t, 1, 3), HolderName: "Eve", PIN: "4711"})
	wantPIN(t, s, "9999")

	if _, err := s.CountUse(a); err != nil {
		t.Fatal(err)
	}
	if found, _, err := s.LookupPIN("4711", nil); err != nil || found[0].Used != 1 {
		t.Errorf("uses: %+v, %v", found, err)
	}
	apply(t, s, store.PutCredential{Bits: ada, HolderName: "Ada"}) // keeps the PINs
	wantPIN(t, s, "4711", a)
	apply(t, s, store.SetPIN{ID: a, PIN: "1234"}) // and the duress PIN stays
	wantPIN(t, s, "4711")
	wantPIN(t, s, "1234", a)
	wantPIN(t, s, "0815", a)
	apply(t, s, store.SetPIN{ID: a, ClearPIN: true, PIN: "2345"})
	wantPIN(t, s, "0815")
	apply(t, s, store.SetPIN{ID: a, PIN: "4711"}, store.SetPIN{ID: b, PIN: "2345"}) // whole: 2345 is free at its end
	wantPIN(t, s, "2345", b)

	// Revoked: found, and still nobody else's, but for what replaces it.
	apply(t, s, store.SetState{ID: b, State: site.CredentialRevoked})
	if found, _, err := s.LookupPIN("2345", nil); err != nil || len(found) != 1 || found[0].State != site.CredentialRevoked {
		t.Errorf("revoked: %+v %v", found, err)
	}
	refusedPIN(t, s, "pin", store.SetPIN{ID: a, PIN: "2345"})
	next := site.CredentialID(apply(t, s, store.PutCredential{Bits: bits(t, 1, 4), HolderName: "Bob", PIN: "2345"}).IDs[0])
	wantPIN(t, s, "2345", next)
	apply(t, s, store.DeleteCredential{ID: next})
	wantPIN(t, s, "2345", b)
	apply(t, s, store.SetPIN{ID: b, ClearPIN: true}) // erased
	wantPIN(t, s, "2345")
	apply(t, s, store.SetPIN{ID: a, PIN: "2345"})
	wantPIN(t, s, "2345", a)

	// A new card of the same person in one change, with the PIN of the old one.
	res := apply(t, s, store.PutCredential{Bits: bits(t, 1, 5), HolderName: "Ada", PIN: "2345"}, store.SetState{ID: a, State: site.CredentialRevoked})
	wantPIN(t, s, "2345", site.CredentialID(res.IDs[0]))
}

// TestPINAloneSources: what the operator revokes or blocks of a card is refused
// by its PIN too, whoever owns the record with the PIN.
func TestPINAloneSources(t *testing.T) {
	s := openAlone(t, t.TempDir(), &storetest.Log{})
	b := bits(t, 1, 1)
	res, err := s.Apply(t.Context(), "host", store.Change{Source: site.SourceIPHost, Ops: []store.Op{store.PutCredential{Bits: b, HolderName: "Ada", PIN: "4711"}}})
	if err != nil {
		t.Fatal(err)
	}
	host := site.CredentialID(res.IDs[0])
	apply(t, s, store.PutCredential{Bits: b, HolderName: "Ada", PIN: "1111"})
	wantPIN(t, s, "4711", host) // the operator's own record refuses nothing
	own := site.CredentialID(apply(t, s, store.SetState{ID: host, State: site.CredentialBlocked}).IDs[0])
	wantPIN(t, s, "4711", host, own)
	wantPIN(t, s, "1111", own)
	// Both records of one card may have one PIN.
	apply(t, s, store.SetPIN{ID: own, PIN: "4711"})
	if got, _ := whose(t, s, "4711"); len(got) != 2 {
		t.Errorf("got %v", got)
	}
}

// TestPINNotAlone: PINs of before a reader takes them alone are counted.
func TestPINNotAlone(t *testing.T) {
	dir, l := t.TempDir(), &storetest.Log{}
	s, _ := openStore(t, dir, l)
	var ids []site.CredentialID
	for i, pin := range []string{"1111", "2222", "3333", ""} {
		ids = append(ids, site.CredentialID(apply(t, s, store.PutCredential{Bits: bits(t, 1, uint64(i)), HolderName: "P", PIN: pin}).IDs[0]))
	}
	if n := s.PINsNotAlone(); n != 0 {
		t.Errorf("%d where no PIN opens alone", n)
	}
	wantPIN(t, s, "1111")
	closeStore(t, s)
	s = openAlone(t, dir, l)
	count := func(want int) {
		t.Helper()
		if n := s.PINsNotAlone(); n != want {
			t.Errorf("%d PINs do not open alone, want %d", n, want)
		}
	}
	count(3)
	wantPIN(t, s, "1111")
	apply(t, s, store.SetPIN{ID: ids[0], PIN: "1111"})
	count(2)
	wantPIN(t, s, "1111", ids[0])
	apply(t, s, store.SetPIN{ID: ids[1], DuressPIN: "2223"}) // a duress PIN alone would open alone, the PIN not
	count(2)
	wantPIN(t, s, "2223")
	apply(t, s, store.SetState{ID: ids[1], State: site.CredentialRevoked})
	count(1)
	apply(t, s, store.DeleteCredential{ID: ids[2]})
	count(0)
	closeStore(t, s)
	// Where none opens alone any more, what is there stays and finds nobody.
	s, _ = openStore(t, dir, l)
	wantPIN(t, s, "1111")
	apply(t, s, store.SetPIN{ID: ids[3], PIN: "1111"})
	apply(t, s, store.SetPIN{ID: ids[0], PIN: "4444"})
	closeStore(t, s)
	s = openAlone(t, dir, l)
	count(2)
	wantPIN(t, s, "1111")
}

// pinFile is an import with n more rows without a PIN.
func pinFile(n int, rows ...string) string {
	var b strings.Builder
	b.WriteString("holder,format,facility,card,pin,duress_pin\n")
	for _, r := range rows {
		b.WriteString(r + "\n")
	}
	for i := range n {
		fmt.Fprintf(&b, "Q%d,H10301,9,%d,,\n", i, i)
	}
	return b.String()
}

// TestPINAloneImport: small, large and tried imports know whose PIN is whose.
func TestPINAloneImport(t *testing.T) {
	for _, more := range []int{0, 2100} {
		t.Run(fmt.Sprint(more), func(t *testing.T) {
			s := openAlone(t, t.TempDir(), &storetest.Log{})
			a := site.CredentialID(apply(t, s, store.PutCredential{Bits: bits(t, 1, 1), Format: "H10301", HolderName: "Ada", PIN: "4711"}).IDs[0])
			b := site.CredentialID(apply(t, s, store.PutCredential{Bits: bits(t, 1, 2), Format: "H10301", HolderName: "Bob", PIN: "5822"}).IDs[0])
			r := site.CredentialID(apply(t, s, store.PutCredential{Bits: bits(t, 1, 3), Format: "H10301", HolderName: "Rex", PIN: "6933"}).IDs[0])
			apply(t, s, store.SetState{ID: r, State: site.CredentialRevoked})
			for _, tt := range []struct {
				name, field, want string
				record            int
				rows              []string
			}{
				{"another's", "pin", "another credential's", 2, []string{"Cy,H10301,2,0,1000,", "Eve,H10301,2,1,4711,"}},
				{"another's as duress", "duress_pin", "another credential's", 1, []string{"Eve,H10301,2,1,1000,4711"}},
				{"twice", "pin", "PIN of record 1", 2, []string{"Cy,H10301,2,0,1000,", "Eve,H10301,2,1,1000,"}},
				{"twice, once as duress", "duress_pin", "PIN of record 1", 3, []string{"Cy,H10301,2,0,1000,", "Di,H10301,2,5,1001,", "Eve,H10301,2,1,1002,1000"}},
				{"of one that is revoked", "pin", "another credential's", 1, []string{"Eve,H10301,2,1,6933,"}},
			} {
				for _, dry := range []bool{true, false} {
					_, err := s.Import(t.Context(), "t", site.SourceOperator, csvRows(t, pinFile(more, tt.rows...)), store.ImportOptions{DryRun: dry})
					ie, ok := errors.AsType[*store.ImportError](err)
					if !ok || len(ie.Records) != 1 || ie.Records[0].Record != tt.record || ie.Records[0].Field != tt.field || !strings.Contains(err.Error(), tt.want) {
						t.Errorf("%s, dry %v: %v", tt.name, dry, err)
					}
				}
			}
			wantPIN(t, s, "1000")
			wantPIN(t, s, "4711", a)
			// Ada and Bob change their PINs for one another's, Rex gets a new card.
			res, err := s.Import(t.Context(), "t", site.SourceOperator, csvRows(t, pinFile(more, "Ada,H10301,1,1,5822,", "Bob,H10301,1,2,4711,0815", "Rex,H10301,1,4,6933,")), store.ImportOptions{})
			if err != nil || res.Changed != 2 {
				t.Fatalf("%+v %v", res, err)
			}
			wantPIN(t, s, "5822", a)
			wantPIN(t, s, "4711", b)
			wantPIN(t, s, "0815", b)
			wantPIN(t, s, "6933", lookup(t, s, bits(t, 1, 4))[0].ID)
			refusedPIN(t, s, "pin", store.SetPIN{ID: a, PIN: "0815"})
		})
	}
}

// TestPINAloneRecovered: a lost file comes back from the copy and the log with its
// index, and from the log alone.
func TestPINAloneRecovered(t *testing.T) {
	for _, withCopy := range []bool{true, false} {
		t.Run(fmt.Sprint(withCopy), func(t *testing.T) {
			dir, l := filepath.Join(t.TempDir(), "s"), &storetest.Log{}
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			s, _, err := store.Open(store.Config{Dir: dir, PINAlone: true}, l, store.Options{})
			if err != nil {
				t.Fatal(err)
			}
			a := site.CredentialID(apply(t, s, store.PutCredential{Bits: bits(t, 1, 1), HolderName: "Ada", PIN: "4711"}).IDs[0])
			b := site.CredentialID(apply(t, s, store.PutCredential{Bits: bits(t, 1, 2), HolderName: "Bob", PIN: "5822"}).IDs[0])
			if withCopy {
				if err := s.Copy(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			apply(t, s, store.SetPIN{ID: a, PIN: "6933", DuressPIN: "7044"})
			apply(t, s, store.SetPIN{ID: b, PIN: "4711"})
			closeStore(t, s)
			if err := os.Remove(filepath.Join(dir, "policy.db")); err != nil {
				t.Fatal(err)
			}
			s = openAlone(t, dir, l)
			wantPIN(t, s, "6933", a)
			wantPIN(t, s, "7044", a)
			wantPIN(t, s, "4711", b)
			wantPIN(t, s, "5822")
		})
	}
}
