package card

import (
	"fmt"
	"log/slog"
)

// Number is what a format reads out of bits. Facility and Issue count only where
// Has says so. It is comparable.
type Number struct {
	Facility    uint64
	Issue       uint64 // issue level
	Card        uint64
	HasFacility bool
	HasIssue    bool
}

// Last2 returns the last two decimal digits of the card number, zero padded:
// what people may see of it.
func (n Number) Last2() string {
	d := byte(n.Card % 100)
	return string([]byte{'0' + d/10, '0' + d%10})
}

// String says what it is, never its digits.
func (Number) String() string { return "card number" }

// GoString is String.
func (n Number) GoString() string { return n.String() }

// Format writes String whatever the verb is.
func (n Number) Format(f fmt.State, _ rune) { writeRedacted(f, n.String()) }

// LogValue is String.
func (n Number) LogValue() slog.Value { return slog.StringValue(n.String()) }

// MarshalText is String: there is no way back from it.
func (n Number) MarshalText() ([]byte, error) { return []byte(n.String()), nil }

// maxBadge is the largest Hive badge: the 24 data bits of a 26-bit card.
const maxBadge = 1<<24 - 1

// HiveBadge returns the H10301 bits, parity recomputed, of a badge as Hive
// readers send it: facility × 65536 + number (protocols/hive.md, data of a
// request). It fails with ErrRange past 24 bits.
func HiveBadge(badge uint64) (Bits, error) {
	if badge > maxBadge {
		return Bits{}, fmt.Errorf("hive badge: more than 24 bits: %w", ErrRange)
	}
	return h10301.Encode(Number{Facility: badge >> 16, HasFacility: true, Card: badge & 0xFFFF})
}

// BadgeOf is the reverse of HiveBadge. It is false for bits that are not H10301
// with right parity.
func BadgeOf(b Bits) (uint64, bool) {
	n, ok := h10301.Decode(b)
	return n.Facility<<16 | n.Card, ok
}

// Key is one key of a keypad: 0 to 9, KeyClear or KeyEnter. It is a digit of a
// PIN and is printed as such.
type Key uint8

// The keys that are not digits, as keypads send them.
const (
	KeyClear Key = 10 // '*'
	KeyEnter Key = 11 // '#'
)

// DecodeKey reads a keypad frame of 4 bits, or of 8 whose high half is the
// complement of the low (protocols/wiegand.md). It is false for any other frame
// and for the values 12 to 15, which no key has.
func DecodeKey(b Bits) (Key, bool) {
	v := byte(b.w[0] >> 56)
	switch b.n {
	case 4:
		v >>= 4
	case 8:
		if v>>4 != ^v&0xF {
			return 0, false
		}
		v &= 0xF
	default:
		return 0, false
	}
	return Key(v), Key(v) <= KeyEnter
}

// Bits returns the key's frame of n bits, 4 or 8, as a keypad sends it. It is
// the reverse of DecodeKey, for simulators and tests.
func (k Key) Bits(n int) (Bits, error) {
	if k > KeyEnter {
		return Bits{}, fmt.Errorf("keypad frame: not a key: %w", ErrRange)
	}
	switch n {
	case 4:
		return NewBits(4, []byte{byte(k) << 4})
	case 8:
		return NewBits(8, []byte{^byte(k)<<4 | byte(k)})
	}
	return Bits{}, fmt.Errorf("keypad frame: %d bits: want 4 or 8: %w", n, ErrBits)
}

// Digit returns the key's digit, and false for KeyClear and KeyEnter.
func (k Key) Digit() (int, bool) { return int(k), k < 10 }

// String says what it is, never which.
func (Key) String() string { return "key" }

// GoString is String.
func (k Key) GoString() string { return k.String() }

// Format writes String whatever the verb is.
func (k Key) Format(f fmt.State, _ rune) { writeRedacted(f, k.String()) }

// LogValue is String.
func (k Key) LogValue() slog.Value { return slog.StringValue(k.String()) }

// MarshalText is String: there is no way back from it.
func (k Key) MarshalText() ([]byte, error) { return []byte(k.String()), nil }
