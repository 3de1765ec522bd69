package sim

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"gatehouse/hal"
)

// client is one connection. Its maps are guarded by Holder.mu.
type client struct {
	out   *outbox
	watch map[hal.LineName]bool
	clock bool
}

// client serves one connection until it ends or ctx does.
func (h *Holder) client(ctx context.Context, conn net.Conn) {
	c := &client{out: newOutbox(), watch: make(map[hal.LineName]bool)}
	h.mu.Lock()
	h.clients[c] = true
	h.mu.Unlock()

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { drop(conn) })
	defer stop()
	var writer sync.WaitGroup
	writer.Go(func() {
		if err := c.out.write(conn); err != nil {
			cancel()
		}
	})
	h.requests(ctx, c, conn)
	h.leave(c)
	if err := conn.SetWriteDeadline(time.Now().Add(lastWrite)); err != nil {
		cancel()
	}
	c.out.close()
	writer.Wait()
	drop(conn)
}

// leave ends what the connection had. The levels stay.
func (h *Holder) leave(c *client) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.clients, c)
	for _, p := range h.lines.pins {
		if p.owner == c {
			p.owner = nil
		}
	}
	h.freed()
}

// freed wakes the claims that wait. h.mu is held.
func (h *Holder) freed() {
	close(h.released)
	h.released = make(chan struct{})
}

func (h *Holder) requests(ctx context.Context, c *client, conn io.Reader) {
	r := bufio.NewReaderSize(conn, 4096)
	for {
		for c.out.full() {
			select {
			case <-c.out.room:
			case <-ctx.Done():
				return
			}
		}
		line, tooLong, err := readLine(r)
		if err != nil && len(line) == 0 && !tooLong {
			return
		}
		if len(line) > 0 || tooLong {
			h.handle(ctx, c, line, tooLong)
		}
		if err != nil || ctx.Err() != nil {
			return
		}
	}
}

// readLine returns the next line without its end. A line longer than MaxLine is
// read to its end and not kept. With an error there may still be a last line.
func readLine(r *bufio.Reader) (line []byte, tooLong bool, err error) {
	for {
		part, err := r.ReadSlice('\n')
		end := err == nil
		if end {
			part = part[:len(part)-1]
		}
		if tooLong = tooLong || len(line)+len(part) > MaxLine; tooLong {
			line = nil
		} else {
			line = append(line, part...)
		}
		if end {
			if n := len(line); n > 0 && line[n-1] == '\r' {
				line = line[:n-1]
			}
			return line, tooLong, nil
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, tooLong, err
		}
	}
}

func (h *Holder) handle(ctx context.Context, c *client, line []byte, tooLong bool) {
	if tooLong {
		c.out.answer(errorMessage(fmt.Errorf("%w: line longer than %d bytes", errBad, MaxLine)))
		return
	}
	req, err := parse(line)
	switch {
	case err != nil:
	case req.Wiegand != nil:
		err = h.play(ctx, c, *req.Wiegand)
	case req.Own != nil:
		err = h.own(ctx, c, req)
	default:
		err = h.do(c, req)
	}
	if err != nil {
		c.out.answer(errorMessage(err))
	}
}

// do performs a request that waits for nothing. Its answer is queued while
// h.mu is held, so that it stands before the events that follow it.
func (h *Holder) do(c *client, r request) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	at := now()
	switch {
	case r.Set != nil:
		p, err := h.lines.set(*r.Set, hal.Level(*r.Level == 1), at)
		return c.one(p, err)
	case r.Drive != nil:
		p, err := h.lines.setDriven(*r.Drive, hal.Level(*r.Level == 1), c, at)
		return c.one(p, err)
	case r.Get != nil:
		p, err := h.lines.get(*r.Get)
		return c.one(p, err)
	case r.Fault != nil:
		p, err := h.lines.fault(*r.Fault, at)
		return c.one(p, err)
	case r.Watch != nil:
		pins, err := h.lines.all(r.Watch)
		if err == nil {
			c.follow(pins)
		}
		return c.several(pins, err)
	case r.Disown != nil:
		pins, err := h.lines.disown(r.Disown, c)
		if err == nil {
			maps.DeleteFunc(c.watch, func(n hal.LineName, _ bool) bool { return slices.Contains(r.Disown, n) })
			h.freed()
		}
		return c.several(pins, err)
	case r.Lines != nil:
		pins, err := h.lines.declare(r.Lines, c, at)
		return c.several(pins, err)
	case r.Clock != nil:
		h.clock(c, *r.Clock, at)
		return nil
	case r.List:
		return c.several(h.lines.sorted(), nil)
	}
	return fmt.Errorf("%w: no command", errBad)
}

func (c *client) one(p *pin, err error) error {
	if err == nil {
		c.out.answer(lineMessage(p))
	}
	return err
}

func (c *client) several(pins []*pin, err error) error {
	if err == nil {
		c.out.answer(linesMessage(pins))
	}
	return err
}

func (c *client) follow(pins []*pin) {
	for _, p := range pins {
		c.watch[p.name] = true
	}
}

// clock changes or tells the trust in time. h.mu is held.
func (h *Holder) clock(c *client, r clockRequest, at time.Duration) {
	before := h.trusted
	if r.Trusted != nil {
		h.trusted = *r.Trusted
	}
	c.out.answer(message{Clock: &clockMessage{Trusted: h.trusted}})
	if before != h.trusted {
		for o := range h.clients {
			if o.clock {
				o.out.event(func(bool) message { return clockEvent(h.trusted, at) })
			}
		}
	}
	c.clock = c.clock || r.Watch
}

// own claims lines. It waits up to Grace for another owner to go.
func (h *Holder) own(ctx context.Context, c *client, r request) error {
	var level *hal.Level
	if r.Level != nil {
		v := hal.Level(*r.Level == 1)
		level = &v
	}
	grace := time.NewTimer(h.cfg.Grace)
	defer grace.Stop()
	for {
		wait, released, err := h.tryOwn(c, r.Own, level)
		if !wait {
			return err
		}
		select {
		case <-released:
		case <-grace.C:
			_, _, err := h.tryOwn(c, r.Own, level)
			return err
		case <-ctx.Done():
			return err
		}
	}
}

func (h *Holder) tryOwn(c *client, names []hal.LineName, level *hal.Level) (wait bool, released <-chan struct{}, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	pins, wait, err := h.lines.own(names, level, c, now())
	if err == nil && level == nil {
		c.follow(pins)
	}
	return wait, h.released, c.several(pins, err)
}

// play puts a Wiegand frame on its lines: it waits as long as the frame takes,
// then applies all its edges with the stamps at which they were due.
func (h *Holder) play(ctx context.Context, c *client, f frameRequest) error {
	start, release, err := h.begin(c, f)
	if err != nil {
		return err
	}
	edges := f.edges()
	length := edges[len(edges)-1].At
	timer := time.NewTimer(length)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	release()
	if ctx.Err() != nil {
		return fmt.Errorf("wiegand: %w", hal.ErrClosed)
	}
	for _, e := range edges {
		h.lines.drive(h.lines.pins[e.Line], e.Level, start+e.At)
	}
	c.out.answer(message{Bits: f.Bits})
	return nil
}

func (h *Holder) begin(c *client, f frameRequest) (start time.Duration, release func(), err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, p := range h.lines.pins {
		if p.owner == c {
			return 0, nil, fmt.Errorf("%w: wiegand: this connection owns lines; play on another", errBad)
		}
	}
	release, err = h.lines.reserve(f)
	return now(), release, err
}
