package card_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"gatehouse/agent/card"
)

// spec is a small valid format for tests to spoil.
func spec(change ...func(*card.FormatSpec)) card.FormatSpec {
	s := card.FormatSpec{
		Name: "site-12", Bits: 12,
		Facility: card.Field{Offset: 2, Len: 3}, Card: card.Field{Offset: 5, Len: 5},
		Parities: []card.Parity{{Bit: 0, Covers: []int{1, 2, 3, 4, 11}}, {Bit: 11, Odd: true, Covers: []int{5, 6, 7, 8, 9}}},
		Ones:     []int{1},
	}
	for _, c := range change {
		c(&s)
	}
	return s
}

func TestNewFormatRefuses(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*card.FormatSpec)
		want   string
	}{
		{"no name", func(s *card.FormatSpec) { s.Name = "" }, "empty"},
		{"bad name", func(s *card.FormatSpec) { s.Name = "a b" }, "not allowed"},
		{"raw", func(s *card.FormatSpec) { s.Name = "raw" }, "without a format"},
		{"no bits", func(s *card.FormatSpec) { s.Bits = 0 }, "length 0: want 1 to 128"},
		{"too long", func(s *card.FormatSpec) { s.Bits = 129 }, "length 129: want 1 to 128"},
		{"no card", func(s *card.FormatSpec) { s.Card = card.Field{} }, "no card field"},
		{"card outside", func(s *card.FormatSpec) { s.Card = card.Field{Offset: 10, Len: 5} }, "card field: bit 12: want 0 to 11"},
		{"card before", func(s *card.FormatSpec) { s.Card.Offset = -1 }, "card field: bit -1: want 0 to 11"},
		{"65 bits", func(s *card.FormatSpec) { s.Bits = 128; s.Card = card.Field{Offset: 20, Len: 65} }, "65 bits: want 1 to 64"},
		{"negative length", func(s *card.FormatSpec) { s.Issue.Len = -1 }, "issue field: -1 bits"},
		{"offset alone", func(s *card.FormatSpec) { s.Issue.Offset = 3 }, "no length"},
		{"overlap", func(s *card.FormatSpec) { s.Issue = card.Field{Offset: 4, Len: 1} }, "issue field: bit 4 belongs to facility field"},
		{"parity in field", func(s *card.FormatSpec) { s.Parities[0].Bit = 6 }, "a parity: bit 6 belongs to card field"},
		{"two parities", func(s *card.FormatSpec) { s.Parities[1].Bit = 0 }, "bit 0 belongs to a parity"},
		{"parity outside", func(s *card.FormatSpec) { s.Parities[0].Bit = 12 }, "bit 12: want 0 to 11"},
		{"covers nothing", func(s *card.FormatSpec) { s.Parities[0].Covers = nil }, "covers no bit"},
		{"covers itself", func(s *card.FormatSpec) { s.Parities[0].Covers = []int{0} }, "covers itself"},
		{"covers twice", func(s *card.FormatSpec) { s.Parities[0].Covers = []int{3, 3} }, "covers bit 3 twice"},
		{"covers outside", func(s *card.FormatSpec) { s.Parities[0].Covers = []int{12} }, "covers bit 12"},
		{"covers negative", func(s *card.FormatSpec) { s.Parities[0].Covers = []int{-1} }, "covers bit -1"},
		{"circle", func(s *card.FormatSpec) { s.Parities[1].Covers = []int{0, 5} }, "cover each other"},
		{"one in field", func(s *card.FormatSpec) { s.Ones = []int{7} }, "a constant 1: bit 7 belongs to card field"},
		{"order", func(s *card.FormatSpec) { s.Order = 2 }, "byteorder(2)"},
		{"lsb of 5 bits", func(s *card.FormatSpec) { s.Order = card.LSBFirst }, "whole bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, err := card.NewFormat(spec(tt.change))
			if !errors.Is(err, card.ErrFormat) || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("error %v, want %q", err, tt.want)
			}
			if f.Bits() != 0 {
				t.Error("a format beside the error")
			}
		})
	}
}

func TestCustomFormat(t *testing.T) {
	s := spec()
	f, err := card.NewFormat(s)
	if err != nil {
		t.Fatal(err)
	}
	s.Ones[0], s.Parities[0].Covers[0] = 10, 9 // the caller's again
	f.Spec().Ones[0] = 10
	b, err := f.Encode(card.Number{Facility: 5, Card: 18, HasFacility: true})
	if err != nil {
		t.Fatal(err)
	}
	// bit 1 constant 1, 2-4 facility 101, 5-9 card 10010, 10 constant 0,
	// 11 odd over the card's two ones: 1, 0 even over 1,1,0,1,1: 0
	if got := text01(b); got != "011011001001" {
		t.Errorf("frame %s", got)
	}
	accepted := 0
	for v := range 1 << 12 {
		x, err := card.NewBits(12, []byte{byte(v >> 4), byte(v << 4)})
		if err != nil {
			t.Fatal(err)
		}
		n, ok := f.Decode(x)
		if !ok {
			continue
		}
		accepted++
		if back, err := f.Encode(n); err != nil || back != x {
			t.Errorf("%s comes back as %s, %v", x.Text(), back.Text(), err)
		}
	}
	if accepted != 1<<8 {
		t.Errorf("%d frames are accepted, want one for each number", accepted)
	}
	set, err := card.NewSet(card.MSBFirst, f)
	if err != nil {
		t.Fatal(err)
	}
	if m := set.Decode(b); len(m) != 1 || m[0].Format.Name() != "site-12" || !set.Accepts(b) || card.Standard().Accepts(b) {
		t.Errorf("%d readings", len(m))
	}
	for _, again := range [][]card.Format{{f, f}, {{}}} {
		if _, err := card.NewSet(card.MSBFirst, again...); !errors.Is(err, card.ErrFormat) {
			t.Errorf("a set of doubtful formats: %v", err)
		}
	}
	h, _ := card.Standard().ByName("H10301")
	if _, err := card.NewSet(card.MSBFirst, h); err == nil || !strings.Contains(err.Error(), "the name is taken") {
		t.Errorf("H10301 again: %v", err)
	}
}

func TestEncodeRange(t *testing.T) {
	fac := func(f, c uint64) card.Number { return card.Number{Facility: f, Card: c, HasFacility: true} }
	for _, tt := range []struct {
		name, format string
		n            card.Number
		want         string
	}{
		{"facility", "H10301", fac(256, 1), "H10301: facility: at most 255"},
		{"card", "H10301", fac(1, 65536), "H10301: card: at most 65535"},
		{"no facility", "H10301", card.Number{Card: 1}, "facility is missing"},
		{"a facility", "H10302", fac(1, 1), "has no facility"},
		{"no issue level", "S12906", fac(1, 1), "issue level is missing"},
		{"issue level", "S12906", card.Number{Facility: 1, HasFacility: true, Issue: 4, HasIssue: true}, "issue level: at most 3"},
		{"card 35", "H10302", card.Number{Card: 1 << 35}, "at most 34359738367"},
		{"serial", "CSN56", card.Number{Card: 1 << 56}, "at most 72057594037927935"},
		{"all 64", "CSN64", card.Number{Card: 1<<64 - 1}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, ok := card.Standard().ByName(tt.format)
			if !ok {
				t.Fatal("not known")
			}
			b, err := f.Encode(tt.n)
			if tt.want == "" {
				if n, ok := f.Decode(b); err != nil || !ok || n != tt.n {
					t.Fatalf("error %v", err)
				}
				return
			}
			if !errors.Is(err, card.ErrRange) || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("error %v, want %q", err, tt.want)
			}
		})
	}
	if _, err := (card.Format{}).Encode(card.Number{}); !errors.Is(err, card.ErrFormat) {
		t.Errorf("the zero format: %v", err)
	}
	if (card.Format{}).Accepts(card.Bits{}) {
		t.Error("the zero format accepts no bits")
	}
}

func TestSerialByteOrder(t *testing.T) {
	lsb, err := card.NewSet(card.LSBFirst)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		bits     string
		msb, lsb uint64
	}{
		{"32:01020304", 0x01020304, 0x04030201},
		{"56:04a1b2c3d4e580", 0x04a1b2c3d4e580, 0x80e5d4c3b2a104},
		{"64:0102030405060708", 0x0102030405060708, 0x0807060504030201},
	} {
		b := mustBits(t, tt.bits)
		m, l := card.Standard().Decode(b), lsb.Decode(b)
		if len(m) != 1 || len(l) != 1 || m[0].Number.Card != tt.msb || l[0].Number.Card != tt.lsb {
			t.Errorf("%s: %x and %x", tt.bits, m[0].Number.Card, l[0].Number.Card)
		}
	}
}

func TestSet(t *testing.T) {
	var none *card.Set
	b := mustBits(t, "37:815e310628")
	if _, ok := none.ByName("H10301"); ok || none.Accepts(b) || none.Decode(b) != nil || none.Formats() != nil {
		t.Error("a nil set knows something")
	}
	var names []string
	for _, m := range card.Standard().Decode(b) {
		names = append(names, m.Format.Name())
	}
	if !slices.Equal(names, []string{"H10302", "H10304"}) {
		t.Errorf("a 37-bit frame reads as %v", names)
	}
	if _, ok := card.Standard().ByName("h10301"); ok {
		t.Error("case does not matter")
	}
	if card.Standard().Accepts(card.Bits{}) {
		t.Error("no bits are accepted")
	}
}
