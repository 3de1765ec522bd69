package notify_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"net"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
)

// post is a working mail server (RFC 5321, 3207, 4954) with what it has taken.
type post struct {
	cert     tls.Certificate
	implicit bool   // TLS from the first byte
	startTLS bool   // offered
	auth     string // the mechanisms offered over TLS
	chatter  bool   // it never ends its greeting

	mu    sync.Mutex // guards the following
	box   []posted
	rcpt  func(addr string) string // a reply; nil or empty: 250
	data  func(n int) string       // a reply to the n-th message, from 1
	tried int
	lines []string // all commands
}

// posted is one message that was taken.
type posted struct {
	from string
	to   []string
	user string
	tls  bool
	raw  []byte
}

// users may sign in.
const postUser, postPassword = "gatehouse", "correct horse"

// serve runs the server on a port of this machine until the test ends.
func (s *post) serve(t *testing.T) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var open sync.WaitGroup
	t.Cleanup(func() { l.Close(); open.Wait() })
	open.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			open.Go(func() { defer c.Close(); s.session(c) })
		}
	})
	return l.Addr().String()
}

func (s *post) messages() []posted { s.mu.Lock(); defer s.mu.Unlock(); return slices.Clone(s.box) }

func (s *post) commands() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.lines, "\n")
}

// set changes what the server answers.
func (s *post) set(rcpt func(string) string, data func(int) string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rcpt, s.data = rcpt, data
}

type session struct {
	*post
	conn net.Conn
	in   *bufio.Reader
	tls  bool
	user string
	mail posted
}

func (s *post) session(conn net.Conn) {
	x := &session{post: s, conn: conn}
	if s.implicit {
		x.secure()
	}
	x.in = bufio.NewReader(x.conn)
	for s.chatter {
		if !x.say("220-welcome, welcome, welcome") {
			return
		}
	}
	x.say("220 post.example ESMTP")
	for {
		line, err := x.line()
		if err != nil || !x.command(line) {
			return
		}
	}
}

func (x *session) secure() {
	x.conn, x.tls = tls.Server(x.conn, &tls.Config{Certificates: []tls.Certificate{x.cert}}), true
	x.in = bufio.NewReader(x.conn)
}

func (x *session) say(text string) bool {
	_, err := fmt.Fprintf(x.conn, "%s\r\n", text)
	return err == nil
}

func (x *session) line() (string, error) {
	l, err := x.in.ReadString('\n')
	x.mu.Lock()
	x.lines = append(x.lines, strings.TrimRight(l, "\r\n"))
	x.mu.Unlock()
	return strings.TrimRight(l, "\r\n"), err
}

// command does one; false ends the session.
func (x *session) command(line string) bool {
	verb, rest, _ := strings.Cut(line, " ")
	switch strings.ToUpper(verb) {
	case "EHLO":
		ext := []string{"post.example greets " + rest, "8BITMIME"}
		if x.startTLS && !x.tls {
			ext = append(ext, "STARTTLS")
		}
		if x.auth != "" && x.tls {
			ext = append(ext, "AUTH "+x.auth)
		}
		for i, e := range ext {
			x.say("250" + map[bool]string{true: " ", false: "-"}[i == len(ext)-1] + e)
		}
	case "STARTTLS":
		x.say("220 go")
		x.secure()
	case "AUTH":
		return x.signIn(rest)
	case "MAIL":
		if x.auth != "" && x.user == "" {
			return x.say("530 5.7.0 sign in first")
		}
		x.mail = posted{from: between(rest), user: x.user, tls: x.tls}
		return x.say("250 ok")
	case "RCPT":
		return x.recipient(between(rest))
	case "DATA":
		return x.message()
	case "QUIT":
		x.say("221 bye")
		return false
	default:
		x.say("500 what is " + verb)
	}
	return true
}

func between(s string) string {
	_, s, _ = strings.Cut(s, "<")
	s, _, _ = strings.Cut(s, ">")
	return s
}

func (x *session) recipient(addr string) bool {
	x.mu.Lock()
	f := x.rcpt
	x.mu.Unlock()
	if f != nil {
		if reply := f(addr); reply != "" {
			return x.say(reply)
		}
	}
	x.mail.to = append(x.mail.to, addr)
	return x.say("250 ok")
}

func (x *session) message() bool {
	if len(x.mail.to) == 0 {
		return x.say("503 5.5.1 nobody to send to")
	}
	x.say("354 go on")
	var raw bytes.Buffer
	for {
		l, err := x.in.ReadString('\n')
		if err != nil {
			return false
		}
		if l == ".\r\n" {
			break
		}
		raw.WriteString(strings.TrimPrefix(l, "."))
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.tried++
	if x.data != nil {
		if reply := x.data(x.tried); reply != "" {
			return x.say(reply)
		}
	}
	x.mail.raw = raw.Bytes()
	x.box = append(x.box, x.mail)
	return x.say(fmt.Sprintf("250 2.0.0 queued as %d", len(x.box)))
}

func (x *session) signIn(rest string) bool {
	user, password := "", ""
	decode := func(s string) string { b, _ := base64.StdEncoding.DecodeString(s); return string(b) }
	ask := func(q string) string {
		x.say("334 " + base64.StdEncoding.EncodeToString([]byte(q)))
		l, _ := x.line()
		return decode(l)
	}
	mech, initial, _ := strings.Cut(rest, " ")
	switch {
	case !x.tls:
		return x.say("538 5.7.11 not in clear")
	case mech == "PLAIN":
		if parts := strings.Split(decode(initial), "\x00"); len(parts) == 3 {
			user, password = parts[1], parts[2]
		}
	case mech == "LOGIN":
		user, password = ask("Username:"), ask("Password:")
	}
	if user != postUser || password != postPassword {
		return x.say("535 5.7.8 wrong name or password")
	}
	x.user = user
	return x.say("235 2.7.0 welcome")
}

// testCertificate is one for example.com and 127.0.0.1, and the server that has
// it, to be trusted.
func testCertificate(t *testing.T) (tls.Certificate, *httptest.Server) {
	t.Helper()
	s := httptest.NewTLSServer(nil)
	t.Cleanup(s.Close)
	return s.TLS.Certificates[0], s
}
