package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/user"
	"strconv"
	"strings"
	"sync"
	"time"

	"gatehouse/agent/gateway"
	"gatehouse/agent/task"
)

// Time-outs of the listeners. A reader on a slow radio gets its time; one that
// sends nothing does not hold a connection for ever.
const (
	readHeaderTimeout = 10 * time.Second
	readTimeout       = 30 * time.Second
	writeTimeout      = 60 * time.Second
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 16 << 10
	shutdownTimeout   = 3 * time.Second
)

// Guard says what protects a route. The zero value is no guard at all and fails
// the test of the route table.
type Guard uint8

// The guards.
const (
	_                Guard = iota
	GuardHive              // each request carries the device's checksum
	GuardOpenProbe         // open on purpose: says only whether the doors decide
	GuardBearer            // each request carries a token of this device (tokens.go)
	GuardLock              // each request names its lock, and proves it as swordfish.auth says
	GuardCertificate       // open on purpose: the certificate that locks are to trust
)

// Route is one entry of a listener's table.
type Route struct {
	Pattern string
	Guard   Guard
	Devices bool // also on the devices listener
	handler http.Handler
}

// Routes returns the table of the HTTPS listener; those with Devices are also on
// the plain one.
func (a *App) Routes() []Route {
	return append([]Route{
		{Pattern: "/api/access", Guard: GuardHive, Devices: true, handler: a.hive.Handler()},
		{Pattern: "GET /healthz", Guard: GuardOpenProbe, handler: http.HandlerFunc(a.healthz)},
	}, append(a.lockRoutes(), a.gatewayRoutes(a.gateway)...)...)
}

// mux makes the handler of one listener.
func (a *App) mux(devices bool) http.Handler {
	m := http.NewServeMux()
	for _, r := range a.Routes() {
		if r.Devices || !devices {
			m.Handle(r.Pattern, r.handler)
		}
	}
	return unslashed(a.lockPaths(m))
}

// lockPaths brings everything under /swordfish to the device server: a mux would
// redirect some paths, which no lock follows.
func (a *App) lockPaths(h http.Handler) http.Handler {
	if a.locks.server == nil {
		return h
	}
	locks := a.locks.server.Handler()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if first, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/"); strings.EqualFold(first, "swordfish") {
			locks.ServeHTTP(w, r)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// unslashed takes surplus slashes out of the paths of the gateway and of the locks:
// a mux redirects those, which neither hosts nor locks follow (engage.md section 3).
func unslashed(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "//") && (gateway.Owns(r.URL.Path) || strings.HasPrefix(strings.TrimLeft(r.URL.Path, "/"), "swordfish/")) {
			parts := strings.FieldsFunc(r.URL.Path, func(c rune) bool { return c == '/' })
			u := *r.URL
			u.Path, u.RawPath = "/"+strings.Join(parts, "/"), ""
			r = r.Clone(r.Context())
			r.URL = &u
		}
		h.ServeHTTP(w, r)
	})
}

// healthz answers 200 when the doors decide and 503 when not, and nothing else.
func (a *App) healthz(w http.ResponseWriter, _ *http.Request) {
	if !a.isReady() {
		http.Error(w, "not ready", http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ok")
}

// listenRetry is the pace at which an address is tried that could not be had: at a
// start the network may come later than the agent.
const listenRetry = 5 * time.Second

// server is one listener as a task.
type server struct {
	name   string
	addr   string       // to listen on where there is no listener; empty: never
	health *task.Health // has the fault of that
	log    *slog.Logger
	http   *http.Server
	ready  chan struct{}
	once   sync.Once // for ready
	listen func(network, addr string) (net.Listener, error)

	mu       sync.Mutex   // guards following
	listener net.Listener // nil: not open
}

// newServer makes the task of a listener. HTTP/2 is off: locks and readers speak
// HTTP/1.1 (contract.md, Settings).
func newServer(name string, h http.Handler, cert *tls.Certificate, log *slog.Logger) *server {
	s := &server{name: name, log: log, listen: net.Listen, ready: make(chan struct{}), http: &http.Server{
		Handler:           h,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		TLSNextProto:      map[string]func(*http.Server, *tls.Conn, http.Handler){},
		ErrorLog:          slog.NewLogLogger(log.With("listener", name).Handler(), slog.LevelDebug),
	}}
	if cert != nil {
		s.http.TLSConfig = &tls.Config{Certificates: []tls.Certificate{*cert}, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}
	}
	return s
}

// open listens. An address that cannot be had is a fault, not the end: the doors
// do not need it.
func (s *server) open() error {
	l, err := s.listen("tcp", s.addr)
	if err != nil {
		s.health.Set("listen."+s.name, err.Error())
		return fmt.Errorf("%s: %w", s.name, err)
	}
	s.health.Clear("listen." + s.name)
	s.keep(l)
	return nil
}

func (s *server) keep(l net.Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listener = l
}

func (s *server) current() net.Listener {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.listener
}

// Run serves until ctx ends, then lets requests under way finish for a moment.
func (s *server) Run(ctx context.Context) error {
	s.once.Do(func() { close(s.ready) })
	tick := time.NewTicker(listenRetry)
	defer tick.Stop()
	for s.current() == nil {
		if s.addr == "" {
			return fmt.Errorf("%s: the listener is gone", s.name)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if s.open() == nil {
			s.log.Info("listener is open", "listener", s.name)
		}
	}
	return s.serve(ctx, s.current())
}

func (s *server) serve(ctx context.Context, l net.Listener) error {
	sctx, stop := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		<-sctx.Done()
		if ctx.Err() == nil {
			return // it has failed: another one is opened
		}
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
		defer cancel()
		if s.http.Shutdown(grace) != nil {
			s.http.Close()
		}
	}()
	var err error
	if s.http.TLSConfig != nil {
		err = s.http.ServeTLS(l, "", "")
	} else {
		err = s.http.Serve(l)
	}
	stop()
	<-ended
	s.keep(nil)
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("%s: %w", s.name, err)
}

// Ready is closed when the task runs; its address may not be had yet.
func (s *server) Ready() <-chan struct{} { return s.ready }

// String names the listener.
func (s *server) String() string { return s.name }

// controlGroup may use the control socket beside root.
const controlGroup = "gatehouse"

// listenControl opens the control socket. An old socket file that nobody
// serves is replaced; the lock of the store keeps two agents apart. A missing
// group is returned as a warning.
func listenControl(path string) (net.Listener, string, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, "", fmt.Errorf("control socket: %w", err)
	}
	// Nobody else may connect before the mode is set: the folder is 0700.
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, "", fmt.Errorf("control socket: %w", err)
	}
	if err := os.Chmod(path, 0o660); err != nil {
		l.Close()
		return nil, "", fmt.Errorf("control socket: %w", err)
	}
	return l, chownControl(path), nil
}

func chownControl(path string) (warning string) {
	g, err := user.LookupGroup(controlGroup)
	if err != nil {
		return "there is no group " + controlGroup + ": only root may use the control socket"
	}
	gid, err := strconv.Atoi(g.Gid)
	if err == nil {
		err = os.Chown(path, -1, gid)
	}
	if err != nil {
		return "control socket: its group could not be set: " + err.Error()
	}
	return ""
}
