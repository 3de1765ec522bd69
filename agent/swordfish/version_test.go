package swordfish_test

import (
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"gatehouse/agent/swordfish"
)

var versions = []struct {
	name, in string
	want     uint64
	bad      bool
}{
	{"no text is refused", "", 0, true},
	{"a prefix without digits is refused", "0x", 0, true},
	{"17 digits are refused", "0x00000000000000001", 0, true},
	{"a letter beyond f is refused", "0x08g1", 0, true},
	{"a sign is refused", "+1", 0, true},
	{"an underscore is refused", "1_0", 0, true},
	{"a blank is refused", " 1", 0, true},
	{"two prefixes are refused", "0x0x1", 0, true},
	{"0 is everything", "0", swordfish.VersionAll, false},
	{"0 with a prefix is everything", "0x0000000000000000", swordfish.VersionAll, false},
	{"the document's example is read", "0x08d1707d1ebcb056", 0x08d1707d1ebcb056, false},
	{"upper case is read", "0X08D1707D1EBCB056", 0x08d1707d1ebcb056, false},
	{"a prefix is no need", "8d1707d1ebcb056", 0x08d1707d1ebcb056, false},
	{"the largest is read", "ffffffffffffffff", math.MaxUint64, false},
}

func TestParseVersion(t *testing.T) {
	for _, tt := range versions {
		t.Run(tt.name, func(t *testing.T) {
			got, err := swordfish.ParseVersion(tt.in)
			if got != tt.want || (err != nil) != tt.bad {
				t.Errorf("%d, %v", got, err)
			}
		})
	}
}

// TestNextVersion: the document's example is of the day of its dbDwnLdTm, and a clock
// that goes back or is nowhere makes no version smaller.
func TestNextVersion(t *testing.T) {
	example := time.Date(2014, 7, 18, 0, 0, 0, 0, time.UTC)
	if low, high := swordfish.NextVersion(0, example), swordfish.NextVersion(0, example.AddDate(0, 0, 2)); low > 0x08d1707d1ebcb056 || high < 0x08d1707d1ebcb056 {
		t.Errorf("the example is not between %x and %x", low, high)
	}
	if got, want := swordfish.FormatVersion(swordfish.NextVersion(0, time.Unix(0, 0))), "0x089f7ff5f7b58000"; got != want {
		t.Errorf("1970: %s, want %s", got, want)
	}
	last := uint64(0)
	for _, now := range []time.Time{example, example, example.Add(99), example.Add(100), {}, time.Unix(-1<<40, 0), example.Add(time.Hour)} {
		next := swordfish.NextVersion(last, now)
		if next <= last {
			t.Errorf("%d after %d at %v", next, last, now)
		}
		last = next
	}
	if want := swordfish.NextVersion(0, example.Add(time.Hour)); last != want {
		t.Errorf("%x, want %x: the clock is right again", last, want)
	}
}

func FuzzParseVersion(f *testing.F) {
	for _, tt := range versions {
		f.Add(tt.in)
	}
	f.Fuzz(func(t *testing.T, s string) {
		v, err := swordfish.ParseVersion(s)
		digits, _ := strings.CutPrefix(strings.ToLower(s), "0x")
		want, bad := strconv.ParseUint(digits, 16, 64)
		if len(digits) > 16 {
			want, bad = 0, strconv.ErrRange
		}
		if (err != nil) != (bad != nil) || err == nil && v != want {
			t.Fatalf("%q: %d, %v; want %d, %v", s, v, err, want, bad)
		}
		if err != nil {
			return
		}
		if back, err := swordfish.ParseVersion(swordfish.FormatVersion(v)); err != nil || back != v {
			t.Errorf("%q: %d comes back as %d, %v", s, v, back, err)
		}
	})
}
