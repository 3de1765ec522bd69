package card_test

import (
	"bytes"
	"crypto/aes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"gatehouse/agent/card"
)

func mustBits(t testing.TB, s string) card.Bits {
	t.Helper()
	b, err := card.ParseBits(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestParseBits(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		err      error
	}{
		{"empty", "", card.ErrBits},
		{"no colon", "26831000", card.ErrBits},
		{"no length", ":26831000", card.ErrBits},
		{"length 0", "0:", card.ErrBits},
		{"past 256", "257:" + strings.Repeat("0", 66), card.ErrBits},
		{"sign", "+26:26831000", card.ErrBits},
		{"negative", "-26:26831000", card.ErrBits},
		{"leading zero", "026:26831000", card.ErrBits},
		{"blank", "26: 26831000", card.ErrBits},
		{"short", "26:268310", card.ErrBits},
		{"long", "26:2683100000", card.ErrBits},
		{"odd digits", "26:2683100", card.ErrBits},
		{"not hex", "26:2683100g", card.ErrBits},
		{"unused bit", "26:26831020", card.ErrBits},
		{"huge", "26:" + strings.Repeat("0", 1<<16), card.ErrBits},
		{"one bit", "1:80", nil},
		{"26", "26:26831000", nil},
		{"upper case", "26:1B957440", nil},
		{"256", "256:" + strings.Repeat("a5", 32), nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b, err := card.ParseBits(tt.in)
			if !errors.Is(err, tt.err) {
				t.Fatalf("error %v, want %v", err, tt.err)
			}
			if err != nil {
				if _, digits, _ := strings.Cut(tt.in, ":"); len(digits) > 4 && strings.Contains(err.Error(), digits[:4]) {
					t.Errorf("the error shows the card: %v", err)
				}
				return
			}
			if b.Text() != strings.ToLower(tt.in) {
				t.Errorf("text %s, want %s", b.Text(), tt.in)
			}
		})
	}
}

func TestWith(t *testing.T) {
	want := mustBits(t, "256:"+strings.Repeat("c3", 32))
	var b card.Bits
	for i := range card.MaxBits {
		before := b
		var ok bool
		if b, ok = b.With(want.Bit(i)); !ok {
			t.Fatalf("full at %d", i)
		}
		if before.Len() != i || b.Len() != i+1 || b.Bit(i) != want.Bit(i) {
			t.Fatalf("bit %d is wrong", i)
		}
	}
	if b != want || !b.Equal(want) {
		t.Errorf("%s, want %s", b.Text(), want.Text())
	}
	if again, ok := b.With(true); ok || again != b {
		t.Error("a full frame took another bit")
	}
	if b.Bit(-1) || b.Bit(256) {
		t.Error("a bit outside is set")
	}
}

// TestBlock holds the primeCr examples of protocols/engage.md section 5: the
// clear block, and AES-256 of it.
func TestBlock(t *testing.T) {
	const (
		key1 = "06fba5258a37eed076532ec47bccc2f7daa92edf5490f722234eec6f5ac7c467"
		key2 = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
	)
	for _, tt := range []struct{ key, bits, clear, prime string }{
		{key1, "26:26831000", "26831000ffffffffffffffffffffffff", "0d6807e6dbac61481a8ff8b0dce95998"},
		{key1, "26:26831140", "26831140ffffffffffffffffffffffff", "f7a580a987f982c4ee1d6e6419ad3d17"},
		{key2, "37:815e310628", "815e310628ffffffffffffffffffffff", "7a749873c4b3f54dfdd31b3f82e67e55"},
		{key2, "26:1b957440", "1b957440ffffffffffffffffffffffff", "c1eb091ea93845729de142a5140af321"},
	} {
		t.Run(tt.bits, func(t *testing.T) {
			b, err := mustBits(t, tt.bits).Block()
			if err != nil {
				t.Fatal(err)
			}
			if got := hex.EncodeToString(b[:]); got != tt.clear {
				t.Errorf("clear %s, want %s", got, tt.clear)
			}
			key, err := hex.DecodeString(tt.key)
			if err != nil {
				t.Fatal(err)
			}
			c, err := aes.NewCipher(key)
			if err != nil {
				t.Fatal(err)
			}
			out := make([]byte, 16)
			c.Encrypt(out, b[:])
			if got := hex.EncodeToString(out); got != tt.prime {
				t.Errorf("primeCr %s, want %s", got, tt.prime)
			}
		})
	}
}

func TestBlockLimits(t *testing.T) {
	if _, err := (card.Bits{}).Block(); !errors.Is(err, card.ErrBits) {
		t.Errorf("no bits: %v", err)
	}
	b, err := mustBits(t, "128:00112233445566778899aabbccddeeff").Block()
	if err != nil || b[15] != 0xFF || b[14] != 0xEE {
		t.Errorf("128 bits: %v", err)
	}
	if _, err := mustBits(t, "129:00112233445566778899aabbccddeeff80").Block(); !errors.Is(err, card.ErrTooLong) {
		t.Errorf("129 bits: %v", err)
	}
}

// TestRedacted prints each secret in every way that fmt, slog and json know and
// looks for its digits, in hex and in decimal.
func TestRedacted(t *testing.T) {
	b := mustBits(t, "26:26831000")
	k, err := b.Block()
	if err != nil {
		t.Fatal(err)
	}
	n := card.Number{Facility: 77, Card: 1568, HasFacility: true}
	secrets := []string{"2683", "38 131", "0x26", "77", "1568", "620", "[38", "&\x83"}
	type holder struct {
		B card.Bits
		K card.Block
		N card.Number
		P card.Key
	}
	for name, v := range map[string]any{
		"bits": b, "block": k, "number": n, "pointer": &b, "slice": []card.Bits{b},
		"struct": holder{b, k, n, 7}, "map": map[string]card.Number{"n": n},
	} {
		var out strings.Builder
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%b", "%o", "%08b", "% x", "%t", "%e"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		log := slog.New(slog.NewJSONHandler(&out, nil))
		log.Info("x", "v", v)
		slog.New(slog.NewTextHandler(&out, nil)).Info("x", "v", v)
		js, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(js)
		for _, s := range secrets {
			text := out.String()
			for _, line := range strings.Split(text, "\n") {
				if i := strings.Index(line, "time="); i >= 0 { // the clock is not the card
					line = line[i+len("time=2006-01-02T15:04:05.000"):]
				}
				if strings.HasPrefix(line, `{"time"`) {
					line = line[strings.Index(line, `"msg"`):]
				}
				if strings.Contains(line, s) {
					t.Errorf("%s: %q is in %q", name, s, line)
				}
			}
		}
	}
	if got := fmt.Sprintf("%v|%#v|%x|%s|%d", b, b, k, n, card.Key(4)); got != "26 bits|26 bits|card block|card number|key" {
		t.Errorf("printed %q", got)
	}
	for _, m := range []interface{ LogValue() slog.Value }{b, k, n, card.Key(4)} {
		if s := fmt.Sprintf("%#v", m); s != m.LogValue().String() {
			t.Errorf("%q and %q", s, m.LogValue())
		}
	}
}

func TestLast2(t *testing.T) {
	for n, want := range map[uint64]string{0: "00", 7: "07", 100: "00", 1568: "68", 1<<64 - 1: "15"} {
		if got := (card.Number{Card: n}).Last2(); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

func TestKeys(t *testing.T) {
	for k := card.Key(0); k < 16; k++ {
		for _, n := range []int{4, 8} {
			b, err := k.Bits(n)
			if k > card.KeyEnter {
				if !errors.Is(err, card.ErrRange) {
					t.Errorf("key %d: %v", uint8(k), err)
				}
				continue
			}
			if got, ok := card.DecodeKey(b); err != nil || !ok || got != k {
				t.Errorf("key %d of %d bits: %d %v %v", uint8(k), n, uint8(got), ok, err)
			}
			if d, ok := k.Digit(); ok != (k < 10) || ok && d != int(k) {
				t.Errorf("key %d: digit %d %v", uint8(k), d, ok)
			}
		}
	}
	good := 0
	for v := range 256 {
		b, err := card.NewBits(8, []byte{byte(v)})
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := card.DecodeKey(b); ok {
			good++
		}
	}
	if good != 12 {
		t.Errorf("%d frames of 8 bits are keys, want 12", good)
	}
	for _, s := range []string{"4:c0", "4:f0", "8:05", "8:55", "5:50", "26:26831000"} {
		if _, ok := card.DecodeKey(mustBits(t, s)); ok {
			t.Errorf("%s is a key", s)
		}
	}
	if b, _ := card.KeyClear.Bits(8); b.Text() != "8:5a" {
		t.Errorf("* is %s", b.Text())
	}
	if _, ok := card.DecodeKey(card.Bits{}); ok {
		t.Error("no bits are a key")
	}
	if _, err := card.Key(1).Bits(5); !errors.Is(err, card.ErrBits) {
		t.Errorf("a key of 5 bits: %v", err)
	}
}

func TestHiveBadge(t *testing.T) {
	b, err := card.HiveBadge(1052895) // hive.md: facility 16, card 4319
	if err != nil {
		t.Fatal(err)
	}
	m := card.Standard().Decode(b)
	if len(m) != 1 || m[0].Format.Name() != "H10301" || m[0].Number != (card.Number{Facility: 16, Card: 4319, HasFacility: true}) {
		t.Errorf("read as %d formats", len(m))
	}
	for _, badge := range []uint64{0, 1, 1052895, 7515388, 1<<24 - 1} {
		b, err := card.HiveBadge(badge)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := card.BadgeOf(b); !ok || got != badge {
			t.Errorf("badge %d came back as %d, %v", badge, got, ok)
		}
	}
	if _, err := card.HiveBadge(1 << 24); !errors.Is(err, card.ErrRange) {
		t.Errorf("25 bits: %v", err)
	}
	if _, err := card.HiveBadge(1<<64 - 1); !errors.Is(err, card.ErrRange) {
		t.Errorf("64 bits: %v", err)
	}
	for _, s := range []string{"26:26831040", "32:26831000", "37:815e310628"} {
		if _, ok := card.BadgeOf(mustBits(t, s)); ok {
			t.Errorf("%s is a badge", s)
		}
	}
}

func FuzzParseBits(f *testing.F) {
	for _, s := range []string{"", ":", "1:80", "26:26831000", "26:1B957440", "128:00112233445566778899aabbccddeeff", "257:", "-1:", "26:26831020"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		b, err := card.ParseBits(s)
		if err != nil {
			if b != (card.Bits{}) || !errors.Is(err, card.ErrBits) {
				t.Fatalf("bits beside the error %v", err)
			}
			return
		}
		if b.Text() != strings.ToLower(s) {
			t.Fatalf("text %q of %q", b.Text(), s)
		}
		again, err := card.NewBits(b.Len(), b.Bytes())
		if err != nil || again != b {
			t.Fatalf("NewBits(Len, Bytes): %v", err)
		}
		var built card.Bits
		for i := range b.Len() {
			built, _ = built.With(b.Bit(i))
		}
		if built != b {
			t.Fatal("built bit by bit it differs")
		}
		k, err := b.Block()
		if (err != nil) != (b.Len() > card.MaxBlockBits) {
			t.Fatalf("block: %v", err)
		}
		if err == nil {
			raw := b.Bytes()
			if !bytes.HasPrefix(k[:], raw) || bytes.Count(k[len(raw):], []byte{0xFF}) != len(k)-len(raw) {
				t.Fatal("the block is not bits, then 0xFF")
			}
		}
	})
}
