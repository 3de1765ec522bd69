package app_test

import (
	"net/http"
	"net/url"
	"testing"
	"time"
)

// TestFollowersAreLetGo: one who follows the events is told the last of them
// that there is at the stop and does not hold it up: his answer ends in order,
// which one that is cut off after the time for requests under way does not.
func TestFollowersAreLetGo(t *testing.T) {
	r := newTestSite(t).start()
	seen := make(chan []byte, 100)
	ended := make(chan error, 1)
	go func() {
		ended <- r.client.Stream(t.Context(), http.MethodGet, "/v1/events", url.Values{"follow": {"1"}}, nil, func(line []byte) error {
			seen <- line
			return nil
		})
	}()
	select {
	case <-seen: // he follows
	case <-time.After(5 * time.Second):
		t.Fatal("no event")
	}
	r.stop()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("the follower was cut off: %v", err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("the follower was not let go")
	}
}
