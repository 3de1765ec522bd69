package site

import "log/slog"

// PIN is what a person typed at a keypad: digits. It is redacted wherever it is
// printed; convert it to a string to compare it.
type PIN string

// String redacts the PIN.
func (PIN) String() string { return "[pin]" }

// GoString redacts the PIN.
func (PIN) GoString() string { return "[pin]" }

// MarshalText redacts the PIN.
func (PIN) MarshalText() ([]byte, error) { return []byte("[pin]"), nil }

// LogValue redacts the PIN.
func (PIN) LogValue() slog.Value { return slog.StringValue("[pin]") }
