package store

import (
	"cmp"
	"slices"

	"gatehouse/agent/site"
	"gatehouse/agent/swordfish"
)

// scheduleNames gives schedules numbers that stay the same from policy to policy.
type scheduleNames struct {
	numbers map[scheduleName]int32
	list    []scheduleName
}

type scheduleName struct {
	source site.Source
	id     site.ScheduleID
}

func newScheduleNames() *scheduleNames {
	return &scheduleNames{numbers: make(map[scheduleName]int32)}
}

func (n *scheduleNames) number(k scheduleName) int32 {
	v, ok := n.numbers[k]
	if !ok {
		v = int32(len(n.list))
		n.numbers[k], n.list = v, append(n.list, k)
	}
	return v
}

// What stands in place of a schedule's number.
const (
	atAlways int32 = -1
	atNever  int32 = -2 // a schedule that there is not
)

// doorRight is a right at one of the doors of a lockPolicy.
type doorRight struct{ door, schedule int32 }

// lockPolicy is the part of a policy that says who reaches some doors: indexed, and
// not changed once it is made.
type lockPolicy struct {
	version uint64
	doors   map[site.DoorID]int32
	names   *scheduleNames
	defs    map[int32]*site.Schedule
	// levels and schedules are what an id means to a record of a source, by the
	// source's code: its own source's first, then the operator's, as in a decision.
	levels    [4]map[site.LevelID][]doorRight
	schedules [4]map[site.ScheduleID]int32
	files     []*fileView // by door; nil: it has none
	// fileSchedules are those of a door's file, by door. One that never ends counts
	// too: the host's holidays suspend it (swordfish.Profile.Fits).
	fileSchedules [][swordfish.MaxSchedules]int32
}

const srcOperator = 1

func newLockPolicy(p *Policy, doors []site.DoorID, names *scheduleNames) *lockPolicy {
	l := &lockPolicy{version: p.Version, doors: make(map[site.DoorID]int32, len(doors)), names: names,
		defs: make(map[int32]*site.Schedule), files: make([]*fileView, len(doors)),
		fileSchedules: make([][swordfish.MaxSchedules]int32, len(doors))}
	for i, d := range doors {
		l.doors[d] = int32(i)
	}
	for i := range sourceCodes {
		l.levels[i], l.schedules[i] = make(map[site.LevelID][]doorRight), make(map[site.ScheduleID]int32)
	}
	for i := range p.Schedules {
		v := &p.Schedules[i]
		n := names.number(scheduleName{v.Source, v.ID})
		l.defs[n] = v
		ownThenOthers(&l.schedules, v.Source, v.ID, n)
	}
	for i := range p.Levels {
		v := &p.Levels[i]
		ownThenOthers(&l.levels, v.Source, v.ID, l.levelAt(v))
	}
	for i := range p.Files {
		if d, ok := l.doors[p.Files[i].Door]; ok {
			l.files[d] = newFileView(&p.Files[i])
			for n := range l.fileSchedules[d] {
				l.fileSchedules[d][n] = l.schedule(srcIPHost, string(fileSchedule(p.Files[i].Door, n+1)))
			}
		}
	}
	return l
}

// ownThenOthers files what an id of a source is. Policies list the operator's first,
// so what another source has under the same id replaces it there.
func ownThenOthers[K comparable, V any](to *[4]map[K]V, source site.Source, id K, v V) {
	code, err := sourceCode(source)
	if err != nil {
		return
	}
	to[code][id] = v
	if code != srcOperator {
		return
	}
	for i := range to {
		if i > srcOperator {
			to[i][id] = v
		}
	}
}

// levelAt returns the rights of a level at the doors, in order and without
// repetitions.
func (l *lockPolicy) levelAt(v *site.Level) (out []doorRight) {
	code, err := sourceCode(v.Source)
	if err != nil {
		return nil
	}
	for _, r := range v.Rights {
		if d, ok := l.doors[r.Door]; ok {
			out = append(out, doorRight{d, l.schedule(code, string(r.Schedule))})
		}
	}
	slices.SortFunc(out, doorRight.compare)
	return slices.Compact(out)
}

func (r doorRight) compare(o doorRight) int {
	return cmp.Or(cmp.Compare(r.door, o.door), cmp.Compare(r.schedule, o.schedule))
}

// schedule returns the number of what a record of a source means by an id.
func (l *lockPolicy) schedule(code byte, id string) int32 {
	return l.scheduleNamed(code, []byte(id))
}

// scheduleNamed is schedule for an id that is still in its record; it copies nothing.
func (l *lockPolicy) scheduleNamed(code byte, id []byte) int32 {
	if len(id) == 0 {
		return atAlways
	}
	if n, ok := l.schedules[code][site.ScheduleID(id)]; ok {
		return n
	}
	return atNever
}

// policyDiff is what a change of the policy does to locks beside the credentials.
type policyDiff struct {
	wide    []bool         // somebody may have got a right there
	files   bool           // by another file of a door
	loose   []bool         // somebody may have lost one
	changed map[int32]bool // schedules that are others now; true: longer ones
}

// diffPolicies compares two policies of the same doors and names.
func diffPolicies(a, b *lockPolicy) policyDiff {
	d := policyDiff{wide: make([]bool, len(a.files)), loose: make([]bool, len(a.files)), changed: make(map[int32]bool)}
	for code := range a.levels {
		for id, after := range b.levels[code] {
			d.mark(a.levels[code][id], after)
		}
		for id, before := range a.levels[code] {
			if _, stays := b.levels[code][id]; !stays {
				d.mark(before, nil)
			}
		}
	}
	for n, after := range b.defs {
		if before := a.defs[n]; before == nil || !equalSchedule(before, after) {
			d.changed[n] = before == nil || !withinSchedule(after, before)
		}
	}
	for i := range a.files {
		d.markFile(i, a.files[i], b.files[i])
	}
	return d
}

func (d *policyDiff) mark(before, after []doorRight) {
	for _, r := range after {
		if _, had := slices.BinarySearchFunc(before, r, doorRight.compare); !had {
			d.wide[r.door] = true
		}
	}
	for _, r := range before {
		if _, has := slices.BinarySearchFunc(after, r, doorRight.compare); !has {
			d.loose[r.door] = true
		}
	}
}

// markFile notes that the cards of a door's file are others as a whole: another
// bucket, or schedules that were not there.
func (d *policyDiff) markFile(door int, a, b *fileView) {
	if a == nil && b == nil || a != nil && b != nil && a.gen == b.gen && len(a.Schedules) == len(b.Schedules) {
		return
	}
	d.wide[door], d.files = true, true
}

func equalSchedule(a, b *site.Schedule) bool {
	return a.IgnoreHolidays == b.IgnoreHolidays && slices.Equal(a.Intervals, b.Intervals)
}

// withinSchedule reports whether a holds at no time at which b does not: each
// interval of a is inside of one of b, and a holds on no more holidays. Where a says
// the same time in other intervals, it may say no.
func withinSchedule(a, b *site.Schedule) bool {
	if a.IgnoreHolidays && !b.IgnoreHolidays {
		return false
	}
	end := func(iv site.Interval) int {
		if iv.End <= iv.Start {
			return iv.End + 1440
		}
		return iv.End
	}
	for _, iv := range a.Intervals {
		inside := func(o site.Interval) bool {
			return iv.Days&^o.Days == 0 && iv.Start >= o.Start && end(iv) <= end(o)
		}
		if !slices.ContainsFunc(b.Intervals, inside) {
			return false
		}
	}
	return true
}
