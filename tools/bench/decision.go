package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"

	"gatehouse/agent/access"
	"gatehouse/agent/card"
	"gatehouse/agent/door"
	"gatehouse/agent/site"
	"gatehouse/store"
)

// decider decides as agent/app's does: compiled policy, look-up, decision.
type decider struct {
	store   *store.Store
	door    site.DoorID
	until   <-chan struct{} // closed by the store's next change
	policy  *access.Policy
	records []site.Credential
}

func newDecider(st *store.Store, id site.DoorID) *decider { return &decider{store: st, door: id} }

func clock() site.Clock { return site.Clock{Now: time.Now(), Trusted: true} }

func (d *decider) current() *access.Policy {
	select {
	case <-d.until:
	default:
		if d.until != nil {
			return d.policy
		}
	}
	d.until = d.store.Changed()
	p := d.store.Snapshot()
	d.policy = access.Compile(time.UTC, p.Schedules, p.Levels, p.Holidays)
	return d.policy
}

// Decide judges what was presented.
func (d *decider) Decide(p door.Presented, _ *door.Pending, mode site.Mode) door.Decision {
	req := access.Request{Door: d.door, Reader: p.Reader, Bits: p.Bits, Clock: clock(), Mode: mode, Formats: card.Standard()}
	policy := d.current()
	recs, err := d.store.LookupBits(p.Bits, d.records[:0])
	if err != nil {
		req.Fault = err
	}
	d.records = recs
	return door.Decision{Decision: access.Decide(policy, recs, req)}
}

var errNotGranted = errors.New("a card that has the right was refused")

// one times one decision on a random card of a site with n credentials. Every
// one must be a grant: a fast refusal is no figure.
func (d *decider) one(n int) func() (time.Duration, error) {
	r := rand.New(rand.NewPCG(1, uint64(n)))
	return func() (time.Duration, error) {
		p := door.Presented{Reader: "in", Bits: cardBits(r.IntN(n))}
		began := time.Now()
		dec := d.Decide(p, nil, site.ModeSecured)
		took := time.Since(began)
		if dec.Outcome != access.Granted {
			return took, fmt.Errorf("%w: %s", errNotGranted, dec.Reason)
		}
		return took, nil
	}
}

// bareFile is the yardstick of a decision: the store's verified copy, which is
// its file page by page, opened with nothing but bbolt.
type bareFile struct {
	db     *bbolt.DB
	bucket []byte
	keys   [][18]byte // of all credentials
}

// isCredentials reports whether a bucket is one of credentials: 'c' and the
// generation's number (package store, schema.go).
func isCredentials(name []byte) bool { return len(name) == 5 && name[0] == 'c' }

// openBare opens the copy and reads it once, so that it is warm.
func openBare(h *house) (*bareFile, error) {
	db, err := bbolt.Open(filepath.Join(h.dir, "policy.copy.db"), 0o600, &bbolt.Options{ReadOnly: true, NoStatistics: true, PreLoadFreelist: false})
	if err != nil {
		return nil, err
	}
	f := &bareFile{db: db}
	err = db.View(func(tx *bbolt.Tx) error {
		return tx.ForEach(func(name []byte, b *bbolt.Bucket) error {
			if !isCredentials(name) {
				return nil
			}
			f.bucket = append([]byte(nil), name...)
			return b.ForEach(func(k, _ []byte) error {
				f.keys = append(f.keys, [18]byte(k))
				return nil
			})
		})
	})
	if err == nil && len(f.keys) != h.n {
		err = fmt.Errorf("the verified copy holds %d credentials, want %d", len(f.keys), h.n)
	}
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return f, nil
}

// one times one bare Get of a random key in a transaction of its own.
func (f *bareFile) one() func() (time.Duration, error) {
	r := rand.New(rand.NewPCG(2, uint64(len(f.keys))))
	return func() (time.Duration, error) {
		key := f.keys[r.IntN(len(f.keys))]
		var v []byte
		began := time.Now()
		err := f.db.View(func(tx *bbolt.Tx) error {
			v = tx.Bucket(f.bucket).Get(key[:])
			return nil
		})
		took := time.Since(began)
		if err == nil && len(v) == 0 {
			err = errors.New("bare get: no value")
		}
		return took, err
	}
}

// warm makes each decision once, so that the store's file and its names are in
// memory.
func (d *decider) warm(n int) error {
	for i := range n {
		if dec := d.Decide(door.Presented{Reader: "in", Bits: cardBits(i)}, nil, site.ModeSecured); dec.Outcome != access.Granted {
			return fmt.Errorf("card %d: %w: %s", i, errNotGranted, dec.Reason)
		}
	}
	return nil
}

// pair is a decision and its yardstick at one size.
type pair struct {
	n              int
	decision, bare samples
}

// decisionRows measures all sizes in the same rounds.
func decisionRows(b *bench) ([]row, error) {
	sizes := []int{1000, max(b.n/10, 1000), b.n}
	var contenders []func() (time.Duration, error)
	for _, n := range sizes {
		h, err := b.site(n)
		if err != nil {
			return nil, err
		}
		bare, err := openBare(h)
		if err != nil {
			return nil, err
		}
		defer bare.db.Close()
		d := newDecider(h.store, doorIDs[0])
		if err := d.warm(n); err != nil {
			return nil, err
		}
		contenders = append(contenders, d.one(n), bare.one())
	}
	cost := clockCost()
	got, err := race(pick(b, 400, 40), 500, contenders...)
	if err != nil {
		return nil, err
	}
	pairs := make([]pair, len(sizes))
	for i, n := range sizes {
		pairs[i] = pair{n, got[2*i].less(cost), got[2*i+1].less(cost)}
	}
	last := pairs[len(pairs)-1]
	detail := map[string]any{"credentials": last.n, "samples": len(last.decision), "clock_ns": cost.Nanoseconds(),
		"decision_p50_us": micros(last.decision.p50()), "decision_p99_us": micros(last.decision.p99()),
		"bare_get_p50_us": micros(last.bare.p50()), "bare_get_p99_us": micros(last.bare.p99())}
	return []row{
		{Name: "decision_p50", Value: micros(last.decision.p50()), Yardstick: micros(last.bare.p50()), Bar: 2, Unit: "µs", Detail: detail},
		{Name: "decision_p99", Value: micros(last.decision.p99()), Yardstick: micros(last.bare.p99()), Bar: 3, Unit: "µs", Detail: detail},
		growthRow(pairs),
	}, nil
}

// growthRow compares how decision and bare Get grow from the smallest size to
// each other one. The worst counts.
func growthRow(pairs []pair) row {
	out := row{Name: "decision_growth", Bar: 1.2, Unit: "times", Detail: map[string]any{}}
	first := pairs[0]
	worst := 0.0
	for _, p := range pairs {
		mine := float64(p.decision.p50()) / float64(first.decision.p50())
		bare := float64(p.bare.p50()) / float64(first.bare.p50())
		out.Detail[fmt.Sprintf("at_%d", p.n)] = map[string]float64{"decision_p50_us": micros(p.decision.p50()),
			"bare_get_p50_us": micros(p.bare.p50()), "decision_growth": mine, "bare_get_growth": bare}
		if p.n != first.n && mine/bare > worst {
			worst, out.Value, out.Yardstick = mine/bare, mine, bare
		}
	}
	return out
}
