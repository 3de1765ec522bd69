package app

import (
	"strings"
	"testing"
	"time"

	"gatehouse/agent/site"
	"gatehouse/agent/uplink"
)

// What precedes the first event of another log has the site's wall clock, as the
// audits after it.
func TestAnnounceLog(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	first := site.Event{Log: "0badcafe", Time: time.Date(2026, 7, 1, 22, 30, 0, 0, time.UTC)}
	m := announceLog(berlin)(uplink.SourceEdgeDevice, uplink.Serial{}, first)
	if !strings.Contains(m.Body, `"time":"20260702003000"`) {
		t.Errorf("got %s", m.Body)
	}
}
