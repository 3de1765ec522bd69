// Package certs fetches and pins the root certificate of the IP host
// (protocols/engage.md, section 4).
//
// The CA server is asked over plain HTTP; what it names is believed because the
// certificate file carries an HMAC-SHA1 under the site key. So a stranger on
// the way can stop a fetch and can replay a root that the site once had, and
// nothing else. A root that fails the check, does not parse, or has expired
// while the pinned one has not, changes nothing: the pinned one stays.
//
// # Use
//
// Load reads what is pinned and touches no network. Refresh fetches; the
// caller decides when (first commissioning, a TLS validation failure, a
// command, after a factory reset; never at the 24-hour renewal). Current gives
// the pool that the uplink trusts, and nothing else, until the next Refresh.
//
// # Limits
//
// An answer is at most 16 KiB, a certificate file at most 64 KiB and 16
// certificates, a fetch at most 30 s. Redirects are not followed: the error
// names the target. The pinned file is the DER as it came, mode 0600, replaced
// whole and flushed; its modification time is when it came. One that does not
// parse is set aside as FILE.damaged and counts as none.
//
// All methods may be called from any goroutine. The package imports nothing of
// ours.
package certs
