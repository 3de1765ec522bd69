package oauth

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"
)

// Token is a bearer token as it goes over the wire. It is redacted wherever it is
// printed; Reveal is the only way out.
type Token string

const redactedToken = "[token]"

// Reveal returns the token's text, for who asked for it.
func (t Token) Reveal() string { return string(t) }

// String redacts the token.
func (Token) String() string { return redactedToken }

// GoString redacts the token.
func (Token) GoString() string { return redactedToken }

// Format redacts the token under every verb.
func (Token) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redactedToken) }

// MarshalText redacts the token.
func (Token) MarshalText() ([]byte, error) { return []byte(redactedToken), nil }

// LogValue redacts the token.
func (Token) LogValue() slog.Value { return slog.StringValue(redactedToken) }

// signingKey is one key pair. It is redacted wherever it is printed.
type signingKey struct {
	id   string // of the public key: see keyID
	made time.Time
	priv *ecdsa.PrivateKey
}

const redactedKey = "[signing key]"

func (*signingKey) String() string               { return redactedKey }
func (*signingKey) GoString() string             { return redactedKey }
func (*signingKey) Format(f fmt.State, _ rune)   { _, _ = io.WriteString(f, redactedKey) }
func (*signingKey) MarshalText() ([]byte, error) { return []byte(redactedKey), nil }
func (*signingKey) LogValue() slog.Value         { return slog.StringValue(redactedKey) }

func newKey(now time.Time) (*signingKey, error) {
	priv, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	id, err := keyID(&priv.PublicKey)
	return &signingKey{id: id, made: now, priv: priv}, err
}

// keyID is the beginning of the SHA-256 of the public key's DER form.
func keyID(pub *ecdsa.PublicKey) (string, error) {
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:8]), nil
}

// parseKey reads a P-256 private key in PKCS #8 form.
func parseKey(id string, made time.Time, der []byte) (*signingKey, error) {
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, err
	}
	priv, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || priv.Curve != elliptic.P256() {
		return nil, errors.New("it is no P-256 key")
	}
	real, err := keyID(&priv.PublicKey)
	if err == nil && real != id {
		err = fmt.Errorf("its id is %s", real)
	}
	return &signingKey{id: id, made: made, priv: priv}, err
}
