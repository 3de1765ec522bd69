package notify

import (
	"bytes"
	"net/mail"
	"strings"
	"testing"
	"time"

	"gatehouse/agent/site"
)

// FuzzLetter: whatever names and texts are, the mail has its own headers and no
// others, and each line of the body is ours.
func FuzzLetter(f *testing.F) {
	f.Add("Warehouse 7", "front", "a text")
	f.Add("x\r\nBcc: eve@evil.example", "=?utf-8?q?x?=", "\r\n.\r\n")
	f.Fuzz(func(t *testing.T, where, door, text string) {
		l := letter{from: "a@site.example", to: []string{"b@site.example"}, site: where, serial: "1", id: "desk", zone: time.UTC,
			events: []site.Event{{Kind: site.KindFault, Door: site.DoorID(door), Text: text, Holder: where}}}
		raw := l.bytes()
		m, err := mail.ReadMessage(bytes.NewReader(raw))
		if err != nil {
			t.Fatalf("%v:\n%s", err, raw)
		}
		if len(m.Header) != 9 {
			t.Errorf("headers %v", m.Header)
		}
		for line := range bytes.SplitSeq(raw, []byte("\r\n")) {
			if len(line) > 998 || bytes.ContainsAny(line, "\r\n\x00") {
				t.Errorf("line %.100q", line)
			}
		}
		for i, line := range strings.Split(strings.TrimSuffix(l.body(), "\n"), "\n") {
			if i > 3 && !strings.HasPrefix(line, "  ") {
				t.Errorf("body line %.100q", line)
			}
		}
	})
}

// FuzzServer: a mail server's setting that is accepted leads to one address.
func FuzzServer(f *testing.F) {
	for _, s := range []string{"mail.site.example:587", "smtp://mail.site.example", "smtps://[::1]:465", "localhost", "a:b:c", "smtp://u@h"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := parseServer(text)
		if err == nil && (s.host == "" || s.port == "" || strings.ContainsAny(s.addr(), " \r\n/")) {
			t.Errorf("%q: %+v", text, s)
		}
	})
}

// FuzzAddress: an address that is accepted can stand in a command as it is.
func FuzzAddress(f *testing.F) {
	for _, s := range []string{"a@b.c", `"a b"@c.d`, "a@b>\r\nRCPT TO:<x@y", "a@[127.0.0.1]"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if checkAddress(text) == nil && (strings.ContainsAny(text, " <>\r\n\x00\"") || strings.Count(text, "@") != 1) {
			t.Errorf("%q was accepted", text)
		}
	})
}
