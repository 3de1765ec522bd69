package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
)

// This file reads bbolt's file format (version 2, go.etcd.io/bbolt
// internal/common: page.go, meta.go, bucket.go) without bbolt, to find damage.
// bbolt's own check maps the file and follows page numbers in a goroutine of
// its own, where a page number beyond the file is a fault that ends the
// program; this one only ever sees bytes that it read, so it can be run on
// anything. All targets are little-endian, and so is the format there.

const (
	pageHeaderSize  = 16
	metaOffset      = 16 // the meta follows its page header
	metaSize        = 64
	leafElemSize    = 16
	branchElemSize  = 16
	bucketHeadSize  = 16
	boltMagic       = 0xED0CDAED
	boltVersion     = 2
	pageBranch      = 0x01
	pageLeaf        = 0x02
	pageFreelist    = 0x10
	noFreelist      = 1<<64 - 1
	maxPageDepth    = 64
	maxBucketNested = 4
	minPageSize     = 1024
	maxPageSize     = 1 << 16
	maxPages        = 1 << 32
)

// pageMeta is what a valid meta page says.
type pageMeta struct {
	pageSize int
	root     uint64
	freelist uint64
	pages    uint64 // the high-water mark: pages at and above do not exist
	txid     uint64
}

// parseMeta reads a meta page, header included.
func parseMeta(page []byte) (pageMeta, error) {
	if len(page) < metaOffset+metaSize {
		return pageMeta{}, errors.New("meta page is too short")
	}
	b := page[metaOffset : metaOffset+metaSize]
	le := binary.LittleEndian
	if le.Uint32(b) != boltMagic || le.Uint32(b[4:]) != boltVersion {
		return pageMeta{}, errors.New("meta page: not a bbolt file of version 2")
	}
	h := fnv.New64a()
	h.Write(b[:56])
	if h.Sum64() != le.Uint64(b[56:]) {
		return pageMeta{}, errors.New("meta page: wrong checksum")
	}
	m := pageMeta{
		pageSize: int(le.Uint32(b[8:])), root: le.Uint64(b[16:]),
		freelist: le.Uint64(b[32:]), pages: le.Uint64(b[40:]), txid: le.Uint64(b[48:]),
	}
	if m.pageSize < minPageSize || m.pageSize > maxPageSize || m.pageSize&(m.pageSize-1) != 0 {
		return pageMeta{}, fmt.Errorf("meta page: page size %d", m.pageSize)
	}
	if m.pages < 2 || m.pages > maxPages {
		return pageMeta{}, fmt.Errorf("meta page: %d pages", m.pages)
	}
	return m, nil
}

// readMeta returns the newest valid meta of a file and how many of the two are
// valid. bbolt silently goes on from the older one; what that loses is found
// by the number of the last change, see rollForward.
func readMeta(r io.ReaderAt, size int64) (m pageMeta, valid int, err error) {
	var page [metaOffset + metaSize]byte
	if _, err = r.ReadAt(page[:], 0); err != nil {
		return pageMeta{}, 0, fmt.Errorf("meta page 0: %w", err)
	}
	m, err0 := parseMeta(page[:])
	if err0 == nil {
		valid++
	}
	for ps := int64(minPageSize); ps <= maxPageSize && ps+metaOffset+metaSize <= size; ps *= 2 {
		if err0 == nil && ps != int64(m.pageSize) {
			continue
		}
		if _, err = r.ReadAt(page[:], ps); err != nil {
			return pageMeta{}, 0, fmt.Errorf("meta page 1: %w", err)
		}
		m1, err1 := parseMeta(page[:])
		if err1 != nil || int64(m1.pageSize) != ps {
			continue
		}
		valid++
		if err0 != nil || m1.txid > m.txid {
			m = m1
		}
		break
	}
	if valid == 0 {
		return pageMeta{}, 0, err0
	}
	return m, valid, nil
}

// visitFunc is told every record of a file: the names of its bucket, the key
// and the value, which hold until it returns.
type visitFunc func(bucket [][]byte, key, value []byte) error

// pageWalk is one pass over a file.
type pageWalk struct {
	r     io.ReaderAt
	m     pageMeta
	seen  []uint64 // bit set of pages in use or free
	visit visitFunc
	bufs  [][]byte // one per depth, so that a page stays while its children are read
	stop  func() error
}

// walkPages checks the whole tree under meta m: every page is in the file, of
// the right kind, used once and free or used; keys are in order and between
// those of the page above; elements lie inside their page. It calls visit for
// every record and stop, when not nil, now and then.
func walkPages(r io.ReaderAt, size int64, m pageMeta, visit visitFunc, stop func() error) error {
	if uint64(size)/uint64(m.pageSize) < m.pages {
		return fmt.Errorf("file of %d bytes is shorter than its %d pages", size, m.pages)
	}
	w := &pageWalk{r: r, m: m, seen: make([]uint64, m.pages/64+1), visit: visit, stop: stop}
	w.seen[0] = 3 // the meta pages
	if err := w.free(); err != nil {
		return err
	}
	if err := w.tree(m.root, nil, nil, nil, 0); err != nil {
		return err
	}
	for id := range m.pages {
		if w.seen[id/64]&(1<<(id%64)) == 0 {
			return fmt.Errorf("page %d: neither used nor free", id)
		}
	}
	return nil
}

func (w *pageWalk) mark(id, n uint64) error {
	if id < 2 || n > w.m.pages || id > w.m.pages-n {
		return fmt.Errorf("page %d: outside the file", id)
	}
	for i := id; i < id+n; i++ {
		if w.seen[i/64]&(1<<(i%64)) != 0 {
			return fmt.Errorf("page %d: used twice", i)
		}
		w.seen[i/64] |= 1 << (i % 64)
	}
	return nil
}

// page reads page id with its overflow into the buffer of a depth.
func (w *pageWalk) page(id uint64, depth int) (flags, count int, page []byte, err error) {
	if id < 2 || id >= w.m.pages {
		return 0, 0, nil, fmt.Errorf("page %d: outside the file", id)
	}
	for len(w.bufs) <= depth {
		w.bufs = append(w.bufs, make([]byte, w.m.pageSize))
	}
	buf := w.bufs[depth][:w.m.pageSize]
	off := int64(id) * int64(w.m.pageSize)
	if _, err = w.r.ReadAt(buf, off); err != nil {
		return 0, 0, nil, fmt.Errorf("page %d: %w", id, err)
	}
	le := binary.LittleEndian
	if got := le.Uint64(buf); got != id {
		return 0, 0, nil, fmt.Errorf("page %d: says that it is %d", id, got)
	}
	n := uint64(le.Uint32(buf[12:])) + 1
	if err = w.mark(id, n); err != nil {
		return 0, 0, nil, err
	}
	if n > 1 {
		if need := int(n) * w.m.pageSize; cap(buf) < need {
			w.bufs[depth] = append(make([]byte, 0, need), buf...)
		}
		buf = w.bufs[depth][:int(n)*w.m.pageSize]
		if _, err = w.r.ReadAt(buf[w.m.pageSize:], off+int64(w.m.pageSize)); err != nil {
			return 0, 0, nil, fmt.Errorf("page %d: %w", id, err)
		}
		w.bufs[depth] = buf
	}
	return int(le.Uint16(buf[8:])), int(le.Uint16(buf[10:])), buf, nil
}

func (w *pageWalk) free() error {
	if w.m.freelist == noFreelist {
		return errors.New("free pages are not listed")
	}
	flags, count, page, err := w.page(w.m.freelist, 0)
	if err != nil {
		return fmt.Errorf("free list: %w", err)
	}
	if flags != pageFreelist {
		return fmt.Errorf("free list: page %d is of kind %#x", w.m.freelist, flags)
	}
	ids := page[pageHeaderSize:]
	n := uint64(count)
	if count == 0xFFFF {
		n, ids = binary.LittleEndian.Uint64(ids), ids[8:]
	}
	if n > uint64(len(ids)/8) {
		return fmt.Errorf("free list: %d entries do not fit its page", n)
	}
	for i := range n {
		if err := w.mark(binary.LittleEndian.Uint64(ids[i*8:]), 1); err != nil {
			return fmt.Errorf("free list: %w", err)
		}
	}
	return nil
}

// tree walks the page id and all below it. Keys must be at least low and below
// high; nil means no limit.
func (w *pageWalk) tree(id uint64, bucket [][]byte, low, high []byte, depth int) error {
	if depth >= maxPageDepth {
		return fmt.Errorf("page %d: too deep", id)
	}
	if w.stop != nil {
		if err := w.stop(); err != nil {
			return err
		}
	}
	flags, count, page, err := w.page(id, depth)
	if err != nil {
		return err
	}
	switch flags {
	case pageLeaf:
		err = w.leaf(page, count, bucket, low, high, depth)
	case pageBranch:
		err = w.branch(page, count, bucket, low, high, depth)
	default:
		err = fmt.Errorf("kind %#x", flags)
	}
	if err != nil {
		return fmt.Errorf("page %d: %w", id, err)
	}
	return nil
}

// element returns n bytes at pos from an element's start.
func element(page []byte, at int, pos, n uint32) ([]byte, error) {
	start := uint64(at) + uint64(pos)
	if start+uint64(n) > uint64(len(page)) {
		return nil, errors.New("element lies outside its page")
	}
	return page[start : start+uint64(n) : start+uint64(n)], nil
}

func (w *pageWalk) branch(page []byte, count int, bucket [][]byte, low, high []byte, depth int) error {
	le := binary.LittleEndian
	if count == 0 || pageHeaderSize+count*branchElemSize > len(page) {
		return errors.New("branch with a wrong count")
	}
	key := func(i int) ([]byte, error) {
		at := pageHeaderSize + i*branchElemSize
		return element(page, at, le.Uint32(page[at:]), le.Uint32(page[at+4:]))
	}
	for i := range count {
		k, err := key(i)
		if err != nil {
			return err
		}
		// The first key of a branch may be above the least key below it only
		// by being equal to or below; bbolt keeps it at or above low.
		if err := ordered(k, low, high); err != nil {
			return err
		}
		next := high
		if i+1 < count {
			if next, err = key(i + 1); err != nil {
				return err
			}
			if bytes.Compare(k, next) >= 0 {
				return errors.New("keys are out of order")
			}
		}
		at := pageHeaderSize + i*branchElemSize
		if err := w.tree(le.Uint64(page[at+8:]), bucket, k, next, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func ordered(k, low, high []byte) error {
	if low != nil && bytes.Compare(k, low) < 0 || high != nil && bytes.Compare(k, high) >= 0 {
		return errors.New("key is outside its page's range")
	}
	return nil
}

func (w *pageWalk) leaf(page []byte, count int, bucket [][]byte, low, high []byte, depth int) error {
	le := binary.LittleEndian
	if pageHeaderSize+count*leafElemSize > len(page) {
		return errors.New("leaf with a wrong count")
	}
	var last []byte
	for i := range count {
		at := pageHeaderSize + i*leafElemSize
		flags, pos, ks, vs := le.Uint32(page[at:]), le.Uint32(page[at+4:]), le.Uint32(page[at+8:]), le.Uint32(page[at+12:])
		kv, err := element(page, at, pos, ks)
		if err != nil {
			return err
		}
		val, err := element(page, at, pos+ks, vs)
		if err != nil || pos+ks < pos {
			return errors.New("element lies outside its page")
		}
		if err := ordered(kv, low, high); err != nil {
			return err
		}
		if i > 0 && bytes.Compare(last, kv) >= 0 {
			return errors.New("keys are out of order")
		}
		last = kv
		switch flags {
		case 0:
			err = w.visit(bucket, kv, val)
		case 1:
			err = w.bucket(append(bucket[:len(bucket):len(bucket)], kv), val, depth)
		default:
			err = fmt.Errorf("element of kind %#x", flags)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// bucket walks a bucket inside another: its own tree, or a page inside the
// value.
func (w *pageWalk) bucket(path [][]byte, val []byte, depth int) error {
	if len(path) > maxBucketNested {
		return errors.New("buckets are nested too deep")
	}
	if len(val) < bucketHeadSize {
		return errors.New("bucket header is too short")
	}
	if root := binary.LittleEndian.Uint64(val); root != 0 {
		return w.tree(root, path, nil, nil, depth+1)
	}
	page := val[bucketHeadSize:]
	if len(page) < pageHeaderSize || binary.LittleEndian.Uint16(page[8:]) != pageLeaf {
		return errors.New("bucket without a page")
	}
	return w.leaf(page, int(binary.LittleEndian.Uint16(page[10:])), path, nil, nil, depth)
}
