package haltest

import (
	"sync"
	"time"

	"gatehouse/hal"
)

var _ hal.Clock = (*Clock)(nil)

// Clock is a fake hal.Clock. The zero value is time.Now, synchronised.
//
// A clock that was Set goes on from there with real (or the bubble's) time. Its
// values carry a monotonic reading that was moved with the wall clock, so do
// not subtract one from before a Set from one after it.
type Clock struct {
	mu     sync.Mutex // guards following
	offset time.Duration
	unsync bool
}

// Now implements hal.Clock.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.offset)
}

// Synchronised implements hal.Clock.
func (c *Clock) Synchronised() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.unsync
}

// Set moves the clock to t.
func (c *Clock) Set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.offset = time.Until(t)
}

// SetSynchronised says what Synchronised answers.
func (c *Clock) SetSynchronised(ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unsync = !ok
}
