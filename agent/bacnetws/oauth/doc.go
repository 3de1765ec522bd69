// Package oauth makes the bearer tokens of this device and checks them
// (protocols/bacnet-ws.md, Authorization). It is the only mechanism for tokens:
// those of `gatehouse admin token` are made here, and those of the BACnet token
// endpoint will be.
//
// # Tokens
//
// A token is a JWT (RFC 7519) signed with ES256 by a key made on this device.
// Its claims are ver 1, iss "0" (this device), aud the device's UUID, iat, exp,
// sub (the name given by who made it, and `by` in events), jti (its id, no
// secret) and scope (names separated by spaces, RFC 6749 section 3.3). The
// algorithm is fixed: what the header asks for is never followed.
//
// A signature alone opens nothing. Every token has a record on disk with its id
// and its SHA-256, and a token without a record is refused. So a revocation
// cannot be forgotten by dropping a record, whatever the clock says, and a
// leaked signing key makes no token that passes. The number of records is
// bounded (MaxTokens).
//
// # Keys
//
// The first key is made with the first token. A key signs for 90 days of trusted
// time; then the next token makes a new one, and the old one checks until its
// last token has ended. RevokeAll drops all keys at once. Keys and records are one
// file, replaced in one step and readable by its owner only; it carries its own
// checksum, and one that fails it is a DamageError: nothing is believed of it.
//
// # Time
//
// The end of a token is judged against the latest of the clock, the last trusted
// time, and the trusted time seen by this process plus what elapsed since: a
// clock set back revives nothing. The beginning is judged by a trusted clock
// only (door.md, Untrusted clock). With Clock.Deny no token passes while the
// clock is not trusted. A board that starts without any clock again and again
// can stretch a token's life; revoke such a token.
//
// # Refusals
//
// Before the signature is proven a refusal says no more than the form of what
// was sent. After it, the bearer holds a token that this device made, and is
// told why it does not pass. Each refused use is counted and told to
// Options.Record, at most once a minute for a cause.
package oauth
