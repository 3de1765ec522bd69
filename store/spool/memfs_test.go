package spool_test

import (
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"gatehouse/store/spool"
)

var errInjected = errors.New("injected fault")

// memFS is a file layer in memory that knows what a power cut leaves: content
// and names are durable once they were flushed, and before that by chance.
type memFS struct {
	mu    sync.Mutex
	files map[string]*inode // as processes see them
	disk  map[string]*inode // names that are durable
	ops   []dirOp           // not durable yet

	fail  func(op, name string) error // called before each writing operation
	space int64                       // bytes that may still be written; negative: no limit
	lock  bool
	syncs int
}

type inode struct {
	data   []byte
	synced []byte
}

type dirOp struct {
	dir   string
	apply func(map[string]*inode)
}

func newMemFS() *memFS {
	return &memFS{files: map[string]*inode{}, disk: map[string]*inode{}, space: -1}
}

func (m *memFS) check(op, name string) error {
	if m.fail != nil {
		return m.fail(op, name)
	}
	return nil
}

func (m *memFS) change(name string, apply func(map[string]*inode)) {
	apply(m.files)
	m.ops = append(m.ops, dirOp{filepath.Dir(name), apply})
}

func (m *memFS) Create(name string) (spool.File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.check("create", name); err != nil {
		return nil, err
	}
	if m.files[name] != nil {
		return nil, fs.ErrExist
	}
	n := &inode{}
	m.change(name, func(f map[string]*inode) { f[name] = n })
	return &memFile{m, n, name}, nil
}

func (m *memFS) Open(name string) (spool.File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.files[name]
	if n == nil {
		return nil, fs.ErrNotExist
	}
	return &memFile{m, n, name}, nil
}

func (m *memFS) Names(dir string) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []string
	for name := range m.files {
		if filepath.Dir(name) == dir {
			out = append(out, filepath.Base(name))
		}
	}
	return out, nil
}

func (m *memFS) MkdirAll(string) error { return nil }

func (m *memFS) Rename(from, to string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.check("rename", to); err != nil {
		return err
	}
	n := m.files[from]
	if n == nil {
		return fs.ErrNotExist
	}
	m.change(to, func(f map[string]*inode) { delete(f, from); f[to] = n })
	return nil
}

func (m *memFS) Link(from, to string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.check("link", to); err != nil {
		return err
	}
	n := m.files[from]
	if n == nil {
		return fs.ErrNotExist
	}
	if m.files[to] != nil {
		return fs.ErrExist
	}
	m.change(to, func(f map[string]*inode) { f[to] = n })
	return nil
}

func (m *memFS) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.check("remove", name); err != nil {
		return err
	}
	if m.files[name] == nil {
		return fs.ErrNotExist
	}
	m.change(name, func(f map[string]*inode) { delete(f, name) })
	return nil
}

func (m *memFS) SyncDir(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.check("syncdir", dir); err != nil {
		return err
	}
	rest := m.ops[:0]
	for _, op := range m.ops {
		if op.dir == dir {
			op.apply(m.disk)
		} else {
			rest = append(rest, op)
		}
	}
	m.ops = rest
	return nil
}

func (m *memFS) Lock(string) (io.Closer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.lock {
		return nil, spool.ErrLocked
	}
	m.lock = true
	return unlock{m}, nil
}

type unlock struct{ m *memFS }

func (u unlock) Close() error {
	u.m.mu.Lock()
	defer u.m.mu.Unlock()
	u.m.lock = false
	return nil
}

// crash returns what the next start finds. After a kill that is everything;
// after a power cut, what was flushed and a random part of the rest: some of
// the unflushed pages, of others zeros, or a file that ends early.
func (m *memFS) crash(rnd *rand.Rand, power bool) *memFS {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := newMemFS()
	names := m.files
	if power {
		names = m.disk
		for _, op := range m.ops[:rnd.IntN(len(m.ops)+1)] {
			op.apply(names)
		}
	}
	seen := map[*inode]*inode{}
	for name, n := range names {
		c := seen[n]
		if c == nil {
			data := append([]byte(nil), n.data...)
			if power {
				data = tear(rnd, n)
			}
			c = &inode{data: data, synced: append([]byte(nil), data...)}
			seen[n] = c
		}
		out.files[name], out.disk[name] = c, c
	}
	return out
}

// tear keeps what was flushed of a file and a random part of what was not.
func tear(rnd *rand.Rand, n *inode) []byte {
	out := append([]byte(nil), n.synced...)
	if len(n.data) <= len(n.synced) {
		return out
	}
	tail := append([]byte(nil), n.data[len(n.synced):]...)
	switch rnd.IntN(3) {
	case 0:
		tail = nil
	case 1:
		tail = tail[:rnd.IntN(len(tail)+1)]
	case 2:
		clear(tail[rnd.IntN(len(tail)+1):])
	}
	return append(out, tail...)
}

// segments returns the names of the log's segments.
func (m *memFS) segments() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []string
	for name := range m.files {
		if strings.HasSuffix(name, ".spool") && !strings.Contains(name, "quarantine") {
			out = append(out, name)
		}
	}
	return out
}

type memFile struct {
	m    *memFS
	n    *inode
	name string
}

func (f *memFile) ReadAt(b []byte, off int64) (int, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if off >= int64(len(f.n.data)) {
		return 0, io.EOF
	}
	n := copy(b, f.n.data[off:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (f *memFile) WriteAt(b []byte, off int64) (int, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.m.check("write", f.name); err != nil {
		n := len(b) / 2 // a part gets there
		f.put(b[:n], off)
		return n, err
	}
	if f.m.space >= 0 && f.m.space < int64(len(b)) {
		n := int(f.m.space)
		f.put(b[:n], off)
		f.m.space = 0
		return n, syscall.ENOSPC
	}
	if f.m.space >= 0 {
		f.m.space -= int64(len(b))
	}
	f.put(b, off)
	return len(b), nil
}

func (f *memFile) put(b []byte, off int64) {
	if need := int(off) + len(b); need > len(f.n.data) {
		f.n.data = append(f.n.data, make([]byte, need-len(f.n.data))...)
	}
	copy(f.n.data[off:], b)
}

func (f *memFile) Sync() error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.m.check("sync", f.name); err != nil {
		return err
	}
	f.m.syncs++
	f.n.synced = append([]byte(nil), f.n.data...)
	return nil
}

func (f *memFile) Truncate(size int64) error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.m.check("truncate", f.name); err != nil {
		return err
	}
	if size < int64(len(f.n.data)) {
		f.n.data = f.n.data[:size:size]
	} else {
		f.n.data = append(f.n.data, make([]byte, size-int64(len(f.n.data)))...)
	}
	return nil
}

func (f *memFile) Size() (int64, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	return int64(len(f.n.data)), nil
}

func (f *memFile) Close() error { return nil }
