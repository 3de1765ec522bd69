package notify

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/mail"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"gatehouse/agent/site"
)

// Config is one receiver. Either Webhook or Mail is set.
type Config struct {
	ID string
	// On are the kinds of events to send; empty: AlarmKinds.
	On []site.Kind

	Webhook string // an http or https URL
	Secret  Secret // signs the calls; empty: they are not signed

	Mail     []string // plain addresses, at most MaxAddresses
	SMTP     string   // HOST, HOST:PORT, smtp://HOST[:PORT] or smtps://HOST[:PORT]
	From     string   // the sender's address; empty: User if it is one, else gatehouse@ the mail server
	User     string   // empty: no sign-in
	Password Secret
}

// MaxAddresses is the largest number of addresses of one receiver (RFC 5321,
// 4.5.3.1.8: every server takes that many).
const MaxAddresses = 100

// Secret is a password or a key. It is redacted wherever it is printed.
type Secret []byte

// String redacts the secret.
func (Secret) String() string { return "[secret]" }

// GoString redacts the secret.
func (Secret) GoString() string { return "[secret]" }

// Format redacts the secret under every verb.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "[secret]") }

// MarshalText redacts the secret.
func (Secret) MarshalText() ([]byte, error) { return []byte("[secret]"), nil }

// LogValue redacts the secret.
func (Secret) LogValue() slog.Value { return slog.StringValue("[secret]") }

// AlarmKinds returns what a receiver gets that names no kinds.
func AlarmKinds() []site.Kind {
	return []site.Kind{
		site.KindDoorForced, site.KindDoorHeld, site.KindFire, site.KindPanic, site.KindTamper,
		site.KindFault, site.KindBattery, site.KindPower, site.KindClock, site.KindEventsLost,
	}
}

// check reports what is wrong with the settings of a receiver.
func (c *Config) check() error {
	if err := site.CheckID(c.ID); err != nil {
		return err
	}
	for _, k := range c.On {
		if !slices.Contains(site.Kinds(), k) {
			return fmt.Errorf("on: kind %q is not known", k)
		}
	}
	if (c.Webhook == "") == (len(c.Mail) == 0) {
		return errors.New("want either a webhook or mail")
	}
	return nil
}

// hook reads the URL. Errors do not show it: its path may be a secret.
func (c *Config) hook() (*url.URL, error) {
	u, err := url.Parse(c.Webhook)
	if err != nil {
		return nil, errors.New("webhook: not a URL")
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return nil, errors.New("webhook: want http:// or https:// and a host")
	}
	return u, nil
}

// server is a mail server.
type server struct {
	host, port string
	implicit   bool // TLS from the first byte
	local      bool // on this machine
}

func (s server) addr() string { return net.JoinHostPort(s.host, s.port) }

// parseServer reads Config.SMTP. Ports are those of RFC 6409 and RFC 8314.
func parseServer(text string) (server, error) {
	s := server{port: "587"}
	rest := text
	if after, ok := strings.CutPrefix(text, "smtps://"); ok {
		s.port, s.implicit, rest = "465", true, after
	} else if after, ok := strings.CutPrefix(text, "smtp://"); ok {
		rest = after
	}
	u, err := url.Parse("//" + rest)
	if err != nil || u.Hostname() == "" || u.User != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "" {
		return s, fmt.Errorf("smtp: %.100q: want HOST:PORT, smtp://HOST:PORT or smtps://HOST:PORT", text)
	}
	s.host = u.Hostname()
	if p := u.Port(); p != "" {
		s.port = p
	}
	s.implicit = s.implicit || s.port == "465"
	ip, err := netip.ParseAddr(s.host)
	s.local = s.host == "localhost" || err == nil && ip.IsLoopback()
	return s, nil
}

// checkAddress wants a plain address that needs no quoting and no extension of
// the protocol, so that it can stand in a command and in a header as it is.
func checkAddress(a string) error {
	parsed, err := mail.ParseAddress(a)
	plain := err == nil && parsed.Address == a && len(a) <= 254 &&
		!strings.ContainsFunc(a, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`<>()[]\,;:"`, r) })
	if !plain {
		return fmt.Errorf("%.100q: want a plain mail address", a)
	}
	return nil
}

// addresses checks who sends and who receives, and fills in the sender.
func (c *Config) addresses(s server) error {
	if len(c.Mail) > MaxAddresses {
		return fmt.Errorf("mail: %d addresses: at most %d", len(c.Mail), MaxAddresses)
	}
	for _, a := range c.Mail {
		if err := checkAddress(a); err != nil {
			return fmt.Errorf("mail: %w", err)
		}
	}
	switch {
	case c.From != "":
	case checkAddress(c.User) == nil:
		c.From = c.User
	default:
		c.From = "gatehouse@" + s.host
		if _, err := netip.ParseAddr(s.host); err == nil {
			c.From = "gatehouse@localhost"
		}
	}
	if err := checkAddress(c.From); err != nil {
		return fmt.Errorf("from: %w", err)
	}
	return nil
}
