// Package journal keeps the gateways' events in a JetStream stream that all
// hosts share.
//
// A message of the stream is a batch: a JSON array of the event messages as
// the gateway sent them, under the subject iphost.ev.SITE.SERIAL. A [Writer]
// appends each batch with the number of the gateway's last one as a condition,
// so that two hosts that hold the same gateway for a moment cannot mix its
// events, and drops what a gateway repeats after a cut: an event with the same
// eventId and the same content that is already in the stream.
//
// A batch is acknowledged when the stream has it: on one host alone when it is
// written, in a cluster when most replicas have it.
package journal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"gatehouse/tools/iphost/bus"
	"gatehouse/tools/iphost/engage"
)

const (
	streamName    = "IPHOST_EVENTS"
	subjectPrefix = "iphost.ev."
)

// Config bounds the stream. Zero values mean no bound.
type Config struct {
	MaxAge   time.Duration
	MaxBytes int64
	// Log may be nil.
	Log *slog.Logger
}

// Journal is the stream. Its methods may be called at the same time.
type Journal struct {
	js     jetstream.JetStream
	stream jetstream.Stream
	log    *slog.Logger
}

// Open makes or takes the stream, as long as ctx lasts.
func Open(ctx context.Context, b *bus.Bus, cfg Config) (*Journal, error) {
	most := int64(-1)
	if cfg.MaxBytes > 0 {
		most = cfg.MaxBytes
	}
	s, err := b.Stream(ctx, jetstream.StreamConfig{
		Name: streamName, Subjects: []string{subjectPrefix + ">"},
		Description: "events of ENGAGE gateways, batches in the order of each gateway",
		MaxAge:      cfg.MaxAge, MaxBytes: most, Discard: jetstream.DiscardOld,
		Duplicates: dedupe(cfg.MaxAge),
	})
	if err != nil {
		return nil, err
	}
	log := cfg.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Journal{js: b.JS, stream: s, log: log}, nil
}

// dedupe is NATS's own window for repeats, unused here, which may not be longer
// than the age of messages.
func dedupe(age time.Duration) time.Duration {
	if age > 0 && age < time.Minute {
		return age
	}
	return time.Minute
}

// Bounds returns the numbers of the oldest and the newest batch that are kept.
func (j *Journal) Bounds(ctx context.Context) (first, last uint64, err error) {
	info, err := j.stream.Info(ctx)
	if err != nil {
		return 0, 0, fmt.Errorf("journal: %w", err)
	}
	return info.State.FirstSeq, info.State.LastSeq, nil
}

// ID is an event's place in the stream: its batch and its place in it.
type ID struct {
	Seq   uint64
	Index int
}

// maxIndex bounds an index read from outside.
const maxIndex = 1 << 24

// ErrID means that a text is no event id.
var ErrID = errors.New("not an event id: want BATCH.INDEX")

// ParseID reads what String wrote.
func ParseID(s string) (ID, error) {
	seq, index, ok := strings.Cut(s, ".")
	a, err1 := strconv.ParseUint(seq, 10, 63)
	b, err2 := strconv.ParseUint(index, 10, 63)
	if !ok || err1 != nil || err2 != nil || b > maxIndex {
		return ID{}, ErrID
	}
	return ID{a, int(b)}, nil
}

// String returns BATCH.INDEX.
func (i ID) String() string { return strconv.FormatUint(i.Seq, 10) + "." + strconv.Itoa(i.Index) }

// Before reports whether i stands before o.
func (i ID) Before(o ID) bool { return i.Seq < o.Seq || i.Seq == o.Seq && i.Index < o.Index }

// Event is a stored event, as the broker shows it.
type Event struct {
	ID      string          `json:"id"`      // its place in the stream
	Gateway string          `json:"gateway"` // serial
	Site    string          `json:"site"`
	Time    time.Time       `json:"time"` // when it was stored
	EventID uint32          `json:"eventId"`
	Event   json.RawMessage `json:"event"` // as the gateway sent it

	place ID
	kind  string
}

// split reads a batch.
func split(subject string, seq uint64, at time.Time, data []byte) ([]Event, error) {
	site, serial, ok := strings.Cut(strings.TrimPrefix(subject, subjectPrefix), ".")
	if !ok {
		return nil, fmt.Errorf("journal: subject %q", subject)
	}
	var frames []struct {
		EventID uint32          `json:"eventId"`
		Event   json.RawMessage `json:"event"`
	}
	if err := json.Unmarshal(data, &frames); err != nil {
		return nil, fmt.Errorf("journal: batch %d: %w", seq, err)
	}
	out := make([]Event, len(frames))
	for i, f := range frames {
		var kind struct {
			Type string `json:"eventType"`
		}
		if err := json.Unmarshal(f.Event, &kind); err != nil {
			return nil, fmt.Errorf("journal: batch %d: %w", seq, err)
		}
		place := ID{seq, i}
		out[i] = Event{ID: place.String(), Gateway: serial, Site: site, Time: at, EventID: f.EventID, Event: f.Event, place: place, kind: kind.Type}
	}
	return out, nil
}

func subject(site string, serial engage.Serial) string {
	return subjectPrefix + site + "." + serial.String()
}
