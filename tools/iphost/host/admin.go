package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"gatehouse/tools/iphost/engage"
	"gatehouse/tools/iphost/registry"
)

// The management API is HTTP and JSON over a unix socket in the state folder,
// which only its owner may open. The command line speaks it to a running host,
// or serves it to itself over a stopped one's registry.

// SiteRequest adds a site. Key is 64 hex digits; empty: a random one is made.
type SiteRequest struct {
	Name string `json:"name"`
	Key  string `json:"key,omitempty"`
	Zone string `json:"zone,omitempty"`
}

// SiteStatus is a line of a listing. Key is there once, when it was made.
type SiteStatus struct {
	Name  string    `json:"name"`
	Zone  string    `json:"zone,omitempty"`
	Added time.Time `json:"added"`
	Key   string    `json:"key,omitempty"`
}

// TokenRequest adds a token.
type TokenRequest struct {
	Name string `json:"name"`
	Site string `json:"site,omitempty"`
}

// TokenStatus is a line of a listing. Token is there once, when it was made.
type TokenStatus struct {
	registry.Token
	Text string `json:"token,omitempty"`
}

// GatewayRequest says which site a gateway belongs to.
type GatewayRequest struct {
	Serial engage.Serial `json:"gateway"`
	Site   string        `json:"site"`
}

// Admin serves the management API over a registry. forgotten, if not nil, is
// called with the last session of a gateway that was forgotten.
func Admin(reg *registry.Registry, forgotten func(registry.Session)) http.Handler {
	a := &admin{reg: reg, forgotten: forgotten}
	mux := http.NewServeMux()
	for pattern, f := range map[string]func(*http.Request) (any, error){
		"GET /sites": a.sites, "POST /sites": a.addSite, "DELETE /sites/{name}": a.removeSite,
		"GET /tokens": a.tokens, "POST /tokens": a.addToken, "DELETE /tokens/{name}": a.revokeToken,
		"GET /gateways": a.gateways, "POST /gateways": a.addGateway, "DELETE /gateways/{name}": a.forgetGateway,
		"GET /root": a.root, "DELETE /root": a.resetRoot,
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			v, err := f(r)
			if err != nil {
				refuse(w, errStatus(err), err.Error())
				return
			}
			writeJSON(w, v)
		})
	}
	return mux
}

type admin struct {
	reg       *registry.Registry
	forgotten func(registry.Session)
}

type nothing struct{}

// maxAdmin bounds a body of the management API.
const maxAdmin = 64 << 10

func body[T any](r *http.Request) (v T, err error) {
	d := json.NewDecoder(io.LimitReader(r.Body, maxAdmin))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		return v, fmt.Errorf("body: %w", err)
	}
	return v, nil
}

func (a *admin) sites(r *http.Request) (any, error) {
	sites, err := a.reg.Sites(r.Context())
	out := make([]SiteStatus, 0, len(sites))
	for _, s := range sites {
		line := SiteStatus{Name: s.Name, Added: s.Added}
		if s.Zone != nil {
			line.Zone = s.Zone.String()
		}
		out = append(out, line)
	}
	return out, err
}

func (a *admin) addSite(r *http.Request) (any, error) {
	q, err := body[SiteRequest](r)
	if err != nil {
		return nil, err
	}
	out := SiteStatus{Name: q.Name, Zone: q.Zone, Added: time.Now().UTC()}
	key := engage.NewSiteKey()
	if q.Key != "" {
		if key, err = engage.ParseSiteKey(q.Key); err != nil {
			return nil, fmt.Errorf("site: %w", err)
		}
	} else {
		out.Key = key.Reveal()
	}
	return out, a.reg.AddSite(r.Context(), q.Name, key, q.Zone)
}

func (a *admin) removeSite(r *http.Request) (any, error) {
	return nothing{}, a.reg.RemoveSite(r.Context(), r.PathValue("name"))
}

func (a *admin) tokens(r *http.Request) (any, error) {
	tokens, err := a.reg.Tokens(r.Context())
	out := make([]TokenStatus, 0, len(tokens))
	for _, t := range tokens {
		out = append(out, TokenStatus{Token: t})
	}
	return out, err
}

func (a *admin) addToken(r *http.Request) (any, error) {
	q, err := body[TokenRequest](r)
	if err != nil {
		return nil, err
	}
	text, err := a.reg.AddToken(r.Context(), q.Name, q.Site)
	return TokenStatus{Token: registry.Token{Name: q.Name, Site: q.Site, Added: time.Now().UTC()}, Text: text}, err
}

func (a *admin) revokeToken(r *http.Request) (any, error) {
	return nothing{}, a.reg.RevokeToken(r.Context(), r.PathValue("name"))
}

func (a *admin) gateways(r *http.Request) (any, error) {
	out, _, err := Gateways(r.Context(), a.reg, "", nil, 0)
	return out, err
}

func (a *admin) addGateway(r *http.Request) (any, error) {
	q, err := body[GatewayRequest](r)
	if err != nil {
		return nil, err
	}
	return GatewayStatus{Serial: q.Serial, Site: q.Site}, a.reg.AddGateway(r.Context(), q.Serial, q.Site)
}

func (a *admin) forgetGateway(r *http.Request) (any, error) {
	serial, err := engage.ParseSerial(r.PathValue("name"))
	if err != nil {
		return nil, err
	}
	ses, err := a.reg.Session(r.Context(), serial)
	if err != nil && !errors.Is(err, registry.ErrNotFound) {
		return nil, err
	}
	if err := a.reg.ForgetGateway(r.Context(), serial); err != nil {
		return nil, err
	}
	if a.forgotten != nil && ses.Host != "" {
		a.forgotten(ses)
	}
	return nothing{}, nil
}

// RootStatus is the root certificate that gateways trust.
type RootStatus struct {
	PEM string `json:"pem"`
	Own bool   `json:"own"` // of the hosts' own CA, not the owner's
}

func (a *admin) root(r *http.Request) (any, error) {
	root, err := a.reg.CurrentRoot(r.Context())
	return RootStatus{PEM: rootPEM(root.DER), Own: root.Key != nil}, err
}

func (a *admin) resetRoot(r *http.Request) (any, error) {
	return nothing{}, a.reg.ResetRoot(r.Context())
}

// ServeAdmin opens the management socket of a state folder, whose lock the
// caller holds. The server stops with Close.
func ServeAdmin(dir string, handler http.Handler, failed func(error)) (*http.Server, error) {
	path := SocketPath(dir)
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("host: %w", err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("host: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, fmt.Errorf("host: %w", err)
	}
	s := &http.Server{Handler: handler, ReadHeaderTimeout: headerTime}
	go func() {
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			failed(fmt.Errorf("host: %s: %w", path, err))
		}
	}()
	return s, nil
}

// serveAdmin opens this host's management socket.
func (h *Host) serveAdmin(failed chan<- error) error {
	s, err := ServeAdmin(h.cfg.Dir, Admin(h.reg, h.endForgotten), func(err error) {
		select {
		case failed <- err:
		default:
		}
	})
	if err != nil {
		return err
	}
	h.servers = append(h.servers, s)
	return nil
}

// endForgotten ends the session of a gateway that was forgotten, wherever it is.
func (h *Host) endForgotten(ses registry.Session) {
	if ses.Host == h.self.Instance {
		if s := h.session(ses.Serial); s != nil {
			s.end(closeReplaced, "the gateway was forgotten")
		}
		return
	}
	h.endElsewhere(ses)
}

// AdminClient returns a client of the management socket of a state folder.
func AdminClient(dir string) *http.Client {
	return &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", SocketPath(dir))
		},
	}}
}
