package swordfish

// # Tokens
//
// The form of a lock's token is not public. What is read and made here is the best
// candidate of engage.md section 5, that of section 1:
//
//	Authorization: Device base64(SERIAL ":" HEX(C) ":1")

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"
)

// Errors of ParseToken and Token.Open that callers branch on.
var (
	// ErrNoSerial means that nothing says which lock it is: always 401.
	ErrNoSerial = errors.New("names no serial number")
	// ErrOtherKey means that the token was made with another site key, or was altered.
	ErrOtherKey = errors.New("made with another site key")
	// ErrOtherSerial means that the serial numbers inside and outside differ: a token
	// of another lock.
	ErrOtherSerial = errors.New("the serial numbers inside and outside differ")
)

const (
	maxToken     = 1024 // characters of the header
	tokenVersion = "1"
	tokenScheme  = "Device"
)

// Token is what a lock authenticates with. Whoever has it can use it for a while: it
// is redacted wherever it is printed. Two are the same token when they are equal.
type Token struct {
	Serial  string   // outside, in clear: 32 upper-case hex digits
	Cipher  [32]byte // time and serial under the site key
	Version string   // of the security protocol
}

// String shows the serial alone.
func (t Token) String() string { return "[token of " + t.Serial + "]" }

// GoString is String.
func (t Token) GoString() string { return t.String() }

// Format writes String whatever the verb is.
func (t Token) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(t.String())) }

// LogValue is String.
func (t Token) LogValue() slog.Value { return slog.StringValue(t.String()) }

// MarshalText is String: there is no way back from it.
func (t Token) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// ParseToken reads an Authorization header, "Device" and a token. The scheme and hex
// digits may be of either case, and fields may be parted by : or ; (engage.md section
// 1). The base64 may lack its padding.
//
// With an error the token's Serial is still that of its first field, unless the error
// is ErrNoSerial. It proves nothing: see Open. No error holds any of the text.
func ParseToken(authorization string) (Token, error) {
	if len(authorization) > maxToken {
		return Token{}, fmt.Errorf("token: header of %d characters: %w", len(authorization), ErrNoSerial)
	}
	scheme, text, _ := strings.Cut(strings.TrimSpace(authorization), " ")
	if !strings.EqualFold(scheme, tokenScheme) {
		return Token{}, fmt.Errorf("token: the scheme is not %s: %w", tokenScheme, ErrNoSerial)
	}
	// What comes before a fault in the base64 may still name the lock.
	b, notBase64 := base64.RawStdEncoding.DecodeString(strings.TrimRight(strings.TrimSpace(text), "="))
	fields := strings.Split(strings.ReplaceAll(string(b), ";", ":"), ":")
	serial, ok := tokenSerial(fields[0])
	if !ok {
		return Token{}, fmt.Errorf("token: %w", ErrNoSerial)
	}
	t := Token{Serial: serial}
	switch {
	case notBase64 != nil:
		return t, errors.New("token: not base64")
	case len(fields) != 3:
		return t, fmt.Errorf("token: %d fields, want serial, cipher and version", len(fields))
	}
	c, err := hex.DecodeString(fields[1])
	if err != nil || len(c) != len(t.Cipher) {
		return t, fmt.Errorf("token: cipher of %d characters: want %d hex digits", len(fields[1]), 2*len(t.Cipher))
	}
	if fields[2] != tokenVersion {
		return t, errors.New("token: the version of its security protocol is not known")
	}
	t.Cipher, t.Version = [32]byte(c), tokenVersion
	return t, nil
}

// tokenSerial reads 32 hex digits of either case.
func tokenSerial(s string) (string, bool) {
	b, err := hex.DecodeString(s)
	return strings.ToUpper(s), err == nil && len(b) == 16
}

// Open decrypts the token and returns its time, read as UTC: locks take the time
// from X-Device-Last-Connected, which is UTC. It fails with ErrOtherKey or
// ErrOtherSerial, or for a key that is none. Whether the time is near enough, and the
// token new, is the caller's to check.
func (t Token) Open(siteKey []byte) (time.Time, error) {
	block, err := tokenBlock(siteKey)
	if err != nil {
		return time.Time{}, err
	}
	var plain [32]byte
	cipher.NewCBCDecrypter(block, make([]byte, aes.BlockSize)).CryptBlocks(plain[:], t.Cipher[:])
	stamp, zeros, serial := plain[:14], plain[14:16], plain[16:]
	at, err := parseStamp(string(stamp))
	if err != nil || zeros[0] != 0 || zeros[1] != 0 {
		return time.Time{}, fmt.Errorf("token: %w", ErrOtherKey)
	}
	if strings.ToUpper(hex.EncodeToString(serial)) != t.Serial {
		return time.Time{}, fmt.Errorf("token: %w", ErrOtherSerial)
	}
	return at, nil
}

// MakeToken makes the token of a lock and a time, to the second and in UTC, as base64
// without the scheme's name: the same bytes as the uplink's (engage.md section 1).
func MakeToken(serial string, siteKey []byte, at time.Time) (string, error) {
	serial, ok := tokenSerial(serial)
	if !ok {
		return "", errors.New("token: want a serial number of 32 hex digits")
	}
	block, err := tokenBlock(siteKey)
	if err != nil {
		return "", err
	}
	stamp := at.UTC().Format(stampLayout)
	if len(stamp) != len(stampLayout) {
		return "", errors.New("token: the year has not four digits")
	}
	raw, err := hex.DecodeString(serial)
	if err != nil {
		return "", fmt.Errorf("token: serial number: %w", err)
	}
	var c [32]byte
	copy(c[:], stamp)
	copy(c[16:], raw)
	cipher.NewCBCEncrypter(block, make([]byte, aes.BlockSize)).CryptBlocks(c[:], c[:])
	text := serial + ":" + strings.ToUpper(hex.EncodeToString(c[:])) + ":" + tokenVersion
	return base64.StdEncoding.EncodeToString([]byte(text)), nil
}

func tokenBlock(siteKey []byte) (cipher.Block, error) {
	if len(siteKey) != KeySize {
		return nil, fmt.Errorf("site key: %d bytes, want %d", len(siteKey), KeySize)
	}
	b, err := aes.NewCipher(siteKey)
	if err != nil {
		return nil, fmt.Errorf("site key: %w", err)
	}
	return b, nil
}
