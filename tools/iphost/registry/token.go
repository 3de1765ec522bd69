package registry

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Token is a broker's client, without its secret.
type Token struct {
	Name  string    `json:"name"`
	Site  string    `json:"site,omitempty"` // empty: all sites
	Added time.Time `json:"added"`
}

type tokenRecord struct {
	Hash  string    `json:"hash"`
	Site  string    `json:"site,omitempty"`
	Added time.Time `json:"added"`
}

// ErrToken is returned for a token that is not known or was revoked.
var ErrToken = errors.New("unknown token")

// AddToken makes a token and returns its text, the only time that it is seen.
// With a site it reaches that site's gateways only.
func (r *Registry) AddToken(ctx context.Context, name, site string) (string, error) {
	if err := CheckName(name); err != nil {
		return "", fmt.Errorf("token: %w", err)
	}
	if site != "" {
		if err := CheckName(site); err != nil {
			return "", fmt.Errorf("site: %w", err)
		}
		if _, err := r.Site(ctx, site); err != nil {
			return "", err
		}
	}
	text := name + "." + rand.Text() + rand.Text()
	_, conflict, err := put(ctx, r.tokens, name, tokenRecord{Hash: hash(text), Site: site, Added: r.now().UTC()}, 0)
	if conflict {
		err = ErrExists
	}
	if err != nil {
		return "", fmt.Errorf("token %s: %w", name, err)
	}
	return text, nil
}

// CheckToken returns whose token a text is. The error is ErrToken or of the bus.
func (r *Registry) CheckToken(ctx context.Context, text string) (Token, error) {
	name, _, ok := strings.Cut(text, ".")
	if !ok || CheckName(name) != nil || len(text) > 128 {
		return Token{}, ErrToken
	}
	e, err := get[tokenRecord](ctx, r.tokens, name)
	if errors.Is(err, ErrNotFound) {
		return Token{}, ErrToken
	}
	if err != nil {
		return Token{}, err
	}
	if subtle.ConstantTimeCompare([]byte(e.value.Hash), []byte(hash(text))) != 1 {
		return Token{}, ErrToken
	}
	return Token{Name: name, Site: e.value.Site, Added: e.value.Added}, nil
}

// Tokens lists all tokens by name.
func (r *Registry) Tokens(ctx context.Context) ([]Token, error) {
	var out []Token
	err := list(ctx, r.tokens, func(name string, v tokenRecord) error {
		out = append(out, Token{Name: name, Site: v.Site, Added: v.Added})
		return nil
	})
	slices.SortFunc(out, func(a, b Token) int { return strings.Compare(a.Name, b.Name) })
	return out, err
}

// RevokeToken removes a token; it is refused from then on by every host.
func (r *Registry) RevokeToken(ctx context.Context, name string) error {
	if CheckName(name) != nil {
		return fmt.Errorf("token %.40q: %w", name, ErrNotFound)
	}
	if err := remove(ctx, r.tokens, name); err != nil {
		return fmt.Errorf("token %s: %w", name, err)
	}
	return nil
}
