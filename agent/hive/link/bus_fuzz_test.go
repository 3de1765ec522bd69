package link_test

import (
	"bytes"
	"strings"
	"testing"

	"gatehouse/agent/hive"
	"gatehouse/agent/hive/link"
	"gatehouse/hal/haltest"
)

// FuzzBusLine gives a bus anything while an answer is awaited: it is taken only
// where it is signed by the device and has the numbers, and nothing opens.
func FuzzBusLine(f *testing.F) {
	zeros := `"random_response":[` + strings.TrimSuffix(strings.Repeat("0,", 16), ",") + `]`
	f.Add([]byte(sign(f, "d0", `{`+zeros+`,"operation":"idle"}`)))
	f.Add([]byte(sign(f, "d0", `{`+zeros+`,"to":"d0","operation":"idle"}`)))
	f.Add([]byte(sign(f, "d1", `{`+zeros+`,"operation":"idle"}`)))
	f.Add([]byte(sign(f, "d0", `{"random_response":[1],"operation":"idle"}`)))
	f.Add([]byte(`{"device":"d0","data":{},"checksum":""}`))
	f.Add([]byte(`{"device":"zz","data":{},"checksum":""}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		w := newWorld()
		deps := w.deps()
		deps.Ports, deps.Counters = &haltest.Ports{}, &counters{}
		s, err := link.New(busConfig(2, 115200), deps)
		if err != nil {
			t.Fatal(err)
		}
		taken := link.HearOnBus(s, line)
		if w.openings() != 0 {
			t.Fatal("a door opened")
		}
		env, err := hive.ParseRequest(line)
		want := err == nil && env.Device == "d0" && hive.Verify(keys["d0"], env.Data, env.Checksum) &&
			!env.Data.Get("to").Present() && bytes.Contains(line, []byte("random_response")) && len(env.Data.Get("random_response").Elems()) == 16
		for _, v := range env.Data.Get("random_response").Elems() {
			n, ok := v.Int()
			want = want && ok && n == 0
		}
		if taken != want {
			t.Errorf("taken %v, want %v", taken, want)
		}
	})
}

// openings returns how often doors opened.
func (w *world) openings() int { return w.state().Opened }
