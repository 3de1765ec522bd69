package hive

import (
	"bytes"
	"crypto/sha512"
	"encoding/hex"
	"strings"
	"unicode/utf8"

	"gatehouse/agent/site"
)

// Envelope is a message that was parsed; nothing in it has been verified yet.
type Envelope struct {
	Device   site.DeviceName
	Data     Value // an object
	Checksum string
}

// ParseRequest reads a request. All three members must be there; others are
// ignored. When data or checksum is at fault the Device is returned with the
// error, so that a serial line can tell whom to answer. An error is a
// *ParseError.
func ParseRequest(b []byte) (Envelope, error) { return parseEnvelope(b, true) }

// ParseReply reads a reply, which may lack the device (hive.md, Envelope: the
// server of Hive13 leaves it out).
func ParseReply(b []byte) (Envelope, error) { return parseEnvelope(b, false) }

func parseEnvelope(b []byte, needDevice bool) (Envelope, error) {
	v, err := Parse(b)
	if err != nil {
		return Envelope{}, err
	}
	fault := func(err error) error { return &ParseError{Err: err, Offset: -1} }
	if v.kind != Object {
		return Envelope{}, fault(ErrNotObject)
	}
	device := v.Get("device")
	if device.kind != String && (needDevice || device.kind != Absent) {
		return Envelope{}, fault(ErrDevice)
	}
	e := Envelope{Device: site.DeviceName(device.text)}
	checksum := v.Get("checksum")
	if checksum.kind != String {
		return e, fault(ErrChecksum)
	}
	e.Checksum = checksum.text
	if e.Data = v.Get("data"); e.Data.kind != Object {
		return e, fault(ErrData)
	}
	return e, nil
}

// Checksum returns the upper-case hex SHA-512 of the key and the canonical
// bytes.
func Checksum(key, canonical []byte) string {
	sum := sumOf(key, canonical)
	return strings.ToUpper(hex.EncodeToString(sum[:]))
}

// Verify reports whether checksum is right for data under key: hex in any
// case, of the canonical form in UTF-8 or Latin-1, or of the members' own text
// re-ordered (hive.md, Envelope). Which forms are tried depends on data alone,
// each is tried to the end, and sums are compared in constant time.
func Verify(key []byte, data Value, checksum string) bool {
	got, ok := decodeSum(checksum)
	w := works.get()
	defer works.put(w)
	w.buf = appendData(w.buf, data, formPerl)
	right := w.sumEqual(key, w.buf, got)
	perl := len(w.buf)
	try := func(f form) {
		w.buf = appendData(w.buf[:perl], data, f)
		if alt := w.buf[perl:]; !bytes.Equal(alt, w.buf[:perl]) {
			right |= w.sumEqual(key, alt, got)
		}
	}
	if high, wide := charsOf(w.buf[:perl]); high && !wide {
		try(formLatin1)
	}
	if string(w.buf[:perl]) != data.raw { // else it was written in that form
		try(formOwn)
	}
	return ok && right == 1
}

// VerifyReply reports whether the checksum of a reply is right: data arrives
// canonical and is hashed as it arrived.
func (e Envelope) VerifyReply(key []byte) bool {
	got, ok := decodeSum(e.Checksum)
	w := works.get()
	defer works.put(w)
	w.buf = append(w.buf, e.Data.raw...)
	return w.sumEqual(key, w.buf, got) == 1 && ok
}

// decodeSum reads a checksum. One of a wrong form is compared all the same, as
// zeros.
func decodeSum(s string) (sum [sha512.Size]byte, ok bool) {
	if len(s) != 2*sha512.Size {
		return sum, false
	}
	_, err := hex.Decode(sum[:], []byte(s))
	return sum, err == nil
}

// charsOf reports whether UTF-8 text has characters from U+0080 to U+00FF, and
// any above.
func charsOf(b []byte) (high, wide bool) {
	for _, c := range b {
		switch {
		case c < utf8.RuneSelf:
		case c >= 0xC4: // the first byte of U+0100 and above
			return true, true
		default:
			high = true
		}
	}
	return high, false
}

// Encode returns an envelope with data in canonical form and its checksum, in
// one line without its end. Numbers that Perl's form would change (beyond 64
// bits, more than 15 digits) stand as they were written, so that what is copied
// from a request keeps its value; the checksum is that of the bytes sent. An
// empty device is left out.
func Encode(key []byte, device site.DeviceName, data Value) []byte {
	return AppendEncode(make([]byte, 0, 768), key, device, data)
}

// AppendEncode appends what Encode returns.
func AppendEncode(dst, key []byte, device site.DeviceName, data Value) []byte {
	const head, middle = `{"checksum":"`, `","data":`
	dst = append(dst, head...)
	sumAt := len(dst)
	dst = append(dst, zeroSum...)
	dst = append(dst, middle...)
	at := len(dst)
	dst = appendData(dst, data, formReply)
	sum := sumOf(key, dst[at:])
	for i, c := range sum {
		dst[sumAt+2*i], dst[sumAt+2*i+1] = upperHex[c>>4], upperHex[c&15]
	}
	if device != "" {
		dst = append(dst, `,"device":`...)
		dst = appendString(dst, strings.ToValidUTF8(string(device), "?"), formPerl)
	}
	return append(dst, '}')
}

// zeroSum holds the place of a checksum.
var zeroSum = make([]byte, 2*sha512.Size)

const upperHex = "0123456789ABCDEF"

// EncodePlain returns data alone, in canonical form in one line without its
// end: the form of the few unsigned replies.
func EncodePlain(data Value) []byte { return appendData(nil, data, formReply) }
