package uplink

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

const (
	// CredentialsPath is where a host gives new credentials (engage.md, 1).
	CredentialsPath = "/engage/newCredentials"
	// SubProtocol is the WebSocket sub-protocol of a gateway.
	SubProtocol = "engage.v1.gateway.allegion.com"

	stampLayout     = "20060102150405"
	securityVersion = "1"
	keySize         = 32
	cipherSize      = 32
	maxToken        = 512
	passwordSize    = 32 // decoded
)

// Serial is the serial number of a gateway.
type Serial [16]byte

// ParseSerial reads 32 hex digits of any case.
func ParseSerial(text string) (Serial, error) {
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != len(Serial{}) {
		return Serial{}, fmt.Errorf("serial number of %d characters: want 32 hex digits", len(text))
	}
	return Serial(b), nil
}

// String returns the serial as 32 upper-case hex digits.
func (s Serial) String() string { return strings.ToUpper(hex.EncodeToString(s[:])) }

// DeviceID returns the serial's last 16 hex digits in lower case, the form of
// deviceId in events.
func (s Serial) DeviceID() string { return hex.EncodeToString(s[8:]) }

// Token is what a gateway sends to get credentials.
type Token struct {
	Serial  Serial           // outside, in clear
	Cipher  [cipherSize]byte // time and serial under the site key
	Version string           // of the security protocol
}

// NewToken makes the token of a time. The wall clock of at is what is sent, so
// its zone matters; a host refuses a second one of the same second.
func NewToken(key SiteKey, serial Serial, at time.Time) (Token, error) {
	block, err := newBlock(key)
	if err != nil {
		return Token{}, err
	}
	stamp := at.Format(stampLayout)
	if len(stamp) != len(stampLayout) {
		return Token{}, fmt.Errorf("token: the year %d has not four digits", at.Year())
	}
	t := Token{Serial: serial, Version: securityVersion}
	plain := make([]byte, 0, cipherSize)
	plain = append(plain, stamp...)
	plain = append(plain, 0, 0)
	plain = append(plain, serial[:]...)
	cipher.NewCBCEncrypter(block, make([]byte, aes.BlockSize)).CryptBlocks(t.Cipher[:], plain)
	return t, nil
}

func newBlock(key SiteKey) (cipher.Block, error) {
	if len(key) != keySize {
		return nil, fmt.Errorf("site key of %d bytes: want %d", len(key), keySize)
	}
	return aes.NewCipher(key)
}

// Encode returns the body of the call: base64, 132 characters.
func (t Token) Encode() string {
	text := t.Serial.String() + ":" + strings.ToUpper(hex.EncodeToString(t.Cipher[:])) + ":" + t.Version
	return base64.StdEncoding.EncodeToString([]byte(text))
}

// ParseToken reads the body of a call. Hex of any case, and ; for :, are taken,
// as the vendor's prose and logs disagree. It proves nothing: see Open.
func ParseToken(body string) (Token, error) {
	if len(body) > maxToken {
		return Token{}, fmt.Errorf("token of %d characters: at most %d", len(body), maxToken)
	}
	text, err := base64.StdEncoding.DecodeString(strings.TrimSpace(body))
	if err != nil {
		return Token{}, errors.New("token: not base64")
	}
	fields := strings.FieldsFunc(string(text), func(r rune) bool { return r == ':' || r == ';' })
	if len(fields) != 3 {
		return Token{}, fmt.Errorf("token: %d fields, want serial, cipher and version", len(fields))
	}
	t := Token{Version: fields[2]}
	if t.Serial, err = ParseSerial(fields[0]); err != nil {
		return Token{}, fmt.Errorf("token: %w", err)
	}
	c, err := hex.DecodeString(fields[1])
	if err != nil || len(c) != cipherSize {
		return Token{}, fmt.Errorf("token: cipher of %d characters: want %d hex digits", len(fields[1]), 2*cipherSize)
	}
	t.Cipher = [cipherSize]byte(c)
	if t.Version != securityVersion {
		return Token{}, fmt.Errorf("token: security version %.8q is not known", t.Version)
	}
	return t, nil
}

// Open decrypts the token and returns its time in the given zone. It fails when
// the key is not the one it was made with, or the serials inside and outside
// differ. Whether the time is near enough, and new, is the caller's to check.
func (t Token) Open(key SiteKey, zone *time.Location) (time.Time, error) {
	block, err := newBlock(key)
	if err != nil {
		return time.Time{}, err
	}
	plain := make([]byte, cipherSize)
	cipher.NewCBCDecrypter(block, make([]byte, aes.BlockSize)).CryptBlocks(plain, t.Cipher[:])
	stamp, rest := plain[:len(stampLayout)], plain[len(stampLayout):]
	at, err := time.ParseInLocation(stampLayout, string(stamp), zone)
	if err != nil || rest[0] != 0 || rest[1] != 0 {
		return time.Time{}, errors.New("token: made with another site key")
	}
	if !bytes.Equal(rest[2:], t.Serial[:]) {
		return time.Time{}, errors.New("token: the serials inside and outside differ")
	}
	return at, nil
}

// ParsePassword reads the answer to a token: base64 of 32 bytes. White space
// around it is ignored. The error does not hold the answer.
func ParsePassword(body []byte) (Password, error) {
	text := bytes.TrimSpace(body)
	b, err := base64.StdEncoding.DecodeString(string(text))
	if err != nil || len(b) != passwordSize || len(text) != base64.StdEncoding.EncodedLen(passwordSize) {
		return "", fmt.Errorf("the password has %d characters: want the 44 of 32 bytes in base64", len(text))
	}
	return Password(text), nil
}
