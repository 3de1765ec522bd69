package uplink

import (
	"encoding/json"
	"fmt"

	"gatehouse/agent/site"
)

// place is how far one source has got.
type place struct {
	source Source
	cursor Cursor
	begun  bool
	seq    site.EventSeq // handled and acknowledged
	kept   site.EventSeq // of that, durable
	log    site.LogID    // of the last event; "": none yet
	// anew: it cannot be proven that the next event continues the last one.
	anew bool
}

// memory is what the Keeper keeps: for each source that ever began, the log of
// its last event.
type memory struct {
	Version int                   `json:"version"`
	Logs    map[Source]site.LogID `json:"logs"`
}

const maxMemory = 4 << 10

func parseMemory(data []byte) (memory, error) {
	var m memory
	if len(data) > maxMemory {
		return m, fmt.Errorf("uplink: memory of %d bytes: at most %d", len(data), maxMemory)
	}
	if err := json.Unmarshal(data, &m); err != nil {
		return memory{}, fmt.Errorf("uplink: memory: %w", err)
	}
	if m.Version != 1 {
		return memory{}, fmt.Errorf("uplink: memory of version %d is not known", m.Version)
	}
	return m, nil
}

// places are both sources and what is remembered of them.
type places struct {
	list [len(sources)]*place
	keep Keeper
	mem  memory
	lost bool // the memory could not be read
}

// newPlaces reads the memory. One that is damaged counts as lost; the error
// then says so, and the places are good.
func newPlaces(ev Events, keep Keeper) (*places, error) {
	ps := &places{keep: keep, mem: memory{Version: 1, Logs: map[Source]site.LogID{}}}
	for i, source := range sources {
		ps.list[i] = &place{source: source, cursor: ev.cursor(i)}
	}
	data, err := keep.Load()
	if err != nil {
		ps.lost = true
		return ps, fmt.Errorf("uplink: memory: %w", err)
	}
	if data == nil {
		return ps, nil
	}
	m, err := parseMemory(data)
	if err != nil {
		ps.lost = true
		return ps, err
	}
	if m.Logs != nil {
		ps.mem = m
	}
	return ps, nil
}

// begin finds where a source goes on, at its first subscription since the
// start; now is where the log ended when that came. Ever the first one begins
// where the settings say, and that is durable when begin returns. What the host
// asks after its subscription comes after now, so it hears of it. A cursor that is gone although the source had begun
// starts at the oldest event: what comes again has the same log and number.
func (ps *places) begin(p *place, now mark, oldest bool) error {
	last, before := ps.mem.Logs[p.source]
	switch {
	case p.cursor.Known():
		p.seq, p.log, p.anew = p.cursor.Position(), last, !before
	case before:
		p.seq, p.log = 0, last
	case ps.lost:
		p.seq, p.anew = 0, true
	case oldest:
		if err := ps.start(p, 0, ""); err != nil {
			return err
		}
	default:
		if err := ps.start(p, now.seq, now.log); err != nil {
			return err
		}
	}
	p.kept, p.begun = p.seq, true
	return nil
}

func (ps *places) start(p *place, at site.EventSeq, id site.LogID) error {
	if err := p.cursor.Advance(at); err != nil {
		return fmt.Errorf("first position: %w", err)
	}
	p.seq, p.log = at, id
	return ps.remember(p)
}

// remember keeps the log of a place.
func (ps *places) remember(p *place) error {
	if id, ok := ps.mem.Logs[p.source]; ok && id == p.log {
		return nil
	}
	next := memory{Version: 1, Logs: map[Source]site.LogID{p.source: p.log}}
	for s, id := range ps.mem.Logs {
		if s != p.source {
			next.Logs[s] = id
		}
	}
	data, err := json.Marshal(next)
	if err != nil {
		return err
	}
	if err := ps.keep.Save(data); err != nil {
		return fmt.Errorf("memory: %w", err)
	}
	ps.mem = next
	return nil
}

// save makes a place durable. The memory goes first: were the cursor ahead of
// it, the next start would tell of a new log in the middle of one.
func (ps *places) save(p *place) error {
	if err := ps.remember(p); err != nil {
		return err
	}
	if p.kept == p.seq {
		return nil
	}
	if err := p.cursor.Advance(p.seq); err != nil {
		return err
	}
	p.kept = p.seq
	return nil
}
