package area

import (
	"cmp"
	"container/heap"
	"time"

	"gatehouse/agent/site"
)

// person is where one holder is. Times are milliseconds since 1970.
type person struct {
	holder site.HolderID
	reader site.ReaderID
	at     *place
	since  int64
	index  int // in at.heap
}

func (p *person) forgotten(now int64) bool {
	f := p.at.Forget.Milliseconds()
	return p.at.Forget > 0 && now-p.since >= f
}

func (p *person) presence() Presence {
	return Presence{Holder: p.holder, Area: p.at.ID, Reader: p.reader, Since: time.UnixMilli(p.since).UTC()}
}

func byEntry(a, b Presence) int {
	return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.Holder, b.Holder))
}

// place is an area, or the outside, with the people who are there: a heap, the
// longest there on top, so that the forgotten ones are found without a look at
// the others.
type place struct {
	Area
	heap     entries
	reserved map[site.HolderID]int // reservations of each holder
}

func newPlace(a Area) *place {
	return &place{Area: a, reserved: map[site.HolderID]int{}}
}

// count returns how many are there and not forgotten.
func (p *place) count(now int64) int { return len(p.heap) - p.heap.forgotten(0, now) }

// entries is a heap.Interface by time of entry. Equal times go by holder, so
// that the order depends on nothing else.
type entries []*person

func (e entries) Len() int { return len(e) }
func (e entries) Less(i, j int) bool {
	a, b := e[i], e[j]
	return a.since < b.since || a.since == b.since && a.holder < b.holder
}
func (e entries) Swap(i, j int) {
	e[i], e[j] = e[j], e[i]
	e[i].index, e[j].index = i, j
}
func (e *entries) Push(x any) {
	p := x.(*person)
	p.index = len(*e)
	*e = append(*e, p)
}
func (e *entries) Pop() any {
	last := len(*e) - 1
	p := (*e)[last]
	(*e)[last] = nil
	*e = (*e)[:last]
	return p
}

// forgotten counts the forgotten ones from i down. Below one who is not
// forgotten nobody is.
func (e entries) forgotten(i int, now int64) int {
	if i >= len(e) || !e[i].forgotten(now) {
		return 0
	}
	return 1 + e.forgotten(2*i+1, now) + e.forgotten(2*i+2, now)
}

// ticket is one reservation.
type ticket struct {
	door   site.DoorID
	holder site.HolderID
	area   site.AreaID
}

func (o *Owner) has(t ticket) bool {
	_, ok := o.reserved[t]
	return ok
}

// areaOf returns an area of the settings, or nil: also for the outside.
func (o *Owner) areaOf(a site.AreaID) *place {
	if a == "" {
		return nil
	}
	return o.places[a]
}

// ask is Ask. The worst of what entering and leaving breach counts.
func (o *Owner) ask(m Move, now int64) site.Reason {
	if m.none() {
		return ""
	}
	worst := max(o.entering(m, now), o.leaving(m, now))
	switch {
	case worst == Hard:
		return site.ReasonPassback
	case o.full(m, now):
		return site.ReasonOccupancy
	case worst == Soft:
		return site.ReasonGrantedPassback
	}
	return ""
}

// entering judges a holder who is in the area that he wants to enter, or on his
// way into it through another door: None, Soft or Hard.
func (o *Owner) entering(m Move, now int64) Passback {
	to := o.areaOf(m.To)
	if to == nil || to.Passback == None {
		return None
	}
	ways := to.reserved[m.Holder]
	if o.has(ticket{m.Door, m.Holder, m.To}) {
		ways--
	}
	if ways == 0 && !o.known(m.Holder, to, now) {
		return None
	}
	if to.Passback == Soft {
		return Soft
	}
	return Hard
}

// leaving judges a holder who is known not to be in the area that he leaves.
func (o *Owner) leaving(m Move, now int64) Passback {
	from, p := o.areaOf(m.From), o.people[m.Holder]
	if from == nil || !from.judgesExit() || p == nil || p.at == from || p.forgotten(now) {
		return None
	}
	if from.Exit == Hard {
		return Hard
	}
	return Soft
}

// full reports whether there is no place left in To for one who has none yet.
func (o *Owner) full(m Move, now int64) bool {
	to := o.areaOf(m.To)
	if to == nil || to.Occupancy == 0 || to.reserved[m.Holder] > 0 || o.known(m.Holder, to, now) {
		return false
	}
	return to.count(now)+o.coming(to, now) >= to.Occupancy
}

func (o *Owner) known(h site.HolderID, at *place, now int64) bool {
	p := o.people[h]
	return p != nil && p.at == at && !p.forgotten(now)
}

// coming counts the people with a reservation who are not there already. They
// are few: one pulse of a door lasts seconds.
func (o *Owner) coming(to *place, now int64) int {
	n := 0
	for h := range to.reserved {
		if !o.known(h, to, now) {
			n++
		}
	}
	return n
}

func (o *Owner) cancel(t ticket) {
	if !o.has(t) {
		return
	}
	delete(o.reserved, t)
	p := o.places[t.area]
	if p.reserved[t.holder]--; p.reserved[t.holder] == 0 {
		delete(p.reserved, t.holder)
	}
}

// maxTidied bounds what one entry clears away of those who were forgotten in the
// same place, so that no decision waits long for it.
const maxTidied = 1024

// move puts a holder at a place and reports whether that is news. Into an area
// that the settings do not have, nobody knows where he is.
func (o *Owner) move(h site.HolderID, r site.ReaderID, a site.AreaID, now int64) (changed bool) {
	to := o.places[a]
	if to == nil {
		return o.forget(h)
	}
	p := o.people[h]
	if p != nil && p.at == to && p.since == now && p.reader == r {
		return false
	}
	if p == nil {
		p = &person{holder: h}
		o.people[h] = p
	} else {
		heap.Remove(&p.at.heap, p.index)
	}
	for n := 0; n < maxTidied && len(to.heap) > 0 && to.heap[0].forgotten(now); n++ {
		o.forget(to.heap[0].holder)
	}
	p.reader, p.at, p.since = r, to, now
	heap.Push(&to.heap, p)
	return true
}

// forget removes what is known of a holder and reports whether anything was.
func (o *Owner) forget(h site.HolderID) bool {
	p := o.people[h]
	if p == nil {
		return false
	}
	heap.Remove(&p.at.heap, p.index)
	delete(o.people, h)
	return true
}

func (o *Owner) forgiveAll(a site.AreaID) int {
	n := 0
	for h, p := range o.people {
		if a == "" || p.at.ID == a {
			delete(o.people, h)
			n++
		}
	}
	for _, p := range o.places {
		if a == "" || p.ID == a {
			p.heap = nil
		}
	}
	return n
}
