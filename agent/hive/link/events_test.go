package link_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	_ "time/tzdata" // also where the machine has no zone files

	"github.com/google/go-cmp/cmp"

	"gatehouse/agent/hive/link"
	"gatehouse/agent/site"
)

const note1 = "hive version 1: no replay protection"

// What this package itself records of each request.
func TestEvents(t *testing.T) {
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	event := func(e site.Event) site.Event {
		if e.Time.IsZero() {
			e.Time = now
		}
		e.Trusted, e.Device = true, "one"
		return e
	}
	logged := func(text string, at time.Time) site.Event {
		return event(site.Event{Kind: site.KindLog, Text: text, Time: at})
	}
	tests := []struct {
		name, data string
		want       []site.Event
	}{
		{"unknown item", `{"badge":1052895,"item":"zz\u00e9"}`, []site.Event{event(site.Event{Kind: site.KindAccess, Reason: site.ReasonNoRight, Item: "zz?", Text: note1})}},
		{"long item", `{"badge":1052895,"item":"` + strings.Repeat("z", 999) + `"}`,
			[]site.Event{event(site.Event{Kind: site.KindAccess, Reason: site.ReasonNoRight, Item: strings.Repeat("z", 64), Text: note1})}},
		{"another's item", `{"badge":1052895,"item":"shed_door"}`, []site.Event{event(site.Event{Kind: site.KindAccess, Reason: site.ReasonNoRight, Item: "shed_door", Text: note1})}},
		{"no badge", `{"item":"main_door"}`, []site.Event{event(site.Event{Kind: site.KindAccess, Reason: site.ReasonUnknownFormat, Door: "front", Item: "main_door", Text: note1})}},
		{"vend without badge", `{"operation":"vend","badge":"x"}`, []site.Event{event(site.Event{Kind: site.KindAccess, Reason: site.ReasonUnknownFormat, Text: "vend; " + note1})}},
		{"soda status", `{"operation":"soda_status","soda_status":[{"slot":1,"sold_out":true},{"slot":2,"sold_out":"0"}]}`,
			[]site.Event{event(site.Event{Kind: site.KindVend, Text: "soda status: slot 1 sold out, slot 2 available"})}},
		{"half a soda status", `{"operation":"soda_status","soda_status":[{"slot":1,"sold_out":true},{"slot":2}]}`, nil},
		{"half a log", `{"option":"log","messages":[{"text":"a"},7]}`, nil},
		{"two stamps", `{"option":"log","current_timestamp":100000,"messages":[{"absolute_timestamp":40000,"text":"a","level":"warn","data":{"b":1,"a":[2]}},{"absolute_timestamp":"99000","text":"b\u0007"}]}`,
			[]site.Event{event(site.Event{Kind: site.KindLog, Text: "warn: a", Data: `{"a":[2],"b":1}`, Time: ago(time.Minute)}), logged("b ", ago(time.Second))}},
		{"no stamps", `{"operation":"log","messages":[{"text":"a"},{"absolute_timestamp":1}]}`, []site.Event{logged("a", now), logged("", now)}},
		{"32-bit clock started again", `{"option":"log","current_timestamp":1000,"messages":[{"absolute_timestamp":4294966296,"text":"a"}]}`, []site.Event{logged("a", ago(2*time.Second))}},
		{"a stamp from the future", `{"option":"log","current_timestamp":1000,"messages":[{"absolute_timestamp":1500,"text":"a"}]}`, []site.Event{logged("a", now)}},
		{"stamps that mean nothing", `{"option":"log","current_timestamp":9223372036854775807,"messages":[{"absolute_timestamp":1,"text":"a"},{"absolute_timestamp":-1}]}`, []site.Event{logged("a", now), logged("", now)}},
		{"unix time", `{"option":"log","current_timestamp":1795280400000,"messages":[{"absolute_timestamp":1795280398000,"text":"a"}]}`, []site.Event{logged("a", ago(2*time.Second))}},
		{"long text", `{"option":"log","messages":[{"text":"` + strings.Repeat("é", 600) + `"}]}`, []site.Event{logged(strings.Repeat("é", 256), now)}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld()
			call(t, newServer(t, w), "one", tt.data)
			if diff := cmp.Diff(tt.want, w.taken()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestTemperature(t *testing.T) {
	w := newWorld()
	s := newServer(t, w)
	_, got := call(t, s, "one", `{"operation":"log","log_data":{"item":"main_door","temperature":"71.20"}}`)
	id, _ := got["temp_log_id"].(string)
	if diff := cmp.Diff(with("error", "Data logged.", "temp_log_id", id), got); diff != "" || len(id) != 16 {
		t.Errorf("(-want +got):\n%s", diff)
	}
	want := []site.Event{{Kind: site.KindLog, Time: now, Trusted: true, Device: "one", Door: "front", Item: "main_door", Text: "temperature 71.20", Data: id}}
	if diff := cmp.Diff(want, w.taken()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// No event and no reply holds the badge's number.
func TestNoBadgeInClear(t *testing.T) {
	w := newWorld()
	s := newServer(t, w)
	var all strings.Builder
	for _, data := range []string{`{"badge":7515388,"item":"main_door"}`, `{"badge":7515388,"item":"zz"}`, `{"badge":7515388,"operation":"vend"}`, `{"badge":75153880,"item":"main_door"}`, `{"badge":7515388,"item":"main_door","version":2}`} {
		_, reply := post(t, s, sign(t, "one", data))
		all.WriteString(signed(t, "one", reply).Raw())
	}
	fmt.Fprintf(&all, "%+v", w.taken())
	for _, secret := range []string{"7515388", "72acfc", "72ACFC", "44284"} { // 114, 44284
		if strings.Contains(all.String(), secret) {
			t.Errorf("%s is in clear in %s", secret, all.String())
		}
	}
}

// A stranger gets one fault event a minute for each cause, with the count.
func TestFaultsAreHeldBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		s := newServer(t, w)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- s.Run(ctx) }()
		<-s.Ready()
		wrong := strings.Replace(sign(t, "one", `{}`), `"checksum":"`, `"checksum":"0`, 1)
		for i := range 1000 {
			post(t, s, wrong)
			post(t, s, fmt.Sprintf(`{"device":"stranger %d","data":{},"checksum":""}`, i))
			call(t, s, "two", `{"version":2,"operation":"vend"}`)
			call(t, s, "one", `{"version":2}`)
		}
		type fault struct {
			Device site.DeviceName
			Text   string
			Count  uint64
		}
		faults := func() map[fault]bool {
			m := map[fault]bool{}
			for _, e := range w.taken() {
				if e.Kind != site.KindFault || m[fault{e.Device, e.Text, e.Count}] {
					t.Errorf("event %+v", e)
				}
				m[fault{e.Device, e.Text, e.Count}] = true
			}
			return m
		}
		each := func(n uint64) map[fault]bool {
			return map[fault]bool{
				{"", "hive: unknown device", n}:              true,
				{"one", "hive: wrong checksum", n}:           true,
				{"two", "hive: replayed or stale packet", n}: true,
				{"one", "hive: version refused", n}:          true,
			}
		}
		if diff := cmp.Diff(each(1), faults()); diff != "" {
			t.Errorf("at once (-want +got):\n%s", diff)
		}
		time.Sleep(61 * time.Second) // the bubble's time
		synctest.Wait()
		if diff := cmp.Diff(each(999), faults()); diff != "" {
			t.Errorf("after a minute (-want +got):\n%s", diff)
		}
		post(t, s, wrong)
		post(t, s, wrong)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(map[fault]bool{{"one", "hive: wrong checksum", 2}: true}, faults()); diff != "" {
			t.Errorf("at the end (-want +got):\n%s", diff)
		}
	})
}

func TestQuietHours(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	night := link.QuietHours{Start: 22*60 + 30, End: 7 * 60, Zone: berlin}
	at := func(m time.Month, d, hour, minute int) time.Time {
		return time.Date(2026, m, d, hour, minute, 0, 0, berlin)
	}
	tests := []struct {
		name       string
		q          link.QuietHours
		now        time.Time
		quiet      bool
		start, end time.Duration
	}{
		{"evening", night, at(11, 21, 18, 0), false, 4*time.Hour + 30*time.Minute, 13 * time.Hour},
		{"the start", night, at(11, 21, 22, 30), true, 24 * time.Hour, 8*time.Hour + 30*time.Minute},
		{"after midnight", night, at(11, 22, 1, 0), true, 21*time.Hour + 30*time.Minute, 6 * time.Hour},
		{"the end", night, at(11, 22, 7, 0), false, 15*time.Hour + 30*time.Minute, 24 * time.Hour},
		{"at noon only", link.QuietHours{Start: 12 * 60, End: 13 * 60, Zone: berlin}, at(11, 21, 12, 59), true, 23*time.Hour + time.Minute, time.Minute},
		{"no zone", link.QuietHours{Start: 0, End: 60}, at(11, 21, 1, 30), true, 23*time.Hour + 30*time.Minute, 30 * time.Minute},
		{"the night without 2 o'clock", night, at(3, 28, 23, 0), true, 22*time.Hour + 30*time.Minute, 7 * time.Hour},
		{"the night with two", night, at(10, 24, 23, 0), true, 24*time.Hour + 30*time.Minute, 9 * time.Hour},
		{"an end that does not happen", link.QuietHours{Start: 60, End: 150, Zone: berlin}, at(3, 29, 1, 30), true, 22*time.Hour + 30*time.Minute, time.Hour},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld()
			cfg, deps := testConfig(), w.deps()
			cfg.QuietHours = tt.q
			deps.Clock = func() site.Clock { return site.Clock{Now: tt.now} }
			s, err := link.New(cfg, deps)
			if err != nil {
				t.Fatal(err)
			}
			_, got := call(t, s, "one", `{"operation":"quiet_hours"}`)
			want := with("in_quiet", tt.quiet, "start_ms", float64(tt.start.Milliseconds()), "end_ms", float64(tt.end.Milliseconds()))
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	cfg := testConfig()
	cfg.QuietHours = link.QuietHours{}
	s, err := link.New(cfg, newWorld().deps())
	if err != nil {
		t.Fatal(err)
	}
	if _, got := call(t, s, "one", `{"operation":"quiet_hours"}`); got["response"] != false || got["in_quiet"] != false || got["start_ms"] != nil {
		t.Errorf("without quiet hours: %v", got)
	}
}

func TestVendAlert(t *testing.T) {
	w := newWorld()
	s := newServer(t, w)
	var got []any
	for range 4 { // three credits, alert at one
		_, reply := call(t, s, "one", `{"operation":"vend","badge":1052895}`)
		got = append(got, reply["vend"], reply["alert"])
	}
	if diff := cmp.Diff([]any{true, nil, true, true, true, true, false, nil}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestWarnings(t *testing.T) {
	w := newWorld()
	s := newServer(t, w)
	warn := func(device, verb string) string {
		return fmt.Sprintf("hive device %q %s version 1, which has no replay protection: set versions: [2] where the device can", device, verb)
	}
	if diff := cmp.Diff([]string{warn("both", "may speak"), warn("one", "may speak"), warn("shed", "may speak")}, s.Warnings()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	call(t, s, "one", `{}`)
	call(t, s, "both", `{"version":2,"operation":"quiet_hours","nonce":"`+nonce(t, s, "both")+`"}`)
	if diff := cmp.Diff([]string{warn("one", "speaks"), warn("shed", "may speak")}, s.Warnings()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
