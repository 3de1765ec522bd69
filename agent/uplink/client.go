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

	"github.com/gorilla/websocket"
)

const (
	faultID = "uplink:link"
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
		if text := c.faultText(err); time.Since(down) >= faultAfter {
			c.deps.Health.Set(faultID, text)
		}
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

func (c *Client) faultText(err error) string {
	text := "no connection to the IP host"
	if err != nil {
		text += ": " + oneLine(err)
	}
	return text
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
	c.deps.Health.Clear(faultID)
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

// link is what Run owns.
type link struct {
	c      *Client
	sender *sender
	reqs   *requests
	old    sync.WaitGroup // connections that drain

	mu sync.Mutex
	// guards following
	complained time.Time
	quiet      int // malformed messages since then
}

// wait waits for everything that was started.
func (l *link) wait() {
	l.old.Wait()
	l.reqs.wg.Wait()
}

// attempt makes a connection and serves it, and its successors, until one
// breaks. It returns how long there was a connection.
func (l *link) attempt(ctx context.Context) (lasted time.Duration, err error) {
	ws, err := l.c.join(ctx, l.c.stages)
	if err != nil {
		return 0, err
	}
	begun := time.Now()
	err = l.serve(ctx, l.start(ctx, ws))
	err = l.c.stages.fail(explain(StageUpgrade, fmt.Errorf("the connection ended: %w", err)))
	l.c.stages.waiting(StageSubscription, "")
	l.c.stages.waiting(StageQueue, "")
	return max(time.Since(begun), 1), err
}

// start begins to read a connection. Its reader ends when the connection does.
func (l *link) start(ctx context.Context, ws *websocket.Conn) *conn {
	c := l.c
	cn := newConn(ws, c.cfg.Ping+c.cfg.PongWait, c.log)
	cn.onFrame = func(cn *conn, f Frame) { l.frame(ctx, cn, f) }
	cn.onBad = l.bad
	go cn.read(c.codec)
	c.connected()
	c.log.Info("connected to the IP host")
	return cn
}

// serve sends events over a connection and replaces it before it is too old.
// When it returns, the connection it ended with has ended.
func (l *link) serve(ctx context.Context, cn *conn) error {
	for {
		next, err := l.serveOne(ctx, cn)
		if next == nil {
			return err
		}
		old := cn
		l.old.Go(func() { l.drain(ctx, old) })
		cn = next
	}
}

// serveOne returns the successor when there is one; by then no more events go
// over cn, and all that did are answered for or will be sent again.
func (l *link) serveOne(ctx context.Context, cn *conn) (next *conn, err error) {
	sendCtx, stop := context.WithCancel(ctx)
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		l.sender.run(sendCtx, cn)
	}()
	defer func() {
		stop()
		<-sent
	}()
	deadline := time.Now().Add(l.c.cfg.MaxAge)
	renew := time.NewTimer(renewal(l.c.cfg.Renew, mathrand.Float64()))
	defer renew.Stop()
	for attempt := 1; ; attempt++ {
		select {
		case <-ctx.Done():
			cn.close(websocket.CloseGoingAway, "", ctx.Err())
			return nil, ctx.Err()
		case <-cn.done:
			return nil, cn.err
		case <-renew.C:
		}
		if time.Until(deadline) <= 0 {
			err := fmt.Errorf("the connection is %s old and could not be renewed", l.c.cfg.MaxAge)
			cn.close(websocket.CloseNormalClosure, "", err)
			return nil, err
		}
		ws, err := l.renew(ctx, deadline)
		if err == nil {
			next := l.start(ctx, ws)
			l.finish(ctx, cn, stop, sent)
			return next, nil
		}
		wait := backoff(attempt, l.c.cfg.MinDelay, l.c.cfg.MaxDelay, mathrand.Float64())
		renew.Reset(min(wait, max(time.Until(deadline), 0)))
	}
}

// renewal returns the age at which a successor is made: up to a 24th part
// earlier than set, so that many gateways do not come at once.
func renewal(age time.Duration, random float64) time.Duration {
	return age - time.Duration(float64(age/24)*random)
}

// renew makes the successor. What goes wrong is noted beside the stages of the
// connection that still serves.
func (l *link) renew(ctx context.Context, deadline time.Time) (*websocket.Conn, error) {
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	st := newStages()
	ws, err := l.c.join(ctx, st)
	if err != nil {
		l.c.log.Warn("the connection cannot be renewed yet", "err", err)
		l.c.count.change(func(n *counters) { n.renewal = oneLine(err) })
		return nil, err
	}
	l.c.stages.take(st.copy())
	l.c.count.change(func(n *counters) { n.subscribed = [len(sources)]bool{} })
	return ws, nil
}

// finish stops the sender of a connection, after the host has answered for the
// batch that is under way if it does so soon.
func (l *link) finish(ctx context.Context, cn *conn, stop context.CancelFunc, sent <-chan struct{}) {
	cn.retire()
	timer := time.NewTimer(drainQuiet)
	defer timer.Stop()
	select {
	case <-sent:
	case <-timer.C:
	case <-ctx.Done():
	}
	stop()
	<-sent
}

// drain keeps a connection that has a successor until what it was asked is
// answered and nothing more comes.
func (l *link) drain(ctx context.Context, cn *conn) {
	most := time.NewTimer(drainMost)
	defer most.Stop()
	for {
		quiet := drainQuiet - time.Since(time.Unix(0, cn.used.Load()))
		if quiet <= 0 && cn.open.Load() == 0 {
			break
		}
		timer := time.NewTimer(max(quiet, drainQuiet/10))
		select {
		case <-timer.C:
			continue
		case <-cn.done:
			timer.Stop()
			return
		case <-most.C:
		case <-ctx.Done():
		}
		timer.Stop()
		break
	}
	cn.close(websocket.CloseNormalClosure, "", errReplaced)
}

// frame takes a good message.
func (l *link) frame(ctx context.Context, cn *conn, f Frame) {
	switch f.Kind {
	case KindSubscription:
		l.c.log.Info("the host subscribes", "subscription", fmt.Sprint(f.Subscriptions))
		cn.subscribe(f.Subscriptions)
	case KindRequest:
		cn.touch()
		cn.open.Add(1)
		if !l.reqs.do(ctx, f.Request, func(r Response) { l.answer(cn, f.ID, r) }) {
			l.c.count.change(func(n *counters) { n.refused++ })
			l.answer(cn, f.ID, Response{Status: 503, Body: statusMessage("Too many requests at once")})
		}
	default:
		l.bad(cn, &BadMessage{Why: "a host does not send a " + f.Kind.String()})
	}
}

// answer sends a response. Where it cannot be sent there is nobody left who
// waits for it.
func (l *link) answer(cn *conn, id uint32, r Response) {
	defer cn.open.Add(-1)
	defer cn.touch()
	b, err := l.c.codec.Encode(Frame{Kind: KindResponse, ID: id, Response: r})
	if err != nil {
		l.c.log.Error("an answer cannot be sent", "err", err)
		if b, err = l.c.codec.Encode(Frame{Kind: KindResponse, ID: id, Response: Response{Status: 500, Body: statusMessage("Internal error")}}); err != nil {
			return
		}
	}
	if err := cn.send(b); err != nil {
		l.c.log.Info("an answer could not be sent", "request", id, "err", err)
		return
	}
	l.c.count.change(func(n *counters) { n.requests++ })
}

// bad answers or drops a message that failed.
func (l *link) bad(cn *conn, b *BadMessage) {
	l.c.count.change(func(n *counters) { n.malformed++ })
	l.complain(b)
	if b.HasID && !b.Response {
		cn.open.Add(1)
		l.answer(cn, b.RequestID, Response{Status: 400, Body: statusMessage(b.Why)})
	}
}

func (l *link) complain(b *BadMessage) {
	l.mu.Lock()
	if time.Since(l.complained) < complainEvery {
		l.quiet++
		l.mu.Unlock()
		return
	}
	more := l.quiet
	l.complained, l.quiet = time.Now(), 0
	l.mu.Unlock()
	l.c.log.Warn("a message of the host is not understood", "answered", b.HasID && !b.Response, "more", more, "err", b)
}
