package lock_test

import (
	"errors"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"

	"gatehouse/tools/sitesim/lock"
)

// TestGolden takes the document's file, and from a Hive object in any order.
func TestGolden(t *testing.T) {
	if n, err := lock.ReadFile([]byte(golden), config(t), false); err != nil || n != 2 {
		t.Errorf("%d users, %v", n, err)
	}
	const sorted = `{"dbDwnLdTm":"20140719085516","db":{"autoUnlock":[],"holidays":[],"schedules":[],"usrRcrd":{"add":[],"delete":[],"deleteAll":1,"update":[]}},"nxtDbVerTS":"0x1"}`
	if _, err := lock.ReadFile([]byte(sorted), config(t), true); err != nil {
		t.Error(err)
	}
	if _, err := lock.ReadFile([]byte(sorted), config(t), false); err == nil {
		t.Error("another order was taken from HTTP")
	}
}

// refused are files that differ from the document's in one thing, and what is said.
var refused = []struct{ name, old, new, want string }{
	{"no JSON", `{"db"`, `{db`, "door file: is no JSON"},
	{"white space", `"usrID":1,`, `"usrID":1, `, "db.usrRcrd.add[0]: white space: a door file is minified"},
	{"a line at the end", `56"}`, "56\"}\n", "goes on after its end"},
	{"members of the file out of order", `"config":{"relock":5},"dbDwnLdTm":"20140719085516"`, `"dbDwnLdTm":"20140719085516","config":{}`, `member "config" is out of order: it stands after "dbDwnLdTm"`},
	{"members of a user out of order", `"usrID":1,"adaEn":0`, `"adaEn":0,"usrID":1`, `db.usrRcrd.add[0]: member "usrID" is out of order: it stands after "adaEn"`},
	{"a member twice", `"adaEn":0,`, `"adaEn":0,"adaEn":0,`, `db.usrRcrd.add[0]: member "adaEn" is there twice`},
	{"an unknown member", `"adaEn":0`, `"adaOn":0`, `member "adaOn" is not known`},
	{"a wrong tag of the card's type", `"prCrTyp"`, `"prmCrTyp"`, `member "prmCrTyp" is not known`},
	{"no deleteAll", `"deleteAll":1,`, ``, `db.usrRcrd: member "deleteAll" is missing`},
	{"no autoUnlock", `,"autoUnlock":[{"action":"pass","strtHr":9,"strtMn":30,"days":["We"]},{"action":"sec","strtHr":17,"strtMn":0,"days":["We"]}]`, ``, `db: member "autoUnlock" is missing`},
	{"no version", `,"nxtDbVerTS":"0x08d1707d1ebcb056"`, ``, `member "nxtDbVerTS" is missing`},
	{"version 0", `0x08d1707d1ebcb056`, `0x0`, "nxtDbVerTS: "},
	{"a long version", `0x08d1707d1ebcb056`, `0x008d1707d1ebcb056`, "nxtDbVerTS: "},
	{"a version without prefix", `0x08d1707d1ebcb056`, `08d1707d1ebcb056`, "nxtDbVerTS: "},
	{"a time that no clock shows", `20140719085516`, `20140732085516`, "dbDwnLdTm: "},
	{"usrID 0", `"usrID":1`, `"usrID":0`, "add[0].usrID: 0: want 1 to 65534"},
	{"usrID 65535", `"usrID":1`, `"usrID":65535`, "add[0].usrID: 65535: want 1 to 65534"},
	{"usrID as text", `"usrID":1`, `"usrID":"1"`, "add[0].usrID: want a number"},
	{"usrID with an exponent", `"usrID":1`, `"usrID":1e0`, `"1e0" is not a whole number`},
	{"usrID twice", `"usrID":2`, `"usrID":1`, "user 1 is in add and in add"},
	{"a card twice", prime1570, prime1568, "add[1]: the same card as the record before"},
	{"not sorted", prime1568, "f7a580a987f982c4ee1d6e6419ad3d18", "add[1]: not sorted by clear credential"},
	{"31 hex digits", prime1568, prime1568[1:], "add[0].primeCr: 31 characters"},
	{"no hex digits", prime1568, "x" + prime1568[1:], "add[0].primeCr: not hex digits"},
	{"adaEn 2", `"adaEn":0`, `"adaEn":2`, "add[0].adaEn: 2: want 0 to 1"},
	{"adaEn true", `"adaEn":0`, `"adaEn":true`, "add[0].adaEn: want a number"},
	{"an unknown function", `"fnctn":"norm","crSch":[1],`, `"fnctn":"Norm","crSch":[1],`, `add[0].fnctn: "Norm" is not known`},
	{"crSch as a number", `"crSch":[1],`, `"crSch":1,`, "add[0].crSch: "},
	{"schedule 0", `"crSch":[1],`, `"crSch":[0],`, "add[0].crSch[0]: 0: want 1 to 16"},
	{"schedules descending", `"crSch":[1,2]`, `"crSch":[2,1]`, "add[1].crSch[1]: 1 after 2"},
	{"a schedule that is not there", `"crSch":[1,2]`, `"crSch":[1,3]`, "user 2 names schedule 3 of 2"},
	{"an end before its begin", `20301231235900`, `20131231235900`, "add[0]: expDtTm is not after actDtTm"},
	{"another type of card", `"prCrTyp":"card"`, `"prCrTyp":"pin"`, `add[0].prCrTyp: "pin": want "card"`},
	{"half a second card", `,"scndCrTyp":"null"`, ``, "add[0]: one of scndCr and scndCrTyp"},
	{"a second card", `"scndCr":"null"`, `"scndCr":"00"`, `add[0].scndCr: "00": want "null"`},
	{"an unknown day", `"Mo","Tu"`, `"Mon","Tu"`, `db.schedules[0].days[0]: "Mon" is not one of`},
	{"a day twice", `"Mo","Tu"`, `"Mo","Mo"`, "db.schedules[0].days[1]: Mo twice"},
	{"no day", `["Mo","Tu","We","Th","Fr"]`, `[]`, "db.schedules[0].days: is empty"},
	{"a length of 0", `"lngth":600`, `"lngth":0`, "db.schedules[0].lngth: 0: want 1 to 1440"},
	{"a length over midnight", `"strtHr":8,"strtMn":0,"lngth":600`, `"strtHr":20,"strtMn":0,"lngth":600`, "db.schedules[0]: ends at minute 1800"},
	{"1440 where the day ends at 1439", `"lngth":1439`, `"lngth":1440`, "db.schedules[1]: ends at minute 1440"},
	{"hour 24", `"strtHr":8`, `"strtHr":24`, "db.schedules[0].strtHr: 24: want 0 to 23"},
	{"an unknown holiday", `"action":"restricted"`, `"action":"closed"`, `db.holidays[0].action: "closed" is not known`},
	{"a holiday that ends at its begin", `20260502000000`, `20260501000000`, "db.holidays[0]: endDtTm is not after strtDtTm"},
	{"an unknown autoUnlock", `"action":"sec"`, `"action":"secured"`, `db.autoUnlock[1].action: "secured": want pass or sec`},
	{"a config that is no object", `"config":{"relock":5}`, `"config":[]`, "config: want an object"},
	{"deleteAll with a delete", `"delete":[]`, `"delete":[` + gone(9, prime1568) + `]`, "deleteAll is 1 beside a list delete or update"},
	{"seventeen schedules", `"schedules":[`, `"schedules":[` + strings.Repeat(`{"days":["Mo"],"strtHr":1,"strtMn":0,"lngth":1},`, 16), "db.schedules[15]: more than 16 elements"},
}

// TestRefused changes one thing in the document's file and wants it named.
func TestRefused(t *testing.T) {
	for _, tt := range refused {
		t.Run(tt.name, func(t *testing.T) {
			file := strings.Replace(golden, tt.old, tt.new, 1)
			if file == golden {
				t.Fatal("nothing was changed")
			}
			_, err := lock.ReadFile([]byte(file), config(t), false)
			var bad *lock.FileError
			if !errors.As(err, &bad) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
}

// TestModels: the same file by the differences of models.
func TestModels(t *testing.T) {
	for _, tt := range []struct {
		name, old, new string
		set            func(*lock.Config)
		fails          bool
	}{
		{"sole schedule", `"crSch":[1],`, `"crSch":1,`, func(c *lock.Config) { c.SoleSchedule = true }, true}, // the other user has a list
		{"the day ends at 1440", `"lngth":1439`, `"lngth":1440`, func(c *lock.Config) { c.DayEnd = 1440 }, false},
		{"holidays where the model has none", "", "", func(c *lock.Config) { c.NoHolidays = true }, true},
		{"no list holidays there", `"holidays":[{"strtDtTm":"20260501000000","endDtTm":"20260502000000","action":"restricted"}],`, "", func(c *lock.Config) { c.NoHolidays = true }, false},
		{"autoUnlock where the model has none", "", "", func(c *lock.Config) { c.NoAuto = true }, true},
		{"times as numbers", `"actDtTm":"20140101000000"`, `"actDtTm":20140101000000`, func(*lock.Config) {}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := config(t)
			tt.set(&cfg)
			_, err := lock.ReadFile([]byte(strings.Replace(golden, tt.old, tt.new, 1)), cfg, false)
			if (err != nil) != tt.fails {
				t.Errorf("error %v", err)
			}
		})
	}
	cfg := config(t)
	cfg.SoleSchedule = true
	both := strings.NewReplacer(`"crSch":[1],`, `"crSch":1,`, `"crSch":[1,2]`, `"crSch":2`).Replace(golden)
	if _, err := lock.ReadFile([]byte(both), cfg, false); err != nil {
		t.Error(err)
	}
}

// TestChanges works one file off on the golden table.
func TestChanges(t *testing.T) {
	const third = "f7a580a987f982c4ee1d6e6419ad3d18"
	for _, tt := range []struct {
		name, file string
		users      int // after it
		want       string
	}{
		{"a delete", changes("0x9d1707d1ebcb056", gone(1, prime1568), "", ""), 1, ""},
		{"a delete of who is not there", changes("0x9d1707d1ebcb056", gone(7, third), "", ""), 2, ""},
		{"a delete of another's number", changes("0x9d1707d1ebcb056", gone(2, prime1568), "", ""), 2, "delete[0]: user 2 has another card"},
		{"a delete of a card under a free number", changes("0x9d1707d1ebcb056", gone(7, prime1568), "", ""), 2, "delete[0]: the card is user 1's, not user 7's"},
		{"an update", changes("0x9d1707d1ebcb056", "", user(1, prime1568), ""), 2, ""},
		{"an update of who is not there", changes("0x9d1707d1ebcb056", "", user(7, prime1568), ""), 2, "update[0]: user 7 is not there"},
		{"an update to another card", changes("0x9d1707d1ebcb056", "", user(1, third), ""), 2, "update[0]: user 1 has another card"},
		{"an add", changes("0x9d1707d1ebcb056", "", "", user(3, third)), 3, ""},
		{"an add under a number that is taken", changes("0x9d1707d1ebcb056", "", "", user(2, third)), 2, "add[0]: user 2 is there already"},
		{"an add of a card that is there", changes("0x9d1707d1ebcb056", "", "", user(3, prime1570)), 2, "add[0]: the card is user 2's already"},
		{"a card deleted and added", changes("0x9d1707d1ebcb056", gone(1, prime1568), "", user(3, prime1568)), 2, ""},
		{"a card updated and added", changes("0x9d1707d1ebcb056", "", user(1, prime1568), user(3, prime1568)), 2, "in update and in add"},
		{"changes at the same version", changes("0x08d1707d1ebcb056", gone(1, prime1568), "", ""), 2, "is the lock's own beside 1 changes"},
		{"an earlier version", changes("0x1", "", "", ""), 2, "is before the lock's"},
		{"fewer schedules than a user names", strings.Replace(noChange("0x9d1707d1ebcb056"), schedules, `[]`, 1), 2, "who stays, names more than the 0 schedules"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := loaded(t)
			s := &server{files: []string{tt.file}}
			before := l.Version()
			res, err := l.CallIn(t.Context(), s, wednesday)
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("%v, want %q", err, tt.want)
			}
			if l.Users() != tt.users {
				t.Errorf("%d users, want %d", l.Users(), tt.users)
			}
			if stored := l.Version() != before; stored != (tt.want == "") {
				t.Errorf("version %s after %s", l.Version(), before)
			}
			if tt.name == "a delete of who is not there" && res.Idle != 1 {
				t.Errorf("%d idle deletes", res.Idle)
			}
		})
	}
}

// TestTooMany: 500 changes and 5,000 users are taken, one more is not.
func TestTooMany(t *testing.T) {
	file := func(n int, full string) string {
		var b strings.Builder
		for i := range n {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(user(i+1, lock.Seal(unhex(t, siteKeyHex), i)))
		}
		return strings.Replace(changes("0x9d1707d1ebcb056", "", "", b.String()), `"deleteAll":0`, `"deleteAll":`+full, 1)
	}
	for _, tt := range []struct {
		n    int
		full string
		want string
	}{
		{5000, "1", ""}, {5001, "1", "more than 5000 elements"},
		{500, "0", ""}, {501, "0", "501 changes in a file that is no full one"},
	} {
		_, err := lock.ReadFile([]byte(file(tt.n, tt.full)), config(t), false)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%d, deleteAll %s: %v, want %q", tt.n, tt.full, err, tt.want)
		}
	}
}

// TestImportsNothingOfTheAgent keeps the lock's codecs its own.
func TestImportsNothingOfTheAgent(t *testing.T) {
	for _, pattern := range []string{"*.go", "../wire/*.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) < 3 {
			t.Fatalf("%v, %v", files, err)
		}
		for _, name := range files {
			if strings.HasSuffix(name, "_test.go") { // a test may hold the agent against the lock
				continue
			}
			f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
			if err != nil {
				t.Fatal(err)
			}
			for _, i := range f.Imports {
				if path := strings.Trim(i.Path.Value, `"`); strings.HasPrefix(path, "gatehouse/") && !strings.HasPrefix(path, "gatehouse/tools/sitesim/") {
					t.Errorf("%s imports %s", name, path)
				}
			}
		}
	}
}

// FuzzReadFile never panics, and what it takes it takes in any order too.
func FuzzReadFile(f *testing.F) {
	f.Add([]byte(golden))
	f.Add([]byte(noChange("0x1")))
	f.Add([]byte(changes("0x2", gone(1, prime1568), user(2, prime1570), "")))
	cfg := config(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		n, err := lock.ReadFile(body, cfg, false)
		if err != nil {
			return
		}
		if again, err := lock.ReadFile(body, cfg, true); err != nil || again != n {
			t.Errorf("%d users, then %d, %v", n, again, err)
		}
	})
}
