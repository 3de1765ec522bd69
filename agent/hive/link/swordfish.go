package link

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"unicode/utf8"

	"gatehouse/agent/hive"
)

// causeCall is the fault of a swordfish call that its handler refused, of a reader
// that is no lock for one.
const causeCall cause = "hive: swordfish call refused"

// swordfish hands a lock's call on (engage.md section 6).
func (s *Server) swordfish(ctx context.Context, r *request) {
	r.called = r.accepted
	method, okMethod := r.data.Get("method").Text()
	path, okPath := r.data.Get("path").Text()
	body := r.data.Get("body")
	if !okMethod || !okPath || body.Present() && body.Kind() != hive.Object {
		r.set("error", hive.Text("A call needs method, path and body."))
		r.respond(false)
		r.status = http.StatusBadRequest
		return
	}
	call := Call{Device: r.dev.Name, Method: method, Path: path, Via: r.from.via}
	switch {
	case r.data.Get("part").Present():
		whole, ok := s.collect(r, method, path)
		if !ok {
			return
		}
		call.Body = whole
	case body.Present():
		call.Body = []byte(body.Raw())
	}
	status, out, err := s.deps.Swordfish.Call(ctx, call)
	if err != nil && status >= http.StatusBadRequest {
		// A device may call as often as it likes: no line of the log for each.
		s.log.Debug("swordfish call refused", "device", string(r.dev.Name), "status", status, "err", err)
		s.faults.add(r.dev.Name, causeCall)
		r.refuseCall(status, "The call was refused.")
		return
	}
	if err != nil {
		s.fail(r, opSwordfish, err)
		return
	}
	s.called(r, status, out)
}

// called answers a call with what came of it: a body that is long follows in
// parts where that can be.
func (s *Server) called(r *request, status int, out []byte) {
	answer := hive.Nothing()
	switch {
	case len(out) == 0:
	case len(out) > MaxPart && r.from.partSize > 0:
		long, err := s.newTransfer(out, r.from.partSize)
		if err != nil {
			s.fail(r, opSwordfish, err)
			return
		}
		if long == nil { // too many are on their way
			r.refuseCall(http.StatusServiceUnavailable, "Other bodies are on their way: call again later.")
			return
		}
		r.long = long
		r.set("status", hive.Int(int64(status)))
		r.set("parts", hive.Int(int64(len(long.parts))))
		r.set("size", hive.Int(int64(len(out))))
		r.respond(true)
		return
	default:
		var err error
		if answer, err = hive.Parse(out); err != nil {
			s.fail(r, opSwordfish, err)
			return
		}
	}
	r.set("status", hive.Int(int64(status)))
	r.set("body", answer)
	r.respond(true)
}

// refuseCall answers a call that went no further, with its status.
func (r *request) refuseCall(status int, text string) {
	r.set("status", hive.Int(int64(status)))
	r.set("error", hive.Text(text))
	r.respond(false)
	r.status = http.StatusBadRequest
}

// checkBody says why a body cannot go to a device as text.
func checkBody(b []byte) error {
	switch {
	case len(b) > MaxBody:
		return fmt.Errorf("a body of %d bytes: at most %d fit", len(b), MaxBody)
	case !utf8.Valid(b) || !json.Valid(b):
		return fmt.Errorf("a body of %d bytes is no JSON", len(b))
	}
	return nil
}
