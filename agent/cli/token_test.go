package cli_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/agent/control"
)

// tokenBook keeps tokens in memory.
type tokenBook struct {
	mu   sync.Mutex // guards following
	list []control.TokenStatus
}

func (b *tokenBook) AddToken(_ context.Context, o control.TokenOrder, by string) (control.TokenMade, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if o.Name == "cli" {
		return control.TokenMade{}, fmt.Errorf("%w: name %q is reserved", control.ErrInput, o.Name)
	}
	noon := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	st := control.TokenStatus{ID: fmt.Sprintf("%016x", len(b.list)), Name: o.Name, Scopes: o.Scopes, State: "valid", Made: noon, By: by, Until: noon.Add(time.Duration(o.Lifetime))}
	b.list = append(b.list, st)
	made := control.TokenMade{TokenStatus: st, Token: "head.claims.signature"}
	if o.Name == "early" {
		made.Warning = "the clock is not trusted"
	}
	return made, nil
}

func (b *tokenBook) TokenList() ([]control.TokenStatus, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.list), nil
}

func (b *tokenBook) RevokeToken(_ context.Context, id, _ string) (control.TokenStatus, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range b.list {
		if t := &b.list[i]; t.ID == id {
			t.State, t.Revoked = "revoked", t.Made.Add(time.Minute)
			return *t, nil
		}
	}
	return control.TokenStatus{}, fmt.Errorf("token %q: %w", id, control.ErrNotFound)
}

func (b *tokenBook) RevokeAllTokens(context.Context, string) ([]control.TokenStatus, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := []control.TokenStatus{}
	for i := range b.list {
		if t := &b.list[i]; t.State == "valid" {
			t.State, t.Revoked = "revoked", t.Made.Add(time.Hour)
			out = append(out, *t)
		}
	}
	return out, nil
}

// TestToken runs one after another: each command sees what those before did.
func TestToken(t *testing.T) {
	a := newAgent(t)
	for _, tt := range []struct {
		args   string
		code   int
		stdout string   // all of it; … at its end: the beginning
		want   []string // parts of stdout or stderr
	}{
		{"admin", 2, "", []string{"token"}},
		{"admin token", 2, "", []string{"add, list, revoke"}},
		{"admin token list", 0, "ID  NAME  STATE  SCOPES  MADE  BY  UNTIL  LAST USED\n", nil},
		{"admin token add", 2, "", []string{"--name"}},
		{"admin token add --name bms --lifetime soon", 2, "", []string{"lifetime"}},
		{"admin token add --name bms --lifetime -1h", 2, "", []string{"lifetime"}},
		{"admin token add --name bms extra", 2, "", []string{"extra"}},
		{"admin token add --name cli", 1, "", []string{"reserved"}},
		{"admin token add --name bms --scope gateway --scope gateway-control --lifetime 30d", 0, "head.claims.signature\n", nil},
		{"admin token add --name early --scope gateway,bacnet --lifetime 24h", 0, "head.claims.signature\n", []string{"warning: the clock is not trusted"}},
		{"admin token add --name ems --json", 0, `{"id":"0000000000000002","name":"ems"…`, []string{`"token":"head.claims.signature"}`}},
		{"admin token list", 0, "ID                NAME   STATE  SCOPES                   MADE                 BY   UNTIL                LAST USED\n" +
			"0000000000000000  bms    valid  gateway gateway-control  2026-11-21 12:00:00  cli  2026-12-21 12:00:00  -\n" +
			"0000000000000001  early  valid  gateway bacnet           2026-11-21 12:00:00  cli  2026-11-22 12:00:00  -\n" +
			"0000000000000002  ems    valid                           2026-11-21 12:00:00  cli  2026-11-21 12:00:00  -\n", nil},
		{"admin token revoke", 2, "", []string{"--all"}},
		{"admin token revoke x --all", 2, "", []string{"--all"}},
		{"admin token revoke a/b", 1, "", []string{"not found"}},
		{"admin token revoke 0000000000000000", 0, "token 0000000000000000 of bms is revoked\n", nil},
		{"admin token list --json", 0, `[{"id":"0000000000000000","name":"bms","scopes":["gateway","gateway-control"],"state":"revoked"…`, []string{`"revoked":"2026-11-21T12:01:00Z"`}},
		{"admin token revoke --all", 0, "2 tokens revoked, the keys are replaced\n", nil},
		{"admin token revoke --all --json", 0, "[]\n", nil},
	} {
		code, stdout, stderr := a.run(strings.Fields(tt.args)...)
		begin, open := strings.CutSuffix(tt.stdout, "…")
		if code != tt.code || open && !strings.HasPrefix(stdout, begin) || !open && stdout != tt.stdout {
			t.Errorf("%s: %d\n%s%s", tt.args, code, stdout, stderr)
		}
		for _, w := range tt.want {
			if !strings.Contains(stdout+stderr, w) {
				t.Errorf("%s: no %q in\n%s%s", tt.args, w, stdout, stderr)
			}
		}
		if strings.Contains(stderr, "signature") {
			t.Errorf("%s: a token on standard error", tt.args)
		}
	}
}
