package lock_test

import (
	"slices"
	"strings"
	"time"

	"gatehouse/agent/access"
	"gatehouse/agent/site"
	"gatehouse/agent/swordfish"
)

// allowed reports whether the policy lets a card in, of any of the lengths that have
// its block: a lock cannot tell them apart. supervised is let in with a second one.
func (w *world) allowed(p *access.Policy, l *policyLock, n int, at time.Time) bool {
	now := w.now()
	w.set(at) // the store asks what holiday of the host it is
	defer w.set(now)
	records, err := w.agent.store.LookupAt(l.door, w.cards[n].block, 0, nil)
	if err != nil {
		w.fail(l, "card %d: %v", n, err)
	}
	for m := range w.cards {
		if w.cards[m].block != w.cards[n].block {
			continue
		}
		d := access.Decide(p, records, access.Request{Door: l.door, Bits: w.cards[m].bits, Clock: site.Clock{Now: at, Trusted: true}})
		if d.Outcome != access.Refused {
			return true
		}
	}
	return false
}

// opens holds a card at a copy of the lock. A card that does something else than to
// open is let in as well, and so is the first of two that are supervised.
func (w *world) opens(l *policyLock, n int, at time.Time) bool {
	b := w.cards[n].bits
	opens, code, err := l.sim.Clone().PresentCard(b.Bytes(), b.Len(), at)
	if err != nil {
		w.fail(l, "card %d: %v", n, err)
	}
	switch code {
	case "0513", "0514", "0500", "0501", "0540": // freeze, lockdown, waits for a second one
		return true
	}
	return opens
}

// moment is a time from now to before end, half of the times at an edge of a
// schedule, of a record or of the day.
func (w *world) moment(l *policyLock, n int, end time.Time) time.Time {
	at := w.now().Add(time.Duration(w.r.Int64N(int64(end.Sub(w.now())))))
	switch w.r.IntN(8) {
	case 0, 1, 2:
		minute := pick(w.r, 0, 480, 1020, 1320, 360)
		if s := w.agent.tables[l.door].Schedules; len(s) > 0 {
			iv := s[w.r.IntN(len(s))]
			minute = pick(w.r, iv.Start, iv.End, minute)
		}
		y, m, d := at.In(w.zone).Date()
		at = time.Date(y, m, d, 0, minute, 0, 0, w.zone).Add(pick(w.r, -time.Second, 0, time.Second, -time.Minute))
	case 3:
		for _, c := range w.records(n) {
			if edge := pick(w.r, c.From, c.Until); !edge.IsZero() {
				at = edge.Add(pick(w.r, -time.Second, 0, time.Second))
			}
		}
	}
	if at.Before(w.now()) || !at.Before(end) {
		return w.now()
	}
	return at
}

// check compares a lock that has just called with the policy, until its next call
// and a few times for as long as its table is said to be good.
func (w *world) check(l *policyLock) {
	next := l.sim.NextCall()
	if !next.After(w.now()) || next.Sub(w.now()) > 29*time.Hour {
		w.fail(l, "the next call is in %s", next.Sub(w.now()))
	}
	table, p := w.agent.tables[l.door], w.agent.policy()
	if good := table.Good; !good.IsZero() && next.After(good.Add(2*time.Minute)) && next.After(w.now().Add(16*time.Minute)) {
		w.fail(l, "the table is good until %v only, the next call is at %v", good.In(w.zone), next.In(w.zone))
	}
	whole := false
	for _, loss := range table.Losses {
		whole = whole || loss.Credential == ""
		if strings.HasPrefix(loss.What, "left out: the lock takes") && !strings.Contains(loss.What, "one span in it") {
			w.fail(l, "lost, though the store is to refuse such a change: %v", loss)
		}
	}
	blocks := l.sim.Blocks()
	for i := range 24 {
		n := w.r.IntN(len(w.cards))
		for try := 0; try < 8 && i%2 == 0 && !slices.Contains(blocks, [16]byte(w.cards[n].block)); try++ {
			n = w.r.IntN(len(w.cards)) // one that the lock has, if it has any
		}
		for try := 0; try < 8 && i%4 == 1 && len(table.Losses) > 0 && !w.lost(l, n, table); try++ {
			n = w.r.IntN(len(w.cards)) // one that lost something
		}
		end := next
		if w.r.IntN(4) == 0 {
			end = w.now().AddDate(0, 0, 10)
		}
		at := w.moment(l, n, end)
		good := table.Good.IsZero() || at.Before(table.Good)
		if !good && !at.Before(next) {
			continue
		}
		got, want := w.opens(l, n, at), w.allowed(p, l, n, at)
		switch {
		case got && !want:
			w.fail(l, "card %d opens at %s and must not: %+v", n, at.In(w.zone), w.at(l, n))
		case !got && want && good && !whole && !w.lost(l, n, table):
			w.fail(l, "card %d does not open at %s, and nothing was lost: %+v", n, at.In(w.zone), w.at(l, n))
		case got:
			w.seen["opens"]++
		case want:
			w.seen["lost"]++
		default:
			w.seen["shut"]++
		}
	}
	w.checkRevoked(l)
	w.checkStatus(l)
}

func (w *world) at(l *policyLock, n int) []site.Credential {
	records, err := w.agent.store.LookupAt(l.door, w.cards[n].block, 0, nil)
	if err != nil {
		w.t.Error(err)
	}
	return records
}

// lost reports whether the table says that a record of the card is not as the policy
// has it.
func (w *world) lost(l *policyLock, n int, table *swordfish.Table) bool {
	records := w.at(l, n)
	return slices.ContainsFunc(table.Losses, func(x swordfish.Loss) bool {
		return slices.ContainsFunc(records, func(c site.Credential) bool { return c.ID == x.Credential })
	})
}

// checkRevoked: a card that was revoked is not in the lock at all.
func (w *world) checkRevoked(l *policyLock) {
	blocks := l.sim.Blocks()
	for b, revoked := range w.revoked {
		if !revoked {
			continue
		}
		w.seen["revoked"]++
		if slices.Contains(blocks, [16]byte(b)) {
			for n := range w.cards {
				if w.cards[n].block == b {
					w.fail(l, "card %d was revoked and is in the lock: %+v", n, w.at(l, n))
				}
			}
		}
	}
}

// checkStatus: what the server says of a lock that has just called is so.
func (w *world) checkStatus(l *policyLock) {
	for _, s := range w.agent.server.Locks() {
		if s.ID != l.door || l.caller.stale != 0 { // an old call says that the lock has something else
			continue
		}
		if s.Behind || s.Users != l.sim.Users() || !s.Next.Equal(l.sim.NextCall()) || s.Late {
			w.fail(l, "status %+v of a lock with %d users", s, l.sim.Users())
		}
	}
	w.checkHolders(l)
}

// checkHolders: for each card that a lock has, the server names the lock. Of one
// whose files were set back only the lock itself can tell.
func (w *world) checkHolders(l *policyLock) {
	if l.strayed {
		return
	}
	for _, b := range l.sim.Blocks() {
		named := false
		for _, h := range w.agent.server.Holders(b) {
			named = named || h.Door == l.door
		}
		if !named {
			w.fail(l, "a card is in the lock, and nobody is told")
		}
	}
}

// checkAudits: each audit that a lock wrote is in the log, once. One without an
// auditId, and an alert, may be there twice if it came once more when others had come
// after it: two real ones can be equal.
func (w *world) checkAudits(l *policyLock) {
	count := map[string]int{}
	for _, a := range w.agent.audits(w.t, l.door) {
		count[a]++
	}
	for _, a := range l.audits {
		count[a]--
	}
	for a, n := range count {
		if n < 0 || n > 0 && !l.again[a] {
			w.fail(l, "the audit %s is %d times too often in the log", a, n)
		}
	}
	w.seen["audits"] += len(l.audits)
}
