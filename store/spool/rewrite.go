package spool

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"gatehouse/agent/site"
)

// verdict says what becomes of a record when its segment is rewritten.
type verdict uint8

const (
	verdictKeep verdict = iota
	verdictLost         // an events_lost event takes its place
	verdictHad          // every consumer has had it; its number is accounted for in silence
)

// part is one segment that goes into a rewriting.
type part struct {
	b []byte
	s *scan
}

// rebuild writes a segment anew from what is sound in adjacent ones. judge
// decides over each record; numbers that no record accounts for are lost. The
// result accounts for every number from name.base to end. lost makes the event
// that stands for count numbers up to seq.
func rebuild(name segmentName, end uint64, parts []part, judge func(seq uint64, payload []byte) verdict,
	lost func(seq, count uint64) []byte) ([]byte, footer) {
	h := parts[0].s.head
	out := header{log: name.log, flags: flagRewritten, base: name.base, created: h.created, change: h.change}.append(nil)
	foot := footer{log: name.log, change: h.change}
	run, kind := name.base, verdictKeep // the run of numbers from run on that go by kind
	next := name.base
	flush := func() {
		if kind == verdictKeep || next == run {
			return
		}
		r := record{seq: next - 1, span: next - run}
		if kind == verdictLost {
			r.payload = lost(r.seq, r.span)
		}
		out = r.append(out, name.log)
		foot.count++
	}
	extend := func(to uint64, v verdict) { // the numbers next..to go by v
		if to < next {
			return
		}
		if v != kind {
			flush()
			run, kind = next, v
		}
		next = to + 1
	}
	for _, p := range parts {
		for _, e := range p.s.entries {
			if e.seq < next || e.seq > end {
				continue
			}
			if e.first() > next {
				extend(e.first()-1, verdictLost)
			}
			payload := p.b[e.off+recordSize : e.off+e.n]
			v := judge(e.seq, payload)
			if len(payload) == 0 {
				v = verdictHad
			}
			extend(e.seq, v)
			if v != verdictKeep {
				continue
			}
			out = record{seq: e.seq, span: e.span, payload: payload}.append(out, name.log)
			foot.count++
			var m meta
			if json.Unmarshal(payload, &m) == nil {
				foot.note(e.seq, m)
			}
		}
		foot.change = max(foot.change, p.s.foot.change)
	}
	extend(end, verdictLost)
	flush()
	foot.end = end
	return foot.append(out), foot
}

// lostEvent returns what makes the events that stand for lost ones.
func (l *Log) lostEvent(log uint32, text string) func(seq, count uint64) []byte {
	now, trusted := l.opt.Clock()
	return func(seq, count uint64) []byte {
		ev := clean(site.Event{
			Log: logID(log), Seq: site.EventSeq(seq), Time: now, Trusted: trusted,
			Kind: site.KindEventsLost, Count: count, Text: text,
		})
		return appendEvent(nil, &ev)
	}
}

// replace puts a rewritten segment in the place of adjacent ones: a durable
// file first, then the list, then the old files go. A crash in between leaves
// files that the rewritten one covers; opening the log removes them.
func (l *Log) replace(old []segmentName, name segmentName, b []byte, foot footer, stuck uint64) error {
	if err := l.sweep(); err != nil {
		return err
	}
	if err := writeFile(l.fs, l.cfg.Dir, name.String(), b); err != nil {
		// It may be there all the same, and would count at the next start.
		return errors.Join(err, l.remove([]segmentName{name}))
	}
	seg := &segment{
		name: name, end: foot.end, size: int64(len(b)) - footerSize, disk: int64(len(b)), foot: foot,
		rewritten: true, stuck: stuck,
	}
	l.mu.Lock()
	var segs []*segment
	placed := false
	for _, s := range l.segs {
		if !slices.Contains(old, s.name) {
			segs = append(segs, s)
			continue
		}
		if !placed {
			segs = append(segs, seg)
			placed = true
		}
	}
	l.segs = segs
	l.mu.Unlock()
	return l.remove(old)
}

// remove removes files of segments that are no longer listed. What cannot be
// removed is tried again by sweep, and nothing more is trimmed until then: a
// file that came back after its neighbours went would look like a loss.
func (l *Log) remove(names []segmentName) error {
	l.mu.Lock()
	l.doomed = append(l.doomed, names...)
	l.mu.Unlock()
	return l.sweep()
}

// sweep removes the files that are to go, in their order.
func (l *Log) sweep() error {
	l.broom <- struct{}{} // held over removals only
	defer give(l.broom)
	for {
		l.mu.Lock()
		if len(l.doomed) == 0 {
			l.mu.Unlock()
			return nil
		}
		name := l.doomed[0]
		l.mu.Unlock()
		if err := l.fs.Remove(l.path(name.String())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove %s: %w", name, err)
		}
		l.mu.Lock()
		l.doomed = slices.DeleteFunc(l.doomed, func(n segmentName) bool { return n == name })
		l.mu.Unlock()
	}
}

// setAside keeps a damaged file in the quarantine folder and returns its path
// there. The file itself stays where it is until it was replaced. A file that
// is not there leaves nothing to keep.
func (l *Log) setAside(name string) (string, error) {
	dir := l.opt.Quarantine
	if dir == "" {
		dir = filepath.Join(filepath.Dir(filepath.Clean(l.cfg.Dir)), "quarantine")
	}
	if err := l.fs.MkdirAll(dir); err != nil {
		return "", err
	}
	now, _ := l.opt.Clock()
	stamp := now.UTC().Format("20060102T150405Z") + "-" + name
	for i := range 1000 {
		to := filepath.Join(dir, stamp)
		if i > 0 {
			to = fmt.Sprintf("%s.%d", to, i)
		}
		err := l.fs.Link(l.path(name), to)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if errors.Is(err, fs.ErrNotExist) {
			return "", nil
		}
		if err != nil { // no hard links here: copy
			var b []byte
			if b, _, err = readAll(l.fs, l.path(name)); err == nil {
				err = writeFile(l.fs, dir, filepath.Base(to), b)
			}
		}
		if err != nil {
			return "", err
		}
		return to, l.fs.SyncDir(dir)
	}
	return "", errors.New("quarantine: no free name")
}

// damage is a segment that was altered, read and judged.
type damage struct {
	name  segmentName
	part  part
	end   uint64 // the last number it must account for
	aside string
	lost  uint64
}

// mend replaces a damaged segment that was set aside by what is sound of it.
func (l *Log) mend(d damage) error {
	name := d.name
	name.gen++
	keep := func(uint64, []byte) verdict { return verdictKeep }
	b, foot := rebuild(name, d.end, []part{d.part}, keep, l.lostEvent(name.log, "these events were altered on disk"))
	return l.replace([]segmentName{d.name}, name, b, foot, 0)
}

// missingIn counts the numbers up to end that s does not account for.
func missingIn(s *scan, name segmentName, end uint64) uint64 {
	next, missing := name.base, uint64(0)
	for _, e := range s.entries {
		if e.first() > next {
			missing += e.first() - next
		}
		next = e.seq + 1
	}
	if next <= end {
		missing += end + 1 - next
	}
	return missing
}

// repair looks at a segment in which a reader met something unsound. An
// altered one is set aside, a new log begins, and what is sound takes its
// place. It may be called from any goroutine.
func (l *Log) repair(ctx context.Context, name segmentName) error {
	if err := take(ctx, l.maint); err != nil {
		return err
	}
	defer give(l.maint)
	d, err := l.examine(ctx, name)
	if err != nil || d == nil {
		return err
	}
	if d.aside, err = l.setAside(name.String()); err != nil {
		return fmt.Errorf("set aside: %w", err)
	}
	text := fmt.Sprintf("%s: altered on disk, %d events lost, kept as %s", name, d.lost, d.aside)
	l.log.Error("the event log is damaged", "segment", name.String(), "lost", d.lost, "kept", d.aside)
	l.opt.OnFault(FaultDamaged, text)
	if err := take(ctx, l.write); err != nil {
		return err
	}
	l.begin = newBegin(fmt.Sprintf("%d events of earlier numbers were altered on disk and are lost", d.lost), l.last)
	err = l.beginLog()
	give(l.write)
	if err != nil {
		return fmt.Errorf("begin a new log: %w", err)
	}
	nudge(l.wake)
	return l.mend(*d)
}

// examine reads a listed segment whole. It returns nil when the segment is
// sound or gone. An active one is finished first. The caller has the maint slot.
func (l *Log) examine(ctx context.Context, name segmentName) (*damage, error) {
	if err := take(ctx, l.write); err != nil {
		return nil, err
	}
	if l.active != nil && l.tail().name == name {
		l.seal()
	}
	give(l.write)
	seg, ok := l.listed(name)
	if !ok {
		return nil, nil
	}
	_, s, b, err := l.loadSegment(name, false)
	if errors.Is(err, fs.ErrNotExist) { // somebody removed it
		s, err = &scan{head: header{log: name.log, base: name.base, change: seg.foot.change}, damaged: true}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("segment %s: %w", name, err)
	}
	missing := missingIn(s, name, seg.end)
	if missing == 0 && !s.damaged {
		return nil, nil
	}
	return &damage{name: name, part: part{b, s}, end: seg.end, lost: missing}, nil
}

// listed returns a copy of the segment of that name.
func (l *Log) listed(name segmentName) (segment, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.segs {
		if s.name == name {
			return *s, true
		}
	}
	return segment{}, false
}

// Verify reads every segment and mends what was altered since it was written.
// It is meant for the background: it takes nothing from writers and readers
// but the disk's time. It returns the first error, after going on.
func (l *Log) Verify(ctx context.Context) error {
	l.mu.Lock()
	var names []segmentName
	for _, s := range l.segs {
		names = append(names, s.name)
	}
	active := l.last
	l.mu.Unlock()
	var first error
	for _, n := range names {
		if err := ctx.Err(); err != nil {
			return err
		}
		if seg, ok := l.listed(n); !ok || seg.end >= active {
			continue // gone, or the newest: it was read when the log was opened
		}
		if err := l.repair(ctx, n); err != nil && first == nil {
			first = fmt.Errorf("spool: verify: %w", err)
		}
	}
	return first
}
