package store

// The records of door files and what an interrupted one leaves are not visible from
// outside.

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/bbolt"

	"gatehouse/agent/site"
	"gatehouse/agent/swordfish"
)

func sampleFile() DoorFile {
	return DoorFile{Door: "front", Cards: 70, gen: 3,
		Schedules: []site.Interval{{Days: 3, Start: 0, End: 1440}, {Days: 64, Start: 1439, End: 1}},
		Holidays:  []swordfish.Holiday{{Start: time.Unix(1000, 0).UTC(), End: time.Unix(2000, 0).UTC(), Action: swordfish.HolidayPassage}},
		Auto:      []swordfish.Auto{{Unlock: true, Days: 127, Minute: 1439}, {Days: 1}}}
}

var sampleCards = []fileCard{
	{user: 1},
	{user: 65534, schedules: 0xFFFF, function: site.FunctionBlocked, ada: true, from: 1, until: maxUnix},
	{user: 7, schedules: 1, from: minUnix, until: -1},
}

func TestFileRecords(t *testing.T) {
	all := cmp.AllowUnexported(DoorFile{}, fileCard{})
	want := sampleFile()
	enc := appendDoorFile(nil, &want)
	var got DoorFile
	if err := decodeDoorFile([]byte("front"), enc, &got); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got, all); d != "" {
		t.Errorf("file (-want +got):\n%s", d)
	}
	for n := range enc {
		if err := decodeDoorFile([]byte("front"), enc[:n], &got); err == nil {
			t.Errorf("a file cut to %d bytes passes", n)
		}
	}
	for _, want := range sampleCards {
		want.enc[3] = 9
		enc := appendFileCard(nil, &want)
		var got fileCard
		if err := decodeFileCard(want.enc[:], enc, &got); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got, all); d != "" {
			t.Errorf("card (-want +got):\n%s", d)
		}
		for n := range enc {
			if err := decodeFileCard(want.enc[:], enc[:n], &got); err == nil {
				t.Errorf("a card cut to %d bytes passes", n)
			}
		}
	}
}

func FuzzFileRecords(f *testing.F) {
	file := sampleFile()
	f.Add(appendDoorFile(nil, &file))
	for _, c := range sampleCards {
		f.Add(appendFileCard(nil, &c))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		all := cmp.AllowUnexported(DoorFile{}, fileCard{})
		var file, file2 DoorFile
		if decodeDoorFile([]byte("d"), b, &file) == nil {
			if err := decodeDoorFile([]byte("d"), appendDoorFile(nil, &file), &file2); err != nil || !cmp.Equal(file, file2, all) {
				t.Errorf("%+v comes back as %+v, %v", file, file2, err)
			}
		}
		var c, c2 fileCard
		key := make([]byte, 16)
		if decodeFileCard(key, b, &c) == nil {
			if err := decodeFileCard(key, appendFileCard(nil, &c), &c2); err != nil || c != c2 {
				t.Errorf("%+v comes back as %+v, %v", c, c2, err)
			}
		}
	})
}

// TestFileLeftOver: the cards of a file that a cut kept from getting in are deleted,
// and nobody's number is given twice.
func TestFileLeftOver(t *testing.T) {
	dir := t.TempDir()
	s, _, err := Open(Config{Dir: dir}, emptyLog{}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	fl := &filer{s: s, ctx: t.Context(), door: "front", next: []fileCard{{user: 1, enc: [16]byte{1}}}}
	gen, err := fl.fill()
	if err != nil || gen != 1 {
		t.Fatal(gen, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s, rep, err := Open(Config{Dir: dir}, emptyLog{}, Options{})
	if err != nil || rep.Damaged() {
		t.Fatal(rep, err)
	}
	if len(s.Snapshot().Files) != 0 {
		t.Error("half a file is in force")
	}
	fl.s = s
	if gen, err = fl.fill(); err != nil || gen != 2 {
		t.Errorf("number %d, %v: the one before is in the trash", gen, err)
	}
	fl.giveUp(gen)
	if err := s.clearUp(t.Context()); err != nil {
		t.Error(err)
	}
	err = s.policy.view(func(tx *bbolt.Tx) error {
		if n, err := freeFile(tx); n != 1 || err != nil {
			t.Errorf("the next number is %d, %v", n, err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := CheckFile(t.Context(), filepath.Join(dir, policyName)); err != nil {
		t.Error(err)
	}
}

// TestFileCountDamage: a card that is gone from a file is found by the check.
func TestFileCountDamage(t *testing.T) {
	dir := t.TempDir()
	s, _, err := Open(Config{Dir: dir}, emptyLog{}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	f := s.StageFile("front")
	u := swordfish.User{ID: 1, Has: swordfish.TagID | swordfish.TagCard}
	u.Block[0] = 1
	if err := f.Add(swordfish.OpAdd, 1, &u); err != nil {
		t.Fatal(err)
	}
	if _, err := s.CommitFile(t.Context(), "x", f, swordfish.Summary{}); err != nil {
		t.Fatal(err)
	}
	err = s.policy.update(func(tx *bbolt.Tx) error {
		enc := s.enc(u.Block)
		return tx.Bucket(fileBucket(s.Snapshot().Files[0].gen)).Delete(enc[:])
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := CheckFile(t.Context(), filepath.Join(dir, policyName)); err == nil {
		t.Error("the check does not miss the card")
	}
}
