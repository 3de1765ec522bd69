package store

import (
	"sync"
	"sync/atomic"
)

// interner gives back one string for equal bytes, so that reading a record
// makes no copy of the names of doors, schedules and formats. It remembers at
// most maxInterned texts; others are copied. Safe for concurrent use: readers
// take no lock.
type interner struct {
	m  atomic.Pointer[map[string]string]
	mu sync.Mutex // one writer at a time
}

const maxInterned = 4096

func (n *interner) text(b []byte) string {
	if n == nil {
		return string(b)
	}
	m := n.m.Load()
	if m != nil {
		if s, ok := (*m)[string(b)]; ok {
			return s
		}
		if len(*m) >= maxInterned {
			return string(b)
		}
	}
	return n.add(b)
}

func (n *interner) add(b []byte) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	next := make(map[string]string)
	if m := n.m.Load(); m != nil {
		if s, ok := (*m)[string(b)]; ok {
			return s
		}
		next = make(map[string]string, len(*m)+1)
		for k, v := range *m {
			next[k] = v
		}
	}
	s := string(b)
	next[s] = s
	n.m.Store(&next)
	return s
}
