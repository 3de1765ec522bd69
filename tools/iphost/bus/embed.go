package bus

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// Secret is a text that never shows itself.
type Secret string

const redacted = "[redacted]"

// String redacts.
func (Secret) String() string { return redacted }

// GoString redacts.
func (Secret) GoString() string { return redacted }

// MarshalText redacts.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue redacts.
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// Cluster joins embedded servers.
type Cluster struct {
	// Listen is this host's address for the other hosts, host:port.
	Listen string
	// Routes are the other hosts' addresses, host:port; at least one.
	Routes []string
	// Secret is shared by all hosts; it may be empty only with TLS or loopback.
	Secret Secret
	// TLS, if not nil, is used for the routes in both directions; it should
	// require and verify the other host's certificate.
	TLS *tls.Config
	// Plain allows routes without TLS beyond this machine.
	Plain bool
}

// routeUser is the name under which hosts speak to each other.
const routeUser = "iphost"

func (c *Cluster) validate() error {
	host, _, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return fmt.Errorf("cluster address %q: want host:port", c.Listen)
	}
	if len(c.Routes) == 0 {
		return fmt.Errorf("cluster %s: no routes to other hosts", c.Listen)
	}
	ip := net.ParseIP(host)
	loopback := host == "localhost" || ip != nil && ip.IsLoopback()
	if !loopback && c.TLS == nil && !c.Plain {
		return fmt.Errorf("cluster %s: site keys would cross the network in clear: give the routes TLS, or say that they may be plain", c.Listen)
	}
	if !loopback && c.TLS == nil && c.Secret == "" {
		return fmt.Errorf("cluster %s: no secret: anybody could join", c.Listen)
	}
	return nil
}

// embed starts a server in this process.
func embed(cfg Config, log *slog.Logger) (*server.Server, []nats.Option, error) {
	if err := os.MkdirAll(storeDir(cfg), 0o700); err != nil {
		return nil, nil, fmt.Errorf("nats: %w", err)
	}
	name := cfg.Name
	if name == "" {
		name = "iphost"
	}
	opts := &server.Options{
		ServerName: name, JetStream: true, StoreDir: storeDir(cfg), SyncAlways: cfg.SyncAlways,
		DontListen: true, NoSigs: true, MaxPayload: MaxPayload, DisableJetStreamBanner: true,
		MaxPending: 256 << 20, WriteDeadline: 10 * time.Second,
		ConnectErrorReports: 60, ReconnectErrorReports: 60, // a host that is away is told of once a minute
	}
	var auth []nats.Option
	if c := cfg.Cluster; c != nil {
		if err := c.validate(); err != nil {
			return nil, nil, err
		}
		// The server opens its routes only after it listens to clients: a port of
		// the loopback, with a password that lives as long as the process.
		opts.DontListen, opts.Host, opts.Port = false, "127.0.0.1", server.RANDOM_PORT
		opts.Username, opts.Password = routeUser, rand.Text()
		auth = append(auth, nats.UserInfo(opts.Username, opts.Password))
		if err := c.apply(opts); err != nil {
			return nil, nil, err
		}
	}
	srv, err := server.NewServer(opts)
	if err != nil {
		return nil, nil, fmt.Errorf("nats: %w", err)
	}
	srv.SetLoggerV2(&logger{log.With("part", "nats")}, false, false, false)
	srv.Start()
	if !srv.ReadyForConnections(20 * time.Second) {
		srv.Shutdown()
		return nil, nil, fmt.Errorf("nats: the embedded server did not start in %s; another process may hold its address or %s", 20*time.Second, storeDir(cfg))
	}
	return srv, auth, nil
}

func (c *Cluster) apply(opts *server.Options) error {
	host, port, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return err
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return fmt.Errorf("cluster address %q: port %q", c.Listen, port)
	}
	opts.Cluster = server.ClusterOpts{Name: "iphost", Host: host, Port: int(n), PoolSize: -1,
		ConnectRetries: 1 << 20, PingInterval: 2 * time.Second, MaxPingsOut: 2}
	if c.TLS != nil {
		opts.Cluster.TLSConfig, opts.Cluster.TLSTimeout = c.TLS, 5
	}
	if c.Secret != "" {
		opts.Cluster.Username, opts.Cluster.Password, opts.Cluster.AuthTimeout = routeUser, string(c.Secret), 5
	}
	for _, r := range c.Routes {
		if _, _, err := net.SplitHostPort(r); err != nil {
			return fmt.Errorf("route %q: want host:port", r)
		}
		u := &url.URL{Scheme: "nats-route", Host: r}
		if c.Secret != "" {
			u.User = url.UserPassword(routeUser, string(c.Secret))
		}
		opts.Routes = append(opts.Routes, u)
	}
	return nil
}

// logger carries the server's lines to slog: what it notices is for debugging,
// for a cluster that forms says much.
type logger struct{ log *slog.Logger }

func (l *logger) line(level slog.Level, format string, v ...any) {
	l.log.Log(context.Background(), level, strings.TrimSpace(fmt.Sprintf(format, v...)))
}

func (l *logger) Noticef(format string, v ...any) { l.line(slog.LevelDebug, format, v...) }
func (l *logger) Warnf(format string, v ...any)   { l.line(slog.LevelWarn, format, v...) }
func (l *logger) Fatalf(format string, v ...any)  { l.line(slog.LevelError, format, v...) }
func (l *logger) Errorf(format string, v ...any)  { l.line(slog.LevelError, format, v...) }
func (l *logger) Debugf(format string, v ...any)  { l.line(slog.LevelDebug, format, v...) }
func (l *logger) Tracef(format string, v ...any)  { l.line(slog.LevelDebug, format, v...) }
