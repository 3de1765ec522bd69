package hive

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Kind is what a Value is. The zero Kind is that of a member that is absent.
type Kind uint8

// The kinds.
const (
	Absent Kind = iota
	Null
	Bool
	Number
	String
	Array
	Object
)

var kindNames = []string{"absent", "null", "bool", "number", "string", "array", "object"}

// String returns the kind's name.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "kind(" + strconv.Itoa(int(k)) + ")"
}

// Value is one JSON value. The zero Value is an absent one.
type Value struct {
	kind  Kind
	truth bool
	bytes bool     // an array whose elements are the bytes of text
	text  string   // a string's content, a number as it was written
	raw   string   // the value as it was written; empty for a value made here
	in    *content // of an array or an object; nil when it is empty
}

// content is kept apart so that a Value stays small: most hold none.
type content struct {
	elems   []Value
	members []Member // sorted by name
}

// Member is one member of an object.
type Member struct {
	Name  string
	Value Value
	raw   string // the name as it was written, with its quotes
}

// Kind returns what v is.
func (v Value) Kind() Kind { return v.kind }

// Raw returns the text that v was parsed from, without space around it. It is
// empty for a value that was not parsed.
func (v Value) Raw() string { return v.raw }

// Elems returns the elements of an array, and nil for all else. The caller
// must not change it.
func (v Value) Elems() []Value {
	switch {
	case v.bytes:
		out := make([]Value, len(v.text))
		for i := range out {
			out[i] = Int(int64(v.text[i]))
			if v.raw != "" {
				out[i].raw = out[i].text // a number has one form only
			}
		}
		return out
	case v.in == nil:
		return nil
	}
	return v.in.elems
}

// Members returns the members of an object sorted by name, and nil for all
// else. The caller must not change it.
func (v Value) Members() []Member {
	if v.in == nil {
		return nil
	}
	return v.in.members
}

// Get returns the member of that name; an absent Value when there is none or v
// is not an object.
func (v Value) Get(name string) Value {
	ms := v.Members()
	lo, hi := 0, len(ms)
	for lo < hi {
		mid := (lo + hi) / 2
		switch c := cmp.Compare(ms[mid].Name, name); {
		case c == 0:
			return ms[mid].Value
		case c < 0:
			lo = mid + 1
		default:
			hi = mid
		}
	}
	return Value{}
}

// Present reports whether v is neither absent nor null, which Perl does not
// tell apart.
func (v Value) Present() bool { return v.kind > Null }

// Text returns v as the Perl server reads it as text: a string as it is, a
// number in its canonical form, true as "1" and false as "0". ok is false for
// anything else.
func (v Value) Text() (s string, ok bool) {
	switch v.kind {
	case String:
		return v.text, true
	case Number:
		return string(appendNumber(nil, v.text, false)), true
	case Bool:
		if v.truth {
			return "1", true
		}
		return "0", true
	case Absent, Null, Array, Object:
	}
	return "", false
}

// Int returns v as the Perl server reads it as an integer: a whole number, a
// text that is one, true as 1 and false as 0. ok is false for anything else,
// and for a number that is not whole or does not fit; nothing is rounded.
func (v Value) Int() (n int64, ok bool) {
	switch v.kind {
	case Bool:
		if v.truth {
			return 1, true
		}
		return 0, true
	case Number:
		return wholeNumber(v.text)
	case String:
		t := strings.Trim(v.text, " \t\r\n")
		t = strings.TrimPrefix(t, "+")
		if strings.HasPrefix(t, "+") || !isNumber(t) {
			return 0, false
		}
		return wholeNumber(t)
	case Absent, Null, Array, Object:
	}
	return 0, false
}

// Truth returns v as the Perl server reads it as a condition: false are an
// absent value, null, false, a zero number, and the texts "" and "0".
func (v Value) Truth() bool {
	switch v.kind {
	case Absent, Null:
		return false
	case Bool:
		return v.truth
	case String:
		return v.text != "" && v.text != "0"
	case Number:
		f, err := strconv.ParseFloat(v.text, 64)
		return err != nil || f != 0
	case Array, Object:
	}
	return true
}

// NumberText returns the text of a number, or of a string that is one, as it
// was written. ok is false for anything else.
func (v Value) NumberText() (s string, ok bool) {
	if v.kind == Number || v.kind == String && isNumber(v.text) {
		return v.text, true
	}
	return "", false
}

// wholeNumber reads the text of a JSON number as an integer. Texts with a point
// or an exponent count when they are exactly whole and within 2^53, where a
// float64 still holds every integer.
func wholeNumber(text string) (int64, bool) {
	if !hasFraction(text) {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return 0, false
		}
		return n, true
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || f != math.Trunc(f) || math.Abs(f) > 1<<53 {
		return 0, false
	}
	return int64(f), true
}

func hasFraction(number string) bool {
	for i := range len(number) {
		if c := number[i]; c == '.' || c|0x20 == 'e' {
			return true
		}
	}
	return false
}

// Text makes a string. It must be UTF-8; what is not is replaced by U+FFFD.
func Text(s string) Value { return Value{kind: String, text: strings.ToValidUTF8(s, "\uFFFD")} }

// Int makes a number.
func Int(n int64) Value { return Value{kind: Number, text: strconv.FormatInt(n, 10)} }

// Boolean makes true or false.
func Boolean(b bool) Value { return Value{kind: Bool, truth: b} }

// Nothing makes null.
func Nothing() Value { return Value{kind: Null} }

// List makes an array of the values, which it takes over.
func List(vs ...Value) Value { return Value{kind: Array, in: &content{elems: vs}} }

// Bytes makes an array of integers 0 to 255, as random is one.
func Bytes(b []byte) Value { return Value{kind: Array, bytes: true, text: string(b)} }

// Fields makes an object of the members, which it takes over and sorts. Of two
// with one name the last counts; an absent value leaves the member out.
func Fields(ms ...Member) Value {
	slices.SortStableFunc(ms, func(a, b Member) int { return cmp.Compare(a.Name, b.Name) })
	out := ms[:0]
	for i, m := range ms {
		if i+1 < len(ms) && ms[i+1].Name == m.Name || m.Value.kind == Absent {
			continue
		}
		out = append(out, m)
	}
	return Value{kind: Object, in: &content{members: out}}
}

// Field makes one member for Fields. The name must be ASCII.
func Field(name string, v Value) Member { return Member{Name: name, Value: v} }

// ASCII returns s as it may stand in a text of a reply (hive.md: "send ASCII"):
// every character outside U+0020 to U+007E becomes '?', and at most limit
// characters are kept.
func ASCII(s string, limit int) string {
	var b strings.Builder
	for _, r := range s {
		if limit--; limit < 0 {
			break
		}
		if r < 0x20 || r > 0x7E {
			r = '?'
		}
		b.WriteByte(byte(r))
	}
	return b.String()
}
