package spool

import (
	"bytes"
	"encoding/json"
	"strings"
)

// entry is a record found in a segment's bytes.
type entry struct {
	off, n    int
	seq, span uint64
}

func (e entry) first() uint64 { return e.seq - e.span + 1 }

// scan is what is in a segment, sound or not.
type scan struct {
	head    header
	entries []entry // the sound records, in the order of their numbers
	end     uint64  // the last number accounted for
	size    int     // where the last sound record ends
	sealed  bool    // a sound footer follows it
	foot    footer  // read, or summed up
	damaged bool    // bytes were altered
	missing uint64  // numbers that nothing accounts for, between and after the sound ones
	torn    int     // bytes of a write that was never finished, after the last record
	blank   bool    // torn before even the head was written
}

// scanSegment reads all of a segment. name gives what a destroyed head cannot.
//
// After a place that is not a record it goes on at the next mark that begins
// one. What follows the last sound record is torn, not damaged, if a crash in
// the middle of a write explains it: it is the beginning of a record, or the
// file ends in a zero byte, which no finished record does.
func scanSegment(b []byte, name segmentName) (scan, error) {
	s := scan{head: header{log: name.log, base: name.base}, end: name.base - 1}
	h, err := parseHeader(b)
	switch {
	case err == nil && h.log == name.log && h.base == name.base:
		s.head = h
	case err != nil && err != errDamaged:
		return s, err
	default:
		s.damaged = true
	}
	s.foot = footer{log: name.log, change: s.head.change}
	pos := headerSize
	if s.damaged {
		pos = 0
	}
	bad := s.walk(b, pos)
	if s.damaged && len(s.entries) == 0 && tornHead(b) {
		s.damaged, s.blank, s.torn = false, true, len(b)
		return s, nil
	}
	if bad >= 0 {
		s.tail(b, bad)
	}
	s.size = headerSize
	if n := len(s.entries); n > 0 {
		s.size = s.entries[n-1].off + s.entries[n-1].n
	}
	s.foot.end, s.foot.count = s.end, uint64(len(s.entries))
	return s, nil
}

// walk collects the sound records from pos on. It returns where the bytes
// after the last of them go wrong, or -1.
func (s *scan) walk(b []byte, pos int) (bad int) {
	bad = -1
	for pos < len(b) {
		r, n, st := parseRecord(b[pos:], s.head.log)
		if st == parsedOK && r.seq > s.end {
			if bad >= 0 || r.first() != s.end+1 {
				s.damaged = true
			}
			if r.first() > s.end+1 {
				s.missing += r.first() - s.end - 1
			}
			bad = -1
			s.add(b, entry{off: pos, n: n, seq: r.seq, span: r.span})
			pos += n
			continue
		}
		if f, ok := parseFooter(b[pos:], s.head.log); ok && f.end == s.end && pos+footerSize == len(b) && bad < 0 {
			s.sealed = true
			return -1
		}
		if bad < 0 {
			bad = pos
		}
		next := nextMark(b[pos+1:])
		if next < 0 {
			return bad
		}
		pos += 1 + next
	}
	return bad
}

// add takes a record into the scan; its span may overlap what was there.
func (s *scan) add(b []byte, e entry) {
	if e.first() <= s.end {
		e.span = e.seq - s.end
	}
	s.entries = append(s.entries, e)
	s.end = e.seq
	var m meta
	if payload := b[e.off+recordSize : e.off+e.n]; len(payload) > 0 && json.Unmarshal(payload, &m) == nil {
		s.foot.note(e.seq, m)
	}
}

// tail judges the bytes from bad to the end, which hold no sound record.
func (s *scan) tail(b []byte, bad int) {
	rest := b[bad:]
	_, _, st := parseRecord(rest, s.head.log)
	switch {
	case st == parsedShort,
		rest[len(rest)-1] == 0,
		len(rest) < footerSize && strings.HasPrefix(string(rest), footerMark),
		len(rest) < 4 && strings.HasPrefix(footerMark, string(rest)):
		s.torn = len(rest)
	case strings.HasPrefix(string(rest), footerMark) && len(rest) == footerSize:
		s.damaged = true // a footer only: no number was lost
	default:
		s.damaged = true
		lost := bytes.Count(rest, []byte(recordMark))
		if !strings.HasPrefix(string(rest), recordMark) {
			lost++
		}
		s.missing += uint64(lost)
		s.end += uint64(lost)
	}
}

// nextMark finds the next place where a record or a footer may begin.
func nextMark(b []byte) int {
	for i := 0; ; {
		j := bytes.Index(b[i:], []byte(recordMark[:3]))
		if j < 0 {
			return -1
		}
		i += j
		if i+3 < len(b) && (b[i+3] == recordMark[3] || b[i+3] == footerMark[3]) {
			return i
		}
		i++
	}
}

// tornHead reports whether b, which holds no sound head and no record, is what
// a crash leaves of a segment that was being made: nothing is written after the
// head before that is durable. No event is lost with it.
func tornHead(b []byte) bool {
	return len(b) <= headerSize || len(bytes.Trim(b, "\x00")) == 0
}
