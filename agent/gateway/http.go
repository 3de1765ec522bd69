package gateway

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"gatehouse/agent/swordfish"
)

// commandTime bounds a request over HTTP, so that its answer is there within 30 s
// (engage.md section 3); that of the uplink has the same bound.
const commandTime = 27 * time.Second

// Handler answers the same requests over HTTP. check says whether the caller may; its
// error is not told to him. Mount it at /gateway/ and /edgeDevices; the caller sets
// TLS and time limits.
func (g *Gateway) Handler(check func(r *http.Request) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := check(r); err != nil {
			w.Header().Set("WWW-Authenticate", "Bearer")
			Refuse(w, http.StatusUnauthorized, "Unauthorized")
			return
		}
		var body strings.Builder
		if _, err := io.Copy(&body, http.MaxBytesReader(w, r.Body, swordfish.MaxFile)); err != nil {
			if _, is := errors.AsType[*http.MaxBytesError](err); is {
				send(w, message(http.StatusRequestEntityTooLarge, swordfish.ErrTooLarge.Error()))
				return
			}
			// The caller may be there still: without an answer it would read 200.
			send(w, message(http.StatusBadRequest, "The body cannot be read: it is cut short, or too slow"))
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), commandTime)
		defer cancel()
		send(w, g.serve(ctx, r.Method, r.URL.Path, body.String(), true))
	})
}

// Refuse answers a request over HTTP that did not get as far as Handler: an error as
// all others of the API. The caller may have set headers.
func Refuse(w http.ResponseWriter, status int, text string) { send(w, message(status, text)) }

func send(w http.ResponseWriter, r reply) {
	if len(r.body) > 0 {
		w.Header().Set("Content-Type", "application/json")
	}
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Length", strconv.Itoa(len(r.body)))
	w.WriteHeader(r.status)
	_, _ = w.Write(r.body) // the caller may have gone
}

// Owns reports whether a path is one of the gateway's, surplus slashes or not. A mux
// redirects those, which hosts do not follow: ask Owns before it.
func Owns(path string) bool {
	first, _, _ := strings.Cut(strings.TrimLeft(path, "/"), "/")
	return first == "gateway" || first == "edgeDevices"
}
