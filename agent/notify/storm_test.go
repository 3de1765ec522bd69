package notify_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/agent/notify"
	"gatehouse/agent/site"
)

// piped is a place that mails to a server of this machine, over pipes.
func piped(t *testing.T, s *post, addresses ...string) *place {
	p := newPlace(t, notify.Config{ID: "desk", Mail: addresses, SMTP: "localhost"})
	go func() {
		for {
			c, err := p.wire.Accept()
			if err != nil {
				return
			}
			go func() { defer c.Close(); s.session(c) }()
		}
	}()
	t.Cleanup(func() { p.wire.Close() })
	return p
}

// In a storm the first alarm goes at once and the others together; after an
// outage all that waited go together.
func TestStorm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &post{}
		p := piped(t, s, "ada@site.example")
		p.start()
		for range 20 { // never in the instant of a mail
			p.happen(site.KindDoorForced)
			after(500 * time.Millisecond)
			p.happen(site.KindDoorHeld)
			after(600 * time.Millisecond)
		}
		after(time.Minute)
		p.wire.cut(true)
		p.happen(site.KindFire)
		after(time.Hour)
		p.happen(site.KindTamper)
		p.wire.cut(false)
		after(5 * time.Minute)
		var got []string
		for _, m := range s.messages() {
			got = append(got, open(t, m.raw).subject)
		}
		want := []string{
			"[Warehouse 7] door_forced: front",
			"[Warehouse 7] 27 alarms: door_held, door_forced",
			"[Warehouse 7] 12 alarms: door_forced, door_held",
			"[Warehouse 7] 2 alarms: fire, tamper",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// An address that is put off for ever holds the others up for a while only, and
// an event says who did not get what.
func TestPutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &post{}
		s.set(func(addr string) string {
			if strings.HasPrefix(addr, "grey") {
				return "450 4.2.1 mailbox busy"
			}
			return ""
		}, nil)
		p := piped(t, s, "ada@site.example", "grey@site.example")
		r, _ := p.start()
		p.happen(site.KindFire)
		after(time.Second)
		p.happen(site.KindTamper)
		after(3 * time.Minute)
		if n := len(s.messages()); n != 1 || r.Stats().Queued != 2 {
			t.Errorf("%d mails, stats %+v", n, r.Stats())
		}
		after(2 * time.Hour)
		if n := len(s.messages()); n != 2 {
			t.Errorf("%d mails", n)
		}
		skips := p.log.skips()
		if len(skips) != 2 || skips[0] != "alarm 1 (fire front) was skipped: mail desk (grey@site.example) refuses it: grey@site.example: 450 4.2.1 mailbox busy" {
			t.Errorf("skips %q", skips)
		}
	})
}

// An alarm that every address refuses for good is kept for a day, one that they
// put off for ever.
func TestMailClosed(t *testing.T) {
	for reply, skipped := range map[string]uint64{"550 5.1.1 no such user": 1, "450 4.2.1 later": 0} {
		synctest.Test(t, func(t *testing.T) {
			s := &post{}
			s.set(func(string) string { return reply }, nil)
			p := piped(t, s, "ada@site.example")
			r, _ := p.start()
			p.happen(site.KindFire)
			after(23 * time.Hour)
			if st := r.Stats(); st.Skipped != 0 || !strings.Contains(st.LastError, reply) {
				t.Errorf("%s: stats %+v", reply, st)
			}
			after(2 * time.Hour)
			if st := r.Stats(); st.Skipped != skipped {
				t.Errorf("%s: stats %+v", reply, st)
			}
		})
	}
}
