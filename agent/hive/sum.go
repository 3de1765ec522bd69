package hive

import (
	"crypto/sha512"
	"crypto/subtle"
	"hash"
	"sync"
)

// work is what making a checksum needs, kept for the next one.
type work struct {
	buf []byte // empty when it is got
	h   hash.Hash
	sum [sha512.Size]byte
}

// workPool keeps works. All of its methods may be called from any goroutine.
type workPool struct{ pool sync.Pool }

var works workPool

func (p *workPool) get() *work {
	if w, ok := p.pool.Get().(*work); ok {
		return w
	}
	return &work{h: sha512.New()}
}

// put takes back a work. Its buffer goes when it is larger than most need.
func (p *workPool) put(w *work) {
	if cap(w.buf) > 16<<10 {
		w.buf = nil
	}
	w.buf = w.buf[:0]
	p.pool.Put(w)
}

// of sets sum to the SHA-512 of the key and the canonical bytes.
func (w *work) of(key, canonical []byte) {
	w.h.Reset()
	w.h.Write(key)
	w.h.Write(canonical)
	w.h.Sum(w.sum[:0])
}

func (w *work) sumEqual(key, canonical []byte, want [sha512.Size]byte) int {
	w.of(key, canonical)
	return subtle.ConstantTimeCompare(w.sum[:], want[:])
}

func sumOf(key, canonical []byte) [sha512.Size]byte {
	w := works.get()
	defer works.put(w)
	w.of(key, canonical)
	return w.sum
}
