package reader

import "time"

// tamperFaults faults within tamperWindow are a tamper (protocols/wiegand.md).
// It ends after tamperWindow without a further one.
const (
	tamperFaults = 3
	tamperWindow = 10 * time.Second
)

// tamper counts faults. It is pure.
type tamper struct {
	at       [tamperFaults]time.Time // the last faults, newest first
	n        int                     // how many of at are set
	standing bool
}

// fault takes a fault at t and reports whether a tamper begins with it.
func (m tamper) fault(t time.Time) (tamper, bool) {
	copy(m.at[1:], m.at[:])
	m.at[0] = t
	m.n = min(m.n+1, tamperFaults)
	begins := !m.standing && m.n == tamperFaults && t.Sub(m.at[tamperFaults-1]) <= tamperWindow
	m.standing = m.standing || begins
	return m, begins
}

// quiet takes the news that it is t, and reports whether the tamper ends.
func (m tamper) quiet(t time.Time) (tamper, bool) {
	if !m.standing || t.Sub(m.at[0]) < tamperWindow {
		return m, false
	}
	return tamper{}, true
}
