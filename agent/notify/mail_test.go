package notify_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/agent/notify"
	"gatehouse/agent/site"
)

// posting is a place that mails through a server that stands for example.com.
func posting(t *testing.T, s *post, cfg notify.Config) *place {
	t.Helper()
	cert, ts := testCertificate(t)
	s.cert = cert
	addr := s.serve(t)
	cfg.ID = "desk"
	if cfg.Mail == nil {
		cfg.Mail = []string{"ada@site.example"}
	}
	p := newPlace(t, cfg)
	p.trust(ts)
	p.deps.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, addr)
	}
	return p
}

// opened is a mail as its reader sees it.
type opened struct {
	subject string
	header  mail.Header
	body    string
}

func open(t *testing.T, raw []byte) opened {
	t.Helper()
	m, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		t.Fatalf("%v:\n%s", err, raw)
	}
	for _, line := range bytes.Split(raw, []byte("\r\n")) {
		if len(line) > 998 || bytes.ContainsAny(line, "\r\n") {
			t.Errorf("line %.100q", line)
		}
	}
	subject, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(quotedprintable.NewReader(m.Body))
	if err != nil {
		t.Fatal(err)
	}
	return opened{subject, m.Header, strings.ReplaceAll(string(body), "\r\n", "\n")}
}

// headerNames are those of every mail, and no others.
var headerNames = []string{"Auto-Submitted", "Content-Transfer-Encoding", "Content-Type", "Date", "From", "Message-Id", "Mime-Version", "Subject", "To"}

func names(h mail.Header) []string {
	var out []string
	for k, v := range h {
		if len(v) != 1 {
			out = append(out, k+" twice")
		}
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

func TestMail(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		server *post
		cfg    notify.Config
		user   string
		tls    bool
	}{
		{"STARTTLS and PLAIN", &post{startTLS: true, auth: "LOGIN PLAIN"}, notify.Config{SMTP: "example.com:587", User: postUser, Password: notify.Secret(postPassword)}, postUser, true},
		{"STARTTLS and LOGIN", &post{startTLS: true, auth: "LOGIN"}, notify.Config{SMTP: "smtp://example.com", User: postUser, Password: notify.Secret(postPassword)}, postUser, true},
		{"TLS from the first byte", &post{implicit: true, auth: "PLAIN"}, notify.Config{SMTP: "smtps://example.com", User: postUser, Password: notify.Secret(postPassword)}, postUser, true},
		{"port 465", &post{implicit: true}, notify.Config{SMTP: "example.com:465"}, "", true},
		{"this machine, in clear", &post{}, notify.Config{SMTP: "localhost:25"}, "", false},
		{"this machine, signed in", &post{startTLS: true, auth: "PLAIN"}, notify.Config{SMTP: "127.0.0.1:25", User: postUser, Password: notify.Secret(postPassword)}, postUser, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.cfg.Mail = []string{"ada@site.example", "grace@site.example"}
			tt.cfg.From = "gatehouse@site.example"
			p := posting(t, tt.server, tt.cfg)
			p.deps.Site, p.deps.Zone = "Käserei 7", berlin
			p.deps.Now = func() time.Time { return time.Date(2026, 11, 21, 18, 5, 0, 0, time.UTC) }
			p.start()
			p.log.Append(site.Event{Time: time.Date(2026, 11, 21, 18, 4, 5, 0, time.UTC), Kind: site.KindDoorHeld, Door: "front", HolderID: "h1",
				Text: ". a text that begins with a dot"})
			poll(t, "the mail", func() bool { return len(tt.server.messages()) == 1 })
			got := tt.server.messages()[0]
			if got.user != tt.user || got.tls != tt.tls || got.from != "gatehouse@site.example" {
				t.Errorf("user %q, TLS %v, from %q", got.user, got.tls, got.from)
			}
			if diff := cmp.Diff(tt.cfg.Mail, got.to); diff != "" {
				t.Errorf("recipients (-want +got):\n%s", diff)
			}
			m := open(t, got.raw)
			if diff := cmp.Diff(headerNames, names(m.header)); diff != "" {
				t.Errorf("headers (-want +got):\n%s", diff)
			}
			if m.subject != "[Käserei 7] door_held: front" || m.header.Get("Date") != "Sat, 21 Nov 2026 19:05:00 +0100" ||
				m.header.Get("Message-ID") != "<gatehouse."+serial+".desk.5f3a9c01.1-1@site.example>" {
				t.Errorf("subject %q, date %q, id %q", m.subject, m.header.Get("Date"), m.header.Get("Message-ID"))
			}
			want := "Site:  Käserei 7\nAgent: " + serial + "\n\n2026-11-21 19:04:05 CET  door_held\n  door:   front\n  holder: Ada\n" +
				"  text:   . a text that begins with a dot\n  event:  5f3a9c01/1\n"
			if diff := cmp.Diff(want, m.body); diff != "" {
				t.Errorf("body (-want +got):\n%s", diff)
			}
		})
	}
}

// Where it cannot be safe, nothing is sent: no password, no alarm.
func TestMailRefusals(t *testing.T) {
	signed := notify.Config{SMTP: "example.com", User: postUser, Password: notify.Secret(postPassword)}
	with := func(f func(*notify.Config)) notify.Config { c := signed; f(&c); return c }
	for _, tt := range []struct {
		name   string
		server *post
		cfg    notify.Config
		want   string
	}{
		{"no STARTTLS", &post{}, notify.Config{SMTP: "example.com"}, "offers no STARTTLS"},
		{"no STARTTLS, signed in", &post{auth: "PLAIN"}, signed, "offers no STARTTLS"},
		{"this machine, no TLS, signed in", &post{auth: "PLAIN"}, with(func(c *notify.Config) { c.SMTP = "localhost" }), "offers no STARTTLS"},
		{"another name", &post{startTLS: true}, notify.Config{SMTP: "mail.other.example"}, "certificate"},
		{"another name, smtps", &post{implicit: true}, notify.Config{SMTP: "smtps://mail.other.example"}, "certificate"},
		{"wrong password", &post{startTLS: true, auth: "PLAIN"}, with(func(c *notify.Config) { c.Password = notify.Secret("x") }), "535 5.7.8"},
		{"wrong password, LOGIN", &post{startTLS: true, auth: "LOGIN"}, with(func(c *notify.Config) { c.Password = notify.Secret("x") }), "535 5.7.8"},
		{"other mechanisms", &post{startTLS: true, auth: "CRAM-MD5"}, signed, "neither PLAIN nor LOGIN"},
		{"no sign-in offered", &post{startTLS: true}, signed, "neither PLAIN nor LOGIN"},
		{"sign-in wanted", &post{startTLS: true, auth: "PLAIN"}, notify.Config{SMTP: "example.com"}, "530 5.7.0"},
		{"it talks without end", &post{chatter: true}, notify.Config{SMTP: "example.com"}, "too long"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := posting(t, tt.server, tt.cfg)
			r, err := notify.New(p.cfg, p.deps)
			if err != nil {
				t.Fatal(err)
			}
			_, err = r.Test(t.Context())
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), postPassword) {
				t.Errorf("Test = %v, want %q", err, tt.want)
			}
			if len(tt.server.messages()) != 0 {
				t.Error("something was sent")
			}
			if tt.server.auth == "PLAIN" && !tt.server.startTLS && strings.Contains(tt.server.commands(), "AUTH") {
				t.Errorf("a password in clear:\n%s", tt.server.commands())
			}
		})
	}
}

// Alarms that wait together go in one mail; one that is refused is found and
// skipped, and the others arrive.
func TestMailTogether(t *testing.T) {
	s := &post{startTLS: true}
	p := posting(t, s, notify.Config{SMTP: "example.com"})
	if err := p.cursor.Advance(0); err != nil {
		t.Fatal(err)
	}
	for i := range 120 {
		p.happen([]site.Kind{site.KindDoorForced, site.KindFire, site.KindTamper}[i%3])
	}
	_, stop := p.start()
	poll(t, "the first mail", func() bool { return p.cursor.Position() == 100 })
	stop()
	m := open(t, s.messages()[0].raw)
	if m.subject != "[Warehouse 7] 100 alarms: door_forced, fire, tamper" || strings.Count(m.body, "event:") != 100 {
		t.Errorf("%q, %s", m.subject, m.body)
	}
	_, stop = p.start()
	poll(t, "the second mail", func() bool { return p.cursor.Position() == 120 })
	stop()
	m = open(t, s.messages()[1].raw)
	if m.subject != "[Warehouse 7] 20 alarms: fire, tamper, door_forced" ||
		m.header.Get("Message-ID") != "<gatehouse."+serial+".desk.5f3a9c01.101-120@example.com>" {
		t.Errorf("%q, %s", m.subject, m.header.Get("Message-ID"))
	}
}

// When the server takes a mail for some, the others are tried alone.
func TestMailRecipients(t *testing.T) {
	s := &post{startTLS: true}
	p := posting(t, s, notify.Config{SMTP: "example.com", Mail: []string{"ada@site.example", "grey@site.example", "gone@site.example"}})
	asked := 0
	s.set(func(addr string) string {
		switch name, _, _ := strings.Cut(addr, "@"); name {
		case "gone":
			return "550 5.1.1 no such user"
		case "grey":
			if asked++; asked == 1 {
				return "451 4.7.1 later"
			}
		}
		return ""
	}, nil)
	r, _ := p.start()
	p.happen(site.KindFire)
	poll(t, "the second try", func() bool { return r.Stats().Sent == 1 })
	var to [][]string
	ids := map[string]bool{}
	for _, m := range s.messages() {
		to = append(to, m.to)
		ids[open(t, m.raw).header.Get("Message-ID")] = true
	}
	if diff := cmp.Diff([][]string{{"ada@site.example"}, {"grey@site.example"}}, to); diff != "" || len(ids) != 1 {
		t.Errorf("%d ids (-want +got):\n%s", len(ids), diff)
	}
	_, err := r.Test(t.Context())
	if err == nil || !strings.Contains(err.Error(), "but not for gone@site.example: 550 5.1.1 no such user") {
		t.Errorf("Test = %v", err)
	}
}

// Names come from people: none of them gets into a header or starts a line.
func TestMailInjection(t *testing.T) {
	for _, evil := range []string{
		"x\r\nBcc: eve@evil.example", "x\nBcc: eve@evil.example", "x\rBcc: eve@evil.example", "x\r\n\r\n<html>",
		"=?utf-8?q?x=0D=0ABcc:_eve@evil.example?=", "x\u2028Bcc: eve", "x\u0085Bcc: eve", "x\x00y", "\xff\xfe", "\u202eknil", strings.Repeat("ä", 5000), strings.Repeat("=?", 500),
		"x\r\n.\r\nMAIL FROM:<eve@evil.example>",
	} {
		t.Run(fmt.Sprintf("%.20q", evil), func(t *testing.T) {
			s := &post{startTLS: true}
			p := posting(t, s, notify.Config{SMTP: "example.com"})
			p.deps.Site = evil
			p.deps.Holder = func(site.HolderID) string { return evil }
			p.start()
			p.log.Append(site.Event{Kind: site.KindFault, HolderID: "h1", Door: site.DoorID(evil), Text: evil, By: evil, Mode: evil, Device: site.DeviceName(evil)})
			poll(t, "the mail", func() bool { return len(s.messages()) == 1 })
			got := s.messages()[0]
			m := open(t, got.raw)
			if diff := cmp.Diff(headerNames, names(m.header)); diff != "" {
				t.Errorf("headers (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff([]string{"ada@site.example"}, got.to); diff != "" {
				t.Errorf("recipients (-want +got):\n%s", diff)
			}
			for line := range strings.Lines(m.body) {
				if strings.HasPrefix(line, "Bcc") || strings.HasPrefix(line, "<html>") || len(line) > 2100 {
					t.Errorf("body line %.100q", line)
				}
			}
			if strings.ContainsAny(m.subject, "\r\n\u202e\u2028\x00") || len(m.subject) > 500 {
				t.Errorf("subject %q", m.subject)
			}
		})
	}
}

// A message that the server refuses for good is skipped alone.
func TestMailPoison(t *testing.T) {
	s := &post{startTLS: true}
	p := posting(t, s, notify.Config{SMTP: "example.com"})
	if err := p.cursor.Advance(0); err != nil {
		t.Fatal(err)
	}
	p.happen(site.KindDoorForced, site.KindFire, site.KindTamper)
	s.set(nil, func(n int) string { return map[bool]string{true: "554 5.6.0 looks like spam", false: ""}[n == 1] })
	r, _ := p.start()
	poll(t, "the first alarm, alone", func() bool { return len(s.messages()) == 1 })
	if m := open(t, s.messages()[0].raw); m.subject != "[Warehouse 7] door_forced: front" {
		t.Errorf("after a refused mail of three: %q", m.subject)
	}
	if st := r.Stats(); st.Skipped != 0 {
		t.Errorf("stats %+v", st)
	}
}
