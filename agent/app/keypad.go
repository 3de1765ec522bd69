package app

import (
	"time"

	"gatehouse/agent/card"
	"gatehouse/agent/site"
)

const (
	// keyGap is how long a keypad waits for the next key before it forgets
	// those typed so far: as long as a PIN is waited for (door.md, Decision).
	keyGap = 15 * time.Second
	// maxPIN is the longest PIN that can be enrolled. That many keys need no
	// enter key.
	maxPIN = 12
)

// keypad collects the keys of one reader into a PIN. It belongs to the goroutine
// that hands on what happens at the reader. It never judges: a PIN that is too
// short to be one is wrong as any other.
type keypad struct {
	digits []byte
	last   time.Time // of the last key
}

// key takes a key pressed at t and returns the PIN that it completes.
func (k *keypad) key(key card.Key, t time.Time) (site.PIN, bool) {
	if t.Sub(k.last) > keyGap {
		k.digits = k.digits[:0]
	}
	k.last = t
	switch d, digit := key.Digit(); {
	case digit:
		k.digits = append(k.digits, byte('0'+d))
	case key == card.KeyClear:
		k.clear()
		return "", false
	case key != card.KeyEnter || len(k.digits) == 0:
		return "", false
	}
	if key != card.KeyEnter && len(k.digits) < maxPIN {
		return "", false
	}
	pin := site.PIN(k.digits)
	k.clear()
	return pin, true
}

// clear forgets the keys typed so far: a card was shown, or the clear key.
func (k *keypad) clear() {
	clear(k.digits)
	k.digits = k.digits[:0]
}
