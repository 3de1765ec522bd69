package swordfish

import (
	"encoding/binary"
	"strconv"

	"gatehouse/agent/card"
)

// HiddenCard is a card that Hide took out of audits. Its bits are redacted wherever
// they are printed.
type HiddenCard struct {
	Index int // of the last audit of its group
	Bits  card.Bits
}

// maxHiddenBits is what the four words of a group can hold.
const maxHiddenBits = 64

// cardWord returns 0 for the code 1300, which tells how many bits an unknown card
// has, 1 to 4 for 1301 to 1304, its words from the last to the first, and -1 for any
// other code (engage.md section 5).
func cardWord(code string) int {
	if len(code) == 4 && code[:3] == "130" && code[3] >= '0' && code[3] <= '4' {
		return int(code[3] - '0')
	}
	return -1
}

// Hide takes the cards out of audits. It returns a copy in which the data of the
// codes 1300 to 1304 are 0000, whole groups or not; a itself still has the cards and
// must be forgotten. Call it before the audits are stored, shown or sent on.
//
// A group is 1300 with the number of bits, at most 64, followed at once by the words
// that so many bits need: 1301 with bits 15-0, 1302 with 31-16 and so on. Further
// words that follow in that order belong to it and must be 0. Anything else yields no
// card: a word that is missing, repeated, out of order, after another audit, or that
// has a bit where the card has none.
//
// engage.md section 5 leaves open what bit 0 is. The vendor's training example
// (13000025 13010628 13025E31 13030081 for the 37-bit card 815E310628; F) counts in
// the bytes of primeCr, so that the card's last bit lies above those that fill its
// last byte; a plain reading is that bit 0 is the card's last bit. Most data allow
// only one of the two. Where they allow both, the one that a known card format
// accepts is taken; where that does not tell either, the vendor's.
func Hide(a []Audit) ([]Audit, []HiddenCard) {
	out := append([]Audit(nil), a...)
	var cards []HiddenCard
	for i := 0; i < len(a); i++ {
		n := 0
		if cardWord(a[i].Code) == 0 {
			bits, words, ok := group(a[i:])
			if n = words; ok {
				cards = append(cards, HiddenCard{Index: i + words, Bits: bits})
			}
		}
		for end := i + n; ; i++ {
			if cardWord(a[i].Code) >= 0 {
				out[i].Data = noData
			}
			if i == end {
				break
			}
		}
	}
	return out, cards
}

// noData is what stands in place of a card.
const noData = "0000"

// group reads the group that begins with a[0] and how many words follow in order.
func group(a []Audit) (bits card.Bits, words int, ok bool) {
	var value uint64
	for words < 4 && words+1 < len(a) && cardWord(a[words+1].Code) == words+1 {
		v, err := strconv.ParseUint(a[words+1].Data, 16, 16)
		if err != nil {
			return card.Bits{}, words, false
		}
		value |= v << (16 * words)
		words++
	}
	n, err := strconv.ParseUint(a[0].Data, 16, 16)
	if err != nil || n < 1 || n > maxHiddenBits || words < int(n+15)/16 {
		return card.Bits{}, words, false
	}
	bits, ok = cardOf(int(n), value)
	return bits, words, ok
}

// cardOf makes n bits of a group's value, in whichever way fits: see Hide.
func cardOf(n int, value uint64) (card.Bits, bool) {
	fill := (8 - n%8) % 8 // the bits that fill the last byte of primeCr
	plain, plainFits := lowBits(n, value)
	filled, filledFits := card.Bits{}, false
	if value&(1<<fill-1) == 0 {
		filled, filledFits = lowBits(n, value>>fill)
	}
	switch {
	case plainFits && filledFits:
		if known := card.Standard(); known.Accepts(plain) && !known.Accepts(filled) {
			return plain, true
		}
		return filled, true
	case plainFits:
		return plain, true
	}
	return filled, filledFits
}

// lowBits makes a card of the n low bits of a value, the highest first; false where
// the value has more.
func lowBits(n int, value uint64) (card.Bits, bool) {
	if n < 64 && value>>n != 0 {
		return card.Bits{}, false
	}
	var buf [8]byte
	binary.BigEndian.PutUint64(buf[:], value<<(64-n))
	bits, err := card.NewBits(n, buf[:(n+7)/8])
	return bits, err == nil
}
