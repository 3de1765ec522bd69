package link_test

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse/agent/site"
	"gatehouse/agent/swordfish/link"
)

// TestPatience: whatever a call waits for, it is told within 45 s to come again, and
// what was on its way to the log is there once.
func TestPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(c *link.Config) { c.Auth = link.AuthReport })
		w.setTime(time.Now(), true)
		w.policy.set("room5", 1)
		block := make(chan struct{})
		w.log.mu.Lock()
		w.log.block = block
		w.log.mu.Unlock()
		began := time.Now()
		type result struct {
			what   string
			status int
			after  time.Duration
		}
		results := make(chan result, 8)
		call := func(method, path, body string) {
			go func() {
				a := w.call(serial1, method, "/swordfish/lock/"+path, body)
				results <- result{path, a.status, time.Since(began)}
			}()
		}
		call("POST", "audit", uploadOf("05020000 20260302110000"))
		synctest.Wait()
		waits := [][3]string{
			{"PUT", "Config", `{"name":"x"}`}, {"POST", "audit", uploadOf("05020000 20260302110001")},
			{"POST", "alert", `{"event":"07000000","time":"20260302120000"}`}, {"GET", "db/0", ""}, {"GET", "certificates/current", ""},
		}
		for _, c := range waits {
			w.pass(time.Second) // another token: the state must be written
			call(c[0], c[1], c[2])
		}
		for range len(waits) + 1 {
			if r := <-results; r.status != 503 || r.after > 46*time.Second {
				t.Errorf("%s: %d after %s", r.what, r.status, r.after)
			}
		}
		close(block)
		synctest.Wait()
		w.pass(time.Second)
		w.upload(202, "05020000 20260302110000")
		if got := w.kept(); len(got) != 1 {
			t.Errorf("kept %v", got)
		}
	})
}

// TestPatienceOfBodies: with all places for large bodies taken, one more is told to
// come again.
func TestPatienceOfBodies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		stop := make(chan struct{})
		for range 4 {
			go w.post(stuckReader{stop})
		}
		synctest.Wait()
		began := time.Now()
		if got := w.post(stuckReader{stop}); got != 503 || time.Since(began) > 46*time.Second {
			t.Errorf("%d after %s", got, time.Since(began))
		}
		close(stop)
		synctest.Wait()
	})
}

// stuckReader gives nothing until it is stopped.
type stuckReader struct{ stop chan struct{} }

func (s stuckReader) Read([]byte) (int, error) {
	<-s.stop
	return 0, http.ErrHandlerTimeout
}

func (w *world) post(body stuckReader) int {
	r := httptest.NewRequest(http.MethodPost, "/swordfish/lock/audit", body)
	r.Header.Set("Authorization", auth(serial2, start))
	r.Header.Set("Expect", "100-continue")
	r.ContentLength = 100 << 10
	out := httptest.NewRecorder()
	w.srv.Handler().ServeHTTP(out, r)
	return out.Code
}

// TestBadBodies: what cannot be read is in the log once a minute a lock, with the
// number of those before, and in the status until a good call of its kind.
func TestBadBodies(t *testing.T) {
	w := newWorld(t)
	w.policy.set("room5", 1)
	var lines bytes.Buffer
	srv, err := link.New(w.cfg, link.Deps{Tables: w.policy, Cards: sealer{}, Events: w.log, Clock: w.clock,
		Logger: slog.New(slog.NewTextHandler(&lines, nil))})
	if err != nil {
		t.Fatal(err)
	}
	w.srv = srv
	warned := func(n int, before string) {
		t.Helper()
		got := strings.Count(lines.String(), "level=WARN")
		if got != n || before != "" && !strings.Contains(lines.String(), before) {
			t.Errorf("%d lines, want %d with %s: %s", got, n, before, lines.String())
		}
	}
	bad := func(path, body string, want int) {
		t.Helper()
		if got := w.call(serial1, "POST", "/swordfish/lock/"+path, body).status; got != want {
			t.Errorf("%s: %d, want %d", path, got, want)
		}
	}
	for range 5 {
		bad("audit", "{", 400)
	}
	bad("alert", strings.Repeat(" ", 2<<20), 413)
	warned(1, "before=0")
	if s := w.status("room5"); s.Refused == "" || !s.RefusedAt.Equal(start) {
		t.Errorf("%+v", s)
	}
	w.pass(time.Minute)
	bad("audit", "{", 400)
	warned(2, "before=5")
	if s := w.status("room5"); !strings.HasPrefix(s.Refused, "audit: ") || !s.RefusedAt.Equal(start.Add(time.Minute)) {
		t.Errorf("%+v", s)
	}
	w.upload(201, "05020000 20260302110000")
	if s := w.status("room5"); !strings.HasPrefix(s.Refused, "alert: ") {
		t.Errorf("a good audit: %+v", s)
	}
	w.alert(200, "07000000", "20260302120000")
	if s := w.status("room5"); s.Refused != "" || !s.RefusedAt.IsZero() {
		t.Errorf("both were good: %+v", s)
	}
	if status, _, err := w.srv.Call(t.Context(), site.DeviceName("line1"), "POST", "/swordfish/lock/audit", make([]byte, 2<<20)); status != 413 || err != nil || w.status("cellar").Refused == "" {
		t.Errorf("on a line: %d, %v", status, err)
	}
	warned(3, "")
}
