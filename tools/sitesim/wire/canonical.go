package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Canonical returns what the checksum of a data value is made over: members
// sorted by code point, no white space, the escapes and numbers of the Perl
// server (hive.md). Text above ASCII stays UTF-8. It refuses an object that has a
// member twice, what is deeper than Depth, and what is no JSON.
func Canonical(raw []byte) ([]byte, error) {
	if !utf8.Valid(raw) {
		return nil, errors.New("not UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	out, err := appendValue(nil, dec, 0, false)
	if err != nil {
		return nil, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one value")
	}
	return out, nil
}

// appendValue appends the decoder's next value. asText writes a number as a
// string.
func appendValue(dst []byte, dec *json.Decoder, depth int, asText bool) ([]byte, error) {
	if depth > Depth {
		return nil, fmt.Errorf("deeper than %d levels", Depth)
	}
	t, err := dec.Token()
	if err != nil {
		return nil, err
	}
	switch v := t.(type) {
	case json.Delim:
		if v == '{' {
			return appendObject(dst, dec, depth)
		}
		return appendList(dst, dec, depth)
	case string:
		return appendText(dst, v), nil
	case json.Number:
		if asText {
			return appendText(dst, v.String()), nil
		}
		return appendNumber(dst, v.String())
	case bool:
		return strconv.AppendBool(dst, v), nil
	}
	return append(dst, "null"...), nil
}

func appendList(dst []byte, dec *json.Decoder, depth int) ([]byte, error) {
	dst = append(dst, '[')
	for first := true; dec.More(); first = false {
		if !first {
			dst = append(dst, ',')
		}
		var err error
		if dst, err = appendValue(dst, dec, depth+1, false); err != nil {
			return nil, err
		}
	}
	_, err := dec.Token()
	return append(dst, ']'), err
}

func appendObject(dst []byte, dec *json.Decoder, depth int) ([]byte, error) {
	members := map[string][]byte{}
	var names []string
	for dec.More() {
		t, err := dec.Token()
		if err != nil {
			return nil, err
		}
		name, _ := t.(string)
		if _, twice := members[name]; twice {
			return nil, fmt.Errorf("member %q twice", name)
		}
		value, err := appendValue(nil, dec, depth+1, depth == 0 && name == "operation")
		if err != nil {
			return nil, err
		}
		members[name] = value
		names = append(names, name)
	}
	if _, err := dec.Token(); err != nil {
		return nil, err
	}
	sort.Strings(names) // bytes of UTF-8 sort as code points
	dst = append(dst, '{')
	for i, name := range names {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(appendText(dst, name), ':')
		dst = append(dst, members[name]...)
	}
	return append(dst, '}'), nil
}

// appendNumber writes a number as Perl does.
func appendNumber(dst []byte, s string) ([]byte, error) {
	if !strings.ContainsAny(s, ".eE") {
		if n, err := strconv.ParseInt(s, 10, 64); err == nil {
			return strconv.AppendInt(dst, n, 10), nil
		}
		if _, err := strconv.ParseUint(s, 10, 64); err == nil {
			return append(dst, s...), nil
		}
		return appendText(dst, s), nil
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return nil, fmt.Errorf("number %.24s: %w", s, err)
	}
	return append(dst, formatG(f)...), nil
}

// formatG is C's %.15g.
func formatG(f float64) string {
	s := strconv.FormatFloat(f, 'e', 14, 64)
	mantissa, exponent, _ := strings.Cut(s, "e")
	x, err := strconv.Atoi(exponent)
	if err != nil {
		return s
	}
	trim := func(m string) string {
		if strings.Contains(m, ".") {
			m = strings.TrimRight(strings.TrimRight(m, "0"), ".")
		}
		return m
	}
	if x < -4 || x >= 15 {
		sign := "+"
		if x < 0 {
			sign, x = "-", -x
		}
		return fmt.Sprintf("%se%s%02d", trim(mantissa), sign, x)
	}
	return trim(strconv.FormatFloat(f, 'f', 14-x, 64))
}

// appendText writes a string with the escapes of the Perl server.
func appendText(dst []byte, s string) []byte {
	const digits = "0123456789abcdef"
	short := map[byte]byte{'"': '"', '\\': '\\', '\b': 'b', '\f': 'f', '\n': 'n', '\r': 'r', '\t': 't'}
	dst = append(dst, '"')
	for i := range len(s) {
		c := s[i]
		e, ok := short[c]
		switch {
		case ok:
			dst = append(dst, '\\', e)
		case c < ' ':
			dst = append(dst, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, '"')
}
