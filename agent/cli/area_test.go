package cli_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse/agent/control"
	"gatehouse/agent/site"
)

func (a *agent) AreaList() []control.AreaStatus {
	a.mu.Lock()
	defer a.mu.Unlock()
	return []control.AreaStatus{{ID: "lab", Name: "Laboratory", Count: len(a.inside), Limit: 20, Passback: "hard"}, {ID: "yard", Name: "Yard", Passback: "none"}}
}

func (a *agent) AreaShow(id site.AreaID) (control.AreaStatus, error) {
	st := a.AreaList()[0]
	if id != st.ID {
		return control.AreaStatus{}, fmt.Errorf("area %q: %w", id, control.ErrNotFound)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	st.Present = slices.Clone(a.inside)
	return st, nil
}

func (a *agent) Forgive(_ context.Context, f control.Forgiveness) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := len(a.inside)
	a.inside = slices.DeleteFunc(a.inside, func(p control.Presence) bool {
		return f.All || f.Area == "lab" || f.Holder == p.Name || f.Holder == string(p.ID)
	})
	return n - len(a.inside), nil
}

func TestAreas(t *testing.T) {
	a := newAgent(t)
	at := time.Date(2026, 11, 21, 8, 0, 0, 0, time.UTC)
	a.inside = []control.Presence{{ID: "h1", Name: "Ada", Since: at}, {ID: "h2", Name: "Eve", Since: at}}
	for _, tt := range []struct {
		args string
		code int
		want []string // parts of what is printed
	}{
		{"area list", 0, []string{"lab", "Laboratory", "20", "hard", "yard", "none"}},
		{"area list --json", 0, []string{`"count":2`, `"limit":20`}},
		{"area show lab", 0, []string{"Ada", "Eve", "2026-11-21"}},
		{"area show lab --json", 0, []string{`"holder":"Ada"`}},
		{"area show nowhere", 1, []string{"nowhere", "not found"}},
		{"area forgive", 2, []string{"name a holder"}},
		{"area forgive Ada --all", 2, []string{"name a holder"}},
		{"area forgive --area lab --all", 2, []string{"name a holder"}},
		{"area forgive Ada", 0, []string{"1 forgiven"}},
		{"area forgive --area lab --json", 0, []string{`"holders":1`}},
		{"area forgive --all", 0, []string{"0 forgiven"}},
	} {
		t.Run(tt.args, func(t *testing.T) {
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
