// Package hive is the codec of the Hive protocol's checksummed JSON
// (protocols/hive.md): a bounded parser that keeps what was written, the
// canonical form that is hashed, the checksum, and the encoder of envelopes.
//
// It is pure: no I/O, no clock, no state. Every function may be called from
// any goroutine; a Value is immutable and refers to the bytes it was parsed
// from, so the caller must not change those while the Value is in use.
//
// # Format
//
//	{"device": NAME, "data": {…}, "checksum": HEX}
//
// checksum is the hex of SHA-512 over the key's bytes and the canonical JSON
// of data. The canonical form is the Perl server's:
//
//   - members sorted by code point at every level, arrays in order, no space
//   - \" \\ \b \f \n \r \t are escaped, other controls are \u00xx in
//     lower-case hex; all else stands as it is
//   - integers that fit 64 bits, signed or unsigned, as they are; -0 is 0;
//     larger ones become strings
//   - numbers with a point or an exponent as C's %.15g
//   - data's own member operation is text even where a number was given
//
// A checksum is right when it is that of the canonical form, with U+0080 to
// U+00FF as UTF-8 or (where nothing lies above U+00FF) as one Latin-1 byte, or
// of the members' own text re-ordered: sorted and without space between the
// tokens, each string and number as it was written. See Verify.
//
// # Limits
//
// A text is at most MaxBytes long and MaxDepth containers deep; the envelope
// itself is the first of them. Duplicate members, invalid UTF-8 and lone
// surrogates are refused. Numbers keep their text and are never rounded.
package hive
