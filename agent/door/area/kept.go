package area

import (
	"cmp"
	"container/heap"
	"fmt"
	"slices"
	"time"

	"gatehouse/agent/site"
)

// Kept is what outlives the agent: who is where, and the PIN lock-outs, so that
// pulling the plug clears neither. Reservations and interlocks are not in it:
// after a start no grant is running and each door looks at its own contact. Both
// lists are sorted, by holder and by key.
type Kept struct {
	Version int        `json:"version"`
	Present []Presence `json:"present"`
	PINs    []PINKept  `json:"pins"`
}

// PINKept is what is known of one key after wrong PINs.
type PINKept struct {
	Key   string      `json:"key"`
	Wrong []time.Time `json:"wrong,omitempty"` // the last wrong ones, oldest first
	Until time.Time   `json:"until,omitzero"`  // the end of the lock-out
}

// keptVersion is the only version of Kept so far.
const keptVersion = 1

// The most that Restore takes, far above any site's number of people.
const (
	maxPresent = 4_000_000
	maxPINs    = 4_000_000
	maxKeyLen  = 2 * site.MaxIDLen
)

// Snapshot returns the state that is to be kept. It is the caller's.
func (o *Owner) Snapshot() Kept {
	k := Kept{Version: keptVersion, PINs: []PINKept{}}
	o.mu.Lock()
	people := make([]person, 0, len(o.people))
	for _, at := range o.places {
		for _, p := range at.heap {
			people = append(people, *p)
		}
	}
	for key, l := range o.locks {
		v := PINKept{Key: key}
		for _, t := range l.wrong {
			v.Wrong = append(v.Wrong, time.UnixMilli(t).UTC())
		}
		if l.until != 0 {
			v.Until = time.UnixMilli(l.until).UTC()
		}
		k.PINs = append(k.PINs, v)
	}
	o.mu.Unlock() // doors wait no longer than the copy takes
	slices.SortFunc(people, func(a, b person) int { return cmp.Compare(a.holder, b.holder) })
	k.Present = make([]Presence, len(people))
	for i := range people {
		k.Present[i] = people[i].presence()
	}
	slices.SortFunc(k.PINs, func(a, b PINKept) int { return cmp.Compare(a.Key, b.Key) })
	return k
}

// Restore replaces who is where and the lock-outs by what a snapshot holds. On
// an error nothing changes. A holder in an area that the settings no longer have
// is left out; lock-outs are, where the settings have none.
func (o *Owner) Restore(k Kept) error {
	if err := k.check(); err != nil {
		return fmt.Errorf("restore areas: %w", err)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.forgiveAll("")
	for _, v := range k.Present {
		if to := o.places[v.Area]; to != nil {
			p := &person{holder: v.Holder, reader: v.Reader, at: to, since: millis(v.Since)}
			o.people[v.Holder] = p
			heap.Push(&to.heap, p)
		}
	}
	clear(o.locks)
	if o.pin.Tries == 0 {
		return nil
	}
	for _, v := range k.PINs {
		l := &lock{}
		if !v.Until.IsZero() {
			l.until = millis(v.Until)
		} else {
			for _, t := range v.Wrong[max(0, len(v.Wrong)-(o.pin.Tries-1)):] {
				l.wrong = append(l.wrong, millis(t))
			}
		}
		if l.until != 0 || len(l.wrong) > 0 {
			o.locks[v.Key] = l
		}
	}
	return nil
}

// check says what is wrong with a snapshot, and where.
func (k Kept) check() error {
	switch {
	case k.Version != keptVersion:
		return fmt.Errorf("version %d, want %d", k.Version, keptVersion)
	case len(k.Present) > maxPresent:
		return fmt.Errorf("%d people, at most %d", len(k.Present), maxPresent)
	case len(k.PINs) > maxPINs:
		return fmt.Errorf("%d PIN lock-outs, at most %d", len(k.PINs), maxPINs)
	}
	for i, p := range k.Present {
		if err := p.check(); err != nil {
			return fmt.Errorf("person %d: %w", i+1, err)
		}
		if i > 0 && k.Present[i-1].Holder >= p.Holder {
			return fmt.Errorf("person %d: holder %q is not sorted after the one before", i+1, p.Holder)
		}
	}
	for i, p := range k.PINs {
		if err := p.check(); err != nil {
			return fmt.Errorf("PIN lock-out %d: %w", i+1, err)
		}
		if i > 0 && k.PINs[i-1].Key >= p.Key {
			return fmt.Errorf("PIN lock-out %d: key %q is not sorted after the one before", i+1, p.Key)
		}
	}
	return nil
}

func (p Presence) check() error {
	for _, id := range []string{string(p.Area), string(p.Reader)} {
		if id != "" {
			if err := site.CheckID(id); err != nil {
				return err
			}
		}
	}
	if err := site.CheckID(string(p.Holder)); err != nil {
		return fmt.Errorf("holder: %w", err)
	}
	return checkTime(p.Since)
}

func (p PINKept) check() error {
	if p.Key == "" || len(p.Key) > maxKeyLen {
		return fmt.Errorf("a key of %d characters: 1 to %d", len(p.Key), maxKeyLen)
	}
	if len(p.Wrong) >= MaxTries {
		return fmt.Errorf("%d wrong PINs, fewer than %d", len(p.Wrong), MaxTries)
	}
	for _, t := range p.Wrong {
		if err := checkTime(t); err != nil {
			return err
		}
	}
	if !p.Until.IsZero() {
		return checkTime(p.Until)
	}
	return nil
}

// checkTime takes the years that a clock of ours may show, right or wrong.
func checkTime(t time.Time) error {
	if y := t.UTC().Year(); t.Unix() < 0 || y > 9998 {
		return fmt.Errorf("time %v is out of range", t)
	}
	return nil
}
