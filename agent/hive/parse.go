package hive

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf16"
	"unicode/utf8"
)

// The bounds of a text (hive.md, Checks and reply members).
const (
	// MaxBytes is the longest text that is parsed.
	MaxBytes = 64 << 10
	// MaxDepth is how many objects and arrays may lie in each other.
	MaxDepth = 16
)

// Parse reads one JSON value and the space around it. An error is a
// *ParseError.
func Parse(b []byte) (Value, error) {
	if len(b) > MaxBytes {
		return Value{}, &ParseError{Err: ErrTooLarge, Offset: -1}
	}
	p, ok := parsers.Get().(*parser)
	if !ok {
		p = new(parser)
	}
	defer p.release()
	p.s = string(b)
	if !utf8.ValidString(p.s) {
		return Value{}, p.fail(ErrNotUTF8, firstInvalid(p.s))
	}
	p.space()
	v, err := p.value(0)
	if err != nil {
		return Value{}, err
	}
	if p.space(); p.i != len(p.s) {
		return Value{}, p.fail(ErrNotJSON, p.i)
	}
	return v, nil
}

func firstInvalid(s string) int {
	for i, r := range s {
		if r == utf8.RuneError && !strings.HasPrefix(s[i:], "\uFFFD") {
			return i
		}
	}
	return len(s)
}

// parser walks s, which is valid UTF-8; s[i] is next. One string is shared by
// all values, so that raw texts cost nothing. What an open array or object has
// so far lies on top of elems or members, and is copied when it is closed.
type parser struct {
	s       string
	i       int
	elems   []Value
	members []Member
	octets  []byte
}

// parsers keeps the stacks for the next text.
var parsers sync.Pool

// maxKept is the largest stack that is kept.
const maxKept = 256

// release forgets the text and gives the stacks back.
func (p *parser) release() {
	if cap(p.elems) > maxKept || cap(p.members) > maxKept || cap(p.octets) > maxKept {
		return
	}
	elems, members := p.elems[:cap(p.elems)], p.members[:cap(p.members)]
	clear(elems)
	clear(members)
	*p = parser{elems: elems[:0], members: members[:0], octets: p.octets[:0]}
	parsers.Put(p)
}

func (p *parser) fail(err error, at int) error { return &ParseError{Err: err, Offset: at} }

func (p *parser) space() {
	for p.i < len(p.s) {
		switch p.s[p.i] {
		case ' ', '\t', '\n', '\r':
			p.i++
		default:
			return
		}
	}
}

// peek returns the next byte, 0 at the end (a NUL is no JSON token either).
func (p *parser) peek() byte {
	if p.i < len(p.s) {
		return p.s[p.i]
	}
	return 0
}

// value reads one value; depth containers are open around it.
func (p *parser) value(depth int) (v Value, err error) {
	start := p.i
	switch c := p.peek(); {
	case c == '{' || c == '[':
		if depth == MaxDepth {
			return Value{}, p.fail(ErrTooDeep, p.i)
		}
		if c == '{' {
			v, err = p.object(depth + 1)
		} else {
			v, err = p.array(depth + 1)
		}
	case c == '"':
		v.kind = String
		v.text, err = p.str()
	case c == '-' || c >= '0' && c <= '9':
		n := numberLen(p.s[p.i:])
		if n == 0 {
			return Value{}, p.fail(ErrNotJSON, p.i)
		}
		v.kind, v.text = Number, p.s[p.i:p.i+n]
		p.i += n
	default:
		v, err = p.word()
	}
	if err != nil {
		return Value{}, err
	}
	v.raw = p.s[start:p.i]
	return v, nil
}

func (p *parser) word() (Value, error) {
	for _, w := range []struct {
		text string
		v    Value
	}{{"true", Value{kind: Bool, truth: true}}, {"false", Value{kind: Bool}}, {"null", Value{kind: Null}}} {
		if strings.HasPrefix(p.s[p.i:], w.text) {
			p.i += len(w.text)
			return w.v, nil
		}
	}
	return Value{}, p.fail(ErrNotJSON, p.i)
}

func (p *parser) array(depth int) (Value, error) {
	v := Value{kind: Array}
	p.i++
	if p.space(); p.peek() == ']' {
		p.i++
		return v, nil
	}
	if p.s[p.i-1] == '[' && p.small() {
		return Value{kind: Array, bytes: true, text: string(p.octets)}, nil
	}
	first := len(p.elems)
	for {
		p.space()
		e, err := p.value(depth)
		if err != nil {
			return Value{}, err
		}
		p.elems = append(p.elems, e)
		p.space()
		switch p.peek() {
		case ',':
			p.i++
		case ']':
			p.i++
			v.in = &content{elems: slices.Clone(p.elems[first:])}
			p.elems = p.elems[:first]
			return v, nil
		default:
			return Value{}, p.fail(ErrNotJSON, p.i)
		}
	}
}

// small reads the rest of an array of integers 0 to 255 without space between
// them into octets: random and random_response are such, and longer than all
// else of a request. It reads nothing when the array is another.
func (p *parser) small() bool {
	p.octets = p.octets[:0]
	for i := p.i; i < len(p.s); i++ { // s[i] begins a number
		n, start := 0, i
		for ; i < len(p.s) && p.s[i] >= '0' && p.s[i] <= '9' && i-start < 3; i++ {
			n = n*10 + int(p.s[i]-'0')
		}
		if i == start || i == len(p.s) || n > 255 || p.s[start] == '0' && i-start > 1 {
			return false
		}
		p.octets = append(p.octets, byte(n))
		switch p.s[i] {
		case ']':
			p.i = i + 1
			return true
		case ',':
		default:
			return false
		}
	}
	return false
}

func (p *parser) object(depth int) (Value, error) {
	v := Value{kind: Object}
	start, first := p.i, len(p.members)
	p.i++
	if p.space(); p.peek() == '}' {
		p.i++
		return v, nil
	}
	for {
		m, err := p.member(depth)
		if err != nil {
			return Value{}, err
		}
		p.members = append(p.members, m)
		p.space()
		switch p.peek() {
		case ',':
			p.i++
			continue
		case '}':
			p.i++
		default:
			return Value{}, p.fail(ErrNotJSON, p.i)
		}
		break
	}
	ms := slices.Clone(p.members[first:])
	p.members = p.members[:first]
	slices.SortFunc(ms, func(a, b Member) int { return cmp.Compare(a.Name, b.Name) })
	for i := 1; i < len(ms); i++ {
		if ms[i].Name == ms[i-1].Name {
			return Value{}, p.fail(ErrDuplicate, start)
		}
	}
	v.in = &content{members: ms}
	return v, nil
}

func (p *parser) member(depth int) (m Member, err error) {
	p.space()
	start := p.i
	if p.peek() != '"' {
		return m, p.fail(ErrNotJSON, p.i)
	}
	if m.Name, err = p.str(); err != nil {
		return m, err
	}
	m.raw = p.s[start:p.i]
	p.space()
	if p.peek() != ':' {
		return m, p.fail(ErrNotJSON, p.i)
	}
	p.i++
	p.space()
	m.Value, err = p.value(depth)
	return m, err
}

// str reads a string from its opening quote on.
func (p *parser) str() (string, error) {
	p.i++
	start := p.i
	for p.i < len(p.s) { // most strings hold no escape and need no copy
		switch c := p.s[p.i]; {
		case c == '"':
			p.i++
			return p.s[start : p.i-1], nil
		case c == '\\':
			return p.escaped(start)
		case c < 0x20:
			return "", p.fail(ErrNotJSON, p.i)
		}
		p.i++
	}
	return "", p.fail(ErrNotJSON, p.i)
}

// escaped goes on with a string whose content begins at start, from its first
// backslash on.
func (p *parser) escaped(start int) (string, error) {
	out := []byte(p.s[start:p.i])
	for p.i < len(p.s) {
		switch c := p.s[p.i]; {
		case c == '"':
			p.i++
			return string(out), nil
		case c < 0x20:
			return "", p.fail(ErrNotJSON, p.i)
		case c != '\\':
			out = append(out, c)
			p.i++
		default:
			r, err := p.escape()
			if err != nil {
				return "", err
			}
			out = utf8.AppendRune(out, r)
		}
	}
	return "", p.fail(ErrNotJSON, p.i)
}

// escape reads one escape from its backslash on; a surrogate pair is one.
func (p *parser) escape() (rune, error) {
	at := p.i
	p.i++
	c := p.peek()
	p.i++
	if c != 'u' {
		if i := strings.IndexByte(`"\/bfnrt`, c); c != 0 && i >= 0 {
			return rune("\"\\/\b\f\n\r\t"[i]), nil
		}
		return 0, p.fail(ErrNotJSON, at)
	}
	r, ok := p.hex4()
	if !ok {
		return 0, p.fail(ErrNotJSON, at)
	}
	if !utf16.IsSurrogate(r) {
		return r, nil
	}
	if strings.HasPrefix(p.s[p.i:], `\u`) {
		p.i += 2
		low, ok := p.hex4()
		if !ok {
			return 0, p.fail(ErrNotJSON, at)
		}
		if r = utf16.DecodeRune(r, low); r != utf8.RuneError {
			return r, nil
		}
	}
	return 0, p.fail(ErrSurrogate, at)
}

func (p *parser) hex4() (rune, bool) {
	if p.i+4 > len(p.s) {
		return 0, false
	}
	n, err := strconv.ParseUint(p.s[p.i:p.i+4], 16, 16)
	if err != nil {
		return 0, false
	}
	p.i += 4
	return rune(n), true
}

// numberLen returns the length of the JSON number that s begins with, or 0.
func numberLen(s string) int {
	digits := func(i int) int {
		for i < len(s) && s[i] >= '0' && s[i] <= '9' {
			i++
		}
		return i
	}
	i := 0
	if i < len(s) && s[i] == '-' {
		i++
	}
	first := i
	if i = digits(i); i == first || i-first > 1 && s[first] == '0' {
		return 0
	}
	if i < len(s) && s[i] == '.' {
		j := digits(i + 1)
		if j == i+1 {
			return 0
		}
		i = j
	}
	if i < len(s) && (s[i] == 'e' || s[i] == 'E') {
		j := i + 1
		if j < len(s) && (s[j] == '+' || s[j] == '-') {
			j++
		}
		k := digits(j)
		if k == j {
			return 0
		}
		i = k
	}
	return i
}

// isNumber reports whether all of s is a JSON number.
func isNumber(s string) bool { return s != "" && numberLen(s) == len(s) }
