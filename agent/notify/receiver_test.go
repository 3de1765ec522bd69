package notify_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/agent/notify"
	"gatehouse/agent/site"
)

func seqs(n ...site.EventSeq) []site.EventSeq { return n }

func (p *place) want(what string, got, want []site.EventSeq) {
	p.t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		p.t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// An outage of hours: everything arrives afterwards, in order, once; the cursor
// waits; the tries grow rare; one fault begins and ends.
func TestOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, d := hooked(t, notify.Config{})
		r, _ := p.start()
		p.happen(site.KindDoorForced)
		after(time.Second)
		p.want("before the outage", d.got(), seqs(1))
		p.wire.cut(true)
		d.answers(func(w http.ResponseWriter, _ call) int { panic(http.ErrAbortHandler) }) // also what is connected
		for range 5 {
			p.happen(site.KindDoorForced, site.KindAccess)
			after(30 * time.Minute)
		}
		if at := p.cursor.Position(); at != 1 {
			t.Errorf("the cursor is at %d during the outage", at)
		}
		st := r.Stats()
		if st.Queued != 5 || st.LastError == "" || st.FailingSince.IsZero() || !st.RetryAt.After(time.Now()) || st.RetryAt.After(time.Now().Add(5*time.Minute)) {
			t.Errorf("stats %+v", st)
		}
		if told := p.told(); len(told) != 1 || !strings.Contains(told[0], "http://desk.example: network is unreachable") {
			t.Errorf("faults %q", told)
		}
		if n := len(p.wire.tries()); n < 150*60/300 || n > 150*60/200+10 {
			t.Errorf("%d tries in 150 minutes", n)
		}
		d.answers(nil)
		p.wire.cut(false)
		after(5 * time.Minute)
		p.want("after the outage", d.got(), seqs(1, 2, 4, 6, 8, 10))
		st = r.Stats()
		if st.Queued != 0 || st.LastError != "" || !st.RetryAt.IsZero() || st.Sent != 6 || st.At != 11 || p.cursor.Position() != 11 {
			t.Errorf("stats %+v, cursor %d", st, p.cursor.Position())
		}
		if told := p.told(); len(told) != 2 || told[1] != "" {
			t.Errorf("faults %q", told)
		}
	})
}

// What was acknowledged is not sent again by the next agent, and what was not
// is, with the key that it had.
func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, d := hooked(t, notify.Config{})
		_, stop := p.start()
		p.happen(site.KindDoorForced, site.KindDoorHeld)
		after(time.Second)
		d.answers(func(http.ResponseWriter, call) int { panic(http.ErrAbortHandler) }) // it has it, we do not know
		p.happen(site.KindFire)
		after(time.Second)
		stop()
		p.happen(site.KindTamper)
		d.answers(nil)
		_, stop = p.start()
		after(time.Second)
		stop()
		p.want("accepted", d.got(), seqs(1, 2, 3, 4))
		keys := map[string]bool{}
		for _, c := range d.tried() {
			if c.Event.Seq == 3 {
				keys[c.header.Get("Idempotency-Key")] = true
			}
		}
		if len(keys) != 1 || !keys[serial+"/5f3a9c01/3"] {
			t.Errorf("keys of event 3: %v", keys)
		}
	})
}

func TestStartsNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, d := hooked(t, notify.Config{})
		p.happen(site.KindDoorForced, site.KindDoorForced)
		r, err := notify.New(p.cfg, p.deps)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Begin(); err != nil {
			t.Fatal(err)
		}
		p.happen(site.KindFire) // between Begin and Run
		p.start()
		p.happen(site.KindTamper)
		after(time.Second)
		p.want("a new receiver", d.got(), seqs(3, 4))
	})
}

// A refused alarm is tried for a documented while, told of, and skipped; what is
// no fault of the alarm is tried for longer, or without end.
func TestRefused(t *testing.T) {
	for _, tt := range []struct {
		status     int
		tries      int           // of the refused one; 0: not looked at
		over, held time.Duration // skipped by then, and not yet by then
	}{
		{status: 422, tries: 12, held: 5 * time.Minute, over: 20 * time.Minute},
		{status: 400, tries: 12, held: 5 * time.Minute, over: 20 * time.Minute},
		{status: 403, held: 23 * time.Hour, over: 25 * time.Hour},
		{status: 404, held: 23 * time.Hour, over: 25 * time.Hour},
		{status: 302, held: 23 * time.Hour, over: 25 * time.Hour},
		{status: 408, held: 100 * time.Hour},
		{status: 425, held: 100 * time.Hour},
		{status: 429, held: 100 * time.Hour},
		{status: 500, held: 100 * time.Hour},
		{status: 503, held: 100 * time.Hour},
	} {
		t.Run(fmt.Sprint(tt.status), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, d := hooked(t, notify.Config{})
				d.answers(func(w http.ResponseWriter, c call) int {
					if c.Event.Seq == 2 {
						http.Error(w, "no\r\nsuch thing", tt.status)
						return 0
					}
					return http.StatusOK
				})
				r, _ := p.start()
				p.happen(site.KindDoorForced, site.KindDoorHeld, site.KindFire)
				after(tt.held)
				p.want("held", d.got(), seqs(1))
				if st := r.Stats(); !strings.HasPrefix(st.LastError, fmt.Sprint(tt.status)) || !strings.HasSuffix(st.LastError, ": no  such thing") {
					t.Errorf("last error %q", st.LastError)
				}
				if tt.over == 0 {
					return
				}
				after(tt.over - tt.held)
				p.want("after it was skipped", d.got(), seqs(1, 3))
				skips := p.log.skips()
				if len(skips) != 1 || !strings.Contains(skips[0], "alarm 2 (door_held front) was skipped: webhook desk refuses it") || strings.Contains(skips[0], "\n") {
					t.Errorf("fault events %q", skips)
				}
				tries := 0
				for _, c := range d.tried() {
					if c.Event.Seq == 2 {
						tries++
					}
				}
				if tt.tries > 0 && tries != tt.tries {
					t.Errorf("%d tries, want %d", tries, tt.tries)
				}
				if st := r.Stats(); st.Skipped != 1 || st.LastError != "" || p.cursor.Position() < 3 {
					t.Errorf("stats %+v, cursor %d", st, p.cursor.Position())
				}
			})
		})
	}
}

// Each refused alarm gets the same tries; one that a gateway fails in between
// does not count.
func TestRefusedTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, d := hooked(t, notify.Config{})
		tries := map[site.EventSeq]int{}
		d.answers(func(_ http.ResponseWriter, c call) int {
			if c.Event.Seq == 3 {
				return http.StatusOK
			}
			tries[c.Event.Seq]++ // one call at a time
			if tries[c.Event.Seq]%2 == 0 {
				return http.StatusBadGateway
			}
			return http.StatusBadRequest
		})
		p.start()
		p.happen(site.KindDoorForced, site.KindDoorHeld, site.KindFire)
		after(4 * time.Hour)
		p.want("after both were skipped", d.got(), seqs(3))
		if diff := cmp.Diff(map[site.EventSeq]int{1: 23, 2: 23}, tries); diff != "" || len(p.log.skips()) != 2 {
			t.Errorf("skips %q, tries (-want +got):\n%s", p.log.skips(), diff)
		}
	})
}

// Two receivers that refuse everything do not feed each other for ever.
func TestSkippedFaultsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, d := hooked(t, notify.Config{})
		d.answers(func(http.ResponseWriter, call) int { return http.StatusTeapot })
		p.start()
		p.log.Append(site.Event{Kind: site.KindFault, Item: notify.Item("other"), Count: 1, Text: "alarm 1 was skipped"})
		after(time.Hour)
		if n := p.log.Last(); n != 1 || p.cursor.Position() != 1 {
			t.Errorf("%d events, cursor at %d", n, p.cursor.Position())
		}
	})
}

func TestRetryAfter(t *testing.T) {
	for _, tt := range []struct {
		header   string
		min, max time.Duration
	}{
		{"90", 90 * time.Second, 91 * time.Second},
		{"date", 119 * time.Second, 121 * time.Second},
		{"999999", time.Hour, time.Hour + time.Second},
		{"-3", 750 * time.Millisecond, time.Second},
		{"soon", 750 * time.Millisecond, time.Second},
		{"", 750 * time.Millisecond, time.Second},
	} {
		t.Run(tt.header, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, d := hooked(t, notify.Config{})
				begin := time.Now()
				header := tt.header
				if header == "date" {
					header = begin.Add(2 * time.Minute).UTC().Format(http.TimeFormat)
				}
				d.answers(func(w http.ResponseWriter, c call) int {
					if len(d.tried()) == 1 {
						w.Header().Set("Retry-After", header)
						return http.StatusServiceUnavailable
					}
					return http.StatusOK
				})
				p.start()
				p.happen(site.KindFire)
				after(2 * time.Hour)
				tried := d.tried()
				if len(tried) != 2 {
					t.Fatalf("%d tries", len(tried))
				}
				if got := tried[1].at.Sub(begin); got < tt.min || got > tt.max {
					t.Errorf("came back after %v, want %v to %v", got, tt.min, tt.max)
				}
			})
		})
	}
}

// A server that takes a call and does not answer is given up after 30 s, and
// ending the agent does not wait for it.
func TestSlowServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, d := hooked(t, notify.Config{})
		d.answers(func(_ http.ResponseWriter, c call) int {
			if len(d.tried()) == 1 {
				time.Sleep(time.Minute)
			}
			return http.StatusOK
		})
		r, stop := p.start()
		p.happen(site.KindFire)
		after(30*time.Second + 100*time.Millisecond)
		if st := r.Stats(); st.LastError != "no answer in time" {
			t.Errorf("last error %q", st.LastError)
		}
		after(2 * time.Second)
		if at := p.cursor.Position(); at != 1 {
			t.Errorf("cursor at %d", at)
		}
		d.answers(func(http.ResponseWriter, call) int { time.Sleep(20 * time.Second); return http.StatusOK })
		p.happen(site.KindFire)
		after(time.Second)
		begin := time.Now()
		stop()
		if took := time.Since(begin); took > time.Second {
			t.Errorf("the end took %v", took)
		}
		if at := p.cursor.Position(); at != 1 {
			t.Errorf("cursor at %d after a call that was broken off", at)
		}
		after(time.Minute) // the server's own goroutines
	})
}

// The cursor does not move for each event that is not sent.
func TestIdleCursor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := hooked(t, notify.Config{})
		_, stop := p.start()
		writes := p.cursor.written() // Begin
		for range 500 {
			p.happen(site.KindAccess)
		}
		after(time.Minute)
		if p.cursor.written() != writes {
			t.Errorf("%d writes within a minute", p.cursor.written()-writes)
		}
		after(5 * time.Minute)
		if p.cursor.written() != writes+1 || p.cursor.Position() != 500 {
			t.Errorf("%d writes within five minutes, at %d", p.cursor.written()-writes, p.cursor.Position())
		}
		for range 1000 {
			p.happen(site.KindAccess)
		}
		after(0)
		if p.cursor.Position() < 1500 {
			t.Errorf("a thousand events later it is at %d", p.cursor.Position())
		}
		p.happen(site.KindAccess)
		after(0)
		stop()
		if p.cursor.Position() != 1501 {
			t.Errorf("after the end it is at %d", p.cursor.Position())
		}
	})
}

// A cursor that cannot be kept stops nothing.
func TestCursorFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, d := hooked(t, notify.Config{})
		p.start()
		p.cursor.mu.Lock()
		p.cursor.fail = errors.New("no space left on device")
		p.cursor.mu.Unlock()
		p.happen(site.KindFire, site.KindFire)
		after(time.Second)
		p.want("sent", d.got(), seqs(1, 2))
		p.cursor.mu.Lock()
		p.cursor.fail = nil
		p.cursor.mu.Unlock()
		after(6 * time.Minute)
		if at := p.cursor.Position(); at != 2 {
			t.Errorf("cursor at %d", at)
		}
		p.want("sent once", d.got(), seqs(1, 2))
	})
}

// More alarms than are held in memory, then a log that cannot be read.
func TestManyAndBrokenLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, d := hooked(t, notify.Config{})
		p.wire.cut(true)
		r, _ := p.start()
		for range 700 {
			p.happen(site.KindDoorForced)
		}
		after(time.Hour)
		if st := r.Stats(); st.Queued < 256 || st.Queued > 600 || !st.More {
			t.Errorf("queued %d, more %v", st.Queued, st.More)
		}
		p.wire.cut(false)
		after(10 * time.Minute)
		var want []site.EventSeq
		for i := range site.EventSeq(700) {
			want = append(want, i+1)
		}
		p.want("all", d.got(), want)
	})
	p := newPlace(t, notify.Config{ID: "desk", Webhook: "http://desk.example"})
	p.log.fail = errors.New("input/output error")
	r, err := notify.New(p.cfg, p.deps)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "notify desk: input/output error") {
		t.Errorf("Run = %v", err)
	}
}

// Test goes beside the queue, and one that works wakes it.
func TestTest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, d := hooked(t, notify.Config{})
		p.wire.cut(true)
		r, _ := p.start()
		p.happen(site.KindFire)
		after(time.Hour)
		if _, err := r.Test(t.Context()); err == nil || !strings.Contains(err.Error(), "http://desk.example: network is unreachable") {
			t.Errorf("Test = %v", err)
		}
		p.wire.cut(false)
		answer, err := r.Test(t.Context())
		if err != nil || answer != "204 No Content" {
			t.Errorf("Test = %q, %v", answer, err)
		}
		after(0)
		p.want("the test, then the queue", d.got(), seqs(0, 1))
		if c := d.tried()[0]; !c.Test || c.Event.Kind != site.KindCommand || c.Event.Item != "notify:desk" {
			t.Errorf("the test is %+v", c.Call)
		}
	})
}
