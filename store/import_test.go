package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gatehouse/agent/site"
	"gatehouse/store"
	"gatehouse/store/storetest"
)

func csvRows(t testing.TB, text string) store.Rows {
	t.Helper()
	r, err := store.NewCSV(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestImportFaults(t *testing.T) {
	const head = "holder,format,facility,card,bits,pin,duress_pin,function,ada,uses,level,rights,from,until\n"
	tests := []struct {
		name  string
		row   string
		field string
		want  string
	}{
		{"no holder", ",H10301,1,2,,,,,,,,,,", "holder", "is missing"},
		{"unknown format", "A,H99,1,2,,,,,,,,,,", "format", "not known"},
		{"no format", "A,,1,2,,,,,,,,,,", "format", "missing"},
		{"no facility", "A,H10301,,2,,,,,,,,,,", "facility", "is missing"},
		{"card is text", "A,H10301,1,x,,,,,,,,,,", "card", "decimal"},
		{"card too large", "A,H10301,1,65536,,,,,,,,,,", "card", ""},
		{"raw with card", "A,raw,,2,26:26831000,,,,,,,,,", "card", "raw"},
		{"bits too long", "A,raw,,,129:" + strings.Repeat("00", 17) + ",,,,,,,,,", "bits", ""},
		{"short PIN", "A,H10301,1,2,,123,,,,,,,,", "pin", "digits"},
		{"duress is PIN", "A,H10301,1,2,,1234,1234,,,,,,,", "duress_pin", "is the pin"},
		{"function", "A,H10301,1,2,,,,fly,,,,,,", "function", "not known"},
		{"ada", "A,H10301,1,2,,,,,maybe,,,,,", "ada", "true or false"},
		{"uses", "A,H10301,1,2,,,,,,-1,,,,", "uses", "number"},
		{"level", "A,H10301,1,2,,,,,,,boss,,,", "level", "not found"},
		{"door", "A,H10301,1,2,,,,,,,,cellar,,", "rights", "not found"},
		{"schedule", "A,H10301,1,2,,,,,,,,front@never,,", "rights", "not found"},
		{"time", "A,H10301,1,2,,,,,,,,,tomorrow,", "from", "want a time"},
		{"order of times", "A,H10301,1,2,,,,,,,,,2026-02-01T00:00:00Z,2026-01-01T00:00:00Z", "until", "not after"},
		{"twice", "A,H10301,1,1,,,,,,,,,,", "card", "record 1"},
		{"held by another", "Eve,H10301,9,9,,,,,,,,,,", "card", `held by "Ada", and here by "Eve"`},
		{"columns", "A,H10301", "", ""},
	}
	s, l := storetest.New(t)
	apply(t, s, office(), store.PutCredential{Bits: bits(t, 9, 9), Format: "H10301", HolderName: "Ada"})
	version, events := s.Snapshot().Version, len(l.Events())
	opt := store.ImportOptions{Doors: func(d site.DoorID) bool { return d == "front" }}
	for _, tt := range tests {
		for _, dry := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s dry=%v", tt.name, dry), func(t *testing.T) {
				opt.DryRun = dry
				text := head + "A,H10301,1,1,,,,,,,,front@office;front,,\n" + tt.row + "\n"
				_, err := s.Import(t.Context(), "test", site.SourceOperator, csvRows(t, text), opt)
				ie, ok := errors.AsType[*store.ImportError](err)
				if !ok {
					t.Fatalf("got %v", err)
				}
				re := ie.Records[0]
				if re.Record != 2 || re.Field != tt.field || !strings.Contains(re.Error(), tt.want) {
					t.Errorf("got %v", re)
				}
			})
		}
	}
	if s.Snapshot().Version != version || len(l.Events()) != events {
		t.Error("a refused import changed something")
	}
	if _, err := s.FindHolder(site.SourceOperator, "A"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a refused import made a holder: %v", err)
	}
}

func TestImportUpdates(t *testing.T) {
	s, _ := storetest.New(t)
	apply(t, s, office())
	first := "holder,format,facility,card,pin,rights,uses\nAda,H10301,7,1,1234,front@office,3\nBob,H10301,7,2,,front,\n"
	res, err := s.Import(t.Context(), "test", site.SourceOperator, csvRows(t, first), store.ImportOptions{})
	if err != nil {
		t.Fatal(err)
	}
	res.Seq = 0
	if diff := cmp.Diff(store.ImportResult{Rows: 2, Added: 2, Holders: 2, Change: 2}, res); diff != "" {
		t.Error(diff)
	}
	ada := lookup(t, s, bits(t, 7, 1))[0]
	apply(t, s, store.SetState{ID: ada.ID, State: site.CredentialRevoked})
	// A column that is missing keeps what is there; revoked stays revoked.
	second := "card,facility,format,rights\n1,7,H10301,\n2,7,H10301,front\n"
	res, err = s.Import(t.Context(), "test", site.SourceOperator, csvRows(t, second), store.ImportOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if res.Changed != 1 || res.Unchanged != 1 || res.StillBlocked != 1 {
		t.Errorf("result %+v", res)
	}
	got := lookup(t, s, bits(t, 7, 1))[0]
	if got.State != site.CredentialRevoked || got.Uses != 3 || !got.HasPIN || len(got.Rights) != 0 || got.Holder != ada.Holder {
		t.Errorf("got %+v", got)
	}
	if ok, _, err := s.CheckPIN(got.ID, "1234"); !ok || err != nil {
		t.Error("the PIN is gone", err)
	}
}

// TestExportImport takes an export with cards to another store: the same
// credentials come out again.
func TestExportImport(t *testing.T) {
	s, _ := storetest.New(t)
	cards := fill(t, s, 50)
	apply(t, s, store.PutCredential{Bits: bits(t, 3, 3), Format: "raw", HolderName: `Eve "x", <y>`, Function: site.FunctionOneTime, ADA: true})
	export := func(s *store.Store, f store.Format, cards bool) string {
		var b bytes.Buffer
		if _, err := s.Export(t.Context(), &b, store.ExportOptions{WithCards: cards, Format: f}); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	for _, f := range []store.Format{store.FormatCSV, store.FormatJSON} {
		text := export(s, f, true)
		var rows store.Rows
		var err error
		if f == store.FormatCSV {
			rows, err = store.NewCSV(strings.NewReader(text))
		} else {
			rows, err = store.NewJSON(strings.NewReader(text))
		}
		if err != nil {
			t.Fatal(err)
		}
		to, _ := storetest.New(t)
		apply(t, to, office())
		if _, err := to.Import(t.Context(), "test", site.SourceOperator, rows, store.ImportOptions{}); err != nil {
			t.Fatal(err)
		}
		for _, c := range cards {
			a, b := lookup(t, s, c)[0], lookup(t, to, c)[0]
			if s.HolderName(a.Holder) != to.HolderName(b.Holder) || !cmp.Equal(a.Rights, b.Rights) || a.Format != b.Format {
				t.Fatalf("got %+v, want %+v", b, a)
			}
		}
		if got := lookup(t, to, bits(t, 3, 3))[0]; got.Function != site.FunctionOneTime || !got.ADA {
			t.Errorf("got %+v", got)
		}
	}
	if text := export(s, store.FormatCSV, false); strings.Contains(text, "card") || strings.Contains(text, "bits") || strings.Contains(text, "pin") {
		t.Error("an export without cards has a column of them")
	}
}

func TestUses(t *testing.T) {
	s, _ := storetest.New(t)
	b := bits(t, 1, 1)
	id := site.CredentialID(apply(t, s, store.PutCredential{Bits: b, HolderName: "Ada", Uses: 3}).IDs[0])
	for want := uint32(1); want <= 3; want++ {
		if n, err := s.CountUse(id); n != want || err != nil {
			t.Fatal(n, err)
		}
		if want == 2 {
			for range 2 { // one writes, one forgets
				if err := s.FlushUses(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		}
		if got := lookup(t, s, b)[0].Used; got != want {
			t.Errorf("used %d, want %d", got, want)
		}
	}
	if _, err := s.CountUse(id); !errors.Is(err, store.ErrUsedUp) {
		t.Errorf("got %v", err)
	}
	apply(t, s, store.PutCredential{Bits: b, HolderName: "Ada", Uses: 5})
	if got := lookup(t, s, b)[0].Used; got != 0 {
		t.Errorf("used %d of a new allowance", got)
	}
}

func FuzzImportCSV(f *testing.F) {
	for _, s := range []string{"holder,format,facility,card\nA,H10301,1,2\n", "\uFEFFcard\n1\n", "holder\n\"a\nb\"\n", "x\n", "", "card,card\n", "holder,bits\nA,26:26831000\n"} {
		f.Add(s)
	}
	s, _ := storetest.New(f)
	f.Fuzz(func(t *testing.T, text string) {
		rows, err := store.NewCSV(strings.NewReader(text))
		if err == nil {
			drain(t, s, rows)
		}
	})
}

func FuzzImportJSON(f *testing.F) {
	for _, s := range []string{`[{"holder":"A","format":"H10301","facility":1,"card":2,"ada":true}]`, `[]`, `[{"card":1,"card":2}]`, `[[`, `{`, `[{"holder":{}}]`, `[] 1`} {
		f.Add(s)
	}
	s, _ := storetest.New(f)
	f.Fuzz(func(t *testing.T, text string) {
		rows, err := store.NewJSON(strings.NewReader(text))
		if err == nil {
			drain(t, s, rows)
		}
	})
}

// drain reads rows to their end: it comes, an error is the last thing, and a
// dry run never changes the store.
func drain(t *testing.T, s *store.Store, rows store.Rows) {
	before := s.Snapshot().Version
	res, err := s.Import(t.Context(), "fuzz", site.SourceOperator, rows, store.ImportOptions{DryRun: true})
	if err == nil && res.Added+res.Unchanged+res.Changed != res.Rows {
		t.Errorf("result %+v", res)
	}
	var row store.Row
	if err := rows.Next(&row); err == nil {
		t.Error("a row after the end")
	} else if _, ok := errors.AsType[*store.RecordError](err); !ok && !errors.Is(err, io.EOF) {
		t.Errorf("got %v", err)
	}
	if s.Snapshot().Version != before {
		t.Error("a dry run changed the store")
	}
}
