package supervise

import (
	"context"
	"errors"
	"os"
	"time"
)

// verdict is why a listener ended. The zero value means that it was told to.
type verdict uint8

const (
	stopped verdict = iota
	silent          // no beat for longer than allowed
	closed          // the other end of the pipe is gone
	leaving         // the other side has said farewell
)

// The bytes in the pipes.
const (
	beatByte     = '.'
	farewellByte = '!' // the last one of a child that has stopped in order
)

// listen reads beats from r until the other side is silent or gone, or ctx
// ends; it may take one beat to see the latter. The first beat may take first,
// each other one limit. heard, if not nil, is called at the first beat.
func listen(ctx context.Context, r *os.File, beat, first, limit time.Duration, heard func()) verdict {
	var quiet time.Duration
	allowed := first
	buf := make([]byte, 256)
	for ctx.Err() == nil {
		start := time.Now()
		n, err := read(r, buf, beat)
		switch {
		case n > 0 && buf[n-1] == farewellByte:
			return leaving
		case n > 0:
			quiet, allowed = 0, limit
			if heard != nil {
				heard()
				heard = nil
			}
			continue
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return closed
		}
		// More than two beats between two looks: this process did not run.
		quiet += min(time.Since(start), 2*beat)
		if quiet < allowed {
			continue
		}
		// A read whose deadline has passed does not look into the pipe, so look
		// once more with a new one before judging.
		n, _ = read(r, buf, beat/4)
		switch {
		case n == 0:
			return silent
		case buf[n-1] == farewellByte:
			return leaving
		}
		quiet = 0
	}
	return stopped
}

func read(r *os.File, buf []byte, wait time.Duration) (int, error) {
	if err := r.SetReadDeadline(time.Now().Add(wait)); err != nil {
		return 0, err
	}
	return r.Read(buf)
}

// send writes a beat to w each time, while alive says so, until ctx ends or the
// other end is gone. A full pipe is the other side's silence, not an error.
// sent, if not nil, is called after the first beat.
func send(ctx context.Context, w *os.File, beat time.Duration, alive func() bool, sent func()) {
	tick := time.NewTicker(beat)
	defer tick.Stop()
	for {
		if alive() {
			err := write(w, beatByte, beat)
			if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
				return
			}
			if err == nil && sent != nil {
				sent()
				sent = nil
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func write(w *os.File, b byte, wait time.Duration) error {
	if err := w.SetWriteDeadline(time.Now().Add(wait)); err != nil {
		return err
	}
	_, err := w.Write([]byte{b})
	return err
}
