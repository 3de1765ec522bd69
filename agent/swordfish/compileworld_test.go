package swordfish_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"gatehouse/agent/access"
	"gatehouse/agent/card"
	"gatehouse/agent/site"
	"gatehouse/agent/swordfish"
)

// lockWorld is everything that one lock's table is made of.
type lockWorld struct {
	zone      *time.Location
	now       time.Time
	schedules []site.Schedule
	levels    []site.Level
	holidays  []site.Holiday
	host      *swordfish.HostLists
	profile   swordfish.Profile
	cards     []worldCard
}

type worldCard struct {
	block   card.Block
	records []site.Credential
}

// allWeek is a schedule of the host that never ends: the store says always for it.
var allWeek = site.Interval{Days: site.AllDays, Start: 0, End: 1440}

func pick[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

func inZone(t testing.TB, name string) *time.Location {
	t.Helper()
	z, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

// randomLock makes a small lock in which everything has a fair chance to meet. wild
// ones have few slots and words, and cards of several records.
func randomLock(t testing.TB, r *rand.Rand, wild bool) *lockWorld {
	t.Helper()
	w := &lockWorld{zone: inZone(t, pick(r, "UTC", "Europe/Berlin", "Europe/Berlin", "America/Santiago", "Australia/Lord_Howe", "America/Havana"))}
	base := pick(r, time.Date(2026, 10, 22, 9, 0, 0, 0, time.UTC), time.Date(2026, 3, 25, 1, 0, 0, 0, time.UTC), time.Date(2026, 4, 2, 12, 0, 0, 0, time.UTC), time.Date(2026, 9, 3, 12, 0, 0, 0, time.UTC), time.Date(2026, 12, 22, 3, 0, 0, 0, time.UTC))
	w.now = base.Add(time.Duration(r.IntN(6*24*3600)-3*24*3600) * time.Second)
	w.profile, _ = swordfish.ProfileOf("nde")
	w.profile.Holidays = r.IntN(4) > 0
	if wild {
		w.profile.SoleSchedule = r.IntN(4) == 0
		w.profile.Schedules = pick(r, 16, 16, 6, 2)
		w.profile.DayEnd = pick(r, 1439, 1440)
		w.profile.Users = pick(r, 5000, 5000, 5000, 4)
		delete(w.profile.Functions, pick(r, site.FunctionToggle, site.FunctionOneTime, site.FunctionSupervised))
	}
	w.randomSchedules(r, wild)
	for i := range r.IntN(3) {
		l := site.Level{ID: site.LevelID(fmt.Sprint("l", i)), Source: pick[site.Source](r, "operator", "hive")}
		for range 1 + r.IntN(2) {
			l.Rights = append(l.Rights, w.right(r))
		}
		w.levels = append(w.levels, l)
	}
	for range pick(r, 0, 1, 2, 4) {
		d := w.now.In(w.zone).AddDate(0, 0, r.IntN(30)-6)
		w.holidays = append(w.holidays, site.Holiday{First: site.DateOf(d), Last: site.DateOf(d.AddDate(0, 0, pick(r, 0, 0, 1, 3, 12))), Kind: r.IntN(4)})
	}
	if r.IntN(2) == 0 {
		w.randomHost(r)
	}
	for n := range 1 + r.IntN(8) {
		w.cards = append(w.cards, w.randomCard(r, n, wild))
	}
	return w
}

func (w *lockWorld) randomSchedules(r *rand.Rand, wild bool) {
	for i := range 1 + r.IntN(4) {
		s := site.Schedule{ID: site.ScheduleID('a' + rune(i)), Source: pick[site.Source](r, "operator", "operator", "hive"), IgnoreHolidays: r.IntN(3) == 0}
		for range pick(r, 1, 1, 1, 2, 3, 0) {
			d := pick(r, site.AllDays, 0x3E, 0x41, site.Days(r.IntN(128)), 0)
			if r.IntN(2) == 0 {
				d |= site.Days(r.IntN(8)) << 7
			}
			iv := site.Interval{Days: d, Start: pick(r, 0, 480, 1320, r.IntN(1440)), End: pick(r, 360, 1020, 1440, 1+r.IntN(1440))}
			if !wild && iv.End == 1439 {
				iv.End = 1440
			}
			if wild && r.IntN(50) == 0 {
				iv.Start = 1439
			}
			if !wild && iv.Start == 1439 {
				iv.Start = 1438
			}
			s.Intervals = append(s.Intervals, iv)
		}
		w.schedules = append(w.schedules, s)
	}
}

func (w *lockWorld) right(r *rand.Rand) site.Right {
	return site.Right{Door: pick[site.DoorID](r, "lock", "lock", "lock", "other"), Schedule: site.ScheduleID(pick(r, "", "a", "a", "b", "c", "d"))}
}

// randomHost makes a door file of the IP host, as the store presents it.
func (w *lockWorld) randomHost(r *rand.Rand) {
	w.host = &swordfish.HostLists{}
	for i := range 1 + r.IntN(3) {
		iv := pick(r, allWeek, site.Interval{Days: 0x3E, Start: 480, End: 1020}, site.Interval{Days: site.Days(1 + r.IntN(127)), Start: r.IntN(1439), End: 1 + r.IntN(1438)})
		w.host.Schedules = append(w.host.Schedules, iv)
		w.schedules = append(w.schedules, site.Schedule{ID: site.ScheduleID(fmt.Sprint("lock.", i+1)), Source: site.SourceIPHost, Intervals: []site.Interval{iv}, IgnoreHolidays: true})
	}
	for range r.IntN(3) {
		local := w.now.In(w.zone)
		begin := time.Date(local.Year(), local.Month(), local.Day()+r.IntN(20)-4, pick(r, 0, 0, 12, r.IntN(24)), pick(r, 0, 0, 30), 0, 0, w.zone)
		w.host.Holidays = append(w.host.Holidays, swordfish.Holiday{Start: begin, End: begin.AddDate(0, 0, 1+r.IntN(2)), Action: swordfish.HolidayAction(r.IntN(3))})
	}
	if r.IntN(2) == 0 {
		w.host.Auto = []swordfish.Auto{{Unlock: true, Days: 0x3E, Minute: 480}}
	}
}

func (w *lockWorld) randomCard(r *rand.Rand, n int, wild bool) worldCard {
	c := worldCard{block: card.Block{byte(r.IntN(256)), byte(n), 0xFF}}
	near := func() time.Time {
		if r.IntN(4) > 0 {
			return time.Time{}
		}
		return w.now.Add(time.Duration(r.IntN(20*24*3600)-8*24*3600) * time.Second).Truncate(pick(r, time.Second, time.Hour))
	}
	for i := range pick(r, 1, 1, 2, 3) {
		x := site.Credential{ID: site.CredentialID(fmt.Sprintf("c%d-%d", n, i)), Source: pick[site.Source](r, "operator", "hive", "hive"), State: site.CredentialActive,
			Bits: pick(r, 26, 26, 26, 27, 0), From: near(), Until: near()}
		if w.host != nil && r.IntN(2) == 0 {
			x.Source, x.Bits = site.SourceIPHost, 0
		}
		if r.IntN(12) == 0 {
			x.State = site.CredentialState(r.IntN(4))
		}
		if r.IntN(4) == 0 {
			x.Function = site.Function(r.IntN(8))
		}
		if wild && r.IntN(8) == 0 {
			x.Uses, x.Used = uint32(r.IntN(3)), uint32(r.IntN(2))
		}
		x.ADA = r.IntN(8) == 0
		for range 1 + r.IntN(2) {
			right := w.right(r)
			if x.Source == site.SourceIPHost {
				k := r.IntN(len(w.host.Schedules))
				if right = (site.Right{Door: "lock"}); w.host.Schedules[k] != allWeek {
					right.Schedule = site.ScheduleID(fmt.Sprint("lock.", k+1))
				}
			}
			x.Rights = append(x.Rights, right)
		}
		if x.Source != site.SourceIPHost && r.IntN(3) == 0 {
			x.Levels = []site.LevelID{"l0", "l1"}
		}
		c.records = append(c.records, x)
	}
	return c
}

func (w *lockWorld) policy() *access.Policy {
	return access.Compile(w.zone, w.schedules, w.levels, w.holidays)
}

func (w *lockWorld) compile(now time.Time) swordfish.Table {
	c := swordfish.NewCompiler(swordfish.Source{Profile: &w.profile, Door: "lock", Now: now, Zone: w.zone, Policy: w.policy(), Host: w.host})
	for _, x := range w.cards {
		c.Add(x.block, x.records)
	}
	return c.Table()
}

// lengths of cards: those of records and one that none has.
var lengths = []card.Bits{zeros(26), zeros(27), zeros(31)}

func zeros(n int) card.Bits {
	b, err := card.NewBits(n, make([]byte, (n+7)/8))
	if err != nil {
		panic(err)
	}
	return b
}

// allows reports whether the policy lets a card of that block in, of whatever
// length: a lock sees the block only. The records of the host are as the store
// presents them at that time.
func (w *lockWorld) allows(p *access.Policy, c *worldCard, t time.Time) bool {
	records := slices.Clone(c.records)
	for i := range records {
		if x := &records[i]; x.Source == site.SourceIPHost && x.Function != site.FunctionPassThrough && w.restricted(t) {
			x.Rights = []site.Right{{Door: "lock", Schedule: "lock.restricted"}}
		}
	}
	for _, bits := range lengths {
		d := access.Decide(p, records, access.Request{Door: "lock", Bits: bits, Clock: site.Clock{Now: t, Trusted: true}})
		if d.Outcome != access.Refused { // supervised waits for a second person, at a lock as well
			return true
		}
	}
	return false
}

func (w *lockWorld) restricted(t time.Time) bool {
	return w.host != nil && slices.ContainsFunc(w.host.Holidays, func(h swordfish.Holiday) bool {
		return h.Action == swordfish.HolidayRestricted && !t.Before(h.Start) && t.Before(h.End)
	})
}

// opens is a lock: it has the table and a clock on the wall, and nothing else.
func opens(table *swordfish.Table, zone *time.Location, block card.Block, t time.Time) bool {
	for _, h := range table.Holidays {
		if h.Action == swordfish.HolidayRestricted && !t.Before(h.Start) && t.Before(h.End) {
			return false
		}
	}
	for _, e := range table.Entries {
		if e.Block != block || t.Before(e.From) || !e.Until.IsZero() && !t.Before(e.Until) {
			continue
		}
		local := t.In(zone)
		minute := local.Hour()*60 + local.Minute()
		for i, iv := range table.Schedules {
			if e.Schedules&(1<<i) != 0 && iv.Days.Has(local.Weekday()) && minute >= iv.Start && minute < iv.End {
				return true
			}
		}
	}
	return false
}

// checkTable holds what must be true of any table.
func (w *lockWorld) checkTable(t *testing.T, table *swordfish.Table) {
	t.Helper()
	if len(table.Entries) > w.profile.Users || len(table.Schedules) > w.profile.Schedules || len(table.Losses) > swordfish.MaxLosses || len(table.Losses) > table.Lost {
		t.Fatalf("%d entries, %d schedules, %d of %d losses", len(table.Entries), len(table.Schedules), len(table.Losses), table.Lost)
	}
	for i, e := range table.Entries {
		if i > 0 && bytes.Compare(table.Entries[i-1].Block[:], e.Block[:]) >= 0 {
			t.Fatal("entries are not ascending")
		}
		if e.Schedules == 0 || e.Schedules>>len(table.Schedules) != 0 || w.profile.Functions[e.Function] == "" {
			t.Fatalf("entry %+v of %d schedules", e, len(table.Schedules))
		}
		if w.profile.SoleSchedule && e.Schedules&(e.Schedules-1) != 0 {
			t.Fatalf("entry %+v has several schedules", e)
		}
		for _, at := range []time.Time{e.From, e.Until} {
			if back, err := time.ParseInLocation("20060102150405", at.In(w.zone).Format("20060102150405"), w.zone); !at.IsZero() && (err != nil || !back.Equal(at)) {
				t.Fatalf("%v cannot be written", at)
			}
		}
		if !e.Until.IsZero() && (!e.From.Before(e.Until) || !w.now.Before(e.Until)) {
			t.Fatalf("entry %+v is over at %v", e, w.now)
		}
	}
	if !w.profile.Holidays && len(table.Holidays) > 0 {
		t.Fatal("holidays for a model that takes none")
	}
	for _, at := range []time.Time{table.Next, table.Good} {
		if !at.IsZero() && !at.After(w.now) {
			t.Fatalf("next %v, good %v at %v", table.Next, table.Good, w.now)
		}
	}
}
