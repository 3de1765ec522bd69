package spool

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
)

// trimView is what decides about trimming, taken at one instant.
type trimView struct {
	segs   []segment // without the active one
	had    uint64    // every consumer but PolicyCopy has had the events up to here
	hold   uint64    // changes after it are never trimmed
	over   bool      // the budget is reached
	cutoff int64     // events before it are past their age; 0: none are
}

func (l *Log) trimView() trimView {
	l.mu.Lock()
	defer l.mu.Unlock()
	v := trimView{had: math.MaxUint64, hold: math.MaxUint64 - 1}
	names := l.consumers
	if names == nil {
		names = make(map[string]bool)
		for n := range l.kept {
			names[n] = true
		}
	}
	for n := range names {
		if n == PolicyCopy {
			v.hold = l.kept[n]
			continue
		}
		v.had = min(v.had, l.kept[n])
	}
	var total int64
	for i, s := range l.segs {
		total += s.disk
		if i < len(l.segs)-1 {
			v.segs = append(v.segs, *s)
		}
	}
	v.over = total > l.cfg.Budget-l.cfg.segmentSize()
	if l.cfg.Keep > 0 && !l.trusted.IsZero() {
		v.cutoff = nanos(l.trusted.Add(-l.cfg.Keep))
	}
	return v
}

// old reports whether the segment i is past its age. Age is judged by trusted
// times only, against the last trusted time: a clock that jumps trims nothing.
// A segment without any is as old as the next that has one.
func (v trimView) old(i int) bool {
	for _, s := range v.segs[i:] {
		if s.foot.trusted != 0 {
			return s.foot.trusted < v.cutoff
		}
	}
	return false
}

// removable reports whether every consumer has had the whole segment.
func (v trimView) removable(s segment) bool {
	return s.end <= v.had && (s.foot.changed == 0 || s.foot.changed <= v.hold)
}

// trim lets go of what may go, the oldest first. A segment that turns out to
// be damaged is mended first.
func (l *Log) trim(ctx context.Context) error {
	for {
		name, err := l.trimSome(ctx)
		if err == nil || !errors.Is(err, errDamaged) {
			return err
		}
		if rerr := l.repair(ctx, name); rerr != nil {
			return fmt.Errorf("spool: trim: %w", rerr)
		}
		if _, still := l.listed(name); still {
			return err
		}
	}
}

// trimSome trims until there is nothing to do or an error. It returns the
// segment that the error is about.
func (l *Log) trimSome(ctx context.Context) (segmentName, error) {
	if err := take(ctx, l.maint); err != nil {
		return segmentName{}, err
	}
	defer give(l.maint)
	for ctx.Err() == nil {
		if err := l.sweep(); err != nil {
			return segmentName{}, fmt.Errorf("spool: trim: %w", err)
		}
		v := l.trimView()
		if len(v.segs) > 0 && v.removable(v.segs[0]) && (v.over || v.cutoff != 0 && v.old(0)) {
			if err := l.drop(v.segs[0].name); err != nil {
				return v.segs[0].name, fmt.Errorf("spool: trim: %w", err)
			}
			continue
		}
		if !v.over {
			l.budgetFault(false)
			return segmentName{}, nil
		}
		i := v.compactable()
		if i < 0 {
			l.budgetFault(true)
			return segmentName{}, nil
		}
		if name, err := l.compact(v, i); err != nil {
			return name, fmt.Errorf("spool: trim: segment %s: %w", name, err)
		}
	}
	return segmentName{}, ctx.Err()
}

// budgetFault tells when nothing more may go although the budget is reached.
func (l *Log) budgetFault(on bool) {
	if on {
		l.opt.OnFault(FaultBudget, "the event log is at its budget with changes of policy that no verified copy has")
	} else {
		l.opt.OnClear(FaultBudget)
	}
}

// drop removes a segment that nobody needs.
func (l *Log) drop(name segmentName) error {
	l.mu.Lock()
	if len(l.segs) > 0 && l.segs[0].name == name {
		l.segs = append([]*segment(nil), l.segs[1:]...)
	}
	l.mu.Unlock()
	l.log.Debug("a segment was trimmed", "segment", name.String())
	return l.remove([]segmentName{name})
}

// compactSmall is the size under which a compacted segment is left alone until
// it is merged with the next.
const compactSmall = 4096

// compactable returns the oldest segment from which something may still be
// taken, or -1.
func (v trimView) compactable() int {
	for i, s := range v.segs {
		if !s.rewritten || s.size >= compactSmall && s.stuck != v.hold+1 {
			return i
		}
	}
	return -1
}

// compact takes events out of the segment i: those that every consumer has had
// in silence, others for an events_lost event. Changes that PolicyCopy lacks
// stay. The remains are merged with those before, so that a long outage does
// not leave a file for each segment.
func (l *Log) compact(v trimView, i int) (segmentName, error) {
	seg := v.segs[i]
	names := []segmentName{seg.name}
	name := seg.name
	if i > 0 {
		if p := v.segs[i-1]; p.rewritten && p.name.log == seg.name.log && p.end+1 == seg.name.base && p.size < l.cfg.segmentSize() {
			names = []segmentName{p.name, seg.name}
			name.base, name.gen = p.name.base, max(p.name.gen, seg.name.gen)
		}
	}
	name.gen++
	var parts []part
	for _, n := range names {
		_, s, b, err := l.loadSegment(n, false)
		if err != nil {
			return n, err
		}
		if end := v.segs[i-len(names)+1+len(parts)].end; s.damaged || missingIn(s, n, end) > 0 {
			return n, errDamaged
		}
		parts = append(parts, part{b, s})
	}
	b, foot := rebuild(name, seg.end, parts, v.judge, l.lostEvent(name.log, "the budget of the event log was reached"))
	if seg.end > v.had {
		l.log.Warn("undelivered events had to go: the budget is reached", "segment", seg.name.String())
	}
	return name, l.replace(names, name, b, foot, v.hold+1)
}

// judge decides over one record of a segment that is compacted.
func (v trimView) judge(seq uint64, payload []byte) verdict {
	var m meta
	_ = json.Unmarshal(payload, &m) // unreadable: not a change that anybody could use
	switch {
	case m.Change > 0 && seq > v.hold:
		return verdictKeep
	case seq <= v.had:
		return verdictHad
	}
	return verdictLost
}
