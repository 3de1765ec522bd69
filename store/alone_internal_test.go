package store

// What an older program has written, and what is inside an index, cannot be made
// from outside.

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.etcd.io/bbolt"

	"gatehouse/agent/card"
	"gatehouse/agent/site"
)

func mustApply(t *testing.T, s *Store, ops ...Op) Result {
	t.Helper()
	res, err := s.Apply(t.Context(), "t", Change{Source: site.SourceOperator, Ops: ops})
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func cardOf(t *testing.T, text string) card.Bits {
	t.Helper()
	b, err := card.ParseBits(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// aged brings the policy file of a closed store to schema 1, as the program of
// before wrote it: no index, the shorter header, schedules and holidays in their
// first version.
func aged(t *testing.T, dir string) {
	t.Helper()
	for _, name := range []string{policyName, devicesName} {
		db, err := bbolt.Open(filepath.Join(dir, name), 0o600, nil)
		if err != nil {
			t.Fatal(err)
		}
		err = db.Update(func(tx *bbolt.Tx) error {
			h, err := getHeader(tx)
			if err != nil {
				return err
			}
			h.Schema = 1
			if err := putHeader(tx, &h); err != nil || name == devicesName {
				return err
			}
			if err := tx.DeleteBucket(aloneIndex(h.Generation)); err != nil {
				return err
			}
			key := idKey(1, "office")
			schedule := []byte{1, 0, 0, 1, 0b0111110, 0xE0, 0x03, 0xB8, 0x08}
			if err := tx.Bucket(bucketSchedule).Put(key, appendValue(nil, codeSchedule, key, schedule)); err != nil {
				return err
			}
			key = idKey(1, "xmas")
			holiday := []byte{1, 0, 0xEA, 0x0F, 12, 24, 0xEA, 0x0F, 12, 24}
			return tx.Bucket(bucketHoliday).Put(key, appendValue(nil, codeHoliday, key, holiday))
		})
		if cerr := db.Close(); err != nil || cerr != nil {
			t.Fatal(err, cerr)
		}
	}
}

// TestOldFile: a store of schema 1 opens with all that it had; its PINs count as
// not usable alone, and a copy of it does as well.
func TestOldFile(t *testing.T) {
	for _, lost := range []bool{false, true} {
		dir := t.TempDir()
		s, _, err := Open(Config{Dir: dir}, emptyLog{}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		day := site.Date{Year: 2026, Month: 12, Day: 24}
		res := mustApply(t, s,
			PutSchedule{site.Schedule{ID: "office", Intervals: []site.Interval{{Days: 0b0111110, Start: 480, End: 1080}}}},
			PutHoliday{site.Holiday{ID: "xmas", First: day, Last: day}},
			PutCredential{Bits: cardOf(t, "26:26831000"), HolderName: "Ada", PIN: "4711", Rights: []site.Right{{Door: "front", Schedule: "office"}}},
			PutCredential{Bits: cardOf(t, "26:26831040"), HolderName: "Bob", PIN: "5822", State: site.CredentialRevoked},
			PutCredential{Bits: cardOf(t, "26:26831080"), HolderName: "Cy"})
		id := site.CredentialID(res.IDs[2])
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		aged(t, dir)
		if err := CheckFile(t.Context(), filepath.Join(dir, policyName)); err != nil {
			t.Fatalf("the aged file: %v", err)
		}
		if lost { // the copy alone is left
			writeCopyOf(t, dir)
		}
		s, rep, err := Open(Config{Dir: dir, PINAlone: true}, emptyLog{}, Options{})
		if err != nil || rep.Damaged() != lost {
			t.Fatalf("%+v %v", rep, err)
		}
		if n := s.PINsNotAlone(); n != 1 {
			t.Errorf("%d PINs do not open alone", n)
		}
		if ok, _, err := s.CheckPIN(id, "4711"); !ok || err != nil {
			t.Errorf("the PIN: %v %v", ok, err)
		}
		p := s.Snapshot()
		if len(p.Schedules) != 1 || p.Schedules[0].Intervals[0].Days != 0b0111110 || len(p.Holidays) != 1 || p.Holidays[0].Kind != 1 {
			t.Errorf("policy %+v", p)
		}
		mustApply(t, s, SetPIN{ID: id, PIN: "4711"})
		if found, _, err := s.LookupPIN("4711", nil); len(found) != 1 || err != nil || s.PINsNotAlone() != 0 {
			t.Errorf("found %v %v", found, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{policyName, devicesName} {
			if err := CheckFile(t.Context(), filepath.Join(dir, name)); err != nil {
				t.Error(err)
			}
		}
	}
}

// writeCopyOf moves the policy file into the place of its copy.
func writeCopyOf(t *testing.T, dir string) {
	t.Helper()
	if err := os.Rename(filepath.Join(dir, policyName), filepath.Join(dir, copyName)); err != nil {
		t.Fatal(err)
	}
}

// TestIndexDamage: the full check finds an index that is not that of the records,
// and a look-up that meets it is a fault, never somebody.
func TestIndexDamage(t *testing.T) {
	for _, tt := range []struct {
		name   string
		harm   func(idx *bbolt.Bucket, k []byte, h *header) error
		check  string
		lookup bool // the look-up itself must see it
	}{
		{"missing entry", func(idx *bbolt.Bucket, k []byte, _ *header) error { return idx.Delete(k) }, "index of PINs", false},
		{"entry of nobody", func(idx *bbolt.Bucket, k []byte, _ *header) error {
			other := append([]byte(nil), k...)
			other[20] ^= 1
			return idx.Put(other, appendValue(nil, codeAlone, other, nil))
		}, "index of PINs", true},
		{"another's entry", func(idx *bbolt.Bucket, k []byte, _ *header) error {
			other := append([]byte(nil), k...)
			other[3] ^= 1
			if err := idx.Delete(k); err != nil {
				return err
			}
			return idx.Put(other, appendValue(nil, codeAlone, other, nil))
		}, "index of PINs", false},
		{"bad entry", func(idx *bbolt.Bucket, k []byte, _ *header) error { return idx.Put(k, []byte{1, 2, 3, 4}) }, "check does not match", true},
		{"key too short", func(idx *bbolt.Bucket, k []byte, _ *header) error {
			return idx.Put(k[:20], appendValue(nil, codeAlone, k[:20], nil))
		}, "under a key of 20", true},
		{"count", func(_ *bbolt.Bucket, _ []byte, h *header) error { h.NotAlone++; return nil }, "do not open alone", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			s, _, err := Open(Config{Dir: dir, PINAlone: true}, emptyLog{}, Options{})
			if err != nil {
				t.Fatal(err)
			}
			mustApply(t, s, PutCredential{Bits: cardOf(t, "26:26831000"), HolderName: "Ada", PIN: "4711"})
			err = s.policy.update(func(tx *bbolt.Tx) error {
				h, err := getHeader(tx)
				if err != nil {
					return err
				}
				idx := tx.Bucket(aloneIndex(h.Generation))
				k, _ := idx.Cursor().First()
				if err := tt.harm(idx, append([]byte(nil), k...), &h); err != nil {
					return err
				}
				return putHeader(tx, &h)
			})
			if err != nil {
				t.Fatal(err)
			}
			if found, _, err := s.LookupPIN("4711", nil); (err != nil) != tt.lookup || err != nil && len(found) != 0 {
				t.Errorf("found %v, %v", found, err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if err := CheckFile(context.Background(), filepath.Join(dir, policyName)); err == nil || !strings.Contains(err.Error(), tt.check) {
				t.Errorf("the check says %v", err)
			}
		})
	}
}

// TestFlipPINs: what is changed while a large import runs is checked against its
// rows, and PINs that change hands meanwhile are no fault.
func TestFlipPINs(t *testing.T) {
	for _, tt := range []struct {
		name string
		ops  func(a, b site.CredentialID) []Op // made between the walk and the switch
		want string
	}{
		{"nothing", nil, ""},
		{"a row's PIN is taken", func(a, _ site.CredentialID) []Op { return []Op{SetPIN{ID: a, PIN: "9000"}} }, "pin: is another credential's"},
		{"PINs change hands", func(a, b site.CredentialID) []Op { return []Op{SetPIN{ID: a, PIN: "5822"}, SetPIN{ID: b, PIN: "4711"}} }, ""},
		{"one is given up", func(a, _ site.CredentialID) []Op { return []Op{SetPIN{ID: a, ClearPIN: true}} }, ""},
		{"one is removed", func(a, _ site.CredentialID) []Op { return []Op{DeleteCredential{ID: a}} }, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			s, _, err := Open(Config{Dir: dir, PINAlone: true}, emptyLog{}, Options{})
			if err != nil {
				t.Fatal(err)
			}
			res := mustApply(t, s, PutCredential{Bits: cardOf(t, "26:26831000"), HolderName: "Ada", PIN: "4711"},
				PutCredential{Bits: cardOf(t, "26:26831040"), HolderName: "Bob", PIN: "5822", DuressPIN: "5823"})
			var text strings.Builder
			text.WriteString("holder,format,bits,pin\nEve,raw,37:0000000000,9000\n")
			for i := range directRows + 10 {
				raw := binary.BigEndian.AppendUint32(nil, uint32(i))
				text.WriteString("Q,raw,32:" + hex.EncodeToString(raw) + ",\n")
			}
			rows, err := NewCSV(strings.NewReader(text.String()))
			if err != nil {
				t.Fatal(err)
			}
			done := false
			_, err = s.Import(t.Context(), "t", site.SourceOperator, rows, ImportOptions{Progress: func(at, total int) {
				if total > 0 && at == total && !done && tt.ops != nil {
					done = true
					mustApply(t, s, tt.ops(site.CredentialID(res.IDs[0]), site.CredentialID(res.IDs[1]))...)
				}
			}})
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) || tt.ops != nil && !done {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			found, _, err := s.LookupPIN("9000", nil)
			if err != nil || len(found) != 1 {
				t.Errorf("9000: %v %v", found, err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if err := CheckFile(t.Context(), filepath.Join(dir, policyName)); err != nil {
				t.Error(err)
			}
		})
	}
}
