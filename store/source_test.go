package store_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"gatehouse/agent/card"
	"gatehouse/agent/site"
	"gatehouse/store"
	"gatehouse/store/storetest"
)

// TestSources: each source has its own record of a card; the operator's block
// lies over another's; nobody else changes another's record.
func TestSources(t *testing.T) {
	s, _ := storetest.New(t)
	b := bits(t, 7, 7)
	block, err := b.Block()
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.Apply(t.Context(), "host", store.Change{Source: site.SourceIPHost, Ops: []store.Op{
		store.PutSchedule{Schedule: site.Schedule{ID: "office"}},
		store.PutCredential{Block: block, HolderName: "Ada", Rights: []site.Right{{Door: "front", Schedule: "office"}}}}})
	if err != nil {
		t.Fatal(err)
	}
	id := site.CredentialID(r.IDs[1])
	got := lookup(t, s, b)
	if len(got) != 1 || got[0].Source != site.SourceIPHost || got[0].Bits != 0 || got[0].ID != id {
		t.Fatalf("got %+v", got)
	}
	refused := []struct {
		name   string
		source site.Source
		op     store.Op
		field  string
	}{
		{"operator's rights", site.SourceOperator, store.AddRight{ID: id, Right: site.Right{Door: "shed"}}, "credential"},
		{"hive revokes", site.SourceHive, store.SetState{ID: id, State: site.CredentialRevoked}, "credential"},
		{"unblock without a block", site.SourceOperator, store.SetState{ID: id, State: site.CredentialActive}, "credential"},
		{"another's schedule", site.SourceOperator, store.PutCredential{Bits: b, HolderName: "B", Rights: []site.Right{{Door: "front", Schedule: "office"}}}, "rights"},
		{"unknown credential", site.SourceOperator, store.DeleteCredential{ID: "0000000000000000-26"}, "credential"},
		{"unknown holder", site.SourceOperator, store.PutHolder{ID: "h999", Name: "x"}, "holder"},
		{"control character", site.SourceOperator, store.PutHolder{Name: "a\nb"}, "name"},
		{"door of a bad form", site.SourceOperator, store.PutLevel{Level: site.Level{ID: "l", Rights: []site.Right{{Door: "a b"}}}}, "rights"},
		{"interval", site.SourceOperator, store.PutSchedule{Schedule: site.Schedule{ID: "x", Intervals: []site.Interval{{Days: 1, Start: 1440, End: 1}}}}, "intervals"},
		{"holiday", site.SourceOperator, store.PutHoliday{Holiday: site.Holiday{ID: "x", First: site.Date{Year: 2026, Month: 2, Day: 30}}}, "first"},
		{"kind of holiday", site.SourceOperator, store.PutHoliday{Holiday: site.Holiday{ID: "x", First: site.Date{Year: 2026, Month: 2, Day: 3}, Last: site.Date{Year: 2026, Month: 2, Day: 3}, Kind: 9}}, "kind"},
		{"days above holidays", site.SourceOperator, store.PutSchedule{Schedule: site.Schedule{ID: "x", Intervals: []site.Interval{{Days: 1 << 15, Start: 1, End: 2}}}}, "intervals"},
		{"holidays ignored and named", site.SourceOperator, store.PutSchedule{Schedule: site.Schedule{ID: "x", IgnoreHolidays: true, Intervals: []site.Interval{{Days: 1 << 7, Start: 1, End: 2}}}}, "intervals"},
	}
	for _, tt := range refused {
		t.Run(tt.name, func(t *testing.T) {
			before := s.Snapshot().Version
			_, err := s.Apply(t.Context(), "x", store.Change{Source: tt.source, Ops: []store.Op{store.PutHolder{Name: "ok"}, tt.op}})
			re, ok := errors.AsType[*store.RecordError](err)
			if !ok || re.Record != 2 || re.Field != tt.field {
				t.Errorf("got %v", err)
			}
			if s.Snapshot().Version != before {
				t.Error("something was changed")
			}
		})
	}
	apply(t, s, store.SetState{ID: id, State: site.CredentialBlocked})
	got = lookup(t, s, b)
	if len(got) != 2 || got[0].Source != site.SourceOperator || got[0].State != site.CredentialBlocked || len(got[0].Rights) != 0 || got[1].State != site.CredentialActive {
		t.Fatalf("got %+v", got)
	}
	apply(t, s, store.SetState{ID: id, State: site.CredentialActive})
	if got = lookup(t, s, b); got[0].State != site.CredentialActive {
		t.Errorf("got %+v", got)
	}
}

// TestInUse: what something refers to is not removed.
func TestInUse(t *testing.T) {
	s, _ := storetest.New(t)
	r := apply(t, s, office(),
		store.PutLevel{Level: site.Level{ID: "staff", Name: "Staff", Rights: []site.Right{{Door: "front", Schedule: "office"}}}},
		store.PutCredential{Bits: bits(t, 1, 1), HolderName: "Ada", Levels: []site.LevelID{"staff"}})
	id := site.CredentialID(r.IDs[2])
	c, err := s.Credential(id)
	if err != nil {
		t.Fatal(err)
	}
	for _, op := range []store.Op{store.DeleteSchedule{ID: "office"}, store.DeleteLevel{ID: "staff"}, store.DeleteHolder{ID: c.Holder}} {
		if _, err := s.Apply(t.Context(), "x", store.Change{Source: site.SourceOperator, Ops: []store.Op{op}}); err == nil {
			t.Errorf("%T passes", op)
		}
	}
	n := 0
	err = s.Credentials(t.Context(), store.Filter{Door: "front", Holder: c.Holder}, func(site.Credential) error { n++; return nil })
	if n != 1 || err != nil {
		t.Errorf("%d at the door: %v", n, err)
	}
	apply(t, s, store.DeleteCredential{ID: id}, store.DeleteHolder{ID: c.Holder}, store.DeleteLevel{ID: "staff"}, store.DeleteSchedule{ID: "office"})
	if s.HolderName(c.Holder) != "" || len(lookup(t, s, bits(t, 1, 1))) != 0 {
		t.Error("still there")
	}
}

// TestLengths: one block, two lengths; a record that knows its length demands
// it.
func TestLengths(t *testing.T) {
	s, _ := storetest.New(t)
	long, err := card.NewBits(32, []byte{1, 2, 3, 0xFF})
	if err != nil {
		t.Fatal(err)
	}
	short, err := card.NewBits(24, []byte{1, 2, 3})
	if err != nil {
		t.Fatal(err)
	}
	apply(t, s, store.PutCredential{Bits: long, HolderName: "Ada"}, store.PutCredential{Bits: short, HolderName: "Bob"})
	for _, b := range []card.Bits{long, short} {
		if got := lookup(t, s, b); len(got) != 1 || got[0].Bits != b.Len() {
			t.Errorf("got %+v", got)
		}
	}
	back, err := s.Bits(lookup(t, s, long)[0].ID)
	if err != nil || back != long {
		t.Errorf("the card comes back as %v: %v", back, err)
	}
}

// TestLiveDevicesDamage damages the devices file under an open store.
func TestLiveDevicesDamage(t *testing.T) {
	dir := t.TempDir()
	reports := make(chan store.Report, 10)
	s, _, err := store.Open(store.Config{Dir: dir}, &storetest.Log{}, store.Options{OnFault: func(r store.Report) { reports <- r }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeStore(t, s) })
	nonce, err := s.Nonce("shed")
	if err != nil {
		t.Fatal(err)
	}
	counter, err := s.NextCounter("shed")
	if err != nil {
		t.Fatal(err)
	}
	storetest.Run(t, s)
	path := filepath.Join(dir, "devices.db")
	fi, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(make([]byte, fi.Size()-8192), 8192); err != nil {
		t.Fatal(err)
	}
	if _, ok, err := s.UseNonce(t.Context(), "shed", nonce); ok || err == nil {
		t.Fatalf("%v %v", ok, err)
	}
	select {
	case rep := <-reports:
		if !rep.DevicesLost || len(rep.Quarantined) != 1 {
			t.Errorf("report %+v", rep)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("not recovered")
	}
	if _, ok, err := s.UseNonce(t.Context(), "shed", nonce); ok || err != nil {
		t.Errorf("an old nonce: %v %v", ok, err)
	}
	if n, err := s.NextCounter("shed"); err != nil || n <= counter+1<<20 {
		t.Errorf("counter %d after %d: %v", n, counter, err)
	}
}

// TestImportAbandoned: an import that ends in the middle of its merge leaves
// nothing, not even after a crash at that point.
func TestImportAbandoned(t *testing.T) {
	dir := t.TempDir()
	l := &storetest.Log{}
	s, _ := openStore(t, dir, l)
	cards := fill(t, s, 20)
	crashed := filepath.Join(t.TempDir(), "crashed")
	stop := errors.New("stop")
	var caught any
	func() {
		defer func() { caught = recover() }()
		rows, err := store.NewCSV(manyRows(20000))
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = s.Import(t.Context(), "x", site.SourceOperator, rows, store.ImportOptions{Progress: func(_, total int) {
			if total > 0 {
				copyDir(t, dir, crashed)
				panic(stop)
			}
		}})
	}()
	if caught != any(stop) {
		t.Fatal(caught)
	}
	closeStore(t, s)
	for _, d := range []string{dir, crashed} {
		s, rep := openStore(t, d, l.Clone())
		if rep.Damaged() {
			t.Errorf("%+v", rep)
		}
		if c, err := s.Counts(); err != nil || c.Credentials != 20 {
			t.Errorf("%+v %v", c, err)
		}
		n := 0
		if err := s.Holders(t.Context(), func(site.Holder) error { n++; return nil }); err != nil || n != 11 {
			t.Errorf("%d holders: %v", n, err)
		}
		// A second import goes through over what the first one left.
		rows, err := store.NewCSV(manyRows(5000))
		if err != nil {
			t.Fatal(err)
		}
		res, err := s.Import(t.Context(), "x", site.SourceOperator, rows, store.ImportOptions{})
		if err != nil || res.Added != 5000 || res.Holders != 5000-20+9 && res.Holders > 5000 {
			t.Errorf("%+v %v", res, err)
		}
		if len(lookup(t, s, cards[0])) != 1 {
			t.Error("lost")
		}
		closeStore(t, s)
		if err := storetest.Check(d); err != nil {
			t.Error(err)
		}
	}
}
