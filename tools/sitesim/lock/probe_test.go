package lock

import "maps"

// Clone returns a lock like this one, so that cards can be tried at it without a
// trace in the first.
func (l *Lock) Clone() *Lock {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := New(l.cfg)
	c.table = l.table
	c.byID = maps.Clone(l.byID) // a one-time card is written into it
	c.version, c.torn, c.mode, c.clock = l.version, l.torn, l.mode, l.clock
	return c
}

// Blocks returns the cards of the table.
func (l *Lock) Blocks() [][16]byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([][16]byte, 0, len(l.byCard))
	for b := range l.byCard {
		out = append(out, b)
	}
	return out
}

// Torn reports whether the table is newer than the version.
func (l *Lock) Torn() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.torn
}

// Written returns how many audits the lock ever wrote.
func (l *Lock) Written() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sequence
}

// Opens reports whether a card does nothing at the lock but to open, if that.
func (l *Lock) Opens(block [16]byte) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.byID[l.byCard[block]].function == opens
}
