package spool

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"time"

	"gatehouse/agent/site"
)

// The small files. Each is one line of JSON and one line with its CRC-32C in
// hex, and is replaced as a whole.
const (
	cursorsFile = "cursors"
	timeFile    = "trusted-time"

	maxSmallFile = 1 << 20
	// timeEvery is the time between two writings of the trusted time.
	timeEvery = 5 * time.Minute
)

// encodeSmall makes the content of a small file.
func encodeSmall(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	b = append(b, '\n')
	return fmt.Appendf(b, "%08x\n", crc(b)), nil
}

// decodeSmall reads the content of a small file.
func decodeSmall(b []byte, v any) error {
	i := bytes.IndexByte(b, '\n') + 1
	if i == 0 || len(b) != i+9 || b[len(b)-1] != '\n' {
		return errDamaged
	}
	sum, err := strconv.ParseUint(string(b[i:i+8]), 16, 32)
	if err != nil || uint32(sum) != crc(b[:i]) {
		return errDamaged
	}
	return json.Unmarshal(b[:i], v)
}

// readSmall reads a small file; absent is not an error. A damaged one is set
// aside and reported.
func (l *Log) readSmall(name string, v any) (damaged bool, aside string) {
	b, bad, err := readAll(l.fs, l.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return false, ""
	}
	if err == nil && !bad && len(b) <= maxSmallFile && decodeSmall(b, v) == nil {
		return false, ""
	}
	aside, err = l.setAside(name)
	if err == nil {
		err = l.fs.Remove(l.path(name))
	}
	if err != nil {
		l.log.Error("a damaged file could not be set aside", "file", name, "err", err)
	}
	return true, aside
}

// Cursor is how far one consumer has got: the number of the last event that it
// has acknowledged. All cursors of a name are one.
type Cursor struct {
	l    *Log
	name string
}

// Cursor returns the cursor of that name. Nothing is written before Advance.
func (l *Log) Cursor(name string) *Cursor { return &Cursor{l: l, name: name} }

// Position returns the last acknowledged number that is on disk; 0: none yet.
func (c *Cursor) Position() site.EventSeq {
	c.l.mu.Lock()
	defer c.l.mu.Unlock()
	return site.EventSeq(c.l.kept[c.name])
}

// Known reports whether the cursor was ever advanced.
func (c *Cursor) Known() bool {
	c.l.mu.Lock()
	defer c.l.mu.Unlock()
	_, ok := c.l.kept[c.name]
	return ok
}

// Advance moves the cursor to seq and returns when that is durable. It never
// moves back: a lower number is done already. Consumers that acknowledge
// often should batch; calls at the same time share one write. A number that
// the log has not given yet is ErrAhead.
func (c *Cursor) Advance(seq site.EventSeq) error {
	l := c.l
	l.mu.Lock()
	if uint64(seq) > l.last {
		l.mu.Unlock()
		return fmt.Errorf("spool: cursor %s: %d: %w", c.name, seq, ErrAhead)
	}
	if at, ok := l.want[c.name]; !ok || uint64(seq) > at {
		l.want[c.name] = uint64(seq)
	}
	l.mu.Unlock()
	err := l.saveCursors(func() bool {
		at, ok := l.kept[c.name]
		return ok && at >= uint64(seq)
	})
	if err != nil {
		return fmt.Errorf("spool: cursor %s: %w", c.name, err)
	}
	nudge(l.trimc)
	return nil
}

// saveCursors writes what is wanted, unless done says under mu that another
// write has done it.
func (l *Log) saveCursors(done func() bool) error {
	l.state <- struct{}{} // held over one small write
	defer give(l.state)
	l.mu.Lock()
	if done() {
		l.mu.Unlock()
		return nil
	}
	want := maps.Clone(l.want)
	l.mu.Unlock()
	b, err := encodeSmall(want)
	if err == nil {
		err = writeFile(l.fs, l.cfg.Dir, cursorsFile, b)
	}
	if err != nil {
		return err
	}
	l.mu.Lock()
	l.kept = want
	l.mu.Unlock()
	return nil
}

// Register says which consumers are configured. What they have not had is kept
// as long as the budget allows. Until the first call every cursor that there
// is counts as configured. Call it before Run.
func (l *Log) Register(names ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.consumers = make(map[string]bool, len(names))
	for _, n := range names {
		l.consumers[n] = true
	}
	nudge(l.trimc)
}

// Cursors returns the names of all cursors that were ever advanced and are not
// forgotten, configured or not, sorted.
func (l *Log) Cursors() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Sorted(maps.Keys(l.kept))
}

// Forget drops a consumer that is configured no longer, with its cursor.
func (l *Log) Forget(name string) error {
	l.mu.Lock()
	delete(l.consumers, name)
	delete(l.want, name)
	l.mu.Unlock()
	err := l.saveCursors(func() bool { _, there := l.kept[name]; return !there })
	if err != nil {
		return fmt.Errorf("spool: forget %s: %w", name, err)
	}
	nudge(l.trimc)
	return nil
}

// TrustedTime returns the last time that was known to be right; zero: none.
func (l *Log) TrustedTime() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.trusted
}

// KeepTrustedTime notes a time that is known to be right. It returns at once;
// Run writes it every five minutes and at its end, the first one soon.
func (l *Log) KeepTrustedTime(t time.Time) {
	if !storable(t.UTC()) {
		return
	}
	l.mu.Lock()
	l.trusted = t.Round(0).UTC()
	first := l.trustedOld.IsZero()
	l.mu.Unlock()
	if first {
		nudge(l.trimc)
	}
}

// saveTime writes the trusted time if it is not on disk.
func (l *Log) saveTime() error {
	l.state <- struct{}{} // held over one small write
	defer give(l.state)
	l.mu.Lock()
	t, old := l.trusted, l.trustedOld
	l.mu.Unlock()
	if t.Equal(old) {
		return nil
	}
	b, err := encodeSmall(t)
	if err == nil {
		err = writeFile(l.fs, l.cfg.Dir, timeFile, b)
	}
	if err != nil {
		return fmt.Errorf("trusted time: %w", err)
	}
	l.mu.Lock()
	l.trustedOld = t
	l.mu.Unlock()
	return nil
}

// maintain trims and writes the trusted time until ctx ends.
func (l *Log) maintain(ctx context.Context) {
	tick := time.NewTicker(timeEvery)
	defer tick.Stop()
	failing := false
	report := func(err error) {
		switch {
		case err != nil && ctx.Err() == nil:
			failing = true
			l.log.Warn("the event log cannot be maintained", "err", err)
			l.opt.OnFault(FaultState, err.Error())
		case err == nil && failing:
			failing = false
			l.opt.OnClear(FaultState)
		}
	}
	for {
		select {
		case <-ctx.Done():
			if err := l.saveTime(); err != nil {
				l.log.Warn("the trusted time could not be kept", "err", err)
			}
			return
		case <-tick.C:
			report(errors.Join(l.saveTime(), l.trim(ctx)))
		case <-l.trimc:
			err := l.trim(ctx)
			l.mu.Lock()
			first := l.trustedOld.IsZero() && !l.trusted.IsZero()
			l.mu.Unlock()
			if first {
				err = errors.Join(err, l.saveTime())
			}
			report(err)
		}
	}
}
