package sim

import (
	"bufio"
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/hal"
)

// FuzzParse: whatever is accepted names one command, keeps its limits, says the
// same when it is written and read again, and never panics.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		`{"set":"GPIO23","level":1}`, `{"get":"GPIO24"}`, `{"watch":["GPIO24"]}`, `{"list":true}`,
		`{"wiegand":{"d0":"GPIO17","d1":"GPIO18","bits":26,"hex":"26831000"}}`,
		`{"wiegand":{"d0":"A","d1":"B","bits":9,"hex":"ff80","us":200}}`,
		`{"lines":[{"line":"GPIO23","dir":"in","rest":1}]}`, `{"own":["GPIO24"],"level":0}`,
		`{"disown":["A"]}`, `{"drive":"GPIO24","level":1}`, `{"clock":{"trusted":false}}`, `{"clock":{"watch":true}}`,
		`{"fault":{"line":"GPIO24","stuck":1}}`, `{`, `null`, `{"set":null}`, `{"set":"A","level":1e0}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parse(b)
		if err != nil {
			return
		}
		if r.Wiegand != nil {
			if n := len(r.Wiegand.edges()); n != 2*r.Wiegand.Bits || n > 2*MaxBits {
				t.Fatalf("%d edges of %d bits", n, r.Wiegand.Bits)
			}
		}
		again, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		back, err := parse(again)
		if err != nil {
			t.Fatalf("%s does not parse again: %v", again, err)
		}
		if diff := cmp.Diff(r, back); diff != "" {
			t.Fatalf("(-first +again):\n%s", diff)
		}
	})
}

// FuzzParseMessage: an event that is accepted is whole.
func FuzzParseMessage(f *testing.F) {
	f.Add([]byte(`{"line":"GPIO24","level":1,"at":81234567890}`))
	f.Add([]byte(`{"clock":{"trusted":true},"at":1}`))
	f.Add([]byte(`{"error":"x","code":"busy"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parseMessage(b)
		if err == nil && m.At != nil && m.Clock == nil && (m.Level == nil || m.Line == "") {
			t.Fatalf("accepted %q", b)
		}
	})
}

func TestReadLine(t *testing.T) {
	in := "one\r\n\n" + strings.Repeat("x", MaxLine) + "\n" + strings.Repeat("y", MaxLine+1) + "\nlast"
	r := bufio.NewReaderSize(bytes.NewBufferString(in), 16)
	type line struct {
		Len  int
		Long bool
		End  bool
	}
	var got []line
	for range 5 {
		b, long, err := readLine(r)
		got = append(got, line{len(b), long, err != nil})
	}
	want := []line{{Len: 3}, {}, {Len: MaxLine}, {Long: true}, {Len: 4, End: true}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestDebounce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(nil, 8, []hal.Input{{Line: "A", Debounce: 10 * time.Millisecond}})
		g.begin([]lineState{{Line: "A", Level: 1}})
		ms := time.Millisecond
		at := time.Duration(0)
		for _, step := range []struct {
			wait  time.Duration
			level hal.Level
		}{{0, hal.Low}, {3 * ms, hal.High}, {30 * ms, hal.Low}, {9 * ms, hal.High}, {9 * ms, hal.Low}, {20 * ms, hal.High}} {
			time.Sleep(step.wait)
			at += step.wait
			g.edge(hal.Edge{Line: "A", Level: step.level, At: at})
		}
		time.Sleep(5 * ms)
		g.end()
		var got []hal.Edge
		for e := range g.Edges() {
			got = append(got, e)
		}
		want := []hal.Edge{{Line: "A", Level: hal.Low, At: 61 * ms}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}
