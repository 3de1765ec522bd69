package swordfish

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"time"
)

const (
	maxHexRun = 5       // hex digits in a row that may stay
	maxStars  = 32      // bytes that are shown as so many stars
	maxMasked = 4 << 10 // bytes of a text whose escapes are read
	maxDigits = 4       // of a number, and of a name in all
	maxCount  = 99_999  // the largest number in *(N); it has no more than maxHexRun digits
)

// rawText is the start of an entry that was not understood, which is JSON: the names
// of members, and of values what can be no card (see ReadUpload). It is cut between
// tokens to at most maxAuditRaw bytes, and is never empty.
func rawText(b []byte) string {
	strict := cardLike(b)
	var out strings.Builder
	for i := 0; i < len(b); {
		n, text := 1, ""
		switch c := b[i]; {
		case strings.IndexByte(space, c) >= 0:
		case strings.IndexByte("{}[],:", c) >= 0:
			text = string(c)
		case c == '"':
			n = quoted(b[i:])
			name := bytes.HasPrefix(bytes.TrimLeft(b[i+n:], space), []byte(":"))
			text = `"` + masked(textOf(b[i:i+n]), n-2, name, strict) + `"`
		default:
			for n < len(b)-i && strings.IndexByte(space+"{}[],:", b[i+n]) < 0 {
				n++
			}
			text = masked(string(b[i:i+min(n, maxMasked)]), n, false, strict)
		}
		if out.Len()+len(text) > maxAuditRaw {
			break
		}
		out.WriteString(text)
		i += n
	}
	return out.String()
}

// quoted is the length of the text in quotes that b begins with.
func quoted(b []byte) int {
	for i := 1; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(b)
}

// textOf is a text without its quotes and escapes; empty where it is too long to be
// shown or is none.
func textOf(b []byte) (s string) {
	if len(b) <= maxMasked && json.Unmarshal(b, &s) == nil {
		return s
	}
	return ""
}

// masked is a name or value as it may be kept. size counts where the text was not
// read, being too long.
func masked(s string, size int, name, strict bool) string {
	unread := s == "" && size > 0
	switch {
	case unread:
	case name && nameOnly(s, strict), !name && (word(s) || dayTime(s) || !strict && len(s) <= maxDigits && digits(s)):
		return s
	case size <= maxMasked:
		size = len(s)
	}
	switch {
	case size <= maxStars:
		return strings.Repeat("*", size)
	case size > maxCount:
		return "*(" + strconv.Itoa(maxCount) + "+)"
	}
	return "*(" + strconv.Itoa(size) + ")"
}

// word reports whether a text is of letters that are no hex number.
func word(s string) bool {
	return len(s) <= maxLockText && strings.Trim(s, letters) == "" && !hexRun(s)
}

// nameOnly reports whether a member's name can be no card: letters, few digits (where
// strict none) and what joins them.
func nameOnly(s string, strict bool) bool {
	n := 0
	for i := range len(s) {
		switch c := s[i]; {
		case c >= '0' && c <= '9':
			n++
		case strings.IndexByte(letters+"_-. ", c) < 0:
			return false
		}
	}
	return len(s) <= maxLockText && (n == 0 || !strict && n <= maxDigits) && !hexRun(s)
}

const space = " \t\r\n"

const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// dayTime reports whether a text is a time of 14 digits.
func dayTime(s string) bool {
	if len(s) != 14 || !digits(s) || s[:2] != "19" && s[:2] != "20" {
		return false
	}
	_, err := time.Parse("20060102150405", s)
	return err == nil
}

// hexRun reports whether more than maxHexRun hex digits stand in a row.
func hexRun(s string) bool {
	n := 0
	for i := range len(s) {
		if strings.IndexByte("0123456789ABCDEFabcdef", s[i]) < 0 {
			n = 0
		} else if n++; n > maxHexRun {
			return true
		}
	}
	return false
}

// cardLike finds the codes 1300 to 1304 in an entry that was not understood: in hex,
// as the decimal value of the code or of the whole event, as a number with a
// fraction, or behind an escape.
func cardLike(b []byte) bool {
	in := func(c, low, high byte) bool { return c >= low && c <= high }
	for i := range b {
		rest := b[i:]
		switch {
		case b[i] == '\\':
			return true
		case len(rest) >= 4 && (string(rest[:3]) == "130" && in(rest[3], '0', '4') || string(rest[:3]) == "486" && in(rest[3], '4', '8')):
			return true
		case len(rest) >= 9 && string(rest[:2]) == "31" && in(rest[2], '8', '9') && digits(string(rest[3:9])):
			return true
		case len(rest) >= 3 && in(rest[0], '0', '9') && rest[1] == '.' && in(rest[2], '0', '9'):
			return true
		}
	}
	return false
}
