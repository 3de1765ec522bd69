package uplink

import (
	"fmt"
	"log/slog"
)

// SiteKey is the site's key, 32 bytes. It is redacted wherever it is printed.
type SiteKey []byte

// String redacts the key.
func (SiteKey) String() string { return "[site key]" }

// GoString redacts the key.
func (SiteKey) GoString() string { return "[site key]" }

// Format redacts the key whatever the verb is.
func (k SiteKey) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(k.String())) }

// MarshalText redacts the key.
func (SiteKey) MarshalText() ([]byte, error) { return []byte("[site key]"), nil }

// LogValue redacts the key.
func (k SiteKey) LogValue() slog.Value { return slog.StringValue(k.String()) }

// Password is what a host gave for the upgrade: 44 characters, used as they
// came. It is redacted wherever it is printed; convert it to a string to use it.
type Password string

// String redacts the password.
func (Password) String() string { return "[password]" }

// GoString redacts the password.
func (Password) GoString() string { return "[password]" }

// Format redacts the password whatever the verb is.
func (p Password) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(p.String())) }

// MarshalText redacts the password.
func (Password) MarshalText() ([]byte, error) { return []byte("[password]"), nil }

// LogValue redacts the password.
func (p Password) LogValue() slog.Value { return slog.StringValue(p.String()) }
