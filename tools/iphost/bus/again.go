package bus

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// A bucket or stream whose leader is lost answers nothing until the other hosts have
// elected a new one: 4 to 9 s (raft.go of nats-server), and a moment to begin.
// So each question is asked again, and who waits for it waits that long.
const (
	onceTime  = 1500 * time.Millisecond
	patience  = 15 * time.Second
	pauseTime = 50 * time.Millisecond
)

// Again calls f until it is answered, or for patience.
func Again(ctx context.Context, f func(ctx context.Context) error) error {
	return AgainFrom(ctx, onceTime, f)
}

// AgainFrom is Again where the first try has less time. Each has more than the
// one before.
func AgainFrom(ctx context.Context, first time.Duration, f func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for tryTime := first; ; tryTime = min(2*tryTime, onceTime) {
		once, cancel := context.WithTimeout(ctx, tryTime)
		err := f(once)
		cancel()
		if !Unanswered(err) {
			return err
		}
		t := time.NewTimer(pauseTime)
		select {
		case <-ctx.Done():
			t.Stop()
			return err
		case <-t.C:
		}
	}
}

// Unanswered reports whether an error is of a bucket without a leader: whether
// a write was done is then not known.
func Unanswered(err error) bool {
	var api *jetstream.APIError
	if errors.As(err, &api) {
		return api.Code == 503
	}
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrTimeout) || errors.Is(err, nats.ErrNoResponders) ||
		errors.Is(err, jetstream.ErrNoStreamResponse)
}
