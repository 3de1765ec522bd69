package reader_test

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/agent/card"
	"gatehouse/agent/reader"
	"gatehouse/hal"
	"gatehouse/hal/haltest"
)

const (
	d0 hal.LineName = "GPIO17"
	d1 hal.LineName = "GPIO18"
)

// bits makes card.Bits of '0' and '1'.
func bits(t testing.TB, s string) card.Bits {
	t.Helper()
	var b card.Bits
	for _, c := range s {
		var ok bool
		if b, ok = b.With(c == '1'); !ok {
			t.Fatal("too many bits")
		}
	}
	return b
}

// pulses makes the edges of a frame and returns the stamp of its last pulse.
func pulses(s string, gap, at time.Duration) ([]hal.Edge, time.Duration) {
	var out []hal.Edge
	var last time.Duration
	for _, c := range s {
		line := d0
		if c == '1' {
			line = d1
		}
		out = append(out, hal.Edge{Line: line, Level: hal.Low, At: at}, hal.Edge{Line: line, Level: hal.High, At: at + 40*time.Microsecond})
		last = at
		at += gap
	}
	return out, last
}

// result is an output of the decoder with the stamp of the input that gave it.
type result struct {
	At    time.Duration
	Frame string // LENGTH:HEX
	Fault reader.Fault
}

// run feeds edges, then a timeout at each deadline that passes before the next
// edge when timer is set, and one at the end.
func run(edges []hal.Edge, silence time.Duration, timer bool) []result {
	w := reader.NewWiegand(d0, d1, silence)
	var out []result
	step := func(in reader.Input, at time.Duration) {
		var o reader.Output
		w, o = w.Step(in)
		if o.Frame.Len() > 0 || o.Fault != reader.FaultNone {
			r := result{At: at, Fault: o.Fault}
			if o.Frame.Len() > 0 {
				r.Frame = o.Frame.Text()
			}
			out = append(out, r)
		}
	}
	for _, e := range edges {
		if d, ok := w.Deadline(); timer && ok && d < e.At {
			step(reader.Input{Timeout: true, Now: d}, d)
		}
		step(reader.Input{Edge: e}, e.At)
	}
	if d, ok := w.Deadline(); ok {
		step(reader.Input{Timeout: true, Now: d - 1}, d-1)
		step(reader.Input{Timeout: true, Now: d}, d)
	}
	return out
}

const (
	frame26 = "00100110100000110001000000"            // facility 77, card 1568
	frame37 = "1000000101011110001100010000011000101" // 815e310628
)

func TestFrameEnds(t *testing.T) {
	const us, ms = time.Microsecond, time.Millisecond
	tests := []struct {
		name         string
		bits         string
		gap, silence time.Duration
		want         time.Duration // after the last pulse
	}{
		{"26 bits, fastest", frame26, 200 * us, 0, 5 * ms},
		{"37 bits, fastest", frame37, 200 * us, 0, 5 * ms},
		{"26 bits, usual", frame26, 1 * ms, 0, 5 * ms},
		{"37 bits, usual", frame37, 1 * ms, 0, 5 * ms},
		{"26 bits, slow", frame26, 2 * ms, 0, 8 * ms},
		{"37 bits, slow", frame37, 2 * ms, 0, 8 * ms},
		{"26 bits, slowest", frame26, 20 * ms, 0, 25 * ms},
		{"37 bits, slowest", frame37, 20 * ms, 0, 25 * ms},
		{"silence set", frame26, 5 * ms, 12 * ms, 12 * ms},
		{"silence set too short", frame26, 200 * us, 1, 5 * ms},
		{"silence set too long", frame26, 20 * ms, time.Hour, 25 * ms},
		{"one bit", "1", 200 * us, 0, 25 * ms},
		{"one bit, silence set", "1", 200 * us, 6 * ms, 25 * ms},
		{"two bits", "10", 200 * us, 0, 5 * ms},
		{"128 bits", strings.Repeat("1001", 32), 2 * ms, 0, 8 * ms},
		{"256 bits", strings.Repeat("10", 128), 2 * ms, 0, 8 * ms},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			edges, last := pulses(tt.bits, tt.gap, time.Hour)
			want := []result{{At: last + tt.want, Frame: bits(t, tt.bits).Text()}}
			if d := cmp.Diff(want, run(edges, tt.silence, true)); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

func TestFrames(t *testing.T) {
	const us, ms, at = time.Microsecond, time.Millisecond, time.Hour
	text := func(s string) string { return bits(t, s).Text() }
	join := func(parts ...[]hal.Edge) []hal.Edge {
		var out []hal.Edge
		for _, p := range parts {
			out = append(out, p...)
		}
		return out
	}
	send := func(s string, gap, at time.Duration) []hal.Edge { e, _ := pulses(s, gap, at); return e }
	edge := func(l hal.LineName, v hal.Level, at time.Duration) hal.Edge {
		return hal.Edge{Line: l, Level: v, At: at}
	}
	lost := func(e []hal.Edge, i int) []hal.Edge { e[i].Lost = true; return e }

	tests := []struct {
		name  string
		edges []hal.Edge
		want  []result // At is not compared
	}{
		{"both lines at once", join(send("101", ms, at), []hal.Edge{
			edge(d0, hal.Low, at+3*ms), edge(d1, hal.Low, at+3*ms+10*us), edge(d0, hal.High, at+3*ms+40*us), edge(d1, hal.High, at+3*ms+50*us),
		}, send("0101", ms, at+4*ms)), []result{{Fault: reader.FaultBoth}}},
		{"after a fault the next frame is read", join([]hal.Edge{
			edge(d0, hal.Low, at), edge(d1, hal.Low, at), edge(d0, hal.High, at+us), edge(d1, hal.High, at+us),
		}, send(frame26, ms, at+30*ms)), []result{{Fault: reader.FaultBoth}, {Frame: text(frame26)}}},
		{"pulse on another line", join(send("101", ms, at), []hal.Edge{
			edge("GPIO5", hal.Low, at+3*ms), edge("GPIO5", hal.High, at+3*ms+40*us),
		}, send("0101", ms, at+4*ms)), []result{{Fault: reader.FaultLine}}},
		{"257 bits", send(strings.Repeat("1", 257), ms, at), []result{{Fault: reader.FaultLong}}},
		{"600 bits are one fault", send(strings.Repeat("1", 600), ms, at), []result{{Fault: reader.FaultLong}}},
		{"back to back", join(send(frame26, 200*us, at), send(frame37, 200*us, at+25*200*us+5*ms)),
			[]result{{Frame: text(frame26)}, {Frame: text(frame37)}}},
		{"a pause inside the frame", join(send("1010", ms, at), send("0101", ms, at+7900*us)),
			[]result{{Frame: text("10100101")}}},
		{"lost edges", lost(send(frame26, ms, at), 20), []result{{Fault: reader.FaultLost}}},
		{"edges lost, of one frame or of two", join(send("1010", ms, at), lost(send(frame26, ms, at+5*ms), 0), send(frame37, ms, at+300*ms)),
			[]result{{Fault: reader.FaultLost}, {Frame: text(frame37)}}},
		{"held low at the end", join(send("1010", ms, at), []hal.Edge{edge(d0, hal.Low, at+4*ms)}), []result{{Fault: reader.FaultHeld}}},
		{"held low, then free", join([]hal.Edge{edge(d0, hal.Low, at), edge(d0, hal.High, at+time.Second)}, send(frame26, ms, at+2*time.Second)),
			[]result{{Fault: reader.FaultHeld}, {Frame: text(frame26)}}},
		{"a pulse that became one edge", join(send("10", ms, at), []hal.Edge{edge(d1, hal.High, at+2*ms)}, send("0", ms, at+3*ms)),
			[]result{{Frame: text("1010")}}},
		{"a rise that was not seen", join(send("10", ms, at), []hal.Edge{edge(d1, hal.Low, at+2*ms)}, send("1", ms, at+3*ms)),
			[]result{{Frame: text("1011")}}},
		{"ringing", join(send("1", ms, at), []hal.Edge{edge(d1, hal.Low, at+42*us), edge(d1, hal.High, at+43*us)}, send("01", ms, at+ms)),
			[]result{{Frame: text("101")}}},
		{"noise of one pulse", send("0", ms, at), []result{{Frame: text("0")}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, timer := range []bool{true, false} {
				got := run(tt.edges, 0, timer)
				for i := range got {
					got[i].At = 0
				}
				if d := cmp.Diff(tt.want, got); d != "" {
					t.Errorf("timer %v: (-want +got):\n%s", timer, d)
				}
			}
		})
	}
}

// A frame that the timer ended too early is told, never continued.
func TestStray(t *testing.T) {
	w := reader.NewWiegand(d0, d1, 0)
	edges, last := pulses("1010", time.Millisecond, time.Hour)
	for _, e := range edges {
		w, _ = w.Step(reader.Input{Edge: e})
	}
	w, out := w.Step(reader.Input{Timeout: true, Now: last + time.Second})
	if out.Frame.Len() != 4 {
		t.Fatalf("got %v", out)
	}
	w, out = w.Step(reader.Input{Edge: hal.Edge{Line: d0, Level: hal.Low, At: last + time.Millisecond}})
	if out.Fault != reader.FaultStray {
		t.Errorf("an edge of before the end: %v", out)
	}
	if got := w.String(); got != "wiegand: broken frame" {
		t.Errorf("state %q", got)
	}
}

func TestSync(t *testing.T) {
	w := reader.NewWiegand(d0, d1, 0).Sync(hal.Low, hal.High)
	if !w.Low(d0) || w.Low(d1) || w.Low("x") {
		t.Error("levels were not taken")
	}
	w, out := w.Step(reader.Input{Edge: hal.Edge{Line: d0, Level: hal.High, At: 1}})
	if _, ok := w.Deadline(); ok || out != (reader.Output{}) {
		t.Errorf("the end of a pulse that began before us is a pulse: %v", out)
	}
}

func TestNothingInClear(t *testing.T) {
	w := reader.NewWiegand(d0, d1, 0)
	edges, _ := pulses(frame26, time.Millisecond, time.Hour)
	for _, e := range edges {
		w, _ = w.Step(reader.Input{Edge: e})
	}
	if got := fmt.Sprintf("%v", w); got != "wiegand: frame of 26 bits" {
		t.Errorf("printed %q", got)
	}
}

// Vectors were made by a second implementation of the formats.
func TestVectors(t *testing.T) {
	raw, err := os.ReadFile("testdata/wiegand.json")
	if err != nil {
		t.Fatal(err)
	}
	var v struct {
		Frames []struct {
			Format string
			Bits   int
			Hex    string
		}
	}
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	if len(v.Frames) == 0 {
		t.Fatal("no vectors")
	}
	for _, f := range v.Frames {
		edges, _ := pulses(haltest.Bits(f.Bits, f.Hex), time.Millisecond, time.Hour)
		got := run(edges, 0, true)
		if len(got) != 1 || got[0].Frame != fmt.Sprintf("%d:%s", f.Bits, f.Hex) {
			t.Errorf("%s %s: got %v", f.Format, f.Hex, got)
		}
	}
}
