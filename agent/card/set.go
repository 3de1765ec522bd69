package card

import (
	"fmt"
	"strconv"
)

// Set is the card formats that a site knows. A nil Set knows none.
type Set struct {
	formats []Format
	byName  map[string]int
}

// Match is one reading of a frame.
type Match struct {
	Format Format
	Number Number
}

// standard is the set with serial numbers most significant byte first.
var standard = func() *Set {
	s, err := NewSet(MSBFirst)
	if err != nil {
		panic(err) // a fault of the table below, found by any test
	}
	return s
}()

// Standard returns the formats of the Wiegand table (protocols/wiegand.md),
// serial numbers most significant byte first.
func Standard() *Set { return standard }

// NewSet returns the formats of the Wiegand table, those of card serial numbers
// in the given byte order, and then the site's own. Each name may come once; a
// site cannot redefine a standard one.
func NewSet(serials ByteOrder, custom ...Format) (*Set, error) {
	s := &Set{byName: make(map[string]int)}
	for _, spec := range standardSpecs(serials) {
		f, err := NewFormat(spec)
		if err != nil {
			return nil, err
		}
		if err := s.add(f); err != nil {
			return nil, err
		}
	}
	for _, f := range custom {
		if err := s.add(f); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (s *Set) add(f Format) error {
	if f.Bits() == 0 {
		return fmt.Errorf("card formats: a format was not made by NewFormat: %w", ErrFormat)
	}
	if _, twice := s.byName[f.Name()]; twice {
		return fmt.Errorf("card formats: %s: the name is taken: %w", f.Name(), ErrFormat)
	}
	s.byName[f.Name()] = len(s.formats)
	s.formats = append(s.formats, f)
	return nil
}

// ByName returns the format of that name; case matters.
func (s *Set) ByName(name string) (Format, bool) {
	if s == nil {
		return Format{}, false
	}
	i, ok := s.byName[name]
	if !ok {
		return Format{}, false
	}
	return s.formats[i], true
}

// Formats returns all formats: the standard ones in the order of the table, then
// the site's own in theirs. The slice is the caller's.
func (s *Set) Formats() []Format {
	if s == nil {
		return nil
	}
	return append([]Format(nil), s.formats...)
}

// Accepts reports whether length and parity of b are right for some format.
func (s *Set) Accepts(b Bits) bool {
	if s == nil {
		return false
	}
	for i := range s.formats {
		if s.formats[i].Accepts(b) {
			return true
		}
	}
	return false
}

// Decode returns every reading of b, in the order of Formats. It is for display:
// a card is its bits, and the decision does not ask which number they mean.
func (s *Set) Decode(b Bits) []Match {
	if s == nil {
		return nil
	}
	var out []Match
	for _, f := range s.formats {
		if n, ok := f.Decode(b); ok {
			out = append(out, Match{f, n})
		}
	}
	return out
}

// h10301 is the format of Hive badges.
var h10301, _ = standard.ByName("H10301")

// standardSpecs is the Wiegand table (protocols/wiegand.md) as data.
func standardSpecs(serials ByteOrder) []FormatSpec {
	even := func(bit int, covers []int) Parity { return Parity{Bit: bit, Covers: covers} }
	odd := func(bit int, covers []int) Parity { return Parity{Bit: bit, Odd: true, Covers: covers} }
	specs := []FormatSpec{
		{Name: "H10301", Bits: 26, Facility: Field{1, 8}, Card: Field{9, 16},
			Parities: []Parity{even(0, span(1, 12)), odd(25, span(13, 24))}},
		{Name: "D10202", Bits: 33, Facility: Field{1, 7}, Card: Field{8, 24},
			Parities: []Parity{even(0, span(1, 16)), odd(32, span(16, 31))}},
		{Name: "H10306", Bits: 34, Facility: Field{1, 16}, Card: Field{17, 16},
			Parities: []Parity{even(0, span(1, 16)), odd(33, span(17, 32))}},
		{Name: "C1K35S", Bits: 35, Facility: Field{2, 12}, Card: Field{14, 20},
			Parities: []Parity{
				even(1, []int{2, 3, 5, 6, 8, 9, 11, 12, 14, 15, 17, 18, 20, 21, 23, 24, 26, 27, 29, 30, 32, 33}),
				odd(34, []int{1, 2, 4, 5, 7, 8, 10, 11, 13, 14, 16, 17, 19, 20, 22, 23, 25, 26, 28, 29, 31, 32}),
				odd(0, span(1, 34)),
			}},
		{Name: "S12906", Bits: 36, Facility: Field{1, 8}, Issue: Field{9, 2}, Card: Field{11, 24},
			Parities: []Parity{odd(0, span(1, 17)), odd(35, span(17, 34))}},
		{Name: "H10302", Bits: 37, Card: Field{1, 35},
			Parities: []Parity{even(0, span(1, 18)), odd(36, span(18, 35))}},
		{Name: "H10304", Bits: 37, Facility: Field{1, 16}, Card: Field{17, 19},
			Parities: []Parity{even(0, span(1, 18)), odd(36, span(18, 35))}},
		{Name: "C1K48S", Bits: 48, Facility: Field{2, 22}, Card: Field{24, 23},
			Parities: []Parity{
				even(1, []int{3, 4, 6, 7, 9, 10, 12, 13, 15, 16, 18, 19, 21, 22, 24, 25, 27, 28, 30, 31, 33, 34, 36, 37, 39, 40, 42, 43, 45, 46}),
				odd(47, []int{2, 3, 5, 6, 8, 9, 11, 12, 14, 15, 17, 18, 20, 21, 23, 24, 26, 27, 29, 30, 32, 33, 35, 36, 38, 39, 41, 42, 44, 45}),
				odd(0, span(1, 47)),
			}},
	}
	for _, n := range []int{32, 56, 64} {
		specs = append(specs, FormatSpec{Name: "CSN" + strconv.Itoa(n), Bits: n, Card: Field{0, n}, Order: serials})
	}
	return specs
}

// span returns the bits from first to last, both included.
func span(first, last int) []int {
	out := make([]int, 0, last-first+1)
	for i := first; i <= last; i++ {
		out = append(out, i)
	}
	return out
}
