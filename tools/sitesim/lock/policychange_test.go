package lock_test

import (
	"errors"
	"fmt"
	"time"

	"gatehouse/agent/site"
	"gatehouse/agent/swordfish"
	"gatehouse/store"
)

func isRefused(err error) bool {
	if _, ok := errors.AsType[*store.RecordError](err); ok {
		return true
	}
	_, ok := errors.AsType[*swordfish.Fault](err)
	return ok
}

// change makes one random change of the policy.
func (w *world) change() {
	w.tick()
	src := pick[site.Source](w.r, "operator", "operator", "hive")
	switch n := w.r.IntN(32); {
	case n < 8:
		w.putCard(src, w.r.IntN(len(w.cards)))
	case n < 13:
		w.setState()
	case n < 14:
		w.remove()
	case n < 15:
		w.replace(src)
	case n < 18:
		w.right(src)
	case n < 22:
		w.schedule(src, w.r.IntN(4))
	case n < 23:
		w.apply(src, "schedule deleted", store.DeleteSchedule{ID: w.scheduleID(w.r.IntN(4))})
	case n < 25:
		id := pick[site.LevelID](w.r, "v0", "v1")
		w.apply(src, fmt.Sprint("level ", id), store.PutLevel{Level: site.Level{ID: id, Rights: w.rights()}})
	case n < 27:
		w.holiday()
	case n < 28:
		w.apply(site.SourceOperator, "holiday deleted", store.DeleteHoliday{ID: site.HolidayID(fmt.Sprint("d", w.r.IntN(4)))})
	default:
		w.hostFile(&w.locks[w.r.IntN(len(w.locks))])
	}
}

func (w *world) scheduleID(n int) site.ScheduleID { return site.ScheduleID(fmt.Sprint("s", n)) }

// rights are one or two. The lock that takes one schedule for a user gets simple
// ones, most times.
func (w *world) rights() (out []site.Right) {
	for range 1 + w.r.IntN(2) {
		i := w.r.IntN(len(w.locks))
		right := site.Right{Door: w.locks[i].door}
		switch n := w.r.IntN(8); {
		case n < 2:
		case i == 1 && n < 7:
			right.Schedule = "s0"
		default:
			right.Schedule = w.scheduleID(w.r.IntN(4))
		}
		out = append(out, right)
	}
	return out
}

// near is no time, or one of the days around now.
func (w *world) near() time.Time {
	if w.r.IntN(3) > 0 {
		return time.Time{}
	}
	return w.now().Add(time.Duration(w.r.IntN(8*24*3600)-2*24*3600) * time.Second).Truncate(pick(w.r, time.Second, time.Hour))
}

// function is norm, most times.
func (w *world) function() site.Function {
	if w.r.IntN(5) > 0 {
		return site.FunctionNorm
	}
	return site.Function(w.r.IntN(8))
}

// credential enrols a card.
func (w *world) credential(n int) store.PutCredential {
	op := store.PutCredential{Bits: w.cards[n].bits, Format: "raw", HolderName: fmt.Sprint("person ", n), Move: true,
		Function: w.function(), ADA: w.r.IntN(8) == 0, From: w.near(), Until: w.near(), Rights: w.rights()}
	if !op.Until.IsZero() && !op.From.Before(op.Until) {
		op.From = time.Time{}
	}
	if w.r.IntN(3) == 0 {
		op.Levels = append(op.Levels, pick[site.LevelID](w.r, "v0", "v1"))
	}
	if w.r.IntN(16) == 0 {
		op.Uses = 2
	}
	return op
}

func (w *world) putCard(src site.Source, n int) {
	op := w.credential(n)
	w.apply(src, fmt.Sprintf("card %d (%d bits) put: %v from %s until %s, %v %v, uses %d", n, op.Bits.Len(), op.Function, w.text(op.From), w.text(op.Until), op.Rights, op.Levels, op.Uses), op)
}

func (w *world) text(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.In(w.zone).Format("01-02 15:04:05 MST")
}

// records returns all records of a card, whatever the door.
func (w *world) records(n int) []site.Credential {
	out, err := w.agent.store.Lookup(w.cards[n].block, w.cards[n].bits.Len(), nil)
	if err != nil {
		w.fail(nil, "card %d: %v", n, err)
	}
	return out
}

// setState revokes, blocks or unblocks a record of a random card.
func (w *world) setState() {
	n := w.r.IntN(len(w.cards))
	list := w.records(n)
	if len(list) == 0 {
		return
	}
	c := list[w.r.IntN(len(list))]
	by, state := site.SourceOperator, pick(w.r, site.CredentialRevoked, site.CredentialRevoked, site.CredentialBlocked, site.CredentialActive)
	if c.Source == site.SourceHive && w.r.IntN(2) == 0 {
		by = c.Source
	}
	if w.apply(by, fmt.Sprintf("card %d: record of %s is %v", n, c.Source, state), store.SetState{ID: c.ID, State: state}) && by == site.SourceOperator {
		w.revoked[w.cards[n].block] = w.revoked[w.cards[n].block] || state == site.CredentialRevoked
	}
}

// remove deletes a record.
func (w *world) remove() {
	n := w.r.IntN(len(w.cards))
	for _, c := range w.records(n) {
		if c.Source == site.SourceIPHost || !w.apply(c.Source, fmt.Sprintf("card %d: record deleted", n), store.DeleteCredential{ID: c.ID}) {
			continue
		}
		if c.Source == site.SourceOperator {
			delete(w.revoked, w.cards[n].block) // there may be one of another length
			for m := range w.cards {
				for _, o := range w.records(m) {
					if w.cards[m].block == w.cards[n].block && o.Source == site.SourceOperator && o.State == site.CredentialRevoked {
						w.revoked[w.cards[n].block] = true
					}
				}
			}
		}
		return
	}
}

// replace gives somebody another card in one change: the old one is revoked.
func (w *world) replace(src site.Source) {
	n, m := w.r.IntN(len(w.cards)), w.r.IntN(len(w.cards))
	for _, c := range w.records(n) {
		if c.Source != src || w.cards[n].block == w.cards[m].block {
			continue
		}
		if w.apply(src, fmt.Sprintf("card %d revoked and replaced by %d", n, m), store.SetState{ID: c.ID, State: site.CredentialRevoked}, w.credential(m)) && src == site.SourceOperator {
			w.revoked[w.cards[n].block] = true
		}
		return
	}
}

// right adds or takes away a right or all levels.
func (w *world) right(src site.Source) {
	n := w.r.IntN(len(w.cards))
	for _, c := range w.records(n) {
		if c.Source != src {
			continue
		}
		switch {
		case w.r.IntN(3) == 0:
			var levels []site.LevelID
			if w.r.IntN(2) == 0 {
				levels = []site.LevelID{"v0"}
			}
			w.apply(src, fmt.Sprintf("card %d: levels %v", n, levels), store.SetLevels{ID: c.ID, Levels: levels})
		case len(c.Rights) > 0 && w.r.IntN(2) == 0:
			w.apply(src, fmt.Sprintf("card %d: loses %v", n, c.Rights[0]), store.RemoveRight{ID: c.ID, Right: c.Rights[0]})
		default:
			right := w.rights()[0]
			w.apply(src, fmt.Sprintf("card %d: gets %v", n, right), store.AddRight{ID: c.ID, Right: right})
		}
		return
	}
}

// schedule makes or changes a schedule. The first is one span of one day.
func (w *world) schedule(src site.Source, n int) {
	s := site.Schedule{ID: w.scheduleID(n), IgnoreHolidays: w.r.IntN(3) == 0}
	for range pick(w.r, 1, 1, 2, 3, 0) {
		d := pick(w.r, site.AllDays, 0x3E, 0x41, site.Days(1+w.r.IntN(127)))
		if w.r.IntN(2) == 0 && !s.IgnoreHolidays {
			d |= site.Days(w.r.IntN(8)) << 7
		}
		iv := site.Interval{Days: d, Start: pick(w.r, 0, 480, 1320, w.r.IntN(1440)), End: pick(w.r, 360, 1020, 1440, 1+w.r.IntN(1440))}
		if w.r.IntN(100) == 0 {
			iv.Start = 1439 // there is no length for that minute where the day ends at 23:59
		}
		if n == 0 {
			iv = site.Interval{Days: d, Start: pick(w.r, 0, 480), End: pick(w.r, 1020, 1439, 1440)}
		}
		if s.Intervals = append(s.Intervals, iv); n == 0 {
			break
		}
	}
	w.apply(src, fmt.Sprintf("schedule %s %v", s.ID, s.Intervals), store.PutSchedule{Schedule: s})
}

func (w *world) holiday() {
	first := w.now().In(w.zone).AddDate(0, 0, w.r.IntN(9)-1)
	h := site.Holiday{ID: site.HolidayID(fmt.Sprint("d", w.r.IntN(4))), First: site.DateOf(first), Last: site.DateOf(first.AddDate(0, 0, pick(w.r, 0, 0, 1, 3, 9))), Kind: w.r.IntN(4)}
	w.apply(site.SourceOperator, fmt.Sprintf("holiday %v to %v kind %d", h.First, h.Last, h.Kind), store.PutHoliday{Holiday: h})
}

// hostFile sends a door file of the IP host: a whole one or changes.
func (w *world) hostFile(l *policyLock) {
	f := w.agent.store.StageFile(l.door)
	users := map[int]uint16{}
	sum := swordfish.Summary{DeleteAll: len(l.users) == 0 || w.r.IntN(2) == 0}
	if sum.DeleteAll {
		sum.Schedules = &[]site.Interval{pick(w.r, site.Interval{Days: site.AllDays, Start: 0, End: 1440}, site.Interval{Days: 0x3E, Start: 480, End: 1020}),
			{Days: site.Days(1 + w.r.IntN(127)), Start: w.r.IntN(720), End: 721 + w.r.IntN(700)}}
		sum.Holidays, sum.Auto = w.hostHolidays(), &[]swordfish.Auto{}
		if w.r.IntN(3) == 0 && l.profile.Auto {
			sum.Auto = &[]swordfish.Auto{{Unlock: true, Days: 0x3E, Minute: 480}, {Days: 0x3E, Minute: 1020}}
		}
	} else {
		for n, id := range l.users {
			users[n] = id
		}
	}
	var count [swordfish.OpAdd + 1]int
	add := func(op swordfish.Op, u *swordfish.User) error {
		for i := range sum.NeedSchedule {
			if u.Schedules&(1<<i) != 0 && sum.NeedSchedule[i].Record == 0 {
				sum.NeedSchedule[i] = swordfish.Place{Op: op, Record: count[op] + 1}
			}
		}
		count[op]++
		return f.Add(op, count[op], u)
	}
	var err error
	for n := range w.cards {
		if w.r.IntN(4) > 0 || n > 0 && w.cards[n].block == w.cards[n-1].block {
			continue
		}
		u := swordfish.User{ID: users[n], Block: w.cards[n].block, Schedules: uint16(1 + w.r.IntN(3)), Function: w.function(), From: w.near(), Until: w.near(),
			Has: swordfish.TagID | swordfish.TagCard | swordfish.TagSchedules | swordfish.TagFunction | swordfish.TagFrom | swordfish.TagUntil}
		if !u.Until.IsZero() && !u.From.Before(u.Until) {
			u.From = time.Time{}
		}
		switch {
		case u.ID == 0:
			u.ID = uint16(n + 1)
			users[n] = u.ID
			err = errors.Join(err, add(swordfish.OpAdd, &u))
		case w.r.IntN(2) == 0:
			delete(users, n)
			err = errors.Join(err, add(swordfish.OpDelete, &swordfish.User{ID: u.ID, Has: swordfish.TagID}))
		default:
			err = errors.Join(err, add(swordfish.OpUpdate, &u))
		}
	}
	if err == nil {
		_, err = w.agent.store.CommitFile(w.t.Context(), "iphost", f, sum)
	}
	switch {
	case err == nil:
		w.seen["files"]++
		l.users = users
		w.step("door file for %s: whole %v, delete %d, update %d, add %d", l.door, sum.DeleteAll, count[swordfish.OpDelete], count[swordfish.OpUpdate], count[swordfish.OpAdd])
	case isRefused(err):
		w.seen["refused"]++
	default:
		w.fail(l, "door file: %v", err)
	}
}

func (w *world) hostHolidays() *[]swordfish.Holiday {
	out := []swordfish.Holiday{}
	for range w.r.IntN(3) {
		local := w.now().In(w.zone)
		begin := time.Date(local.Year(), local.Month(), local.Day()+w.r.IntN(6)-1, pick(w.r, 0, 0, 12, w.r.IntN(24)), 0, 0, 0, w.zone)
		out = append(out, swordfish.Holiday{Start: begin, End: begin.AddDate(0, 0, 1+w.r.IntN(2)), Action: swordfish.HolidayAction(w.r.IntN(3))})
	}
	return &out
}
