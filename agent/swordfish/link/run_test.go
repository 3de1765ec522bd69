package link_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse/agent/site"
	"gatehouse/agent/swordfish"
	"gatehouse/agent/swordfish/link"
)

// live runs the server in a bubble whose clock is the site's.
func live(t *testing.T, w *world, fn func()) {
	t.Helper()
	srv, err := link.New(w.cfg, link.Deps{Tables: w.policy, Cards: sealer{}, Events: w.log,
		Clock: func() site.Clock { return site.Clock{Now: time.Now(), Trusted: true} }})
	if err != nil {
		t.Fatal(err)
	}
	w.srv = srv
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- srv.Run(ctx) }()
	<-srv.Ready()
	fn()
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestMissedCall: one fault an hour after the time that the lock was given, also over
// a restart, and its end at the next call.
func TestMissedCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.policy.set("room5", 1)
		now := func() string { return auth(serial1, time.Now()) }
		call := func() {
			if a := w.callAs("192.0.2.7:1", now(), "GET", "/swordfish/lock/db/0", ""); a.status != 200 {
				t.Fatal(a.status)
			}
		}
		var next time.Time
		live(t, w, func() {
			call()
			next = w.status("room5").Next
			time.Sleep(time.Until(next) + time.Hour - 2*time.Minute)
			if len(w.log.of(site.KindFault)) != 0 || w.status("room5").Late {
				t.Error("late too early")
			}
			time.Sleep(4 * time.Minute)
			if e := w.log.of(site.KindFault); len(e) != 1 || e[0].Door != "room5" || e[0].Cleared || !w.status("room5").Late {
				t.Errorf("%+v", e)
			}
		})
		live(t, w, func() {
			time.Sleep(24 * time.Hour)
			w.callAs("192.0.2.7:1", now(), "POST", "/swordfish/lock/alert", `{"event":"07000000","time":"20260302120000"}`)
			if len(w.log.of(site.KindFault)) != 1 || !w.status("room5").Late {
				t.Error("told again after a restart, or an alert counts as a call")
			}
			call()
			call()
			if e := w.log.of(site.KindFault); len(e) != 2 || !e[1].Cleared || w.status("room5").Late {
				t.Errorf("%+v", e)
			}
		})
	})
}

// TestBehind: who is behind is found when the policy changes, and when a table
// changes by itself, without a call.
func TestBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.policy.set("cellar", 1)
		live(t, w, func() {
			lock := &testLock{}
			call := func() {
				status, out, err := w.srv.Call(t.Context(), "line1", http.MethodGet, "/swordfish/lock/db/"+max(lock.version, "0"), nil)
				if err != nil || status != 200 {
					t.Fatal(status, err)
				}
				if err := lock.store(string(out)); err != nil {
					t.Fatal(err)
				}
			}
			want := func(when string, behind, due bool, changes int) {
				t.Helper()
				s := w.status("cellar")
				if s.Behind != behind || s.Changes != changes || s.BehindSince.IsZero() == behind {
					t.Errorf("%s: %+v", when, s)
				}
				if got := w.srv.Due("line1"); got != due {
					t.Errorf("%s: due %t", when, got)
				}
			}
			time.Sleep(5 * time.Second)
			want("never called", true, true, -1)
			call()
			want("answered", true, false, -1)
			time.Sleep(time.Minute)
			want("answered a minute ago", true, true, -1)
			call()
			want("stored", false, false, 0)
			w.policy.set("cellar", 1, 2, 3)
			time.Sleep(5 * time.Second)
			want("two more", true, true, 2)
			call()
			call()
			want("stored them", false, false, 0)
			if err := w.srv.PutConfig("cellar", []byte(`{}`)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * time.Minute)
			if !w.srv.Due("line1") {
				t.Error("a config waits, and it is not due")
			}
			call()
			call()
			time.Sleep(time.Until(w.status("cellar").Next))
			if !w.srv.Due("line1") {
				t.Error("its time has come, and it is not due")
			}
			if w.srv.Due("line2") {
				t.Error("a device that is not there is due")
			}
			// A table that changes by itself.
			tab := swordfish.Table{Next: time.Now().Add(time.Hour)}
			w.policy.put("cellar", tab)
			call()
			call()
			w.policy.mu.Lock()
			w.policy.tables["cellar"] = swordfish.Table{Entries: []swordfish.Entry{{Block: blockOf(5), Function: site.FunctionNorm}}}
			w.policy.mu.Unlock()
			time.Sleep(30 * time.Minute)
			want("before it changes", false, false, 0)
			time.Sleep(31 * time.Minute)
			want("after it changed", true, true, 1)
		})
	})
}

// TestManyLocks: 200 locks call at once, each with Config, door file, audits and an
// alert, while the policy changes and others ask for status: all are served, each
// gets its own cards, every audit is kept once.
func TestManyLocks(t *testing.T) {
	const n = 200
	p, _ := swordfish.ProfileOf("nde")
	w := newWorld(t, func(c *link.Config) {
		c.Locks, c.Auth = nil, link.AuthEnforce
		for i := range n {
			c.Locks = append(c.Locks, link.Lock{ID: site.DoorID(fmt.Sprintf("l%d", i)), Serial: fmt.Sprintf("%032X", 0xA0000+i), Profile: p})
		}
	})
	for i := range n {
		w.policy.set(site.DoorID(fmt.Sprintf("l%d", i)), i, i+1, i+2)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var around, calls sync.WaitGroup
	around.Go(func() {
		if err := w.srv.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	around.Go(func() {
		for ctx.Err() == nil {
			w.srv.Locks()
			w.srv.Pending()
			w.srv.Holders(blockOf(50))
		}
	})
	for i := range n {
		calls.Go(func() {
			serial := fmt.Sprintf("%032X", 0xA0000+i)
			lock := &testLock{version: "0"}
			for range 2 {
				if a := w.call(serial, "PUT", "/swordfish/lock/Config", fmt.Sprintf(`{"name":"lock %d"}`, i)); a.status != 200 {
					t.Errorf("Config: %d", a.status)
				}
				a := w.call(serial, "GET", "/swordfish/lock/db/"+lock.version, "")
				if a.status != 200 {
					t.Errorf("db: %d", a.status)
				} else if err := lock.store(a.body); err != nil {
					t.Error(err)
				}
				if a := w.call(serial, "POST", "/swordfish/lock/audit", uploadOf("05020000 20260302110000", "05020000 20260302110000")); a.status/100 != 2 {
					t.Errorf("audit: %d", a.status)
				}
				if a := w.call(serial, "POST", "/swordfish/lock/alert", `{"event":"07000000","time":"20260302120000"}`); a.status != 200 {
					t.Errorf("alert: %d", a.status)
				}
			}
			if got := lock.holds(); !slices.Equal(got, []int{i, i + 1, i + 2}) {
				t.Errorf("lock %d holds %v", i, got)
			}
		})
	}
	calls.Wait()
	cancel()
	around.Wait()
	if got := len(w.log.audits()); got != 3*n {
		t.Errorf("%d audits, want %d", got, 3*n)
	}
	for i, s := range w.srv.Locks() {
		if s.Behind || s.Users != 3 || s.DeviceName != fmt.Sprintf("lock %d", i) {
			t.Errorf("%+v", s)
		}
	}
}

// TestSlowLock: a lock that does not read its answer holds up itself alone, and is
// rid of in the end.
func TestSlowLock(t *testing.T) {
	w := newWorld(t)
	w.policy.set("room5", 1)
	w.policy.set("room6", 2)
	slow := &stuckWriter{header: http.Header{}, stop: make(chan struct{})}
	r, err := http.NewRequestWithContext(t.Context(), "GET", "/swordfish/lock/db/0", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", auth(serial1, start))
	done := make(chan struct{})
	slow.began = make(chan struct{})
	go func() {
		defer close(done)
		w.srv.Handler().ServeHTTP(slow, r)
	}()
	<-slow.began
	w.get(serial2, &testLock{}, false)
	w.upload(201, "05020000 20260302110000")
	w.get(serial1, &testLock{}, false)
	slow2 := &stuckWriter{header: http.Header{}, stop: slow.stop, began: make(chan struct{})}
	done2 := make(chan struct{})
	go func() {
		defer close(done2)
		w.srv.Handler().ServeHTTP(slow2, r.Clone(t.Context()))
	}()
	<-slow2.began
	again := r.Clone(t.Context())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if a := w.serveRequest(again.WithContext(ctx)); a != 503 {
		t.Errorf("its third call: %d", a)
	}
	close(slow.stop)
	<-done
	<-done2
	w.get(serial1, &testLock{}, false)
}

func (w *world) serveRequest(r *http.Request) int {
	rec := &statusWriter{header: http.Header{}}
	w.srv.Handler().ServeHTTP(rec, r)
	return rec.status
}

type statusWriter struct {
	header http.Header
	status int
}

func (s *statusWriter) Header() http.Header         { return s.header }
func (s *statusWriter) WriteHeader(status int)      { s.status = status }
func (s *statusWriter) Write(b []byte) (int, error) { return len(b), nil }

// stuckWriter takes nothing until it is stopped.
type stuckWriter struct {
	header      http.Header
	began, stop chan struct{}
}

func (s *stuckWriter) Header() http.Header { return s.header }
func (s *stuckWriter) WriteHeader(int)     { close(s.began) }
func (s *stuckWriter) Write([]byte) (int, error) {
	<-s.stop
	return 0, http.ErrHandlerTimeout
}

// TestStatusNames: what a lock says of itself stands in its status.
func TestStatusNames(t *testing.T) {
	w := newWorld(t)
	w.policy.set("room5", 1)
	w.call(serial1, "PUT", "/swordfish/lock/Config", `{"name":"Room 5","model":"NDE80"}`)
	s := w.status("room5")
	if s.DeviceName != "Room 5" || s.DeviceModel != "NDE80" || s.Model != "nde" || s.Line != link.LineWiFi || s.Serial != strings.ToUpper(serial1) || !s.Called.Equal(start) {
		t.Errorf("%+v", s)
	}
	if s := w.status("cellar"); s.Line != link.LineSerial || !s.Called.IsZero() || !s.Behind {
		t.Errorf("%+v", s)
	}
}
