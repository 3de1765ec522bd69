package card

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
)

// MaxBits is the longest frame of a reader (protocols/wiegand.md).
const MaxBits = 256

// MaxBlockBits is the longest card that has a 16-byte block and so can be
// enrolled.
const MaxBlockBits = 128

// Bits is one frame of a reader: 0 to 256 bits, bit 0 first on the wire. It is
// comparable: two are equal when length and bits are. The zero value holds no
// bit and is no card.
type Bits struct {
	n uint16
	w [MaxBits / 64]uint64 // bit 0 is the top bit of w[0]; bits from n on are 0
}

// NewBits takes n bits, 1 to 256, from the front of leftJustified, which must
// be exactly as long as n needs and 0 in the bits past n.
func NewBits(n int, leftJustified []byte) (Bits, error) {
	if n < 1 || n > MaxBits {
		return Bits{}, fmt.Errorf("card bits: length %d: want 1 to %d: %w", n, MaxBits, ErrBits)
	}
	if want := (n + 7) / 8; len(leftJustified) != want {
		return Bits{}, fmt.Errorf("card bits: %d bytes: %d bits want %d: %w", len(leftJustified), n, want, ErrBits)
	}
	if n%8 != 0 && leftJustified[len(leftJustified)-1]<<(n%8) != 0 {
		return Bits{}, fmt.Errorf("card bits: unused bits after bit %d are not 0: %w", n-1, ErrBits)
	}
	var buf [MaxBits / 8]byte
	copy(buf[:], leftJustified)
	b := Bits{n: uint16(n)}
	for i := range b.w {
		b.w[i] = binary.BigEndian.Uint64(buf[8*i:])
	}
	return b, nil
}

// ParseBits reads LENGTH:HEX as Text writes it: the length in decimal without
// sign or leading zero, then all bytes that it needs, hex in any case. The error
// never holds the text.
func ParseBits(s string) (Bits, error) {
	length, digits, ok := strings.Cut(s, ":")
	if !ok {
		return Bits{}, fmt.Errorf("card bits: want LENGTH:HEX: %w", ErrBits)
	}
	n, err := strconv.Atoi(length)
	if err != nil || length != strconv.Itoa(n) {
		return Bits{}, fmt.Errorf("card bits: the length is not a decimal number: %w", ErrBits)
	}
	if len(digits) > MaxBits/4 {
		return Bits{}, fmt.Errorf("card bits: %d hex digits: want at most %d: %w", len(digits), MaxBits/4, ErrBits)
	}
	raw, err := hex.DecodeString(digits)
	if err != nil { // the cause would quote a digit
		return Bits{}, fmt.Errorf("card bits: not whole bytes in hex: %w", ErrBits)
	}
	return NewBits(n, raw)
}

// With returns b with one more bit at its end, and false when b is full; b is
// then returned as it was. A reader builds a frame with it.
func (b Bits) With(one bool) (Bits, bool) {
	if b.n >= MaxBits {
		return b, false
	}
	if one {
		b.set(int(b.n))
	}
	b.n++
	return b, true
}

// set makes bit i a one, whether or not the length covers it yet.
func (b *Bits) set(i int) { b.w[i/64] |= 1 << (63 - i%64) }

// Len returns the number of bits.
func (b Bits) Len() int { return int(b.n) }

// Bit returns bit i, 0 first on the wire. It is false outside of 0..Len()-1.
func (b Bits) Bit(i int) bool {
	return i >= 0 && i < int(b.n) && b.w[i/64]>>(63-i%64)&1 == 1
}

// Equal reports whether both hold the same bits, as == does.
func (b Bits) Equal(o Bits) bool { return b == o }

// Bytes returns the bits in clear, left-justified, unused bits 0. The slice is
// the caller's.
func (b Bits) Bytes() []byte {
	var buf [MaxBits / 8]byte
	for i, w := range b.w {
		binary.BigEndian.PutUint64(buf[8*i:], w)
	}
	return append([]byte(nil), buf[:(int(b.n)+7)/8]...)
}

// Text returns the bits in clear as LENGTH:HEX. It shows the card: it is for
// exports and simulators that were asked for it, never for a log or an error.
func (b Bits) Text() string {
	return strconv.Itoa(int(b.n)) + ":" + hex.EncodeToString(b.Bytes())
}

// Block returns the clear 16-byte block of the card. It fails with ErrTooLong
// past 128 bits and with ErrBits where there is no bit.
func (b Bits) Block() (Block, error) {
	var k Block
	if b.n > MaxBlockBits {
		return k, fmt.Errorf("card block: %d bits: %w", b.n, ErrTooLong)
	}
	if b.n == 0 {
		return k, fmt.Errorf("card block: no bits: %w", ErrBits)
	}
	binary.BigEndian.PutUint64(k[:8], b.w[0])
	binary.BigEndian.PutUint64(k[8:], b.w[1])
	for i := (int(b.n) + 7) / 8; i < len(k); i++ {
		k[i] = 0xFF
	}
	return k, nil
}

// String says how many bits there are, never which.
func (b Bits) String() string { return strconv.Itoa(int(b.n)) + " bits" }

// GoString is String.
func (b Bits) GoString() string { return b.String() }

// Format writes String whatever the verb is.
func (b Bits) Format(f fmt.State, _ rune) { writeRedacted(f, b.String()) }

// LogValue is String.
func (b Bits) LogValue() slog.Value { return slog.StringValue(b.String()) }

// MarshalText is String: there is no way back from it.
func (b Bits) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// Block is the clear 16-byte form of a card (ENGAGE primeCr before its
// encryption): bits left-justified, the last byte filled with 0 bits, then 0xFF.
// Keep it in memory only as long as it is used.
type Block [16]byte

// String says what it is, never its bytes.
func (Block) String() string { return "card block" }

// GoString is String.
func (b Block) GoString() string { return b.String() }

// Format writes String whatever the verb is.
func (b Block) Format(f fmt.State, _ rune) { writeRedacted(f, b.String()) }

// LogValue is String.
func (b Block) LogValue() slog.Value { return slog.StringValue(b.String()) }

// MarshalText is String: there is no way back from it.
func (b Block) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// writeRedacted writes s for any verb and flag. The state of fmt never fails.
func writeRedacted(f fmt.State, s string) { _, _ = f.Write([]byte(s)) }
