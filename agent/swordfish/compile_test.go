package swordfish_test

import (
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/agent/access"
	"gatehouse/agent/card"
	"gatehouse/agent/site"
	"gatehouse/agent/swordfish"
)

// wednesday is when the tables of the tests are compiled, in Berlin.
var wednesday = time.Date(2026, 7, 1, 8, 0, 0, 0, time.UTC)

const workdays = site.Days(0x3E)

var clearBlocks = cmp.Transformer("clear", func(b card.Block) string { return hex.EncodeToString(b[:4]) })

// lockOf is a world of its own for one table.
type lockOf struct {
	now       time.Time
	schedules []site.Schedule
	holidays  []site.Holiday
	host      *swordfish.HostLists
	profile   func(*swordfish.Profile)
	cards     [][]site.Credential // card n has the block nn000000
}

func (l lockOf) table(t *testing.T) swordfish.Table {
	t.Helper()
	p, _ := swordfish.ProfileOf("nde")
	if l.profile != nil {
		l.profile(&p)
	}
	if l.now.IsZero() {
		l.now = wednesday
	}
	zone := zoneOf(t, "Europe/Berlin")
	schedules := append([]site.Schedule{
		{ID: "office", Intervals: []site.Interval{{Days: workdays, Start: 480, End: 1020}}},
		{ID: "night", Intervals: []site.Interval{{Days: workdays, Start: 1320, End: 360}}},
		{ID: "lock.1", Source: site.SourceIPHost, IgnoreHolidays: true, Intervals: []site.Interval{{Days: workdays, Start: 480, End: 1020}}},
	}, l.schedules...)
	c := swordfish.NewCompiler(swordfish.Source{Profile: &p, Door: "lock", Now: l.now, Zone: zone, Host: l.host, Policy: access.Compile(zone, schedules, nil, l.holidays)})
	for i, records := range l.cards {
		c.Add(card.Block{byte(i + 1), 0, 0, 0, 0xFF}, records)
	}
	return c.Table()
}

// rec is a record with a right at the lock, by that schedule.
func rec(schedule site.ScheduleID, change ...func(*site.Credential)) site.Credential {
	c := site.Credential{ID: "c1", Source: site.SourceOperator, Bits: 26, State: site.CredentialActive, Rights: []site.Right{{Door: "lock", Schedule: schedule}}}
	for _, fn := range change {
		fn(&c)
	}
	return c
}

func id(s site.CredentialID) func(*site.Credential) { return func(c *site.Credential) { c.ID = s } }
func fn(f site.Function) func(*site.Credential)     { return func(c *site.Credential) { c.Function = f } }
func from(t time.Time) func(*site.Credential)       { return func(c *site.Credential) { c.From = t } }
func until(t time.Time) func(*site.Credential)      { return func(c *site.Credential) { c.Until = t } }
func state(s site.CredentialState, bits int) func(*site.Credential) {
	return func(c *site.Credential) { c.State, c.Bits = s, bits }
}
func uses(n, used uint32) func(*site.Credential) {
	return func(c *site.Credential) { c.Uses, c.Used = n, used }
}
func host(c *site.Credential) { c.Source, c.Bits = site.SourceIPHost, 0 }
func ada(c *site.Credential)  { c.ADA = true }

func one(records ...site.Credential) [][]site.Credential { return [][]site.Credential{records} }

func day(n int) site.Date { return site.Date{Year: 2026, Month: 7, Day: n} }

// july is a time of a clock in Berlin.
func july(d, hour int) time.Time { return time.Date(2026, 7, d, hour-2, 0, 0, 0, time.UTC) }

func entry(n byte, schedules uint16, change ...func(*swordfish.Entry)) swordfish.Entry {
	e := swordfish.Entry{Block: card.Block{n, 0, 0, 0, 0xFF}, Schedules: schedules}
	for _, fn := range change {
		fn(&e)
	}
	return e
}

func lost(id site.CredentialID, what string) []swordfish.Loss {
	return []swordfish.Loss{{Credential: id, What: what}}
}

var (
	always    = site.Interval{Days: site.AllDays, Start: 0, End: 1440}
	office    = site.Interval{Days: workdays, Start: 480, End: 1020}
	wholeDay  = swordfish.Holiday{Start: july(3, 0), End: july(4, 0), Action: swordfish.HolidayRestricted}
	afternoon = swordfish.Holiday{Start: july(3, 12), End: july(4, 0), Action: swordfish.HolidayRestricted}
	autoOpen  = []swordfish.Auto{{Unlock: true, Days: workdays, Minute: 480}}
)

// TestCompile has one rule a row; the tables are whole.
func TestCompile(t *testing.T) {
	type entries = []swordfish.Entry
	type slots = []site.Interval
	for _, tt := range []struct {
		name string
		lock lockOf
		want swordfish.Table
	}{
		{"a right without a schedule holds all week", lockOf{cards: one(rec(""))}, swordfish.Table{Entries: entries{entry(1, 1)}, Schedules: slots{always}}},
		{"beside it there is no other", lockOf{cards: one(rec("", func(c *site.Credential) { c.Rights = append(c.Rights, site.Right{Door: "lock", Schedule: "office"}) }))},
			swordfish.Table{Entries: entries{entry(1, 1)}, Schedules: slots{always}}},
		{"an interval over midnight is two slots", lockOf{cards: one(rec("night"))},
			swordfish.Table{Entries: entries{entry(1, 3)}, Schedules: slots{{Days: workdays, Start: 1320, End: 1440}, {Days: 0x7C, Start: 0, End: 360}}}},
		{"another door is no right", lockOf{cards: one(rec("", func(c *site.Credential) { c.Rights[0].Door = "other" }))}, swordfish.Table{}},
		{"schedules alike share a slot", lockOf{schedules: []site.Schedule{{ID: "same", Intervals: []site.Interval{office}}}, cards: [][]site.Credential{{rec("office")}, {rec("same")}}},
			swordfish.Table{Entries: entries{entry(1, 1), entry(2, 1)}, Schedules: slots{office}}},
		{"a schedule that ends at 23:59 ends before", lockOf{schedules: []site.Schedule{{ID: "late", Intervals: []site.Interval{{Days: workdays, Start: 600, End: 1439}}}}, cards: one(rec("late"))},
			swordfish.Table{Entries: entries{entry(1, 1)}, Schedules: slots{{Days: workdays, Start: 600, End: 1438}}, Losses: lost("", "a schedule that ends at 23:59 ends at 23:58 at this lock"), Lost: 1}},
		{"a beginning before the year 2000 is none", lockOf{cards: one(rec("", func(c *site.Credential) { c.From = time.Unix(0, 0) }))},
			swordfish.Table{Entries: entries{entry(1, 1)}, Schedules: slots{always}}},
		{"of a schedule that begins at 23:59 the first minute is left out", lockOf{schedules: []site.Schedule{{ID: "late", Intervals: []site.Interval{{Days: workdays, Start: 1439, End: 10}}}}, cards: one(rec("late"))},
			swordfish.Table{Entries: entries{entry(1, 1)}, Schedules: slots{{Days: 0x7C, Start: 0, End: 10}}, Losses: lost("", "the last minute of a day is left out where a schedule begins with it: the day of this lock ends at 23:59"), Lost: 1}},
		{"and is there where the lock's day ends at 1440", lockOf{profile: func(p *swordfish.Profile) { p.DayEnd = 1440 }, schedules: []site.Schedule{{ID: "late", Intervals: []site.Interval{{Days: workdays, Start: 1439, End: 1440}}}}, cards: one(rec("late"))},
			swordfish.Table{Entries: entries{entry(1, 1)}, Schedules: slots{{Days: workdays, Start: 1439, End: 1440}}}},

		{"a holiday in the week is cut out and sent", lockOf{holidays: []site.Holiday{{First: day(3), Last: day(3)}}, cards: one(rec("office"))},
			swordfish.Table{Entries: entries{entry(1, 1)}, Schedules: slots{{Days: workdays &^ (1 << 5), Start: 480, End: 1020}}, Holidays: []swordfish.Holiday{wholeDay}, Next: july(4, 0), Good: july(10, 0)}},
		{"a holiday after the week is sent", lockOf{holidays: []site.Holiday{{First: day(10), Last: day(10)}}, cards: one(rec("office"))},
			swordfish.Table{Entries: entries{entry(1, 1)}, Schedules: slots{office}, Holidays: []swordfish.Holiday{{Start: july(10, 0), End: july(11, 0)}}, Next: july(4, 0), Good: july(10, 0)}},
		{"a holiday is not sent where somebody may pass", lockOf{holidays: []site.Holiday{{First: day(3), Last: day(3)}}, cards: [][]site.Credential{{rec("office")}, {rec("")}}},
			swordfish.Table{Entries: entries{entry(1, 2), entry(2, 1)}, Schedules: slots{always, {Days: workdays &^ (1 << 5), Start: 480, End: 1020}}, Next: july(4, 0), Good: july(10, 0)}},
		{"a model without holidays gets none", lockOf{profile: func(p *swordfish.Profile) { p.Holidays = false }, holidays: []site.Holiday{{First: day(3), Last: day(3)}}, cards: one(rec("office"))},
			swordfish.Table{Entries: entries{entry(1, 1)}, Schedules: slots{{Days: workdays &^ (1 << 5), Start: 480, End: 1020}}, Next: july(4, 0), Good: july(10, 0)}},
		{"who passes on no day of this week is not in it", lockOf{schedules: []site.Schedule{{ID: "friday", Intervals: []site.Interval{{Days: 1 << 5, Start: 480, End: 1020}}}}, holidays: []site.Holiday{{First: day(3), Last: day(3)}}, cards: one(rec("friday"))},
			swordfish.Table{Holidays: []swordfish.Holiday{wholeDay}, Next: july(4, 0), Good: july(10, 0)}},

		{"a host's restricted holiday is passed on where all is his", lockOf{host: &swordfish.HostLists{Holidays: []swordfish.Holiday{afternoon}, Auto: autoOpen}, cards: one(rec("lock.1", host))},
			swordfish.Table{Entries: entries{entry(1, 1)}, Schedules: slots{office}, Holidays: []swordfish.Holiday{afternoon}, Auto: autoOpen, Next: july(4, 0)}},
		{"else it is cut out of his rights only", lockOf{host: &swordfish.HostLists{Holidays: []swordfish.Holiday{wholeDay}}, cards: [][]site.Credential{{rec("lock.1", host)}, {rec("office")}}},
			swordfish.Table{Entries: entries{entry(1, 2), entry(2, 1)}, Schedules: slots{office, {Days: workdays &^ (1 << 5), Start: 480, End: 1020}}, Next: july(4, 0), Good: july(10, 0)}},
		{"a pass_through is not shut out by it", lockOf{host: &swordfish.HostLists{Holidays: []swordfish.Holiday{wholeDay}}, cards: [][]site.Credential{{rec("lock.1", host)}, {rec("lock.1", host, fn(site.FunctionPassThrough))}}},
			swordfish.Table{Entries: entries{entry(1, 1), entry(2, 2, func(e *swordfish.Entry) { e.Function = site.FunctionPassThrough })}, Schedules: slots{{Days: workdays &^ (1 << 5), Start: 480, End: 1020}, office}, Next: july(4, 0), Good: july(10, 0)}},
		{"a day of which it takes a part is cut whole", lockOf{host: &swordfish.HostLists{Holidays: []swordfish.Holiday{afternoon}}, cards: [][]site.Credential{{rec("lock.1", host)}, {rec("")}}},
			swordfish.Table{Entries: entries{entry(1, 2), entry(2, 1)}, Schedules: slots{always, {Days: workdays &^ (1 << 5), Start: 480, End: 1020}}, Next: july(4, 0), Good: july(10, 0),
				Losses: lost("", "the host's holiday takes a part of 2026-07-03: a schedule that it touches is suspended for the whole of that day"), Lost: 1}},
		{"on a day on which the clocks change minutes do not tell", lockOf{now: time.Date(2026, 10, 22, 8, 0, 0, 0, time.UTC),
			schedules: []site.Schedule{{ID: "lock.2", Source: site.SourceIPHost, IgnoreHolidays: true, Intervals: []site.Interval{{Days: 1, Start: 660, End: 750}}}},
			host:      &swordfish.HostLists{Holidays: []swordfish.Holiday{{Start: time.Date(2026, 10, 25, 11, 0, 0, 0, time.UTC), End: time.Date(2026, 10, 25, 23, 0, 0, 0, time.UTC)}}}, cards: [][]site.Credential{{rec("lock.2", host)}, {rec("")}}},
			swordfish.Table{Entries: entries{entry(2, 1)}, Schedules: slots{always}, Next: time.Date(2026, 10, 25, 23, 0, 0, 0, time.UTC), Good: time.Date(2026, 10, 31, 23, 0, 0, 0, time.UTC),
				Losses: lost("", "the host's holiday takes a part of 2026-10-25: a schedule that it touches is suspended for the whole of that day"), Lost: 1}},
		{"what a model does not take of the host is lost", lockOf{profile: func(p *swordfish.Profile) { p.Holidays, p.Auto = false, false },
			host: &swordfish.HostLists{Holidays: []swordfish.Holiday{{Start: july(3, 0), End: july(4, 0), Action: swordfish.HolidayPassage}}, Auto: autoOpen}, cards: one(rec("lock.1", host))},
			swordfish.Table{Entries: entries{entry(1, 1)}, Schedules: slots{office}, Lost: 2, Losses: []swordfish.Loss{
				{What: "a holiday of the host's door file is left out: this model takes none of that kind"}, {What: "autoUnlock is left out: this model takes none"}}}},

		{"a veto of the operator is for all records", lockOf{cards: one(rec("", host), rec("", state(site.CredentialRevoked, 26), id("op")), rec("", state(site.CredentialActive, 26)))},
			swordfish.Table{Losses: lost("c1", "left out: the operator refuses a card of another length, and a lock cannot tell lengths"), Lost: 1}},
		{"a veto for any length is no loss", lockOf{cards: one(rec("", host), rec("", state(site.CredentialBlocked, 0)))}, swordfish.Table{}},
		{"one who expired is left out, one who has not begun is in", lockOf{cards: [][]site.Credential{{rec("", until(wednesday))}, {rec("", from(july(5, 9)), until(july(6, 9)))}}},
			swordfish.Table{Entries: entries{entry(2, 1, func(e *swordfish.Entry) { e.From, e.Until = july(5, 9), july(6, 9) })}, Schedules: slots{always}}},
		{"records with other dates are taken as they are now", lockOf{cards: one(rec("office", until(july(9, 0)), id("a")), rec("night", id("b")), rec("", from(july(8, 0)), id("c")))},
			swordfish.Table{Entries: entries{entry(1, 7, func(e *swordfish.Entry) { e.Until = july(9, 0) })}, Next: july(8, 0), Good: july(8, 0),
				Schedules: slots{{Days: workdays, Start: 1320, End: 1440}, {Days: 0x7C, Start: 0, End: 360}, office}}},
		{"a record that another covers counts for nothing", lockOf{cards: one(rec("office", until(july(9, 0)), id("a")), rec("", id("b")))},
			swordfish.Table{Entries: entries{entry(1, 1)}, Schedules: slots{always}}},
		{"a second function is lost", lockOf{cards: one(rec("office", id("a")), rec("", fn(site.FunctionToggle), id("b")))},
			swordfish.Table{Entries: entries{entry(1, 1)}, Schedules: slots{office}, Losses: lost("b", "left out: the lock has the card with function norm already"), Lost: 1}},
		{"the longer unlock time is for all records", lockOf{cards: one(rec("office", id("a")), rec("night", ada, id("b")))},
			swordfish.Table{Entries: entries{entry(1, 7, func(e *swordfish.Entry) { e.ADA = true })}, Schedules: slots{{Days: workdays, Start: 1320, End: 1440}, {Days: 0x7C, Start: 0, End: 360}, office},
				Losses: lost("b", "the lock gives all its records the longer unlock time"), Lost: 1}},

		{"one who is counted is lost", lockOf{cards: one(rec("", uses(5, 1)))}, swordfish.Table{Losses: lost("c1", "left out: a lock cannot count its uses"), Lost: 1}},
		{"one who is used up is not", lockOf{cards: [][]site.Credential{{rec("", uses(5, 5))}, {rec("", fn(site.FunctionOneTime), uses(0, 1))}}}, swordfish.Table{}},
		{"one use is lost", lockOf{cards: one(rec("", fn(site.FunctionOneTime)))}, swordfish.Table{Losses: lost("c1", "left out: a lock cannot count its uses"), Lost: 1}},
		{"one use of the host's goes by the model's word", lockOf{cards: one(rec("", host, fn(site.FunctionOneTime)))}, swordfish.Table{Entries: entries{entry(1, 1, func(e *swordfish.Entry) { e.Function = site.FunctionOneTime })}, Schedules: slots{always}}},
		{"a function without a word is lost", lockOf{profile: func(p *swordfish.Profile) { delete(p.Functions, site.FunctionToggle) }, cards: one(rec("", fn(site.FunctionToggle)))},
			swordfish.Table{Losses: lost("c1", "left out: the lock knows no function toggle"), Lost: 1}},
		{"a user beyond the last is lost", lockOf{profile: func(p *swordfish.Profile) { p.Users = 1 }, cards: [][]site.Credential{{rec("")}, {rec("")}}},
			swordfish.Table{Entries: entries{entry(1, 1)}, Schedules: slots{always}, Losses: lost("c1", "left out: the lock takes 1 users"), Lost: 1}},
		{"the schedule that fewest need is lost", lockOf{profile: func(p *swordfish.Profile) { p.Schedules = 1 }, cards: [][]site.Credential{{rec("")}, {rec("office")}, {rec("office")}}},
			swordfish.Table{Entries: entries{entry(2, 1), entry(3, 1)}, Schedules: slots{office}, Losses: lost("c1", "left out: the lock takes 1 schedules"), Lost: 1}},
		{"where a user has one schedule, days are put together", lockOf{profile: func(p *swordfish.Profile) { p.SoleSchedule = true },
			schedules: []site.Schedule{{ID: "sunday", Intervals: []site.Interval{{Days: 1, Start: 480, End: 1020}}}}, cards: [][]site.Credential{{rec("office"), rec("sunday")}, {rec("night")}}},
			swordfish.Table{Entries: entries{entry(1, 1)}, Schedules: slots{{Days: workdays | 1, Start: 480, End: 1020}}, Losses: lost("c1", "left out: the lock takes one schedule for a user, and one span in it"), Lost: 1}},
		{"the hour that is shown twice is left out", lockOf{cards: [][]site.Credential{{rec("", from(time.Date(2026, 10, 25, 0, 30, 0, 0, time.UTC)))}, {rec("", until(time.Date(2026, 10, 25, 1, 30, 0, 0, time.UTC)), id("c2"))}}},
			swordfish.Table{Schedules: slots{always}, Lost: 2, Entries: entries{
				entry(1, 1, func(e *swordfish.Entry) { e.From = time.Date(2026, 10, 25, 2, 0, 0, 0, time.UTC) }),
				entry(2, 1, func(e *swordfish.Entry) { e.Until = time.Date(2026, 10, 24, 23, 59, 59, 0, time.UTC) })},
				Losses: []swordfish.Loss{{Credential: "c1", What: "begins or ends in the hour that a clock shows twice: the lock leaves that hour out"}, {Credential: "c2", What: "begins or ends in the hour that a clock shows twice: the lock leaves that hour out"}}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := tt.lock.table(t)
			if len(got.Entries) == 0 {
				got.Entries = nil
			}
			if diff := cmp.Diff(tt.want, got, clearBlocks); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestLossesAreBounded: of many losses 64 are named, and no card.
func TestLossesAreBounded(t *testing.T) {
	l := lockOf{}
	for i := range 200 {
		l.cards = append(l.cards, []site.Credential{rec("", uses(2, 0), id(site.CredentialID(fmt.Sprint("c", i))))})
	}
	got := l.table(t)
	if len(got.Losses) != swordfish.MaxLosses || got.Lost != 200 {
		t.Errorf("%d of %d", len(got.Losses), got.Lost)
	}
}

// TestNoProfileNoPolicy: what is missing takes nobody.
func TestNoProfileNoPolicy(t *testing.T) {
	p, _ := swordfish.ProfileOf("le")
	for _, src := range []swordfish.Source{{Policy: access.Compile(nil, nil, nil, nil)}, {Profile: &p}, {}} {
		src.Door, src.Now = "lock", wednesday
		c := swordfish.NewCompiler(src)
		c.Add(card.Block{1}, []site.Credential{rec("")})
		if got := c.Table(); len(got.Entries) > 0 {
			t.Errorf("%+v", got)
		}
	}
	if _, ok := swordfish.ProfileOf("other"); ok {
		t.Error("a model that is not known has a profile")
	}
}

// TestDigest: each part of a table that goes to a lock is in it, and nothing else.
func TestDigest(t *testing.T) {
	made := func() swordfish.Table {
		return swordfish.Table{Entries: []swordfish.Entry{entry(1, 1), entry(2, 1)}, Schedules: []site.Interval{always}, Holidays: []swordfish.Holiday{wholeDay}, Auto: []swordfish.Auto{{Days: 1, Minute: 3}}}
	}
	want := made()
	for name, change := range map[string]func(*swordfish.Table){
		"block":    func(t *swordfish.Table) { t.Entries[1].Block[15] = 1 },
		"function": func(t *swordfish.Table) { t.Entries[1].Function = site.FunctionToggle },
		"ada":      func(t *swordfish.Table) { t.Entries[1].ADA = true },
		"slots":    func(t *swordfish.Table) { t.Entries[1].Schedules = 2 },
		"from":     func(t *swordfish.Table) { t.Entries[1].From = wednesday },
		"until":    func(t *swordfish.Table) { t.Entries[1].Until = wednesday },
		"users":    func(t *swordfish.Table) { t.Entries = t.Entries[:1] },
		"schedule": func(t *swordfish.Table) { t.Schedules[0].End-- },
		"holiday":  func(t *swordfish.Table) { t.Holidays[0].Action = swordfish.HolidayPassage },
		"holidays": func(t *swordfish.Table) { t.Holidays = nil },
		"auto":     func(t *swordfish.Table) { t.Auto[0].Unlock = true },
	} {
		got := made()
		if change(&got); got.Digest() == want.Digest() {
			t.Errorf("%s is not in it", name)
		}
	}
	same := made()
	same.Next, same.Good, same.Lost, same.Losses = wednesday, wednesday, 1, lost("c", "x")
	if same.Digest() != want.Digest() {
		t.Error("what does not go to a lock is in it")
	}
}

func TestFits(t *testing.T) {
	sch := func(id site.ScheduleID, ivs ...site.Interval) site.Schedule {
		return site.Schedule{ID: id, Intervals: ivs}
	}
	iv := func(d site.Days, start, end int) site.Interval { return site.Interval{Days: d, Start: start, End: end} }
	var sixteen [][]site.Schedule
	for i := range 16 {
		sixteen = append(sixteen, []site.Schedule{sch(site.ScheduleID(fmt.Sprint("s", i)), iv(workdays, i, 1020))})
	}
	sets := func(s ...site.Schedule) (out [][]site.Schedule) {
		for _, one := range s {
			out = append(out, []site.Schedule{one})
		}
		return out
	}
	seven := append([][]site.Schedule{}, sixteen[:7]...)
	for i := range 5 {
		seven = append(seven, []site.Schedule{sch(site.ScheduleID(fmt.Sprint("n", i)), iv(workdays, 1320+i, 360-i))})
	}
	same := sch("same", iv(workdays, 0, 1020))
	kinds := sch("kinds", iv(workdays|1<<7, 0, 1020))
	ignoring := sch("ignoring", iv(workdays, 0, 1020))
	ignoring.IgnoreHolidays = true
	hosts := sch("lock.1", iv(site.AllDays, 0, 1440))
	hosts.IgnoreHolidays, hosts.Source = true, site.SourceIPHost
	mine := hosts
	mine.Source = site.SourceOperator
	for _, tt := range []struct {
		name   string
		sole   bool
		always bool
		sets   [][]site.Schedule
		want   string // in the error; empty: it fits
	}{
		{"17 do not fit", false, false, append(sets(sch("one", iv(1, 0, 1))), sixteen...), "takes 16 schedules, and this needs 17"},
		{"16 and always do not fit", false, true, sixteen, "takes 16 schedules, and this needs 17"},
		{"two that holidays tell apart do not share", false, false, append(sets(kinds), sixteen...), "needs 17"},
		{"nor one that ignores them", false, false, append(sets(ignoring), sixteen...), "needs 17"},
		{"nor what the host's holidays tell apart", false, true, append(sets(hosts), sixteen[:15]...), "needs 17"},
		{"over midnight is two", false, false, seven, "needs 17"},
		{"16 fit", false, false, sixteen, ""},
		{"15 and always fit", false, true, sixteen[:15], ""},
		{"those alike share", false, false, append(sets(same), sixteen...), ""},
		{"all the week is always", false, true, append(sets(mine), sixteen[:15]...), ""},
		{"nothing fits", false, false, nil, ""},
		{"one schedule of two spans does not fit", true, false, sets(sch("split", iv(workdays, 480, 720), iv(workdays, 780, 1020))), `schedule "split" is none`},
		{"one over midnight does not fit", true, false, sets(sch("night", iv(workdays, 1320, 360))), `schedule "night" is none`},
		{"two schedules of one do not fit", true, false, [][]site.Schedule{{same, sch("noon", iv(1, 720, 780))}}, `["same" "noon"] together are none`},
		{"two of the same minutes fit", true, false, [][]site.Schedule{{same, sch("sunday", iv(1, 0, 1020))}}, ""},
		{"one beside what is always fits", true, false, [][]site.Schedule{{same, mine}}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, _ := swordfish.ProfileOf("le")
			p.SoleSchedule = tt.sole
			err := p.Fits(tt.always, tt.sets)
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
}
