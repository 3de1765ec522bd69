package notify

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Limits of trying again (package doc, Order and loss).
const (
	minDelay     = time.Second
	maxDelay     = 5 * time.Minute
	maxAsked     = time.Hour // of a Retry-After
	refusedTries = 12
	refusedFor   = 24 * time.Hour
)

// verdict says how long a failed delivery is tried again.
type verdict uint8

const (
	again  verdict = iota // without end
	closed                // the receiver refuses everything: refusedFor
	poison                // it refuses this alarm: refusedTries
)

// failure is why something was not delivered.
type failure struct {
	verdict verdict
	after   time.Duration // what the receiver asks to wait
	err     error
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// failureOf takes an error without a verdict for an outage.
func failureOf(err error) *failure {
	if f, ok := errors.AsType[*failure](err); ok {
		return f
	}
	return &failure{err: err}
}

// plainError takes the URL out of an error, since its path may be a secret, and
// says a time-out in plain words.
func plainError(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	if n, ok := errors.AsType[net.Error](err); ok && n.Timeout() || errors.Is(err, context.DeadlineExceeded) {
		return errors.New("no answer in time")
	}
	return err
}

// words writes an error for people, on one line. A mail server's answer is
// written as it gave it.
func words(err error) string {
	text := err.Error()
	if t, ok := errors.AsType[*textproto.Error](err); ok {
		text = strings.Replace(text, t.Error(), fmt.Sprintf("%d %s", t.Code, t.Msg), 1)
	}
	return clean(text, 300)
}

// backoff is the delay after so many failures in a row, from 1: doubled each
// time, and shortened at random by up to a quarter, so that the sites of one
// receiver do not come back together.
func backoff(failures int) time.Duration {
	d := maxDelay
	if shift := failures - 1; shift < 16 {
		d = min(minDelay<<max(shift, 0), maxDelay)
	}
	return d - rand.N(d/4)
}

// retryAfter reads the header of RFC 9110, 10.2.3: seconds or a date. Zero: it
// is absent or makes no sense.
func retryAfter(h http.Header, now time.Time) time.Duration {
	text := h.Get("Retry-After")
	var d time.Duration
	if n, err := strconv.ParseUint(text, 10, 32); err == nil {
		d = time.Duration(n) * time.Second
	} else if at, err := http.ParseTime(text); err == nil {
		d = at.Sub(now)
	}
	return min(max(d, 0), maxAsked)
}
