package swordfish_test

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/agent/card"
	"gatehouse/agent/site"
	"gatehouse/agent/swordfish"
)

const prime1, prime2 = "0d6807e6dbac61481a8ff8b0dce95998", "f7a580a987f982c4ee1d6e6419ad3d17"

type row struct {
	Op swordfish.Op
	N  int
	U  swordfish.User
}

func read(t testing.TB, text string) ([]row, swordfish.Summary, error) {
	t.Helper()
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	var out []row
	sum, err := swordfish.ReadFile(strings.NewReader(text), swordfish.Options{Cards: cards(t, testKey), Zone: zone},
		func(op swordfish.Op, n int, u *swordfish.User) error {
			out = append(out, row{op, n, *u})
			return nil
		})
	return out, sum, err
}

// TestReadFile reads a whole file with every member, in the odd shapes that
// hosts use.
func TestReadFile(t *testing.T) {
	rows, sum, err := read(t, `{"db":{"usrRcrd":{"deleteAll":1,
		"delete":[7,"8",{"usrID":9},{"primeCr":"`+prime2+`"},"`+strings.ToUpper(prime1)+`"],
		"update":[{"usrID":2,"expDtTm":20301231235959}],
		"add":[{"usrID":1,"adaEn":1,"fnctn":"norm","crSch":[1,3],"actDtTm":"20260701080000","expDtTm":20261224180000,
		  "primeCr":"`+prime1+`","prCrTyp":"card","scndCr":"null","scndCrTyp":"null"},
		 {"usrID":"65534","adaEn":"0","crSch":2,"actDtTm":null,"expDtTm":"","primeCr":"`+prime2+`","scndCr":null,"prmCrTyp":"card","adaOn":1}]},
		"schedules":[{"days":["Mo","Fr"],"strtHr":8,"strtMn":"30","lngth":60},{"days":["Su"],"strtHr":0,"strtMn":0,"lngth":1439},{"days":["Sa"],"strtHr":22,"strtMn":0,"lngth":480}],
		"holidays":[{"strtDtTm":"20261224000000","endDtTm":20261227000000,"action":"Secured"}],
		"autoUnlock":[{"action":"pass","strtHr":8,"strtMn":0,"days":["Mo"]},{"action":"sec","strtHr":17,"strtMn":5,"days":["Mo"]}],"extra":[[{"a":[1]}],2]},
		"config":{"x":{"y":[]}},"dbDwnLdTm":20140719085516,"nxtDbVerTS":"0x08d1707d1ebcb056"}`)
	if err != nil {
		t.Fatal(err)
	}
	zone, _ := time.LoadLocation("Europe/Berlin")
	at := func(y, mo, d, h, mi, s int) time.Time { return time.Date(y, time.Month(mo), d, h, mi, s, 0, zone) }
	one, two := blockOf(t, 26, "26831000"), blockOf(t, 26, "26831140")
	id, cr := swordfish.TagID, swordfish.TagCard
	want := []row{
		{swordfish.OpDelete, 1, swordfish.User{ID: 7, Has: id}},
		{swordfish.OpDelete, 2, swordfish.User{ID: 8, Has: id}},
		{swordfish.OpDelete, 3, swordfish.User{ID: 9, Has: id}},
		{swordfish.OpDelete, 4, swordfish.User{Has: cr, Block: two}},
		{swordfish.OpDelete, 5, swordfish.User{Has: cr, Block: one}},
		{swordfish.OpUpdate, 1, swordfish.User{ID: 2, Has: id | swordfish.TagUntil, Until: at(2030, 12, 31, 23, 59, 59)}},
		{swordfish.OpAdd, 1, swordfish.User{ID: 1, ADA: true, Schedules: 0b101, From: at(2026, 7, 1, 8, 0, 0), Until: at(2026, 12, 24, 18, 0, 0), Block: one}},
		{swordfish.OpAdd, 2, swordfish.User{ID: 65534, Schedules: 0b10, Block: two}},
	}
	known := id | cr | swordfish.TagADA | swordfish.TagFunction | swordfish.TagSchedules | swordfish.TagFrom | swordfish.TagUntil
	for i := range rows {
		if rows[i].Op == swordfish.OpAdd {
			if got := rows[i].U.Has & known; i == 6 && got != known || i == 7 && got != known&^swordfish.TagFunction {
				t.Errorf("record %d has %b", i, got)
			}
			rows[i].U.Has = 0
		}
	}
	same := cmp.Comparer(func(a, b card.Block) bool { return a == b })
	if d := cmp.Diff(want, rows, same); d != "" {
		t.Errorf("records (-want +got):\n%s", d)
	}
	wantSum := swordfish.Summary{
		DeleteAll: true, Deletes: 5, Updates: 1, Adds: 2,
		Schedules: &[]site.Interval{{Days: 1<<1 | 1<<5, Start: 510, End: 570}, {Days: 1, Start: 0, End: 1440}, {Days: 1 << 6, Start: 1320, End: 360}},
		Holidays:  &[]swordfish.Holiday{{Start: at(2026, 12, 24, 0, 0, 0), End: at(2026, 12, 27, 0, 0, 0), Action: swordfish.HolidaySecured}},
		Auto:      &[]swordfish.Auto{{Unlock: true, Days: 2, Minute: 480}, {Days: 2, Minute: 1025}},
		Config:    true, DownloadAt: "20140719085516", Version: "0x08d1707d1ebcb056",
		Ignored: []string{"prmCrTyp", "adaOn", "extra"},
	}
	wantSum.NeedSchedule[0] = swordfish.Place{Op: swordfish.OpAdd, Record: 1}
	wantSum.NeedSchedule[1] = swordfish.Place{Op: swordfish.OpAdd, Record: 2}
	wantSum.NeedSchedule[2] = swordfish.Place{Op: swordfish.OpAdd, Record: 1}
	if d := cmp.Diff(wantSum, sum); d != "" {
		t.Errorf("summary (-want +got):\n%s", d)
	}
}

// TestAbsentAndEmpty: an absent list is unchanged, [] clears it.
func TestAbsentAndEmpty(t *testing.T) {
	for _, text := range []string{`{"db":{}}`, `{"db":{"usrRcrd":null,"schedules":null,"holidays":null,"autoUnlock":null}}`, ` {"db":{"usrRcrd":{"delete":null}}} `} {
		_, sum, err := read(t, text)
		if d := cmp.Diff(swordfish.Summary{}, sum); err != nil || d != "" {
			t.Errorf("%s: %v\n%s", text, err, d)
		}
	}
	_, sum, err := read(t, `{"db":{"usrRcrd":{"deleteAll":0,"delete":[],"add":[]},"schedules":[],"holidays":[],"autoUnlock":[]}}`)
	if err != nil || sum.Schedules == nil || len(*sum.Schedules) != 0 || sum.Holidays == nil || sum.Auto == nil || sum.DeleteAll {
		t.Errorf("%+v, %v", sum, err)
	}
}

func add(members string) string { return `{"db":{"usrRcrd":{"add":[` + members + `]}}}` }

// TestFaults: each names its place.
func TestFaults(t *testing.T) {
	ok := `{"usrID":1,"primeCr":"` + prime1 + `"}`
	for _, tt := range []struct{ text, want string }{
		{``, "ends early"},
		{`nonsense`, "is no JSON at byte"},
		{`[]`, "want an object"},
		{`null`, "has no db"},
		{`{}`, "has no db"},
		{`{"db":null}`, "has no db"},
		{`{"db":[]}`, "db: want an object"},
		{`{"db":{}} x`, "goes on after its end"},
		{`{"db":{},"db":{}}`, `"db" stands twice`},
		{`{"db":{}`, "ends early"},
		{`{"db":{"usrRcrd":[]}}`, "usrRcrd: want an object"},
		{`{"db":{"usrRcrd":{"add":{}}}}`, "add: want a list"},
		{`{"db":{"usrRcrd":{"add":[],"add":[]}}}`, `"add" stands twice`},
		{`{"db":{"usrRcrd":{"deleteAll":2}}}`, "usrRcrd: deleteAll: want a number from 0 to 1"},
		{`{"db":{"usrRcrd":{"delete":[{}]}}}`, "delete: record 1: has neither usrID nor primeCr"},
		{`{"db":{"usrRcrd":{"delete":[0]}}}`, "delete: record 1: want a number from 1 to 65534"},
		{`{"db":{"usrRcrd":{"delete":[[1]]}}}`, "delete: record 1: want an object"},
		{`{"db":{"usrRcrd":{"update":[{"adaEn":1}]}}}`, "update: record 1: usrID: is missing"},
		{add(`1`), "add: record 1: want an object"},
		{add(`true`), "add: record 1: want an object"},
		{add(ok + `,{"usrID":2}`), "add: record 2: primeCr: is missing"},
		{add(`{"usrID":0}`), "add: record 1: usrID: want a number from 1 to 65534"},
		{add(`{"usrID":65535}`), "add: record 1: usrID: want a number from 1 to 65534"},
		{add(`{"usrID":1.5}`), "usrID: want a number"},
		{add(`{"usrID":1e999999999}`), "usrID: want a number"},
		{add(`{"usrID":{}}`), "usrID: want a number"},
		{add(`{"usrID":1,"usrID":1}`), "usrID: stands twice"},
		{add(`{"usrID":1,"primeCr":"00"}`), "add: record 1: primeCr: want 32 hex digits"},
		{add(`{"usrID":1,"primeCr":null}`), "primeCr: want 32 hex digits"},
		{add(`{"usrID":1,"fnctn":"dogged"}`), `add: record 1: fnctn: "dogged" is not known`},
		{add(`{"usrID":1,"adaEn":3}`), "adaEn: want a number from 0 to 1"},
		{add(`{"usrID":1,"crSch":17}`), "crSch: want a number from 1 to 16"},
		{add(`{"usrID":1,"crSch":[1,0]}`), "crSch: want a number from 1 to 16"},
		{add(`{"usrID":1,"actDtTm":"20260230000000"}`), "actDtTm: want 14 digits"},
		{add(`{"usrID":1,"actDtTm":"2026"}`), "actDtTm: want 14 digits"},
		{add(`{"usrID":1,"expDtTm":true}`), "expDtTm: want a text"},
		{add(`{"usrID":1,"primeCr":"` + prime1 + `","actDtTm":"20260101000000","expDtTm":"20260101000000"}`), "add: record 1: expDtTm: is not after actDtTm"},
		{add(`{"usrID":1,"prCrTyp":"pin"}`), "prCrTyp: want card"},
		{add(`{"usrID":1,"scndCr":"1234"}`), "scndCr: a second credential is not supported"},
		{add(`{"usrID":1,"scndCrTyp":"pin"}`), "scndCrTyp: a second credential is not supported"},
		{`{"db":{"schedules":[1]}}`, "schedules: record 1: want an object"},
		{`{"db":{"schedules":[{"strtHr":1,"strtMn":0,"lngth":1}]}}`, "schedules: record 1: days: is missing"},
		{`{"db":{"schedules":[{"days":["Mo"],"strtMn":0,"lngth":1}]}}`, "strtHr: is missing"},
		{`{"db":{"schedules":[{"days":["Mo"],"strtHr":1,"lngth":1}]}}`, "strtMn: is missing"},
		{`{"db":{"schedules":[{"days":["Mo"],"strtHr":1,"strtMn":0}]}}`, "lngth: is missing"},
		{`{"db":{"schedules":[{"days":["Mo"],"strtHr":24}]}}`, "strtHr: want a number from 0 to 23"},
		{`{"db":{"schedules":[{"days":["Xx"]}]}}`, "days: want a list of Su"},
		{`{"db":{"schedules":[{"days":["H1"]}]}}`, "days: want a list of Su"},
		{`{"db":{"schedules":[{"days":[1]}]}}`, "days: want a list of Su"},
		{`{"db":{"schedules":[{"lngth":1441}]}}`, "schedules: record 1: lngth: want a number from 1 to 1440"},
		{`{"db":{"schedules":[` + strings.Repeat(`{"days":["Mo"],"strtHr":1,"strtMn":0,"lngth":1},`, 16) + `{}]}}`, "schedules: has more than 16 records"},
		{`{"db":{"holidays":[{"strtDtTm":"20260101000000","endDtTm":"20260101000000","action":"secured"}]}}`, "holidays: record 1: endDtTm: is not after strtDtTm"},
		{`{"db":{"holidays":[{"endDtTm":"20260101000000","action":"secured"}]}}`, "strtDtTm: is missing"},
		{`{"db":{"holidays":[{"strtDtTm":"20260101000000","action":"secured"}]}}`, "endDtTm: is missing"},
		{`{"db":{"holidays":[{"strtDtTm":"20260101000000","endDtTm":"20260102000000"}]}}`, "action: is missing"},
		{`{"db":{"holidays":[{"action":"party"}]}}`, `holidays: record 1: action: "party" is not known`},
		{`{"db":{"autoUnlock":[{"action":"open"}]}}`, "autoUnlock: record 1: action: want pass or sec"},
		{`{"db":{"autoUnlock":[{"days":["Mo"],"strtHr":1,"strtMn":0}]}}`, "action: is missing"},
		{`{"db":{"x":` + strings.Repeat("[", 20), "nested deeper than 16"},
		{`{"db":{"x":` + strings.Repeat(`{"a":`, 20), "nested deeper than 16"},
	} {
		_, _, err := read(t, tt.text)
		fault, is := errors.AsType[*swordfish.Fault](err)
		if !is || !strings.Contains(fault.Error(), tt.want) {
			t.Errorf("%.90s: %v, want %q", tt.text, err, tt.want)
		}
	}
}

// TestLastRecord: a fault in record 4,999 of 5,000 is named.
func TestLastRecord(t *testing.T) {
	g := &generator{n: 5000, bad: 4999}
	_, err := swordfish.ReadFile(g, swordfish.Options{Cards: cards(t, testKey)}, func(swordfish.Op, int, *swordfish.User) error { return nil })
	if err == nil || err.Error() != "add: record 4999: expDtTm: want 14 digits YYYYMMDDHHMMSS of a real time" {
		t.Errorf("got %v", err)
	}
}

// TestCallersFault: what the caller refuses is named as well; a reader that fails
// is no fault of the file.
func TestCallersFault(t *testing.T) {
	mine := errors.New("is held by another")
	_, err := swordfish.ReadFile(&generator{n: 9}, swordfish.Options{Cards: cards(t, testKey)}, func(_ swordfish.Op, n int, _ *swordfish.User) error {
		if n == 3 {
			return mine
		}
		return nil
	})
	if !errors.Is(err, mine) || err.Error() != "add: record 3: is held by another" {
		t.Errorf("got %v", err)
	}
	broken := errors.New("line is down")
	_, err = swordfish.ReadFile(io.MultiReader(strings.NewReader(`{"db":{`), errReader{broken}), swordfish.Options{Cards: cards(t, testKey)}, nil)
	if _, is := errors.AsType[*swordfish.Fault](err); is || !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	if _, err := swordfish.ReadFile(strings.NewReader(`{"db":{}}`), swordfish.Options{}, nil); err == nil {
		t.Error("a file was read without a key")
	}
}

type errReader struct{ err error }

func (e errReader) Read([]byte) (int, error) { return 0, e.err }

// TestTooLarge: one byte more than MaxFile.
func TestTooLarge(t *testing.T) {
	for _, tt := range []struct {
		size int
		ok   bool
	}{{swordfish.MaxFile, true}, {swordfish.MaxFile + 1, false}} {
		head, tail := `{"db":{}`, `}`
		text := head + strings.Repeat(" ", tt.size-len(head)-len(tail)) + tail
		_, _, err := read(t, text)
		if (err == nil) != tt.ok || !tt.ok && !errors.Is(err, swordfish.ErrTooLarge) {
			t.Errorf("%d bytes: %v", tt.size, err)
		}
	}
	_, _, err := read(t, `{"x":"`+strings.Repeat("a", 9<<20)+`"}`)
	if !errors.Is(err, swordfish.ErrTooLarge) {
		t.Errorf("one long text: %v", err)
	}
}

// TestImplausible: with another key no card ends as cards do.
func TestImplausible(t *testing.T) {
	sum, err := swordfish.ReadFile(&generator{n: 50, key: cards(t, strings.Repeat("22", 32))}, swordfish.Options{Cards: cards(t, testKey)},
		func(swordfish.Op, int, *swordfish.User) error { return nil })
	if err != nil || sum.Implausible < 49 || sum.Adds != 50 {
		t.Errorf("%+v, %v", sum, err)
	}
}

// generator writes a door file of n records while it is read.
type generator struct {
	n, bad int
	key    *swordfish.Cards
	at     int
	buf    []byte
	part   []byte
}

var generatorKey = func() *swordfish.Cards {
	c, err := swordfish.NewCards([]byte("0123456789abcdef0123456789abcdef"))
	if err != nil {
		panic(err)
	}
	return c
}()

func (g *generator) Read(p []byte) (int, error) {
	if g.key == nil {
		g.key = generatorKey
	}
	if len(g.part) == 0 {
		g.buf = g.buf[:0]
		switch {
		case g.at == 0:
			g.buf = append(g.buf, `{"db":{"usrRcrd":{"deleteAll":1,"delete":[],"update":[],"add":[`...)
		case g.at <= g.n:
			if g.at > 1 {
				g.buf = append(g.buf, ',')
			}
			b := card.Block{byte(g.at >> 8), byte(g.at), 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}
			end := "20301231235959"
			if g.at == g.bad {
				end = "20301331235959"
			}
			g.buf = fmt.Appendf(g.buf, `{"usrID":%d,"adaEn":0,"fnctn":"norm","crSch":[1],"actDtTm":"20200101000000","expDtTm":"%s","primeCr":"%s","prCrTyp":"card","scndCr":"null","scndCrTyp":"null"}`, g.at, end, g.key.Encrypt(b))
		case g.at == g.n+1:
			g.buf = append(g.buf, `]},"schedules":[{"days":["Mo"],"strtHr":0,"strtMn":0,"lngth":1440}],"holidays":[],"autoUnlock":[]}}`...)
		default:
			return 0, io.EOF
		}
		g.at++
		g.part = g.buf
	}
	n := copy(p, g.part)
	g.part = g.part[n:]
	return n, nil
}

// heap returns the live heap in bytes.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestMemory: the live heap does not grow with the records of a file.
func TestMemory(t *testing.T) {
	key := cards(t, testKey)
	grew := func(n int) uint64 {
		before, peak := heap(), uint64(0)
		_, err := swordfish.ReadFile(&generator{n: n}, swordfish.Options{Cards: key}, func(_ swordfish.Op, i int, _ *swordfish.User) error {
			if i%(n/4) == 0 {
				peak = max(peak, heap())
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return max(peak, before) - before
	}
	if got := grew(40_000); got > 1<<20 {
		t.Errorf("%d KiB were held for 40,000 records", got>>10)
	}
}

// BenchmarkReadFile reads 200 files of 5,000 records: the 1,000,000 of a site.
func BenchmarkReadFile(b *testing.B) {
	key := cards(b, testKey)
	b.ReportAllocs()
	for b.Loop() {
		for range 200 {
			sum, err := swordfish.ReadFile(&generator{n: 5000}, swordfish.Options{Cards: key}, func(swordfish.Op, int, *swordfish.User) error { return nil })
			if err != nil || sum.Adds != 5000 {
				b.Fatal(sum, err)
			}
		}
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	b.ReportMetric(float64(m.HeapSys)/(1<<20), "heapMiB")
}

func FuzzReadFile(f *testing.F) {
	f.Add(`{"db":{"usrRcrd":{"deleteAll":1,"delete":[7,"8"],"update":[{"usrID":2}],"add":[{"usrID":1,"crSch":1,"primeCr":"` + prime1 + `"}]},"schedules":[{"days":["Mo"],"strtHr":8,"strtMn":30,"lngth":60}],"holidays":[],"autoUnlock":[]},"config":{}}`)
	f.Add(`{"db":{"holidays":[{"strtDtTm":"20261224000000","endDtTm":20261227000000,"action":"secured"}],"autoUnlock":[{"action":"pass","strtHr":8,"strtMn":0,"days":["Mo"]}]}}`)
	f.Add(`{"db":null}`)
	f.Fuzz(func(t *testing.T, text string) {
		rows, sum, err := read(t, text)
		if err != nil {
			if _, is := errors.AsType[*swordfish.Fault](err); !is {
				t.Errorf("not a fault: %v", err)
			}
			return
		}
		if sum.Deletes+sum.Updates+sum.Adds != len(rows) || len(sum.Ignored) > 16 {
			t.Errorf("%d records, %+v", len(rows), sum)
		}
		for _, r := range rows {
			if r.U.Has&(swordfish.TagID|swordfish.TagCard) == 0 || r.U.Has&swordfish.TagID != 0 && (r.U.ID < 1 || r.U.ID > swordfish.MaxUserID) || r.Op == swordfish.OpAdd && r.U.Block == (card.Block{}) {
				t.Errorf("record %+v", r)
			}
		}
		if sum.Schedules != nil {
			for _, iv := range *sum.Schedules {
				if iv.Days == 0 || iv.Start < 0 || iv.Start > 1439 || iv.End < 1 || iv.End > 1440 {
					t.Errorf("interval %+v", iv)
				}
			}
		}
	})
}
