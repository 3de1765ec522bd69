package spool_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse/agent/site"
	"gatehouse/store/spool"
)

var rounds = flag.Int("rounds", 8, "rounds of the model test")

// model is what a log must be, kept as a plain map and a few numbers.
type model struct {
	t       *testing.T
	rnd     *rand.Rand
	fsys    *memFS
	cfg     spool.Config
	l       *spool.Log
	stop    func()
	next    int                      // text of the next event
	acked   map[string]site.EventSeq // acknowledged events
	sent    int
	cursors map[string]site.EventSeq // acknowledged positions
	hold    map[string]bool          // acknowledged changes
	log     site.LogID
	before  []string // files before the last start
}

// TestModel does random things to a log and to the disk under it, with kills
// and power cuts at random operations: every acknowledged event is there, once,
// in order, with its number; cursors never go back; nothing is damaged.
func TestModel(t *testing.T) {
	rnd := seeded(t)
	for range *rounds {
		synctest.Test(t, func(t *testing.T) {
			m := &model{t: t, rnd: rnd, fsys: newMemFS(), cfg: config(), acked: map[string]site.EventSeq{},
				cursors: map[string]site.EventSeq{}, hold: map[string]bool{}}
			m.cfg.Budget = 1 << 20
			m.start()
			for range 60 {
				m.step()
			}
			m.stop()
			m.start()
			m.check()
			m.stop()
		})
	}
}

func (m *model) start() {
	m.before = m.list()
	l, rep, stop := running(m.t, m.cfg, spool.Options{FS: m.fsys})
	l.Register("a", "b", spool.PolicyCopy)
	if rep.NewLog || rep.Lost > 0 || len(rep.Damaged) > 0 {
		m.dump()
		m.t.Fatalf("start finds %+v", rep)
	}
	if len(m.acked) > 0 && l.ID() != m.log {
		m.t.Fatalf("log %s became %s", m.log, l.ID())
	}
	m.l, m.stop, m.log = l, stop, l.ID()
}

func (m *model) step() {
	switch n := m.rnd.IntN(20); {
	case n < 10:
		m.append(1 + m.rnd.IntN(40))
	case n < 13:
		name := []string{"a", "b", spool.PolicyCopy}[m.rnd.IntN(3)]
		if last := m.l.Last(); last > 0 {
			to := 1 + site.EventSeq(m.rnd.Uint64N(uint64(last)))
			if err := m.l.Cursor(name).Advance(to); err == nil {
				m.cursors[name] = max(m.cursors[name], to)
			}
		}
	case n < 15:
		m.check()
	case n < 16:
		m.stop()
		m.start()
	case n < 18:
		m.faults()
	default:
		m.crash()
	}
}

// append sends events, some large, and waits for their receipts.
func (m *model) append(n int) {
	type sent struct {
		text   string
		r      *spool.Receipt
		change bool
	}
	var all []sent
	for range n {
		ev := numbered(m.next)
		ev.Text = fmt.Sprintf("n%d", m.next)
		if m.rnd.IntN(4) == 0 {
			ev.Change, ev.Kind = uint64(m.next)+1, site.KindPolicy
			ev.Sealed = make([]byte, m.rnd.IntN(2000))
		} else if m.rnd.IntN(4) == 0 {
			ev.Data = strings.Repeat("x", m.rnd.IntN(9000))
		}
		m.next++
		all = append(all, sent{ev.Text, m.l.Append(ev), ev.Change > 0})
	}
	for _, s := range all {
		select {
		case <-s.r.Done():
		case <-time.After(time.Hour): // the bubble's clock
			m.t.Fatal("no receipt in an hour")
		}
		seq, err := s.r.Wait(m.t.Context())
		if err != nil {
			m.t.Fatal(err)
		}
		m.acked[s.text] = seq
		m.hold[s.text] = s.change
	}
	m.sent = len(m.acked)
}

// faults makes writing operations fail at random for some seconds.
func (m *model) faults() {
	left := 1 + m.rnd.IntN(8)
	rnd := rand.New(rand.NewPCG(m.rnd.Uint64(), 0)) // its own: the log's goroutines draw from it
	m.fsys.mu.Lock()
	m.fsys.fail = func(string, string) error {
		if left > 0 && rnd.IntN(2) == 0 {
			left--
			return errInjected
		}
		return nil
	}
	m.fsys.mu.Unlock()
	m.append(1 + m.rnd.IntN(20))
	m.fsys.mu.Lock()
	m.fsys.fail = nil
	m.fsys.mu.Unlock()
}

// crash takes what is on disk at a random operation in the middle of things
// and goes on from that, by a kill or a power cut. What is acknowledged before
// that operation must be there.
func (m *model) crash() {
	power := m.rnd.IntN(2) == 0
	var after *memFS
	at := m.rnd.IntN(12)
	m.fsys.mu.Lock()
	m.fsys.fail = func(string, string) error {
		if at--; at < 0 {
			return errInjected // the machine is dead from here on
		}
		return nil
	}
	m.fsys.mu.Unlock()
	texts := map[string]*spool.Receipt{}
	change := map[string]bool{}
	for range 1 + m.rnd.IntN(200) {
		ev := numbered(m.next)
		if m.rnd.IntN(8) == 0 {
			ev.Change = uint64(m.next) + 1
		}
		ev.Data = strings.Repeat("y", m.rnd.IntN(2000))
		texts[ev.Text], change[ev.Text] = m.l.Append(ev), ev.Change > 0
		m.next++
	}
	if last := m.l.Last(); last > 0 {
		if m.l.Cursor("b").Advance(last) == nil {
			m.cursors["b"] = max(m.cursors["b"], last)
		}
	}
	time.Sleep(time.Second) // the bubble's clock
	synctest.Wait()
	after = m.fsys.crash(m.rnd, power)
	for text, r := range texts {
		select {
		case <-r.Done():
			if seq, err := r.Wait(m.t.Context()); err == nil {
				m.acked[text], m.hold[text] = seq, change[text]
			}
		default:
		}
	}
	m.stop()
	m.fsys = after
	m.start()
	m.check()
}

// check compares the log with the model.
func (m *model) check() {
	m.t.Helper()
	first := m.l.First()
	got := map[string]site.EventSeq{}
	next := first
	var lastLost site.EventSeq
	for _, ev := range readAll(m.t, m.l, 1) {
		if ev.Kind == site.KindEventsLost {
			next, lastLost = ev.Seq+1, ev.Seq
			continue
		}
		if ev.Seq < next {
			m.t.Fatalf("number %d after %d", ev.Seq, next-1)
		}
		if _, twice := got[ev.Text]; twice {
			m.t.Fatalf("%s came twice", ev.Text)
		}
		got[ev.Text], next = ev.Seq, ev.Seq+1
	}
	had := min(m.l.Cursor("a").Position(), m.l.Cursor("b").Position())
	copied := m.l.Cursor(spool.PolicyCopy).Position()
	for text, seq := range m.acked {
		if at, ok := got[text]; ok && at != seq {
			m.t.Fatalf("%s has number %d, was acknowledged as %d", text, at, seq)
		} else if !ok && m.hold[text] && seq > copied {
			m.dump()
			m.t.Fatalf("change %s (%d) is gone, the copy has up to %d", text, seq, copied)
		} else if !ok && seq > had && seq > lastLost {
			m.dump()
			m.t.Fatalf("%s (%d) is gone; consumers have had up to %d, lost is up to %d", text, seq, had, lastLost)
		}
	}
	for name, at := range m.cursors {
		if p := m.l.Cursor(name).Position(); p < at {
			m.t.Fatalf("cursor %s is at %d, %d was acknowledged", name, p, at)
		}
	}
}

// list describes the files.
func (m *model) list() []string {
	m.fsys.mu.Lock()
	defer m.fsys.mu.Unlock()
	var out []string
	for name, n := range m.fsys.files {
		out = append(out, fmt.Sprintf("%s %d bytes", name, len(n.data)))
	}
	slices.Sort(out)
	return out
}

// dump logs what helps to understand a failure.
func (m *model) dump() {
	m.t.Logf("files before the start:\n%s", strings.Join(m.before, "\n"))
	m.t.Logf("files now:\n%s", strings.Join(m.list(), "\n"))
	if m.l == nil {
		return
	}
	m.t.Logf("status %+v", m.l.Status())
	var next site.EventSeq
	for _, ev := range readAll(m.t, m.l, 1) {
		if ev.Seq != next || ev.Kind == site.KindEventsLost {
			m.t.Logf("at %d: %d %s %d", next, ev.Seq, ev.Text, ev.Count)
		}
		next = ev.Seq + 1
	}
}
