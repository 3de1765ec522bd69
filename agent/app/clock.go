package app

import (
	"context"
	"sync/atomic"
	"time"

	"gatehouse/agent/site"
	"gatehouse/hal"
)

const (
	// clockSlack is how far the clock may step back without being doubted: NTP
	// corrects small errors by stepping.
	clockSlack = 2 * time.Second
	// clockSample is how often the clock is compared with what vouches for it.
	clockSample = time.Second
	// clockKeep is how often the last trusted time goes to disk.
	clockKeep = time.Minute
)

// timeKeeper keeps the last trusted time on disk.
type timeKeeper interface {
	TrustedTime() time.Time
	KeepTrustedTime(time.Time)
}

// clockWatch answers what time it is and whether that can be believed
// (door.md, Untrusted clock). A clock is trusted while something outside
// vouches for it and it is not behind the last trusted time; a clock that went
// back stays untrusted until it has caught up.
type clockWatch struct {
	hw    hal.Clock
	mode  site.ClockMode
	keep  timeKeeper
	emit  func(site.Event)
	ready chan struct{}

	synced atomic.Bool
	last   atomic.Int64 // last trusted wall time, Unix nanoseconds; 0: none
	shown  atomic.Bool  // what the last clock event said
}

func newClockWatch(hw hal.Clock, mode site.ClockMode, keep timeKeeper, emit func(site.Event)) *clockWatch {
	c := &clockWatch{hw: hw, mode: mode, keep: keep, emit: emit, ready: make(chan struct{})}
	if t := keep.TrustedTime(); !t.IsZero() {
		c.last.Store(t.UnixNano())
	}
	c.synced.Store(hw.Synchronised())
	return c
}

// Clock returns the time of this instant. It never blocks.
func (c *clockWatch) Clock() site.Clock {
	now := c.hw.Now()
	out := site.Clock{Now: now, Mode: c.mode, LastTrusted: c.lastTrusted()}
	out.Trusted = c.synced.Load() && !c.behind(now)
	if out.Trusted {
		c.advance(now)
	}
	return out
}

func (c *clockWatch) lastTrusted() time.Time {
	if n := c.last.Load(); n != 0 {
		return time.Unix(0, n)
	}
	return time.Time{}
}

// behind compares wall clocks: the monotonic reading would hide a step.
func (c *clockWatch) behind(now time.Time) bool {
	n := c.last.Load()
	return n != 0 && now.UnixNano() < n-int64(clockSlack)
}

func (c *clockWatch) advance(now time.Time) {
	for n := now.UnixNano(); ; {
		old := c.last.Load()
		if n <= old || c.last.CompareAndSwap(old, n) {
			return
		}
	}
}

// Run samples the clock until ctx ends, tells each change of trust as one
// event, and keeps the last trusted time on disk.
func (c *clockWatch) Run(ctx context.Context) error {
	tick := time.NewTicker(clockSample)
	defer tick.Stop()
	c.tell(c.sample().Trusted, true)
	close(c.ready)
	kept := c.hw.Now()
	for {
		select {
		case <-ctx.Done():
			c.save()
			return nil
		case <-tick.C:
		}
		now := c.sample()
		c.tell(now.Trusted, false)
		if now.Trusted && now.Now.Sub(kept).Abs() >= clockKeep {
			kept = now.Now
			c.save()
		}
	}
}

func (c *clockWatch) sample() site.Clock {
	c.synced.Store(c.hw.Synchronised())
	return c.Clock()
}

func (c *clockWatch) tell(trusted, first bool) {
	if c.shown.Swap(trusted) == trusted && !(first && !trusted) {
		return
	}
	ev := site.Event{Kind: site.KindClock, Cleared: trusted, Text: "the time is not known to be right"}
	if trusted {
		ev.Text = "the time is known to be right"
	} else if c.synced.Load() {
		ev.Text = "the clock went back behind " + c.lastTrusted().UTC().Format(time.RFC3339)
	}
	c.emit(ev)
}

func (c *clockWatch) save() {
	if t := c.lastTrusted(); !t.IsZero() {
		c.keep.KeepTrustedTime(t)
	}
}

// Ready is closed after the first sample.
func (c *clockWatch) Ready() <-chan struct{} { return c.ready }

// String names the task.
func (c *clockWatch) String() string { return "clock" }
