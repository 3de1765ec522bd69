package control

import (
	"context"
	"net/http"
	"time"
)

// Tokens is what control needs of the bearer tokens of this device; app gives
// it. A name, a scope or a lifetime that is wrong is ErrInput.
type Tokens interface {
	// AddToken makes a token and returns when that is kept and logged. It is
	// shown this once.
	AddToken(ctx context.Context, o TokenOrder, by string) (TokenMade, error)
	TokenList() ([]TokenStatus, error)
	// RevokeToken ends a token and returns when that is kept and logged. One
	// that is revoked already is ErrRefused.
	RevokeToken(ctx context.Context, id, by string) (TokenStatus, error)
	// RevokeAllTokens ends all tokens, replaces the keys and returns what it
	// ended.
	RevokeAllTokens(ctx context.Context, by string) ([]TokenStatus, error)
}

// TokenOrder says what token is wanted.
type TokenOrder struct {
	Name     string   `json:"name"`              // whose it is: `by` in events
	Scopes   []string `json:"scopes,omitempty"`  // none: reading the gateway
	Lifetime Duration `json:"lifetime,omitzero"` // zero: bacnet.token_lifetime, or 24h
}

// TokenStatus is one token. The token itself is not kept.
type TokenStatus struct {
	ID      string    `json:"id"` // no secret
	Name    string    `json:"name"`
	Scopes  []string  `json:"scopes"`
	State   string    `json:"state"` // valid, expired, revoked
	Made    time.Time `json:"made"`
	By      string    `json:"by"`
	Until   time.Time `json:"until"`
	Revoked time.Time `json:"revoked,omitzero"`
	Used    time.Time `json:"used,omitzero"` // last, since the start
}

// TokenMade is a new token with its text, which no other answer has.
type TokenMade struct {
	TokenStatus
	Token   string `json:"token"`
	Warning string `json:"warning,omitempty"` // the clock was not trusted, say
}

func (s *server) tokenRoutes() []route {
	return []route{
		{"GET /v1/tokens", s.tokens},
		{"POST /v1/tokens", s.addToken},
		{"POST /v1/tokens/revoke-all", s.revokeAllTokens},
		{"POST /v1/tokens/{id}/revoke", s.revokeToken},
	}
}

func (s *server) tokens(w http.ResponseWriter, _ *http.Request) error {
	list, err := s.Tokens.TokenList()
	if err != nil {
		return err
	}
	return ok(w, list)
}

func (s *server) addToken(w http.ResponseWriter, r *http.Request) error {
	var o TokenOrder
	if err := body(r, &o); err != nil {
		return err
	}
	made, err := s.Tokens.AddToken(r.Context(), o, cli)
	if err != nil {
		return err
	}
	w.Header().Set("Cache-Control", "no-store")
	return ok(w, made)
}

func (s *server) revokeToken(w http.ResponseWriter, r *http.Request) error {
	t, err := s.Tokens.RevokeToken(r.Context(), r.PathValue("id"), cli)
	if err != nil {
		return err
	}
	return ok(w, t)
}

func (s *server) revokeAllTokens(w http.ResponseWriter, r *http.Request) error {
	list, err := s.Tokens.RevokeAllTokens(r.Context(), cli)
	if err != nil {
		return err
	}
	return ok(w, list)
}
