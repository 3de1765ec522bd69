package engage

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// Serial is a gateway's 16-byte serial number.
type Serial [16]byte

// ErrSerial means that a text is no serial.
var ErrSerial = errors.New("not a serial: want 32 hex digits")

// ParseSerial reads 32 hex digits of either case.
func ParseSerial(s string) (Serial, error) {
	var out Serial
	if len(s) != 2*len(out) {
		return Serial{}, fmt.Errorf("%q: %w", clip(s), ErrSerial)
	}
	if _, err := hex.Decode(out[:], []byte(s)); err != nil {
		return Serial{}, fmt.Errorf("%q: %w", clip(s), ErrSerial)
	}
	return out, nil
}

// String returns 32 upper-case hex digits, as section 1 wants them.
func (s Serial) String() string { return strings.ToUpper(hex.EncodeToString(s[:])) }

// MarshalText returns String, so that a Serial is a JSON string and a map's key.
func (s Serial) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText is ParseSerial.
func (s *Serial) UnmarshalText(text []byte) (err error) {
	*s, err = ParseSerial(string(text))
	return err
}

// ParseSerialBase64 reads the base64 of the 16 serial bytes, with or without
// padding: the form of a root certificate's URL (section 4).
func ParseSerialBase64(s string) (Serial, error) {
	var out Serial
	b, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(s, "="))
	if err != nil || len(b) != len(out) {
		return Serial{}, fmt.Errorf("%q: not the base64 of a 16-byte serial", clip(s))
	}
	copy(out[:], b)
	return out, nil
}

// clip keeps what a peer sent short in an error.
func clip(s string) string {
	const most = 48
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "?") + "…"
	}
	return s
}
