// Package host is an ENGAGE IP host: gateways connect to it over a WebSocket,
// and integrators reach any of them through its broker.
//
// For gateways, over HTTPS: POST /engage/newCredentials and the WebSocket; over
// plain HTTP: the root certificate. For integrators, with a bearer token:
// every resource of a gateway under its own path, GET /gateways, GET /events
// and GET /events/live.
//
// Several hosts make one installation. What they know together is in the
// registry and the journal, on the bus; a host keeps in memory only the
// connections that end in it.
//
// A gateway at rest costs one goroutine. Others live while there is something
// to write to it or to store for it.
package host

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"gatehouse/tools/iphost/bus"
	"gatehouse/tools/iphost/engage"
	"gatehouse/tools/iphost/journal"
	"gatehouse/tools/iphost/registry"
)

// Host is one host. It is made by New and runs once.
type Host struct {
	cfg   Config
	self  registry.Host
	ready chan struct{}

	bus     *bus.Bus
	reg     *registry.Registry
	journal *journal.Journal

	gateways, ca, broker net.Listener
	servers              []*http.Server

	quit  context.Context // ends when Run begins to stop
	die   context.CancelFunc
	store context.Context // ends when the host gives up storing
	work  crew            // sessions, their writers and their storers
	slots chan struct{}   // requests that the broker works on

	// mu guards following.
	mu       sync.Mutex
	sessions map[engage.Serial]*session
	stopping bool
}

// New checks cfg. It starts nothing.
func New(cfg Config) (*Host, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	return &Host{
		cfg: cfg, ready: make(chan struct{}), sessions: map[engage.Serial]*session{},
		slots: make(chan struct{}, maxBrokerRequests),
	}, nil
}

// Ready is closed when the host serves.
func (h *Host) Ready() <-chan struct{} { return h.ready }

// Addr is where gateways connect, once Ready.
func (h *Host) Addr() net.Addr { return h.gateways.Addr() }

// BrokerAddr is where integrators connect, once Ready.
func (h *Host) BrokerAddr() net.Addr {
	if h.broker == nil {
		return h.gateways.Addr()
	}
	return h.broker.Addr()
}

// CAAddr is where the root certificate is fetched, once Ready; nil if it is off.
func (h *Host) CAAddr() net.Addr {
	if h.ca == nil {
		return nil
	}
	return h.ca.Addr()
}

// Registry is what all hosts know together, once Ready.
func (h *Host) Registry() *registry.Registry { return h.reg }

// Connected returns how many gateways are connected to this host.
func (h *Host) Connected() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.sessions)
}

// stopWait bounds a stop, goneWait what the other hosts are told at its end: the
// last host of a cluster cannot tell anybody. beginWait bounds what they are
// told at its beginning, which may have to wait for a bucket's new leader.
const (
	stopWait  = 10 * time.Second
	goneWait  = 2 * time.Second
	beginWait = 15 * time.Second
)

// Run serves until ctx ends, then takes leave of gateways and clients and
// returns nil; other errors are of the start, or of a listener.
func (h *Host) Run(ctx context.Context) error {
	if err := os.MkdirAll(h.cfg.Dir, 0o700); err != nil {
		return fmt.Errorf("host: %w", err)
	}
	unlock, err := Lock(h.cfg.Dir)
	if err != nil {
		return err
	}
	defer unlock()
	if h.cfg.Locked != nil {
		if err := h.cfg.Locked(); err != nil {
			return fmt.Errorf("host: %w", err)
		}
	}
	if h.bus, err = bus.Open(ctx, h.cfg.Bus); err != nil {
		return orStopped(ctx, err)
	}
	defer h.bus.Close()
	quit, cancel := context.WithCancel(ctx)
	defer cancel()
	store, giveUp := context.WithCancel(context.WithoutCancel(ctx))
	defer giveUp()
	h.quit, h.die, h.store = quit, cancel, store
	failed := make(chan error, 4)
	if err := h.start(ctx, failed); err != nil {
		cancel()
		h.stop(giveUp)
		return orStopped(ctx, err)
	}
	close(h.ready)
	h.cfg.Log.Info("serving", "gateways", h.Addr().String(), "broker", h.BrokerAddr().String(), "path", h.cfg.Path)
	select {
	case <-quit.Done():
	case err = <-failed:
	}
	cancel()
	h.stop(giveUp)
	return err
}

// orStopped turns an error that a stop caused into nil.
func orStopped(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// start opens everything, listeners last.
func (h *Host) start(ctx context.Context, failed chan<- error) error {
	var err error
	if h.reg, err = registry.Open(ctx, h.bus); err != nil {
		return err
	}
	seal, make := SealFile(h.cfg.Dir, h.cfg.SealKey, h.cfg.Bus.URL == "" && h.cfg.Bus.Cluster == nil)
	if err := h.reg.Seal(ctx, seal, make); err != nil {
		return err
	}
	if seal == "" {
		h.cfg.Log.Warn("site keys and the CA's key lie in clear in the buckets: give all hosts one seal key")
	}
	if h.journal, err = journal.Open(ctx, h.bus, h.cfg.Journal); err != nil {
		return err
	}
	h.self = registry.Host{Instance: registry.Instance(h.cfg.Name, rand.Text()[:10]), Name: h.cfg.Name, Started: time.Now().UTC()}
	if err := h.serveBus(); err != nil {
		return err
	}
	certs, err := h.certificates(ctx)
	if err != nil {
		return err
	}
	if err := h.listen(ctx, certs, failed); err != nil {
		return err
	}
	h.self.Address = h.Addr().String()
	if err := h.reg.Alive(ctx, h.self); err != nil {
		return err
	}
	h.work.Go(h.tellAlive)
	h.work.Go(h.watch)
	return nil
}

// stop takes leave: no new connections, then the ones that are there, then
// what they left to store.
func (h *Host) stop(giveUp context.CancelFunc) {
	h.mu.Lock()
	h.stopping = true
	h.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), stopWait)
	defer cancel()
	for _, s := range h.servers {
		if err := s.Shutdown(ctx); err != nil && !errors.Is(err, http.ErrServerClosed) {
			h.cfg.Log.Warn("stop: requests were cut", "err", err)
			s.Close()
		}
	}
	for _, l := range []net.Listener{h.gateways, h.ca, h.broker} {
		if l != nil {
			l.Close() // those that were opened and not served
		}
	}
	for _, s := range h.all() {
		s.end(closeGoingAway, "the host stops")
	}
	done := h.work.Dismiss()
	select {
	case <-done:
	case <-ctx.Done():
		h.cfg.Log.Warn("stop: not everything was stored; gateways will send it again")
		giveUp()
		<-done
	}
	if h.reg != nil && h.self.Instance != "" {
		ctx, cancel := context.WithTimeout(context.Background(), goneWait)
		defer cancel()
		if err := h.reg.Gone(ctx, h.self); err != nil {
			h.cfg.Log.Warn("stop", "err", err)
		}
	}
}

// tellAlive renews this host's entry.
func (h *Host) tellAlive() {
	t := time.NewTicker(registry.HostTTL / 6)
	defer t.Stop()
	for {
		select {
		case <-h.quit.Done():
			return
		case <-t.C:
			ctx, cancel := context.WithTimeout(h.quit, registry.HostTTL/2)
			if err := h.reg.Alive(ctx, h.self); err != nil && h.quit.Err() == nil {
				h.cfg.Log.Warn("the other hosts cannot be told that this one is alive", "err", err)
			}
			cancel()
		}
	}
}

// all returns the sessions that end in this host.
func (h *Host) all() []*session {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := make([]*session, 0, len(h.sessions))
	for _, s := range h.sessions {
		out = append(out, s)
	}
	return out
}

func (h *Host) session(serial engage.Serial) *session {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.sessions[serial]
}

// SocketPath is where a running host is managed.
func SocketPath(dir string) string { return filepath.Join(dir, "iphost.sock") }
