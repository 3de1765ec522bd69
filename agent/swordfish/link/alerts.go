package link

import (
	"slices"
	"time"
)

// alert works out which alerts of a call are new, and the history after it. moved
// says that it is another one.
//
// One with an auditId is a repeat when one with the same id and content came, in an
// alert or an upload. One without is when the call before, not more than alertAgain
// ago, had an equal one at the same place, or when an upload had it and no alert told
// of that audit. Two of one call without auditIds are never one.
func (h history) alert(list []heard, now time.Time) (isNew []bool, next history, moved bool) {
	isNew = make([]bool, len(list))
	what := make([]digest, len(list))
	known := make(map[digest]int, len(h.ids))
	for i, n := range h.ids {
		known[n.key] = i
	}
	for i := range list {
		what[i] = contentOf(&list[i])
	}
	again := h.again(list, what, now)
	next = h
	next.own()
	for i := range list {
		id := list[i].ID
		key := keyOf(id, what[i])
		at, had := known[key]
		switch {
		case id != "" && had:
			moved = moved || !next.ids[at].paired
			next.ids[at].paired = true
		case id != "":
			known[key] = len(next.ids)
			next.ids = append(next.ids, named{key, what[i], true})
			next.alerts = append(next.alerts, withID(what[i]))
			isNew[i], moved = true, true
		case again[i]:
		default:
			if isNew[i] = !next.pair(what[i]); isNew[i] {
				next.alerts = append(next.alerts, what[i])
			}
			moved = true
		}
	}
	if !moved {
		return isNew, h, false
	}
	next.last, next.lastAt, next.lastIn = what[:min(len(what), maxAlerts)], now, 0
	next.trim()
	return isNew, next, true
}

// again tells which alerts of a call the call before had at the same place. A card is
// in several alerts, of which only the last tells it from others: all are compared.
func (h history) again(list []heard, what []digest, now time.Time) []bool {
	out := make([]bool, len(list))
	if h.lastAt.IsZero() || now.Sub(h.lastAt).Abs() > alertAgain {
		return out
	}
	for i := min(len(what), len(h.last)) - 1; i >= 0; i-- {
		out[i] = what[i] == h.last[i]
		if i+1 < len(list) && goesOn(list[i].Code, list[i+1].Code) {
			out[i] = out[i] && out[i+1]
		}
	}
	return out
}

// goesOn reports whether two audits are neighbours in a card's group: 1300 to 1304.
func goesOn(code, next string) bool {
	return len(code) == 4 && len(next) == 4 && code[:3] == "130" && next[:3] == "130" &&
		next[3] == code[3]+1 && next[3] <= '4'
}

// pair finds an audit of an upload that no alert told of, the newest, and notes that
// one did. The caller has owned the history.
func (h *history) pair(what digest) bool {
	for i := len(h.ids) - 1; i >= 0; i-- {
		if h.ids[i].what == what && !h.ids[i].paired {
			h.ids[i].paired = true
			return true
		}
	}
	for i := len(h.sent) - 1; i >= 0; i-- {
		if h.sent[i].what == what && !h.sent[i].paired {
			h.sent[i].paired = true
			return true
		}
	}
	return false
}

// replay adds one audit that the event log has of a lock beyond its state, which
// ended at the place at: what an upload that was cut short had recorded. The old last
// upload stays one as well, for it may be its end that was cut. The caller has owned
// the history, and trims it afterwards. Alerts whose events follow on each other
// count as one call: the log does not tell calls apart.
func (h *history) replay(a *heard, alert bool, at int, now time.Time) {
	what := contentOf(a)
	if alert {
		if a.seq != h.lastIn+1 {
			h.last = nil
		}
		h.lastAt, h.lastIn = now, a.seq
		if len(h.last) < maxAlerts {
			h.last = append(h.last, what)
		}
	}
	switch {
	case alert && a.ID != "":
		h.ids = append(h.ids, named{keyOf(a.ID, what), what, true})
		h.alerts = append(h.alerts, withID(what))
	case alert:
		h.alerts = append(h.alerts, what)
	case a.ID != "":
		h.ids = append(h.ids, named{key: keyOf(a.ID, what), what: what})
	default:
		if len(h.sent) == at {
			h.starts = append(h.starts, start{at, true})
		}
		h.sent = append(h.sent, sent{what: what})
	}
}

// withID is what stands in history.alerts for an alert with an auditId: an audit with
// another auditId is not that alert, one without may be.
func withID(what digest) digest {
	what[0] ^= 0x80
	return what
}

// alerts are those that may still be matched.
type alerts struct {
	list []digest
	n    map[digest]int
}

func newAlerts(list []digest) *alerts {
	a := &alerts{list: list, n: make(map[digest]int, len(list))}
	for _, d := range list {
		a.n[d]++
	}
	return a
}

// count is how many an audit without an auditId may match.
func (a *alerts) count(d digest) int { return a.n[d] + a.n[withID(d)] }

// take matches one to an audit without an auditId.
func (a *alerts) take(d digest) bool { return a.drop(d) || a.drop(withID(d)) }

// drop matches one of just this digest.
func (a *alerts) drop(d digest) bool {
	if a.n[d] == 0 {
		return false
	}
	a.n[d]--
	return true
}

// left returns those that were not matched, in their order: of equal ones the
// newest.
func (a *alerts) left() []digest {
	var out []digest
	for _, d := range slices.Backward(a.list) {
		if a.n[d] > 0 {
			a.n[d]--
			out = append(out, d)
		}
	}
	slices.Reverse(out)
	return out
}
