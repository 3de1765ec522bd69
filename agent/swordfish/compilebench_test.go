package swordfish_test

import (
	"encoding/binary"
	"fmt"
	"io"
	"testing"
	"time"

	"gatehouse/agent/access"
	"gatehouse/agent/card"
	"gatehouse/agent/site"
	"gatehouse/agent/swordfish"
)

// largeSite is a policy of a site with many levels, and n cards of one lock: each has
// one level of forty, every tenth a second record, every seventh dates.
func largeSite(tb testing.TB, n int) (swordfish.Source, []worldCard) {
	tb.Helper()
	var schedules []site.Schedule
	var levels []site.Level
	for i := range 12 {
		schedules = append(schedules, site.Schedule{ID: site.ScheduleID(fmt.Sprint("s", i)), Source: site.SourceHive, IgnoreHolidays: i%4 == 0,
			Intervals: []site.Interval{{Days: 0x3E, Start: 300 + 10*i, End: 1020}}})
	}
	for i := range 40 {
		l := site.Level{ID: site.LevelID(fmt.Sprint("l", i)), Source: site.SourceHive}
		for d := range 500 {
			l.Rights = append(l.Rights, site.Right{Door: site.DoorID(fmt.Sprint("d", d)), Schedule: schedules[i%len(schedules)].ID})
		}
		levels = append(levels, l)
	}
	var holidays []site.Holiday
	now := time.Date(2026, 12, 1, 2, 0, 0, 0, time.UTC)
	for i := range 30 {
		d := site.DateOf(now.AddDate(0, 0, 3+12*i))
		holidays = append(holidays, site.Holiday{First: d, Last: d})
	}
	p, _ := swordfish.ProfileOf("nde")
	zone := zoneOf(tb, "Europe/Berlin")
	out := make([]worldCard, n)
	for i := range out {
		c := &out[i]
		binary.BigEndian.PutUint32(c.block[:], uint32(i)*2654435761)
		c.block[4] = 0xFF
		x := site.Credential{ID: site.CredentialID(fmt.Sprintf("%024x.h.26", i)), Source: site.SourceHive, State: site.CredentialActive, Bits: 26, Levels: []site.LevelID{levels[i%len(levels)].ID}}
		if i%7 == 0 {
			x.From, x.Until = now.AddDate(0, -1, 0), now.AddDate(1, 0, i%30)
		}
		c.records = append(c.records, x)
		if i%10 == 0 {
			c.records = append(c.records, site.Credential{ID: "o", Source: site.SourceOperator, State: site.CredentialActive, Rights: []site.Right{{Door: "d7"}}})
		}
	}
	return swordfish.Source{Profile: &p, Door: "d7", Now: now, Zone: zone, Policy: access.Compile(zone, schedules, levels, holidays)}, out
}

// BenchmarkCompile makes the table of 5,000 users: what a lock costs in a night
// beside the pass over the store.
func BenchmarkCompile(b *testing.B) {
	src, list := largeSite(b, 5000)
	b.ReportAllocs()
	for b.Loop() {
		c := swordfish.NewCompiler(src)
		for i := range list {
			c.Add(list[i].block, list[i].records)
		}
		if t := c.Table(); len(t.Entries) != 5000 || t.Lost > 0 {
			b.Fatalf("%d entries, %v", len(t.Entries), t.Losses)
		}
	}
}

func BenchmarkDigest(b *testing.B) {
	src, list := largeSite(b, 5000)
	c := swordfish.NewCompiler(src)
	for i := range list {
		c.Add(list[i].block, list[i].records)
	}
	t := c.Table()
	b.ReportAllocs()
	for b.Loop() {
		t.Digest()
	}
}

// manyUsers is a full file of n users.
func manyUsers(tb testing.TB, n int) *swordfish.File {
	tb.Helper()
	f := &swordfish.File{Full: true, Schedules: []site.Interval{{Days: site.AllDays, Start: 0, End: 1440}}, Version: 1}
	for i := range n {
		var b card.Block
		binary.BigEndian.PutUint32(b[:], uint32(i+1))
		u := swordfish.Numbered{ID: uint16(i + 1), Entry: swordfish.Entry{Block: b, Schedules: 1}}
		if i%7 == 0 {
			u.Until = time.Date(2030, 1, 1, 0, 0, i, 0, time.UTC)
		}
		f.Add = append(f.Add, u)
	}
	return f
}

func BenchmarkWrite(b *testing.B) {
	f, o := manyUsers(b, 5000), options(b, testKey)
	n, err := f.Size(o)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(n)
	b.ReportAllocs()
	for b.Loop() {
		if err := f.Write(io.Discard, o); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSize(b *testing.B) {
	f, o := manyUsers(b, 5000), options(b, testKey)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := f.Size(o); err != nil {
			b.Fatal(err)
		}
	}
}
