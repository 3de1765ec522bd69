package control_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"gatehouse/agent/control"
)

// tokenBook keeps tokens in memory.
type tokenBook struct {
	list []control.TokenStatus
	by   []string
}

func (b *tokenBook) AddToken(_ context.Context, o control.TokenOrder, by string) (control.TokenMade, error) {
	if o.Name == "" {
		return control.TokenMade{}, fmt.Errorf("%w: name", control.ErrInput)
	}
	st := control.TokenStatus{ID: fmt.Sprint("t", len(b.list)), Name: o.Name, Scopes: o.Scopes, State: "valid", By: by}
	b.list = append(b.list, st)
	return control.TokenMade{TokenStatus: st, Token: "head.claims.signature"}, nil
}

func (b *tokenBook) TokenList() ([]control.TokenStatus, error) { return b.list, nil }

func (b *tokenBook) RevokeToken(_ context.Context, id, by string) (control.TokenStatus, error) {
	i := slices.IndexFunc(b.list, func(t control.TokenStatus) bool { return t.ID == id })
	switch {
	case i < 0:
		return control.TokenStatus{}, fmt.Errorf("token %q: %w", id, control.ErrNotFound)
	case b.list[i].State == "revoked":
		return control.TokenStatus{}, fmt.Errorf("%w: already", control.ErrRefused)
	}
	b.list[i].State = "revoked"
	b.by = append(b.by, by)
	return b.list[i], nil
}

func (b *tokenBook) RevokeAllTokens(_ context.Context, by string) (out []control.TokenStatus, _ error) {
	for i := range b.list {
		b.list[i].State = "revoked"
		out = append(out, b.list[i])
	}
	b.by = append(b.by, by)
	return out, nil
}

func TestTokens(t *testing.T) {
	book := &tokenBook{list: []control.TokenStatus{}}
	h := control.Handler(control.Parts{Tokens: book})
	for _, tt := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"GET", "/v1/tokens", "", 200, "[]"},
		{"POST", "/v1/tokens", `{"name":"bms","scopes":["gateway"],"lifetime":"24h"}`, 200, `"by":"cli","until":"0001-01-01T00:00:00Z","token":"head.claims.signature"}`},
		{"POST", "/v1/tokens", `{"name":""}`, 400, "bad input"},
		{"POST", "/v1/tokens", `{"name":"x","by":"root"}`, 400, "unknown field"},
		{"POST", "/v1/tokens", `{"name":"x","lifetime":86400}`, 400, "bad input"},
		{"POST", "/v1/tokens", `{"name":"x"} {}`, 400, "more than one"},
		{"GET", "/v1/tokens", "", 200, `[{"id":"t0","name":"bms","scopes":["gateway"],"state":"valid"`},
		{"POST", "/v1/tokens/t0/revoke", "", 200, `"state":"revoked"`},
		{"POST", "/v1/tokens/t0/revoke", "", 409, "already"},
		{"POST", "/v1/tokens/t9/revoke", "", 404, "not found"},
		{"GET", "/v1/tokens/t0/revoke", "", 405, "method not allowed"},
		{"DELETE", "/v1/tokens/t0", "", 404, "not found"},
		{"POST", "/v1/tokens/revoke-all", "", 200, `[{"id":"t0"`},
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), tt.method, tt.path, strings.NewReader(tt.body)))
		got := w.Body.String()
		if w.Code != tt.status || !strings.Contains(got, tt.want) {
			t.Errorf("%s %s %s: %d %s", tt.method, tt.path, tt.body, w.Code, got)
		}
		made := tt.status == http.StatusOK && tt.method == "POST" && tt.path == "/v1/tokens"
		if strings.Contains(got, "signature") != made {
			t.Errorf("%s %s: %s", tt.method, tt.path, got)
		}
		if made && w.Header().Get("Cache-Control") != "no-store" {
			t.Error("a token may be stored")
		}
	}
	if !slices.Equal(book.by, []string{"cli", "cli"}) {
		t.Errorf("by %q", book.by)
	}
}
