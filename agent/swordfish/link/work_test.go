package link_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse/agent/site"
	"gatehouse/agent/swordfish/link"
)

// TestWork: a file is made only with a place of Work, and while a lock does not read
// its file the place is free for others.
func TestWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.policy.set("room5", 1, 2, 3)
		w.policy.set("room6", 4)
		work := make(chan struct{}, 1)
		srv, err := link.New(w.cfg, link.Deps{Tables: w.policy, Cards: sealer{}, Events: w.log, Work: work,
			Clock: func() site.Clock { return site.Clock{Now: time.Now(), Trusted: true} }})
		if err != nil {
			t.Fatal(err)
		}
		get := func(serial string) *http.Request {
			r := httptest.NewRequest(http.MethodGet, "/swordfish/lock/db/0", nil)
			r.Header.Set("Authorization", auth(serial, time.Now()))
			return r
		}
		answered := make(chan int, 1)
		call := func() {
			out := httptest.NewRecorder()
			srv.Handler().ServeHTTP(out, get(serial2))
			answered <- out.Code
		}
		work <- struct{}{}
		go call()
		synctest.Wait()
		if len(answered) > 0 {
			t.Error("a file was made without a place")
		}
		<-work
		if status := <-answered; status != http.StatusOK || len(work) != 0 {
			t.Errorf("status %d, %d places held", status, len(work))
		}

		slow := &stuckWriter{header: http.Header{}, began: make(chan struct{}), stop: make(chan struct{})}
		done := make(chan struct{})
		go func() {
			defer close(done)
			srv.Handler().ServeHTTP(slow, get(serial1))
		}()
		<-slow.began
		synctest.Wait()
		go call()
		if status := <-answered; status != http.StatusOK {
			t.Errorf("status %d while another lock does not read", status)
		}
		close(slow.stop)
		<-done
		if len(work) != 0 {
			t.Error("a place is still held")
		}
	})
}
