package certs

import (
	"bytes"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
)

// The largest inputs that are taken, in bytes, and the most certificates of a
// file.
const (
	MaxAnswer = 16 << 10
	MaxFile   = 64 << 10
	MaxCerts  = 16

	maxURL = 2 << 10
)

// What vendor devices take (engage.md, section 4).
const (
	vendorRSABits    = 2048
	vendorChainBytes = 4096
)

// Errors that callers branch on.
var (
	// ErrHash means that a certificate file does not carry the site key's hash:
	// the keys of site and host differ, or somebody altered the file.
	ErrHash = errors.New("the certificate does not match the site key")
	// ErrAnswer means that the CA server's answer is not of the documented form.
	ErrAnswer = errors.New("the CA server's answer is not understood")
	// ErrFile means that a certificate file is not DER.
	ErrFile = errors.New("the certificate file is not understood")
)

// Key is the site key. It is redacted wherever it is printed.
type Key []byte

// String redacts the key.
func (Key) String() string { return "[site key]" }

// GoString redacts the key.
func (Key) GoString() string { return "[site key]" }

// Format redacts the key whatever the verb is.
func (k Key) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(k.String())) }

// MarshalText redacts the key.
func (Key) MarshalText() ([]byte, error) { return []byte("[site key]"), nil }

// LogValue redacts the key.
func (k Key) LogValue() slog.Value { return slog.StringValue(k.String()) }

// Query is what a device asks a CA server.
type Query struct {
	Serial   [16]byte
	HashType string // primary
	Version  string // 2
}

// Encode returns the raw query as devices send it: the base64 text is not
// escaped, so + and = stand as they are.
func (q Query) Encode() string {
	return "serialNumber=" + base64.StdEncoding.EncodeToString(q.Serial[:]) + "&hashType=" + q.HashType + "&v=" + q.Version
}

// ParseQuery reads a raw query. A + is a plus sign and not a space; escaped
// forms (%2B, %3D), and the space that a proxy may have made of +, are taken
// too. Members that are not known are ignored; a missing hashType or v is empty.
func ParseQuery(raw string) (Query, error) {
	var q Query
	if len(raw) > MaxAnswer {
		return q, fmt.Errorf("query of %d bytes: at most %d", len(raw), MaxAnswer)
	}
	found := false
	for part := range strings.SplitSeq(raw, "&") {
		name, value, _ := strings.Cut(part, "=")
		value, err := url.PathUnescape(value) // leaves + alone
		if err != nil {
			return Query{}, fmt.Errorf("query: %s: %w", name, err)
		}
		switch name {
		case "serialNumber":
			if q.Serial, err = parseSerial(value); err != nil {
				return Query{}, err
			}
			found = true
		case "hashType":
			q.HashType = value
		case "v":
			q.Version = value
		}
	}
	if !found {
		return Query{}, errors.New("query: serialNumber is missing")
	}
	return q, nil
}

func parseSerial(text string) (serial [16]byte, err error) {
	text = strings.TrimRight(strings.ReplaceAll(text, " ", "+"), "=")
	b, err := base64.RawStdEncoding.Strict().DecodeString(text)
	if err != nil || len(b) != len(serial) {
		return serial, errors.New("query: serialNumber is not the base64 form of 16 bytes")
	}
	return [16]byte(b), nil
}

// Answer names a certificate file and its hash.
type Answer struct {
	CertURL string `json:"cert_url"`
	Hash    string `json:"hash"`
}

// Encode returns the answer as JSON without escapes that a small parser might
// not know.
func (a Answer) Encode() []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(a); err != nil { // two strings
		panic(err)
	}
	return bytes.TrimRight(b.Bytes(), "\n")
}

// ParseAnswer reads a CA server's answer. cert_url may be relative to the
// address that was asked; white space around the values is ignored.
func ParseAnswer(data []byte) (Answer, error) {
	if len(data) > MaxAnswer {
		return Answer{}, fmt.Errorf("%w: more than %d bytes", ErrAnswer, MaxAnswer)
	}
	var a Answer
	if err := json.Unmarshal(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")), &a); err != nil {
		return Answer{}, fmt.Errorf("%w: %w", ErrAnswer, err)
	}
	a.CertURL, a.Hash = strings.TrimSpace(a.CertURL), strings.TrimSpace(a.Hash)
	if a.CertURL == "" {
		return Answer{}, fmt.Errorf("%w: cert_url is missing", ErrAnswer)
	}
	if len(a.CertURL) > maxURL {
		return Answer{}, fmt.Errorf("%w: cert_url has more than %d characters", ErrAnswer, maxURL)
	}
	if _, err := url.Parse(a.CertURL); err != nil {
		return Answer{}, fmt.Errorf("%w: cert_url: %w", ErrAnswer, err)
	}
	if _, err := decodeHash(a.Hash); err != nil {
		return Answer{}, err
	}
	return a, nil
}

func decodeHash(text string) ([]byte, error) {
	if len(text) == 32 {
		// The vendor's example server puts a card credential here.
		return nil, fmt.Errorf("%w: hash has 32 characters: a CA server gives the 28 of a base64 HMAC-SHA1", ErrAnswer)
	}
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(b) != sha1.Size {
		return nil, fmt.Errorf("%w: hash has %d characters: want the 28 of a base64 HMAC-SHA1", ErrAnswer, len(text))
	}
	return b, nil
}

// Hash returns the hash of a certificate file: base64 of its HMAC-SHA1 under
// the site key, 28 characters.
func Hash(key Key, file []byte) string {
	return base64.StdEncoding.EncodeToString(sum(key, file))
}

func sum(key Key, file []byte) []byte {
	m := hmac.New(sha1.New, key)
	m.Write(file)
	return m.Sum(nil)
}

// CheckHash returns nil if hash is that of the file, ErrHash if it is another
// one, and ErrAnswer if it is none.
func CheckHash(key Key, file []byte, hash string) error {
	want, err := decodeHash(hash)
	if err != nil {
		return err
	}
	if !hmac.Equal(want, sum(key, file)) {
		return ErrHash
	}
	return nil
}

// ParseFile reads a certificate file: one certificate in DER, or several one
// after the other, the root first.
func ParseFile(file []byte) ([]*x509.Certificate, error) {
	if len(file) > MaxFile {
		return nil, fmt.Errorf("%w: more than %d bytes", ErrFile, MaxFile)
	}
	if bytes.HasPrefix(bytes.TrimSpace(file), []byte("-----BEGIN")) {
		return nil, fmt.Errorf("%w: it is PEM, devices take DER", ErrFile)
	}
	list, err := x509.ParseCertificates(file)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFile, err)
	}
	if len(list) == 0 || len(list) > MaxCerts {
		return nil, fmt.Errorf("%w: %d certificates, want 1 to %d", ErrFile, len(list), MaxCerts)
	}
	return list, nil
}

// Warnings says what of a certificate file vendor devices do not take, for
// whoever hosts it.
func Warnings(file []byte) []string {
	list, err := ParseFile(file)
	if err != nil {
		return []string{err.Error()}
	}
	var out []string
	for _, c := range list {
		if k, ok := c.PublicKey.(*rsa.PublicKey); ok && k.N.BitLen() > vendorRSABits {
			out = append(out, fmt.Sprintf("%s: RSA key of %d bits: vendor devices take at most %d", c.Subject, k.N.BitLen(), vendorRSABits))
		}
	}
	if len(file) > vendorChainBytes {
		out = append(out, fmt.Sprintf("the certificate file has %d bytes: vendor devices take at most %d", len(file), vendorChainBytes))
	}
	return out
}
