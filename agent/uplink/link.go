package uplink

import (
	"context"
	"fmt"
	mathrand "math/rand/v2"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

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
	l.c.stages.take(st)
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
		log := l.c.deps.Events.Log
		cn.subscribe(f.Subscriptions, mark{log: log.ID(), seq: log.Last()})
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
