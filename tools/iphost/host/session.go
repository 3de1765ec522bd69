package host

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"gatehouse/tools/iphost/engage"
	"gatehouse/tools/iphost/registry"
)

const (
	closeGoingAway = websocket.CloseGoingAway
	closeReplaced  = websocket.CloseNormalClosure
	closeTryLater  = websocket.CloseTryAgainLater
)

// maxAge ends a connection that its gateway should have renewed after 24 h
// (section 1).
const maxAge = registry.PasswordLife + time.Hour

// retireWait is how long a connection whose gateway has a newer one may still be
// answered what it sent. What it was asked it may answer as long as anybody waits.
const retireWait = 5 * time.Second

var (
	writeBuffers sync.Pool // of gorilla's
	frameBuffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}
)

// keepBuffer is the largest buffer that goes back to the pool.
const keepBuffer = 64 << 10

// session is a gateway's connection to this host.
type session struct {
	h    *Host
	ws   *websocket.Conn
	info registry.Session
	log  *slog.Logger

	missed   atomic.Int32 // pings since the last sign of life
	nextPing time.Time    // watch's own

	intake intake
	outbox outbox

	// mu guards following.
	mu      sync.Mutex
	closed  bool
	retired bool
	pending map[uint32]*pending
	lastID  uint32
}

// begin takes a connection over from HTTP.
func (h *Host) begin(ws *websocket.Conn, serial engage.Serial, site string) {
	remote := ws.RemoteAddr().String()
	s := &session{h: h, ws: ws, log: h.cfg.Log.With("gateway", serial.String(), "peer", remote),
		nextPing: time.Now().Add(h.cfg.Ping),
		info:     registry.Session{Serial: serial, Site: site, Host: h.self.Instance, ID: rand.Text(), Remote: remote, Since: time.Now().UTC()}}
	s.intake.writer = h.journal.Writer(site, serial)
	s.intake.room = make(chan struct{}, 1)
	h.mu.Lock()
	if h.stopping {
		h.mu.Unlock()
		ws.Close()
		return
	}
	old := h.sessions[serial]
	h.sessions[serial] = s
	h.mu.Unlock()
	if !h.work.Go(func() { s.run(old) }) {
		ws.Close()
	}
}

// run tells the others where the gateway is, subscribes, and reads until the
// connection ends.
func (s *session) run(old *session) {
	ctx, cancel := context.WithTimeout(s.h.store, beginWait)
	before, err := s.h.reg.Begin(ctx, s.info)
	cancel()
	if old != nil {
		old.retire()
	}
	if err != nil {
		s.log.Error("the other hosts cannot be told where the gateway is", "err", err)
		s.end(closeTryLater, "the host cannot keep sessions now")
	} else {
		s.log.Info("connected")
		s.h.endElsewhere(before)
		if len(s.h.cfg.Subscribe) > 0 {
			s.send(frame{op: websocket.TextMessage, data: engage.Subscription(1, s.h.cfg.Subscribe, true)})
		}
	}
	cause := s.read()
	s.end(websocket.CloseNormalClosure, "")
	s.log.Info("disconnected", "cause", cause)
	s.h.forget(s)
	ctx, cancel = context.WithTimeout(s.h.store, goneWait)
	defer cancel()
	if err := s.h.reg.End(ctx, s.info); err != nil {
		s.log.Warn("the end of the session is not recorded", "err", err)
	}
}

// forget removes a session, unless another one took its place.
func (h *Host) forget(s *session) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.sessions[s.info.Serial] == s {
		delete(h.sessions, s.info.Serial)
	}
}

// read takes frames until the connection fails, and returns why it did.
func (s *session) read() error {
	s.ws.SetReadLimit(engage.MaxMessage)
	s.ws.SetPongHandler(func(string) error { s.missed.Store(0); return nil })
	s.ws.SetPingHandler(func(payload string) error {
		s.missed.Store(0)
		return s.take(item{ping: true, data: []byte(payload)})
	})
	for {
		kind, r, err := s.ws.NextReader()
		if err != nil {
			return err
		}
		s.missed.Store(0)
		if err := s.frame(kind, r); err != nil {
			return err
		}
	}
}

// frame reads one message. Only a connection that is lost is an error: a
// message that cannot be understood is logged and dropped (section 2).
func (s *session) frame(kind int, r io.Reader) error {
	b := frameBuffers.Get().(*bytes.Buffer)
	defer func() {
		if b.Cap() <= keepBuffer {
			b.Reset()
			frameBuffers.Put(b)
		}
	}()
	if _, err := b.ReadFrom(r); err != nil {
		return err
	}
	if kind != websocket.TextMessage {
		s.log.Warn("message dropped", "err", "not a text frame")
		return nil
	}
	m, err := engage.ParseMessage(b.Bytes())
	if err != nil {
		s.log.Warn("message dropped", "err", err)
		var me *engage.MessageError
		if errors.As(err, &me) && me.ID != 0 {
			s.answer(me.ID, answer{from: fromHost, status: 502, body: engage.StatusMessage("the gateway's " + me.Reason)})
		}
		return nil
	}
	if m.Response != nil {
		s.answer(m.Response.RequestID, answer{from: fromGateway, status: m.Response.Status, body: m.Response.Body})
		return nil
	}
	return s.take(item{id: m.Event.EventID, data: m.Event.Compact})
}

// end closes the connection and lets nobody wait for it. It may be called more
// than once, and does not block.
func (s *session) end(code int, text string) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return
	}
	s.closed = true
	waiting := s.pending
	s.pending = nil
	s.mu.Unlock()
	for _, p := range waiting {
		p.done(answer{from: fromHost, status: 502, body: engage.StatusMessage("the gateway's connection ended before it answered")})
	}
	s.intake.wake()
	closing := func() {
		if text != "" {
			// The peer may be gone: then nobody reads why.
			s.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, text), time.Now().Add(time.Second))
		}
		s.ws.Close()
	}
	if !s.h.work.Go(closing) {
		closing()
	}
}

// retire ends a connection whose gateway has a newer one: when it has answered
// what it was asked, or the time for that is over, and was answered what it sent,
// or had a while for that.
func (s *session) retire() {
	s.mu.Lock()
	s.retired = true
	idle := len(s.pending) == 0
	s.mu.Unlock()
	if idle && s.intake.empty() {
		s.end(closeReplaced, "a newer connection took its place")
		return
	}
	time.AfterFunc(s.h.cfg.retireWait, func() {
		s.mu.Lock()
		asked := len(s.pending) > 0
		s.mu.Unlock()
		if !asked { // else the last answer ends it
			s.end(closeReplaced, "a newer connection took its place")
		}
	})
}

// watch pings silent gateways and ends those that give no sign of life.
func (h *Host) watch() {
	t := time.NewTicker(max(h.cfg.Ping/10, 10*time.Millisecond))
	defer t.Stop()
	for {
		select {
		case <-h.quit.Done():
			return
		case now := <-t.C:
			for _, s := range h.all() {
				s.check(now)
			}
		}
	}
}

func (s *session) check(now time.Time) {
	if now.Before(s.nextPing) {
		return
	}
	s.nextPing = now.Add(s.h.cfg.Ping)
	switch {
	case now.Sub(s.info.Since) > maxAge:
		s.end(closeGoingAway, "new credentials are due every 24 h")
	case int(s.missed.Add(1)) > s.h.cfg.Misses:
		s.log.Warn("no sign of life", "pings", s.h.cfg.Misses)
		s.end(closeGoingAway, "pings were not answered")
	default:
		s.send(frame{op: websocket.PingMessage})
	}
}
