package lock_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/tools/sitesim/lock"
)

// TestCallIn: four calls in the order of section 5, then the same with no change.
func TestCallIn(t *testing.T) {
	l, s := lock.New(config(t)), &server{}
	res, err := l.CallIn(t.Context(), s, wednesday)
	if err != nil {
		t.Fatal(err)
	}
	const base = "/swordfish/lock/"
	if diff := cmp.Diff([]string{"PUT " + base + "Config", "GET " + base + "db/0", "POST " + base + "audit", "GET " + base + "certificates/current"}, s.calls); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	if !res.Full || res.Added != 2 || res.AuditStatus != 201 || res.Audits != 1 || res.Connected != "20260718000000" || res.Bytes < int64(len(golden)) {
		t.Errorf("%+v", res)
	}
	if want := `{"audits":[{"event":"06010000","time":"20260722100000"}],"nxtDbVerTS":"0x08d1707d1ebcb056","lockId":"` + serial + `"}`; s.bodies[2] != want {
		t.Errorf("upload %s, want %s", s.bodies[2], want)
	}
	if !strings.Contains(s.bodies[0], `"dvcProfile":{"baseType":"le"}`) || strings.Contains(s.bodies[0], siteKeyHex) {
		t.Errorf("config %s", s.bodies[0])
	}
	if got := string(l.HostConfig()); got != `{"relock":5}` {
		t.Errorf("host config %s", got)
	}
	if want := time.Date(2014, 7, 19, 8, 55, 16, 0, time.UTC); !l.NextCall().Equal(want) {
		t.Errorf("next call %s", l.NextCall())
	}
	res, err = l.CallIn(t.Context(), s, wednesday.Add(time.Hour))
	if err != nil || res.Full || res.Deleted+res.Updated+res.Added > 0 || res.Audits != 0 || s.calls[5] != "GET "+base+"db/0x08d1707d1ebcb056" {
		t.Errorf("%+v, %v, %v", res, s.calls, err)
	}
	l.Reset()
	if l.Users() != 0 || l.Version() != "0" {
		t.Errorf("after the reset: %d users, %s", l.Users(), l.Version())
	}
	if res, err = l.CallIn(t.Context(), s, wednesday); err != nil || !res.Full {
		t.Errorf("%+v, %v", res, err)
	}
}

// TestRefusedFile: the lock keeps its table, says why, and tells the server.
func TestRefusedFile(t *testing.T) {
	for _, tt := range []struct{ file, audit string }{
		{`{"db"`, "09000000"},
		{changes("0x9d1707d1ebcb056", "", user(9, prime1568), ""), "06000000"},
		{strings.Replace(noChange("0x9d1707d1ebcb056"), `"deleteAll":0`, `"deleteAll":2`, 1), "06000000"},
	} {
		l, s := loaded(t), &server{files: []string{tt.file}}
		_, err := l.CallIn(t.Context(), s, wednesday)
		var bad *lock.FileError
		if !errors.As(err, &bad) || l.Users() != 2 || !l.Present(block(t, "26831000", 26), wednesday) {
			t.Errorf("%v, %d users", err, l.Users())
		}
		if !s.seen[tt.audit+"20260722100000"] {
			t.Errorf("audits %v, want %s", s.seen, tt.audit)
		}
	}
	s := &server{files: []string{noChange("0x1")}}
	if _, err := lock.New(config(t)).CallIn(t.Context(), s, wednesday); err == nil || !strings.Contains(err.Error(), "is 0 for a lock that has nothing") {
		t.Errorf("changes for a new lock: %v", err)
	}
}

// TestStatuses: what is no status of section 5 is an error, and audits stay until
// 201 or 202.
func TestStatuses(t *testing.T) {
	cut := errors.New("cut")
	for _, tt := range []struct {
		name, call string
		say        answer
		want       string
		kept       bool
	}{
		{"config refused", "Config", answer{status: 401}, "PUT Config: 401: no body", true},
		{"config with a body", "Config", answer{status: 200, body: "{}"}, "PUT Config: 200: a body of 2 bytes", true},
		{"not named", "db", answer{status: 404, body: "{}"}, `GET db: 404: "{}"`, true},
		{"audit 200", "audit", answer{status: 200}, "POST audit: 200", true},
		{"audit with a body", "audit", answer{status: 201, body: "ok"}, "POST audit: 201: a body of 2 bytes", true},
		{"audit cut", "audit", answer{err: cut}, "POST audit: cut", true},
		{"audit 202", "audit", answer{status: 202}, "", false},
		{"certificate without hash", "certificates", answer{status: 200, body: `{"cert_url":"http://x/"}`}, "hash of 0 characters", false},
		{"certificate with a card for a hash", "certificates", answer{status: 200, body: `{"cert_url":"http://x/","hash":"` + prime1568 + `"}`}, "hash of 32 characters", false},
		{"certificate 500", "certificates", answer{status: 500}, "certificates/current: 500", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := loaded(t)
			l.Present(block(t, "26831000", 26), wednesday)
			_, err := l.CallIn(t.Context(), &server{say: map[string]answer{tt.call: tt.say}}, wednesday)
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("%v, want %q", err, tt.want)
			}
			if kept := len(l.Audits()) > 0; kept != tt.kept {
				t.Errorf("audits %v", l.Audits())
			}
		})
	}
}

// TestLostAnswers: before storing nothing has changed; after it the cards of the
// new file open though the lock asks with the old version.
func TestLostAnswers(t *testing.T) {
	l := loaded(t)
	next := changes("0x9d1707d1ebcb056", gone(1, prime1568), "", "")
	s := &server{files: []string{next, next, next}}
	l.LoseAnswer(lock.LoseBefore)
	if _, err := l.CallIn(t.Context(), s, wednesday); !errors.Is(err, lock.ErrLost) || l.Users() != 2 || l.Version() != "0x08d1707d1ebcb056" {
		t.Errorf("%v, %d users, version %s", err, l.Users(), l.Version())
	}
	l.LoseAnswer(lock.LoseAfter)
	if _, err := l.CallIn(t.Context(), s, wednesday); !errors.Is(err, lock.ErrLost) || l.Users() != 1 || l.Version() != "0x08d1707d1ebcb056" {
		t.Errorf("%v, %d users, version %s", err, l.Users(), l.Version())
	}
	if res, err := l.CallIn(t.Context(), s, wednesday); err != nil || res.Idle != 1 || l.Version() != "0x9d1707d1ebcb056" {
		t.Errorf("the same changes on the new table: %+v, %v", res, err)
	}
	for _, torn := range []string{
		changes("0xad1707d1ebcb056", "", user(1, prime1568), ""), // who is not there any more
		changes("0xad1707d1ebcb056", "", "", user(2, prime1570)), // who is there
	} {
		l := loaded(t)
		s := &server{files: []string{next, torn, torn}}
		l.LoseAnswer(lock.LoseAfter)
		_, _ = l.CallIn(t.Context(), s, wednesday)
		if _, err := l.CallIn(t.Context(), s, wednesday); err != nil {
			t.Errorf("%s: %v", torn, err)
		}
	}
}

// TestDuplicate sends each call twice.
func TestDuplicate(t *testing.T) {
	l, s := lock.New(config(t)), &server{}
	l.Duplicate()
	res, err := l.CallIn(t.Context(), s, wednesday)
	if err != nil || res.Repeat != nil || len(s.calls) != 8 || s.calls[4] != s.calls[5] || s.bodies[4] != s.bodies[5] {
		t.Errorf("%v, %v, %v", err, res.Repeat, s.calls)
	}
	if res, err = l.CallIn(t.Context(), s, wednesday); err != nil || len(s.calls) != 12 {
		t.Errorf("afterwards: %+v, %v, %d calls", res, err, len(s.calls))
	}
}

// TestManyAudits: more than one upload holds go out in order, with numbers where
// the lock has them.
func TestManyAudits(t *testing.T) {
	l, s := loaded(t), &server{}
	l.NumberAudits(true)
	for i := range 2500 {
		l.Present([16]byte{}, wednesday.Add(time.Duration(i)*time.Second))
	}
	res, err := l.CallIn(t.Context(), s, wednesday.Add(time.Hour))
	if err != nil || res.Audits != 2500 || len(s.seen) != 2500 || len(l.Audits()) != 0 || len(s.calls) != 6 {
		t.Errorf("%+v, %v, %d kept", res, err, len(s.seen))
	}
	if !strings.Contains(s.bodies[2], `"auditId":"00000002"`) {
		t.Errorf("upload %.200s", s.bodies[2])
	}
}

// TestAlert: at once, and once more in the next upload.
func TestAlert(t *testing.T) {
	l, s := loaded(t), &server{}
	if err := l.Alert(t.Context(), s, "0100", "1194", wednesday); err != nil {
		t.Fatal(err)
	}
	if want := `{"asyncEvent":{"event":"01001194","time":"20260722100000"}}`; s.bodies[0] != want || s.calls[0] != "POST /swordfish/lock/alert" {
		t.Errorf("%s %s", s.calls, s.bodies)
	}
	if l.Status(wednesday).Battery != 0x1194 || len(l.Audits()) != 1 {
		t.Errorf("%+v, %v", l.Status(wednesday), l.Audits())
	}
	s.say = map[string]answer{"alert": {status: http.StatusUnauthorized}}
	if err := l.Alert(t.Context(), s, "0702", "0000", wednesday); err == nil || !l.Status(wednesday).Tamper || len(l.Audits()) != 2 {
		t.Errorf("%v, %+v", err, l.Status(wednesday))
	}
	for _, bad := range []string{"", "07", "07000000", "+700", "x700"} {
		if l.Alert(t.Context(), s, bad, "0000", wednesday) == nil {
			t.Errorf("event %q was taken", bad)
		}
	}
}
