package cli_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"gatehouse/agent/control"
)

var hostRoot = control.CertStatus{Name: "iphost root", Subject: "CN=host", SHA256: "ab12cd34ab12cd34ab12", SelfSigned: true,
	Until: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC), Warnings: []string{"a key of 4096 bits"}}

func (a *agent) Roots() []control.CertStatus {
	return []control.CertStatus{{Name: "site", Until: hostRoot.Until}, hostRoot}
}

func (a *agent) FetchRoot(context.Context) (control.CertStatus, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.wrong {
		return control.CertStatus{}, fmt.Errorf("%w: the settings have no uplink", control.ErrRefused)
	}
	return hostRoot, nil
}

func TestCert(t *testing.T) {
	a := newAgent(t)
	for _, tt := range []struct {
		args  string
		wrong bool
		code  int
		want  []string
	}{
		{"cert list", false, 0, []string{"site", "iphost root", "CN=host", "ab12cd34ab12cd34", "2030-01-01"}},
		{"cert list --json", false, 0, []string{`"sha256":"ab12cd34ab12cd34ab12"`}},
		{"cert fetch", false, 0, []string{"is pinned", "2030-01-01", "warning: a key of 4096 bits"}},
		{"cert fetch", true, 1, []string{"no uplink"}},
		{"cert", false, 2, []string{"fetch, list"}},
	} {
		t.Run(tt.args, func(t *testing.T) {
			a.mu.Lock()
			a.wrong = tt.wrong
			a.mu.Unlock()
			code, out, stderr := a.run(strings.Fields(tt.args)...)
			if code != tt.code {
				t.Fatalf("exit %d, want %d: %s", code, tt.code, stderr)
			}
			for _, w := range tt.want {
				if !strings.Contains(out+stderr, w) {
					t.Errorf("%q is missing in %s%s", w, out, stderr)
				}
			}
		})
	}
}

// TestStatusOfUplink: each stage with its cause and what to do.
func TestStatusOfUplink(t *testing.T) {
	a := newAgent(t)
	a.uplink = &control.UplinkStatus{Server: "wss://host", Stages: []control.UplinkStage{
		{Name: "dns", State: "ok", Detail: "one address"}, {Name: "tcp", State: "failed", Cause: "connection refused", Do: "start the host"}},
		Subscribed: []string{"gateway"}, Waiting: 7}
	_, out, _ := a.run("status")
	for _, w := range []string{"wss://host", "NOT connected", "7 events wait", "dns", "one address", "tcp", "failed", "connection refused; do: start the host", "subscribed to: gateway"} {
		if !strings.Contains(out, w) {
			t.Errorf("%q is missing in\n%s", w, out)
		}
	}
}
