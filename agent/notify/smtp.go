package notify

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/smtp"
	"net/textproto"
	"slices"
	"strings"
	"time"

	"gatehouse/agent/site"
)

const (
	// mailTimeout bounds a whole session. It is long because a server that is
	// cut off after it has the message would get it again (RFC 5321, 4.5.3.2.6).
	mailTimeout = 3 * time.Minute
	// maxReplies bounds what is read from a server in one session.
	maxReplies = 256 << 10
	// maxTogether is how many alarms go in one mail.
	maxTogether = 100
	// mailGap is the least time between two mails: in a storm the alarms of that
	// time go together.
	mailGap = 15 * time.Second
)

// mailer sends mail through one server.
type mailer struct {
	cfg    Config
	server server
	deps   *Deps
}

func newMailer(c Config, deps *Deps) (*mailer, error) {
	s, err := parseServer(c.SMTP)
	if err == nil {
		err = c.addresses(s)
	}
	if err != nil {
		return nil, err
	}
	return &mailer{cfg: c, server: s, deps: deps}, nil
}

func (*mailer) most() int          { return maxTogether }
func (*mailer) gap() time.Duration { return mailGap }
func (m *mailer) target() string   { return m.server.addr() }
func (*mailer) kind() string       { return "mail" }
func (*mailer) rest()              {}

// send mails the events of d to those who still want them.
func (m *mailer) send(ctx context.Context, d delivery) (result, error) {
	to := d.to
	if to == nil {
		to = m.cfg.Mail
	}
	l := letter{from: m.cfg.From, to: m.cfg.Mail, site: m.deps.Site, serial: m.deps.Serial, id: m.cfg.ID,
		zone: m.deps.Zone, now: m.deps.Now(), test: d.test}
	for _, ev := range d.events {
		l.events = append(l.events, m.deps.show(ev))
	}
	ctx, cancel := context.WithTimeout(ctx, mailTimeout)
	defer cancel()
	conn, err := m.dial(ctx)
	if err != nil {
		return result{}, plainError(err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	c, err := m.open(ctx, conn)
	if err != nil {
		return result{}, m.explain(ctx, err)
	}
	res, err := transact(c, m.cfg.From, to, l.bytes(), d.to != nil)
	if err != nil && ctx.Err() != nil {
		err = m.explain(ctx, err)
	}
	_ = c.Quit() // what it answers changes nothing
	return res, err
}

// explain says that it was the time, not the connection that the time closed.
func (m *mailer) explain(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return errors.New("no answer in time")
	}
	return plainError(err)
}

func (m *mailer) dial(ctx context.Context) (net.Conn, error) {
	dctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	raw, err := m.deps.Dial(dctx, "tcp", m.server.addr())
	if err != nil {
		return nil, err
	}
	return &meteredConn{Conn: raw, left: maxReplies}, nil
}

// open greets the server, turns on TLS and signs in.
func (m *mailer) open(ctx context.Context, conn net.Conn) (*smtp.Client, error) {
	conf := m.deps.TLS.Clone()
	conf.ServerName = m.server.host
	secure := m.server.implicit
	if secure {
		t := tls.Client(conn, conf)
		if err := t.HandshakeContext(ctx); err != nil {
			return nil, err
		}
		conn = t
	}
	c, err := smtp.NewClient(conn, m.server.host)
	if err != nil {
		return nil, err
	}
	if err := c.Hello(localName(conn)); err != nil {
		return nil, err
	}
	if !secure && (!m.server.local || m.cfg.User != "") {
		if ok, _ := c.Extension("STARTTLS"); !ok {
			return nil, errors.New("the mail server offers no STARTTLS; nothing was sent in clear")
		}
		if err := c.StartTLS(conf); err != nil {
			return nil, fmt.Errorf("STARTTLS: %w", err)
		}
	}
	if m.cfg.User == "" {
		return c, nil
	}
	return c, m.signIn(c)
}

// signIn authenticates over TLS (RFC 4954).
func (m *mailer) signIn(c *smtp.Client) error {
	_, offered := c.Extension("AUTH")
	names := strings.Fields(strings.ToUpper(offered))
	var auth smtp.Auth
	switch {
	case slices.Contains(names, "PLAIN"):
		auth = smtp.PlainAuth("", m.cfg.User, string(m.cfg.Password), m.server.host)
	case slices.Contains(names, "LOGIN"):
		auth = &loginAuth{m.cfg.User, m.cfg.Password}
	default:
		return fmt.Errorf("sign-in: the mail server offers neither PLAIN nor LOGIN but %.100q", offered)
	}
	if err := c.Auth(auth); err != nil {
		return fmt.Errorf("sign-in: %w", err)
	}
	return nil
}

// loginAuth is the LOGIN mechanism (draft-murchison-sasl-login), which some
// large providers offer alone.
type loginAuth struct {
	user     string
	password Secret
}

// Start begins, over TLS only.
func (a *loginAuth) Start(s *smtp.ServerInfo) (string, []byte, error) {
	if !s.TLS {
		return "", nil, errors.New("no password without TLS")
	}
	return "LOGIN", nil, nil
}

// Next answers the server's questions.
func (a *loginAuth) Next(asked []byte, more bool) ([]byte, error) {
	q := strings.ToLower(string(asked))
	switch {
	case !more:
		return nil, nil
	case strings.HasPrefix(q, "user"):
		return []byte(a.user), nil
	case strings.HasPrefix(q, "pass"):
		return a.password, nil
	}
	return nil, fmt.Errorf("unexpected question %.40q", asked)
}

// transact hands one message over. Addresses that the server puts off are left;
// partial says that others have the message since an earlier try.
func transact(c *smtp.Client, from string, to []string, msg []byte, partial bool) (result, error) {
	if err := c.Mail(from); err != nil {
		return result{}, smtpFailure(err, closed)
	}
	var res result
	var last error
	taken := 0
	for _, a := range to {
		err := c.Rcpt(a)
		code, answered := smtpCode(err)
		switch {
		case err == nil:
			taken++
			continue
		case !answered || code == 421: // RFC 5321, 3.8: the server closes
			return result{}, err
		case code >= 500:
			res.refused = append(res.refused, a)
		default:
			res.left = append(res.left, a)
		}
		last = fmt.Errorf("%s: %w", a, err)
	}
	if taken == 0 {
		return result{}, nobody(res, last, partial)
	}
	answer, err := data(c.Text, msg)
	if err != nil {
		return result{}, smtpFailure(err, poison)
	}
	res.answer = answer
	if last != nil {
		res.trouble = words(last)
	}
	if len(res.left) > 0 {
		return res, &failure{verdict: poison, err: last}
	}
	return res, nil
}

// nobody is the failure when no address was accepted.
func nobody(res result, last error, partial bool) error {
	switch {
	case partial:
		return &failure{verdict: poison, err: last}
	case len(res.left) == 0:
		return &failure{verdict: closed, err: last}
	}
	return last
}

// data sends the message and returns the server's answer to it.
func data(c *textproto.Conn, msg []byte) (string, error) {
	id, err := c.Cmd("DATA")
	if err != nil {
		return "", err
	}
	c.StartResponse(id)
	defer c.EndResponse(id)
	if _, _, err := c.ReadResponse(354); err != nil {
		return "", err
	}
	w := c.DotWriter()
	if _, err := w.Write(msg); err != nil {
		return "", errors.Join(err, w.Close())
	}
	if err := w.Close(); err != nil {
		return "", err
	}
	code, text, err := c.ReadResponse(250)
	if err != nil {
		return "", err
	}
	return clean(fmt.Sprintf("%d %s", code, text), 200), nil
}

// smtpCode returns the code of a server's refusal; false: it is none.
func smtpCode(err error) (int, bool) {
	t, ok := errors.AsType[*textproto.Error](err)
	if !ok {
		return 0, false
	}
	return t.Code, true
}

// smtpFailure gives a permanent refusal its verdict.
func smtpFailure(err error, permanent verdict) error {
	if code, ok := smtpCode(err); ok && code >= 500 {
		return &failure{verdict: permanent, err: err}
	}
	return err
}

// localName is the name to greet with: an address literal (RFC 5321, 4.1.3),
// since an appliance has no name that the world knows.
func localName(conn net.Conn) string {
	a, ok := conn.LocalAddr().(*net.TCPAddr)
	switch {
	case !ok:
		return "localhost"
	case a.IP.To4() != nil:
		return "[" + a.IP.String() + "]"
	}
	return "[IPv6:" + a.IP.String() + "]"
}

// meteredConn ends when a server talks without end.
type meteredConn struct {
	net.Conn
	left int // one goroutine reads
}

// Read reads until the limit.
func (c *meteredConn) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, fmt.Errorf("the server's answers are too long: %w", io.ErrUnexpectedEOF)
	}
	n, err := c.Conn.Read(p[:min(len(p), c.left)])
	c.left -= n
	return n, err
}

// testEvent is what Test sends.
func testEvent(id string, now time.Time) site.Event {
	return site.Event{Time: now, Kind: site.KindCommand, Item: Item(id), Text: "a test of the receiver " + id + "; nothing has happened"}
}
