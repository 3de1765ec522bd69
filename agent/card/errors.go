package card

import "errors"

// The conditions on which a caller may branch. Errors of this package never
// hold bits, numbers or digits of a card.
var (
	// ErrBits is returned for bits that are malformed: a length that is not
	// 1 to 256, wrong number of bytes or digits, unused bits that are not 0.
	ErrBits = errors.New("malformed card bits")

	// ErrTooLong is returned where a card has more than 128 bits and so has no
	// 16-byte block.
	ErrTooLong = errors.New("more than 128 bits")

	// ErrRange is returned by Encode and HiveBadge for a number that the format
	// has no room for, or that misses or adds a facility or an issue level.
	ErrRange = errors.New("out of range")

	// ErrFormat is returned by NewFormat and NewSet for a description that is
	// not a card format.
	ErrFormat = errors.New("not a card format")
)
