package engage

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strings"
)

const redacted = "[redacted]"

// SiteKey is the 32-byte key that a site's gateways share with their host. It
// never shows itself: only Reveal returns its digits.
type SiteKey struct{ b [32]byte }

// ErrSiteKey means that a text is no site key. The text is not repeated.
var ErrSiteKey = errors.New("not a site key: want 64 hex digits")

// ParseSiteKey reads 64 hex digits of either case; white space around them is
// ignored.
func ParseSiteKey(s string) (SiteKey, error) {
	var k SiteKey
	s = strings.TrimSpace(s)
	if len(s) != 2*len(k.b) {
		return SiteKey{}, ErrSiteKey
	}
	if _, err := hex.Decode(k.b[:], []byte(s)); err != nil {
		return SiteKey{}, ErrSiteKey
	}
	return k, nil
}

// NewSiteKey returns a random key.
func NewSiteKey() SiteKey {
	var k SiteKey
	rand.Read(k.b[:]) // never fails
	return k
}

// Reveal returns the key's 64 hex digits.
func (k SiteKey) Reveal() string { return hex.EncodeToString(k.b[:]) }

// String redacts.
func (SiteKey) String() string { return redacted }

// GoString redacts.
func (SiteKey) GoString() string { return redacted }

// Format redacts whatever the verb.
func (SiteKey) Format(f fmt.State, _ rune) { fmt.Fprint(f, redacted) }

// MarshalText redacts.
func (SiteKey) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue redacts.
func (SiteKey) LogValue() slog.Value { return slog.StringValue(redacted) }
