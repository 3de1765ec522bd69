package task

import (
	"slices"
	"strings"
	"sync"
	"time"
)

// Fault is a standing fault.
type Fault struct {
	// ID names it, such as "task:uplink" or "store:policy".
	ID string
	// Text says what is wrong, for people. It holds no secret.
	Text string
	// Since is when it began.
	Since time.Time
}

// Change is the onset, or with Cleared the end, of a fault.
type Change struct {
	Fault   Fault
	Cleared bool
}

// Health is the registry of standing faults. It may be used by many goroutines.
type Health struct {
	changed func(Change)

	mu sync.Mutex
	// guards following
	faults  map[string]Fault
	queue   []Change // not told yet; bounded by what the callers do meanwhile
	telling bool
}

// NewHealth returns a registry without faults. changed, if not nil, is called
// for each onset and each end, one at a time, in order, without a lock held, by
// one of the goroutines that call Set and Clear, so perhaps when Set has already
// returned to another: it must not block for long. It may call Set, Clear and
// List.
func NewHealth(changed func(Change)) *Health {
	return &Health{changed: changed, faults: make(map[string]Fault)}
}

// Set makes a fault stand. One that stands already only takes the new text, and
// is not told again.
func (h *Health) Set(id, text string) {
	h.mu.Lock()
	f, stands := h.faults[id]
	if !stands {
		f = Fault{ID: id, Since: time.Now()}
	}
	f.Text = text
	h.faults[id] = f
	if !stands {
		h.queue = append(h.queue, Change{Fault: f})
	}
	h.mu.Unlock()
	h.tell()
}

// Clear ends a fault. One that does not stand is ignored.
func (h *Health) Clear(id string) {
	h.mu.Lock()
	if f, stands := h.faults[id]; stands {
		delete(h.faults, id)
		h.queue = append(h.queue, Change{Fault: f, Cleared: true})
	}
	h.mu.Unlock()
	h.tell()
}

// List returns the standing faults by ID.
func (h *Health) List() []Fault {
	h.mu.Lock()
	list := make([]Fault, 0, len(h.faults))
	for _, f := range h.faults {
		list = append(list, f)
	}
	h.mu.Unlock()
	slices.SortFunc(list, func(a, b Fault) int { return strings.Compare(a.ID, b.ID) })
	return list
}

// tell passes on what is queued, unless another goroutine is doing so.
func (h *Health) tell() {
	for {
		h.mu.Lock()
		if h.telling || len(h.queue) == 0 {
			h.mu.Unlock()
			return
		}
		c := h.queue[0]
		h.queue = h.queue[1:]
		h.telling = true
		h.mu.Unlock()
		h.pass(c)
	}
}

// pass calls changed. Even after a panic there, the next change is told.
func (h *Health) pass(c Change) {
	defer func() {
		h.mu.Lock()
		h.telling = false
		h.mu.Unlock()
	}()
	if h.changed != nil {
		h.changed(c)
	}
}
