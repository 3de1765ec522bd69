package swordfish_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"gatehouse/agent/site"
	"gatehouse/agent/swordfish"

	"github.com/google/go-cmp/cmp"
)

// TestMeaningOf has each code of engage.md section 5 as kind, reason, mode and
// whether it ends something.
func TestMeaningOf(t *testing.T) {
	want := map[string]string{
		"0100": "battery", "0101": "battery", "0400": "config", "0401": "fault",
		"0500": "mode lockdown", "0501": "mode ends", "0502": "access granted",
		"0508": "access out_of_schedule", "0509": "access not_active", "050A": "access expired",
		"050B": "access unknown_credential", "050C": "access frozen", "050D": "access lockdown",
		"0513": "mode frozen_passage", "0514": "mode frozen_secured", "0540": "access no_right", "0541": "access blocked",
		"0600": "fault", "0601": "policy", "0604": "fault", "0605": "events_lost",
		"0700": "door_forced", "0701": "door_held", "0702": "tamper", "0703": "tamper", "0704": "exit", "0713": "tamper",
		"071B": "tamper ends", "0721": "door_opened", "0722": "door_closed",
		"0900": "fault", "0901": "config", "0A01": "clock", "0A02": "clock ends",
		"0F00": "mode passage", "0F01": "mode secured", "0F02": "command", "0F03": "mode", "0F04": "mode frozen_secured",
		"0F05": "mode frozen_passage", "0F06": "mode", "0F0D": "mode ends",
		"1000": "fault ends", "1001": "fault", "1002": "fault ends", "1003": "fault",
		"1300": "access unknown_credential", "1301": "", "1302": "", "1303": "", "1304": "",
	}
	got := map[string]string{}
	texts := map[string]string{}
	for i := range 1 << 16 {
		code := fmt.Sprintf("%04X", i)
		m, ok := swordfish.MeaningOf(code)
		if lower, okLower := swordfish.MeaningOf(strings.ToLower(code)); lower != m || okLower != ok {
			t.Errorf("%s in lower case is another", code)
		}
		if !ok {
			continue
		}
		s := strings.TrimSpace(strings.TrimSpace(string(m.Kind)+" "+string(m.Reason)) + " " + m.Mode)
		if m.Cleared {
			s += " ends"
		}
		got[code] = s
		if m.Kind != "" && !slices.Contains(site.Kinds(), m.Kind) {
			t.Errorf("%s: no kind %q", code, m.Kind)
		}
		if (m.Kind == site.KindAccess) != m.Reason.Valid() {
			t.Errorf("%s: kind %q with reason %q", code, m.Kind, m.Reason)
		}
		if _, err := site.ParseMode(m.Mode); m.Mode != "" && (err != nil || m.Kind != site.KindMode) {
			t.Errorf("%s: kind %q with mode %q", code, m.Kind, m.Mode)
		}
		if other, twice := texts[m.Text]; m.Text == "" || twice {
			t.Errorf("%s: text %q, also of %q", code, m.Text, other)
		}
		texts[m.Text] = code
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	for _, code := range []string{"", "0502 ", "05020000", "xxxx"} {
		if m, ok := swordfish.MeaningOf(code); ok {
			t.Errorf("%q means %v", code, m)
		}
	}
}

func TestAuditMeaning(t *testing.T) {
	for _, tt := range []struct {
		name string
		in   swordfish.Audit
		want string
	}{
		{"a low battery tells its millivolts", swordfish.Audit{Code: "0100", Data: "1356"}, "low battery 4950 mV"},
		{"a critical one too", swordfish.Audit{Code: "0101", Data: "0FA0"}, "critical battery 4000 mV"},
		{"0 mV is not told", swordfish.Audit{Code: "0100", Data: "0000"}, "low battery"},
		{"no data are not told", swordfish.Audit{Code: "0100"}, "low battery"},
		{"the data of others mean nothing here", swordfish.Audit{Code: "0704", Data: "1356"}, "request to exit"},
		{"a code that is not known has no text", swordfish.Audit{Code: "FEDC", Data: "1356"}, ""},
		{"no audit has none", swordfish.Audit{Raw: "x"}, ""},
	} {
		m, ok := tt.in.Meaning()
		if m.Text != tt.want || ok != (tt.want != "") {
			t.Errorf("%s: %q, %v", tt.name, m.Text, ok)
		}
	}
}
