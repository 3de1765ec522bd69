package link_test

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"

	"gatehouse/agent/hive/link"
)

// FuzzParts cuts any text and puts it together again, as the receivers do.
func FuzzParts(f *testing.F) {
	f.Add("aä€😀", uint16(4))
	f.Add(strings.Repeat("€", 3000), uint16(4096))
	f.Fuzz(func(t *testing.T, text string, size uint16) {
		text = strings.ToValidUTF8(text, "?")
		parts := link.Cut(text, int(size))
		for _, p := range parts {
			if len(p) > link.MaxPart || len(p) > max(int(size), utf8.UTFMax) || !utf8.ValidString(p) {
				t.Fatalf("a part of %d bytes, size %d", len(p), size)
			}
		}
		if strings.Join(parts, "") != text {
			t.Error("the text is another")
		}
	})
}

// FuzzAssembly feeds parts in any order: what comes out whole is what went in in
// order, and nothing panics or grows over its bound.
func FuzzAssembly(f *testing.F) {
	f.Add([]byte{1, 3, 2, 3, 3, 3})
	f.Add([]byte{1, 2, 1, 2, 2, 2, 7, 7})
	f.Fuzz(func(t *testing.T, steps []byte) {
		var a link.Assembly
		var text bytes.Buffer
		next, parts := 0, 0
		for i := 0; i+1 < len(steps); i += 2 {
			n, of := int(steps[i]%8), int(steps[i+1]%8)
			body := strings.Repeat(string('a'+rune(n)), 1+n)
			ok := a.Add(n, of, body)
			want := false
			switch {
			case n == 1 && of >= 1 && !(next == 1 && of == parts):
				text.Reset()
				text.WriteString(body)
				next, parts, want = 1, of, true
			case next > 0 && of == parts && n == next: // again
				want = true
			case next > 0 && of == parts && n == next+1 && n <= parts:
				text.WriteString(body)
				next, want = n, true
			}
			if ok != want {
				t.Fatalf("step %d: part %d of %d was taken %v, want %v", i/2, n, of, ok, want)
			}
			if !ok {
				next, parts = 0, 0
			}
			if whole, done := a.Whole(); ok && next == parts {
				if !done || string(whole) != text.String() {
					t.Fatalf("whole %q, want %q", whole, text.String())
				}
				next, parts = 0, 0
			} else if done {
				t.Fatal("whole before its end")
			}
		}
	})
}
