package cli

import (
	"os"
	"path/filepath"
	"testing"
	"time"
	_ "time/tzdata"
)

// TestSiteZone: people read and write times in the site's zone, whatever the
// machine's is.
func TestSiteZone(t *testing.T) {
	file := filepath.Join(t.TempDir(), "site.yaml")
	text := "version: 1\nsite: {name: x, timezone: Europe/Berlin}\ndevice: {serial: \"0000000000000000A0B1000000000206\", board: sim}\nstate_dir: .\ndoors: [{id: a, strike: {line: GPIO1}}]\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	e := &env{config: file}
	at, err := parseTime("2026-12-24T18:00", e.now())
	if want := time.Date(2026, 12, 24, 17, 0, 0, 0, time.UTC); err != nil || !at.Equal(want) {
		t.Errorf("read as %v, %v; want %v", at, err, want)
	}
	if got := e.showTime(at); got != "2026-12-24 18:00:00" {
		t.Errorf("shown as %s", got)
	}
	if other := (&env{config: file + ".missing"}); other.zone() != time.Local {
		t.Errorf("without settings the zone is %v", other.zone())
	}
}
