package app_test

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gatehouse/agent/control"
)

// TestDamagedCertificate: a tls/site.pem that cannot be used is named in the log at the
// start, and doctor says what it is and what to do; the agent runs.
func TestDamagedCertificate(t *testing.T) {
	s := newTestSite(t)
	var logged bytes.Buffer // a handler writes one record at a time; it is read after the end
	s.log = slog.New(slog.NewTextHandler(&logged, nil))
	path := filepath.Join(s.dir, "tls", "site.pem")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("garbage\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := s.start()
	var found []control.Finding
	r.must(r.client.Get(t.Context(), "/v1/doctor", nil, &found))
	said := false
	for _, f := range found {
		if strings.Contains(f.What, path) {
			said = strings.Contains(f.Cause, "STATE/tls/site.pem") && strings.Contains(f.Do, "move it away")
		}
	}
	if !said {
		t.Errorf("doctor: %+v", found)
	}
	r.stop()
	line := ""
	for l := range strings.Lines(logged.String()) {
		if strings.Contains(l, path) {
			line = l
		}
	}
	if !strings.Contains(line, "level=ERROR") {
		t.Errorf("logged %q", line)
	}
	if data, err := os.ReadFile(path); err != nil || string(data) != "garbage\n" {
		t.Errorf("the file was changed: %q, %v", data, err)
	}
}
