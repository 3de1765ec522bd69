package control_test

import (
	"strings"
	"testing"

	"gatehouse/agent/control"
	"gatehouse/agent/site"
)

const workdays = site.Days(0b0111110)

func TestParseInterval(t *testing.T) {
	for _, tt := range []struct {
		text string
		want site.Interval
		back string
	}{
		{"Mo-Fr 08:00-18:00", site.Interval{Days: workdays, Start: 480, End: 1080}, ""},
		{"mo-fr 8:00-18:00", site.Interval{Days: workdays, Start: 480, End: 1080}, "Mo-Fr 08:00-18:00"},
		{"monday-FRI 08:00-18:00", site.Interval{Days: workdays, Start: 480, End: 1080}, "Mo-Fr 08:00-18:00"},
		{"daily 00:00-24:00", site.Interval{Days: site.AllDays, Start: 0, End: 1440}, ""},
		{"DAILY 00:00-00:00", site.Interval{Days: site.AllDays, Start: 0, End: 1440}, "daily 00:00-24:00"},
		{"Mo-Su 00:00-24:00", site.Interval{Days: site.AllDays, Start: 0, End: 1440}, "daily 00:00-24:00"},
		{"Fr 22:00-06:00", site.Interval{Days: 1 << 5, Start: 1320, End: 360}, ""},
		{"Sa,Su 08:00-08:00", site.Interval{Days: 1<<6 | 1, Start: 480, End: 480}, ""},
		{"Sa-Mo 08:00-09:00", site.Interval{Days: 1<<6 | 1 | 2, Start: 480, End: 540}, "Mo,Sa,Su 08:00-09:00"},
		{"Mo-We,Fr, Su 08:00-09:00", site.Interval{Days: 0b0101111, Start: 480, End: 540}, "Mo-We,Fr,Su 08:00-09:00"},
		{"  Tu   23:59-00:01 ", site.Interval{Days: 1 << 2, Start: 1439, End: 1}, "Tu 23:59-00:01"},
		{"Mo-Fr,H1 08:00-18:00", site.Interval{Days: workdays | 1<<7, Start: 480, End: 1080}, ""},
		{"h1-h8 08:00-18:00", site.Interval{Days: 0xFF << 7, Start: 480, End: 1080}, "H1-H8 08:00-18:00"},
		{"H8,Su,H1,H2 08:00-18:00", site.Interval{Days: 1 | 1<<7 | 1<<8 | 1<<14, Start: 480, End: 1080}, "Su,H1,H2,H8 08:00-18:00"},
		{"Mo-Su,H3 08:00-18:00", site.Interval{Days: site.AllDays | 1<<9, Start: 480, End: 1080}, ""},
	} {
		got, err := control.ParseInterval(tt.text)
		if err != nil || got != tt.want {
			t.Errorf("%q: %+v, %v", tt.text, got, err)
		}
		back := tt.back
		if back == "" {
			back = tt.text
		}
		if text := control.FormatInterval(got); text != back {
			t.Errorf("%q: written %q, want %q", tt.text, text, back)
		}
	}
	for _, bad := range []string{
		"", "Mo", "08:00-18:00", "Mo 08:00", "Mo 08:00-", "Mo -18:00", "Mo 24:00-24:00", "Mo 08:00-24:01", "Mo 08:60-09:00", "Mo 8-9", "Mo 08:0-09:00",
		"Mo 008:00-09:00", "Mo +8:00-09:00", "Mo 08:00-09:00-10:00", "Xy 08:00-09:00", "M 08:00-09:00", "Mo- 08:00-09:00", ", 08:00-09:00", "Mo,,Tu 08:00-09:00",
		"daily,Mo 08:00-09:00", "H0 08:00-09:00", "H9 08:00-09:00", "H 08:00-09:00", "H3-H1 08:00-09:00", "Mo-H1 08:00-09:00", "H1-Mo 08:00-09:00", "Mo 08:00-09:00 Tu", strings.Repeat("Mo,", 100) + "Mo 08:00-09:00",
	} {
		if got, err := control.ParseInterval(bad); err == nil {
			t.Errorf("%q was taken as %+v", bad, got)
		}
	}
	if _, err := control.NewInterval(0, 1, 2); err == nil {
		t.Error("no days were taken")
	}
}

// FuzzInterval: what is taken is in range, and is read back from its own text as
// it is.
func FuzzInterval(f *testing.F) {
	for _, s := range []string{"Mo-Fr 08:00-18:00", "daily 00:00-24:00", "Fr 22:00-06:00", "Sa-Mo,We 1:00-00:00", "Mo-Fr,H1-H3,H8 8:00-9:00", "", "Mo 24:00-24:00", "\xff 08:00-09:00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		iv, err := control.ParseInterval(s)
		if err != nil {
			return
		}
		if iv.Days == 0 || iv.Days&^(site.AllDays|0xFF<<7) != 0 || iv.Start < 0 || iv.Start > 1439 || iv.End < 1 || iv.End > 1440 {
			t.Fatalf("%q: out of range: %+v", s, iv)
		}
		text := control.FormatInterval(iv)
		back, err := control.ParseInterval(text)
		if err != nil || back != iv {
			t.Fatalf("%q: %+v, then %q: %+v, %v", s, iv, text, back, err)
		}
		if again := control.FormatInterval(back); again != text {
			t.Fatalf("%q is written %q", text, again)
		}
	})
}

// FuzzRights: what is taken is written and read back as it is.
func FuzzRights(f *testing.F) {
	for _, s := range []string{"front", "front@office; shed", "", ";;", "a@", "@b", "a@b@c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		rights, err := control.ParseRights(s)
		if err != nil {
			return
		}
		for _, r := range rights {
			if site.CheckID(string(r.Door)) != nil || r.Schedule != "" && site.CheckID(string(r.Schedule)) != nil {
				t.Fatalf("%q: %+v", s, r)
			}
		}
		text := control.FormatRights(rights)
		back, err := control.ParseRights(text)
		if err != nil || control.FormatRights(back) != text || len(back) != len(rights) {
			t.Fatalf("%q: %q: %v, %v", s, text, back, err)
		}
	})
}
