package reader_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/agent/card"
	"gatehouse/agent/reader"
	"gatehouse/hal"
)

// script turns fuzz bytes into edges: two bytes an edge, of which the first
// chooses line, level and loss, and both the time since the edge before.
func script(raw []byte) []hal.Edge {
	var out []hal.Edge
	at := time.Hour
	for ; len(raw) >= 2; raw = raw[2:] {
		units := []time.Duration{time.Microsecond, 10 * time.Microsecond, 200 * time.Microsecond, time.Millisecond}
		at += time.Duration(raw[1]) * units[raw[0]>>6]
		e := hal.Edge{Line: d0, Level: hal.Level(raw[0]&2 != 0), At: at}
		if raw[0]&1 != 0 {
			e.Line = d1
		}
		switch raw[0] >> 2 & 0xF {
		case 0xF:
			e.Lost = true
		case 0xE:
			e.Line = "other"
		}
		out = append(out, e)
	}
	return out
}

// naive decodes by looking at the whole recording: it splits it where the
// silence of what came before is over and then judges each part by itself.
func naive(edges []hal.Edge) []result {
	low := map[hal.LineName]bool{}
	rose := map[hal.LineName]time.Duration{}
	var out []result
	var text string        // the bits of this part
	var at []time.Duration // the pulses of this part
	broken, open := false, false
	last := time.Duration(0)
	told := false // this edge has told a fault

	silence := func() time.Duration {
		if broken {
			return 25 * time.Millisecond
		}
		if len(at) == 1 {
			return 25 * time.Millisecond
		}
		longest := time.Duration(0)
		for i := 1; i < len(at); i++ {
			longest = max(longest, at[i]-at[i-1])
		}
		return min(max(4*longest, 5*time.Millisecond), 25*time.Millisecond)
	}
	finish := func() {
		if !broken && (low[d0] || low[d1]) {
			out, told = append(out, result{Fault: reader.FaultHeld}), true
		} else if !broken {
			var b card.Bits
			for _, c := range text {
				b, _ = b.With(c == '1')
			}
			out = append(out, result{Frame: b.Text()})
		}
		text, at, broken, open = "", nil, false, false
	}
	fail := func(f reader.Fault, t time.Duration) {
		if !broken && !told {
			out = append(out, result{Fault: f})
		}
		text, at, broken, open, last = "", nil, true, true, t
	}
	for _, e := range edges {
		told = false
		if e.Lost {
			low[e.Line] = e.Level == hal.Low
			rose = map[hal.LineName]time.Duration{}
			broken = false
			fail(reader.FaultLost, e.At)
			continue
		}
		if open && e.At >= last+silence() {
			finish()
		}
		if e.Line != d0 && e.Line != d1 {
			if e.Level == hal.Low {
				fail(reader.FaultLine, e.At)
			}
			continue
		}
		was, is := low[e.Line], e.Level == hal.Low
		t, before := rose[e.Line]
		low[e.Line] = is
		if !is {
			rose[e.Line] = e.At
		}
		if before && e.At-t < 5*time.Microsecond || was && !is {
			continue
		}
		switch {
		case e.Line == d0 && low[d1] || e.Line == d1 && low[d0]:
			fail(reader.FaultBoth, e.At)
		case broken:
		case len(text) == 256:
			fail(reader.FaultLong, e.At)
		case e.Line == d0:
			text += "0"
		default:
			text += "1"
		}
		if !broken {
			at = append(at, e.At)
		}
		open, last = true, e.At
	}
	if open {
		finish()
	}
	return out
}

func FuzzWiegandFrames(f *testing.F) {
	f.Add([]byte{}, uint16(200))
	f.Add([]byte{0x40, 20, 0x42, 4, 0x41, 20, 0x43, 4}, uint16(1000))
	f.Add([]byte{0x40, 20, 0x41, 4, 0x43, 20, 0x42, 4}, uint16(2000))
	f.Add([]byte{0x3C, 20, 0x38, 4, 0xC0, 255, 0xC2, 0}, uint16(20000))
	f.Add([]byte("a recording of noise that goes on and on and on and on"), uint16(0))
	f.Fuzz(func(t *testing.T, raw []byte, us uint16) {
		edges := script(raw)
		got := run(edges, 0, false)
		for i := range got {
			got[i].At = 0
		}
		want := naive(edges)
		// The decoder gives the end of a frame and a fault of the next as one
		// output; compare them one after the other.
		if d := cmp.Diff(want, split(got)); d != "" {
			t.Fatalf("naive decoder differs (-naive +got):\n%s", d)
		}
		// Timers that fire in time change nothing.
		inTime := run(edges, 0, true)
		for i := range inTime {
			inTime[i].At = 0
		}
		if d := cmp.Diff(frames(got), frames(inTime)); d != "" && !lossy(edges) {
			t.Fatalf("timers change frames (-without +with):\n%s", d)
		}
		// What a reader sends comes back.
		sent := make([]byte, 0, 256)
		for i := 0; i < min(8*len(raw), 256); i++ {
			sent = append(sent, '0'+raw[i/8]>>(i%8)&1)
		}
		if len(sent) == 0 {
			return
		}
		gap := 200*time.Microsecond + time.Duration(us)*time.Microsecond%(19800*time.Microsecond)
		e, last := pulses(string(sent), gap, time.Hour)
		back := run(e, 0, true)
		if len(back) != 1 || back[0].Frame != bits(t, string(sent)).Text() || back[0].At-last > 25*time.Millisecond {
			t.Fatalf("%d bits, one each %v: got %v", len(sent), gap, back)
		}
	})
}

// split makes of an output that has both a frame and a fault two results.
func split(in []result) []result {
	var out []result
	for _, r := range in {
		if r.Frame != "" && r.Fault != reader.FaultNone {
			out = append(out, result{Frame: r.Frame}, result{Fault: r.Fault})
			continue
		}
		out = append(out, r)
	}
	return out
}

func frames(in []result) []string {
	var out []string
	for _, r := range in {
		if r.Frame != "" {
			out = append(out, r.Frame)
		}
	}
	return out
}

// lossy reports whether edges are missing: then a timer that fired has given a
// frame before anybody knew.
func lossy(edges []hal.Edge) bool {
	for _, e := range edges {
		if e.Lost {
			return true
		}
	}
	return false
}
