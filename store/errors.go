package store

import (
	"errors"
	"fmt"
)

// Conditions that a caller branches on.
var (
	// ErrKeyMissing is returned by Open when a store exists and its device key
	// does not. A new key is never made over an existing store.
	ErrKeyMissing = errors.New("device key is missing")
	// ErrKeyWrong is returned by Open when the device key is malformed or is
	// not the one that the store was made with.
	ErrKeyWrong = errors.New("device key is not this store's")
	// ErrNewer is returned by Open when the file was written by a later
	// version of this program.
	ErrNewer = errors.New("store was written by a later version")
	// ErrInUse is returned by Open when another process holds the store.
	ErrInUse = errors.New("store is in use by another process")
	// ErrClosed is returned after Close.
	ErrClosed = errors.New("store is closed")
	// ErrFault is returned by every read and change that met damage, and while
	// a damaged file is being replaced. Nothing may be opened on it.
	ErrFault = errors.New("store is damaged")
	// ErrIncomplete is returned by Lookup when the policy was rebuilt from an
	// event log that does not reach back to its beginning and no copy was
	// there: what is present cannot be trusted to be all. It stays until
	// AcceptIncomplete or an import that is accepted by it.
	ErrIncomplete = errors.New("policy is incomplete after damage")
	// ErrNotFound is returned for an id that does not exist.
	ErrNotFound = errors.New("not found")
	// ErrAmbiguous is returned for a prefix that fits more than one id.
	ErrAmbiguous = errors.New("fits more than one")
	// ErrBusy is returned by Import while another import runs.
	ErrBusy = errors.New("another import is running")
	// ErrNotLogged is returned by a change that holds in the policy file and
	// whose event could not be written to the log. The event is kept and is
	// written later; the change must not be made again.
	ErrNotLogged = errors.New("change holds but is not in the log yet")
	// ErrNotCopied is returned by a bulk change that holds, and of which no
	// verified copy could be made.
	ErrNotCopied = errors.New("change holds but is not in the copy yet")
	// ErrUsedUp is returned by CountUse when no use is left.
	ErrUsedUp = errors.New("no use is left")

	// ErrPINTaken is the cause of a RecordError where a PIN that opens without
	// a card is another credential's.
	ErrPINTaken = errors.New("is another credential's, and opens without a card: choose another PIN")

	errRecord = errors.New("record check does not match")
)

// RecordError says which record of a change or an import is at fault, in which
// field, and why. Record counts from 1.
type RecordError struct {
	Record int
	Field  string // empty: the record as a whole
	Err    error
}

// Error returns "record N: field: cause".
func (e *RecordError) Error() string {
	if e.Field == "" {
		return fmt.Sprintf("record %d: %v", e.Record, e.Err)
	}
	return fmt.Sprintf("record %d: %s: %v", e.Record, e.Field, e.Err)
}

// Unwrap returns the cause.
func (e *RecordError) Unwrap() error { return e.Err }

func fieldErr(field, format string, args ...any) error {
	return &RecordError{Field: field, Err: fmt.Errorf(format, args...)}
}
