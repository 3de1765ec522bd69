package uplink

import (
	"fmt"
	"net"
	"sync/atomic"
)

const corkSize = 32 << 10

// wireConn is what lies under a WebSocket. Before release it ends a connection
// that says more than it may; while it is corked, small writes are gathered, so
// that a batch of events costs a few system calls instead of hundreds.
type wireConn struct {
	net.Conn
	left atomic.Int64 // bytes that may be read; negative: released

	write  chan struct{} // held while the following are used; capacity 1
	corked bool
	buf    []byte
}

func newWireConn(conn net.Conn, budget int64) *wireConn {
	w := &wireConn{Conn: conn, write: make(chan struct{}, 1)}
	w.left.Store(budget)
	return w
}

const released = -1 << 62

func (w *wireConn) release() { w.left.Store(released) }

// Read reads, within the budget.
func (w *wireConn) Read(p []byte) (int, error) {
	left := w.left.Load()
	if left < 0 {
		return w.Conn.Read(p)
	}
	if left == 0 {
		return 0, fmt.Errorf("the host's answer has more than %d bytes of header", maxHeader)
	}
	n, err := w.Conn.Read(p[:min(int64(len(p)), left)])
	w.left.CompareAndSwap(left, left-int64(n))
	return n, err
}

// Write writes, or while corked keeps what is small.
func (w *wireConn) Write(p []byte) (int, error) {
	w.write <- struct{}{}
	defer func() { <-w.write }()
	if !w.corked {
		return w.Conn.Write(p)
	}
	if len(w.buf)+len(p) > corkSize {
		if err := w.flush(); err != nil {
			return 0, err
		}
	}
	if len(p) > corkSize/2 {
		return w.Conn.Write(p)
	}
	w.buf = append(w.buf, p...)
	return len(p), nil
}

// cork begins to gather writes.
func (w *wireConn) cork() {
	w.write <- struct{}{}
	defer func() { <-w.write }()
	w.corked = true
}

// uncork writes what was gathered, and gathers no more.
func (w *wireConn) uncork() error {
	w.write <- struct{}{}
	defer func() { <-w.write }()
	w.corked = false
	return w.flush()
}

func (w *wireConn) flush() error {
	if len(w.buf) == 0 {
		return nil
	}
	_, err := w.Conn.Write(w.buf)
	w.buf = w.buf[:0]
	return err
}
