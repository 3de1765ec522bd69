package link

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"

	"gatehouse/agent/swordfish"
)

// Prefix is the path under which Handler answers.
const Prefix = "/swordfish/lock/"

// reply is the answer to a call.
type reply struct {
	status int
	kind   string // Content-Type; empty: there is no body
	size   int64
	write  func(w io.Writer) error
	end    func() // gives back what the body holds; nil: nothing
	why    error  // what was wrong with the call; nil: nothing
}

// Content-Types of bodies.
const (
	typeJSON = "application/json"
	typeDER  = "application/octet-stream"
)

// body is a reply with a short body.
func body(kind string, b []byte) reply {
	return reply{status: http.StatusOK, kind: kind, size: int64(len(b)), write: func(w io.Writer) error {
		_, err := w.Write(b)
		return err
	}}
}

// close gives back what the reply holds.
func (r *reply) close() {
	if r.end != nil {
		r.end()
	}
}

// route is one of the calls of engage.md section 5.
type route struct {
	name   string
	method string
	limit  int    // of the body, in bytes; 0: it is not read
	rest   string // of the path
	open   bool   // needs no token
}

// routeOf finds the route of a path.
func routeOf(path string) (route, bool) {
	name, ok := strings.CutPrefix(path, Prefix)
	if !ok {
		return route{}, false
	}
	switch name {
	case "Config":
		return route{name: "config", method: http.MethodPut, limit: swordfish.MaxConfig}, true
	case "audit", "alert":
		return route{name: name, method: http.MethodPost, limit: swordfish.MaxUpload}, true
	case "certificates/current":
		return route{name: "current", method: http.MethodGet}, true
	}
	if rest, ok := strings.CutPrefix(name, "db/"); ok && !strings.Contains(rest, "/") {
		return route{name: "db", method: http.MethodGet, rest: rest}, true
	}
	if rest, ok := strings.CutPrefix(name, "certificates/"); ok && !strings.Contains(rest, "/") {
		return route{name: "der", method: http.MethodGet, rest: rest, open: true}, true
	}
	return route{}, false
}

var errNoTurn = fmt.Errorf("others took longer than %s", waitAtMost)

// patient bounds how long a call waits for all that it waits for.
func patient(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, waitAtMost, errNoTurn)
}

// steady is a patient context that does not end when the lock hangs up.
func steady(ctx context.Context) (context.Context, context.CancelFunc) {
	end, ok := ctx.Deadline()
	if !ok {
		return patient(context.WithoutCancel(ctx))
	}
	return context.WithDeadlineCause(context.WithoutCancel(ctx), end, errNoTurn)
}

// call answers a lock that is known and was let in; ctx is patient. base is scheme
// and host by which it came; empty: it can fetch nothing by a URL.
func (s *Server) call(ctx context.Context, l *lock, r route, base string, in []byte) reply {
	now := s.deps.Clock().Now
	l.change(false, func(st *state) { st.called = now })
	var out reply
	switch r.name {
	case "config":
		out = s.config(ctx, l, in)
	case "db":
		out = s.db(ctx, l, r.rest)
	case "audit":
		out = s.audit(ctx, l, in)
	case "alert":
		out = s.alert(ctx, l, in)
	default:
		out = s.certificate(l, base)
	}
	ctx, cancel := steady(ctx)
	defer cancel()
	if err := l.settle(ctx); err != nil {
		out.close()
		return s.busy(l, err)
	}
	s.judge(l, r.name, &out)
	return out
}

// judge takes in whether a call could be read. What was wrong stands in the status
// until the next good call of its kind, and in the log at most once a minute a lock.
func (s *Server) judge(l *lock, kind string, out *reply) {
	now := s.deps.Clock().Now
	if out.why == nil {
		if out.status < http.StatusMultipleChoices {
			l.mu.Lock()
			delete(l.unfit, kind)
			l.mu.Unlock()
		}
		return
	}
	l.mu.Lock()
	if out.status != http.StatusNotFound { // that is no fault of the lock
		if l.unfit == nil {
			l.unfit = map[string]unfit{}
		}
		l.unfit[kind] = unfit{cut(kind + ": " + out.why.Error()), now}
	}
	held, ok := l.toldUnfit.may(now)
	l.mu.Unlock()
	if ok {
		s.log.Warn("a lock's call was refused", "lock", l.ID, "call", kind, "status", out.status, "err", out.why, "before", held)
	}
}

// refuse answers what is wrong with a call of a lock; judge tells of it.
func (s *Server) refuse(_ *lock, status int, err error) reply {
	return reply{status: status, why: err}
}

// busy answers a call that cannot be done now, and of which nothing was done.
func (s *Server) busy(l *lock, err error) reply {
	level := slog.LevelError
	if errors.Is(err, context.Canceled) { // it hung up
		level = slog.LevelInfo
	}
	s.log.Log(context.Background(), level, "a lock's call could not be answered", "lock", l.ID, "err", err)
	return reply{status: http.StatusServiceUnavailable}
}

// config takes what a lock says of itself.
func (s *Server) config(ctx context.Context, l *lock, in []byte) reply {
	info, err := swordfish.ReadInfo(in)
	switch {
	case errors.Is(err, swordfish.ErrOverLimit):
		return s.refuse(l, http.StatusRequestEntityTooLarge, err)
	case err != nil:
		return s.refuse(l, http.StatusBadRequest, err)
	}
	if err := l.turn.take(ctx); err != nil {
		return s.busy(l, err)
	}
	defer l.turn.give()
	if err := l.keepConfig(in); err != nil {
		return s.busy(l, err)
	}
	l.change(false, func(st *state) {
		st.name, st.model, st.firmware = cut(info.Name), cut(info.Model), cut(info.Firmware)
		if info.Battery != "" {
			st.battery = cut(info.Battery)
		}
		if info.Main != 0 {
			st.main = info.Main
		}
		if info.Li != 0 {
			st.li = info.Li
		}
	})
	return reply{status: http.StatusOK}
}

// derName is the name under which a certificate can be fetched.
func derName(der []byte) string {
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:8]) + ".der"
}

// certificate names the certificate that locks are to trust (engage.md section 4).
func (s *Server) certificate(l *lock, base string) reply {
	der := s.deps.Certificate()
	switch {
	case len(der) == 0:
		return s.refuse(l, http.StatusNotFound, errors.New("there is no certificate for locks"))
	case base == "":
		return reply{status: http.StatusNotFound} // it cannot be fetched over a line, and is not needed there
	case s.cards == nil:
		return s.busy(l, errNoSiteKey)
	}
	answer := struct {
		URL  string `json:"cert_url"`
		Hash string `json:"hash"`
	}{base + Prefix + "certificates/" + derName(der), swordfish.CertHash(s.cfg.SiteKey, der)}
	out, err := plainJSON(answer)
	if err != nil {
		return s.busy(l, err)
	}
	return body(typeJSON, out)
}

// plainJSON is json.Marshal without its escapes for HTML.
func plainJSON(v any) ([]byte, error) {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return []byte(strings.TrimSuffix(b.String(), "\n")), nil
}

// der answers the certificate itself: it is public.
func (s *Server) der(name string) reply {
	der := s.deps.Certificate()
	if len(der) == 0 || name != derName(der) {
		return reply{status: http.StatusNotFound}
	}
	return body(typeDER, der)
}

var errNoSiteKey = errors.New("there is no site key")
