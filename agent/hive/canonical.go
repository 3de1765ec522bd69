package hive

import (
	"bytes"
	"math"
	"strconv"
	"unicode/utf8"
)

// form is one way of writing a value.
type form uint8

const (
	formPerl   form = iota // the Perl server's, UTF-8
	formLatin1             // the same, characters up to U+00FF as one byte
	formOwn                // the members' own text re-ordered
	formReply              // the Perl server's, but no number changes its value
)

// Canonical returns the canonical form of data as UTF-8: what the Perl server
// hashes after the key. Where data has characters from U+0080 to U+00FF that
// server hashes Latin-1 bytes instead; see Verify.
func Canonical(data Value) []byte { return appendData(nil, data, formPerl) }

// appendData writes data in a form. A number as data's own member operation is
// signed as text by the Perl server, which lower-cases it before it hashes.
func appendData(dst []byte, data Value, f form) []byte {
	if (f != formPerl && f != formLatin1) || data.Get("operation").kind != Number {
		return appendValue(dst, data, f)
	}
	members := append([]Member(nil), data.Members()...)
	for i, m := range members {
		if m.Name == "operation" {
			text, _ := m.Value.Text()
			members[i].Value = Value{kind: String, text: text}
		}
	}
	return appendValue(dst, Value{kind: Object, in: &content{members: members}}, f)
}

func appendValue(dst []byte, v Value, f form) []byte {
	switch v.kind {
	case Bool:
		return strconv.AppendBool(dst, v.truth)
	case Number:
		return appendNumberForm(dst, v, f)
	case String:
		if f == formOwn && v.raw != "" {
			return append(dst, v.raw...)
		}
		return appendString(dst, v.text, f)
	case Array:
		return appendArray(dst, v, f)
	case Object:
		return appendObject(dst, v, f)
	case Absent, Null:
	}
	return append(dst, "null"...)
}

func appendArray(dst []byte, v Value, f form) []byte {
	if v.bytes && v.raw != "" {
		return append(dst, v.raw...) // what is parsed so has its canonical form
	}
	dst = append(dst, '[')
	if v.bytes {
		for i := range len(v.text) {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = strconv.AppendUint(dst, uint64(v.text[i]), 10)
		}
		return append(dst, ']')
	}
	for i, e := range v.Elems() {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendValue(dst, e, f)
	}
	return append(dst, ']')
}

func appendObject(dst []byte, v Value, f form) []byte {
	dst = append(dst, '{')
	for i, m := range v.Members() {
		if i > 0 {
			dst = append(dst, ',')
		}
		if f == formOwn && m.raw != "" {
			dst = append(dst, m.raw...)
		} else {
			dst = appendString(dst, m.Name, f)
		}
		dst = append(dst, ':')
		dst = appendValue(dst, m.Value, f)
	}
	return append(dst, '}')
}

const lowerHex = "0123456789abcdef"

// appendString writes a string with the escapes of the canonical form.
func appendString(dst []byte, s string, f form) []byte {
	dst = append(dst, '"')
	plain := 0
	for plain < len(s) && s[plain] >= 0x20 && s[plain] < utf8.RuneSelf && s[plain] != '"' && s[plain] != '\\' {
		plain++
	}
	dst = append(dst, s[:plain]...) // most strings are done here
	for i := plain; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			if f == formLatin1 && r <= 0xFF {
				dst = append(dst, byte(r))
			} else {
				dst = append(dst, s[i:i+n]...)
			}
			i += n
			continue
		}
		i++
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c >= 0x20:
			dst = append(dst, c)
		case c == '\b':
			dst = append(dst, '\\', 'b')
		case c == '\f':
			dst = append(dst, '\\', 'f')
		case c == '\n':
			dst = append(dst, '\\', 'n')
		case c == '\r':
			dst = append(dst, '\\', 'r')
		case c == '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', lowerHex[c>>4], lowerHex[c&15])
		}
	}
	return append(dst, '"')
}

func appendNumberForm(dst []byte, v Value, f form) []byte {
	switch f {
	case formOwn:
		return append(dst, v.text...)
	case formReply:
		if !keepsValue(v.text) {
			return append(dst, v.text...)
		}
	case formPerl, formLatin1:
	}
	return appendNumber(dst, v.text, true)
}

// appendNumber writes a number as Perl does. An integer beyond 64 bits becomes
// a string, in quotes where quote is set. A number beyond a float64 has no form
// in Perl that could be relied on and stays as it was written.
func appendNumber(dst []byte, text string, quote bool) []byte {
	if hasFraction(text) {
		n, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsInf(n, 0) {
			return append(dst, text...)
		}
		return appendG15(dst, n)
	}
	switch {
	case text == "-0":
		return append(dst, '0')
	case fits64(text) || !quote:
		return append(dst, text...)
	}
	dst = append(dst, '"')
	dst = append(dst, text...)
	return append(dst, '"')
}

// appendG15 writes n as C's printf does with %.15g: no trailing zeros in the
// fraction, an exponent of at least two digits.
func appendG15(dst []byte, n float64) []byte {
	var buf [32]byte
	b := strconv.AppendFloat(buf[:0], n, 'g', 15, 64)
	mantissa, exponent := b, []byte(nil)
	if i := bytes.IndexByte(b, 'e'); i >= 0 {
		mantissa, exponent = b[:i], b[i:]
	}
	if bytes.IndexByte(mantissa, '.') >= 0 {
		mantissa = bytes.TrimRight(mantissa, "0")
		mantissa = bytes.TrimSuffix(mantissa, []byte("."))
	}
	dst = append(dst, mantissa...)
	return append(dst, exponent...)
}

// fits64 reports whether an integer fits 64 bits, signed or unsigned.
func fits64(text string) bool {
	if len(text) <= 18 {
		return true
	}
	if _, err := strconv.ParseInt(text, 10, 64); err == nil {
		return true
	}
	_, err := strconv.ParseUint(text, 10, 64)
	return err == nil
}

// keepsValue reports whether Perl's form of a number is still that number.
func keepsValue(text string) bool {
	if !hasFraction(text) {
		return fits64(text)
	}
	n, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return false
	}
	var buf [32]byte
	back, err := strconv.ParseFloat(string(appendG15(buf[:0], n)), 64)
	return err == nil && back == n
}
