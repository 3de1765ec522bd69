package spool

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"
	"time"

	"gatehouse/agent/site"
)

// The pauses between attempts to write.
const (
	retryFirst = 250 * time.Millisecond
	retryMost  = 10 * time.Second
	// retryStop is the number of attempts that are made after Run was told to
	// end.
	retryStop = 3
)

const (
	// gatherTime is the least time between the end of one write and the begin
	// of the next, as long as nobody waits for an event and there is room.
	gatherTime = 500 * time.Microsecond
	// gatherPart is the part of the queue, one in so many, that waits no longer.
	gatherPart = 4
)

// begin is a new log that is to be begun.
type begin struct {
	id     uint32
	above  uint64 // numbers known to have been given
	reason string
}

func newBegin(reason string, above uint64) *begin {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails, by its documentation
	return &begin{id: le.Uint32(b[:]), above: above, reason: reason}
}

// String names the task.
func (l *Log) String() string { return "event log" }

// Ready is closed once Run takes events. It does not wait for the disk.
func (l *Log) Ready() <-chan struct{} { return l.ready }

// Run writes events until ctx ends, then writes what is queued, and returns
// nil. One Run at a time; it may be called again.
func (l *Log) Run(ctx context.Context) error {
	l.mu.Lock()
	if l.running || l.closed {
		l.mu.Unlock()
		return errors.New("spool: run: the log is closed or already running")
	}
	l.running = true
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		l.running = false
		l.mu.Unlock()
	}()
	var wg sync.WaitGroup
	wg.Go(func() { l.maintain(ctx) })
	defer wg.Wait()
	l.once.Do(func() { close(l.ready) })
	nudge(l.wake) // a new log may have to begin
	for {
		select {
		case <-l.wake:
			l.drain(ctx)
		case <-ctx.Done():
			l.drain(ctx)
			return nil
		}
	}
}

// drain writes until the queue is empty. After ctx's end it gives up after a
// few attempts.
func (l *Log) drain(ctx context.Context) {
	pause, stopping := retryFirst, 0
	for {
		l.gather(ctx)
		more, err := l.writeSome()
		if err == nil {
			pause = retryFirst
			if !more {
				return
			}
			continue
		}
		l.log.Warn("events cannot be written; they wait in the queue", "err", err)
		l.opt.OnFault(FaultWrite, err.Error())
		if ctx.Err() != nil {
			if stopping++; stopping >= retryStop {
				return
			}
			continue
		}
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
		}
		pause = min(pause*2, retryMost)
	}
}

// gather lets events come together when they come so fast that each would cost
// a write of its own. The first one after a pause is not delayed, nor is any
// when somebody waits for a receipt.
func (l *Log) gather(ctx context.Context) {
	select {
	case <-l.hurry:
	default:
	}
	l.mu.Lock()
	urgent := l.waiters > 0 || l.failing || len(l.queue) == 0 || l.crowded()
	l.mu.Unlock()
	wait := gatherTime - time.Since(l.wrote)
	if urgent || wait <= 0 || ctx.Err() != nil {
		return
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
	case <-l.hurry:
	case <-ctx.Done():
	}
}

// writeSome writes one group and acknowledges it. more says whether there may
// be another.
func (l *Log) writeSome() (more bool, err error) {
	l.write <- struct{}{} // held over single writes only, so this ends
	defer give(l.write)
	if l.begin != nil {
		if err := l.beginLog(); err != nil {
			return false, l.failed(err)
		}
	}
	l.mu.Lock()
	group := l.group()
	l.mu.Unlock()
	if len(group) == 0 {
		return false, nil
	}
	err = l.room()
	var first uint64
	if err == nil {
		first, err = l.writeGroup(group)
	}
	l.mu.Lock()
	l.taken = 0
	if err != nil {
		l.mu.Unlock()
		return false, l.failed(err)
	}
	l.queue = append(l.queue[:0], l.queue[len(group):]...)
	for _, it := range group {
		l.queueBytes -= it.size
	}
	for i, it := range group {
		it.receipt.finish(first+uint64(i), nil)
	}
	cleared := l.failing
	l.failing = false
	l.mu.Unlock()
	l.wrote = time.Now()
	if cleared {
		l.log.Info("events are written again")
		l.opt.OnClear(FaultWrite)
	}
	return true, nil
}

func (l *Log) failed(err error) error {
	l.mu.Lock()
	l.failing = true
	l.mu.Unlock()
	return fmt.Errorf("spool: write: %w", err)
}

// group chooses the items of one write. They stay in the queue until they are
// durable. The caller holds mu.
func (l *Log) group() []*item {
	limit := l.cfg.groupSize()
	n, size := 0, 0
	for n < len(l.queue) && (n == 0 || size+l.queue[n].size <= limit) {
		size += l.queue[n].size
		n++
	}
	l.taken = n
	return append([]*item(nil), l.queue[:n]...)
}

// writeGroup encodes, writes and flushes a group at the end of the active
// segment. It returns the first number.
func (l *Log) writeGroup(group []*item) (uint64, error) {
	first := l.last + 1
	id := logID(l.id)
	buf := l.buf[:0]
	var payload []byte
	metas := make([]meta, len(group))
	for i, it := range group {
		ev := it.ev
		ev.Log, ev.Seq = id, site.EventSeq(first+uint64(i))
		if it.lost > 0 {
			ev.Count, ev.Text = it.lost, "the queue for the disk was full"
		}
		ev = clean(ev)
		payload = appendEvent(payload[:0], &ev)
		buf = record{seq: uint64(ev.Seq), span: 1, payload: payload}.append(buf, l.id)
		metas[i] = meta{Time: ev.Time, Trusted: ev.Trusted, Change: ev.Change}
	}
	if cap(buf) <= 2*maxGroup { // a large change of policy is rare
		l.buf = buf
	}
	return first, l.commit(buf, first+uint64(len(group))-1, metas)
}

// commit makes the bytes of records durable and shows them to readers. The
// last of the metas belongs to the number last, and so on down.
func (l *Log) commit(buf []byte, last uint64, metas []meta) error {
	seg := l.tail()
	n, err := l.active.WriteAt(buf, seg.size)
	if err == nil && n < len(buf) {
		err = io.ErrShortWrite
	}
	if err != nil {
		// A part may be there. It goes before anything else is written.
		if terr := l.active.Truncate(seg.size); terr != nil {
			l.abandon()
		}
		return err
	}
	if err := l.active.Sync(); err != nil {
		l.abandon()
		return fmt.Errorf("flush: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	seg.size += int64(len(buf))
	seg.disk = seg.size
	seg.end = last
	seg.foot.end = last
	seg.foot.count += uint64(len(metas))
	for i, m := range metas {
		seg.foot.note(last-uint64(len(metas)-1-i), m)
	}
	l.change = max(l.change, seg.foot.change)
	l.last = last
	close(l.news)
	l.news = make(chan struct{})
	return nil
}

// abandon gives the active segment up after a failed flush: what the page
// cache holds of it may never reach the disk and is not trusted. What was
// flushed before stays; the next write starts a new segment with everything
// that was not acknowledged.
func (l *Log) abandon() {
	if l.active == nil {
		return
	}
	seg := l.tail()
	// Best effort: opening the log drops what overlaps the next segment.
	err := l.active.Truncate(seg.size)
	err = errors.Join(err, l.active.Sync(), l.active.Close())
	if err != nil {
		l.log.Warn("the end of an abandoned segment stays as it is", "segment", seg.name.String(), "err", err)
	}
	l.active = nil
}

// tail returns the last segment; there is one whenever one is active.
func (l *Log) tail() *segment {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.segs[len(l.segs)-1]
}

// room makes sure that the active segment takes another group.
func (l *Log) room() error {
	if l.active != nil {
		seg := l.tail()
		if seg.empty() || seg.size < l.cfg.segmentSize() {
			return nil
		}
		l.seal()
	}
	return l.create(l.id)
}

// seal finishes the active segment with its footer. A footer that cannot be
// written is made up for by reading the segment when the log is opened.
func (l *Log) seal() {
	if l.active == nil {
		return
	}
	seg := l.tail()
	b := seg.foot.append(nil)
	n, err := l.active.WriteAt(b, seg.size)
	if err != nil || n < len(b) {
		l.abandon()
		return
	}
	if err := l.active.Sync(); err != nil {
		l.abandon()
		return
	}
	_ = l.active.Close() // flushed, nothing left to fail
	l.active = nil
	l.mu.Lock()
	seg.disk = seg.size + footerSize
	l.mu.Unlock()
	nudge(l.trimc)
}

// create starts a segment after the last number.
func (l *Log) create(id uint32) error {
	now, _ := l.opt.Clock()
	name := segmentName{base: l.last + 1, log: id}
	l.dropEmpty()
	f, err := l.createFree(&name)
	if err != nil {
		return err
	}
	h := header{log: id, base: name.base, created: nanos(now), change: l.change}
	b := h.append(nil)
	n, err := f.WriteAt(b, 0)
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = l.fs.SyncDir(l.cfg.Dir)
	}
	if err != nil {
		_ = f.Close() // the file goes
		return errors.Join(fmt.Errorf("new segment: %w", err), l.remove([]segmentName{name}))
	}
	l.active = f
	seg := &segment{name: name, end: l.last, size: headerSize, disk: headerSize, foot: footer{log: id, end: l.last, change: l.change}}
	l.mu.Lock()
	l.segs = append(l.segs, seg)
	l.mu.Unlock()
	return nil
}

// createFree makes the file under a generation that was never used with this
// base: of two files with one base the later counts when the log is opened.
func (l *Log) createFree(name *segmentName) (File, error) {
	for {
		if l.newest.base == name.base {
			name.gen = max(name.gen, l.newest.gen+1)
		}
		l.newest = *name
		f, err := l.fs.Create(l.path(name.String()))
		if !errors.Is(err, fs.ErrExist) {
			return f, err
		}
	}
}

// dropEmpty removes a last segment that holds nothing and is not written to
// any more, so that no two begin with the same number.
func (l *Log) dropEmpty() {
	l.mu.Lock()
	n := len(l.segs)
	if n == 0 || !l.segs[n-1].empty() || l.active != nil {
		l.mu.Unlock()
		return
	}
	name := l.segs[n-1].name
	l.segs = append([]*segment(nil), l.segs[:n-1]...)
	l.mu.Unlock()
	if err := l.remove([]segmentName{name}); err != nil {
		l.log.Debug("an empty segment could not be removed", "segment", name.String(), "err", err)
	}
}

// beginLog starts a new numbering: a new id, above every number known, with a
// first event that says why. The caller has the write slot.
func (l *Log) beginLog() error {
	b := l.begin
	if l.active != nil && l.tail().name.log != b.id {
		l.seal()
	}
	if l.active == nil {
		if err := l.create(b.id); err != nil {
			return err
		}
	}
	now, trusted := l.opt.Clock()
	seq := max(l.last, b.above) + 1
	ev := clean(site.Event{
		Log: logID(b.id), Seq: site.EventSeq(seq), Time: now, Trusted: trusted,
		Kind: site.KindEventsLost, Count: seq - l.last - 1, Text: "a new log begins: " + b.reason,
	})
	buf := record{seq: seq, span: seq - l.last, payload: appendEvent(nil, &ev)}.append(nil, b.id)
	l.mu.Lock()
	l.id = b.id
	l.mu.Unlock()
	if err := l.commit(buf, seq, []meta{{Time: ev.Time, Trusted: trusted}}); err != nil {
		return err
	}
	l.begin = nil
	l.log.Warn("a new log begins", "log", string(logID(b.id)), "seq", seq, "reason", b.reason)
	return nil
}
