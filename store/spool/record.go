package spool

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"time"

	"gatehouse/agent/site"
)

// The sizes of the format's fixed parts, in bytes.
const (
	headerSize = 56
	recordSize = 32 // of a record's head, before its payload
	footerSize = 72

	formatVersion = 1
)

// The marks. 0xFF is in no UTF-8 text, so a payload cannot contain one.
const (
	magic      = "GHSPOOL\n"
	recordMark = "\xffGHr"
	footerMark = "\xffGHf"
)

// flagRewritten marks a segment that replaces the others of its numbers.
const flagRewritten = 1

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	le         = binary.LittleEndian
)

func crc(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// header is the head of a segment.
type header struct {
	log     uint32
	flags   uint32
	base    uint64 // the first number that the segment accounts for
	created int64  // Unix nanoseconds, by whatever clock there was
	change  uint64 // the highest Change in the log before this segment
}

func (h header) append(b []byte) []byte {
	start := len(b)
	b = append(b, magic...)
	b = le.AppendUint32(b, formatVersion)
	b = le.AppendUint32(b, h.log)
	b = le.AppendUint32(b, h.flags)
	b = le.AppendUint32(b, 0)
	b = le.AppendUint64(b, h.base)
	b = le.AppendUint64(b, uint64(h.created))
	b = le.AppendUint64(b, h.change)
	b = le.AppendUint32(b, 0)
	return le.AppendUint32(b, crc(b[start:]))
}

// parseHeader reads a segment's head. A version that this program does not
// know is an error of its own, so that a newer log is never taken for damage.
func parseHeader(b []byte) (header, error) {
	if len(b) < headerSize || string(b[:8]) != magic || crc(b[:headerSize-4]) != le.Uint32(b[headerSize-4:]) {
		return header{}, errDamaged
	}
	if v := le.Uint32(b[8:]); v != formatVersion {
		return header{}, fmt.Errorf("format version %d: %w", v, ErrVersion)
	}
	return header{
		log: le.Uint32(b[12:]), flags: le.Uint32(b[16:]),
		base: le.Uint64(b[24:]), created: int64(le.Uint64(b[32:])), change: le.Uint64(b[40:]),
	}, nil
}

// record is one entry of a segment: an event, or what stands in its place. It
// accounts for the numbers seq-span+1 to seq.
type record struct {
	seq     uint64
	span    uint64
	payload []byte // JSON of the event; empty: numbers that every consumer has had
}

func (r record) first() uint64 { return r.seq - r.span + 1 }

// append writes the record as a segment of the given log has it.
func (r record) append(b []byte, log uint32) []byte {
	start := len(b)
	b = append(b, recordMark...)
	b = le.AppendUint32(b, uint32(len(r.payload)))
	b = le.AppendUint64(b, r.seq)
	b = le.AppendUint64(b, r.span)
	b = le.AppendUint32(b, crc(r.payload))
	b = le.AppendUint32(b, headCRC(b[start:], log))
	return append(b, r.payload...)
}

// headCRC covers the log id too, so that a record left over from another log
// on a reused block is not taken for one of this log.
func headCRC(b []byte, log uint32) uint32 {
	var id [4]byte
	le.PutUint32(id[:], log)
	return crc32.Update(crc(id[:]), castagnoli, b)
}

// parsed says what parseRecord found.
type parsed uint8

const (
	parsedOK      parsed = iota
	parsedShort          // a sound beginning of a record; the bytes end too early
	parsedHead           // the head is not a record's
	parsedPayload        // the head is sound, the payload was altered
)

// parseRecord reads the record at the start of b and the number of bytes that
// it takes. The payload aliases b.
func parseRecord(b []byte, log uint32) (record, int, parsed) {
	n := min(len(b), 4)
	if string(b[:n]) != recordMark[:n] {
		return record{}, 0, parsedHead
	}
	if len(b) < recordSize {
		return record{}, 0, parsedShort
	}
	if headCRC(b[:recordSize-4], log) != le.Uint32(b[recordSize-4:]) {
		return record{}, 0, parsedHead
	}
	r := record{seq: le.Uint64(b[8:]), span: le.Uint64(b[16:])}
	size := int64(le.Uint32(b[4:]))
	if size > maxPayload || r.span == 0 || r.span > r.seq {
		return record{}, 0, parsedHead
	}
	end := recordSize + int(size)
	if len(b) < end {
		return r, end, parsedShort
	}
	r.payload = b[recordSize:end:end]
	if crc(r.payload) != le.Uint32(b[24:]) {
		return r, end, parsedPayload
	}
	return r, end, parsedOK
}

// maxPayload bounds what a record's head may ask a reader to hold. It is above
// MaxEvent because that is judged by an estimate before the JSON is made.
const maxPayload = 8 << 20

// footer sums up a finished segment, so that opening a log and looking for a
// time need not read it.
type footer struct {
	log     uint32
	end     uint64 // the last number that the segment accounts for
	count   uint64 // records
	minTime int64  // of its events, Unix nanoseconds; 0: none
	maxTime int64
	trusted int64  // the latest trusted time; 0: none
	change  uint64 // the highest Change up to here
	changed uint64 // the number of the last event here that has a Change; 0: none
}

func (f footer) append(b []byte) []byte {
	start := len(b)
	b = append(b, footerMark...)
	b = le.AppendUint32(b, f.log)
	b = le.AppendUint64(b, f.end)
	b = le.AppendUint64(b, f.count)
	b = le.AppendUint64(b, uint64(f.minTime))
	b = le.AppendUint64(b, uint64(f.maxTime))
	b = le.AppendUint64(b, uint64(f.trusted))
	b = le.AppendUint64(b, f.change)
	b = le.AppendUint64(b, f.changed)
	b = le.AppendUint32(b, 0)
	return le.AppendUint32(b, crc(b[start:]))
}

func parseFooter(b []byte, log uint32) (footer, bool) {
	if len(b) < footerSize || string(b[:4]) != footerMark ||
		crc(b[:footerSize-4]) != le.Uint32(b[footerSize-4:]) || le.Uint32(b[4:]) != log {
		return footer{}, false
	}
	return footer{
		log: log, end: le.Uint64(b[8:]), count: le.Uint64(b[16:]),
		minTime: int64(le.Uint64(b[24:])), maxTime: int64(le.Uint64(b[32:])),
		trusted: int64(le.Uint64(b[40:])), change: le.Uint64(b[48:]), changed: le.Uint64(b[56:]),
	}, true
}

// note takes one event's time and change into the sum.
func (f *footer) note(seq uint64, m meta) {
	if m.Change > 0 {
		f.change, f.changed = max(f.change, m.Change), seq
	}
	if !storable(m.Time) || m.Time.IsZero() {
		return
	}
	t := nanos(m.Time)
	if f.minTime == 0 || t < f.minTime {
		f.minTime = t
	}
	if f.maxTime == 0 || t > f.maxTime {
		f.maxTime = t
	}
	if m.Trusted {
		f.trusted = max(f.trusted, t)
	}
}

// nanos is UnixNano, kept inside the years that it can hold; never 0, which
// stands for none.
func nanos(t time.Time) int64 {
	switch y := t.Year(); {
	case y < 1700:
		return -1 << 63
	case y > 2200:
		return 1<<63 - 1
	}
	if n := t.UnixNano(); n != 0 {
		return n
	}
	return 1
}

// meta is what the sums need of an event.
type meta struct {
	Time    time.Time `json:"time"`
	Trusted bool      `json:"trusted"`
	Change  uint64    `json:"change"`
}

// storable reports whether encoding/json can write t.
func storable(t time.Time) bool { return t.Year() >= 0 && t.Year() <= 9999 }

// clean returns the event as it is stored: no holder's name, times in UTC. A
// time that RFC 3339 cannot say becomes the zero time.
func clean(ev site.Event) site.Event {
	ev.Holder = ""
	for _, t := range []*time.Time{&ev.Time, &ev.Until} {
		*t = t.UTC()
		if !storable(*t) {
			*t = time.Time{}
		}
	}
	return ev
}

// estimate bounds the stored size of an event without encoding it.
func estimate(ev *site.Event) int {
	n := 512 + len(ev.Sealed)*4/3
	for _, s := range []string{string(ev.Kind), string(ev.Door), string(ev.Reader), string(ev.Reason), ev.Card.Last2,
		ev.Card.Tag, ev.By, string(ev.Source), string(ev.HolderID), string(ev.Credential), string(ev.Device),
		ev.Item, string(ev.Area), ev.Mode, ev.Text, ev.Code, ev.Data, ev.LockTime, string(ev.As)} {
		n += len(s)
	}
	return n
}

// logID is the text form of a log's id.
func logID(id uint32) site.LogID {
	return site.LogID(hex.EncodeToString(binary.BigEndian.AppendUint32(nil, id)))
}
