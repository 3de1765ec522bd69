package uplink

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"gatehouse/agent/site"
)

const (
	writeWait   = 30 * time.Second // without progress
	controlWait = 5 * time.Second  // for a ping, a pong or a close
	closeWait   = 2 * time.Second  // for the other side's close
	// maxDiscard bounds what is read past of a message that is too large; one
	// with more ends the connection.
	maxDiscard = 64 << 20
	smallRead  = 64 << 10 // a buffer of this size is kept between messages
)

// errReplaced ends a connection that has a successor.
var errReplaced = errors.New("replaced by a new connection")

// conn is one connection. Its reader runs from newConn until done is closed.
type conn struct {
	ws  *websocket.Conn
	log *slog.Logger

	write chan struct{} // held while a message is written; capacity 1
	done  chan struct{} // closed when the reader has ended
	err   error         // why; set before done is closed

	subs    chan struct{}           // capacity 1: the subscriptions changed, or it is retired
	subbed  [2]atomic.Bool          // by Source.index
	marks   [2]atomic.Pointer[mark] // by Source.index: the log when it was subscribed
	changes atomic.Uint64           // of the subscriptions
	retired atomic.Bool             // no more batches
	open    atomic.Int64            // requests that are not answered
	used    atomic.Int64            // Unix nanoseconds of the last request or answer
	pong    chan struct{}           // capacity 1: the expected pong came
	expect  atomic.Value            // string: its payload
	cause   chan error              // capacity 1: why we end it
	ended   sync.Once               // the socket is closed once
	idle    time.Duration           // without a sign of the host
	buf     []byte                  // of the reader
	onFrame func(*conn, Frame)      // a good message
	onBad   func(*conn, *BadMessage)
}

// newConn wraps a WebSocket. The caller must run read.
func newConn(ws *websocket.Conn, idle time.Duration, log *slog.Logger) *conn {
	cn := &conn{
		ws: ws, log: log, idle: idle, write: make(chan struct{}, 1), done: make(chan struct{}),
		subs: make(chan struct{}, 1), pong: make(chan struct{}, 1), cause: make(chan error, 1),
	}
	cn.expect.Store("")
	cn.touch()
	ws.SetPingHandler(func(payload string) error {
		cn.alive()
		err := ws.WriteControl(websocket.PongMessage, []byte(payload), time.Now().Add(controlWait))
		if err != nil && !errors.Is(err, websocket.ErrCloseSent) {
			return fmt.Errorf("pong: %w", err)
		}
		return nil
	})
	ws.SetPongHandler(func(payload string) error {
		cn.alive()
		if payload != "" && payload == cn.expect.Load() {
			select {
			case cn.pong <- struct{}{}:
			default:
			}
		}
		return nil
	})
	return cn
}

func (cn *conn) touch() { cn.used.Store(time.Now().UnixNano()) }

// alive gives the host more time.
func (cn *conn) alive() { _ = cn.ws.SetReadDeadline(time.Now().Add(cn.idle)) }

// fail ends the connection because of err; the first cause counts.
func (cn *conn) fail(err error) {
	select {
	case cn.cause <- err:
	default:
	}
	cn.ended.Do(func() { _ = cn.ws.Close() })
}

// close says goodbye, waits a little for the other side's and ends.
func (cn *conn) close(code int, text string, cause error) {
	_ = cn.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, text), time.Now().Add(controlWait))
	select {
	case <-cn.done:
	case <-time.After(closeWait):
	}
	cn.fail(cause)
	<-cn.done
}

// read handles messages until the connection ends.
func (cn *conn) read(codec *Codec) {
	err := cn.readAll(codec)
	select {
	case err = <-cn.cause:
	default:
	}
	cn.ended.Do(func() { _ = cn.ws.Close() })
	cn.err = err
	close(cn.done)
}

func (cn *conn) readAll(codec *Codec) error {
	for {
		cn.alive()
		kind, r, err := cn.ws.NextReader()
		if err != nil {
			return err
		}
		data, err := cn.readMessage(r)
		if err != nil {
			return err
		}
		var f Frame
		if kind != websocket.TextMessage {
			cn.onBad(cn, &BadMessage{Why: "message is binary, not text"})
			continue
		}
		if f, err = codec.Parse(data); err == nil {
			cn.onFrame(cn, f)
		} else if bad, ok := errors.AsType[*BadMessage](err); ok {
			cn.onBad(cn, bad)
		}
		if cap(cn.buf) > smallRead {
			cn.buf = nil
		}
	}
}

// readMessage returns a message, at most one byte more than MaxMessage of it.
// What is beyond is read past. The memory is the reader's until the next call.
func (cn *conn) readMessage(r io.Reader) ([]byte, error) {
	buf := cn.buf[:0]
	for {
		if len(buf) == cap(buf) {
			next := make([]byte, len(buf), min(max(4<<10, 2*cap(buf)), MaxMessage+1))
			copy(next, buf)
			buf = next
		}
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		cn.buf = buf
		if n > 0 {
			cn.alive()
		}
		if errors.Is(err, io.EOF) {
			return buf, nil
		}
		if err != nil {
			return nil, err
		}
		if len(buf) > MaxMessage {
			return buf, cn.discard(r)
		}
	}
}

func (cn *conn) discard(r io.Reader) error {
	scrap := make([]byte, 32<<10)
	for total := 0; total <= maxDiscard; {
		n, err := r.Read(scrap)
		total += n
		if n > 0 {
			cn.alive()
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	_ = cn.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseMessageTooBig, ""), time.Now().Add(controlWait))
	return fmt.Errorf("the host sent a message of more than %d bytes", MaxMessage+maxDiscard)
}

// send writes a message. An error has ended the connection.
func (cn *conn) send(data []byte) error {
	select {
	case cn.write <- struct{}{}:
		defer func() { <-cn.write }()
	case <-cn.done:
		return cn.err
	}
	err := cn.sendLocked(data)
	if err != nil {
		cn.fail(fmt.Errorf("write: %w", err))
	}
	return err
}

func (cn *conn) sendLocked(data []byte) error {
	w, err := cn.ws.NextWriter(websocket.TextMessage)
	if err != nil {
		return err
	}
	for len(data) > 0 {
		n := min(len(data), writeSize)
		if err := cn.ws.SetWriteDeadline(time.Now().Add(writeWait)); err != nil {
			return err
		}
		if _, err := w.Write(data[:n]); err != nil {
			return err
		}
		data = data[n:]
	}
	return w.Close()
}

// gather sends what send is called with from within f with few system calls. An
// error has ended the connection.
func (cn *conn) gather(f func() error) error {
	wire, ok := cn.ws.NetConn().(*wireConn)
	if !ok {
		return f()
	}
	wire.cork()
	err := f()
	if ferr := wire.uncork(); err == nil && ferr != nil {
		err = ferr
		cn.fail(fmt.Errorf("write: %w", err))
	}
	return err
}

// ping sends a payload and returns when its pong came. When it does not come in
// time the connection ends.
func (cn *conn) ping(ctx context.Context, payload string, wait time.Duration) error {
	select {
	case <-cn.pong: // of a ping that was given up
	default:
	}
	cn.expect.Store(payload)
	defer cn.expect.Store("")
	if err := cn.ws.WriteControl(websocket.PingMessage, []byte(payload), time.Now().Add(controlWait)); err != nil {
		cn.fail(fmt.Errorf("ping: %w", err))
		return err
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	var err error
	select {
	case <-cn.pong:
		return nil
	case <-ctx.Done():
		err = ctx.Err()
	case <-cn.done:
		err = cn.err
	case <-timer.C:
		err = fmt.Errorf("the host has not answered a ping for %s", wait)
		cn.fail(err)
	}
	select {
	case <-cn.pong: // it came before the end: what it answers is not repeated
		return nil
	default:
		return err
	}
}

// mark is the end of the log at some time.
type mark struct {
	log site.LogID
	seq site.EventSeq
}

// subscribe takes a subscription message, which came when the log ended at now.
func (cn *conn) subscribe(list []Subscription, now mark) {
	for _, s := range list {
		i := s.Source.index()
		if s.Enabled && !cn.subbed[i].Load() {
			cn.marks[i].Store(&now)
		}
		cn.subbed[i].Store(s.Enabled)
	}
	cn.changes.Add(1)
	cn.wake()
}

// retire makes the sender stop after the batch that is under way.
func (cn *conn) retire() {
	cn.retired.Store(true)
	cn.wake()
}

func (cn *conn) wake() {
	select {
	case cn.subs <- struct{}{}:
	default:
	}
}

// subscribed returns the sources that are subscribed, and which change of the
// subscriptions that was.
func (cn *conn) subscribed() (on [2]bool, change uint64) {
	change = cn.changes.Load()
	for i := range on {
		on[i] = cn.subbed[i].Load()
	}
	return on, change
}
