package store

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"slices"
	"sync"
	"syscall"

	"gatehouse/agent/site"
)

// stage is an import that is built beside the live credentials: its rows as
// records in a temporary file, with their keys in memory (40 bytes a row).
type stage struct {
	path  string
	f     *os.File
	w     *bufio.Writer
	size  uint64
	index []stageEntry
	data  []byte // the file, mapped, once all rows are there

	names   []string          // of the file's holders
	byName  map[string]uint32 // index in names, from 1
	holders []uint64          // their numbers, once known; by index less 1

	dirty map[credKey]struct{} // what others changed meanwhile; the store's writer guards it
}

type stageEntry struct {
	key    credKey
	record uint32 // number in the import, from 1
	off    uint64
}

// Columns of a row that a record keeps, beside the record itself.
type stagedRow struct {
	has    uint16
	holder uint32 // index in names, from 1; 0: none
	rec    credential
}

func newStage(path string) (*stage, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	return &stage{path: path, f: f, w: bufio.NewWriterSize(f, 256<<10),
		byName: make(map[string]uint32), dirty: make(map[credKey]struct{})}, nil
}

// add appends a row.
func (st *stage) add(p *parsed, record int, scratch []byte) ([]byte, error) {
	holder := uint32(0)
	if p.holder != "" {
		if holder = st.byName[p.holder]; holder == 0 {
			name := string(append([]byte(nil), p.holder...))
			st.names = append(st.names, name)
			holder = uint32(len(st.names))
			st.byName[name] = holder
		}
	}
	b := append(scratch[:0], 0, 0) // its length
	b = binary.LittleEndian.AppendUint16(b, p.has)
	b = binary.LittleEndian.AppendUint32(b, holder)
	b = appendCredential(b, &p.rec)
	if len(b)-2 > 1<<16-1 {
		return b, fieldErr("rights", "are too many")
	}
	binary.LittleEndian.PutUint16(b, uint16(len(b)-2))
	st.index = append(st.index, stageEntry{key: p.key, record: uint32(record), off: st.size})
	st.size += uint64(len(b))
	_, err := st.w.Write(b)
	return b, err
}

// finish sorts the rows and reports the first one that stands twice.
func (st *stage) finish() ([]*RecordError, error) {
	st.byName = nil
	st.sort()
	var errs []*RecordError
	for i := 1; i < len(st.index); i++ {
		if a, b := &st.index[i-1], &st.index[i]; a.key == b.key {
			errs = append(errs, &RecordError{Record: int(b.record), Field: "card",
				Err: fmt.Errorf("is the same credential as record %d", a.record)})
		} else if [8]byte(a.key[:8]) == [8]byte(b.key[:8]) && a.key.id() == b.key.id() {
			errs = append(errs, &RecordError{Record: int(b.record), Field: "card",
				Err: fmt.Errorf("has the same id as record %d", a.record)})
		}
	}
	if err := st.w.Flush(); err != nil || st.size == 0 {
		return errs, err
	}
	var err error
	st.data, err = syscall.Mmap(int(st.f.Fd()), 0, int(st.size), syscall.PROT_READ, syscall.MAP_SHARED)
	return errs, err
}

// sort sorts the index, in two halves at the same time: blocks are encrypted, so
// their first bits are spread evenly.
func (st *stage) sort() {
	half := 0
	for i := range st.index {
		if st.index[i].key[0] < 0x80 {
			st.index[i], st.index[half] = st.index[half], st.index[i]
			half++
		}
	}
	less := func(a, b stageEntry) int {
		if c := bytes.Compare(a.key[:], b.key[:]); c != 0 {
			return c
		}
		return int(a.record) - int(b.record)
	}
	var wg sync.WaitGroup
	wg.Go(func() { slices.SortFunc(st.index[:half], less) })
	slices.SortFunc(st.index[half:], less)
	wg.Wait()
}

// row reads a row back. Run it inside of guard.
func (st *stage) row(e *stageEntry, in *interner, out *stagedRow) error {
	b := st.data[e.off:]
	n := int(binary.LittleEndian.Uint16(b))
	b = b[2 : 2+n]
	out.has, out.holder = binary.LittleEndian.Uint16(b), binary.LittleEndian.Uint32(b[2:])
	return decodeCredential(b[6:], in, &out.rec)
}

// find returns the row of a key.
func (st *stage) find(k credKey) *stageEntry {
	i, ok := slices.BinarySearchFunc(st.index, k, func(e stageEntry, k credKey) int { return bytes.Compare(e.key[:], k[:]) })
	if !ok {
		return nil
	}
	return &st.index[i]
}

// touch notes credentials that a change touched. The writer is held.
func (st *stage) touch(keys []credKey) {
	for _, k := range keys {
		st.dirty[k] = struct{}{}
	}
}

// close removes the stage.
func (st *stage) close() {
	if st.data != nil {
		_ = syscall.Munmap(st.data)
		st.data = nil
	}
	_ = st.f.Close()
	_ = os.Remove(st.path)
	st.index = nil
}

// merge makes the record that row leaves over live, which may be nil. Columns
// that the import does not have keep what is there; the state is no column.
func (r *stagedRow) merge(live *credential, holder uint64) (credential, error) {
	if live == nil {
		if holder == 0 {
			return credential{}, fieldErr("holder", "is missing")
		}
		out := r.rec
		out.Holder, out.State = holder, site.CredentialActive
		return out, nil
	}
	out := *live
	out.Format, out.Last2 = r.rec.Format, r.rec.Last2
	has := func(col int) bool { return r.has&(1<<col) != 0 }
	if has(colFunction) {
		out.Function = r.rec.Function
	}
	if has(colADA) {
		out.ADA = r.rec.ADA
	}
	if has(colUses) {
		out.Uses = r.rec.Uses
	}
	if has(colLevel) {
		out.Levels = r.rec.Levels
	}
	if has(colRights) {
		out.Rights = r.rec.Rights
	}
	if has(colFrom) {
		out.From = r.rec.From
	}
	if has(colUntil) {
		out.Until = r.rec.Until
	}
	if !out.From.IsZero() && !out.Until.IsZero() && !out.From.Before(out.Until) {
		return out, fieldErr("until", "is not after from")
	}
	var zero [16]byte
	if r.rec.PIN != zero {
		out.PIN, out.Alone = r.rec.PIN, r.rec.Alone
		if r.rec.Duress != zero {
			out.Duress, out.AloneDuress = r.rec.Duress, r.rec.AloneDuress
		}
		if out.Alone == zero {
			out.AloneDuress = zero
		}
		if out.Duress == out.PIN {
			return out, fieldErr("pin", "is the duress pin")
		}
	}
	return out, nil
}
