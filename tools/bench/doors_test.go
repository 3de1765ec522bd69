package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"testing"
	"time"

	"gatehouse/agent/reader"
	"gatehouse/hal"
)

// TestMain lets the test's own program be the processes that a run starts.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		if f := children[os.Args[1]]; f != nil {
			if err := f(context.Background(), os.Args[2:]); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			os.Exit(0)
		}
	}
	os.Exit(m.Run())
}

// short runs some groups with small sizes and returns their rows by name.
func short(t *testing.T, only string) map[string]row {
	t.Helper()
	var out, progress bytes.Buffer
	code := run(t.Context(), []string{"-short", "-n", "1000", "-dir", t.TempDir(), "-only", only}, &out, &progress)
	var res result
	if err := json.Unmarshal(out.Bytes(), &res); err != nil {
		t.Fatalf("code %d: %v\n%s", code, err, progress.String())
	}
	rows := map[string]row{}
	for _, r := range res.Rows {
		if r.Error != "" || r.Value <= 0 {
			t.Errorf("%s: %v, error %q", r.Name, r.Value, r.Error)
		}
		rows[r.Name] = r
	}
	return rows
}

// number is a figure of a row's detail.
func (r row) number(t *testing.T, name string) float64 {
	t.Helper()
	v, ok := r.Detail[name].(float64)
	if !ok {
		t.Fatalf("%s: detail %s is %v", r.Name, name, r.Detail[name])
	}
	return v
}

// TestWire: a frame ends with the edge that says so, is the card that was sent,
// and no timer would have ended it for a while.
func TestWire(t *testing.T) {
	w := &wire{d0: "A", d1: "B", edges: make(chan hal.Edge, 1024), stamp: time.Hour}
	decoder := reader.NewWiegand("A", "B", 0)
	for i := range 3 {
		want := cardBits(70_000 + i)
		w.send(want)
		last := w.stamp
		w.end()
		for len(w.edges) > 0 {
			e := <-w.edges
			var out reader.Output
			if len(w.edges) == 0 {
				if due, open := decoder.Deadline(); !open || due-last < 20*time.Millisecond {
					t.Errorf("frame %d: open %v, it would end after %v", i, open, due-last)
				}
			}
			decoder, out = decoder.Step(reader.Input{Edge: e})
			if ended := len(w.edges) == 0; out.Fault != reader.FaultNone || (out.Frame.Len() > 0) != ended || ended && out.Frame != want {
				t.Fatalf("frame %d, %d edges left: %v", i, len(w.edges), out)
			}
		}
	}
}

// TestDoors64: every card opens while a reader floods and no event has room.
func TestDoors64(t *testing.T) {
	rows := short(t, "doors64")
	for _, name := range []string{"doors64_p99", "doors64_burst_p99"} {
		r := rows[name]
		if got := r.number(t, "samples") + r.number(t, "ended_by_timer"); got < 4*manyDoors {
			t.Errorf("%s: %v cards, want %d", name, got, 4*manyDoors)
		}
		if r.number(t, "events_waiting")+r.number(t, "events_lost") == 0 || r.Yardstick <= 0 {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

// TestRules: cards and PINs pass where all rules are configured.
func TestRules(t *testing.T) {
	rows := short(t, "rules")
	for _, name := range []string{"door_path_rules_p99", "door_path_pin_p99"} {
		r := rows[name]
		if got := r.number(t, "samples") + r.number(t, "ended_by_timer"); got != 3*ruleDoors/2 {
			t.Errorf("%s: %v samples, want %d", name, got, 3*ruleDoors/2)
		}
	}
}

// TestDrain: all events of the log come to the host, in order, each time.
func TestDrain(t *testing.T) {
	rows := short(t, "uplink")
	if r := rows["uplink_drain"]; r.Yardstick <= 0 || r.number(t, "events") != 5000 || !r.AtLeast {
		t.Errorf("%+v", r)
	}
	if r := rows["during_drain"]; r.number(t, "drains") == 0 {
		t.Errorf("%+v", r)
	}
}

// TestDrainHostFinds: an event that is left out does not pass.
func TestDrainHostFinds(t *testing.T) {
	for _, second := range []string{`{"eventId":3,"event":{}}`, `{"eventId":1,"event":{}}`, `{"requestId":2}`, `{`} {
		h := &drainHost{}
		h.event([]byte(`{"eventId":1,"event":{}}`))
		if h.broken != nil {
			t.Fatal(h.broken)
		}
		if h.event([]byte(second)); h.broken == nil {
			t.Errorf("%s was taken", second)
		}
	}
}
