package store

// The records of the smaller kinds, and their older forms, are not visible from
// outside.

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/agent/site"
)

// TestOldValues reads schedules and holidays as version 1 wrote them, byte for
// byte.
func TestOldValues(t *testing.T) {
	old := append([]byte{1, 6}, "Office"...)
	old = append(old, 1, 2, 0b0111110, 0xE0, 0x03, 0xB8, 0x08, 0x7F, 0, 1) // ignores holidays; Mo-Fr 480-1080, daily 0-1
	var s site.Schedule
	if err := decodeSchedule(old, nil, &s); err != nil {
		t.Fatal(err)
	}
	want := site.Schedule{Name: "Office", IgnoreHolidays: true, Intervals: []site.Interval{{Days: 0b0111110, Start: 480, End: 1080}, {Days: site.AllDays, Start: 0, End: 1}}}
	if diff := cmp.Diff(want, s); diff != "" {
		t.Errorf("schedule (-want +got):\n%s", diff)
	}
	old = append([]byte{1, 4}, "Xmas"...)
	old = append(old, 0xEA, 0x0F, 12, 24, 0xEB, 0x0F, 1, 1) // 2026-12-24 to 2027-01-01
	var h site.Holiday
	if err := decodeHoliday(old, nil, &h); err != nil {
		t.Fatal(err)
	}
	wantDay := site.Holiday{Name: "Xmas", First: site.Date{Year: 2026, Month: 12, Day: 24}, Last: site.Date{Year: 2027, Month: time.January, Day: 1}, Kind: 1}
	if diff := cmp.Diff(wantDay, h); diff != "" {
		t.Errorf("holiday (-want +got):\n%s", diff)
	}
	for name, bad := range map[string][]byte{"kind 0": {2, 0, 0xEA, 0x0F, 1, 1, 0xEA, 0x0F, 1, 1, 0}, "kind 9": {2, 0, 0xEA, 0x0F, 1, 1, 0xEA, 0x0F, 1, 1, 9},
		"no kind": {2, 0, 0xEA, 0x0F, 1, 1, 0xEA, 0x0F, 1, 1}, "version 3": {3, 0, 0xEA, 0x0F, 1, 1, 0xEA, 0x0F, 1, 1, 1}} {
		if err := decodeHoliday(bad, nil, &h); err == nil {
			t.Errorf("%s was read", name)
		}
	}
	for name, bad := range map[string][]byte{"days above H8": {2, 0, 0, 1, 0x80, 0x80, 0x02, 0, 1}, "version 3": {3, 0, 0, 0}} {
		if err := decodeSchedule(bad, nil, &s); err == nil {
			t.Errorf("%s was read", name)
		}
	}
}

// TestValues writes and reads what version 2 knows.
func TestValues(t *testing.T) {
	want := site.Schedule{Name: "S", Intervals: []site.Interval{{Days: allDays, Start: 1, End: 2}, {Days: 1 << 14, Start: 1439, End: 1440}}}
	var got site.Schedule
	if err := decodeSchedule(appendSchedule(nil, &want), nil, &got); err != nil || !cmp.Equal(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	for kind := range site.HolidayKinds + 1 {
		want := site.Holiday{First: site.Date{Year: 1, Month: 1, Day: 1}, Last: site.Date{Year: 9999, Month: 12, Day: 31}, Kind: kind}
		var got site.Holiday
		err := decodeHoliday(appendHoliday(nil, &want), nil, &got)
		if want.Kind = max(kind, 1); err != nil || got != want {
			t.Errorf("%+v, %v", got, err)
		}
	}
}
