package spool

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// segmentName is what a segment's file name says, so that a destroyed head can
// be made up for. gen counts the rewritings: a name is never used twice.
type segmentName struct {
	base uint64
	log  uint32
	gen  uint32
}

const segmentSuffix = ".spool"

func (n segmentName) String() string {
	return fmt.Sprintf("%020d-%08x-%d%s", n.base, n.log, n.gen, segmentSuffix)
}

func parseName(s string) (segmentName, bool) {
	body, ok := strings.CutSuffix(s, segmentSuffix)
	parts := strings.Split(body, "-")
	if !ok || len(parts) != 3 {
		return segmentName{}, false
	}
	base, err1 := strconv.ParseUint(parts[0], 10, 64)
	log, err2 := strconv.ParseUint(parts[1], 16, 32)
	gen, err3 := strconv.ParseUint(parts[2], 10, 32)
	n := segmentName{base: base, log: uint32(log), gen: uint32(gen)}
	if errors.Join(err1, err2, err3) != nil || base == 0 || n.String() != s {
		return segmentName{}, false
	}
	return n, true
}

func compareNames(a, b segmentName) int {
	switch {
	case a.base != b.base:
		return cmpUint(a.base, b.base)
	case a.gen != b.gen:
		return cmpUint(uint64(b.gen), uint64(a.gen)) // the newest rewriting first
	}
	return cmpUint(uint64(a.log), uint64(b.log))
}

func cmpUint(a, b uint64) int {
	if a < b {
		return -1
	}
	return 1
}

// segment is what memory holds of one file. All fields but those of the active
// segment are fixed once it is in Log.segs; the active one's are under Log.mu.
type segment struct {
	name      segmentName
	end       uint64 // the last number it accounts for; base-1 while empty
	size      int64  // head and records that are durable: how far readers go
	disk      int64  // size of the file
	foot      footer // the sums, kept up to date
	rewritten bool
	stuck     uint64 // the PolicyCopy position for which it was last compacted
}

func (s *segment) empty() bool { return s.end == s.name.base-1 }

// path returns the name of a file of the log.
func (l *Log) path(name string) string { return filepath.Join(l.cfg.Dir, name) }

// readAll reads a file. Blocks that the disk refuses to give back read as
// zeros and are reported as bad.
func readAll(fsys FS, path string) (b []byte, bad bool, err error) {
	f, err := fsys.Open(path)
	if err != nil {
		return nil, false, err
	}
	defer func() { _ = f.Close() }() // opened for reading
	size, err := f.Size()
	if err != nil {
		return nil, false, err
	}
	if size > maxSegmentFile {
		return nil, false, fmt.Errorf("%d bytes: larger than any segment", size)
	}
	b = make([]byte, size)
	n, err := f.ReadAt(b, 0)
	if err == nil || n == len(b) || errors.Is(err, io.EOF) {
		return b[:n], false, nil
	}
	const block = 4096
	for off := 0; off < len(b); off += block {
		part := b[off:min(off+block, len(b))]
		if n, err := f.ReadAt(part, int64(off)); n < len(part) && err != nil {
			clear(part)
			bad = true
		}
	}
	return b, bad, nil
}

// maxSegmentFile bounds what is read at once: a segment, one group beyond it
// with the largest record, and merged remains.
const maxSegmentFile = 64 << 20

// loadSegment finds out what a file holds: from its head and footer where
// quick is set and both are sound, else by reading all of it.
func (l *Log) loadSegment(name segmentName, quick bool) (segment, *scan, []byte, error) {
	path := l.path(name.String())
	if quick {
		if seg, ok := l.peekSegment(name); ok {
			return seg, nil, nil, nil
		}
	}
	b, bad, err := readAll(l.fs, path)
	if err != nil {
		return segment{}, nil, nil, err
	}
	s, err := scanSegment(b, name)
	if err != nil {
		return segment{}, nil, nil, err
	}
	s.damaged = s.damaged || bad
	seg := segment{
		name: name, end: s.end, size: int64(s.size), disk: int64(len(b)), foot: s.foot,
		rewritten: s.head.flags&flagRewritten != 0,
	}
	return seg, &s, b, nil
}

// peekSegment reads head and footer only.
func (l *Log) peekSegment(name segmentName) (segment, bool) {
	f, err := l.fs.Open(l.path(name.String()))
	if err != nil {
		return segment{}, false
	}
	defer func() { _ = f.Close() }() // opened for reading
	size, err := f.Size()
	if err != nil || size < headerSize+footerSize {
		return segment{}, false
	}
	var hb [headerSize]byte
	var fb [footerSize]byte
	if _, err := f.ReadAt(hb[:], 0); err != nil {
		return segment{}, false
	}
	if n, err := f.ReadAt(fb[:], size-footerSize); n < footerSize && err != nil {
		return segment{}, false
	}
	h, err := parseHeader(hb[:])
	foot, ok := parseFooter(fb[:], name.log)
	if err != nil || !ok || h.log != name.log || h.base != name.base || foot.end+1 < name.base {
		return segment{}, false
	}
	return segment{
		name: name, end: foot.end, size: size - footerSize, disk: size, foot: foot,
		rewritten: h.flags&flagRewritten != 0,
	}, true
}

// listSegments returns the names of the log's files in order. Leftovers of
// unfinished replacements are removed.
func (l *Log) listSegments() ([]segmentName, error) {
	files, err := l.fs.Names(l.cfg.Dir)
	if err != nil {
		return nil, err
	}
	var out []segmentName
	for _, f := range files {
		if n, ok := parseName(f); ok {
			out = append(out, n)
		} else if strings.HasSuffix(f, tempSuffix) {
			_ = l.fs.Remove(l.path(f)) // never had a name of its own; tried again at the next start
		}
	}
	slices.SortFunc(out, compareNames)
	return out, nil
}

const tempSuffix = ".new"

// writeFile makes a durable file under name, whole or not at all.
func writeFile(fsys FS, dir, name string, b []byte) error {
	path := filepath.Join(dir, name)
	temp := path + tempSuffix
	if err := fsys.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := fsys.Create(temp)
	if err != nil {
		return err
	}
	n, err := f.WriteAt(b, 0)
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = fsys.Rename(temp, path)
	}
	if err != nil {
		_ = fsys.Remove(temp) // gone at the next start otherwise
		return err
	}
	return fsys.SyncDir(dir)
}
