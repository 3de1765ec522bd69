package spool

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/agent/site"
)

// The parsers of the format are not exported, so these tests are inside.

func TestFormatBytes(t *testing.T) {
	// Independent of the code: laid out by hand from the package comment, with
	// CRCs from a bitwise CRC-32C.
	soft := func(b []byte) uint32 {
		c := ^uint32(0)
		for _, x := range b {
			c ^= uint32(x)
			for range 8 {
				if c&1 != 0 {
					c = c>>1 ^ 0x82f63b78
				} else {
					c >>= 1
				}
			}
		}
		return ^c
	}
	sum := func(b []byte) []byte {
		c := soft(b)
		return []byte{byte(c), byte(c >> 8), byte(c >> 16), byte(c >> 24)}
	}
	raw := func(s string) []byte {
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	head := append([]byte("GHSPOOL\n"), raw("01000000"+"019c3a5f"+"01000000"+"00000000"+"0700000000000000"+"0300000000000000"+"0900000000000000"+"00000000")...)
	head = append(head, sum(head)...)
	if got := (header{log: 0x5f3a9c01, flags: 1, base: 7, created: 3, change: 9}).append(nil); !bytes.Equal(got, head) {
		t.Errorf("head\n%x, want\n%x", got, head)
	}
	rec := append([]byte("\xffGHr"), raw("02000000"+"0a00000000000000"+"0400000000000000")...)
	rec = append(rec, sum([]byte("{}"))...)
	rec = append(rec, sum(append(raw("019c3a5f"), rec...))...)
	rec = append(rec, "{}"...)
	if got := (record{seq: 10, span: 4, payload: []byte("{}")}).append(nil, 0x5f3a9c01); !bytes.Equal(got, rec) {
		t.Errorf("record\n%x, want\n%x", got, rec)
	}
}

func TestParseHeader(t *testing.T) {
	good := header{log: 1, base: 5}.append(nil)
	newer := append([]byte(nil), good...)
	newer[8] = 2
	le.PutUint32(newer[headerSize-4:], crc(newer[:headerSize-4]))
	altered := append([]byte(nil), good...)
	altered[30] ^= 1
	for _, tt := range []struct {
		name string
		in   []byte
		want error
	}{
		{"newer version", newer, ErrVersion},
		{"altered", altered, errDamaged},
		{"short", good[:headerSize-1], errDamaged},
		{"good", good, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := parseHeader(tt.in); !errors.Is(err, tt.want) {
				t.Errorf("%v, want %v", err, tt.want)
			}
		})
	}
}

// TestTornOrDamaged cuts and zeroes the end of a segment at every byte: all of
// that is torn; any other change of a byte is damage.
func TestTornOrDamaged(t *testing.T) {
	name := segmentName{base: 1, log: 7}
	b := header{log: 7, base: 1}.append(nil)
	one := len(b)
	for i := uint64(1); i <= 2; i++ {
		b = record{seq: i, span: 1, payload: []byte(`{"seq":1,"text":"x"}`)}.append(b, 7)
		if i == 1 {
			one = len(b)
		}
	}
	for i := one + 1; i < len(b); i++ {
		s, err := scanSegment(b[:i], name)
		if err != nil || s.damaged || s.torn != i-one || s.end != 1 {
			t.Fatalf("cut at %d: %+v, %v", i, s, err)
		}
		z := append([]byte(nil), b...)
		clear(z[i:])
		if s, err = scanSegment(z, name); err != nil || s.damaged || s.torn != len(b)-one || s.end != 1 {
			t.Fatalf("zeros from %d: %+v, %v", i, s, err)
		}
	}
	for i := range b[:len(b)-1] {
		a := append([]byte(nil), b...)
		a[i] ^= 0x10
		s, err := scanSegment(a, name)
		if err != nil || !s.damaged {
			t.Fatalf("byte %d altered: not found", i)
		}
		lost := missingIn(&s, name, 2)
		if want := uint64(1); i < headerSize && lost != 0 || i >= headerSize && (lost != want || s.end != 2) {
			t.Fatalf("byte %d altered: %d lost, end %d", i, lost, s.end)
		}
	}
	for i := range headerSize {
		if s, err := scanSegment(b[:i], name); err != nil || !s.blank {
			t.Fatalf("head cut at %d: %+v, %v", i, s, err)
		}
	}
}

func FuzzRecord(f *testing.F) {
	f.Add(uint32(1), uint64(5), uint64(1), []byte(`{"a":1}`), []byte("\xffGHr"))
	f.Add(uint32(0), uint64(9), uint64(9), []byte(nil), record{seq: 1, span: 1, payload: []byte("{}")}.append(nil, 0))
	f.Fuzz(func(t *testing.T, log uint32, seq, span uint64, payload, junk []byte) {
		if r, n, st := parseRecord(junk, log); st == parsedOK {
			if got := r.append(nil, log); !bytes.Equal(got, junk[:n]) {
				t.Errorf("encode(decode(b)) = %x, want %x", got, junk[:n])
			}
		}
		span = 1 + span%max(seq, 1)
		seq = max(seq, 1)
		b := record{seq: seq, span: span, payload: payload}.append(nil, log)
		r, n, st := parseRecord(append(b, junk...), log)
		if st != parsedOK || n != len(b) || r.seq != seq || r.span != span || !bytes.Equal(r.payload, payload) {
			t.Fatalf("decode(encode) = %+v, %d, %d", r, n, st)
		}
		if _, _, st := parseRecord(b[:len(b)-1], log); st != parsedShort {
			t.Errorf("cut short is %d", st)
		}
		if _, _, st := parseRecord(b, log^1); st != parsedHead {
			t.Errorf("a record of another log is %d", st)
		}
		if ev, ok := eventOf(r, log, seq); ok && ev.Seq != site.EventSeq(seq) {
			t.Errorf("event has number %d", ev.Seq)
		}
	})
}

func FuzzSegment(f *testing.F) {
	name := segmentName{base: 1, log: 7}
	b := header{log: 7, base: 1}.append(nil)
	for i := uint64(1); i <= 3; i++ {
		b = record{seq: i, span: 1, payload: []byte(`{"time":"2026-11-21T18:04:05Z","change":3}`)}.append(b, 7)
	}
	f.Add(b)
	f.Add(footer{log: 7, end: 3}.append(b))
	f.Add(b[:len(b)-9])
	f.Add(append(append([]byte(nil), b[:90]...), b[60:]...))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := scanSegment(b, name)
		if err != nil {
			return
		}
		next := name.base
		for _, e := range s.entries {
			if e.first() < next || e.seq < e.first() || e.off+e.n > len(b) {
				t.Fatalf("entry %+v after %d", e, next)
			}
			next = e.seq + 1
		}
		keep := func(uint64, []byte) verdict { return verdictKeep }
		lost := func(uint64, uint64) []byte { return []byte("{}") }
		out, foot := rebuild(name, s.end, []part{{b, &s}}, keep, lost)
		again, err := scanSegment(out, name)
		if err != nil || again.damaged || !again.sealed || again.end != s.end || missingIn(&again, name, s.end) != 0 {
			t.Fatalf("a rewriting is not sound: %+v, %v", again, err)
		}
		if foot.count != uint64(len(again.entries)) {
			t.Errorf("footer counts %d of %d", foot.count, len(again.entries))
		}
	})
}

func FuzzSmall(f *testing.F) {
	b, err := encodeSmall(map[string]uint64{"uplink": 3})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte("{}\n00000000\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var v map[string]uint64
		if decodeSmall(b, &v) != nil {
			return
		}
		again, err := encodeSmall(v)
		if err != nil {
			t.Fatal(err)
		}
		var w map[string]uint64
		if err := decodeSmall(again, &w); err != nil || !cmp.Equal(v, w) {
			t.Errorf("%v became %v, %v", v, w, err)
		}
	})
}

func TestNanos(t *testing.T) {
	if nanos(time.Unix(0, 0)) == 0 || nanos(time.Time{}) >= 0 || nanos(time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)) <= 0 {
		t.Error("a time outside the range is not kept in order")
	}
}
