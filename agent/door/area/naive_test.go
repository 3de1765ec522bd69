package area_test

import (
	"maps"
	"slices"
	"time"

	"gatehouse/agent/door/area"
	"gatehouse/agent/site"
)

// naive is a second owner that looks at everybody for each answer.
type naive struct {
	c        area.Config
	people   map[site.HolderID]area.Presence
	reserved []area.Move
	insecure map[site.DoorID]bool
	wrong    map[string][]time.Time
	until    map[string]time.Time
}

func newNaive(c area.Config) *naive {
	return &naive{
		c: c, people: map[site.HolderID]area.Presence{}, insecure: map[site.DoorID]bool{},
		wrong: map[string][]time.Time{}, until: map[string]time.Time{},
	}
}

func (n *naive) area(id site.AreaID) area.Area {
	for _, a := range n.c.Areas {
		if a.ID == id {
			return a
		}
	}
	return area.Area{}
}

func leaverJudged(a area.Area) bool { return a.Passback == area.Hard || a.Passback == area.Soft }

// gone reports whether p is forgotten at now.
func (n *naive) gone(p area.Presence, now time.Time) bool {
	f := n.area(p.Area).Forget
	if p.Area == "" {
		for _, a := range n.c.Areas {
			if leaverJudged(a) && a.Forget == 0 {
				return false
			} else if leaverJudged(a) {
				f = max(f, a.Forget)
			}
		}
	}
	return f > 0 && now.Sub(p.Since) >= f
}

func (n *naive) where(h site.HolderID, now time.Time) (site.AreaID, bool) {
	p, ok := n.people[h]
	if !ok || n.gone(p, now) {
		return "", false
	}
	return p.Area, true
}

// taken returns the holders inside, and those who have only a reservation.
func (n *naive) taken(a site.AreaID, now time.Time) (inside, coming map[site.HolderID]bool) {
	inside, coming = map[site.HolderID]bool{}, map[site.HolderID]bool{}
	for h := range n.people {
		if at, ok := n.where(h, now); ok && at == a {
			inside[h] = true
		}
	}
	for _, r := range n.reserved {
		if r.To == a && !inside[r.Holder] {
			coming[r.Holder] = true
		}
	}
	return inside, coming
}

func (n *naive) ask(m area.Move, now time.Time) site.Reason {
	if m.Holder == "" || m.From == m.To {
		return ""
	}
	hard, soft := false, false
	at, known := n.where(m.Holder, now)
	inside, coming := n.taken(m.To, now)
	to, from := n.area(m.To), n.area(m.From)
	there := known && at == m.To
	for _, r := range n.reserved {
		there = there || r.Holder == m.Holder && r.To == m.To && r.Door != m.Door
	}
	if to.ID != "" && there {
		hard = hard || to.Passback == area.Hard || to.Passback == area.Timed
		soft = soft || to.Passback == area.Soft
	}
	if from.ID != "" && leaverJudged(from) && known && at != m.From {
		hard = hard || from.Exit == area.Hard
		soft = true
	}
	switch {
	case hard:
		return site.ReasonPassback
	case to.Occupancy > 0 && !inside[m.Holder] && !coming[m.Holder] && len(inside)+len(coming) >= to.Occupancy:
		return site.ReasonOccupancy
	case soft:
		return site.ReasonGrantedPassback
	}
	return ""
}

func same(a, b area.Move) bool { return a.Holder == b.Holder && a.Door == b.Door && a.To == b.To }

func (n *naive) cancel(m area.Move) {
	n.reserved = slices.DeleteFunc(n.reserved, func(r area.Move) bool { return same(r, m) })
}

func (n *naive) reserve(m area.Move, now time.Time) site.Reason {
	why := n.ask(m, now)
	if (why == "" || why == soft) && m.Holder != "" && m.From != m.To && n.area(m.To).ID != "" {
		n.cancel(m)
		n.reserved = append(n.reserved, m)
	}
	return why
}

func (n *naive) enter(m area.Move, now time.Time) bool {
	if m.Holder == "" || m.From == m.To {
		return false
	}
	n.cancel(m)
	known := n.area(m.To).ID != "" || m.To == "" && slices.ContainsFunc(n.c.Areas, leaverJudged)
	old, had := n.people[m.Holder]
	if !known {
		delete(n.people, m.Holder)
		return had
	}
	p := area.Presence{Holder: m.Holder, Area: m.To, Reader: m.Reader, Since: now}
	if had && old == p {
		return false
	}
	for h, other := range n.people { // who was forgotten there is cleared away
		if other.Area == m.To && n.gone(other, now) {
			delete(n.people, h)
		}
	}
	n.people[m.Holder] = p
	return true
}

func (n *naive) forgive(h site.HolderID, a site.AreaID) int {
	before := len(n.people)
	maps.DeleteFunc(n.people, func(who site.HolderID, p area.Presence) bool {
		return (h == "" || who == h) && (a == "" || p.Area == a)
	})
	return before - len(n.people)
}

func (n *naive) blockers(d site.DoorID) []site.DoorID {
	var out []site.DoorID
	for _, other := range n.peers(d) {
		if n.insecure[other] {
			out = append(out, other)
		}
	}
	return out
}

func (n *naive) peers(d site.DoorID) []site.DoorID {
	found := map[site.DoorID]bool{}
	for _, g := range n.c.Interlocks {
		for _, other := range g.Doors {
			if slices.Contains(g.Doors, d) && other != d {
				found[other] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(found))
}

func (n *naive) acquire(d site.DoorID) bool {
	if !n.insecure[d] && len(n.blockers(d)) > 0 {
		return false
	}
	n.insecure[d] = len(n.peers(d)) > 0
	return true
}

func (n *naive) locked(key string, now time.Time) bool {
	if latest := now.Add(n.c.PIN.For); n.until[key].After(latest) {
		n.until[key] = latest
	}
	if !n.until[key].After(now) {
		delete(n.until, key) // seen to be over, it stays so
	}
	return !n.until[key].IsZero()
}

func (n *naive) wrongPIN(key string, now time.Time) bool {
	if n.locked(key, now) {
		return false
	}
	var recent []time.Time
	for _, t := range append(n.wrong[key], now) {
		if now.Sub(t) < n.c.PIN.Within {
			recent = append(recent, t)
		}
	}
	n.wrong[key] = recent
	if len(recent) < n.c.PIN.Tries {
		return false
	}
	n.wrong[key], n.until[key] = nil, now.Add(n.c.PIN.For)
	return true
}
