package spool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sort"
	"time"

	"gatehouse/agent/site"
)

// hint remembers where a reader stopped, so that one which goes on from there
// need not look for the place.
type hint struct {
	name segmentName
	seq  uint64 // the number wanted next
	off  int64
}

const (
	maxHints    = 32      // two a reader
	readFirst   = 4 << 10 // a few events; each further piece is twice as large
	readChunk   = 64 << 10
	readRetries = 4
)

// Read returns events from the number from on, in order: at most limit events
// and about maxBytes of stored form, but one at least if there is one. Zero
// means no limit but a megabyte. It returns none when nothing from there on is
// durable yet. Events that had to go are told by an events_lost event with
// their count and the number of the last of them, so a consumer that has
// handled an event continues at its Seq + 1. Holder is empty; Sealed is there.
func (l *Log) Read(ctx context.Context, from site.EventSeq, limit, maxBytes int) ([]site.Event, error) {
	if maxBytes <= 0 {
		maxBytes = 1 << 20
	}
	var out []site.Event
	size := 0
	err := l.walk(ctx, uint64(max(from, 1)), func(ev site.Event, n int) bool {
		if len(out) > 0 && size+n > maxBytes {
			return false
		}
		out = append(out, ev)
		size += n
		return limit <= 0 || len(out) < limit
	})
	if err != nil && len(out) == 0 {
		return nil, fmt.Errorf("spool: read from %d: %w", from, err)
	}
	return out, nil
}

// Scan calls fn for each durable event from the number from to the number to
// (zero: the end as it is now), in order, until fn returns false.
func (l *Log) Scan(ctx context.Context, from, to site.EventSeq, fn func(site.Event) bool) error {
	if last := l.Last(); to == 0 || to > last {
		to = last
	}
	if from > to {
		return nil
	}
	err := l.walk(ctx, uint64(max(from, 1)), func(ev site.Event, _ int) bool {
		return ev.Seq <= to && fn(ev) && ev.Seq < to
	})
	if err != nil {
		return fmt.Errorf("spool: scan from %d: %w", from, err)
	}
	return nil
}

// Wait blocks until there is a durable event after the number after.
func (l *Log) Wait(ctx context.Context, after site.EventSeq) error {
	for {
		l.mu.Lock()
		last, news := l.last, l.news
		l.mu.Unlock()
		if last > uint64(after) {
			return nil
		}
		select {
		case <-news:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// SeekTime returns a number at or before the first event whose Time is not
// before t. It costs no disk access; a scan from there sees every such event.
func (l *Log) SeekTime(t time.Time) site.EventSeq {
	n := nanos(t)
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.segs {
		if s.foot.maxTime == 0 && !s.empty() || s.foot.maxTime >= n {
			return site.EventSeq(s.name.base)
		}
	}
	return site.EventSeq(l.last + 1)
}

// walk calls fn for each event from next on until fn returns false, the end is
// reached, or ctx ends. A place that is unsound is mended, then read again.
func (l *Log) walk(ctx context.Context, next uint64, fn func(ev site.Event, n int) bool) error {
	for tries := 0; ; {
		if err := ctx.Err(); err != nil {
			return err
		}
		seg, off, ok := l.locate(next)
		if !ok {
			return nil
		}
		before := next
		more, err := l.walkSegment(seg, off, &next, fn)
		if err == nil && !more {
			return nil
		}
		if err == nil || next != before {
			tries = 0
		}
		if err == nil {
			continue
		}
		if tries++; tries > readRetries {
			return err
		}
		if errors.Is(err, fs.ErrNotExist) {
			if _, still := l.listed(seg.name); !still {
				continue // it was replaced or trimmed in between
			}
			return err
		}
		if rerr := l.repair(ctx, seg.name); rerr != nil {
			return rerr
		}
	}
}

// locate returns a copy of the segment that accounts for the number next, or
// the first after it, and where to start reading in it.
func (l *Log) locate(next uint64) (segment, int64, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := sort.Search(len(l.segs), func(i int) bool { return l.segs[i].end >= next })
	for i < len(l.segs) && l.segs[i].empty() {
		i++
	}
	if i == len(l.segs) {
		return segment{}, 0, false
	}
	seg := *l.segs[i]
	for _, h := range l.hints {
		if h.name == seg.name && h.seq == next {
			return seg, h.off, true
		}
	}
	return seg, headerSize, true
}

// remember keeps where a reader stopped.
func (l *Log) remember(h hint) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.hints) == maxHints {
		l.hints = append(l.hints[:0], l.hints[1:]...)
	}
	l.hints = append(l.hints, h)
}

// walkSegment reads one segment from off on. next is moved past each event
// that fn took. more is false when fn had enough.
func (l *Log) walkSegment(seg segment, off int64, next *uint64, fn func(ev site.Event, n int) bool) (more bool, err error) {
	f, err := l.fs.Open(l.path(seg.name.String()))
	if err != nil {
		return false, err
	}
	defer func() { _ = f.Close() }() // opened for reading
	var buf []byte
	start, chunk := off, readFirst/2
	for off < seg.size {
		r, n, st := parseRecord(buf[off-start:], seg.name.log)
		if st == parsedShort { // also at the start, when nothing is there yet
			chunk = min(chunk*2, readChunk)
			want := int(min(int64(max(chunk, n)), seg.size-off))
			if want <= len(buf)-int(off-start) {
				return true, errDamaged
			}
			if want > cap(buf) {
				buf = make([]byte, want)
			}
			buf, start = buf[:want], off
			if m, err := f.ReadAt(buf, off); m < want {
				return true, errors.Join(errDamaged, err)
			}
			continue
		}
		if st != parsedOK || r.seq > seg.end {
			return true, errDamaged
		}
		if r.seq >= *next {
			if ev, ok := eventOf(r, seg.name.log, *next); ok && !fn(ev, n) {
				l.remember(hint{seg.name, r.seq, off})
				l.remember(hint{seg.name, r.seq + 1, off + int64(n)})
				return false, nil
			}
			*next = r.seq + 1
		}
		off += int64(n)
	}
	if *next <= seg.end {
		return true, errors.Join(errDamaged, io.ErrUnexpectedEOF)
	}
	l.remember(hint{seg.name, *next, off})
	return true, nil
}

// eventOf makes the event of a record for a reader that wants the numbers from
// next on. It is false for numbers that nobody misses.
func eventOf(r record, log uint32, next uint64) (site.Event, bool) {
	if len(r.payload) == 0 {
		return site.Event{}, false
	}
	ev, err := decodeEvent(r.payload)
	if err != nil {
		ev = site.Event{Kind: site.KindEventsLost, Count: 1, Text: "an event that this program cannot read"}
	}
	ev.Log, ev.Seq = logID(log), site.EventSeq(r.seq)
	if had := next - min(next, r.first()); r.span > 1 && had > 0 {
		ev.Count -= min(ev.Count, had)
	}
	return ev, true
}

// ScanBack calls fn for each durable event from the number from (zero: the
// last) down, until fn returns false.
func (l *Log) ScanBack(ctx context.Context, from site.EventSeq, fn func(site.Event) bool) error {
	to := uint64(from)
	if last := uint64(l.Last()); to == 0 || to > last {
		to = last
	}
	for tries := 0; to > 0; {
		if err := ctx.Err(); err != nil {
			return err
		}
		seg, ok := l.before(to)
		if !ok {
			return nil
		}
		var events []site.Event
		next := seg.name.base
		_, err := l.walkSegment(seg, headerSize, &next, func(ev site.Event, _ int) bool {
			events = append(events, ev)
			return true
		})
		switch {
		case errors.Is(err, fs.ErrNotExist):
			if _, still := l.listed(seg.name); still || tries > readRetries {
				return fmt.Errorf("spool: scan back from %d: %w", from, err)
			}
		case err != nil && tries <= readRetries:
			if err := l.repair(ctx, seg.name); err != nil {
				return fmt.Errorf("spool: scan back from %d: %w", from, err)
			}
		case err != nil:
			return fmt.Errorf("spool: scan back from %d: %w", from, err)
		}
		if err != nil {
			tries++
			continue
		}
		tries = 0
		for i := len(events) - 1; i >= 0; i-- {
			if uint64(events[i].Seq) <= to && !fn(events[i]) {
				return nil
			}
		}
		to = seg.name.base - 1
	}
	return nil
}

// before returns a copy of the segment that accounts for the number to, or the
// last one before it.
func (l *Log) before(to uint64) (segment, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := len(l.segs) - 1; i >= 0; i-- {
		if s := l.segs[i]; s.name.base <= to && !s.empty() {
			return *s, true
		}
	}
	return segment{}, false
}
