package link

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math"
	"time"
)

// castagnoli is the table of CRC-32C.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var errState = errors.New("its check or its form is wrong")

// putter appends little-endian values.
type putter []byte

func (p *putter) u8(v uint8)    { *p = append(*p, v) }
func (p *putter) u16(v uint16)  { *p = binary.LittleEndian.AppendUint16(*p, v) }
func (p *putter) u32(v uint32)  { *p = binary.LittleEndian.AppendUint32(*p, v) }
func (p *putter) u64(v uint64)  { *p = binary.LittleEndian.AppendUint64(*p, v) }
func (p *putter) f64(v float64) { p.u64(math.Float64bits(v)) }
func (p *putter) raw(v []byte)  { *p = append(*p, v...) }

func (p *putter) bool(v bool) {
	if v {
		p.u8(1)
	} else {
		p.u8(0)
	}
}

// time is in milliseconds; 0 is none.
func (p *putter) time(t time.Time) {
	if t.IsZero() {
		p.u64(0)
	} else {
		p.u64(uint64(t.UnixMilli()))
	}
}

// str is a text of at most 65,535 bytes; who sets one keeps it far shorter.
func (p *putter) str(s string) {
	s = s[:min(len(s), math.MaxUint16)]
	p.u16(uint16(len(s)))
	p.raw([]byte(s))
}

// seal appends the check of all before it.
func (p *putter) seal() { p.u32(crc32.Checksum(*p, castagnoli)) }

// unseal returns what stands before a sound check.
func unseal(b []byte) ([]byte, error) {
	n := len(b) - 4
	if n < 0 || crc32.Checksum(b[:n], castagnoli) != binary.LittleEndian.Uint32(b[n:]) {
		return nil, errState
	}
	return b[:n], nil
}

// taker reads what putter wrote. After the first failure all that it gives is zero.
type taker struct {
	b   []byte
	bad bool
}

func (t *taker) raw(n int) []byte {
	if t.bad || n < 0 || n > len(t.b) {
		t.bad = true
		return nil
	}
	out := t.b[:n:n]
	t.b = t.b[n:]
	return out
}

func (t *taker) u8() uint8 {
	if b := t.raw(1); b != nil {
		return b[0]
	}
	return 0
}

func (t *taker) u16() uint16 {
	if b := t.raw(2); b != nil {
		return binary.LittleEndian.Uint16(b)
	}
	return 0
}

func (t *taker) u32() uint32 {
	if b := t.raw(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

func (t *taker) u64() uint64 {
	if b := t.raw(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

func (t *taker) f64() float64 { return math.Float64frombits(t.u64()) }

func (t *taker) bool() bool {
	v := t.u8()
	t.bad = t.bad || v > 1
	return v == 1 && !t.bad
}

func (t *taker) time() time.Time {
	ms := int64(t.u64())
	if ms == 0 {
		return time.Time{}
	}
	// Beyond these a time does not come back from its milliseconds.
	if ms <= -62135596800_000 || ms > 253402300799_999 {
		t.bad = true
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

func (t *taker) str() string { return string(t.raw(int(t.u16()))) }

// count is a number of records of at least size bytes each, so that a damaged one
// asks for no memory that the file could not fill.
func (t *taker) count(size, most int) int {
	n := int(t.u32())
	if t.bad || n > most || n > len(t.b)/size {
		t.bad = true
		return 0
	}
	return n
}

// end is the error of what was read.
func (t *taker) end() error {
	if t.bad || len(t.b) != 0 {
		return errState
	}
	return nil
}
