package swordfish_test

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"gatehouse/agent/card"
	"gatehouse/agent/swordfish"
)

const testKey = "06fba5258a37eed076532ec47bccc2f7daa92edf5490f722234eec6f5ac7c467"

func cards(t testing.TB, key string) *swordfish.Cards {
	t.Helper()
	raw, err := hex.DecodeString(key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := swordfish.NewCards(raw)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func blockOf(t testing.TB, bits int, digits string) card.Block {
	t.Helper()
	b, err := card.ParseBits(fmt.Sprintf("%d:%s", bits, digits))
	if err != nil {
		t.Fatal(err)
	}
	block, err := b.Block()
	if err != nil {
		t.Fatal(err)
	}
	return block
}

func load(t testing.TB, name string, v any) {
	t.Helper()
	raw, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, v); err != nil {
		t.Fatal(err)
	}
}

// TestPrimeCr: the four examples of engage.md section 5, both directions.
func TestPrimeCr(t *testing.T) {
	var list []struct {
		Key, Hex, PrimeCr string
		Bits              int
	}
	load(t, "primecr.json", &list)
	if len(list) != 4 {
		t.Fatalf("%d examples", len(list))
	}
	for _, v := range list {
		c, want := cards(t, v.Key), blockOf(t, v.Bits, v.Hex)
		if got := c.Encrypt(want); got != v.PrimeCr {
			t.Errorf("%s: %s, want %s", v.Hex, got, v.PrimeCr)
		}
		for _, text := range []string{v.PrimeCr, strings.ToUpper(v.PrimeCr)} {
			got, err := c.Decrypt(text)
			if err != nil || got != want || !swordfish.Plausible(got) {
				t.Errorf("%s: %x, %v, want %x", text, got[:], err, want[:])
			}
		}
	}
}

// TestCardsThereAndBack: every frame of wiegand.json, and another key finds
// another card.
func TestCardsThereAndBack(t *testing.T) {
	var v struct {
		Frames []struct {
			Bits int
			Hex  string
		}
	}
	load(t, "wiegand.json", &v)
	c, other := cards(t, testKey), cards(t, strings.Repeat("11", 32))
	for _, f := range v.Frames {
		b := blockOf(t, f.Bits, f.Hex)
		got, err := c.Decrypt(c.Encrypt(b))
		if err != nil || got != b {
			t.Errorf("%d:%s: %v", f.Bits, f.Hex, err)
		}
		if got, err := other.Decrypt(c.Encrypt(b)); err == nil && (got == b || swordfish.Plausible(got)) {
			t.Errorf("%d:%s: found with another key", f.Bits, f.Hex)
		}
	}
	if len(v.Frames) < 20 {
		t.Errorf("%d frames", len(v.Frames))
	}
}

func TestDecryptRefuses(t *testing.T) {
	c := cards(t, testKey)
	empty := card.Block{}
	full := card.Block{}
	for i := range full {
		full[i] = 0xFF
	}
	for _, s := range []string{"", "0d6807e6dbac61481a8ff8b0dce9599", "0d6807e6dbac61481a8ff8b0dce959981", strings.Repeat("zz", 16), c.Encrypt(empty), c.Encrypt(full)} {
		b, err := c.Decrypt(s)
		if err == nil || b != (card.Block{}) {
			t.Errorf("%q was taken", s)
		}
		if err != nil && len(s) > 10 && strings.Contains(err.Error(), s[:8]) {
			t.Errorf("the error holds the text: %v", err)
		}
	}
	for _, n := range []int{0, 16, 31, 33} {
		if _, err := swordfish.NewCards(make([]byte, n)); err == nil {
			t.Errorf("a key of %d bytes was taken", n)
		}
	}
}

func TestCardsAreNotPrinted(t *testing.T) {
	c := cards(t, testKey)
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{fmt.Sprintf("%v %+v %#v %x %s", c, c, c, c, c), string(text), c.LogValue().String(), fmt.Sprintf("%+v", struct{ C *swordfish.Cards }{c})} {
		rest := strings.NewReplacer("[site key]", "", "C:", "", "{", "", "}", "", `"`, "", " ", "").Replace(s)
		if rest != "" && !strings.HasPrefix(rest, "0x") {
			t.Errorf("printed: %s", s)
		}
	}
}

func FuzzDecrypt(f *testing.F) {
	f.Add("0d6807e6dbac61481a8ff8b0dce95998")
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		c := cards(t, testKey)
		b, err := c.Decrypt(s)
		if err == nil && c.Encrypt(b) != strings.ToLower(s) {
			t.Errorf("%q does not come back", s)
		}
	})
}
