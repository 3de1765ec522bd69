package journal

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"gatehouse/tools/iphost/bus"
	"gatehouse/tools/iphost/engage"
)

// Filter picks events. The zero value picks all.
type Filter struct {
	Site    string         // empty: all
	Gateway *engage.Serial // nil: all
	Type    string         // eventType; empty: all
	From    time.Time      // stored at or after; zero: no bound
	To      time.Time      // stored before; zero: no bound
	After   *ID            // only what stands after it; nil: no bound
}

func (f Filter) subject() string {
	site, serial := "*", "*"
	if f.Site != "" {
		site = f.Site
	}
	if f.Gateway != nil {
		serial = f.Gateway.String()
	}
	return subjectPrefix + site + "." + serial
}

// match is what the subject and the start of reading do not do.
func (f Filter) match(e Event) bool {
	return (f.Type == "" || e.kind == f.Type) &&
		(f.After == nil || f.After.Before(e.place)) &&
		!e.Time.Before(f.From)
}

// start says where reading begins.
func (f Filter) start() (policy jetstream.DeliverPolicy, seq uint64, at *time.Time) {
	switch {
	case f.After != nil:
		return jetstream.DeliverByStartSequencePolicy, max(1, f.After.Seq), nil
	case !f.From.IsZero():
		return jetstream.DeliverByStartTimePolicy, 0, &f.From
	}
	return jetstream.DeliverAllPolicy, 0, nil
}

// MaxPage is the most events of one page.
const MaxPage = 1000

// scanBatches bounds what one page reads where few events match.
const scanBatches = 20_000

// Page is a part of the stored events, oldest first.
type Page struct {
	Events []Event `json:"events"`
	// Next continues after this page; empty when the end was reached.
	Next string `json:"next,omitempty"`
}

// Query reads a page of at most limit events. A page may hold fewer, even none,
// and still have a Next, where much was read and little matched.
func (j *Journal) Query(ctx context.Context, f Filter, limit int) (page Page, err error) {
	for range readTries {
		// A reader lives on one of the hosts, and is lost with it.
		if page, err = j.query(ctx, f, min(max(limit, 1), MaxPage)); err == nil || !bus.Unanswered(err) || ctx.Err() != nil {
			break
		}
	}
	if err != nil {
		return Page{}, fmt.Errorf("journal: %w", err)
	}
	return page, nil
}

// readTries is how often a page is begun.
const readTries = 3

func (j *Journal) query(ctx context.Context, f Filter, limit int) (Page, error) {
	policy, seq, at := f.start()
	var c jetstream.Consumer
	// For half a minute after a host was lost, some readers are put on it and
	// answer nothing: soon another one is tried.
	err := bus.AgainFrom(ctx, 300*time.Millisecond, func(ctx context.Context) (err error) {
		c, err = j.js.CreateConsumer(ctx, streamName, jetstream.ConsumerConfig{
			AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, Replicas: 1, InactiveThreshold: 30 * time.Second,
			FilterSubject: f.subject(), DeliverPolicy: policy, OptStartSeq: seq, OptStartTime: at,
		})
		return err
	})
	if err != nil {
		return Page{}, err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		if err := j.js.DeleteConsumer(ctx, streamName, c.CachedInfo().Name); err != nil {
			j.log.Debug("journal: a reader ends by itself", "err", err)
		}
	}()
	page := Page{Events: []Event{}}
	r := reader{f: f, limit: limit, page: &page}
	for r.more(ctx) {
		// Most batches hold one event, and a page should not be read far beyond.
		batch, err := c.FetchNoWait(min(limit, 64))
		if err != nil {
			return Page{}, err
		}
		n, err := r.take(batch)
		if err == nil && n == 0 {
			err = r.checkEnd(ctx, j)
		}
		if err != nil {
			return Page{}, err
		}
	}
	return page, ctx.Err()
}

type reader struct {
	f     Filter
	limit int
	page  *Page
	read  int
	last  uint64 // batch
	done  bool
}

func (r *reader) more(ctx context.Context) bool { return !r.done && ctx.Err() == nil }

// take reads what was fetched and returns how much it was.
func (r *reader) take(batch jetstream.MessageBatch) (n int, err error) {
	for m := range batch.Messages() {
		n++
		if r.done || err != nil {
			continue // the fetch must be emptied
		}
		err = r.message(m)
	}
	if err == nil {
		err = batch.Error()
	}
	return n, err
}

// checkEnd ends the page where nothing follows. That a fetch brought nothing is
// no proof: it does so too when the reader's host is slow, or has to catch up
// with the others. The stream's leader knows.
func (r *reader) checkEnd(ctx context.Context, j *Journal) error {
	var last *jetstream.RawStreamMsg
	err := bus.Again(ctx, func(ctx context.Context) (err error) {
		last, err = j.stream.GetLastMsgForSubject(ctx, r.f.subject())
		return err
	})
	if err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) {
		return err
	}
	if err != nil || last.Sequence <= r.last || r.f.After != nil && last.Sequence < r.f.After.Seq || last.Time.Before(r.f.From) {
		r.done, r.page.Next = true, ""
		return nil
	}
	select {
	case <-ctx.Done():
	case <-time.After(20 * time.Millisecond): // then it is asked again
	}
	return nil
}

func (r *reader) message(m jetstream.Msg) error {
	events, err := read(m)
	if err != nil {
		return err
	}
	r.read++
	for _, e := range events {
		r.last = e.place.Seq
		if !r.f.To.IsZero() && !e.Time.Before(r.f.To) {
			r.done, r.page.Next = true, ""
			return nil
		}
		if r.f.match(e) {
			r.page.Events = append(r.page.Events, e)
		}
		if len(r.page.Events) == r.limit || r.read >= scanBatches {
			r.done, r.page.Next = true, e.ID
			return nil
		}
	}
	return nil
}

func read(m jetstream.Msg) ([]Event, error) {
	meta, err := m.Metadata()
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	return split(m.Subject(), meta.Sequence.Stream, meta.Timestamp.UTC(), m.Data())
}

// Follow calls each for every event that f picks, from f's start on, or only
// new ones where f has none; idle is called when nothing came for a while. It
// returns when ctx ends (nil), or an error of each, of idle or of the stream.
func (j *Journal) Follow(ctx context.Context, f Filter, wait time.Duration, each func(Event) error, idle func() error) error {
	policy, seq, at := f.start()
	if policy == jetstream.DeliverAllPolicy {
		policy = jetstream.DeliverNewPolicy
	}
	c, err := j.js.OrderedConsumer(ctx, streamName, jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{f.subject()}, DeliverPolicy: policy, OptStartSeq: seq, OptStartTime: at,
		InactiveThreshold: time.Minute,
	})
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	it, err := c.Messages(jetstream.PullMaxMessages(64))
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	defer it.Stop()
	if err := idle(); err != nil { // tells that the reading has begun
		return err
	}
	for {
		m, err := next(ctx, it, wait)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, nats.ErrTimeout), errors.Is(err, context.DeadlineExceeded):
			if err := idle(); err != nil {
				return err
			}
			continue
		case err != nil:
			return fmt.Errorf("journal: %w", err)
		}
		events, err := read(m)
		if err != nil {
			return err
		}
		for _, e := range events {
			if f.match(e) {
				if err := each(e); err != nil {
					return err
				}
			}
		}
	}
}

func next(ctx context.Context, it jetstream.MessagesContext, wait time.Duration) (jetstream.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	return it.Next(jetstream.NextContext(ctx))
}
