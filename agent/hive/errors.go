package hive

import (
	"errors"
	"fmt"
)

// The ways in which a body is refused before its checksum is looked at. Parse
// and the envelope functions return them inside a *ParseError.
var (
	// ErrTooLarge is returned for a text longer than MaxBytes.
	ErrTooLarge = errors.New("larger than 64 KiB")
	// ErrTooDeep is returned for more than MaxDepth containers in each other.
	ErrTooDeep = errors.New("deeper than 16 levels")
	// ErrNotUTF8 is returned for bytes that are not UTF-8.
	ErrNotUTF8 = errors.New("not UTF-8")
	// ErrSurrogate is returned for a \u escape that is half of a pair.
	ErrSurrogate = errors.New("not UTF-8: a lone surrogate")
	// ErrNotJSON is returned for a text that is not one JSON value.
	ErrNotJSON = errors.New("not JSON")
	// ErrDuplicate is returned for an object with two members of one name.
	ErrDuplicate = errors.New("duplicate members")
	// ErrNotObject is returned when the envelope is not an object.
	ErrNotObject = errors.New("not an object")
	// ErrDevice is returned when device is not text.
	ErrDevice = errors.New("device is not text")
	// ErrChecksum is returned when checksum is not text.
	ErrChecksum = errors.New("checksum is not text")
	// ErrData is returned when data is not an object.
	ErrData = errors.New("data is not an object")
)

// ParseError says why a text was refused and where. Its text holds nothing of
// what was refused, so it may be sent to a stranger.
type ParseError struct {
	Err    error // one of the errors above
	Offset int   // bytes before the fault; negative where no place can be named
}

// Error returns the reason and the place.
func (e *ParseError) Error() string {
	if e.Offset < 0 {
		return e.Err.Error()
	}
	return fmt.Sprintf("%v (at byte %d)", e.Err, e.Offset)
}

// Unwrap returns the reason.
func (e *ParseError) Unwrap() error { return e.Err }
