package control_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"gatehouse/agent/control"
)

// testers answer tests of receivers by id; an id that is missing is not known.
type testers map[string]string

func (n testers) TestNotify(_ context.Context, id string) (string, error) {
	answer, ok := n[id]
	switch {
	case !ok:
		return "", fmt.Errorf("receiver %q: %w", id, control.ErrNotFound)
	case answer == "":
		return "", fmt.Errorf("%w: it does not answer", control.ErrRefused)
	}
	return answer, nil
}

func TestNotifyTest(t *testing.T) {
	h := control.Handler(control.Parts{Notify: testers{"desk": "250 queued", "away": ""}})
	for _, tt := range []struct {
		method, path string
		status       int
		want         string
	}{
		{"POST", "/v1/notify/desk/test", http.StatusOK, `{"id":"desk","answer":"250 queued"}`},
		{"POST", "/v1/notify/away/test", http.StatusConflict, `{"error":"refused: it does not answer"}`},
		{"POST", "/v1/notify/nobody/test", http.StatusNotFound, "not found"},
		{"POST", "/v1/notify/-x/test", http.StatusBadRequest, "bad input"},
		{"POST", "/v1/notify/" + strings.Repeat("x", 65) + "/test", http.StatusBadRequest, "longer than 64"},
		{"GET", "/v1/notify/desk/test", http.StatusMethodNotAllowed, "method not allowed"},
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), tt.method, tt.path, nil))
		if w.Code != tt.status || !strings.Contains(w.Body.String(), tt.want) {
			t.Errorf("%s %s: %d %s", tt.method, tt.path, w.Code, w.Body)
		}
	}
}
