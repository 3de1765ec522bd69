package lock

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"
)

// cipherKey opens card blocks: one AES-256 block with the site key
// (engage.md section 5, primeCr).
type cipherKey struct{ block cipher.Block }

func newCipherKey(siteKey []byte) (*cipherKey, error) {
	b, err := aes.NewCipher(siteKey)
	if err != nil {
		return nil, errors.New("lock: the site key cannot be used")
	}
	return &cipherKey{b}, nil
}

// open reads a primeCr of 32 hex digits.
func (k *cipherKey) open(digits string) (clear [16]byte, err error) {
	if len(digits) != 32 {
		return clear, fmt.Errorf("%d characters, want 32 hex digits", len(digits))
	}
	var sealed [16]byte
	if _, err := hex.Decode(sealed[:], []byte(digits)); err != nil {
		return clear, errors.New("not hex digits")
	}
	k.block.Decrypt(clear[:], sealed[:])
	return clear, nil
}

// Block makes the 16 bytes that stand for a card: its bits left-justified in
// data, the last byte filled with 0 bits, then 0xFF (engage.md section 5). It
// returns an error for more than 128 bits or too few bytes.
func Block(data []byte, bits int) (block [16]byte, err error) {
	n := (bits + 7) / 8
	if bits < 1 || bits > 128 || len(data) < n {
		return block, fmt.Errorf("lock: a card of %d bits in %d bytes", bits, len(data))
	}
	for i := range block {
		block[i] = 0xFF
	}
	copy(block[:], data[:n])
	if rest := bits % 8; rest != 0 {
		block[n-1] &= 0xFF << (8 - rest)
	}
	return block, nil
}

// DeviceToken makes what stands behind "Authorization: Device " (engage.md
// sections 1 and 5): base64(SERIAL:HEX(C):1). at is written in UTC.
func DeviceToken(serial string, siteKey []byte, at time.Time) (string, error) {
	cfg := Config{Serial: serial, SiteKey: siteKey}
	if err := cfg.Check(); err != nil {
		return "", err
	}
	k, err := newCipherKey(siteKey)
	if err != nil {
		return "", err
	}
	raw, err := hex.DecodeString(serial)
	if err != nil {
		return "", fmt.Errorf("lock: serial: %w", err)
	}
	var p [32]byte
	copy(p[:], at.UTC().Format(digits14))
	copy(p[16:], raw)
	cipher.NewCBCEncrypter(k.block, make([]byte, 16)).CryptBlocks(p[:], p[:])
	text := strings.ToUpper(serial) + ":" + strings.ToUpper(hex.EncodeToString(p[:])) + ":1"
	return base64.StdEncoding.EncodeToString([]byte(text)), nil
}

// CertHash is the hash that a certificate file must have: base64 of HMAC-SHA1
// with the site key over the DER (engage.md section 4).
func CertHash(siteKey, der []byte) string {
	h := hmac.New(sha1.New, siteKey)
	h.Write(der)
	return base64.StdEncoding.EncodeToString(h.Sum(nil))
}
