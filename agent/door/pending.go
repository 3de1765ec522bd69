package door

import (
	"slices"

	"gatehouse/agent/site"
)

// waiting is what somebody who waits has presented. The machine has the wait,
// its deadline and its end, and knows of no card bits and no PIN.
type waiting struct {
	id uint64 // the machine's number of the wait
	p  Pending
}

// pending is what the decider may see of w, which may be nil.
func (w *waiting) pending() *Pending {
	if w == nil {
		return nil
	}
	return &w.p
}

// first returns the person who waits for a second one; nil: there is none.
func (w *waiting) first() *Pending {
	switch {
	case w == nil:
		return nil
	case w.p.Decision.Reason == site.ReasonSecondPersonRequired:
		return &w.p
	}
	return w.p.First
}

// waitingFor returns what p belongs to: a PIN without a card to the card that
// waits at its reader, all else to the person who waits for a second one. It is
// a copy; nil if nothing waits.
func (o *owner) waitingFor(p Presented) *waiting {
	second := o.find(func(d Decision, _ site.ReaderID) bool { return d.Reason == site.ReasonSecondPersonRequired })
	if p.Bits.Len() > 0 || p.PIN == "" {
		return second
	}
	w := o.find(func(d Decision, r site.ReaderID) bool {
		return d.Reason != site.ReasonSecondPersonRequired && r == p.Reader
	})
	if w == nil {
		return second
	}
	w.p.First = second.pending()
	return w
}

func (o *owner) find(f func(Decision, site.ReaderID) bool) *waiting {
	for _, w := range o.cards {
		if f(w.p.Decision, w.p.Presented.Reader) {
			return &w
		}
	}
	return nil
}

// remember keeps what was presented until the machine's newest wait ends, without
// a PIN. w is what it was decided with. The
// decider may use its records again, so they are copied.
func (o *owner) remember(p Presented, dec Decision, w *waiting) {
	if p.Bits.Len() == 0 && dec.Completes && w != nil {
		p.Bits = w.p.Presented.Bits // it goes on waiting, for a second person now
	}
	p.PIN = ""
	if c := dec.Credential; c != nil {
		own := *c
		own.Rights, own.Levels = slices.Clone(c.Rights), slices.Clone(c.Levels)
		dec.Credential = &own
	}
	dec.Steps = nil
	o.cards = append(o.cards, waiting{id: o.s.waited, p: Pending{Presented: p, Decision: dec}})
	o.forget()
}

// forget wipes what nobody waits with any more.
func (o *owner) forget() {
	if len(o.cards) == 0 {
		return
	}
	o.cards = slices.DeleteFunc(o.cards, func(w waiting) bool { return !o.s.waitsFor(w.id) })
}

func (s *State) waitsFor(id uint64) bool {
	return slices.ContainsFunc(s.waits[:], func(w wait) bool { return w.on && w.id == id })
}
