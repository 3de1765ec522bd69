package engage

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"
)

// NewCredentialsPath is the fixed path of section 1.
const NewCredentialsPath = "/engage/newCredentials"

// ClockLayout is how a gateway writes a time: YYYYMMDDHHMMSS.
const ClockLayout = "20060102150405"

// maxCredentials bounds the HTTP body; a right one has 132 characters.
const maxCredentials = 256

// Why a request for credentials is refused.
var (
	// ErrCredentials is returned for a body that is not of section 1's form.
	ErrCredentials = errors.New("malformed credentials")
	// ErrSeal is returned when the cipher text does not open to the serial
	// outside: another site key, or another device's text.
	ErrSeal = errors.New("the site key does not open it")
)

// Sealed is a request for credentials as it came: a serial in clear and a
// cipher text that proves the site key.
type Sealed struct {
	Serial Serial
	Cipher [32]byte
}

// ParseCredentials reads the body of a POST to NewCredentialsPath: base64 of
// SERIAL, HEX(cipher) and the version 1, with ':' or ';' between them and hex
// of either case.
func ParseCredentials(body []byte) (Sealed, error) {
	var out Sealed
	body = bytes.TrimSpace(body)
	if len(body) > maxCredentials {
		return out, fmt.Errorf("%w: %d bytes", ErrCredentials, len(body))
	}
	text, err := base64.StdEncoding.DecodeString(string(body))
	if err != nil {
		return out, fmt.Errorf("%w: not base64", ErrCredentials)
	}
	fields := strings.FieldsFunc(string(text), func(r rune) bool { return r == ':' || r == ';' })
	if len(fields) != 3 || len(text) != len(fields[0])+len(fields[1])+len(fields[2])+2 {
		return out, fmt.Errorf("%w: want three fields", ErrCredentials)
	}
	if out.Serial, err = ParseSerial(fields[0]); err != nil {
		return Sealed{}, fmt.Errorf("%w: %w", ErrCredentials, err)
	}
	if len(fields[1]) != 2*len(out.Cipher) {
		return Sealed{}, fmt.Errorf("%w: cipher text of %d digits, want 64", ErrCredentials, len(fields[1]))
	}
	if _, err := hex.Decode(out.Cipher[:], []byte(fields[1])); err != nil {
		return Sealed{}, fmt.Errorf("%w: cipher text is not hex", ErrCredentials)
	}
	if fields[2] != "1" {
		return Sealed{}, fmt.Errorf("%w: version %q of the security protocol, want 1", ErrCredentials, clip(fields[2]))
	}
	return out, nil
}

// Open deciphers with the site key and returns the gateway's clock: its wall
// time, written as if it were UTC, for the zone is not in it. ErrSeal means
// that the key or the serial is another one.
func (s Sealed) Open(k SiteKey) (time.Time, error) {
	var p [32]byte
	cipher.NewCBCDecrypter(block(k), make([]byte, aes.BlockSize)).CryptBlocks(p[:], s.Cipher[:])
	if !bytes.Equal(p[16:], s.Serial[:]) || p[14] != 0 || p[15] != 0 {
		return time.Time{}, ErrSeal
	}
	for _, c := range p[:14] {
		if c < '0' || c > '9' {
			return time.Time{}, ErrSeal
		}
	}
	at, err := time.ParseInLocation(ClockLayout, string(p[:14]), time.UTC)
	if err != nil {
		return time.Time{}, fmt.Errorf("%w: no such time", ErrCredentials)
	}
	return at, nil
}

// Seal is what a gateway sends: the base64 text for its serial, its site key
// and its wall time.
func Seal(k SiteKey, serial Serial, wall time.Time) string {
	var p [32]byte
	copy(p[:], wall.Format(ClockLayout))
	copy(p[16:], serial[:])
	cipher.NewCBCEncrypter(block(k), make([]byte, aes.BlockSize)).CryptBlocks(p[:], p[:])
	text := serial.String() + ":" + strings.ToUpper(hex.EncodeToString(p[:])) + ":1"
	return base64.StdEncoding.EncodeToString([]byte(text))
}

func block(k SiteKey) cipher.Block {
	b, err := aes.NewCipher(k.b[:])
	if err != nil {
		panic(err) // the key has 32 bytes by its type
	}
	return b
}

// Fresh reports whether a gateway's wall time is within window of now, read as
// UTC or as a time of the site's zone (which of them is not public, section 1).
// A nil zone is UTC.
func Fresh(wall, now time.Time, zone *time.Location, window time.Duration) bool {
	if wall.Sub(now).Abs() <= window {
		return true
	}
	if zone == nil {
		return false
	}
	_, offset := now.In(zone).Zone()
	return wall.Sub(now.Add(time.Duration(offset)*time.Second)).Abs() <= window
}
