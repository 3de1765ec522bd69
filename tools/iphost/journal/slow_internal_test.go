package journal

import (
	"context"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"gatehouse/tools/iphost/bus"
	"gatehouse/tools/iphost/engage"
)

// slow has readers whose first fetch brings nothing in time.
type slow struct{ jetstream.JetStream }

type slowReader struct {
	jetstream.Consumer
	fetched int
}

type nothing struct{ jetstream.MessageBatch }

func (nothing) Messages() <-chan jetstream.Msg {
	c := make(chan jetstream.Msg)
	close(c)
	return c
}

func (nothing) Error() error { return nil }

func (s slow) CreateConsumer(ctx context.Context, stream string, cfg jetstream.ConsumerConfig) (jetstream.Consumer, error) {
	c, err := s.JetStream.CreateConsumer(ctx, stream, cfg)
	return &slowReader{Consumer: c}, err
}

func (r *slowReader) FetchNoWait(n int) (jetstream.MessageBatch, error) {
	if r.fetched++; r.fetched == 1 {
		return nothing{}, nil
	}
	return r.Consumer.FetchNoWait(n)
}

// TestSlowReader: a reader that is slow is not at the end.
func TestSlowReader(t *testing.T) {
	b, err := bus.Open(t.Context(), bus.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	j, err := Open(t.Context(), b, Config{})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		f := Frame{JSON: []byte(`{"eventId":1,"event":{"eventType":"Audit"}}`)}
		if _, err := j.Writer("demo", engage.Serial{15: 1}).Append(t.Context(), []Frame{f}); err != nil {
			t.Fatal(err)
		}
	}
	j.js = slow{j.js}
	page, err := j.Query(t.Context(), Filter{}, MaxPage)
	if err != nil || len(page.Events) != 1 || page.Next != "" {
		t.Errorf("%d events, next %q, %v; want 1", len(page.Events), page.Next, err)
	}
}
