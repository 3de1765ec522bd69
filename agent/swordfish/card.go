package swordfish

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"

	"gatehouse/agent/card"
)

// KeySize is the length of a site key.
const KeySize = 32

// Cards encrypts and decrypts cards with a site key (engage.md section 5,
// primeCr). It never prints the key and is safe for concurrent use.
type Cards struct{ block cipher.Block }

// NewCards takes a site key of 32 bytes and keeps nothing of the slice.
func NewCards(key []byte) (*Cards, error) {
	if len(key) != KeySize {
		return nil, fmt.Errorf("site key: %d bytes, want %d", len(key), KeySize)
	}
	b, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("site key: %w", err)
	}
	return &Cards{b}, nil
}

var (
	errPrime  = errors.New("want 32 hex digits")
	errNoCard = errors.New("holds no card: was it encrypted with this site key?")
)

// Encrypt returns primeCr: one AES-256 block as 32 lower-case hex digits.
func (c *Cards) Encrypt(b card.Block) string {
	var out [aes.BlockSize]byte
	c.block.Encrypt(out[:], b[:])
	return hex.EncodeToString(out[:])
}

// Decrypt is the reverse of Encrypt; the digits may be of either case. The length
// of the card is not in it. The error never holds the text.
//
// A wrong key cannot be told with certainty; see Plausible.
func (c *Cards) Decrypt(primeCr string) (card.Block, error) {
	var in, out [aes.BlockSize]byte
	if len(primeCr) != hex.EncodedLen(len(in)) {
		return card.Block{}, errPrime
	}
	if _, err := hex.Decode(in[:], []byte(primeCr)); err != nil {
		return card.Block{}, errPrime // the cause would quote a digit
	}
	c.block.Decrypt(out[:], in[:])
	b := card.Block(out)
	if b == (card.Block{}) || b == noBits {
		return card.Block{}, errNoCard
	}
	return b, nil
}

// noBits is the block of a card without bits.
var noBits = func() (b card.Block) {
	for i := range b {
		b[i] = 0xFF
	}
	return b
}()

// Plausible reports whether a block ends as all cards of up to 112 bits do. With a
// wrong key it does so for one block in 65,536: a file in which none does was
// encrypted with another key.
func Plausible(b card.Block) bool { return b[len(b)-1] == 0xFF && b[len(b)-2] == 0xFF }

// String says what it is, never the key.
func (*Cards) String() string { return "[site key]" }

// GoString is String.
func (c *Cards) GoString() string { return c.String() }

// Format writes String whatever the verb is.
func (c *Cards) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(c.String())) }

// LogValue is String.
func (c *Cards) LogValue() slog.Value { return slog.StringValue(c.String()) }

// MarshalText is String.
func (c *Cards) MarshalText() ([]byte, error) { return []byte(c.String()), nil }
