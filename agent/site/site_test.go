package site_test

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/agent/site"
)

func TestCheckID(t *testing.T) {
	for _, tt := range []struct {
		id   string
		want string // part of the error; empty: accepted
	}{
		{"", "empty"},
		{strings.Repeat("a", 65), "longer than 64"},
		{"-front", "not allowed"},
		{"front door", "not allowed"},
		{"türe", "not allowed"},
		{"a/../b", "not allowed"},
		{"front", ""},
		{"Front-1_a.b", ""},
		{strings.Repeat("a", 64), ""},
	} {
		err := site.CheckID(tt.id)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%q: %v, want %q", tt.id, err, tt.want)
		}
	}
}

// TestReasonsAreComplete: each code of door.md has a text and a rank of its
// own, in the order of the document, and only two of them grant.
func TestReasonsAreComplete(t *testing.T) {
	order := "no_policy fault unknown_format unknown_credential revoked blocked used_up not_active expired no_right door_disabled lockdown frozen reader_closed clock_untrusted out_of_schedule holiday " +
		"passback occupancy interlock pin_locked_out pin_required pin_wrong second_person_required granted granted_passback"
	var got []string
	for i, r := range site.Reasons() {
		got = append(got, string(r))
		if r.Rank() != i+1 || !r.Valid() {
			t.Errorf("%s: rank %d, want %d", r, r.Rank(), i+1)
		}
		if r.Text() == "" || strings.Contains(r.Text(), "unknown reason") {
			t.Errorf("%s: no text", r)
		}
		if r.Grants() != strings.HasPrefix(string(r), "granted") {
			t.Errorf("%s: grants %v", r, r.Grants())
		}
	}
	if d := cmp.Diff(strings.Fields(order), got); d != "" {
		t.Errorf("order (-want +got):\n%s", d)
	}
	if site.Reason("").Grants() || site.Reason("").Valid() || site.Reason("x").Rank() != 0 {
		t.Error("the zero reason or an unknown one is valid")
	}
}

// TestZeroValuesAreSafe: what was never set opens nothing.
func TestZeroValuesAreSafe(t *testing.T) {
	var m site.Mode
	if m != site.ModeSecured || m.Unlocked() {
		t.Error("a zero mode is not secured")
	}
	var c site.Credential
	if c.State == site.CredentialActive {
		t.Error("a zero credential is active")
	}
	var k site.ClockMode
	if k != site.ClockDeny {
		t.Error("a zero clock mode does not deny")
	}
}

func TestTextForms(t *testing.T) {
	for _, m := range []site.Mode{site.ModeSecured, site.ModePassage, site.ModeFrozenSecured, site.ModeFrozenPassage, site.ModeLockdown, site.ModeDisabled} {
		got, err := site.ParseMode(m.String())
		if err != nil || got != m {
			t.Errorf("%v: %v, %v", m, got, err)
		}
	}
	for f := site.FunctionNorm; f <= site.FunctionBlocked; f++ {
		got, err := site.ParseFunction(f.String())
		if err != nil || got != f {
			t.Errorf("%v: %v, %v", f, got, err)
		}
	}
	if f, err := site.ParseFunction("normal"); err != nil || f != site.FunctionNorm {
		t.Errorf("normal: %v, %v", f, err)
	}
	if f, err := site.ParseFunction("open-sesame"); err == nil || f != site.FunctionBlocked {
		t.Errorf("an unknown function gave %v, %v", f, err)
	}
	if _, err := site.ParseMode("open"); err == nil {
		t.Error("mode open was taken")
	}
	for _, s := range []string{"deny", "always-only", "ignore"} {
		if m, err := site.ParseClockMode(s); err != nil || m.String() != s {
			t.Errorf("%s: %v, %v", s, m, err)
		}
	}
}

func TestParseDays(t *testing.T) {
	for _, tt := range []struct {
		in   []string
		want site.Days
		bad  bool
	}{
		{[]string{"X"}, 0, true},
		{[]string{"Mondays"}, 0, true},
		{[]string{"S"}, 0, true},
		{[]string{"Su", "Mo", "Tu", "We", "Th", "Fr", "Sa"}, site.AllDays, false},
		{[]string{"mon", "FRIDAY"}, 1<<1 | 1<<5, false},
		{nil, 0, false},
	} {
		got, err := site.ParseDays(tt.in)
		if got != tt.want || (err != nil) != tt.bad {
			t.Errorf("%v: %07b, %v", tt.in, got, err)
		}
	}
	if got := site.Days(1<<0 | 1<<6).Names(); !cmp.Equal(got, []string{"Su", "Sa"}) {
		t.Errorf("names %v", got)
	}
}

func TestDate(t *testing.T) {
	for _, bad := range []string{"", "2026-02-30", "24.12.2026", "2026-1-1"} {
		var d site.Date
		if err := d.UnmarshalText([]byte(bad)); err == nil {
			t.Errorf("%q was taken as %v", bad, d)
		}
	}
	h := site.Holiday{First: site.Date{Year: 2026, Month: 12, Day: 24}, Last: site.Date{Year: 2027, Month: 1, Day: 1}}
	for day, want := range map[string]bool{"2026-12-23": false, "2026-12-24": true, "2026-12-31": true, "2027-01-01": true, "2027-01-02": false} {
		var d site.Date
		if err := d.UnmarshalText([]byte(day)); err != nil {
			t.Fatal(err)
		}
		if h.Has(d) != want || d.String() != day {
			t.Errorf("%s: %v, %s", day, h.Has(d), d)
		}
	}
}

// TestEventAsContract writes the example of contract.md, Events.
func TestEventAsContract(t *testing.T) {
	e := site.Event{Log: "5f3a9c01", Seq: 1, Time: time.Date(2026, 11, 21, 18, 4, 5, 123e6, time.UTC), Trusted: true,
		Kind: site.KindAccess, Door: "front", Reader: "front-in", Reason: site.ReasonGranted, Holder: "Ada",
		Card: site.CardRef{Last2: "68", Tag: "a41f0c"}, Source: site.SourceOperator}
	got, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"log":"5f3a9c01","seq":1,"time":"2026-11-21T18:04:05.123Z","trusted":true,"kind":"access","door":"front","reader":"front-in","reason":"granted","holder":"Ada","card":"…68 a41f0c","by":"","source":"operator"}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	var back site.Event
	if err := json.Unmarshal(got, &back); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(e, back); d != "" {
		t.Errorf("read back (-want +got):\n%s", d)
	}
}

// TestDoorStatusAsContract writes the form of contract.md, door list --json.
func TestDoorStatusAsContract(t *testing.T) {
	d := site.DoorStatus{ID: "front", Name: "Front door", Locked: true}
	got, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"id":"front","name":"Front door","mode":"secured","locked":true,"open":false,"alarm":"","until":""}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	d.Alarm, d.Until = site.AlarmForced, time.Date(2026, 11, 21, 18, 0, 0, 0, time.UTC)
	if got, err = json.Marshal(d); err != nil {
		t.Fatal(err)
	}
	var back site.DoorStatus
	if err := json.Unmarshal(got, &back); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(d, back); d != "" {
		t.Errorf("read back (-want +got):\n%s", d)
	}
}

func TestCardRef(t *testing.T) {
	for _, tt := range []struct {
		text string
		want site.CardRef
		bad  bool
	}{
		{"", site.CardRef{}, false},
		{"…68 a41f0c", site.CardRef{Last2: "68", Tag: "a41f0c"}, false},
		{"… a41f0c", site.CardRef{Tag: "a41f0c"}, false},
		{"68 a41f0c", site.CardRef{}, true},
		{"…68", site.CardRef{}, true},
		{"x", site.CardRef{}, true},
	} {
		var c site.CardRef
		err := c.UnmarshalText([]byte(tt.text))
		if (err != nil) != tt.bad || !tt.bad && (c != tt.want || c.String() != tt.text) {
			t.Errorf("%q: %+v, %v", tt.text, c, err)
		}
	}
}

// TestKindsAreContracts compares with the list of contract.md when it is at
// hand as testdata.
func TestKindsAreContracts(t *testing.T) {
	data, err := os.ReadFile("testdata/kinds.txt")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, k := range site.Kinds() {
		got = append(got, string(k))
	}
	if d := cmp.Diff(strings.Fields(string(data)), got); d != "" {
		t.Errorf("kinds (-want +got):\n%s", d)
	}
}

func TestDaysOfHolidays(t *testing.T) {
	d, err := site.ParseDays([]string{"Mo", "h1", "H8"})
	if err != nil || !d.Has(time.Monday) || !d.HasHoliday(1) || !d.HasHoliday(8) || d.HasHoliday(2) || d.HasHoliday(0) || d.HasHoliday(9) {
		t.Errorf("%v, %v", d.Names(), err)
	}
	if diff := cmp.Diff([]string{"Mo", "H1", "H8"}, d.Names()); diff != "" {
		t.Error(diff)
	}
	for _, s := range []string{"H0", "H9", "H", "H11"} {
		if _, err := site.ParseDays([]string{s}); err == nil {
			t.Errorf("%q was taken", s)
		}
	}
	for k := range site.HolidayKinds + 1 {
		if site.AllDays.HasHoliday(k) {
			t.Errorf("the days of the week hold holidays of kind %d", k)
		}
	}
	if (site.Holiday{}).HolidayKind() != 1 || (site.Holiday{Kind: 3}).HolidayKind() != 3 {
		t.Error("kinds")
	}
}

func TestPINIsNotPrinted(t *testing.T) {
	p := site.PIN("4711")
	text, _ := json.Marshal(p)
	for _, s := range []string{fmt.Sprint(p), fmt.Sprintf("%#v", p), fmt.Sprintf("%v", struct{ P site.PIN }{p}), string(text), p.LogValue().String()} {
		if strings.Contains(s, "4711") {
			t.Errorf("printed: %s", s)
		}
	}
}
