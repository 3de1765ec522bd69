package store_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"gatehouse/agent/card"
	"gatehouse/agent/site"
	"gatehouse/store"
	"gatehouse/store/storetest"
)

// useRig is a store with one counted credential, and its log.
type useRig struct {
	t    testing.TB
	dir  string
	log  *storetest.Log
	s    *store.Store
	card card.Bits
	id   site.CredentialID
}

func newUseRig(t testing.TB, uses uint32) *useRig {
	r := &useRig{t: t, dir: filepath.Join(t.TempDir(), "0"), log: &storetest.Log{}, card: bits(t, 3, 1)}
	if err := os.Mkdir(r.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	r.s, _ = openStore(t, r.dir, r.log)
	r.limit(uses)
	t.Cleanup(func() {
		closeStore(t, r.s)
		if err := storetest.Check(r.dir); err != nil {
			t.Error(err)
		}
	})
	return r
}

// limit makes the credential, or sets its limit anew.
func (r *useRig) limit(uses uint32) {
	r.t.Helper()
	r.id = site.CredentialID(apply(r.t, r.s, store.PutCredential{Bits: r.card, HolderName: "Ada", Uses: uses}).IDs[0])
}

func (r *useRig) event() {
	r.t.Helper()
	if _, err := r.log.Append(r.t.Context(), site.Event{Kind: site.KindAccess, Reason: site.ReasonGranted, Credential: r.id}); err != nil {
		r.t.Fatal(err)
	}
}

func (r *useRig) count() {
	r.t.Helper()
	if _, err := r.s.CountUse(r.id); err != nil {
		r.t.Fatal(err)
	}
}

// pass is a use with its event.
func (r *useRig) pass() {
	r.t.Helper()
	r.count()
	r.event()
}

func (r *useRig) flush() {
	r.t.Helper()
	if err := r.s.FlushUses(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
}

func (r *useRig) copy() {
	r.t.Helper()
	if err := r.s.Copy(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
}

// crash goes on with the files and the log as they are at this moment.
func (r *useRig) crash() store.Report {
	r.t.Helper()
	next := filepath.Join(r.t.TempDir(), "crash")
	copyDir(r.t, r.dir, next)
	closeStore(r.t, r.s)
	var rep store.Report
	r.dir, r.log = next, r.log.Clone()
	r.s, rep = openStore(r.t, r.dir, r.log)
	return rep
}

// damage is a crash after which the policy file is damaged as well.
func (r *useRig) damage() {
	r.t.Helper()
	next := filepath.Join(r.t.TempDir(), "damage")
	copyDir(r.t, r.dir, next)
	closeStore(r.t, r.s)
	if err := os.Truncate(filepath.Join(next, "policy.db"), 9000); err != nil {
		r.t.Fatal(err)
	}
	var rep store.Report
	r.dir, r.log = next, r.log.Clone()
	if r.s, rep = openStore(r.t, r.dir, r.log); rep.PolicyDamage == nil {
		r.t.Fatal("no damage was seen")
	}
}

func (r *useRig) restart() {
	r.t.Helper()
	closeStore(r.t, r.s)
	r.s, _ = openStore(r.t, r.dir, r.log)
}

func (r *useRig) used() uint32 {
	r.t.Helper()
	return lookup(r.t, r.s, r.card)[0].Used
}

// TestUsesAfterCrash: what the file lacks is counted from the log, once.
func TestUsesAfterCrash(t *testing.T) {
	tests := []struct {
		name string
		do   func(*useRig)
		want uint32
	}{
		{"nothing flushed", func(r *useRig) { r.pass(); r.pass(); r.crash() }, 2},
		{"twice", func(r *useRig) { r.pass(); r.crash(); r.crash() }, 1},
		{"a crash, a use, a crash", func(r *useRig) { r.pass(); r.crash(); r.pass(); r.crash() }, 2},
		{"some flushed", func(r *useRig) { r.pass(); r.flush(); r.pass(); r.crash() }, 2},
		{"flushed before its event", func(r *useRig) { r.count(); r.flush(); r.event(); r.crash() }, 1},
		{"flushed before its event, and one more", func(r *useRig) { r.count(); r.flush(); r.event(); r.pass(); r.crash() }, 2},
		{"flushed between two events", func(r *useRig) {
			r.count()
			r.count()
			r.event()
			r.flush()
			r.event()
			r.crash()
		}, 2},
		{"flushed, its event lost", func(r *useRig) { r.count(); r.flush(); r.crash(); r.pass(); r.crash() }, 2},
		{"neither flushed nor logged", func(r *useRig) { r.count(); r.crash() }, 0},
		{"a restart in between", func(r *useRig) { r.pass(); r.restart(); r.pass(); r.crash() }, 2},
		{"a refusal", func(r *useRig) {
			_, _ = r.log.Append(t.Context(), site.Event{Kind: site.KindAccess, Reason: site.ReasonUsedUp, Credential: r.id})
			_, _ = r.log.Append(t.Context(), site.Event{Kind: site.KindUnused, Reason: site.ReasonGranted, Credential: r.id})
			r.crash()
		}, 0},
		{"begun anew", func(r *useRig) { r.pass(); r.pass(); r.limit(9); r.crash() }, 0},
		{"begun anew, then used", func(r *useRig) { r.pass(); r.flush(); r.limit(9); r.pass(); r.crash() }, 1},
		{"begun anew with an event on its way", func(r *useRig) { r.count(); r.limit(9); r.event(); r.pass(); r.crash() }, 2}, // one too many
		{"begun anew, an event before it lost", func(r *useRig) { r.count(); r.flush(); r.limit(9); r.pass(); r.crash() }, 1},
		{"from the copy, an event before a new beginning lost", func(r *useRig) {
			r.count()
			r.copy()
			r.crash()
			r.limit(9)
			r.pass()
			r.damage()
		}, 1},
		{"counted only from now on", func(r *useRig) {
			r.limit(0)
			r.pass()
			r.pass()
			r.limit(5)
			r.pass()
			r.crash()
		}, 1},
		{"trimmed in front of the mark's end", func(r *useRig) {
			r.count()
			r.flush()
			r.event()
			r.log.Trim(r.log.Last()) // the event that was waited for
			r.pass()
			r.crash()
		}, 2},
		{"trimmed before the mark", func(r *useRig) { r.pass(); r.copy(); r.log.Trim(r.log.Last()); r.pass(); r.crash() }, 2},
		{"from the copy", func(r *useRig) { r.pass(); r.copy(); r.pass(); r.damage() }, 2},
		{"from the copy, flushed after it", func(r *useRig) { r.pass(); r.copy(); r.pass(); r.flush(); r.damage() }, 2},
		{"from the copy, trimmed up to it", func(r *useRig) { r.pass(); r.copy(); r.log.Trim(r.log.Last()); r.pass(); r.damage() }, 2},
		{"from the copy, its event after it", func(r *useRig) { r.count(); r.copy(); r.event(); r.pass(); r.damage() }, 2},
		{"from the copy, begun anew after it", func(r *useRig) {
			r.pass()
			r.copy()
			r.pass()
			r.limit(9)
			r.pass()
			r.damage()
		}, 1},
		{"from the copy, then a crash", func(r *useRig) {
			r.pass()
			r.copy()
			r.pass()
			r.damage()
			r.pass()
			r.crash()
		}, 3},
		{"from the log alone", func(r *useRig) { r.pass(); r.pass(); r.flush(); r.damage() }, 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newUseRig(t, 7)
			tt.do(r)
			if got := r.used(); got != tt.want {
				t.Errorf("%d uses, want %d", got, tt.want)
			}
			r.crash()
			if got := r.used(); got != tt.want {
				t.Errorf("%d uses after one more crash, want %d", got, tt.want)
			}
		})
	}
}

// TestUsesModel crashes, damages, copies and trims at random: a credential has
// never fewer uses than it has granted accesses in the log, never more than were
// counted, save those on their way when the log was trimmed, and as many where
// nothing was lost.
func TestUsesModel(t *testing.T) {
	rnd := seeded(t)
	r := newUseRig(t, 1000)
	var counted, logged, queued uint32 // since the limit was set; queued: events on their way
	var doubted uint32                 // were on their way when the log was trimmed: may count twice
	limit := uint32(1000)
	for step := range 400 {
		what := "use"
		switch k := rnd.IntN(24); {
		case k < 10:
			r.count()
			counted++
			queued++
		case k < 15:
			for ; queued > 0 && rnd.IntN(4) > 0; queued-- {
				r.event()
				logged++
			}
		case k < 18:
			r.flush()
		case k == 18:
			r.copy()
			r.log.Trim(r.log.Last())
			doubted = queued
		case k == 19 && queued == 0:
			what = "limit"
			limit++
			r.limit(limit)
			counted, logged, doubted = 0, 0, 0
		case k == 20:
			what = "restart"
			for ; queued > 0; queued-- {
				r.event()
				logged++
			}
			r.restart()
		case k == 21 && step > 50:
			what = "damage"
			r.damage()
			queued = 0
		case k > 21:
			what = "crash"
			if rep := r.crash(); rep.Damaged() {
				t.Fatalf("step %d: %+v", step, rep)
			}
			queued = 0
		}
		got := r.used()
		if got < logged || got > counted+doubted {
			t.Fatalf("step %d, %s: %d uses, %d in the log, %d counted, %d in doubt", step, what, got, logged, counted, doubted)
		}
		if got > counted { // a use too many rather than one too few
			doubted -= got - counted
			counted = got
		}
		if queued == 0 && (what == "crash" || what == "damage") {
			counted = got // the rest was lost with its events, as it may
		}
	}
}

// scanLog counts the events that are read.
type scanLog struct {
	*storetest.Log
	read int
}

func (l *scanLog) Scan(ctx context.Context, from site.EventSeq, fn func(site.Event) error) error {
	return l.Log.Scan(ctx, from, func(e site.Event) error {
		l.read++
		return fn(e)
	})
}

// TestUsesBounded: the mark follows a log in which nothing is counted, so that
// a start reads little of it.
func TestUsesBounded(t *testing.T) {
	r := newUseRig(t, 3)
	r.pass()
	for i := range 5000 {
		if _, err := r.log.Append(t.Context(), site.Event{Kind: site.KindDoorOpened, Text: fmt.Sprint(i)}); err != nil {
			t.Fatal(err)
		}
		if i%100 == 0 {
			r.flush()
		}
	}
	l := &scanLog{Log: r.log.Clone()}
	next := filepath.Join(t.TempDir(), "crash")
	copyDir(t, r.dir, next)
	s, _ := openStore(t, next, l)
	defer closeStore(t, s)
	if l.read > 1200 {
		t.Errorf("%d events were read", l.read)
	}
	if got := lookup(t, s, r.card)[0].Used; got != 1 {
		t.Errorf("%d uses", got)
	}
}

// TestUsesTogether: doors use credentials at once while the store flushes and
// copies; at a crash the counts are what the log says.
func TestUsesTogether(t *testing.T) {
	dir := t.TempDir()
	l := &storetest.Log{}
	s, _, err := store.Open(store.Config{Dir: dir}, l, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ids := make([]site.CredentialID, 3)
	for i := range ids {
		ids[i] = site.CredentialID(apply(t, s, store.PutCredential{Bits: bits(t, 4, uint64(i)), HolderName: "Ada", Uses: 1000}).IDs[0])
	}
	stop := storetest.Run(t, s)
	var doors sync.WaitGroup
	for d := range 4 {
		doors.Go(func() {
			for i := range 150 {
				id := ids[(d+i)%len(ids)]
				if _, err := s.CountUse(id); err != nil {
					t.Error(err)
				}
				_, _ = l.Append(context.Background(), site.Event{Kind: site.KindAccess, Reason: site.ReasonGrantedPassback, Credential: id})
				if i%20 == d {
					if err := s.FlushUses(context.Background()); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	for range 3 {
		if err := s.Copy(t.Context()); err != nil {
			t.Error(err)
		}
	}
	doors.Wait()
	next := filepath.Join(t.TempDir(), "crash")
	stop() // so that the files are copied at one moment; nothing is flushed by it
	copyDir(t, dir, next)
	closeStore(t, s)
	s, _ = openStore(t, next, l)
	defer closeStore(t, s)
	for i, id := range ids {
		if c, err := s.Credential(id); err != nil || c.Used != 200 {
			t.Errorf("credential %d: %d uses, want 200: %v", i, c.Used, err)
		}
	}
}
