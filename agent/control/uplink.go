package control

import (
	"context"
	"net/http"
	"time"
)

// Uplink is what control needs of the link to the IP host; app gives it.
type Uplink interface {
	// Roots returns the certificates that the agent shows and trusts.
	Roots() []CertStatus
	// FetchRoot fetches the root of the IP host again and pins it, and lets a
	// link that waits try at once. The old one stays when that fails.
	// ErrRefused where the settings have no uplink.
	FetchRoot(ctx context.Context) (CertStatus, error)
}

// UplinkStatus is the link to the IP host.
type UplinkStatus struct {
	Server     string        `json:"server"`
	Connected  bool          `json:"connected"`
	Since      time.Time     `json:"since,omitzero"` // of Connected, or of its absence
	Attempts   int           `json:"attempts"`
	NextTry    time.Time     `json:"next_try,omitzero"`
	Error      string        `json:"error,omitempty"`
	Renewal    string        `json:"renewal,omitempty"` // why the credentials could not be renewed yet
	Stages     []UplinkStage `json:"stages"`
	Failed     *UplinkStage  `json:"failed,omitempty"` // what is to be mended, also while the next attempt is under way
	Subscribed []string      `json:"subscribed"`
	Waiting    uint64        `json:"waiting"` // events that the host has not had
	Sent       uint64        `json:"sent"`    // since start
	Requests   uint64        `json:"requests"`
	Malformed  uint64        `json:"malformed"`
}

// UplinkStage is one step of the link, from name look-up to the queue of events.
type UplinkStage struct {
	Name   string    `json:"name"`
	State  string    `json:"state"` // waiting, working, ok or failed
	Detail string    `json:"detail,omitempty"`
	Cause  string    `json:"cause,omitempty"`
	Do     string    `json:"do,omitempty"`
	Since  time.Time `json:"since,omitzero"`
}

func (s *server) uplinkRoutes() []route {
	return []route{
		{"GET /v1/certs", s.certs},
		{"POST /v1/certs/root/fetch", s.fetchRoot},
	}
}

func (s *server) certs(w http.ResponseWriter, _ *http.Request) error {
	return ok(w, s.Uplink.Roots())
}

func (s *server) fetchRoot(w http.ResponseWriter, r *http.Request) error {
	c, err := s.Uplink.FetchRoot(r.Context())
	if err != nil {
		return err
	}
	return ok(w, c)
}
