package app_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"unicode/utf16"
)

// secret is one thing that must be nowhere in clear, with what tells it when it
// is met.
type secret struct {
	name  string
	forms []form
}

// form is one way in which a secret may be written.
type form struct {
	name   string
	needle []byte
	// edge, when not nil, must be false for the bytes on both sides: a longer
	// number that holds this one is another number.
	edge func(byte) bool
	fold bool // upper and lower case are the same
	// mask, when not nil, says which bits of needle count.
	mask []byte
}

func digit(b byte) bool    { return b >= '0' && b <= '9' }
func hexDigit(b byte) bool { return digit(b) || b|0x20 >= 'a' && b|0x20 <= 'f' }

// cardSecret is a card: its frame in bits ("0101…"), and the numbers that are
// printed on it.
func cardSecret(name, frame string, numbers ...uint64) secret {
	s := secret{name: name}
	for _, n := range numbers {
		s.forms = append(s.forms, form{name: "decimal", needle: strconv.AppendUint(nil, n, 10), edge: digit})
	}
	add := func(f form) { s.forms = append(s.forms, f) }
	left := packBits(frame)
	right := packBits(strings.Repeat("0", (8-len(frame)%8)%8) + frame)
	block := bytes.Repeat([]byte{0xFF}, 16)
	copy(block, packBits(frame+strings.Repeat("1", (8-len(frame)%8)%8)))
	add(form{name: "bits as text", needle: []byte(frame)})
	for what, raw := range map[string][]byte{"left-justified": left, "right-justified": right, "block": block} {
		add(form{name: "hex, " + what, needle: []byte(hex.EncodeToString(raw)), fold: true})
		add(form{name: "raw, " + what, needle: raw})
		add(form{name: "list, " + what, needle: []byte(strings.Trim(fmt.Sprint(raw), "[]"))})
		add(form{name: "JSON list, " + what, needle: []byte(strings.ReplaceAll(strings.Trim(fmt.Sprint(raw), "[]"), " ", ","))})
		for off := range 3 { // base64 by the place of its first byte
			text := base64.RawStdEncoding.EncodeToString(append(make([]byte, off), raw...))
			add(form{name: "base64, " + what, needle: []byte(text[(off*4+2)/3 : len(text)-1])})
		}
	}
	for off := range 8 {
		add(bitForm("block", frame+strings.Repeat("1", 128-len(frame)), off))
		if len(frame) > 32 { // a shorter one is met by chance in what is encrypted
			add(bitForm("frame", frame, off))
		}
	}
	return s
}

// bitForm is a run of bits that begins at bit off of a byte.
func bitForm(name, bits string, off int) form {
	pad := (8 - (off+len(bits))%8) % 8
	return form{
		name:   fmt.Sprintf("%s at bit %d", name, off),
		needle: packBits(strings.Repeat("0", off) + bits + strings.Repeat("0", pad)),
		mask:   packBits(strings.Repeat("0", off) + strings.Repeat("1", len(bits)) + strings.Repeat("0", pad)),
	}
}

// numberSecret is a number that people know, such as the badge of a Hive packet.
func numberSecret(name string, n uint64) secret {
	return secret{name: name, forms: []form{
		{name: "decimal", needle: strconv.AppendUint(nil, n, 10), edge: digit},
		{name: "hex", needle: strconv.AppendUint(nil, n, 16), edge: hexDigit, fold: true},
	}}
}

// pinSecret is a PIN of an even number of digits.
func pinSecret(name, pin string) secret {
	bcd, _ := hex.DecodeString(pin)
	var le, be []byte
	for _, u := range utf16.Encode([]rune(pin)) {
		le = append(le, byte(u), byte(u>>8))
		be = append(be, byte(u>>8), byte(u))
	}
	values := make([]byte, len(pin)) // one key a byte, as a keypad gives them
	for i := range pin {
		values[i] = pin[i] - '0'
	}
	return secret{name: name, forms: []form{
		{name: "text", needle: []byte(pin), edge: digit},
		{name: "hex of text", needle: []byte(hex.EncodeToString([]byte(pin))), fold: true},
		{name: "BCD", needle: bcd},
		{name: "UTF-16LE", needle: le},
		{name: "UTF-16BE", needle: be},
		{name: "keys", needle: values},
		{name: "list", needle: []byte(strings.Trim(fmt.Sprint([]byte(pin)), "[]"))},
	}}
}

// packBits makes bytes of "0101…", filling the last one with zeros.
func packBits(bits string) []byte {
	out := make([]byte, (len(bits)+7)/8)
	for i, b := range bits {
		if b == '1' {
			out[i/8] |= 0x80 >> (i % 8)
		}
	}
	return out
}

// leaks returns the secrets that data holds, and in which form.
func leaks(secrets []secret, data []byte) []string {
	var out []string
	lower := bytes.ToLower(data)
	for _, s := range secrets {
		for _, f := range s.forms {
			in := data
			if f.fold {
				in = lower
			}
			if at := f.find(in); at >= 0 {
				out = append(out, fmt.Sprintf("%s as %s at %d", s.name, f.name, at))
			}
		}
	}
	return out
}

// find returns where the form begins, or -1.
func (f *form) find(data []byte) int {
	if f.mask != nil {
		return f.findMasked(data)
	}
	for from := 0; ; {
		i := bytes.Index(data[from:], f.needle)
		if i < 0 {
			return -1
		}
		at := from + i
		end := at + len(f.needle)
		if f.edge == nil || !(at > 0 && f.edge(data[at-1])) && !(end < len(data) && f.edge(data[end])) {
			return at
		}
		from = at + 1
	}
}

// findMasked looks for the whole bytes of the needle, which there are, and then
// at the bits on both sides.
func (f *form) findMasked(data []byte) int {
	first := bytes.IndexByte(f.mask, 0xFF)
	last := bytes.LastIndexByte(f.mask, 0xFF) + 1
	whole := f.needle[first:last]
	for from := 0; ; {
		i := bytes.Index(data[from:], whole)
		if i < 0 {
			return -1
		}
		at := from + i - first
		if at >= 0 && at+len(f.needle) <= len(data) && f.fits(data[at:]) {
			return at
		}
		from += i + 1
	}
}

func (f *form) fits(data []byte) bool {
	for i, m := range f.mask {
		if data[i]&m != f.needle[i] {
			return false
		}
	}
	return true
}

// TestSearcher plants each form of each secret in noise: the search of
// TestNothingInClear finds what it looks for, and nothing else.
func TestSearcher(t *testing.T) {
	rnd := seeded(t)
	secrets := distinctive()
	noise := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(rnd.Uint32())
		}
		return b
	}
	if found := leaks(secrets, noise(1<<20)); len(found) > 1 {
		t.Errorf("in noise: %v", found)
	}
	for _, s := range secrets {
		for _, f := range s.forms {
			data := noise(1000)
			for i, b := range f.needle {
				mask := byte(0xFF)
				if f.mask != nil {
					mask = f.mask[i]
				}
				data[400+i] = data[400+i]&^mask | b&mask
			}
			if f.edge != nil {
				data[399], data[400+len(f.needle)] = '"', ' '
			}
			if f.fold {
				copy(data[400:], bytes.ToUpper(f.needle))
			}
			if len(leaks([]secret{s}, data)) == 0 {
				t.Errorf("%s planted as %s is not found", s.name, f.name)
			}
		}
	}
	number := numberSecret("n", 64_817)
	for _, text := range []string{"164817", "648170", "0.648171s"} {
		if found := leaks([]secret{number}, []byte(text)); len(found) > 0 {
			t.Errorf("%s in %q", found, text)
		}
	}
}
