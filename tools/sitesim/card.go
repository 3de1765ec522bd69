package main

import (
	"encoding/hex"
	"fmt"
	"math/bits"
)

// h10301 lays out a standard 26-bit card: even parity over the next 12 bits,
// 8 bits facility, 16 bits number, odd parity over the last 12. The answer is
// left-justified hex.
func h10301(facility, number uint64) (string, error) {
	if facility > 255 || number > 65535 {
		return "", fmt.Errorf("a 26-bit card has a facility up to 255 and a number up to 65535")
	}
	data := uint32(facility<<16 | number)
	even := uint32(bits.OnesCount32(data>>12)) & 1
	odd := uint32(bits.OnesCount32(data&0xFFF)+1) & 1
	frame := even<<25 | data<<1 | odd
	b := frame << 6
	return hex.EncodeToString([]byte{byte(b >> 24), byte(b >> 16), byte(b >> 8), byte(b)}), nil
}

// keyFrame is the 4-bit frame that a keypad sends for a key, left-justified hex.
// Digits stand for themselves, * is 10 and # is 11.
func keyFrame(key rune) (string, error) {
	switch {
	case key >= '0' && key <= '9':
		return hex.EncodeToString([]byte{byte(key-'0') << 4}), nil
	case key == '*':
		return "a0", nil
	case key == '#':
		return "b0", nil
	}
	return "", fmt.Errorf("%q is not a key: digits, * and #", key)
}
