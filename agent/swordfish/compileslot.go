package swordfish

import (
	"fmt"
	"slices"

	"gatehouse/agent/access"
	"gatehouse/agent/site"
)

// atom is what one slot can hold by itself: a span with all that says on which days
// it holds. cut says that restricted holidays of the host suspend it.
type atom struct {
	access.Shape
	cut bool
}

// slots are the slots of a lock. One slot holds one atom or, where a user has one
// slot only, all atoms of a user, which then hold at the same minutes.
type slots struct {
	limit int
	sole  bool
	atoms []atom
	of    []access.Timetable // for each atom, one that has it
	specs [][]int            // atoms of each slot that is needed
	sets  [][]int            // specs of each set; nil: a sole slot cannot hold it
	users []int              // of each spec
	bits  []uint16           // of each spec; 0 where it has no slot
	state []slotState        // of each spec
}

// slotState is why a spec has no bit.
type slotState uint8

const (
	slotHeld   slotState = iota
	slotEmpty            // nothing of it holds in this week
	slotBeyond           // there were no slots left
)

func newSlots(p *Profile) *slots {
	return &slots{limit: min(p.Schedules, MaxSchedules), sole: p.SoleSchedule}
}

// atom numbers an atom.
func (s *slots) atom(a atom, tt access.Timetable) int {
	if i := slices.Index(s.atoms, a); i >= 0 {
		return i
	}
	s.atoms, s.of = append(s.atoms, a), append(s.of, tt)
	return len(s.atoms) - 1
}

// reduce sorts what one user needs. Beside what always holds there is nothing else,
// save for what the host's holidays do not suspend if they suspend that.
func (s *slots) reduce(need []int) []int {
	slices.Sort(need)
	need = slices.Compact(need)
	for _, cut := range []bool{false, true} {
		always := slices.Index(s.atoms, atom{alwaysShape, cut})
		if !slices.Contains(need, always) {
			continue
		}
		need = slices.DeleteFunc(need, func(a int) bool { return a != always && (s.atoms[a].cut || !cut) })
	}
	return need
}

// alwaysShape is that of the right without a schedule.
var alwaysShape = access.Timetable{}.Shapes()[0]

// set takes what one user needs, reduced, and numbers the slots for it.
func (s *slots) set(need []int) {
	specs := []int{}
	switch {
	case len(need) == 0:
	case !s.sole:
		for _, a := range need {
			specs = append(specs, s.spec([]int{a}))
		}
	case s.alike(need):
		specs = append(specs, s.spec(need))
	default:
		specs = nil
	}
	s.sets = append(s.sets, specs)
}

// alike reports whether all atoms hold at the same minutes.
func (s *slots) alike(need []int) bool {
	for _, a := range need {
		if s.atoms[a].Span != s.atoms[need[0]].Span {
			return false
		}
	}
	return true
}

func (s *slots) spec(atoms []int) int {
	if i := slices.IndexFunc(s.specs, func(o []int) bool { return slices.Equal(o, atoms) }); i >= 0 {
		return i
	}
	s.specs = append(s.specs, atoms)
	return len(s.specs) - 1
}

// slots finds the slots for the sets of all users. They are numbered by the names of
// the schedules: not by who came first, nor by what day it is.
func (c *Compiler) slots() *slots {
	s := newSlots(c.profile)
	order := make([]uint16, 0, len(c.handles))
	for _, set := range c.sets {
		order = append(order, set...)
	}
	slices.SortFunc(order, c.order)
	order = slices.Compact(order)
	rank := make(map[uint16]int, len(order))
	for i, h := range order {
		rank[h] = i
	}
	atoms := make(map[uint16][]int, len(order))
	take := func(h uint16, cut bool) {
		for _, sh := range c.handles[h].Shapes() {
			atoms[h] = append(atoms[h], s.atom(atom{sh, cut}, c.handles[h].Timetable))
		}
	}
	var pass []uint16
	for _, h := range order {
		if c.handles[h].class == classPass {
			pass = append(pass, h)
		} else {
			take(h, c.handles[h].class == classHost)
		}
	}
	before := len(s.atoms)
	for _, h := range pass {
		take(h, false)
	}
	if len(s.atoms) > s.limit && before < len(s.atoms) {
		c.lose("", "a pass_through of the host's door file goes by its restricted holidays: the lock has no slot for it")
		s.atoms, s.of = s.atoms[:before], s.of[:before]
		for _, h := range pass {
			atoms[h] = nil
			take(h, true)
		}
	}
	c.fill(s, rank, atoms)
	return s
}

// fill makes the slots, in the order of the handles, and counts who needs them.
func (c *Compiler) fill(s *slots, rank map[uint16]int, atoms map[uint16][]int) {
	byRank := func(x, y uint16) int { return rank[x] - rank[y] }
	order := make([]int, len(c.sets))
	needs := make([][]int, len(c.sets))
	used := make([]bool, len(s.atoms))
	for i := range order {
		order[i] = i
		slices.SortFunc(c.sets[i], byRank)
		for _, h := range c.sets[i] {
			needs[i] = append(needs[i], atoms[h]...)
		}
		needs[i] = s.reduce(needs[i])
		for _, a := range needs[i] {
			used[a] = true
		}
	}
	for a, on := range used {
		if on && !s.sole {
			s.spec([]int{a})
		}
	}
	slices.SortFunc(order, func(a, b int) int { return slices.CompareFunc(c.sets[a], c.sets[b], byRank) })
	sets := make([][]int, len(c.sets))
	for _, i := range order {
		s.set(needs[i])
		sets[i] = s.sets[len(s.sets)-1]
	}
	s.sets = sets
	s.users = make([]int, len(s.specs))
	for i := range c.users {
		for _, n := range s.sets[c.users[i].set] {
			s.users[n]++
		}
	}
	s.choose()
}

// choose keeps the slots that most users need, where there are too many.
func (s *slots) choose() {
	s.bits, s.state = make([]uint16, len(s.specs)), make([]slotState, len(s.specs))
	order := make([]int, len(s.specs))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return s.users[b] - s.users[a] })
	for _, i := range order[min(len(order), max(s.limit, 0)):] {
		s.state[i] = slotBeyond
	}
}

// mask returns the slots of a set, or why the lock cannot hold it. It is 0 where
// nothing of it holds in this week.
func (s *slots) mask(set uint32) (mask uint16, why string) {
	if s.sets[set] == nil {
		return 0, "left out: the lock takes one schedule for a user, and one span in it"
	}
	for _, n := range s.sets[set] {
		if s.state[n] == slotBeyond {
			return 0, fmt.Sprintf("left out: the lock takes %d schedules", s.limit)
		}
		mask |= s.bits[n]
	}
	return mask, ""
}

// Fits reports, as an error for a person, why the schedules cannot all be given to
// one lock of the model. always says that some credential has a right without a
// schedule; each element of sets is what one credential needs that has none, and
// stands once however many credentials need it. Where a card has several records and
// the model has SoleSchedule, give what each needs and what any of them need together.
// What comes of a door file of the IP
// host is named by its Source: its schedules go by other holidays, so all of them are
// given, those that always hold as well.
//
// It looks at no date: what fits, fits in every week, whatever holidays there will
// be. A schedule takes a slot for each of its intervals, two where one crosses
// midnight; intervals that begin, end and go by holidays alike share one. A right
// without a schedule takes one.
func (p *Profile) Fits(always bool, sets [][]site.Schedule) error {
	s := newSlots(p)
	if always {
		s.set([]int{s.atom(atom{Shape: alwaysShape}, access.Timetable{})})
	}
	for _, set := range sets {
		var need []int
		for _, one := range set {
			for _, sh := range access.ShapesOf(one) {
				need = append(need, s.atom(atom{sh, one.Source == site.SourceIPHost}, access.Timetable{}))
			}
		}
		if s.set(s.reduce(need)); s.sets[len(s.sets)-1] == nil {
			return soleFault(p, set)
		}
	}
	if len(s.specs) > s.limit {
		return fmt.Errorf("a lock of model %s takes %d schedules, and this needs %d (an interval that crosses midnight is two, a right at all times is one)", p.Model, s.limit, len(s.specs))
	}
	return nil
}

func soleFault(p *Profile, set []site.Schedule) error {
	const why = "one that begins at one time of the day and ends at one, not after midnight"
	if len(set) == 1 {
		return fmt.Errorf("a lock of model %s takes only a schedule of one interval, %s: schedule %q is none", p.Model, why, set[0].ID)
	}
	var ids []site.ScheduleID
	for _, s := range set {
		ids = append(ids, s.ID)
	}
	return fmt.Errorf("a lock of model %s takes one schedule for a credential, %s: %q together are none", p.Model, why, ids)
}
