package lock_test

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"gatehouse/tools/sitesim/lock"
)

// The public test key and cards of engage.md section 5.
const (
	siteKeyHex = "06fba5258a37eed076532ec47bccc2f7daa92edf5490f722234eec6f5ac7c467"
	serial     = "0000000000000000A0B1000000000206"
	prime1568  = "0d6807e6dbac61481a8ff8b0dce95998" // 77/1568, clear 26831000
	prime1570  = "f7a580a987f982c4ee1d6e6419ad3d17" // 77/1570, clear 26831140
)

// golden is the door file of engage.md section 5, its gaps filled with the
// section's own examples.
const golden = `{"db":{"usrRcrd":{"deleteAll":1,"delete":[],"update":[],"add":[` +
	`{"usrID":1,"adaEn":0,"fnctn":"norm","crSch":[1],"actDtTm":"20140101000000","expDtTm":"20301231235900","primeCr":"0d6807e6dbac61481a8ff8b0dce95998","prCrTyp":"card","scndCr":"null","scndCrTyp":"null"},` +
	`{"usrID":2,"adaEn":1,"fnctn":"norm","crSch":[1,2],"primeCr":"f7a580a987f982c4ee1d6e6419ad3d17","prCrTyp":"card","scndCr":"null","scndCrTyp":"null"}]},` +
	`"schedules":[{"days":["Mo","Tu","We","Th","Fr"],"strtHr":8,"strtMn":0,"lngth":600},{"days":["Su","Sa"],"strtHr":0,"strtMn":0,"lngth":1439}],` +
	`"holidays":[{"strtDtTm":"20260501000000","endDtTm":"20260502000000","action":"restricted"}],` +
	`"autoUnlock":[{"action":"pass","strtHr":9,"strtMn":30,"days":["We"]},{"action":"sec","strtHr":17,"strtMn":0,"days":["We"]}]},` +
	`"config":{"relock":5},"dbDwnLdTm":"20140719085516","nxtDbVerTS":"0x08d1707d1ebcb056"}`

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func config(t testing.TB) lock.Config {
	return lock.Config{Serial: serial, SiteKey: unhex(t, siteKeyHex), Zone: time.UTC}
}

func block(t testing.TB, digits string, bits int) [16]byte {
	t.Helper()
	b, err := lock.Block(unhex(t, digits), bits)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// answer is what a server says to one call.
type answer struct {
	status int
	body   string
	header http.Header
	err    error
}

// server is a device server that keeps what came. Its zero value answers as
// section 5 says, with the golden file first and then no changes.
type server struct {
	calls  []string // as in GET /swordfish/lock/db/0
	bodies []string
	files  []string          // for db, one after the other
	say    map[string]answer // by the call without its version, in place of the usual
	seen   map[string]bool   // audits
}

// noChange is a file without a change.
func noChange(version string) string {
	return `{"db":{"usrRcrd":{"deleteAll":0,"delete":[],"update":[],"add":[]},"schedules":` + schedules +
		`,"holidays":[],"autoUnlock":[]},"dbDwnLdTm":"20260719020000","nxtDbVerTS":"` + version + `"}`
}

const schedules = `[{"days":["Mo","Tu","We","Th","Fr"],"strtHr":8,"strtMn":0,"lngth":600},{"days":["Su","Sa"],"strtHr":0,"strtMn":0,"lngth":1439}]`

// changes is a file with changes.
func changes(version, del, update, add string) string {
	s := noChange(version)
	for _, r := range [][2]string{{`"delete":[]`, `"delete":[` + del + `]`}, {`"update":[]`, `"update":[` + update + `]`}, {`"add":[]`, `"add":[` + add + `]`}} {
		s = strings.Replace(s, r[0], r[1], 1)
	}
	return s
}

// user writes a USER.
func user(id int, prime string) string {
	return fmt.Sprintf(`{"usrID":%d,"adaEn":0,"fnctn":"norm","crSch":[1],"primeCr":"%s","prCrTyp":"card","scndCr":"null","scndCrTyp":"null"}`, id, prime)
}

// gone writes an entry of delete.
func gone(id int, prime string) string {
	return fmt.Sprintf(`{"usrID":%d,"primeCr":"%s","prCrTyp":"card"}`, id, prime)
}

func (s *server) Call(_ context.Context, method, path string, body []byte) (int, []byte, http.Header, error) {
	s.calls = append(s.calls, method+" "+path)
	s.bodies = append(s.bodies, string(body))
	short := strings.TrimPrefix(path, "/swordfish/lock/")
	name, version, _ := strings.Cut(short, "/")
	if a, ok := s.say[name]; ok {
		if a.header == nil {
			a.header = http.Header{}
		}
		return a.status, []byte(a.body), a.header, a.err
	}
	header := http.Header{"X-Device-Last-Connected": {"20260718000000"}}
	switch name {
	case "db":
		if len(s.files) > 0 {
			file := s.files[0]
			s.files = s.files[1:]
			return 200, []byte(file), header, nil
		}
		if version == "0" {
			return 200, []byte(golden), header, nil
		}
		return 200, []byte(noChange(version)), header, nil
	case "audit":
		return s.audit(body), nil, header, nil
	case "certificates":
		return 404, []byte(`{"statusMessage":"none"}`), header, nil
	}
	return 200, nil, header, nil
}

// audit keeps what is new, as section 5 says: 201 the first time, 202 later.
func (s *server) audit(body []byte) int {
	var up struct {
		Audits []struct{ Event, Time string }
	}
	if err := json.Unmarshal(body, &up); err != nil {
		return 400
	}
	if s.seen == nil {
		s.seen = map[string]bool{}
	}
	status := 202
	for _, a := range up.Audits {
		if key := a.Event + a.Time; !s.seen[key] {
			s.seen[key], status = true, 201
		}
	}
	return status
}

// wednesday is a Wednesday at ten.
var wednesday = time.Date(2026, 7, 22, 10, 0, 0, 0, time.UTC)

// loaded returns a lock that has the golden file.
func loaded(t testing.TB) *lock.Lock {
	t.Helper()
	l := lock.New(config(t))
	if _, err := l.CallIn(t.Context(), &server{}, wednesday.Add(-2*time.Hour)); err != nil {
		t.Fatal(err)
	}
	return l
}
