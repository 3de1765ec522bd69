package card

import (
	"fmt"
	"math/bits"
	"slices"

	"gatehouse/agent/site"
)

// Field is a run of bits that hold a number, most significant first. A zero Len
// means that the format does not have it.
type Field struct {
	Offset int // the first bit
	Len    int // 1 to 64 bits
}

// end returns the bit after the field.
func (f Field) end() int { return f.Offset + f.Len }

// Parity is one parity bit. With the bits that it covers it makes an even or an
// odd number of ones. It may cover other parity bits.
type Parity struct {
	Bit    int
	Odd    bool
	Covers []int
}

// ByteOrder is the order in which a card number's bytes stand on the wire.
type ByteOrder uint8

// The byte orders.
const (
	MSBFirst ByteOrder = iota // most significant byte first: the usual one
	LSBFirst                  // least significant byte first: some serial-number readers
)

// String returns the order's name.
func (o ByteOrder) String() string {
	switch o {
	case MSBFirst:
		return "msb"
	case LSBFirst:
		return "lsb"
	}
	return fmt.Sprintf("byteorder(%d)", uint8(o))
}

// FormatSpec describes a card format. It is what the settings of a site fill for
// a format of its own.
type FormatSpec struct {
	Name     string // an identifier (site.CheckID), not "raw"
	Bits     int    // length of the frame, 1 to 128
	Facility Field  // optional
	Issue    Field  // issue level, optional
	Card     Field
	Order    ByteOrder // of Card; LSBFirst wants whole bytes
	Parities []Parity
	// Ones are the bits that are always 1. All other bits that are in no field
	// and are no parity bit are always 0.
	Ones []int
}

// Format is one valid card format. The zero value has no bits and fits nothing.
type Format struct {
	spec     FormatSpec
	parities []parity // in the order of computing: after all that they cover
	fixed    mask     // the bits outside of fields and parities
	ones     mask     // those of them that are 1
}

// mask is a set of bits of a frame of up to 128.
type mask [MaxBlockBits / 64]uint64

func (m mask) has(i int) bool { return m[i/64]>>(63-i%64)&1 == 1 }
func (m *mask) add(i int)     { m[i/64] |= 1 << (63 - i%64) }

// parity is a Parity ready for use.
type parity struct {
	bit    int
	odd    bool
	covers mask
}

// right reports whether the parity holds in b.
func (p parity) right(b Bits) bool {
	ones := bits.OnesCount64(b.w[0]&p.covers[0]) + bits.OnesCount64(b.w[1]&p.covers[1])
	if b.Bit(p.bit) {
		ones++
	}
	return (ones%2 == 1) == p.odd
}

// NewFormat checks spec and makes a format of it; it copies what it keeps. The
// error wraps ErrFormat and says which part is wrong and why.
func NewFormat(spec FormatSpec) (Format, error) {
	fail := func(what string, args ...any) (Format, error) {
		return Format{}, fmt.Errorf("card format %.64q: %s: %w", spec.Name, fmt.Sprintf(what, args...), ErrFormat)
	}
	if err := site.CheckID(spec.Name); err != nil {
		return fail("%v", err)
	}
	if spec.Name == "raw" {
		return fail("the name means bits without a format")
	}
	if spec.Bits < 1 || spec.Bits > MaxBlockBits {
		return fail("length %d: want 1 to %d", spec.Bits, MaxBlockBits)
	}
	f := Format{spec: spec.clone()}
	if err := f.layOut(); err != nil {
		return fail("%v", err)
	}
	if err := f.orderParities(); err != nil {
		return fail("%v", err)
	}
	return f, nil
}

// clone copies the slices too.
func (s FormatSpec) clone() FormatSpec {
	s.Ones = slices.Clone(s.Ones)
	s.Parities = slices.Clone(s.Parities)
	for i := range s.Parities {
		s.Parities[i].Covers = slices.Clone(s.Parities[i].Covers)
	}
	return s
}

// layOut gives each bit to the one part that owns it.
func (f *Format) layOut() error {
	s := &f.spec
	switch {
	case s.Card.Len == 0:
		return fmt.Errorf("there is no card field")
	case s.Order > LSBFirst:
		return fmt.Errorf("byte order %v is not known", s.Order)
	case s.Order == LSBFirst && s.Card.Len%8 != 0:
		return fmt.Errorf("card field of %d bits: byte order lsb wants whole bytes", s.Card.Len)
	}
	o := make(owners, s.Bits)
	if err := o.field("facility field", s.Facility); err != nil {
		return err
	}
	if err := o.field("issue field", s.Issue); err != nil {
		return err
	}
	if err := o.field("card field", s.Card); err != nil {
		return err
	}
	for _, p := range s.Parities {
		if err := o.bit("a parity", p.Bit); err != nil {
			return err
		}
	}
	for _, i := range s.Ones {
		if err := o.bit("a constant 1", i); err != nil {
			return err
		}
		f.ones.add(i)
		f.fixed.add(i)
	}
	for i, part := range o {
		if part == "" {
			f.fixed.add(i)
		}
	}
	return nil
}

// owners names the part of a format that has each bit.
type owners []string

func (o owners) bit(part string, i int) error {
	if i < 0 || i >= len(o) {
		return fmt.Errorf("%s: bit %d: want 0 to %d", part, i, len(o)-1)
	}
	if o[i] != "" {
		return fmt.Errorf("%s: bit %d belongs to %s", part, i, o[i])
	}
	o[i] = part
	return nil
}

func (o owners) field(part string, f Field) error {
	if f.Len < 0 || f.Len > 64 {
		return fmt.Errorf("%s: %d bits: want 1 to 64", part, f.Len)
	}
	if f.Len == 0 && f.Offset != 0 {
		return fmt.Errorf("%s: has an offset and no length", part)
	}
	for i := range f.Len {
		if err := o.bit(part, f.Offset+i); err != nil {
			return err
		}
	}
	return nil
}

// orderParities checks what each parity covers and sorts them so that each comes
// after all parity bits that it covers.
func (f *Format) orderParities() error {
	waiting := make([]parity, 0, len(f.spec.Parities))
	var open mask // parity bits that have no value yet
	for _, p := range f.spec.Parities {
		c := parity{bit: p.Bit, odd: p.Odd}
		if len(p.Covers) == 0 {
			return fmt.Errorf("parity bit %d covers no bit", p.Bit)
		}
		for _, i := range p.Covers {
			switch {
			case i < 0 || i >= f.spec.Bits:
				return fmt.Errorf("parity bit %d covers bit %d: want 0 to %d", p.Bit, i, f.spec.Bits-1)
			case i == p.Bit:
				return fmt.Errorf("parity bit %d covers itself", p.Bit)
			case c.covers.has(i):
				return fmt.Errorf("parity bit %d covers bit %d twice", p.Bit, i)
			}
			c.covers.add(i)
		}
		open.add(p.Bit)
		waiting = append(waiting, c)
	}
	for len(waiting) > 0 {
		ready := slices.IndexFunc(waiting, func(p parity) bool {
			return p.covers[0]&open[0] == 0 && p.covers[1]&open[1] == 0
		})
		if ready < 0 {
			return fmt.Errorf("parity bit %d and others cover each other", waiting[0].bit)
		}
		p := waiting[ready]
		open[p.bit/64] &^= 1 << (63 - p.bit%64)
		f.parities = append(f.parities, p)
		waiting = slices.Delete(waiting, ready, ready+1)
	}
	return nil
}

// Name returns the format's name.
func (f Format) Name() string { return f.spec.Name }

// Bits returns the length of a frame in bits.
func (f Format) Bits() int { return f.spec.Bits }

// Spec returns the description of the format. It is the caller's.
func (f Format) Spec() FormatSpec { return f.spec.clone() }

// Accepts reports whether length, parities and constant bits of b are right.
func (f Format) Accepts(b Bits) bool {
	if f.spec.Bits == 0 || b.Len() != f.spec.Bits {
		return false
	}
	for i := range f.fixed {
		if b.w[i]&f.fixed[i] != f.ones[i] {
			return false
		}
	}
	for _, p := range f.parities {
		if !p.right(b) {
			return false
		}
	}
	return true
}

// Decode reads the numbers out of b. It is false where Accepts is.
func (f Format) Decode(b Bits) (Number, bool) {
	if !f.Accepts(b) {
		return Number{}, false
	}
	return Number{
		Facility: b.get(f.spec.Facility, MSBFirst), HasFacility: f.spec.Facility.Len > 0,
		Issue: b.get(f.spec.Issue, MSBFirst), HasIssue: f.spec.Issue.Len > 0,
		Card: b.get(f.spec.Card, f.spec.Order),
	}, true
}

// Encode makes the frame of n, constant bits and parities included. It fails
// with ErrRange, naming the field and its limit, where n does not fit, lacks
// what the format has or has what the format lacks.
func (f Format) Encode(n Number) (Bits, error) {
	if f.spec.Bits == 0 {
		return Bits{}, fmt.Errorf("card format: encode: %w", ErrFormat)
	}
	b := Bits{n: uint16(f.spec.Bits)}
	b.w[0], b.w[1] = f.ones[0], f.ones[1]
	for _, p := range []struct {
		name  string
		field Field
		value uint64
		has   bool
		order ByteOrder
	}{
		{"facility", f.spec.Facility, n.Facility, n.HasFacility, MSBFirst},
		{"issue level", f.spec.Issue, n.Issue, n.HasIssue, MSBFirst},
		{"card", f.spec.Card, n.Card, true, f.spec.Order},
	} {
		switch {
		case p.has && p.field.Len == 0:
			return Bits{}, fmt.Errorf("card format %s: the format has no %s: %w", f.spec.Name, p.name, ErrRange)
		case !p.has && p.field.Len != 0:
			return Bits{}, fmt.Errorf("card format %s: %s is missing: %w", f.spec.Name, p.name, ErrRange)
		case !p.has:
			continue
		case p.field.Len < 64 && p.value>>p.field.Len != 0:
			return Bits{}, fmt.Errorf("card format %s: %s: at most %d: %w", f.spec.Name, p.name, uint64(1)<<p.field.Len-1, ErrRange)
		}
		b.put(p.field, p.value, p.order)
	}
	for _, p := range f.parities {
		if !p.right(b) {
			b.set(p.bit)
		}
	}
	return b, nil
}

// get reads a field.
func (b Bits) get(f Field, o ByteOrder) uint64 {
	var v uint64
	for i := f.Offset; i < f.end(); i++ {
		v = v<<1 | b.w[i/64]>>(63-i%64)&1
	}
	return swap(v, f.Len, o)
}

// put writes a field that is still 0.
func (b *Bits) put(f Field, v uint64, o ByteOrder) {
	v = swap(v, f.Len, o)
	for i := f.end() - 1; i >= f.Offset; i-- {
		if v&1 == 1 {
			b.set(i)
		}
		v >>= 1
	}
}

// swap turns the order of the n/8 bytes of v where o asks for it.
func swap(v uint64, n int, o ByteOrder) uint64 {
	if o != LSBFirst {
		return v
	}
	return bits.ReverseBytes64(v) >> (64 - n)
}
