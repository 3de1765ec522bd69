package host

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"gatehouse/tools/iphost/engage"
)

// Limits of the listeners.
const (
	headerTime  = 10 * time.Second
	idleTime    = 60 * time.Second
	maxHeader   = 16 << 10
	maxSmall    = 1 << 10 // a body of newCredentials
	smallBodyIn = 10 * time.Second
)

// listen opens the listeners and serves them.
func (h *Host) listen(ctx context.Context, certs *tls.Config, failed chan<- error) error {
	lc := net.ListenConfig{KeepAlive: h.cfg.KeepAlive}
	open := func(addr, what string) (net.Listener, error) {
		l, err := lc.Listen(ctx, "tcp", addr)
		if err != nil {
			return nil, fmt.Errorf("host: %s: %w", what, err)
		}
		return l, nil
	}
	var err error
	if h.gateways, err = open(h.cfg.Listen, "gateways"); err != nil {
		return err
	}
	if h.cfg.CAListen != "off" {
		if h.ca, err = open(h.cfg.CAListen, "root certificate"); err != nil {
			return err
		}
	}
	if h.cfg.BrokerListen != "" {
		if h.broker, err = open(h.cfg.BrokerListen, "broker"); err != nil {
			return err
		}
	}
	h.serve(tls.NewListener(h.gateways, certs), h.route(h.broker == nil, true), failed)
	if h.ca != nil {
		h.serve(h.ca, http.HandlerFunc(h.serveRoot), failed)
	}
	if h.broker != nil {
		h.serve(tls.NewListener(h.broker, certs), h.route(true, false), failed)
	}
	return h.serveAdmin(failed)
}

func (h *Host) serve(l net.Listener, handler http.Handler, failed chan<- error) {
	s := &http.Server{
		Handler: handler, ReadHeaderTimeout: headerTime, IdleTimeout: idleTime, MaxHeaderBytes: maxHeader,
		BaseContext: func(net.Listener) context.Context { return h.quit },
		ErrorLog:    slog.NewLogLogger(h.cfg.Log.With("part", "http").Handler(), slog.LevelDebug),
	}
	h.servers = append(h.servers, s)
	go func() {
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			select {
			case failed <- fmt.Errorf("host: %s: %w", l.Addr(), err):
			default:
			}
		}
	}()
}

// route is the table of HTTPS resources. Surplus slashes are ignored, without
// a redirect: a gateway follows none.
func (h *Host) route(broker, gateways bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path := cleanPath(r.URL.EscapedPath())
		switch {
		case path == "/healthz":
			h.health(w, r)
		case gateways && path == engage.NewCredentialsPath:
			h.newCredentials(w, r)
		case gateways && path == cleanPath(h.cfg.Path):
			h.connect(w, r)
		case broker && (resource(path) || path == "/gateways" || path == "/events" || path == "/events/live"):
			h.brokerRequest(w, r, path)
		default:
			refuse(w, http.StatusNotFound, "no such resource")
		}
	})
}

// resource reports whether a path is one of a gateway's.
func resource(path string) bool {
	return strings.HasPrefix(path, "/gateway/") || path == "/edgeDevices" || strings.HasPrefix(path, "/edgeDevices/")
}

// cleanPath drops surplus slashes.
func cleanPath(p string) string {
	var b strings.Builder
	for part := range strings.SplitSeq(p, "/") {
		if part != "" {
			b.WriteByte('/')
			b.WriteString(part)
		}
	}
	if b.Len() == 0 {
		return "/"
	}
	return b.String()
}

// refuse answers with a statusMessage.
func refuse(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(engage.StatusMessage(text)) // a client that left is no fault
}

func (h *Host) health(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		refuse(w, http.StatusMethodNotAllowed, "GET only")
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
	defer cancel()
	if _, _, err := h.journal.Bounds(ctx); err != nil {
		refuse(w, http.StatusServiceUnavailable, "the bus does not answer")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"status":"ok"}`)
}
