package store_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/agent/card"
	"gatehouse/agent/site"
	"gatehouse/agent/swordfish"
	"gatehouse/store"
	"gatehouse/store/storetest"
)

// fileRow is a record of a door file under test.
type fileRow struct {
	op swordfish.Op
	u  swordfish.User
}

func user(t testing.TB, id uint16, c card.Bits) swordfish.User {
	t.Helper()
	b, err := c.Block()
	if err != nil {
		t.Fatal(err)
	}
	return swordfish.User{ID: id, Block: b, Schedules: 1, Has: swordfish.TagID | swordfish.TagCard | swordfish.TagSchedules}
}

// always is a file's list of one schedule that never ends, and one for Mondays.
func always() *[]site.Interval {
	return &[]site.Interval{{Days: site.AllDays, Start: 0, End: 1440}, {Days: 1 << 1, Start: 480, End: 1020}}
}

// putFile reads rows into a stage and commits it, as the gateway does.
func putFile(t testing.TB, s *store.Store, door site.DoorID, sum swordfish.Summary, rows ...fileRow) (store.FileResult, error) {
	t.Helper()
	f := s.StageFile(door)
	var n [4]int
	for i := range rows {
		op := rows[i].op
		n[op]++
		if err := f.Add(op, n[op], &rows[i].u); err != nil {
			return store.FileResult{}, err
		}
		for j := range sum.NeedSchedule {
			if rows[i].u.Schedules&(1<<j) != 0 && sum.NeedSchedule[j].Record == 0 {
				sum.NeedSchedule[j] = swordfish.Place{Op: op, Record: n[op]}
			}
		}
	}
	return s.CommitFile(t.Context(), "iphost", f, sum)
}

func mustFile(t testing.TB, s *store.Store, door site.DoorID, sum swordfish.Summary, rows ...fileRow) store.FileResult {
	t.Helper()
	r, err := putFile(t, s, door, sum, rows...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func at(t testing.TB, s *store.Store, door site.DoorID, c card.Bits) []site.Credential {
	t.Helper()
	b, err := c.Block()
	if err != nil {
		t.Fatal(err)
	}
	out, err := s.LookupAt(door, b, c.Len(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestDoorFile: what a file says of a card holds at its door only; deleteAll of one
// door takes nothing from another.
func TestDoorFile(t *testing.T) {
	s, l := storetest.New(t)
	a, b, c := bits(t, 1, 1), bits(t, 1, 2), bits(t, 1, 3)
	until := time.Date(2026, 12, 24, 18, 0, 0, 0, time.UTC)
	ua := user(t, 1, a)
	ua.ADA, ua.Function, ua.Until = true, site.FunctionToggle, until
	front := swordfish.Summary{DeleteAll: true, Schedules: always()}
	r := mustFile(t, s, "front", front, fileRow{swordfish.OpAdd, ua}, fileRow{swordfish.OpAdd, user(t, 2, b)})
	if r.Added != 2 || r.Cards != 2 || r.Change == 0 || r.Seq == 0 {
		t.Errorf("%+v", r)
	}
	ub := user(t, 9, a)
	ub.Schedules = 0b10
	mustFile(t, s, "shed", front, fileRow{swordfish.OpAdd, ub})
	got := at(t, s, "front", a)
	if len(got) != 1 {
		t.Fatalf("got %+v", got)
	}
	want := site.Credential{ID: got[0].ID, Source: site.SourceIPHost, Holder: site.HolderID(got[0].ID), Card: site.CardRef{Tag: string(got[0].ID[:6])},
		State: site.CredentialActive, Function: site.FunctionToggle, ADA: true, Until: until, Rights: []site.Right{{Door: "front"}}}
	if d := cmp.Diff(want, got[0]); d != "" {
		t.Errorf("front (-want +got):\n%s", d)
	}
	if got := at(t, s, "shed", a); len(got) != 1 || got[0].ADA || got[0].Function != site.FunctionNorm || !got[0].Until.IsZero() ||
		!slices.Equal(got[0].Rights, []site.Right{{Door: "shed", Schedule: "shed.2"}}) || got[0].ID != want.ID {
		t.Errorf("shed: %+v", got)
	}
	if got := at(t, s, "shed", b); len(got) != 1 || got[0].Rights[0].Door != "front" {
		t.Errorf("a card of another door: %+v", got)
	}
	if got := at(t, s, "shed", c); len(got) != 0 {
		t.Errorf("an unknown card: %+v", got)
	}
	if got := lookup(t, s, a); len(got) != 2 {
		t.Errorf("without a door: %+v", got)
	}
	p := s.Snapshot()
	if len(p.Files) != 2 || len(p.Schedules) != 4 || p.Files[0].Door != "front" || p.Files[0].Cards != 2 || p.Schedules[3].ID != "shed.2" || p.Schedules[3].Source != site.SourceIPHost {
		t.Errorf("policy %+v", p)
	}
	e := l.Events()[0]
	if e.Kind != site.KindPolicy || e.Door != "front" || e.By != "iphost" || e.Source != site.SourceIPHost || e.Text != "door file: 2 cards added, 0 changed, 0 removed" || len(e.Sealed) == 0 {
		t.Errorf("event %+v", e)
	}
	// The same file again changes nothing; an empty one erases this door's alone.
	if r := mustFile(t, s, "front", front, fileRow{swordfish.OpAdd, ua}, fileRow{swordfish.OpAdd, user(t, 2, b)}); r.Change != 0 || r.Cards != 2 {
		t.Errorf("the same file: %+v", r)
	}
	if r := mustFile(t, s, "front", swordfish.Summary{DeleteAll: true}); r.Removed != 2 {
		t.Errorf("%+v", r)
	}
	if got := at(t, s, "shed", a); len(got) != 1 || got[0].Rights[0].Door != "shed" {
		t.Errorf("shed after front was erased: %+v", got)
	}
	if got := at(t, s, "front", b); len(got) != 0 {
		t.Errorf("front after it was erased: %+v", got)
	}
}

// TestDoorFileChanges: update changes what it names; the order is delete, update,
// add.
func TestDoorFileChanges(t *testing.T) {
	s, _ := storetest.New(t)
	a, b, c := bits(t, 1, 1), bits(t, 1, 2), bits(t, 1, 3)
	mustFile(t, s, "front", swordfish.Summary{Schedules: always()}, fileRow{swordfish.OpAdd, user(t, 1, a)}, fileRow{swordfish.OpAdd, user(t, 2, b)})
	ada := swordfish.User{ID: 1, ADA: true, Has: swordfish.TagID | swordfish.TagADA}
	newCard := user(t, 2, c)
	newCard.Has = swordfish.TagID | swordfish.TagCard
	r := mustFile(t, s, "front", swordfish.Summary{}, fileRow{swordfish.OpAdd, user(t, 3, b)}, fileRow{swordfish.OpUpdate, ada}, fileRow{swordfish.OpUpdate, newCard})
	if r.Added != 1 || r.Changed != 2 || r.Removed != 0 || r.Cards != 3 {
		t.Errorf("%+v", r)
	}
	if got := at(t, s, "front", a); len(got) != 1 || !got[0].ADA || len(got[0].Rights) != 1 {
		t.Errorf("updated: %+v", got)
	}
	block, _ := a.Block()
	r = mustFile(t, s, "front", swordfish.Summary{}, fileRow{swordfish.OpDelete, swordfish.User{ID: 3, Has: swordfish.TagID}},
		fileRow{swordfish.OpDelete, swordfish.User{Block: block, Has: swordfish.TagCard}}, fileRow{swordfish.OpDelete, swordfish.User{ID: 77, Has: swordfish.TagID}})
	if r.Removed != 2 || r.Cards != 1 || len(at(t, s, "front", a)) != 0 || len(at(t, s, "front", c)) != 1 {
		t.Errorf("%+v", r)
	}
	// The card of a schedule that is taken away passes nowhere.
	mustFile(t, s, "front", swordfish.Summary{Schedules: &[]site.Interval{}})
	if got := at(t, s, "front", c); got[0].Rights[0].Schedule != "front.1" || len(s.Snapshot().Schedules) != 0 {
		t.Errorf("%+v", got)
	}
}

// TestDoorFileFaults: a fault names the record and changes nothing.
func TestDoorFileFaults(t *testing.T) {
	s, _ := storetest.New(t)
	a, b, c := bits(t, 1, 1), bits(t, 1, 2), bits(t, 1, 3)
	mustFile(t, s, "front", swordfish.Summary{Schedules: always()}, fileRow{swordfish.OpAdd, user(t, 1, a)}, fileRow{swordfish.OpAdd, user(t, 2, b)})
	version := s.Snapshot().Version
	third := user(t, 3, c)
	third.Schedules = 0b100
	late := swordfish.User{ID: 1, From: time.Unix(2000, 0), Has: swordfish.TagID | swordfish.TagFrom}
	soon := user(t, 1, a)
	soon.Until = time.Unix(1000, 0)
	mustFile(t, s, "front", swordfish.Summary{}, fileRow{swordfish.OpUpdate, swordfish.User{ID: 1, Has: swordfish.TagID}}) // nothing
	for _, tt := range []struct {
		rows []fileRow
		want string
	}{
		{[]fileRow{{swordfish.OpAdd, third}}, "add: record 1: crSch: names schedule 3 of 2"},
		{[]fileRow{{swordfish.OpUpdate, swordfish.User{ID: 7, Has: swordfish.TagID}}}, "update: record 1: usrID: the door has no user 7"},
		{[]fileRow{{swordfish.OpAdd, user(t, 4, c)}, {swordfish.OpAdd, user(t, 1, bits(t, 2, 2))}}, "add: record 2: usrID: user 1 has another card"},
		{[]fileRow{{swordfish.OpAdd, user(t, 5, a)}}, "add: record 1: primeCr: is that of user 1"},
		{[]fileRow{{swordfish.OpAdd, user(t, 5, c)}, {swordfish.OpAdd, user(t, 5, bits(t, 2, 2))}}, "add: record 2: usrID: 5 is that of record 1 of add"},
		{[]fileRow{{swordfish.OpAdd, user(t, 5, c)}, {swordfish.OpAdd, user(t, 6, c)}}, "add: record 2: primeCr: is that of record 1 of add"},
		{[]fileRow{{swordfish.OpUpdate, user(t, 1, b)}}, "update: record 1: primeCr: is that of user 2"},
		{[]fileRow{{swordfish.OpAdd, soon}, {swordfish.OpUpdate, late}}, "update: record 1: usrID: 1 is that of record 1 of add"},
	} {
		_, err := putFile(t, s, "front", swordfish.Summary{}, tt.rows...)
		if _, is := errors.AsType[*swordfish.Fault](err); !is || err.Error() != tt.want {
			t.Errorf("got %v, want %s", err, tt.want)
		}
	}
	soon.Has |= swordfish.TagUntil
	mustFile(t, s, "front", swordfish.Summary{}, fileRow{swordfish.OpUpdate, soon})
	if _, err := putFile(t, s, "front", swordfish.Summary{}, fileRow{swordfish.OpUpdate, late}); err == nil || err.Error() != "update: record 1: expDtTm: is not after actDtTm" {
		t.Errorf("got %v", err)
	}
	if v := s.Snapshot().Version; v != version+1 {
		t.Errorf("version %d, want %d", v, version+1)
	}
	if _, err := putFile(t, s, "no door", swordfish.Summary{}); err == nil {
		t.Error("a door of a bad form was taken")
	}
}

// TestDoorFileOperator: the operator's word lies over a file's card, and a file
// cannot bring back what he revoked.
func TestDoorFileOperator(t *testing.T) {
	s, _ := storetest.New(t)
	a := bits(t, 1, 1)
	sum := swordfish.Summary{DeleteAll: true, Schedules: always()}
	mustFile(t, s, "front", sum, fileRow{swordfish.OpAdd, user(t, 1, a)})
	id := at(t, s, "front", a)[0].ID
	if c, err := s.Credential(id); err != nil || len(c.Rights) != 1 {
		t.Errorf("%+v %v", c, err)
	}
	if c, err := s.FindCredential(string(id[:8])); err != nil || c.ID != id {
		t.Errorf("%+v %v", c, err)
	}
	if _, err := s.Apply(t.Context(), "x", store.Change{Source: site.SourceOperator, Ops: []store.Op{store.DeleteCredential{ID: id}}}); err == nil {
		t.Error("the operator deleted a card of a file")
	}
	apply(t, s, store.SetState{ID: id, State: site.CredentialRevoked})
	mustFile(t, s, "front", sum, fileRow{swordfish.OpAdd, user(t, 2, a)})
	got := at(t, s, "front", a)
	if len(got) != 2 || !slices.ContainsFunc(got, func(c site.Credential) bool {
		return c.Source == site.SourceOperator && c.State == site.CredentialRevoked
	}) {
		t.Errorf("got %+v", got)
	}
	n := 0
	if err := s.Credentials(t.Context(), store.Filter{Door: "front"}, func(c site.Credential) error { n++; return nil }); err != nil || n != 1 {
		t.Errorf("%d listed, %v", n, err)
	}
}

// TestDoorFileOneTime: one use over a restart and a crash; the same file again gives
// none, a new record does.
func TestDoorFileOneTime(t *testing.T) {
	dir := t.TempDir()
	l := &storetest.Log{}
	s, _ := openStore(t, dir, l)
	a := bits(t, 1, 1)
	u := user(t, 1, a)
	u.Function = site.FunctionOneTime
	sum := swordfish.Summary{DeleteAll: true, Schedules: always()}
	mustFile(t, s, "front", sum, fileRow{swordfish.OpAdd, u})
	id := at(t, s, "front", a)[0].ID
	if n, err := s.CountUse(id); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	if _, err := l.Append(t.Context(), site.Event{Kind: site.KindAccess, Reason: site.ReasonGranted, Door: "front", Credential: id}); err != nil {
		t.Fatal(err)
	}
	crashed := filepath.Join(t.TempDir(), "crash")
	copyDir(t, dir, crashed) // before the use is in the file
	closeStore(t, s)
	s, _ = openStore(t, crashed, l.Clone())
	if got := at(t, s, "front", a); got[0].Used != 1 {
		t.Errorf("after a crash: %+v", got)
	}
	if _, err := s.CountUse(id); !errors.Is(err, store.ErrUsedUp) {
		t.Errorf("a second use: %v", err)
	}
	mustFile(t, s, "front", sum, fileRow{swordfish.OpAdd, u})
	if _, err := s.CountUse(id); !errors.Is(err, store.ErrUsedUp) {
		t.Errorf("after the same file: %v", err)
	}
	mustFile(t, s, "front", swordfish.Summary{DeleteAll: true})
	mustFile(t, s, "front", sum, fileRow{swordfish.OpAdd, u})
	if n, err := s.CountUse(id); n != 1 || err != nil {
		t.Errorf("after a new record: %d, %v", n, err)
	}
	closeStore(t, s)
}

// TestDoorFileHolidays: what a file asks of its door, and who passes meanwhile.
func TestDoorFileHolidays(t *testing.T) {
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	day := func(d, h, m int) time.Time { return time.Date(2026, 12, d, h, m, 0, 0, zone) }
	now := day(21, 12, 0) // a Monday
	s, _ := storetest.Open(t, store.Config{Dir: t.TempDir()}, &storetest.Log{}, store.Options{Clock: func() (time.Time, bool) { return now, true }})
	a, b := bits(t, 1, 1), bits(t, 1, 2)
	through := user(t, 2, b)
	through.Function = site.FunctionPassThrough
	mustFile(t, s, "front", swordfish.Summary{Schedules: always(),
		Holidays: &[]swordfish.Holiday{{Start: day(24, 14, 0), End: day(25, 0, 0), Action: swordfish.HolidaySecured},
			{Start: day(24, 16, 0), End: day(26, 0, 0), Action: swordfish.HolidayRestricted}, {Start: day(27, 10, 0), End: day(27, 11, 0), Action: swordfish.HolidayPassage}},
		Auto: &[]swordfish.Auto{{Unlock: true, Days: 0b0111110, Minute: 480}, {Days: 0b0111110, Minute: 1020}}},
		fileRow{swordfish.OpAdd, user(t, 1, a)}, fileRow{swordfish.OpAdd, through})
	f := s.Snapshot().Files[0]
	for _, tt := range []struct {
		at    time.Time
		mode  site.Mode
		since time.Time
		a, b  site.ScheduleID
	}{
		{day(21, 7, 59), site.ModeSecured, day(18, 17, 0), "", ""}, // since Friday
		{day(21, 8, 0), site.ModePassage, day(21, 8, 0), "", ""},
		{day(21, 16, 59), site.ModePassage, day(21, 8, 0), "", ""},
		{day(21, 17, 0), site.ModeSecured, day(21, 17, 0), "", ""},
		{day(24, 13, 59), site.ModePassage, day(24, 8, 0), "", ""},
		{day(24, 14, 0), site.ModeSecured, day(24, 14, 0), "", ""},
		{day(24, 16, 0), site.ModeSecured, day(24, 16, 0), "front.restricted", ""},
		{day(25, 23, 59), site.ModeSecured, day(24, 16, 0), "front.restricted", ""},
		{day(26, 0, 0), site.ModeSecured, day(25, 17, 0), "", ""},
		{day(27, 10, 30), site.ModePassage, day(27, 10, 0), "", ""},
	} {
		now = tt.at
		mode, since, ok := f.Asks(tt.at)
		if !ok || mode != tt.mode || !since.Equal(tt.since) {
			t.Errorf("%v: %v since %v, %v; want %v since %v", tt.at, mode, since, ok, tt.mode, tt.since)
		}
		if got := at(t, s, "front", a)[0].Rights; len(got) != 1 || got[0].Schedule != tt.a {
			t.Errorf("%v: a card has %v, want %q", tt.at, got, tt.a)
		}
		if got := at(t, s, "front", b)[0].Rights; len(got) != 1 || got[0].Schedule != tt.b {
			t.Errorf("%v: pass_through has %v, want %q", tt.at, got, tt.b)
		}
	}
	if _, _, ok := (&store.DoorFile{}).Asks(now); ok {
		t.Error("an empty file asks something")
	}
}

// TestDoorFileModel compares random files of three doors with a map, over restarts,
// crashes, and damage that only the copy and the log survive.
func TestDoorFileModel(t *testing.T) {
	rnd := seeded(t)
	type rec struct {
		card card.Bits
		ada  bool
	}
	doors := []site.DoorID{"front", "shed", "lab"}
	model := map[site.DoorID]map[uint16]rec{"front": {}, "shed": {}, "lab": {}}
	dir := filepath.Join(t.TempDir(), "0")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	l := &storetest.Log{}
	s, _ := openStore(t, dir, l)
	cards := make([]card.Bits, 40)
	for i := range cards {
		cards[i] = bits(t, 5, uint64(i))
	}
	check := func(step int) {
		t.Helper()
		for _, d := range doors {
			want := map[card.Bits]rec{}
			for _, r := range model[d] {
				want[r.card] = r
			}
			for i, c := range cards {
				got := slices.DeleteFunc(at(t, s, d, c), func(c site.Credential) bool { return c.Rights[0].Door != d })
				r, there := want[c]
				if len(got) != map[bool]int{true: 1}[there] || there && got[0].ADA != r.ada {
					t.Fatalf("step %d: card %d at %s: %+v, want %v %v", step, i, d, got, there, r)
				}
			}
		}
	}
	for step := range 120 {
		d := doors[rnd.IntN(len(doors))]
		m := map[uint16]rec{}
		sum := swordfish.Summary{DeleteAll: rnd.IntN(3) == 0, Schedules: always()}
		if !sum.DeleteAll {
			for id, r := range model[d] {
				m[id] = r
			}
		}
		var rows []fileRow
		seen := map[uint16]bool{}
		for range rnd.IntN(12) {
			id := uint16(1 + rnd.IntN(20))
			if seen[id] {
				continue
			}
			seen[id] = true
			old, had := m[id]
			switch rnd.IntN(4) {
			case 0:
				rows = append(rows, fileRow{swordfish.OpDelete, swordfish.User{ID: id, Has: swordfish.TagID}})
				delete(m, id)
			case 1:
				if had {
					rows = append(rows, fileRow{swordfish.OpUpdate, swordfish.User{ID: id, ADA: !old.ada, Has: swordfish.TagID | swordfish.TagADA}})
					m[id] = rec{old.card, !old.ada}
				}
			default:
				r := rec{cards[rnd.IntN(len(cards))], rnd.IntN(2) == 0}
				u := user(t, id, r.card)
				u.ADA, u.Has = r.ada, u.Has|swordfish.TagADA
				rows = append(rows, fileRow{swordfish.OpAdd, u})
				if had {
					r.card = old.card
					b, _ := old.card.Block()
					rows[len(rows)-1].u.Block = b
				}
				m[id] = r
			}
		}
		valid := true
		count := map[card.Bits]int{}
		for _, r := range m {
			count[r.card]++
			valid = valid && count[r.card] == 1
		}
		if rnd.IntN(12) == 0 && valid { // a large one
			for i := range 2100 {
				u := user(t, uint16(1000+i), bits(t, 9, uint64(i)))
				if rnd.IntN(3) == 0 || m[u.ID] == (rec{}) {
					rows = append(rows, fileRow{swordfish.OpAdd, u})
					m[u.ID] = rec{bits(t, 9, uint64(i)), false}
				}
			}
		}
		_, err := putFile(t, s, d, sum, rows...)
		if (err == nil) != valid {
			t.Fatalf("step %d: %v, valid %v", step, err, valid)
		}
		if valid {
			model[d] = m
		}
		check(step)
		switch rnd.IntN(10) {
		case 0:
			if err := s.Copy(t.Context()); err != nil {
				t.Fatal(err)
			}
		case 1:
			closeStore(t, s)
			if err := storetest.Check(dir); err != nil {
				t.Fatal(err)
			}
			s, _ = openStore(t, dir, l)
		case 2: // crash
			next := filepath.Join(t.TempDir(), "crash")
			copyDir(t, dir, next)
			closeStore(t, s)
			dir, l = next, l.Clone()
			s, _ = openStore(t, dir, l)
		case 3: // damage
			if err := s.Copy(t.Context()); err != nil {
				t.Fatal(err)
			}
			extra := user(t, 999, bits(t, 77, uint64(step)))
			mustFile(t, s, d, swordfish.Summary{Schedules: always()}, fileRow{swordfish.OpAdd, extra})
			model[d][999] = rec{bits(t, 77, uint64(step)), false}
			mustFile(t, s, d, swordfish.Summary{}, fileRow{swordfish.OpDelete, swordfish.User{ID: 999, Has: swordfish.TagID}})
			delete(model[d], 999)
			closeStore(t, s)
			if err := os.WriteFile(filepath.Join(dir, "policy.db"), make([]byte, 64<<10), 0o600); err != nil {
				t.Fatal(err)
			}
			var rep store.Report
			if s, rep = openStore(t, dir, l); !rep.FromCopy || rep.RolledForward < 2 || rep.MissingChanges != 0 {
				t.Fatalf("step %d: %+v", step, rep)
			}
		}
		check(step)
	}
	closeStore(t, s)
	if err := storetest.Check(dir); err != nil {
		t.Fatal(err)
	}
}

// TestDoorFileNotCopied: a small file after a large one that no copy holds is rolled
// forward onto an older copy: what the copy lacks is missing, and said, and the
// store is whole.
func TestDoorFileNotCopied(t *testing.T) {
	dir := t.TempDir()
	l := &storetest.Log{}
	s, _ := openStore(t, dir, l)
	first, later := bits(t, 1, 1), bits(t, 1, 2)
	mustFile(t, s, "front", swordfish.Summary{Schedules: always()}, fileRow{swordfish.OpAdd, user(t, 1, first)})
	if err := s.Copy(t.Context()); err != nil {
		t.Fatal(err)
	}
	old := read(t, filepath.Join(dir, "policy.copy.db"))
	var rows []fileRow
	for i := range 2500 {
		rows = append(rows, fileRow{swordfish.OpAdd, user(t, uint16(100+i), bits(t, 9, uint64(i)))})
	}
	mustFile(t, s, "front", swordfish.Summary{}, rows...)
	mustFile(t, s, "front", swordfish.Summary{}, fileRow{swordfish.OpAdd, user(t, 2, later)})
	mustFile(t, s, "shed", swordfish.Summary{Schedules: always()}, fileRow{swordfish.OpAdd, user(t, 2, later)})
	closeStore(t, s)
	replace(t, filepath.Join(dir, "policy.copy.db"), func([]byte) []byte { return old })
	replace(t, filepath.Join(dir, "policy.db"), func(b []byte) []byte { return make([]byte, len(b)) })
	s, rep := openStore(t, dir, l)
	if !rep.FromCopy || rep.RolledForward != 2 || rep.MissingChanges != 1 {
		t.Errorf("%+v", rep)
	}
	if len(at(t, s, "front", first)) != 1 || len(at(t, s, "front", later)) != 1 || at(t, s, "shed", later)[0].Rights[0].Door != "shed" || len(at(t, s, "front", bits(t, 9, 1))) != 0 {
		t.Error("what there was is not there")
	}
	closeStore(t, s)
	if err := storetest.Check(dir); err != nil {
		t.Error(err)
	}
}

// TestGoesOnDuringDoorFile: look-ups, revocations and nonces while a large file gets
// in; nobody sees a part of it.
func TestGoesOnDuringDoorFile(t *testing.T) {
	s, _ := storetest.New(t)
	cards := fill(t, s, 50)
	storetest.Run(t, s)
	var rows []fileRow
	for i := range 30000 {
		rows = append(rows, fileRow{swordfish.OpAdd, user(t, uint16(1+i), bits(t, 9, uint64(i)))})
	}
	f := s.StageFile("front")
	for i := range rows {
		if err := f.Add(swordfish.OpAdd, i+1, &rows[i].u); err != nil {
			t.Fatal(err)
		}
	}
	done := make(chan error, 1)
	go func() {
		_, err := s.CommitFile(context.Background(), "iphost", f, swordfish.Summary{Schedules: always()})
		done <- err
	}()
	for i := range cards {
		work(t, s, i, cards[i])
		// Both cards are there or none is: the file is whole. The second is looked
		// for last, so that it may have come in between.
		first := len(at(t, s, "front", bits(t, 9, 0)))
		if last := len(at(t, s, "front", bits(t, 9, 29999))); first > last {
			t.Fatal("a part of a file is in force")
		}
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if len(at(t, s, "front", bits(t, 9, 29999))) != 1 {
		t.Error("the file is not there")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.CommitFile(ctx, "iphost", s.StageFile("front"), swordfish.Summary{DeleteAll: true}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// BenchmarkDoorFiles brings 5,000 cards to each of 200 doors: 1,000,000 records. It
// reports the heap that the process took from the system, and a look-up at a door
// when all are there.
func BenchmarkDoorFiles(b *testing.B) {
	for b.Loop() {
		s, _ := storetest.New(b)
		var before, peak runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		for d := range 200 {
			f := s.StageFile(site.DoorID(fmt.Sprintf("door%d", d)))
			for i := range 5000 {
				u := user(b, uint16(1+i), bits(b, uint64(d), uint64(i)))
				if err := f.Add(swordfish.OpAdd, i+1, &u); err != nil {
					b.Fatal(err)
				}
			}
			if _, err := s.CommitFile(b.Context(), "iphost", f, swordfish.Summary{Schedules: always()}); err != nil {
				b.Fatal(err)
			}
		}
		runtime.ReadMemStats(&peak)
		b.ReportMetric(float64(peak.HeapSys-before.HeapSys)/(1<<20), "heapMiB")
		start := time.Now()
		for i := range 10000 {
			if got := at(b, s, site.DoorID(fmt.Sprintf("door%d", i%200)), bits(b, uint64(i%200), uint64(i%5000))); len(got) != 1 {
				b.Fatal(got)
			}
		}
		b.ReportMetric(float64(time.Since(start).Nanoseconds())/10000, "ns/lookup")
	}
}
