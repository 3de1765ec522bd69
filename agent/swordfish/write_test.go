package swordfish_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/agent/card"
	"gatehouse/agent/site"
	"gatehouse/agent/swordfish"
)

var update = flag.Bool("update", false, "rewrite the golden files")

const otherKey = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

func options(t testing.TB, key string, change ...func(*swordfish.Profile)) swordfish.WriteOptions {
	t.Helper()
	p, ok := swordfish.ProfileOf("nde")
	if !ok {
		t.Fatal("no profile")
	}
	for _, fn := range change {
		fn(&p)
	}
	return swordfish.WriteOptions{Cards: cards(t, key), Profile: &p, Zone: zoneOf(t, "Europe/Berlin")}
}

func write(t testing.TB, f *swordfish.File, o swordfish.WriteOptions) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := f.Write(&b, o); err != nil {
		t.Fatal(err)
	}
	if n, err := f.Size(o); err != nil || n != int64(b.Len()) {
		t.Fatalf("size %d, %v; %d bytes were written", n, err, b.Len())
	}
	return b.Bytes()
}

// berlin is a time in summer in Berlin.
func berlin(month, day, hour, minute int) time.Time {
	return time.Date(2026, time.Month(month), day, hour-2, minute, 0, 0, time.UTC)
}

func fullFile(t testing.TB) *swordfish.File {
	return &swordfish.File{
		Full: true,
		Add: []swordfish.Numbered{
			{ID: 7, Entry: swordfish.Entry{Block: blockOf(t, 26, "26831000"), Schedules: 0b1}},
			{ID: 65534, Entry: swordfish.Entry{Block: blockOf(t, 26, "26831140"), Function: site.FunctionPassThrough, ADA: true, Schedules: 0b101,
				From: berlin(7, 1, 8, 0), Until: berlin(7, 31, 18, 30)}},
		},
		Schedules: []site.Interval{{Days: site.AllDays, Start: 0, End: 1440}, {Days: 0x3E, Start: 8*60 + 5, End: 17 * 60}, {Days: 0x41, Start: 22 * 60, End: 1440}},
		Holidays:  []swordfish.Holiday{{Start: berlin(8, 15, 0, 0), End: berlin(8, 16, 0, 0), Action: swordfish.HolidayRestricted}},
		Auto:      []swordfish.Auto{{Unlock: true, Days: 0x3E, Minute: 8 * 60}, {Days: 0x3E, Minute: 17*60 + 30}},
		Config:    json.RawMessage(" { \"lock\" : { \"relock\" : 5 } } "), DownloadAt: berlin(7, 2, 2, 17), Version: 0x08d1707d1ebcb056,
	}
}

func changeFile(t testing.TB) *swordfish.File {
	return &swordfish.File{
		Delete:    []swordfish.Card{{ID: 3, Block: blockOf(t, 26, "1b957440")}},
		Update:    []swordfish.Numbered{{ID: 12, Entry: swordfish.Entry{Block: blockOf(t, 37, "815e310628"), Schedules: 0b10, Until: berlin(9, 1, 0, 0)}}},
		Schedules: []site.Interval{{Days: 0x3E, Start: 480, End: 1020}, {Days: 0x7F, Start: 1439, End: 1440}},
		Version:   1,
	}
}

// TestGolden compares a full file and a file of changes byte for byte; the cards are
// the four examples of engage.md section 5, as the document encrypts them.
func TestGolden(t *testing.T) {
	sole := func(p *swordfish.Profile) { p.SoleSchedule, p.DayEnd, p.Holidays = true, 1440, false }
	for _, tt := range []struct {
		name  string
		file  *swordfish.File
		opt   swordfish.WriteOptions
		prime []string
	}{
		{"full", fullFile(t), options(t, testKey), []string{prime1, prime2}},
		{"changes", changeFile(t), options(t, otherKey), []string{"c1eb091ea93845729de142a5140af321", "7a749873c4b3f54dfdd31b3f82e67e55"}},
		{"changes-sole", changeFile(t), options(t, otherKey, sole), nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			name := "testdata/doorfile-" + tt.name + ".json"
			got := write(t, tt.file, tt.opt)
			if *update {
				if err := os.WriteFile(name, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			for _, p := range tt.prime {
				if !bytes.Contains(got, []byte(p)) {
					t.Errorf("%s is not in it", p)
				}
			}
			if again := write(t, tt.file, tt.opt); !bytes.Equal(got, again) {
				t.Error("it is another one the second time")
			}
		})
	}
}

// TestReadBack: what is written of a random table is read as the same table.
func TestReadBack(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 9))
	users := 0
	for i := range 600 {
		w := randomLock(t, r, false)
		w.profile.DayEnd = pick(r, 1439, 1440)
		table := w.compile(w.now)
		o := swordfish.WriteOptions{Cards: cards(t, testKey), Profile: &w.profile, Zone: w.zone}
		f := swordfish.File{Full: i%2 == 0, Schedules: table.Schedules, Holidays: table.Holidays, Auto: table.Auto, Version: r.Uint64() | 1, DownloadAt: time.Date(2026, 7, 1, 2, 3, 4, 0, w.zone)}
		for n, e := range table.Entries {
			switch u := (swordfish.Numbered{ID: uint16(n + 1), Entry: e}); {
			case f.Full || n%3 == 0:
				f.Add = append(f.Add, u)
			case n%3 == 1:
				f.Update = append(f.Update, u)
			default:
				f.Delete = append(f.Delete, swordfish.Card{ID: u.ID, Block: u.Block})
			}
		}
		checkBack(t, &f, o)
		users += len(table.Entries)
	}
	if users < 600 {
		t.Errorf("%d users in all", users)
	}
}

func checkBack(t *testing.T, f *swordfish.File, o swordfish.WriteOptions) {
	t.Helper()
	back := swordfish.File{}
	sum, err := swordfish.ReadFile(bytes.NewReader(write(t, f, o)), swordfish.Options{Cards: o.Cards, Zone: o.Zone}, func(op swordfish.Op, _ int, u *swordfish.User) error {
		e := swordfish.Numbered{ID: u.ID, Entry: swordfish.Entry{Block: u.Block, Function: u.Function, ADA: u.ADA, Schedules: u.Schedules, From: u.From, Until: u.Until}}
		switch op {
		case swordfish.OpAdd:
			back.Add = append(back.Add, e)
		case swordfish.OpUpdate:
			back.Update = append(back.Update, e)
		default:
			back.Delete = append(back.Delete, swordfish.Card{ID: u.ID, Block: u.Block})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(sum.Ignored) > 0 || sum.Config {
		t.Fatalf("%+v", sum)
	}
	back.Full, back.Schedules = sum.DeleteAll, *sum.Schedules
	if sum.Holidays != nil {
		back.Holidays = *sum.Holidays
	}
	if sum.Auto != nil {
		back.Auto = *sum.Auto
	}
	if back.Version, err = swordfish.ParseVersion(sum.Version); err != nil {
		t.Fatal(err)
	}
	if back.DownloadAt, err = time.ParseInLocation("20060102150405", sum.DownloadAt, o.Zone); err != nil {
		t.Fatal(err)
	}
	for _, list := range []*swordfish.File{f, &back} {
		if len(list.Schedules) == 0 {
			list.Schedules = nil
		}
		if len(list.Holidays) == 0 {
			list.Holidays = nil
		}
		if len(list.Auto) == 0 {
			list.Auto = nil
		}
	}
	clear := cmp.Transformer("clear", func(b card.Block) string { return hex.EncodeToString(b[:]) })
	if diff := cmp.Diff(f, &back, clear); diff != "" {
		t.Fatalf("(-want +got):\n%s", diff)
	}
}

func TestWriteRefuses(t *testing.T) {
	type file = swordfish.File
	for _, tt := range []struct {
		name   string
		change func(f *file, p *swordfish.Profile)
		want   string
	}{
		{"a usrID of 0", func(f *file, _ *swordfish.Profile) { f.Add[1].ID = 0 }, "add: record 2: usrID: want a number from 1 to 65534"},
		{"a usrID beyond the last", func(f *file, _ *swordfish.Profile) { f.Add[0].ID = 65535 }, "add: record 1: usrID: want a number from 1 to 65534"},
		{"a card twice", func(f *file, _ *swordfish.Profile) { f.Add[1].Block = f.Add[0].Block }, "add: record 2: primeCr: is not after the one before it"},
		{"a function that the model has not", func(_ *file, p *swordfish.Profile) { delete(p.Functions, site.FunctionPassThrough) }, "add: record 2: fnctn: the model knows no function pass_through"},
		{"a user without a schedule", func(f *file, _ *swordfish.Profile) { f.Add[0].Schedules = 0 }, "add: record 1: crSch: is empty"},
		{"a schedule that is not there", func(f *file, _ *swordfish.Profile) { f.Add[0].Schedules = 0b1000 }, "add: record 1: crSch: names schedule 4 of 3"},
		{"two schedules where one is taken", func(_ *file, p *swordfish.Profile) { p.SoleSchedule = true }, "add: record 2: crSch: is more than one: the model takes one"},
		{"a time that has no 14 digits", func(f *file, _ *swordfish.Profile) { f.Add[0].From = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) }, "add: record 1: actDtTm: is not in the years 1 to 9999"},
		{"changes in a full file", func(f *file, _ *swordfish.Profile) { f.Delete = []swordfish.Card{{ID: 1}} }, "deleteAll: a full file deletes and updates nobody else"},
		{"more schedules than the model takes", func(_ *file, p *swordfish.Profile) { p.Schedules = 2 }, "schedules: are 3: the model takes 2"},
		{"a schedule over midnight", func(f *file, _ *swordfish.Profile) { f.Schedules[0].Start = 1440 }, "schedules: record 1: want days of the week and minutes of one day"},
		{"a schedule of holidays", func(f *file, _ *swordfish.Profile) { f.Schedules[0].Days = 0x80 }, "schedules: record 1: want days of the week and minutes of one day"},
		{"a holiday for a model without", func(_ *file, p *swordfish.Profile) { p.Holidays = false }, "holidays: are 1: more than the model takes"},
		{"a holiday without a word", func(_ *file, p *swordfish.Profile) { p.Actions = nil }, "holidays: record 1: action: the model has no word for it"},
		{"a holiday that ends before it begins", func(f *file, _ *swordfish.Profile) { f.Holidays[0].End = f.Holidays[0].Start }, "holidays: record 1: endDtTm: is not after strtDtTm"},
		{"autoUnlock for a model without", func(_ *file, p *swordfish.Profile) { p.Auto = false }, "autoUnlock: are 2: more than the model takes"},
		{"autoUnlock on no day", func(f *file, _ *swordfish.Profile) { f.Auto[1].Days = 0 }, "autoUnlock: record 2: want days of the week and a minute of the day"},
		{"a config that is a list", func(f *file, _ *swordfish.Profile) { f.Config = json.RawMessage("[]") }, "config: is no object"},
		{"a config that is no JSON", func(f *file, _ *swordfish.Profile) { f.Config = json.RawMessage("{") }, "config: is no object"},
		{"version 0", func(f *file, _ *swordfish.Profile) { f.Version = 0 }, "nxtDbVerTS: 0 is no version of a file"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, o := fullFile(t), options(t, testKey)
			tt.change(f, o.Profile)
			_, err := f.Size(o)
			for _, err := range []error{err, f.Write(new(bytes.Buffer), o)} {
				if fault, ok := errors.AsType[*swordfish.Fault](err); !ok || fault.Error() != tt.want {
					t.Errorf("%v, want %s", err, tt.want)
				}
			}
		})
	}
	for _, o := range []swordfish.WriteOptions{{}, {Cards: cards(t, testKey)}, {Cards: cards(t, testKey), Profile: &swordfish.Profile{}}} {
		if err := fullFile(t).Write(new(bytes.Buffer), o); err == nil {
			t.Errorf("%+v was taken", o)
		}
	}
}

// brokenWriter takes so many bytes.
type brokenWriter struct{ left int }

var errBroken = errors.New("the line is cut")

func (w *brokenWriter) Write(p []byte) (int, error) {
	if w.left -= len(p); w.left < 0 {
		return 0, errBroken
	}
	return len(p), nil
}

// TestWriteStopsAtTheWriter: a cut line ends the writing, and nothing is gathered in
// memory for it.
func TestWriteStopsAtTheWriter(t *testing.T) {
	f, o := manyUsers(t, 5000), options(t, testKey)
	if err := f.Write(&brokenWriter{100_000}, o); !errors.Is(err, errBroken) {
		t.Error(err)
	}
	if n := testing.AllocsPerRun(3, func() {
		if _, err := f.Size(o); err != nil {
			t.Fatal(err)
		}
	}); n > 100 {
		t.Errorf("%v allocations for 5,000 users", n)
	}
	if s := string(write(t, f, o)); strings.Count(s, `"primeCr"`) != 5000 || len(s) > swordfish.MaxFile {
		t.Errorf("%d bytes", len(s))
	}
}
