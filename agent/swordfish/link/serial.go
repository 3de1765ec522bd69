package link

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strings"

	"gatehouse/agent/site"
)

// Call answers a call of a lock that hangs on a serial line and was authenticated
// by it: the routes, bodies and statuses of HTTP, without headers. A certificate
// cannot be fetched this way (404). The answer is whole in memory: a door file of
// 5,000 users is some 900 KiB.
//
// err is ErrUnknownLock where no lock hangs on the device, and else one of writing
// the answer, of which the lock then must get nothing.
func (s *Server) Call(ctx context.Context, device site.DeviceName, method, path string, in []byte) (status int, out []byte, err error) {
	l := s.byDevice[device]
	if l == nil {
		return http.StatusNotFound, nil, fmt.Errorf("locks: device %q: %w", device, ErrUnknownLock)
	}
	path, _, _ = strings.Cut(path, "?")
	rt, ok := routeOf(path)
	switch {
	case !ok || rt.open:
		return http.StatusNotFound, nil, nil
	case method != rt.method:
		return http.StatusMethodNotAllowed, nil, nil
	case rt.limit > 0 && len(in) > rt.limit:
		r := s.refuse(l, http.StatusRequestEntityTooLarge, errTooLarge)
		s.judge(l, rt.name, &r)
		return r.status, nil, nil
	}
	ctx, cancel := patient(ctx)
	defer cancel()
	if err := s.readable(ctx, l); err != nil {
		return s.busy(l, err).status, nil, nil
	}
	r := s.call(ctx, l, rt, "", in)
	defer r.close()
	if r.write == nil {
		return r.status, nil, nil
	}
	var b bytes.Buffer
	b.Grow(int(r.size))
	if err := r.write(&b); err != nil {
		return http.StatusInternalServerError, nil, fmt.Errorf("locks: the answer to lock %s: %w", l.ID, err)
	}
	return r.status, b.Bytes(), nil
}
