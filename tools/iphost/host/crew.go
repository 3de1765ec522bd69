package host

import "sync"

// crew counts goroutines that start others. Unlike with a WaitGroup, one may
// try to start when all have ended: it is then refused.
type crew struct {
	mu    sync.Mutex // guards following
	n     int
	leave chan struct{} // not nil: to be closed when nobody works
	gone  bool
}

// Go runs f in a goroutine, or returns false when the crew has gone.
func (c *crew) Go(f func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone {
		return false
	}
	c.n++
	go func() {
		defer c.done()
		f()
	}()
	return true
}

func (c *crew) done() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n--
	c.check()
}

func (c *crew) check() {
	if c.n == 0 && c.leave != nil && !c.gone {
		c.gone = true
		close(c.leave)
	}
}

// Dismiss returns a channel that is closed when nobody works any more; from
// then on nobody starts. Call it once.
func (c *crew) Dismiss() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leave = make(chan struct{})
	c.check()
	return c.leave
}
