package link

import (
	"errors"
	"io"
	"net/http"
	"strconv"

	"gatehouse/agent/hive"
)

// Path is where the Handler belongs (hive.md).
const Path = "/api/access"

// contentType is what the server of Hive13 answers.
const contentType = "application/json; charset=utf-8"

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
	body, err := readBody(req)
	if err != nil {
		w.Header().Set("Connection", "close") // what is left of the body is not read
		writeReply(w, http.StatusBadRequest, append(plainReply(err.Error()), '\n'))
		return
	}
	reply, status, device, err := s.answer(body, origin{via: ViaHTTP})
	if err != nil {
		s.log.Debug("hive request was refused unread", "peer", req.RemoteAddr, "device", hive.ASCII(string(device), maxItem), "err", err)
		reply = append(reply, '\n')
	}
	writeReply(w, status, reply)
}

var errBody = errors.New("the body did not arrive whole")

// readBody reads the body up to the bound of a request.
func readBody(req *http.Request) ([]byte, error) {
	n := req.ContentLength
	if n > hive.MaxBytes {
		return nil, hive.ErrTooLarge
	}
	if n >= 0 {
		body := make([]byte, n)
		if _, err := io.ReadFull(req.Body, body); err != nil {
			return nil, errBody
		}
		return body, nil
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
	h["Content-Type"] = []string{contentType}
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	w.WriteHeader(status)
	_, _ = w.Write(body) // a client that has gone learns nothing
}
