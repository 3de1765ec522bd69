package swordfish_test

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/big"
	"os"
	"slices"
	"strings"
	"testing"

	"gatehouse/agent/card"
	"gatehouse/agent/swordfish"

	"github.com/google/go-cmp/cmp"
)

// events makes audits of events like 1300001A.
func events(list string) audits {
	var out audits
	for _, e := range strings.Fields(list) {
		out = append(out, swordfish.Audit{Code: e[:4], Data: e[4:], Time: "20171120104717"})
	}
	return out
}

func showEvents(a audits) string {
	var out []string
	for _, e := range a {
		out = append(out, e.Code+e.Data)
	}
	return strings.Join(out, " ")
}

func TestHide(t *testing.T) {
	for _, tt := range []struct{ name, in, want, cards string }{
		{"nothing is hidden in nothing", "", "", ""},
		{"other audits stay as they are", "07040001 13050001 12FF0001 130F1234", "07040001 13050001 12FF0001 130F1234", ""},
		{"the card of facility 77 and 1568 comes out, its last bit bit 0", "1300001A 13010C40 1302009A", "13000000 13010000 13020000", "2:26:26831000"},
		{"the same card as primeCr has it", "1300001A 13011000 13022683", "13000000 13010000 13020000", "2:26:26831000"},
		{"the vendor's example", "13000025 13010628 13025E31 13030081", "13000000 13010000 13020000 13030000", "3:37:815e310628"},
		{"words that are not needed belong to the group where they are 0", "0704ABCD 1300001A 13010C40 1302009A 13030000 13040000 0704ABCD", "0704ABCD 13000000 13010000 13020000 13030000 13040000 0704ABCD", "5:26:26831000"},
		{"two cards one after the other", "1300001A 13010C40 1302009A 1300001A 13010C45 1302009A", "13000000 13010000 13020000 13000000 13010000 13020000", "2:26:26831000 5:26:26831140"},
		{"64 bits", "13000040 13010001 13020203 13030405 13048607", "13000000 13010000 13020000 13030000 13040000", "4:64:8607040502030001"},
		{"one bit", "13000001 13010001", "13000000 13010000", "1:1:80"},
		{"16 bits need one word", "13000010 13018001", "13000000 13010000", "1:16:8001"},
		{"17 bits need two", "13000011 13018001", "13000000 13010000", ""},
		{"no bits are no card", "13000000 13010000", "13000000 13010000", ""},
		{"65 bits are no card", "13000041 1301FFFF 1302FFFF 1303FFFF 1304FFFF", "13000000 13010000 13020000 13030000 13040000", ""},
		{"a word is missing", "1300001A 1302009A", "13000000 13020000", ""},
		{"the last word is missing", "1300001A 13010C40", "13000000 13010000", ""},
		{"the length is missing", "13010C40 1302009A", "13010000 13020000", ""},
		{"the words are out of order", "1300001A 1302009A 13010C40", "13000000 13020000 13010000", ""},
		{"a word stands twice", "1300001A 13010C40 13010C40 1302009A", "13000000 13010000 13010000 13020000", ""},
		{"another audit stands between", "1300001A 13010C40 0704ABCD 1302009A", "13000000 13010000 0704ABCD 13020000", ""},
		{"a length follows a broken group", "1300001A 1300001A 13010C40 1302009A", "13000000 13000000 13010000 13020000", "3:26:26831000"},
		{"bits where the card has none", "1300001A 13010C41 1302F09A", "13000000 13010000 13020000", ""},
		{"bits in a word that is not needed", "1300001A 13010C40 1302009A 13030001", "13000000 13010000 13020000 13030000", ""},
		{"data that are none", "1300001A 1301xxxx 1302009A", "13000000 13010000 13020000", ""},
		{"a card of zeros is one", "1300001A 13010000 13020000", "13000000 13010000 13020000", "2:26:00000000"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in := events(tt.in)
			out, cards := swordfish.Hide(in)
			var got []string
			for _, c := range cards {
				got = append(got, fmt.Sprintf("%d:%s", c.Index, c.Bits.Text()))
			}
			if showEvents(out) != tt.want || strings.Join(got, " ") != tt.cards {
				t.Errorf("%s, cards %v\nwant %s, cards %s", showEvents(out), got, tt.want, tt.cards)
			}
			if showEvents(in) != tt.in {
				t.Error("the argument was changed")
			}
		})
	}
}

// Each published frame comes back from both ways of counting its bits, as the bits
// that a reader would have sent. The expected words are computed with big numbers.
func TestHideVectors(t *testing.T) {
	raw, err := os.ReadFile("testdata/wiegand.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Frames []struct {
			Format, Hex string
			Bits        int
		}
	}
	if err := json.Unmarshal(raw, &file); err != nil || len(file.Frames) == 0 {
		t.Fatal(len(file.Frames), err)
	}
	for _, fr := range file.Frames {
		want, err := card.ParseBits(fmt.Sprintf("%d:%s", fr.Bits, fr.Hex))
		if err != nil {
			t.Fatal(err)
		}
		b, _ := hex.DecodeString(fr.Hex) // ParseBits did
		filled := new(big.Int).SetBytes(b)
		plain := new(big.Int).Rsh(filled, uint((8-fr.Bits%8)%8))
		for way, v := range map[string]*big.Int{"plain": plain, "filled": filled} {
			in := audits{{Code: "1300", Data: fmt.Sprintf("%04X", fr.Bits)}}
			digits := fmt.Sprintf("%016X", v)
			for i := range (fr.Bits + 15) / 16 {
				in = append(in, swordfish.Audit{Code: fmt.Sprintf("130%d", i+1), Data: digits[12-4*i : 16-4*i]})
			}
			_, cards := swordfish.Hide(in)
			if len(cards) != 1 || cards[0].Bits != want || cards[0].Index != len(in)-1 {
				t.Errorf("%s of %d bits, %s: %d cards", fr.Format, fr.Bits, way, len(cards))
			}
		}
	}
}

// Whatever stands before and after, Hide treats a group alone as it does among others.
func TestHideIsLocal(t *testing.T) {
	parts := []string{"1300001A 13010C40 1302009A", "0704ABCD", "13000025 13010628 13025E31 13030081", "050B0000 13000010 13018001 0704ABCD"}
	var whole audits
	var want []swordfish.HiddenCard
	for _, p := range slices.Concat(parts, parts) {
		_, cards := swordfish.Hide(events(p))
		for _, c := range cards {
			want = append(want, swordfish.HiddenCard{Index: len(whole) + c.Index, Bits: c.Bits})
		}
		whole = append(whole, events(p)...)
	}
	if _, got := swordfish.Hide(whole); !slices.Equal(got, want) || len(got) != 6 {
		t.Errorf("%d cards, want %d: %s", len(got), len(want), cmp.Diff(fmt.Sprint(want), fmt.Sprint(got)))
	}
}
