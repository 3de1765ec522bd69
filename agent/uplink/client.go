package uplink

import (
	"context"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"net/url"
	"strings"
	"sync"
	"time"
)

// FaultID is the fault that Health is given when there was no connection for long.
const FaultID = "uplink:link"

const (
	// faultAfter is how long there is no connection before it is a fault.
	faultAfter = time.Minute
	// held is how long a connection must last for the delay to begin anew.
	held = 30 * time.Second
	// A connection that has a successor goes when it was quiet for drainQuiet
	// with nothing open, and after drainMost in any case.
	drainQuiet = 3 * time.Second
	drainMost  = time.Minute
	// complainEvery bounds what malformed messages write to the log.
	complainEvery = time.Minute
)

// Client is the link to one IP host. It has the shape of a task.
type Client struct {
	cfg    Config
	deps   Deps
	server *url.URL
	codec  *Codec
	log    *slog.Logger
	stages *stages
	count  counters
	ready  chan struct{}
	once   sync.Once
	kick   chan struct{} // capacity 1

	// Of the goroutine that makes connections.
	lastStamp   string
	rootFetched time.Time // when distrust last made it fetch the root
	rootErr     error     // what came of that
}

// New builds the client of validated settings. It starts nothing.
func New(cfg Config, deps Deps) (*Client, error) {
	server, err := cfg.server()
	if err != nil {
		return nil, err
	}
	if _, err := newBlock(cfg.Key); err != nil {
		return nil, fmt.Errorf("uplink: %w", err)
	}
	if deps, err = deps.withDefaults(); err != nil {
		return nil, err
	}
	codec, err := NewCodec()
	if err != nil {
		return nil, err
	}
	return &Client{
		cfg: cfg.withDefaults(), deps: deps, server: server, codec: codec, log: deps.Log.With("peer", server.Host),
		stages: newStages(), ready: make(chan struct{}), kick: make(chan struct{}, 1),
	}, nil
}

// String names the task.
func (c *Client) String() string { return "uplink" }

// Ready is closed when Run has begun. There may be no connection for long:
// nothing of the site waits for one.
func (c *Client) Ready() <-chan struct{} { return c.ready }

// Kick makes a client that waits before its next attempt try at once, and fetch
// the root again if it must. Others are not disturbed.
func (c *Client) Kick() {
	select {
	case c.kick <- struct{}{}:
	default:
	}
}

// Run keeps the link until ctx ends; then it waits for the requests that are
// being carried out and returns nil. It may be run again after it has ended.
func (c *Client) Run(ctx context.Context) error {
	c.once.Do(func() { close(c.ready) })
	ps, err := newPlaces(c.deps.Events, c.deps.Keep)
	if err != nil {
		c.log.Warn("what the uplink remembers is lost; hosts are told that the log may have gaps", "err", err)
	}
	l := &link{c: c, sender: c.newSender(ps), reqs: newRequests(c.deps.Handler, c.cfg.Request, c.log)}
	defer l.wait()
	c.disconnected(nil)
	down := time.Now()
	for attempt := 1; ctx.Err() == nil; attempt++ {
		c.count.change(func(n *counters) { n.attempts, n.nextTry = attempt, time.Time{} })
		lasted, err := l.attempt(ctx)
		if ctx.Err() != nil {
			break
		}
		if lasted >= held {
			attempt, down = 0, time.Now()
		} else if lasted > 0 {
			down = time.Now()
		}
		c.disconnected(err)
		c.unwell(time.Since(down), err)
		delay := backoff(attempt, c.cfg.MinDelay, c.cfg.MaxDelay, mathrand.Float64())
		c.log.Warn("no connection to the IP host", "attempt", attempt, "again", delay, "err", err)
		c.rest(ctx, delay)
	}
	c.disconnected(nil)
	return nil
}

// backoff returns the delay after an attempt that failed: it doubles up to
// most, and half of it is random, so that a thousand gateways do not come at
// once.
func backoff(attempt int, least, most time.Duration, random float64) time.Duration {
	d := least
	for range attempt - 1 {
		if d >= most {
			break
		}
		d *= 2
	}
	d = min(d, most)
	return d/2 + time.Duration(float64(d/2)*random)
}

// rest waits before the next attempt.
func (c *Client) rest(ctx context.Context, d time.Duration) {
	c.count.change(func(n *counters) { n.nextTry = time.Now().Add(d) })
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	case <-c.kick:
		c.rootFetched = time.Time{}
	}
}

// unwell makes a fault of a connection that has been missing for long.
func (c *Client) unwell(since time.Duration, err error) {
	if since >= faultAfter {
		c.deps.Health.Set(FaultID, "no connection to the IP host: "+oneLine(err))
	}
}

func (c *Client) disconnected(err error) {
	c.count.change(func(n *counters) {
		if n.connected || n.since.IsZero() {
			n.since = time.Now()
		}
		n.connected, n.subscribed = false, [len(sources)]bool{}
		if err != nil {
			n.lastError = oneLine(err)
		}
	})
}

func (c *Client) connected() {
	c.count.change(func(n *counters) {
		if !n.connected {
			n.since = time.Now()
		}
		n.connected, n.renewal = true, ""
	})
	c.stages.forget()
	c.deps.Health.Clear(FaultID)
}

// oneLine is for status, where joined errors would break the lines.
func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

func (c *Client) noteSubscribed(on [2]bool) {
	changed := false
	c.count.change(func(n *counters) { changed, n.subscribed = n.subscribed != on, on })
	if !changed {
		return
	}
	var names []string
	for i, s := range sources {
		if on[i] {
			names = append(names, string(s))
		}
	}
	if len(names) == 0 {
		c.stages.waiting(StageSubscription, "the host has not subscribed to events")
		return
	}
	c.stages.ok(StageSubscription, "%s", strings.Join(names, ", "))
}

func (c *Client) notePlaces(ps *places) {
	c.count.change(func(n *counters) {
		for i, p := range ps.list {
			n.position[i], n.placed[i] = p.seq, p.begun
		}
	})
}
