package app_test

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/agent/site"
	"gatehouse/hal"
	"gatehouse/hal/haltest"
)

const (
	outage = 7 * 24 * time.Hour
	// drainMemory is what a drain may need above rest. A hundred thousand events
	// that wait in memory need more than this.
	drainMemory = 32 << 20
)

// drain counts events at the host by their numbers.
type drain struct {
	mu      sync.Mutex // guards the following
	t       *testing.T
	ids     []uint32 // in the order in which they came, repeats left out
	repeats int
	peak    uint64 // of the heap
}

func (d *drain) take(e ipEvent) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch n := len(d.ids); {
	case n == 0 || e.ID > d.ids[n-1]:
		d.ids = append(d.ids, e.ID)
	default:
		// What comes again after a cut is the last unanswered batch.
		if at, known := slices.BinarySearch(d.ids, e.ID); !known || n-at > 512 {
			d.t.Errorf("event %d came after %d", e.ID, d.ids[n-1])
		}
		d.repeats++
	}
	if len(d.ids)%256 == 0 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		d.peak = max(d.peak, m.HeapAlloc)
	}
}

func (d *drain) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.ids)
}

func (d *drain) repeated() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.repeats
}

// TestUplinkOutage takes the host away for a week of many events and puts it back:
// all arrive in order, over two cuts, while memory stays flat and cards are
// decided as ever: none of the decisions made meanwhile is lost.
func TestUplinkOutage(t *testing.T) {
	total := 20_000
	switch {
	case os.Getenv("GATEHOUSE_FAULTS") != "":
		total = 200_000
	case testing.Short():
		total = 5_000
	}
	h := newIPHost(t)
	d := &drain{t: t, ids: make([]uint32, 0, total+1000)}
	h.onEvent = d.take
	s := uplinkSite(t, h)
	h.clock = s.clock.Now // the week passes for the host, too
	r := s.start()
	r.enrol("Ada,H10301,77,1568,front")
	r.linked()
	r.acknowledged()
	h.away()
	patiently(t, "the outage", func() bool { return !r.status().Uplink.Connected })
	first := r.status().Log.Last
	decisions := decide(r, 3) // without a link
	want := week(t, s, r, total)
	decisions = append(decisions, decide(r, 3)...)
	if got := r.status().Uplink; got.Connected || int(got.Waiting) < total {
		t.Fatalf("before the drain: %+v", got)
	}

	turns := total / 512 / 4
	turn, hold := h.slowly(turns)
	runtime.GC()
	var rest runtime.MemStats
	runtime.ReadMemStats(&rest)
	h.mu.Lock()
	h.pings, h.onPing = 0, hold
	h.mu.Unlock()
	h.back()
	r.kick()
	for range min(turns/2, 40) {
		select {
		case done := <-turn:
			decisions = append(decisions, decide(r, 1)...)
			close(done)
		case <-time.After(40 * time.Second):
			t.Fatalf("the drain stands still at %d of %d: %+v", d.count(), total, r.status().Uplink)
		}
	}
	h.mu.Lock()
	h.onPing = nil
	h.mu.Unlock()
	decisions = append(decisions, decide(r, 2)...)
	r.drained()
	r.allThere(d, first, want, decisions)
	if d.peak > rest.HeapAlloc+drainMemory {
		t.Errorf("the heap was %d MiB in the drain, %d MiB before it", d.peak>>20, rest.HeapAlloc>>20)
	}
	t.Logf("%d events, %d came again after two cuts, %d decisions; heap %d KiB before, at most %d KiB in the drain",
		len(d.ids), d.repeats, len(decisions), rest.HeapAlloc>>10, d.peak>>10)
	r.stop()
	goesOn(s.start(), d)
}

// goesOn wants the next event after a restart, and none of those before it.
func goesOn(r *running, d *drain) {
	r.t.Helper()
	before, repeats := d.count(), d.repeated()
	r.linked()
	decide(r, 1)
	patiently(r.t, "an event after the restart", func() bool { return d.count() > before })
	if again := d.repeated() - repeats; again > 0 {
		r.t.Errorf("%d events came again after a restart in order", again)
	}
	if repeats > 2*512 {
		r.t.Errorf("%d events came again after two cuts", repeats)
	}
}

// slowly returns what holds a drain's pongs: every few batches it waits for its
// turn, and twice it cuts the connection.
func (h *ipHost) slowly(turns int) (turn chan chan struct{}, onPing func(int)) {
	turn = make(chan chan struct{})
	return turn, func(n int) {
		switch {
		case n == turns || n == turns/2:
			h.drop()
		case n%4 == 0:
			done := make(chan struct{})
			select {
			case turn <- done:
				<-done
			case <-time.After(time.Second): // the test has had enough
			}
		}
	}
}

// drained waits until the host has all, also over a reconnect.
func (r *running) drained() {
	r.t.Helper()
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if u := r.status().Uplink; u.Connected && u.Waiting == 0 {
			return
		} else if time.Now().After(end) {
			r.t.Fatalf("not drained: %+v", u)
		}
	}
}

// week appends events while the clock moves through a week, and returns their
// numbers.
func week(t *testing.T, s *testSite, r *running, total int) []site.EventSeq {
	t.Helper()
	const chunk = 1000 // the log's queue is bounded
	var out []site.EventSeq
	kinds := []site.Event{
		{Kind: site.KindDoorOpened, Door: "front"}, {Kind: site.KindDoorClosed, Door: "front"},
		{Kind: site.KindExit, Door: "front"}, {Kind: site.KindDoorOpened, Door: "shed"}, {Kind: site.KindDoorClosed, Door: "shed"},
	}
	begun, step := s.clock.Now(), outage/time.Duration(total/chunk)
	for n := 0; n < total; n += chunk {
		s.clock.Set(begun.Add(step * time.Duration(n/chunk+1)))
		evs := make([]site.Event, 0, chunk)
		for i := range min(chunk, total-n) {
			evs = append(evs, kinds[i%len(kinds)])
		}
		seqs, err := r.app.Record(t.Context(), evs...)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, seqs...)
	}
	return out
}

// decide presents cards, one that opens and one that does not by turns, and
// returns the numbers of their events.
func decide(r *running, n int) (out []site.EventSeq) {
	r.t.Helper()
	for i := range n {
		card, want := adaCard, site.ReasonGranted
		if i%2 == 1 {
			card, want = otherCard, site.ReasonUnknownCredential
		}
		from := r.board.Now()
		ev := r.judged(card)
		if ev.Reason != want {
			r.t.Errorf("card %s: %s, want %s", card, ev.Reason, want)
		}
		if want.Grants() {
			r.energised(from)
		}
		out = append(out, ev.Seq)
	}
	return out
}

// energised waits until the strike is driven, or was since a time of the board.
func (r *running) energised(since time.Duration) {
	r.t.Helper()
	wait(r.t, "the strike", func() bool {
		return r.board.Level("GPIO24") == hal.High || slices.ContainsFunc(r.board.History("GPIO24"), func(c haltest.Change) bool { return c.At >= since })
	})
}

// allThere compares what the host has with what there was: every event that was
// appended, every decision, and in order.
func (r *running) allThere(d *drain, first site.EventSeq, want, decisions []site.EventSeq) {
	r.t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	has := make(map[uint32]bool, len(d.ids))
	for _, id := range d.ids {
		has[id] = true
	}
	var missing []string
	for _, seq := range slices.Concat(want, decisions) {
		if !has[uint32(seq)] {
			missing = append(missing, fmt.Sprint(uint64(seq)))
		}
	}
	if len(missing) > 0 {
		r.t.Errorf("%d of %d events and %d decisions are missing: %.200s", len(missing), len(want), len(decisions), strings.Join(missing, " "))
	}
	if !slices.IsSorted(d.ids) {
		r.t.Error("the events came out of order")
	}
	for _, ev := range r.events(site.KindAccess) {
		if ev.Seq > first && !has[uint32(ev.Seq)] {
			r.t.Errorf("decision %d is missing", ev.Seq)
		}
	}
}
