package link

import (
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"sync"

	"gatehouse/agent/hive"
)

// Path is where the Handler belongs (hive.md).
const Path = "/api/access"

// contentTypes is what the server of Hive13 answers, as a header has it.
var contentTypes = []string{"application/json; charset=utf-8"}

// Handler answers POST with a request as its body, whatever its media type:
// readers send application/json, something else, or none. Other methods get
// 405. It looks at no path. The listener must bound how long headers and body
// may take.
func (s *Server) Handler() http.Handler { return http.HandlerFunc(s.serveHTTP) }

func (s *Server) serveHTTP(w http.ResponseWriter, req *http.Request) {
	if req.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		writeReply(w, http.StatusMethodNotAllowed, append(plainReply("Only POST is answered here."), '\n'))
		return
	}
	x, ok := exchanges.Get().(*exchange)
	if !ok {
		x = new(exchange)
	}
	defer x.release()
	body, err := x.readBody(req)
	if err != nil {
		w.Header().Set("Connection", "close") // what is left of the body is not read
		writeReply(w, http.StatusBadRequest, append(plainReply(err.Error()), '\n'))
		return
	}
	reply, status, device, err := s.answer(x.reply[:0], body, origin{via: ViaHTTP})
	if err != nil {
		s.log.Debug("hive request was refused unread", "peer", req.RemoteAddr, "device", hive.ASCII(string(device), maxItem), "err", err)
		reply = append(reply, '\n')
	}
	x.reply = reply
	writeReply(w, status, reply)
}

// exchange is room for one request and its reply, kept for the next one.
type exchange struct{ body, reply []byte }

var exchanges sync.Pool

// maxRoom is the largest room that is kept. Most need a few hundred bytes.
const maxRoom = 4 << 10

func (x *exchange) release() {
	if cap(x.body)+cap(x.reply) <= maxRoom {
		exchanges.Put(x)
	}
}

var errBody = errors.New("the body did not arrive whole")

// readBody reads the body up to the bound of a request. It is x's.
func (x *exchange) readBody(req *http.Request) ([]byte, error) {
	n := req.ContentLength
	if n > hive.MaxBytes {
		return nil, hive.ErrTooLarge
	}
	if n >= 0 {
		x.body = slices.Grow(x.body[:0], int(n))[:n]
		if _, err := io.ReadFull(req.Body, x.body); err != nil {
			return nil, errBody
		}
		return x.body, nil
	}
	body, err := io.ReadAll(io.LimitReader(req.Body, hive.MaxBytes+1))
	switch {
	case err != nil:
		return nil, errBody
	case len(body) > hive.MaxBytes:
		return nil, hive.ErrTooLarge
	}
	return body, nil
}

func writeReply(w http.ResponseWriter, status int, body []byte) {
	h := w.Header()
	h["Content-Type"] = contentTypes
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	w.WriteHeader(status)
	_, _ = w.Write(body) // a client that has gone learns nothing
}
