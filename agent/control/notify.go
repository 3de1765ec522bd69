package control

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"gatehouse/agent/site"
)

// Notify is what control needs of the receivers of alarms; app gives it.
type Notify interface {
	// TestNotify sends a test message at once and returns what the receiver
	// answered. A receiver that cannot be reached, or refuses it, is ErrRefused.
	TestNotify(ctx context.Context, id string) (answer string, err error)
}

// NotifyStatus is one receiver of alarms.
type NotifyStatus struct {
	ID       string        `json:"id"`
	Kind     string        `json:"kind"` // mail, webhook
	To       string        `json:"to"`   // the server; an address or a path may be a secret
	Queued   int           `json:"queued"`
	More     bool          `json:"more"` // more than these may wait in the log
	At       site.EventSeq `json:"at"`
	Sent     uint64        `json:"sent"`    // since the start
	Skipped  uint64        `json:"skipped"` // since the start: refused for too long
	LastSent time.Time     `json:"last_sent,omitzero"`
	Error    string        `json:"error,omitempty"` // of the last delivery
	ErrorAt  time.Time     `json:"error_at,omitzero"`
	Failing  time.Time     `json:"failing_since,omitzero"`
	RetryAt  time.Time     `json:"retry_at,omitzero"`
}

// NotifyAnswer is what a receiver answered to a test.
type NotifyAnswer struct {
	ID     string `json:"id"`
	Answer string `json:"answer"`
}

func (s *server) notifyRoutes() []route {
	return []route{{"POST /v1/notify/{id}/test", s.testNotify}}
}

func (s *server) testNotify(w http.ResponseWriter, r *http.Request) error {
	id := r.PathValue("id")
	if err := site.CheckID(id); err != nil {
		return fmt.Errorf("%w: receiver: %w", ErrInput, err)
	}
	answer, err := s.Notify.TestNotify(r.Context(), id)
	if err != nil {
		return err
	}
	return ok(w, NotifyAnswer{id, answer})
}
