package uplink

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"gatehouse/agent/site"
)

// Defaults of Config.
const (
	DefaultKeepAlive = 60 * time.Second
	DefaultPing      = 30 * time.Second
	DefaultPongWait  = 60 * time.Second
	DefaultMinDelay  = time.Second
	DefaultMaxDelay  = 30 * time.Second
	DefaultRenew     = 23 * time.Hour
	DefaultMaxAge    = 24 * time.Hour
	DefaultRequest   = 30 * time.Second
)

// Config is the uplink part of the settings, validated.
type Config struct {
	ServerURL string // https:// or wss://
	Serial    Serial // of this gateway
	Key       SiteKey
	// FromOldest makes the first subscription ever of a source begin at the
	// oldest event kept; else it gets what comes from then on.
	FromOldest bool
	// Proxy is asked for each connection; nil means http.ProxyFromEnvironment,
	// http.ProxyURL of a URL is one from the settings. Only http:// proxies
	// (CONNECT) are spoken to.
	Proxy func(*http.Request) (*url.URL, error)
	// Zone of the time that is sent for credentials; nil: UTC. Hosts take UTC
	// and their site's zone.
	Zone *time.Location

	KeepAlive time.Duration // between TCP keep-alives
	Ping      time.Duration // of silence before the gateway pings
	PongWait  time.Duration // for the answer to a ping
	Renew     time.Duration // age at which a successor is made, up to a 24th earlier
	MaxAge    time.Duration // of a connection that could not be renewed
	// Request is how long a request may take (engage.md, 3).
	Request time.Duration
	// MinDelay and MaxDelay bound the time between two attempts.
	MinDelay, MaxDelay time.Duration
}

func (c Config) withDefaults() Config {
	for _, d := range []struct {
		value *time.Duration
		or    time.Duration
	}{
		{&c.KeepAlive, DefaultKeepAlive}, {&c.Ping, DefaultPing}, {&c.PongWait, DefaultPongWait},
		{&c.Renew, DefaultRenew}, {&c.MaxAge, DefaultMaxAge}, {&c.Request, DefaultRequest},
		{&c.MinDelay, DefaultMinDelay}, {&c.MaxDelay, DefaultMaxDelay},
	} {
		if *d.value <= 0 {
			*d.value = d.or
		}
	}
	c.MaxDelay = max(c.MaxDelay, c.MinDelay)
	c.MaxAge = max(c.MaxAge, c.Renew)
	if c.Zone == nil {
		c.Zone = time.UTC
	}
	if c.Proxy == nil {
		c.Proxy = http.ProxyFromEnvironment
	}
	return c
}

// server returns the URL of the WebSocket, with the scheme wss.
func (c Config) server() (*url.URL, error) {
	u, err := url.Parse(c.ServerURL)
	if err != nil {
		return nil, fmt.Errorf("uplink: server: %w", err)
	}
	if u.Scheme == "https" {
		u.Scheme = "wss"
	}
	if u.Scheme != "wss" || u.Hostname() == "" || u.User != nil {
		return nil, fmt.Errorf("uplink: server %q: want a URL with https:// or wss:// and no user", u.Redacted())
	}
	u.Fragment = ""
	return u, nil
}

// Deps is what a Client needs of others. Root, Handler, Events and Keep must be
// there.
type Deps struct {
	Root    Root
	Handler Handler
	Events  Events
	Keep    Keeper
	Clock   func() site.Clock // nil: the system's, not trusted
	Health  Health            // nil: nobody
	Network Network           // nil: the operating system's
	Log     *slog.Logger      // nil: discard
}

// Root is the pinned root certificate; certs.Pin joined by app.
type Root interface {
	// Current returns the pool that vouches for the host, nil when there is
	// none, and what status says of it.
	Current() (pool *x509.CertPool, about string)
	// Refresh fetches the root. After an error the old one stays.
	Refresh(ctx context.Context) error
}

// Handler answers a host's requests (engage.md, section 3).
type Handler interface {
	// Handle answers one request. It is called from several goroutines. ctx ends
	// shortly before the time for an answer is over, and when the agent stops,
	// but not when the host goes away; Handle must return soon after that, and
	// leave nothing half done.
	Handle(ctx context.Context, req Request) Response
}

// Events is the log, how far each source has got, and how events look outside.
type Events struct {
	Log        Log
	Gateway    Cursor // of the events with source gateway
	EdgeDevice Cursor // of those with source edgeDevice
	// Convert returns what a host is told of an event; false for an event that
	// never leaves. It must not block, and must keep what is sealed to itself.
	Convert func(e site.Event) (Message, bool)
	// Began is called when a source has its first position since the start: from
	// then on the log must keep what its cursor has not had (spool's Register).
	// May be nil.
	Began func(source Source)
	// NewLog returns the event that precedes the first one of another log; nil:
	// NewLogMessage.
	NewLog func(source Source, gateway Serial, first site.Event) Message
}

// cursor returns that of a source by its index.
func (e Events) cursor(i int) Cursor { return [len(sources)]Cursor{e.Gateway, e.EdgeDevice}[i] }

// Log is the event log; a *spool.Log is one.
type Log interface {
	Read(ctx context.Context, from site.EventSeq, limit, maxBytes int) ([]site.Event, error)
	Wait(ctx context.Context, after site.EventSeq) error
	Last() site.EventSeq
	ID() site.LogID
}

// Cursor is how far one source has got; a *spool.Cursor is one. Advance
// returns when the position is durable.
type Cursor interface {
	Position() site.EventSeq
	Known() bool
	Advance(seq site.EventSeq) error
}

// Keeper keeps a small text across restarts: which sources have ever begun, and
// in which log their last event was. Credentials are not kept: every connection
// gets new ones.
type Keeper interface {
	// Load returns what was last saved, nil when nothing ever was.
	Load() ([]byte, error)
	// Save returns when data is durable; after a power cut it is there whole or
	// what was there before is.
	Save(data []byte) error
}

// Health takes the standing faults of the link; a *task.Health is one.
type Health interface {
	Set(id, text string)
	Clear(id string)
}

// Network is the way out.
type Network interface {
	// Lookup returns the addresses of a name.
	Lookup(ctx context.Context, name string) ([]netip.Addr, error)
	// Dial makes a TCP connection with keep-alives of that period.
	Dial(ctx context.Context, to netip.AddrPort, keepAlive time.Duration) (net.Conn, error)
}

// osNetwork is the operating system's.
type osNetwork struct{}

func (osNetwork) Lookup(ctx context.Context, name string) ([]netip.Addr, error) {
	return net.DefaultResolver.LookupNetIP(ctx, "ip", name)
}

func (osNetwork) Dial(ctx context.Context, to netip.AddrPort, keepAlive time.Duration) (net.Conn, error) {
	d := net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: keepAlive, Interval: keepAlive, Count: 3}}
	return d.DialContext(ctx, "tcp", to.String())
}

func (d Deps) withDefaults() (Deps, error) {
	if d.Root == nil || d.Handler == nil || d.Keep == nil || d.Events.Log == nil ||
		d.Events.Gateway == nil || d.Events.EdgeDevice == nil || d.Events.Convert == nil {
		return d, errors.New("uplink: a dependency is missing")
	}
	if d.Events.NewLog == nil {
		d.Events.NewLog = NewLogMessage
	}
	if d.Events.Began == nil {
		d.Events.Began = func(Source) {}
	}
	if d.Clock == nil {
		d.Clock = func() site.Clock { return site.Clock{Now: time.Now()} }
	}
	if d.Health == nil {
		d.Health = noHealth{}
	}
	if d.Network == nil {
		d.Network = osNetwork{}
	}
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	return d, nil
}

type noHealth struct{}

func (noHealth) Set(string, string) {}
func (noHealth) Clear(string)       {}
