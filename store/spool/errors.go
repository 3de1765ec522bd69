package spool

import "errors"

// Errors that callers branch on.
var (
	// ErrLocked is returned by Open when another process has the log open.
	ErrLocked = errors.New("the event log is open in another process")
	// ErrVersion is returned by Open for a log that a newer program wrote. It
	// is left as it is.
	ErrVersion = errors.New("the format is newer than this program")
	// ErrLost is returned by Receipt.Wait when the queue was full: the event
	// was not kept, an events_lost event counts it.
	ErrLost = errors.New("the event was lost: the queue for the disk is full")
	// ErrTooLarge is returned by Receipt.Wait for an event beyond MaxEvent. It
	// was not kept and an events_lost event counts it.
	ErrTooLarge = errors.New("the event was lost: it is too large")
	// ErrClosed is returned by Receipt.Wait when the log was closed before the
	// event was on disk. It may be there or not.
	ErrClosed = errors.New("the event log was closed")
	// ErrAhead is returned by Cursor.Advance for a number that the log has not
	// given yet.
	ErrAhead = errors.New("the number is beyond the end of the log")

	// errDamaged means that bytes on disk were altered.
	errDamaged = errors.New("the bytes on disk were altered")
)
