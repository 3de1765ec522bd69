package journal

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"gatehouse/tools/iphost/engage"
)

// Frame is an event message of a gateway: its eventId and the compact JSON.
type Frame struct {
	ID   uint32
	JSON []byte
}

// prevHeader names the gateway's batch before this one, so that its newest
// events can be read backwards.
const prevHeader = "Iphost-Prev"

// A repeat is looked for in the gateway's newest batches, as far back as these
// bounds: a gateway repeats its last unanswered batch, of about a second.
const (
	lookBatches = 512
	lookEvents  = 20_000
	lookTime    = time.Hour
)

// Writer appends the events of one gateway. One goroutine uses it at a time.
type Writer struct {
	j       *Journal
	subject string

	known   bool   // the members below are what the stream has
	any     bool   // the stream has a batch of this gateway
	lastSeq uint64 // its number
	lastID  uint32 // the eventId of its last event
	recent  map[uint64]struct{}
}

// hashSeed is this process's: hashes never leave it.
var hashSeed = maphash.MakeSeed()

// Writer returns a writer for a gateway. It reads nothing yet.
func (j *Journal) Writer(site string, serial engage.Serial) *Writer {
	return &Writer{j: j, subject: subject(site, serial)}
}

// Append stores frames as one batch and returns how many were new. When it
// returns nil the stream has every one of them. It tries again after an error,
// in order and without doubling, as long as ctx lasts.
func (w *Writer) Append(ctx context.Context, frames []Frame) (int, error) {
	for wait := 20 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		n, err := w.once(ctx, frames)
		if err == nil {
			return n, nil
		}
		// Whether the batch was stored is not known: read again what is there.
		w.known, w.recent = false, nil
		w.j.log.Debug("journal: append", "subject", w.subject, "err", err)
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			return 0, fmt.Errorf("journal: %s: %w", w.subject, err)
		case <-t.C:
		}
	}
}

// tryTime bounds one attempt.
const tryTime = 3 * time.Second

func (w *Writer) once(ctx context.Context, frames []Frame) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, tryTime)
	defer cancel()
	if !w.known {
		if err := w.load(ctx); err != nil {
			return 0, err
		}
	}
	fresh, err := w.fresh(ctx, frames)
	if err != nil || len(fresh) == 0 {
		return 0, err
	}
	m := nats.NewMsg(w.subject)
	m.Header.Set(prevHeader, strconv.FormatUint(w.lastSeq, 10))
	m.Data = join(fresh)
	ack, err := w.j.js.PublishMsg(ctx, m, jetstream.WithExpectLastSequencePerSubject(w.lastSeq), jetstream.WithExpectStream(streamName))
	if err != nil {
		return 0, err
	}
	w.any, w.lastSeq, w.lastID, w.recent = true, ack.Sequence, fresh[len(fresh)-1].ID, nil
	return len(fresh), nil
}

func join(frames []Frame) []byte {
	var b bytes.Buffer
	size := 1
	for _, f := range frames {
		size += len(f.JSON) + 1
	}
	b.Grow(size)
	for i, f := range frames {
		b.WriteByte("[,"[min(i, 1)])
		b.Write(f.JSON)
	}
	b.WriteByte(']')
	return b.Bytes()
}

// load reads the gateway's last batch from the stream's leader.
func (w *Writer) load(ctx context.Context) error {
	m, err := w.j.stream.GetLastMsgForSubject(ctx, w.subject)
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
		w.known, w.any, w.lastSeq = true, false, 0
		return nil
	case err != nil:
		return err
	}
	frames, err := ids(m.Data)
	if err != nil || len(frames) == 0 {
		return fmt.Errorf("batch %d cannot be read: %w", m.Sequence, err)
	}
	w.known, w.any, w.lastSeq, w.lastID = true, true, m.Sequence, frames[len(frames)-1].EventID
	return nil
}

// after compares eventIds, which are sequence numbers modulo 2^32.
func after(a, b uint32) bool { return int32(a-b) > 0 }

// fresh leaves out what the stream already has. A number above the last one is
// new without a look; others are compared with the newest batches.
func (w *Writer) fresh(ctx context.Context, frames []Frame) ([]Frame, error) {
	last := w.lastID
	for i, f := range frames {
		if w.any && !after(f.ID, last) {
			return w.compare(ctx, frames, i)
		}
		last = f.ID
	}
	return frames, nil
}

func (w *Writer) compare(ctx context.Context, frames []Frame, first int) ([]Frame, error) {
	if w.recent == nil {
		if err := w.look(ctx, frames[first].ID); err != nil {
			return nil, err
		}
	}
	var out []Frame
	for _, f := range frames {
		if _, stored := w.recent[maphash.Bytes(hashSeed, f.JSON)]; !stored {
			out = append(out, f)
		}
	}
	return out, nil
}

// look reads the newest batches backwards until one begins before id.
func (w *Writer) look(ctx context.Context, id uint32) error {
	recent := map[uint64]struct{}{}
	var newest time.Time
	seq := w.lastSeq
	for n := 0; seq != 0 && n < lookBatches && len(recent) < lookEvents; n++ {
		m, err := w.j.stream.GetMsg(ctx, seq)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			break // its age or the budget took it
		}
		if err != nil {
			return err
		}
		if newest.IsZero() {
			newest = m.Time
		}
		frames, err := ids(m.Data)
		if err != nil {
			return fmt.Errorf("batch %d: %w", seq, err)
		}
		for _, f := range frames {
			recent[maphash.Bytes(hashSeed, f.raw)] = struct{}{}
		}
		if newest.Sub(m.Time) > lookTime || len(frames) > 0 && after(id, frames[0].EventID) {
			break
		}
		if seq, err = strconv.ParseUint(m.Header.Get(prevHeader), 10, 64); err != nil {
			break
		}
	}
	w.recent = recent
	return nil
}

type stored struct {
	EventID uint32 `json:"eventId"`
	raw     json.RawMessage
}

// ids reads the frames of a batch with their numbers.
func ids(data []byte) ([]stored, error) {
	var raws []json.RawMessage
	if err := json.Unmarshal(data, &raws); err != nil {
		return nil, err
	}
	out := make([]stored, len(raws))
	for i, r := range raws {
		if err := json.Unmarshal(r, &out[i]); err != nil {
			return nil, err
		}
		out[i].raw = r
	}
	return out, nil
}
