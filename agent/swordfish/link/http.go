package link

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"gatehouse/agent/swordfish"
)

const (
	// writeAtMost is how long a lock may take to read an answer.
	writeAtMost = 60 * time.Second
	// readAway is how much of a body that is refused is read all the same: a lock
	// that still sends would not see the answer.
	readAway = 16 << 20
)

// Header names beside the usual ones.
const (
	headerHostTime = "X-Device-Last-Connected"
	scheme         = "Device"
)

// Handler answers everything under /swordfish/lock/. Its listener must have HTTP/2
// off and set time limits to headers and bodies.
func (s *Server) Handler() http.Handler { return http.HandlerFunc(s.serve) }

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	out := s.answer(w.Header(), r)
	defer out.close()
	if out.status >= http.StatusBadRequest {
		discard(r)
	}
	h := w.Header()
	h.Set("Content-Length", strconv.FormatInt(out.size, 10))
	if out.kind == "" {
		w.WriteHeader(out.status)
		return
	}
	h.Set("Content-Type", out.kind)
	// Not every writer has a deadline; the listener's holds then.
	if err := http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeAtMost)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		s.log.Debug("no deadline for an answer", "err", err)
	}
	w.WriteHeader(out.status)
	if err := out.write(w); err != nil {
		// The lock repeats its call. A shorter body than announced ends the
		// connection, so it cannot take a part for the whole.
		s.log.Warn("an answer did not reach a lock", "peer", r.RemoteAddr, "path", r.URL.Path, "err", err)
	}
}

// answer makes the reply to a request. Headers of errors go to h.
func (s *Server) answer(h http.Header, r *http.Request) reply {
	if r.ProtoMajor != 1 || r.ProtoMinor != 1 {
		return reply{status: http.StatusHTTPVersionNotSupported}
	}
	rt, ok := routeOf(r.URL.Path)
	if !ok {
		return reply{status: http.StatusNotFound}
	}
	if r.Method != rt.method {
		h.Set("Allow", rt.method)
		return reply{status: http.StatusMethodNotAllowed}
	}
	if rt.open {
		return s.der(rt.rest)
	}
	addr := hostOf(r.RemoteAddr)
	t, bad := swordfish.ParseToken(r.Header.Get("Authorization"))
	if t.Serial == "" {
		h.Set("WWW-Authenticate", scheme)
		s.log.Debug("a call without a lock's serial number", "peer", addr, "path", r.URL.Path)
		return reply{status: http.StatusUnauthorized}
	}
	l := s.bySerial[t.Serial]
	if l == nil {
		s.stranger(t.Serial, addr)
		return reply{status: http.StatusNotFound}
	}
	ctx, cancel := patient(r.Context())
	defer cancel()
	if err := s.readable(ctx, l); err != nil {
		h.Set(headerHostTime, s.hostTime(l))
		return s.busy(l, err)
	}
	status := s.gate(l, t, bad, addr)
	h.Set(headerHostTime, s.hostTime(l))
	if status != 0 {
		if status == http.StatusUnauthorized {
			h.Set("WWW-Authenticate", scheme)
		}
		return reply{status: status}
	}
	in, give, status, err := s.body(ctx, r, rt.limit)
	switch status {
	case 0:
	case http.StatusServiceUnavailable:
		return s.busy(l, err)
	default:
		if err := l.settle(ctx); err != nil {
			return s.busy(l, err)
		}
		out := s.refuse(l, status, err)
		s.judge(l, rt.name, &out)
		return out
	}
	defer give()
	base := "http://" + r.Host
	if r.TLS != nil {
		base = "https://" + r.Host
	}
	out := s.call(ctx, l, rt, base, in)
	h.Set(headerHostTime, s.hostTime(l))
	return out
}

func hostOf(addr string) string {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	return host
}

var (
	errTooLarge = errors.New("the body is too large")
	errBody     = errors.New("the body ended early")
)

// body reads a body of at most limit bytes. give gives its memory back.
func (s *Server) body(ctx context.Context, r *http.Request, limit int) (b []byte, give func(), status int, err error) {
	give = func() {}
	if limit == 0 {
		return nil, give, 0, nil
	}
	if r.ContentLength > int64(limit) {
		return nil, give, http.StatusRequestEntityTooLarge, errTooLarge
	}
	places := s.small
	if r.ContentLength < 0 || r.ContentLength > smallBody {
		places = s.large
	}
	if err := places.take(ctx); err != nil {
		return nil, give, http.StatusServiceUnavailable, err
	}
	b, err = io.ReadAll(io.LimitReader(r.Body, int64(limit)+1))
	switch {
	case err != nil:
		status, err = http.StatusBadRequest, errBody
	case len(b) > limit:
		status, err = http.StatusRequestEntityTooLarge, errTooLarge
	default:
		return b, places.give, 0, nil
	}
	places.give()
	return nil, give, status, err
}

// discard reads a body that nobody wants, so that its sender comes to the answer.
// One who waits to be told to send is not.
func discard(r *http.Request) {
	if r.Body != nil && r.Header.Get("Expect") == "" {
		_, _ = io.CopyN(io.Discard, r.Body, readAway) // what is wrong with it does not matter any more
	}
}
