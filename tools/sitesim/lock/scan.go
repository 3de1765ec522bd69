package lock

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// maxDepth is how deep a value that the lock does not look into may be nested.
const maxDepth = 16

// scanner reads JSON that has no white space between its tokens. The first fault
// stays; what is read after it is nothing.
type scanner struct {
	b     []byte
	i     int
	loose bool // members may stand in any order: the body was a Hive object
	path  []string
	index []int // beside path: the element, or -1
	err   *FileError
}

// fault keeps the first fault, with where it was.
func (s *scanner) fault(format string, args ...any) {
	if s.err != nil {
		return
	}
	var where strings.Builder
	for i, name := range s.path {
		if i > 0 {
			where.WriteByte('.')
		}
		where.WriteString(name)
		if s.index[i] >= 0 {
			fmt.Fprintf(&where, "[%d]", s.index[i])
		}
	}
	s.err = &FileError{Where: where.String(), What: fmt.Sprintf(format, args...)}
}

func (s *scanner) peek() byte {
	if s.i < len(s.b) {
		return s.b[s.i]
	}
	return 0
}

// take wants one character.
func (s *scanner) take(want byte) {
	if s.err != nil {
		return
	}
	switch c := s.peek(); {
	case c == want && s.i < len(s.b):
		s.i++
	case c == ' ' || c == '\n' || c == '\r' || c == '\t':
		s.fault("white space: a door file is minified")
	case s.i >= len(s.b):
		s.fault("ends where %q was wanted", want)
	default:
		s.fault("%q where %q was wanted", c, want)
	}
}

// object reads an object. names are its members in their order; a name that ends
// in "?" may be absent. member reads the value of one.
func (s *scanner) object(names []string, member func(name string)) {
	s.take('{')
	seen, last := 0, -1
	for first := true; s.err == nil && s.peek() != '}'; first = false {
		if !first {
			s.take(',')
		}
		name := s.text()
		s.take(':')
		if s.err != nil {
			return
		}
		at := -1
		for i, n := range names {
			if strings.TrimSuffix(n, "?") == name {
				at = i
			}
		}
		switch {
		case at < 0:
			s.fault("member %.32q is not known", name)
			return
		case seen&(1<<at) != 0:
			s.fault("member %q is there twice", name)
			return
		case at < last && !s.loose:
			s.fault("member %q is out of order: it stands after %q", name, strings.TrimSuffix(names[last], "?"))
			return
		}
		seen, last = seen|1<<at, at
		s.path, s.index = append(s.path, name), append(s.index, -1)
		member(name)
		s.path, s.index = s.path[:len(s.path)-1], s.index[:len(s.index)-1]
	}
	s.take('}')
	for i, n := range names {
		if s.err == nil && seen&(1<<i) == 0 && !strings.HasSuffix(n, "?") {
			s.fault("member %q is missing", n)
		}
	}
}

// list reads a list of at most limit elements.
func (s *scanner) list(limit int, element func()) {
	s.take('[')
	at := len(s.index) - 1
	n := 0
	for s.err == nil && s.peek() != ']' {
		if n > 0 {
			s.take(',')
		}
		if n == limit {
			s.fault("more than %d elements", limit)
			return
		}
		if at >= 0 {
			s.index[at] = n
		}
		element()
		n++
	}
	if at >= 0 && s.err == nil {
		s.index[at] = -1
	}
	s.take(']')
}

// text reads a string.
func (s *scanner) text() string {
	start := s.i
	s.take('"')
	if s.err != nil {
		return ""
	}
	for s.i < len(s.b) && s.b[s.i] != '"' {
		if s.b[s.i] == '\\' {
			s.i++
		}
		s.i++
	}
	s.take('"')
	if s.err != nil {
		return ""
	}
	raw := s.b[start:s.i]
	if strings.IndexByte(string(raw), '\\') < 0 {
		return string(raw[1 : len(raw)-1])
	}
	var out string
	if err := json.Unmarshal(raw, &out); err != nil {
		s.fault("a string that cannot be read")
	}
	return out
}

// integer reads a whole number written plainly.
func (s *scanner) integer(lo, hi int) int {
	if s.err != nil {
		return 0
	}
	start := s.i
	for s.i < len(s.b) && (s.b[s.i] >= '0' && s.b[s.i] <= '9' || strings.IndexByte("+-.eE", s.b[s.i]) >= 0) {
		s.i++
	}
	digits := string(s.b[start:s.i])
	n, err := strconv.Atoi(digits)
	switch {
	case digits == "":
		s.fault("want a number")
	case err != nil || strconv.Itoa(n) != digits:
		s.fault("%.24q is not a whole number", digits)
	case n < lo || n > hi:
		s.fault("%d: want %d to %d", n, lo, hi)
	default:
		return n
	}
	return 0
}

// raw reads one object that the lock does not look into, and returns its bytes.
func (s *scanner) raw() []byte {
	start := s.i
	if s.err == nil && s.peek() != '{' {
		s.fault("want an object")
	}
	depth := 0
	for s.err == nil {
		switch s.peek() {
		case '{', '[':
			if depth++; depth > maxDepth {
				s.fault("nested deeper than %d", maxDepth)
			}
			s.i++
		case '}', ']':
			depth--
			s.i++
		case '"':
			s.text()
		case ' ', '\n', '\r', '\t':
			s.take(0)
		default:
			if s.i >= len(s.b) {
				s.fault("ends too early")
				return nil
			}
			s.i++
		}
		if depth == 0 {
			return s.b[start:s.i]
		}
	}
	return nil
}
