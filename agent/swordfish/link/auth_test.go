package link_test

import (
	"encoding/base64"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"gatehouse/agent/site"
	"gatehouse/agent/swordfish"
	"gatehouse/agent/swordfish/link"
)

// TestTokens: ten minutes, one address, a time that does not go back, the site's key
// and the lock's own serial (engage.md section 5); a restart forgets none of it.
func TestTokens(t *testing.T) {
	good := func(at time.Duration) string { return auth(serial1, start.Add(at)) }
	otherKey := func() string {
		s, err := swordfish.MakeToken(serial1, make([]byte, 32), start)
		if err != nil {
			panic(err)
		}
		return "Device " + s
	}
	swapped := func() string { // the cipher of another lock
		b, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(auth(serial2, start), "Device "))
		if err != nil {
			panic(err)
		}
		return "Device " + base64.StdEncoding.EncodeToString([]byte(serial1+string(b[32:])))
	}
	type step struct {
		after time.Duration // since the step before
		token string
		addr  string
		want  int
	}
	const here, there = "192.0.2.7", "192.0.2.8"
	tests := []struct {
		name  string
		steps []step
		why   string // of the last refusal
	}{
		{"a good one", []step{{0, good(0), here, 202}}, ""},
		{"it is used again", []step{{0, good(0), here, 202}, {10 * time.Minute, good(0), here, 202}}, ""},
		{"for more than ten minutes", []step{{0, good(0), here, 202}, {10*time.Minute + time.Second, good(0), here, 401}}, "first used 10m1s ago"},
		{"from another address", []step{{0, good(0), here, 202}, {time.Minute, good(0), there, 401}, {0, good(0), here, 202}}, "comes from 192.0.2.8"},
		{"a new one from another address", []step{{0, good(0), here, 202}, {time.Minute, good(time.Minute), there, 202}}, ""},
		{"its time goes back", []step{{0, good(time.Second), here, 202}, {time.Minute, good(0), here, 401}}, "went back"},
		{"the one before", []step{{0, good(0), here, 202}, {0, good(1 * time.Second), here, 202}, {0, good(0), here, 401}}, "went back"},
		{"another key", []step{{0, otherKey(), here, 401}}, "another site key"},
		{"of another lock", []step{{0, swapped(), here, 401}}, "differ"},
		{"half of one", []step{{0, "Device " + base64.StdEncoding.EncodeToString([]byte(serial1+":12:1")), here, 401}}, "cannot be read"},
		{"a serial alone", []step{{0, "Device " + base64.StdEncoding.EncodeToString([]byte(serial1)), here, 401}}, "cannot be read"},
		{"years ahead", []step{{0, good(73 * 365 * 24 * time.Hour), here, 401}, {0, good(0), here, 202}}, "ahead"},
		{"years back, the first time", []step{{0, auth(serial1, time.Unix(0, 0)), here, 202}, {0, good(0), here, 202}}, ""},
		{"an hour ahead", []step{{0, good(time.Hour), here, 202}}, ""},
	}
	for _, tt := range tests {
		for _, restart := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/restart=%t", tt.name, restart), func(t *testing.T) {
				w := newWorld(t, func(c *link.Config) { c.Auth = link.AuthEnforce })
				for i, s := range tt.steps {
					w.pass(s.after)
					a := w.callAs(s.addr+":4711", s.token, "POST", "/swordfish/lock/audit", `{"audits":[]}`)
					if a.status != s.want {
						t.Errorf("step %d: %d, want %d", i, a.status, s.want)
					}
					if a.header.Get("X-Device-Last-Connected") == "" {
						t.Error("no X-Device-Last-Connected")
					}
					if restart {
						w.open()
					}
				}
				var why string
				for _, e := range w.log.of(site.KindFault) {
					if !e.Cleared {
						why = e.Text
					}
				}
				if !strings.Contains(why, tt.why) || (why == "") != (tt.why == "") {
					t.Errorf("event %q, want %q", why, tt.why)
				}
			})
		}
	}
}

// TestHostTime: a lock whose clock was wrong takes the time that it is told and is
// let in with it, whatever the clocks do.
func TestHostTime(t *testing.T) {
	w := newWorld(t, func(c *link.Config) { c.Auth = link.AuthEnforce })
	stamp := func(a answer) time.Time {
		at, err := time.Parse("20060102150405", a.header.Get("X-Device-Last-Connected"))
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	at := time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC)
	for i, now := range []time.Time{start, start.Add(time.Hour), start.Add(-24 * time.Hour), time.Unix(100, 0), start.Add(48 * time.Hour)} {
		w.setTime(now, now.Year() > 1970)
		a := w.callAs("192.0.2.7:1", auth(serial1, at), "PUT", "/swordfish/lock/Config", "{}")
		if at = stamp(a); i > 0 && a.status != 200 {
			t.Errorf("step %d: %d", i, a.status)
		}
	}
}

// TestReportAndNone: report tells and lets in; none looks at nothing. A serial is
// needed all the same.
func TestReportAndNone(t *testing.T) {
	bad := "Device " + base64.StdEncoding.EncodeToString([]byte(serial1+":12:1"))
	for _, tt := range []struct {
		auth   link.Auth
		status int
		events int
	}{{link.AuthEnforce, 401, 1}, {link.AuthReport, 202, 1}, {link.AuthNone, 202, 0}} {
		w := newWorld(t, func(c *link.Config) { c.Auth = tt.auth })
		for range 3 {
			if a := w.callAs("192.0.2.7:1", bad, "POST", "/swordfish/lock/audit", `{"audits":[]}`); a.status != tt.status {
				t.Errorf("%s: %d", tt.auth, a.status)
			}
		}
		if a := w.callAs("192.0.2.7:1", "", "POST", "/swordfish/lock/audit", `{"audits":[]}`); a.status != 401 {
			t.Errorf("%s without a serial: %d", tt.auth, a.status)
		}
		if n := len(w.log.of(site.KindFault)); n != tt.events {
			t.Errorf("%s: %d events", tt.auth, n)
		}
		if (w.status("room5").Refused != "") != (tt.events > 0) {
			t.Errorf("%s: status %+v", tt.auth, w.status("room5"))
		}
		got, err := link.ParseAuth(tt.auth.String())
		if err != nil || got != tt.auth {
			t.Errorf("%s: %v %v", tt.auth, got, err)
		}
	}
	if _, err := link.ParseAuth("maybe"); err == nil {
		t.Error("maybe was taken")
	}
}

// TestRefusalsAreTold: at most once a minute a lock, with how many there were, in the
// log in words for an installer, and the end of it once; never the token.
func TestRefusalsAreTold(t *testing.T) {
	var out strings.Builder
	w := newWorld(t, func(c *link.Config) { c.Auth = link.AuthEnforce })
	srv, err := link.New(w.cfg, link.Deps{Tables: w.policy, Cards: sealer{}, Events: w.log, Clock: w.clock, Logger: slog.New(slog.NewTextHandler(&out, nil))})
	if err != nil {
		t.Fatal(err)
	}
	w.srv = srv
	bad, err := swordfish.MakeToken(serial1, make([]byte, 32), start)
	if err != nil {
		t.Fatal(err)
	}
	for range 90 {
		w.pass(time.Second)
		w.callAs("192.0.2.7:1", "Device "+bad, "GET", "/swordfish/lock/db/0", "")
	}
	w.call(serial1, "GET", "/swordfish/lock/db/0", "")
	w.call(serial1, "GET", "/swordfish/lock/db/0", "")
	got := w.log.of(site.KindFault)
	if len(got) != 3 || got[0].Count != 1 || got[1].Count != 60 || !got[2].Cleared || got[0].Door != "room5" {
		t.Errorf("%+v", got)
	}
	if s := out.String(); !strings.Contains(s, "another site key") || !strings.Contains(s, "192.0.2.7") || strings.Contains(s, bad[50:80]) {
		t.Errorf("log: %s", s)
	}
	if w.policy.asked != 2 {
		t.Errorf("%d tables were made", w.policy.asked)
	}
}

// TestTheKeyIsNotPrinted: by any verb.
func TestTheKeyIsNotPrinted(t *testing.T) {
	c := link.Config{SiteKey: siteKey}
	s := fmt.Sprintf("%v %+v %#v %x %s", c, c, c.SiteKey, c.SiteKey, c.SiteKey)
	if strings.Contains(s, keyText[:8]) || strings.Contains(s, "251 165") {
		t.Error(s)
	}
}
