package uplink

import (
	"bytes"
	"errors"
	"net"
	"strings"
	"testing"
)

// recorder is a connection that notes each write, and can fail.
type recorder struct {
	net.Conn
	writes [][]byte
	fail   error
}

func (r *recorder) Write(p []byte) (int, error) {
	if r.fail != nil {
		return 0, r.fail
	}
	r.writes = append(r.writes, bytes.Clone(p))
	return len(p), nil
}

func TestWireConnGathers(t *testing.T) {
	r := &recorder{}
	w := newWireConn(r, 0)
	var want strings.Builder
	say := func(text string) {
		want.WriteString(text)
		if n, err := w.Write([]byte(text)); n != len(text) || err != nil {
			t.Errorf("wrote %d, %v", n, err)
		}
	}
	say("before")
	w.cork()
	for range 100 {
		say("small")
	}
	if len(r.writes) != 1 {
		t.Errorf("%d writes while corked, want the one before", len(r.writes))
	}
	say(strings.Repeat("x", corkSize))
	say("then")
	if err := w.uncork(); err != nil {
		t.Fatal(err)
	}
	say("after")
	if got := string(bytes.Join(r.writes, nil)); got != want.String() {
		t.Error("the bytes are not those that were written, in their order")
	}
	if len(r.writes) != 5 {
		t.Errorf("%d writes, want 5", len(r.writes))
	}
}

func TestWireConnTellsOfFailure(t *testing.T) {
	broken := errors.New("broken")
	r := &recorder{}
	w := newWireConn(r, 0)
	w.cork()
	if _, err := w.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	r.fail = broken
	if _, err := w.Write(make([]byte, corkSize)); !errors.Is(err, broken) {
		t.Errorf("a write that must flush: %v", err)
	}
	w.buf = append(w.buf[:0], 'x')
	if err := w.uncork(); !errors.Is(err, broken) {
		t.Errorf("uncork: %v", err)
	}
}

func TestWireConnBudget(t *testing.T) {
	ours, theirs := net.Pipe()
	w := newWireConn(ours, 10)
	go func() {
		_, _ = theirs.Write(make([]byte, 20))
		_ = theirs.Close()
	}()
	buf := make([]byte, 64)
	if n, err := w.Read(buf); n != 10 || err != nil {
		t.Errorf("read %d, %v", n, err)
	}
	if n, err := w.Read(buf); n != 0 || err == nil {
		t.Errorf("beyond the budget: %d, %v", n, err)
	}
	w.release()
	if n, err := w.Read(buf); n != 10 || err != nil {
		t.Errorf("released: %d, %v", n, err)
	}
}
