package link

import (
	"crypto/sha256"
	"slices"
	"time"

	"gatehouse/agent/site"
	"gatehouse/agent/swordfish"
)

// Bounds of what is kept of a lock's audits.
const (
	maxSent   = swordfish.MaxAudits // audits without an auditId
	maxStarts = 16                  // uploads that are told apart in them
	maxIDs    = swordfish.MaxAudits // audits with one
	maxAlerts = 256                 // alerts that no upload had yet; alerts of one call
	// alertAgain is how long after an alert an equal one is a repeat of it.
	alertAgain = 2 * time.Minute
)

// digest names an audit by what it says.
type digest [8]byte

func digestOf(parts ...string) digest {
	h := sha256.New()
	for _, p := range parts {
		h.Write(append([]byte(p), 0))
	}
	return digest(h.Sum(nil)[:8])
}

// heard is an audit as repeats compare it: its card was hidden, and the card's tag
// stands beside it.
type heard struct {
	swordfish.Audit
	tag string        // of the last audit of a card's group; else empty
	seq site.EventSeq // of its event, where it comes from the log
}

// heardOf puts tags, by place, to audits.
func heardOf(audits []swordfish.Audit, tags map[int]string) []heard {
	out := make([]heard, len(audits))
	for i, a := range audits {
		out[i] = heard{Audit: a, tag: tags[i]}
	}
	return out
}

// contentOf is the digest of an audit's content, without its auditId.
func contentOf(a *heard) digest {
	if a.tag == "" {
		return digestOf(a.Code, a.Data, a.Time, a.Raw)
	}
	return digestOf(a.Code, a.Data, a.Time, a.Raw, a.tag)
}

// sent is an audit without an auditId.
type sent struct {
	what   digest
	paired bool // an alert told of it
}

// start is a place in the list at which an upload began.
type start struct {
	at     int
	strong bool // of the last one: a single equal audit there is a repeat
}

// named is an audit with an auditId.
type named struct {
	key, what digest // with the auditId; without
	paired    bool
}

// history is what a lock has sent, as far as repeats need it (engage.md section 5,
// Repeats). Its lists are replaced, never written into, so copies may share them.
type history struct {
	sent   []sent   // in the lock's order
	starts []start  // ascending
	ids    []named  // of uploads and of alerts; the newest last
	alerts []digest // no upload had them yet; the newest last: see withID
	last   []digest // the alerts of the call that came last, in its order
	lastAt time.Time
	lastIn site.EventSeq // the event of the last of them, where replay made last
}

// upload works out which audits of an upload are new, and the history after it.
//
// An audit with an auditId is a repeat when one with the same id and content came:
// an id alone proves nothing after a lock was reset. The others are compared
// position by position with what came before: see place. An audit that equals an
// alert that no upload had is that alert, once, unless both have an auditId.
func (h history) upload(audits []heard) (isNew []bool, next history) {
	isNew = make([]bool, len(audits))
	free := newAlerts(h.alerts)
	var index []int
	var what []digest
	for i := range audits {
		if audits[i].ID == "" {
			index, what = append(index, i), append(what, contentOf(&audits[i]))
		}
	}
	next = h
	p := h.place(what, free)
	list := make([]sent, 0, len(what))
	for n, w := range what {
		s, repeat := sent{what: w}, n < p.covered
		switch {
		case repeat && p.from[n] >= 0:
			s.paired = h.sent[p.from[n]].paired
		case repeat || free.take(w):
			s.paired = true
		default:
			isNew[index[n]] = true
		}
		list = append(list, s)
	}
	next.insert(p, list)
	next.byID(audits, isNew, free)
	next.alerts = free.left()
	next.trim()
	return isNew, next
}

// byID does those with an auditId.
func (h *history) byID(audits []heard, isNew []bool, free *alerts) {
	var known map[digest]bool
	for i := range audits {
		a := &audits[i]
		if a.ID == "" {
			continue
		}
		if known == nil {
			known = make(map[digest]bool, len(h.ids))
			for _, n := range h.ids {
				known[n.key] = true
			}
			h.ids = slices.Clone(h.ids)
		}
		what := contentOf(a)
		key := keyOf(a.ID, what)
		if known[key] {
			free.drop(withID(what))
			continue
		}
		known[key] = true
		paired := free.drop(what)
		isNew[i] = !paired
		h.ids = append(h.ids, named{key, what, paired})
	}
}

func keyOf(id string, what digest) digest { return digestOf(id, string(what[:])) }

// place is where an upload lies in what came before.
type place struct {
	at, end int   // it stands for h.sent[at:end]; both the length: it is new
	covered int   // how many of its audits are repeats
	from    []int // of each of those, its place in h.sent; -1: it was an alert
}

// place finds the upload: at the start of one that came before, when one of both
// goes on from where the other ends; or where the upload begins with all that came
// last, at least two of it. The longest match counts.
//
// Against a single audit only the last upload is held, and an upload that ends
// inside of an older one is none of it: a lock repeats what had no answer, which is
// what came last, and two real audits may be equal.
//
// Where an audit is an alert that no upload had, the history may lack it: it was
// recorded as the alert.
func (h history) place(what []digest, free *alerts) place {
	best, most := place{at: len(h.sent), end: len(h.sent)}, 0
	if len(what) == 0 {
		return best
	}
	starts := map[int]start{}
	for _, s := range h.starts {
		starts[s.at] = s
	}
	var from []int
	for at := range h.sent {
		s, isStart := starts[at]
		var i, j int
		i, j, from = h.walk(at, what, free, from[:0])
		if i == 0 || j-at < most || j == at {
			continue
		}
		_, atStart := starts[j]
		toEnd, all := j == len(h.sent), i == len(what)
		switch {
		case s.strong && (toEnd || all):
		case j-at >= 2 && toEnd:
		case j-at >= 2 && isStart && all && atStart:
		default:
			continue
		}
		most = j - at
		best = place{at: at, end: j, covered: i, from: slices.Clone(from)}
	}
	for n := range best.from {
		if best.from[n] < 0 {
			free.take(what[n])
		}
	}
	return best
}

// walk compares from one place on. It returns how many of the upload were found,
// and the place after the last of the history that was.
func (h history) walk(at int, what []digest, free *alerts, from []int) (i, j int, _ []int) {
	var used map[digest]int
	for j = at; i < len(what) && j < len(h.sent); i++ {
		if what[i] == h.sent[j].what {
			from = append(from, j)
			j++
			continue
		}
		if free.count(what[i]) <= used[what[i]] {
			break
		}
		if used == nil {
			used = map[digest]int{}
		}
		used[what[i]]++
		from = append(from, -1)
	}
	return i, j, from
}

// insert puts an upload in its place.
func (h *history) insert(p place, list []sent) {
	if len(list) == 0 {
		return
	}
	after := h.sent[p.end:]
	old, grown := p.at < p.end, len(list)-(p.end-p.at)
	if old && grown == 0 {
		return
	}
	out := make([]sent, 0, p.at+len(list)+len(after))
	out = append(append(append(out, h.sent[:p.at]...), list...), after...)
	var starts []start
	for _, s := range h.starts {
		if len(after) == 0 {
			s.strong = false // another one is the last now
		}
		if s.at < p.at {
			starts = append(starts, s)
		} else if s.at >= p.end && len(after) > 0 {
			s.at += grown
			starts = append(starts, s)
		}
	}
	starts = append(starts, start{p.at, len(after) == 0 || h.strong(p.at)})
	slices.SortFunc(starts, func(a, b start) int { return a.at - b.at })
	h.sent, h.starts = out, starts
}

func (h *history) strong(at int) bool {
	return slices.ContainsFunc(h.starts, func(s start) bool { return s.at == at && s.strong })
}

// trim forgets what is oldest; of uploads never the last.
func (h *history) trim() {
	for len(h.starts) > 1 && (len(h.sent) > maxSent || len(h.starts) > maxStarts) {
		cut := h.starts[1].at
		h.sent = slices.Clone(h.sent[cut:])
		h.starts = slices.Clone(h.starts[1:])
		for i := range h.starts {
			h.starts[i].at -= cut
		}
	}
	if n := len(h.sent) - maxSent; n > 0 {
		h.sent, h.starts = slices.Clone(h.sent[n:]), []start{{0, true}}
	}
	if n := len(h.ids) - maxIDs; n > 0 {
		h.ids = slices.Clone(h.ids[n:])
	}
	if n := len(h.alerts) - maxAlerts; n > 0 {
		h.alerts = slices.Clone(h.alerts[n:])
	}
}

// own makes the lists this history's alone, so that replay may append to them.
func (h *history) own() {
	h.sent, h.starts = slices.Clone(h.sent), slices.Clone(h.starts)
	h.ids, h.alerts = slices.Clone(h.ids), slices.Clone(h.alerts)
	h.last = slices.Clone(h.last)
}
