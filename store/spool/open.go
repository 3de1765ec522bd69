package spool

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"time"
)

// found is one file of the log while it is being opened.
type found struct {
	seg segment
	s   *scan  // nil: only head and footer were read
	b   []byte // what s was read from
	bad bool   // altered, or numbers after it are missing
}

// Open opens the log in cfg.Dir, or makes it. It starts nothing: events are
// written from Run on, reading works at once. The newest segment is read
// whole, of the others head and footer; Verify reads those.
//
// A damaged log opens: see Report, and the package comment for what becomes of
// it. Open fails when the folder cannot be used, when another process has the
// log open (ErrLocked) and when a newer program wrote it (ErrVersion).
func Open(cfg Config, opt Options) (*Log, Report, error) {
	var rep Report
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, rep, err
	}
	opt = opt.withDefaults()
	l := &Log{
		cfg: cfg, opt: opt, fs: opt.FS, log: opt.Logger,
		write: make(chan struct{}, 1), maint: make(chan struct{}, 1), state: make(chan struct{}, 1),
		broom: make(chan struct{}, 1),
		wake:  make(chan struct{}, 1), hurry: make(chan struct{}, 1), trimc: make(chan struct{}, 1), ready: make(chan struct{}),
		news: make(chan struct{}), want: make(map[string]uint64),
	}
	if err := l.fs.MkdirAll(cfg.Dir); err != nil {
		return nil, rep, fmt.Errorf("spool: open: %w", err)
	}
	if l.lock, err = l.fs.Lock(filepath.Join(cfg.Dir, "lock")); err != nil {
		return nil, rep, fmt.Errorf("spool: open %s: %w", cfg.Dir, err)
	}
	if err := l.open(&rep); err != nil {
		return nil, rep, errors.Join(fmt.Errorf("spool: open: %w", err), l.lock.Close())
	}
	return l, rep, nil
}

func (l *Log) open(rep *Report) error {
	l.openState(rep)
	names, err := l.listSegments()
	if err != nil {
		return err
	}
	var files []*found
	for i, name := range names {
		if name.base > l.newest.base || name.base == l.newest.base && name.gen > l.newest.gen {
			l.newest = name
		}
		f, err := l.find(name, i < len(names)-1)
		if err != nil {
			return err
		}
		if f.s != nil && f.s.blank {
			if i == len(names)-1 || twin(names, i) { // cut short while it was being made
				rep.Truncated += int64(f.s.torn)
				l.discard(name)
				continue
			}
			f.bad = true // others follow it: it was whole once
		}
		if i < len(names)-1 && f.seg.empty() && !f.bad { // given up before anything was in it
			l.discard(name)
			continue
		}
		if files, err = l.place(files, f); err != nil {
			return err
		}
	}
	if err := l.join(files); err != nil {
		return err
	}
	for _, f := range files {
		l.segs = append(l.segs, &f.seg)
		l.change = max(l.change, f.seg.foot.change)
	}
	l.continueLog(files, rep)
	l.judge(files, rep)
	return nil
}

// twin reports whether another file has the same base: who was cut short while
// it made a file goes on in one of the same base.
func twin(names []segmentName, i int) bool {
	return i > 0 && names[i-1].base == names[i].base || i+1 < len(names) && names[i+1].base == names[i].base
}

// openState reads the small files.
func (l *Log) openState(rep *Report) {
	if bad, aside := l.readSmall(cursorsFile, &l.want); bad {
		rep.Cursors = true
		rep.Damaged = append(rep.Damaged, aside)
		l.want = make(map[string]uint64)
	}
	if l.want == nil {
		l.want = make(map[string]uint64)
	}
	l.kept = maps.Clone(l.want)
	if bad, aside := l.readSmall(timeFile, &l.trusted); bad {
		rep.Time = true
		rep.Damaged = append(rep.Damaged, aside)
		l.trusted = time.Time{}
	}
	l.trustedOld = l.trusted
}

// find reads one file. One that cannot be read at all counts as altered.
func (l *Log) find(name segmentName, quick bool) (*found, error) {
	seg, s, b, err := l.loadSegment(name, quick)
	switch {
	case errors.Is(err, ErrVersion):
		return nil, fmt.Errorf("segment %s: %w", name, err)
	case err != nil:
		l.log.Error("a segment cannot be read", "segment", name.String(), "err", err)
		s = &scan{head: header{log: name.log, base: name.base}, end: name.base, size: headerSize, damaged: true}
		seg = segment{name: name, end: s.end, size: headerSize, foot: footer{log: name.log, end: s.end}}
	}
	return &found{seg: seg, s: s, b: b, bad: s != nil && s.damaged}, nil
}

// discard removes a file that holds nothing that another does not.
func (l *Log) discard(name segmentName) {
	if err := l.remove([]segmentName{name}); err != nil {
		l.log.Warn("a leftover stays", "segment", name.String(), "err", err)
	}
}

// place adds the next file to those before it. Where two account for the same
// numbers, of one base the highest generation counts, a rewriting counts before
// what it replaces, and a newer segment before the abandoned end of an older one.
func (l *Log) place(files []*found, f *found) ([]*found, error) {
	for len(files) > 0 {
		prev := files[len(files)-1]
		if f.seg.name.base > prev.seg.end {
			break
		}
		if f.seg.name.base == prev.seg.name.base || prev.seg.rewritten && f.seg.end <= prev.seg.end || f.seg.empty() && !f.bad {
			l.discard(f.seg.name)
			return files, nil
		}
		if err := l.clip(prev, f.seg.name.base-1); err != nil {
			return nil, err
		}
		if !prev.seg.empty() || prev.bad {
			break
		}
		l.discard(prev.seg.name)
		files = files[:len(files)-1]
	}
	return append(files, f), nil
}

// clip lets a file account for nothing after end.
func (l *Log) clip(f *found, end uint64) error {
	if err := l.load(f); err != nil {
		return err
	}
	s := f.s
	for n := len(s.entries); n > 0 && s.entries[n-1].seq > end; n-- {
		s.size = s.entries[n-1].off
		s.entries = s.entries[:n-1]
	}
	s.end = min(s.end, end)
	f.seg.end, f.seg.size = s.end, int64(s.size)
	return nil
}

// load reads a file whole that was only looked at.
func (l *Log) load(f *found) error {
	if f.s != nil {
		return nil
	}
	g, err := l.find(f.seg.name, false)
	if err == nil {
		*f = *g
	}
	return err
}

// join looks for numbers that are missing between files and makes the earlier
// one account for them.
func (l *Log) join(files []*found) error {
	for i, f := range files[:max(len(files)-1, 0)] {
		want := files[i+1].seg.name.base - 1
		if f.seg.end == want && !f.bad {
			continue
		}
		if err := l.load(f); err != nil {
			return err
		}
		if f.seg.end != want {
			f.bad = true
		}
		if err := l.clip(f, want); err != nil {
			return err
		}
		f.seg.end = want
	}
	return nil
}

// continueLog takes up the newest segment where it ends, if it is sound and
// unfinished, and makes what is in it durable before any reader sees it.
func (l *Log) continueLog(files []*found, rep *Report) {
	if len(files) == 0 {
		return
	}
	f := files[len(files)-1]
	l.last, l.id = f.seg.end, f.seg.name.log
	if f.s == nil {
		return
	}
	if !f.bad {
		rep.Truncated += int64(f.s.torn)
	}
	if f.bad || f.s.sealed || f.seg.rewritten {
		return
	}
	file, err := l.fs.Open(l.path(f.seg.name.String()))
	if err == nil && f.seg.disk > f.seg.size {
		err = file.Truncate(f.seg.size)
	}
	if err == nil {
		err = file.Sync()
	}
	if err != nil {
		l.log.Error("the newest segment cannot be continued; the next write starts another", "err", err)
		if file != nil {
			_ = file.Close() // only read from now on
		}
		return
	}
	f.seg.disk = f.seg.size
	l.active = file
}

// judge decides whether the numbering goes on. If not, it sets damaged files
// aside, begins a new log and mends them. What fails for want of disk is made
// up for by Run and by readers.
func (l *Log) judge(files []*found, rep *Report) {
	known := uint64(l.opt.MinSeq)
	for _, at := range l.kept {
		known = max(known, at)
	}
	var bad []damage
	for _, f := range files {
		if !f.bad {
			continue
		}
		d := damage{name: f.seg.name, part: part{f.b, f.s}, end: f.seg.end}
		d.lost = missingIn(f.s, d.name, d.end)
		rep.Lost += d.lost
		bad = append(bad, d)
	}
	rep.Fresh = len(files) == 0
	rep.Reason = l.reason(files, rep, known)
	if rep.Reason == "" {
		if rep.Fresh {
			l.id = newBegin("", 0).id
		}
		return
	}
	if known > l.last {
		rep.Lost += known - l.last
	}
	rep.NewLog = true
	l.begin = newBegin(rep.Reason, known)
	mend := bad[:0]
	for _, d := range bad {
		aside, err := l.setAside(d.name.String())
		if err != nil {
			l.log.Error("a damaged segment cannot be set aside; it stays", "segment", d.name.String(), "err", err)
			aside = l.path(d.name.String())
		} else {
			mend = append(mend, d)
		}
		if aside != "" {
			rep.Damaged = append(rep.Damaged, aside)
		}
	}
	if err := l.beginLog(); err != nil {
		l.log.Error("a new log cannot begin yet", "err", err)
		l.failing = true
		return
	}
	for _, d := range mend {
		if err := l.mend(d); err != nil {
			l.log.Error("a damaged segment cannot be mended yet", "segment", d.name.String(), "err", err)
		}
	}
}

// reason says why the numbering cannot go on; empty: it can.
func (l *Log) reason(files []*found, rep *Report, known uint64) string {
	n := len(files)
	switch {
	case l.opt.NewLog != "":
		return l.opt.NewLog
	case n == 0 && known > 0:
		return fmt.Sprintf("the files of the log that reached %d are gone", known)
	case known > l.last:
		return fmt.Sprintf("the log ends at %d, but %d is known to have been given", l.last, known)
	case n > 1 && files[n-1].seg.empty() && files[n-1].seg.name.log != files[n-2].seg.name.log:
		return "the beginning of a new log was cut short"
	}
	for _, f := range files {
		if f.bad {
			return fmt.Sprintf("the log was altered on disk; %d events are lost, marked where they were", rep.Lost)
		}
	}
	return ""
}
