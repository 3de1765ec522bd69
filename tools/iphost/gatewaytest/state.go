package gatewaytest

import (
	"net/http"
	"strings"
	"sync"
)

// State answers requests as a gateway with one lock does, and remembers what was
// put. The zero value is ready.
type State struct {
	mu     sync.Mutex // guards following
	put    map[string]string
	lock   string
	silent bool
}

// SetSilent makes the gateway answer nothing, or answer again.
func (s *State) SetSilent(silent bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.silent = silent
}

// Handle answers a request.
func (s *State) Handle(r Request) (int, string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.silent {
		return 0, ""
	}
	switch key := r.Method + " " + r.Path; key {
	case "GET /edgeDevices/linkList":
		return http.StatusOK, `{"linkList":[{"linkId":"dev00000","linkCommStatus":"Connected","deviceName":"lock","modelType":"nde","deviceId":"a100000000002479"}]}`
	case "GET /edgeDevices/dev00000/lockStatus":
		state := s.lock
		if state == "" {
			state = "sec"
		}
		return http.StatusOK, `{"edgeDevice":{"linkId":"dev00000","lockStatus":{"currentLockState":"` + state + `"}}}`
	case "PUT /edgeDevices/dev00000/lockControl", "PUT /edgeDevices/lockControl":
		switch {
		case strings.Contains(r.Body, `"frozenSecure"`):
			s.lock = "frznSec"
		case strings.Contains(r.Body, `"secure"`):
			s.lock = "sec"
		case strings.Contains(r.Body, `"momentaryUnlock"`): // never cached
		case strings.Contains(r.Body, `"passage"`): // as of a lock that is away
			return http.StatusAccepted, `{"statusMessage":"Command cached"}`
		default:
			return http.StatusBadRequest, `{"statusMessage":"Invalid JSON tag value"}`
		}
		return http.StatusOK, ""
	}
	if r.Method == http.MethodPut {
		if s.put == nil {
			s.put = map[string]string{}
		}
		s.put[r.Path] = r.Body
		return http.StatusOK, ""
	}
	if body, ok := s.put[r.Path]; ok && r.Method == http.MethodGet {
		return http.StatusOK, body
	}
	return http.StatusNotFound, `{"statusMessage":"Not found"}`
}
