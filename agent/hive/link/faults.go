package link

import (
	"sync"
	"time"

	"gatehouse/agent/site"
)

// faultGap is the least time between two fault events of one device and cause.
const faultGap = time.Minute

// cause is why a request was refused before it could do anything. It is the
// text of the fault event.
type cause string

const (
	causeDevice   cause = "hive: unknown device"
	causeChecksum cause = "hive: wrong checksum"
	causeVersion  cause = "hive: version refused"
	causeNonce    cause = "hive: replayed or stale packet"
	causeLine     cause = "hive: unreadable line"
)

// faults holds fault events back, so that a stranger cannot fill the log. Its
// keys are configured devices and constants, so it is bounded.
type faults struct {
	record func(site.Event)

	mu   sync.Mutex // guards held; never held over record
	held map[faultKey]*heldFault
}

type faultKey struct {
	device site.DeviceName // empty: an unknown one
	cause  cause
}

type heldFault struct {
	last  time.Time // of the last event
	count uint64    // since then
}

func newFaults(record func(site.Event)) *faults {
	return &faults{record: record, held: make(map[faultKey]*heldFault)}
}

// add counts one fault, and records it with those before it when the last event
// of its kind is a minute old.
func (f *faults) add(device site.DeviceName, c cause) {
	now := time.Now()
	k := faultKey{device, c}
	f.mu.Lock()
	h := f.held[k]
	if h == nil {
		h = &heldFault{last: now.Add(-faultGap)}
		f.held[k] = h
	}
	h.count++
	n := h.take(now, false)
	f.mu.Unlock()
	f.emit(k, n)
}

// flush records what is held back and due, or all of it.
func (f *faults) flush(now time.Time, all bool) {
	due := make(map[faultKey]uint64)
	f.mu.Lock()
	for k, h := range f.held {
		if n := h.take(now, all); n > 0 {
			due[k] = n
		}
	}
	f.mu.Unlock()
	for k, n := range due {
		f.emit(k, n)
	}
}

// take returns the count to record now, and 0 for none.
func (h *heldFault) take(now time.Time, all bool) (n uint64) {
	if h.count == 0 || !all && now.Sub(h.last) < faultGap {
		return 0
	}
	n, h.count, h.last = h.count, 0, now
	return n
}

func (f *faults) emit(k faultKey, n uint64) {
	if n > 0 {
		f.record(site.Event{Kind: site.KindFault, Device: k.device, Text: string(k.cause), Count: n})
	}
}
