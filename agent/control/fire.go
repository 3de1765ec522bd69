package control

import (
	"context"
	"net/http"
	"time"

	"gatehouse/agent/site"
)

// Fire is what control needs of the site's fire alarm; app gives it.
type Fire interface {
	FireStatus() FireStatus
	// ResetFire ends a latched alarm and returns when that is kept. It refuses
	// (ErrRefused) while the input still shows fire.
	ResetFire(ctx context.Context, by string) error
}

// FireStatus is the fire alarm and its input.
type FireStatus struct {
	Configured bool          `json:"configured"`
	On         bool          `json:"on"`
	Since      time.Time     `json:"since,omitzero"`
	Latched    bool          `json:"latched"` // the setting: an alarm stands until it is reset
	Input      string        `json:"input"`   // normal, fire, unknown; none where there is no input
	Fault      string        `json:"fault,omitempty"`
	Doors      []site.DoorID `json:"doors"` // those that fire releases
}

// InputStatus is one input of the whole site: fire, panic, mains, battery or
// tamper.
type InputStatus struct {
	ID    string    `json:"id"`
	OK    bool      `json:"ok"`
	Text  string    `json:"text"`
	Since time.Time `json:"since,omitzero"`
}

// OutputStatus is one auxiliary output.
type OutputStatus struct {
	ID    site.OutputID `json:"id"`
	On    bool          `json:"on"`
	Fault string        `json:"fault,omitempty"`
}

func (s *server) fireRoutes() []route {
	return []route{
		{"GET /v1/fire", s.fire},
		{"POST /v1/fire/reset", s.resetFire},
	}
}

func (s *server) fire(w http.ResponseWriter, _ *http.Request) error {
	return ok(w, s.Fire.FireStatus())
}

func (s *server) resetFire(w http.ResponseWriter, r *http.Request) error {
	if err := s.Fire.ResetFire(r.Context(), cli); err != nil {
		return err
	}
	return ok(w, s.Fire.FireStatus())
}
