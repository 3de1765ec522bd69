package sim_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/hal"
	"gatehouse/hal/sim"
)

// patience is for what happens at once unless the machine is busy.
const patience = 20 * time.Second

const holderEnv, agentEnv = "SIM_TEST_HOLDER", "SIM_TEST_AGENT"

// TestMain lets the test binary be a holder or an agent that is killed.
func TestMain(m *testing.M) {
	switch {
	case os.Getenv(holderEnv) != "":
		h := sim.NewHolder(sim.HolderConfig{Path: os.Getenv(holderEnv), Linger: time.Second})
		if err := h.Run(context.Background()); err != nil && !errors.Is(err, sim.ErrHeld) {
			os.Exit(1)
		}
		os.Exit(0)
	case os.Getenv(agentEnv) != "":
		os.Exit(agent(os.Getenv(agentEnv)))
	}
	os.Exit(m.Run())
}

// agent opens the strike, says so, and hangs.
func agent(path string) int {
	b, err := sim.Dial(context.Background(), path)
	if err != nil {
		return 1
	}
	if err := b.Declare(board...); err != nil {
		return 1
	}
	o, err := b.Output(hal.Output{Line: "GPIO24"})
	if err != nil || o.Set(hal.High) != nil {
		return 1
	}
	fmt.Println("open")
	select {}
}

var board = []sim.Line{
	{Name: "GPIO17", Dir: sim.In, Rest: hal.High},
	{Name: "GPIO18", Dir: sim.In, Rest: hal.High},
	{Name: "GPIO23", Dir: sim.In},
	{Name: "GPIO24", Dir: sim.Out},
}

// hold serves a socket until the test ends and returns its path.
func hold(t *testing.T) string {
	t.Helper()
	path := filepath.Join(short(t), "sim.sock")
	h := sim.NewHolder(sim.HolderConfig{Path: path, Linger: time.Hour, Grace: 50 * time.Millisecond})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- h.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	select {
	case <-h.Ready():
	case err := <-done:
		done <- nil
		t.Fatalf("holder ended: %v", err)
	}
	return path
}

// short is a folder whose path leaves room for a socket's name.
func short(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "sim")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// dial returns a board with its lines declared.
func dial(t *testing.T, path string) *sim.Board {
	t.Helper()
	b, err := sim.Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := b.Declare(board...); err != nil {
		t.Fatal(err)
	}
	return b
}

// peer speaks the lines themselves.
type peer struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Scanner
}

func speak(t *testing.T, path string) *peer {
	t.Helper()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return &peer{t: t, conn: c, r: bufio.NewScanner(c)}
}

func (p *peer) say(line string) {
	p.t.Helper()
	if _, err := p.conn.Write([]byte(line + "\n")); err != nil {
		p.t.Fatal(err)
	}
}

func (p *peer) hear() string {
	p.t.Helper()
	if !p.r.Scan() {
		p.t.Fatalf("connection ended: %v", p.r.Err())
	}
	return p.r.Text()
}

func TestProtocol(t *testing.T) {
	path := hold(t)
	dial(t, path)
	tests := []struct{ name, say, want string }{
		{"not JSON", `open the door`, "bad"},
		{"nothing", `{}`, "bad"},
		{"array", `[]`, "bad"},
		{"two commands", `{"get":"GPIO24","list":true}`, "bad"},
		{"two objects", `{"list":true}{"list":true}`, "bad"},
		{"unknown member", `{"get":"GPIO24","why":1}`, "bad"},
		{"unknown line", `{"get":"GPIO99"}`, "no_line"},
		{"name too long", `{"get":"` + strings.Repeat("x", 33) + `"}`, "bad"},
		{"name with space", `{"get":"GPIO 24"}`, "bad"},
		{"no level", `{"set":"GPIO23"}`, "bad"},
		{"level 2", `{"set":"GPIO23","level":2}`, "bad"},
		{"level true", `{"set":"GPIO23","level":true}`, "bad"},
		{"level with get", `{"get":"GPIO23","level":1}`, "bad"},
		{"set an output", `{"set":"GPIO24","level":1}`, "bad"},
		{"drive unowned", `{"drive":"GPIO24","level":1}`, "bad"},
		{"drive an input", `{"drive":"GPIO23","level":1}`, "bad"},
		{"own output without level", `{"own":["GPIO24"]}`, "bad"},
		{"own input with level", `{"own":["GPIO23"],"level":0}`, "bad"},
		{"own twice in one", `{"own":["GPIO23","GPIO23"]}`, "bad"},
		{"own nothing", `{"own":[]}`, "bad"},
		{"disown unowned", `{"disown":["GPIO24"]}`, "bad"},
		{"watch unknown", `{"watch":["GPIO24","GPIO99"]}`, "no_line"},
		{"bad dir", `{"lines":[{"line":"X","dir":"up"}]}`, "bad"},
		{"bad rest", `{"lines":[{"line":"X","dir":"in","rest":7}]}`, "bad"},
		{"wiegand no bits", `{"wiegand":{"d0":"GPIO17","d1":"GPIO18","bits":0,"hex":""}}`, "bad"},
		{"wiegand 257 bits", `{"wiegand":{"d0":"GPIO17","d1":"GPIO18","bits":257,"hex":"` + strings.Repeat("00", 33) + `"}}`, "bad"},
		{"wiegand short hex", `{"wiegand":{"d0":"GPIO17","d1":"GPIO18","bits":26,"hex":"268310"}}`, "bad"},
		{"wiegand unused bits", `{"wiegand":{"d0":"GPIO17","d1":"GPIO18","bits":26,"hex":"26831001"}}`, "bad"},
		{"wiegand one line", `{"wiegand":{"d0":"GPIO17","d1":"GPIO17","bits":8,"hex":"00"}}`, "bad"},
		{"wiegand on an output", `{"wiegand":{"d0":"GPIO17","d1":"GPIO24","bits":8,"hex":"00"}}`, "bad"},
		{"wiegand unknown line", `{"wiegand":{"d0":"GPIO17","d1":"GPIO99","bits":8,"hex":"00"}}`, "no_line"},
		{"wiegand too fast", `{"wiegand":{"d0":"GPIO17","d1":"GPIO18","bits":8,"hex":"00","us":10}}`, "bad"},
		{"too long", `{"get":"` + strings.Repeat("x", sim.MaxLine) + `"}`, "bad"},
		{"get", `{"get":"GPIO17"}`, `{"line":"GPIO17","level":1}`},
		{"set", `{"set":"GPIO23","level":1}`, `{"line":"GPIO23","level":1}`},
		{"windows line end", "{\"get\":\"GPIO23\"}\r", `{"line":"GPIO23","level":1}`},
		{"clock", `{"clock":{"trusted":false}}`, `{"clock":{"trusted":false}}`},
		{"list", `{"list":true}`, `{"lines":[{"line":"GPIO17","level":1,"dir":"in"},{"line":"GPIO18","level":1,"dir":"in"},{"line":"GPIO23","level":1,"dir":"in"},{"line":"GPIO24","level":0,"dir":"out"}]}`},
	}
	p := speak(t, path) // one connection: it must stay up through all of them
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p.say(tt.say)
			got, want := p.hear(), tt.want
			if !strings.HasPrefix(want, "{") {
				if !strings.Contains(got, `"error":`) || !strings.HasSuffix(got, `"code":"`+want+`"}`) {
					t.Errorf("answer %s, want an error of code %s", got, want)
				}
				return
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
		})
	}
}

func TestLastLineWithoutEnd(t *testing.T) {
	path := hold(t)
	dial(t, path)
	p := speak(t, path)
	if _, err := p.conn.Write([]byte(`{"get":"GPIO17"}`)); err != nil {
		t.Fatal(err)
	}
	if err := p.conn.(*net.UnixConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got := p.hear(); got != `{"line":"GPIO17","level":1}` {
		t.Errorf("answer %s", got)
	}
}

func TestWatch(t *testing.T) {
	path := hold(t)
	b := dial(t, path)
	p := speak(t, path)
	p.say(`{"watch":["GPIO24","GPIO23"]}`)
	if got, want := p.hear(), `{"lines":[{"line":"GPIO24","level":0,"dir":"out"},{"line":"GPIO23","level":0,"dir":"in"}]}`; got != want {
		t.Fatalf("first answer %s, want %s", got, want)
	}
	o, err := b.Output(hal.Output{Line: "GPIO24", Initial: hal.High})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Set("GPIO23", hal.High); err != nil {
		t.Fatal(err)
	}
	if err := b.Set("GPIO23", hal.High); err != nil { // no change, no line
		t.Fatal(err)
	}
	if err := o.Set(hal.Low); err != nil {
		t.Fatal(err)
	}
	var last int64
	for _, want := range []string{`{"line":"GPIO24","level":1,"at":`, `{"line":"GPIO23","level":1,"at":`, `{"line":"GPIO24","level":0,"at":`} {
		got := p.hear()
		rest, ok := strings.CutPrefix(got, want)
		if !ok {
			t.Fatalf("event %s, want %s…", got, want)
		}
		var at int64
		if _, err := fmt.Sscanf(rest, "%d}", &at); err != nil || at < last || at == 0 {
			t.Errorf("event %s after %d: %v", got, last, err)
		}
		last = at
	}
}

func TestExclusive(t *testing.T) {
	path := hold(t)
	first, second := dial(t, path), dial(t, path)
	o, err := first.Output(hal.Output{Line: "GPIO24", Initial: hal.High})
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string]*sim.Board{"same board": first, "another": second} {
		if _, err := b.Output(hal.Output{Line: "GPIO24"}); !errors.Is(err, hal.ErrBusy) {
			t.Errorf("%s: Output = %v, want ErrBusy", name, err)
		}
	}
	if err := second.Set("GPIO24", hal.Low); err == nil {
		t.Error("an outsider set an output")
	}
	if err := second.Declare(sim.Line{Name: "GPIO24", Dir: sim.In}); !errors.Is(err, hal.ErrBusy) {
		t.Errorf("Declare turned an owned output: %v", err)
	}
	if l, err := second.Level("GPIO24"); err != nil || l != hal.High {
		t.Errorf("level %v, %v after refused claims, want high", l, err)
	}
	if _, err := second.Output(hal.Output{Line: "GPIO99"}); !errors.Is(err, hal.ErrNoLine) {
		t.Errorf("Output of an unknown line = %v, want ErrNoLine", err)
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	if l, err := second.Level("GPIO24"); err != nil || l != hal.High {
		t.Errorf("level %v, %v after Close, want it to stay high", l, err)
	}
	if err := o.Set(hal.Low); err == nil {
		t.Error("Set after Close worked")
	}
	if _, err := second.Output(hal.Output{Line: "GPIO24"}); err != nil {
		t.Errorf("Output after Close: %v", err)
	}
	if _, err := second.Inputs(8, hal.Input{Line: "GPIO23"}); err != nil {
		t.Fatal(err)
	}
	if _, err := first.Inputs(8, hal.Input{Line: "GPIO17"}, hal.Input{Line: "GPIO23"}); !errors.Is(err, hal.ErrBusy) {
		t.Errorf("Inputs = %v, want ErrBusy", err)
	}
	if _, err := second.Inputs(8, hal.Input{Line: "GPIO17"}); err != nil {
		t.Errorf("a refused group kept a line: %v", err)
	}
}

// A claim right after the owner's end must not find the owner's shadow.
func TestClaimAfterEnd(t *testing.T) {
	path := hold(t)
	for range 50 {
		b, err := sim.Dial(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Declare(board...); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Output(hal.Output{Line: "GPIO24"}); err != nil {
			t.Fatal(err)
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestLevelsOutliveClient(t *testing.T) {
	path := hold(t)
	b, err := sim.Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Declare(board...); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Output(hal.Output{Line: "GPIO24", Initial: hal.High}); err != nil {
		t.Fatal(err)
	}
	if err := b.Set("GPIO23", hal.High); err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Level("GPIO24"); !errors.Is(err, hal.ErrClosed) {
		t.Errorf("Level after Close = %v, want ErrClosed", err)
	}
	again := dial(t, path) // declares the lines once more, with their rest levels
	for _, n := range []hal.LineName{"GPIO23", "GPIO24"} {
		if l, err := again.Level(n); err != nil || l != hal.High {
			t.Errorf("%s is %v, %v in the next client, want high", n, l, err)
		}
	}
	if err := again.Declare(sim.Line{Name: "GPIO23", Dir: sim.Out, Rest: hal.Low}); err != nil {
		t.Fatal(err)
	}
	if l, err := again.Level("GPIO23"); err != nil || l != hal.Low {
		t.Errorf("a line that changed its direction is %v, %v, want its rest level", l, err)
	}
}

func TestWiegand(t *testing.T) {
	path := hold(t)
	b, hand := dial(t, path), dial(t, path)
	g, err := b.Inputs(1024, hal.Input{Line: "GPIO17"}, hal.Input{Line: "GPIO18"})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		bits int
		data []byte
		pace time.Duration
	}{
		{"one bit", 1, []byte{0x80}, 0},
		{"26 bits", 26, []byte{0x26, 0x83, 0x10, 0x00}, 0},
		{"37 bits, fast", 37, []byte{0x81, 0x5e, 0x31, 0x06, 0x28}, 200 * time.Microsecond},
		{"256 bits", 256, []byte(strings.Repeat("\xa5", 32)), 300 * time.Microsecond},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := sim.Frame{D0: "GPIO17", D1: "GPIO18", Bits: tt.bits, Data: tt.data, Pace: tt.pace}
			if err := hand.Wiegand(t.Context(), f); err != nil {
				t.Fatal(err)
			}
			step := tt.pace
			if step == 0 {
				step = time.Millisecond
			}
			var start time.Duration
			for i := range tt.bits {
				line := hal.LineName("GPIO17")
				if tt.data[i/8]>>(7-i%8)&1 == 1 {
					line = "GPIO18"
				}
				fall, rise := <-g.Edges(), <-g.Edges()
				if i == 0 {
					start = fall.At
				}
				at := start + time.Duration(i)*step
				want := []hal.Edge{{Line: line, Level: hal.Low, At: at}, {Line: line, Level: hal.High, At: at + 50*time.Microsecond}}
				if diff := cmp.Diff(want, []hal.Edge{fall, rise}); diff != "" {
					t.Fatalf("bit %d (-want +got):\n%s", i, diff)
				}
			}
		})
	}
}

func TestWiegandBusyLines(t *testing.T) {
	path := hold(t)
	b := dial(t, path)
	p := speak(t, path)
	p.say(`{"wiegand":{"d0":"GPIO17","d1":"GPIO18","bits":80,"hex":"` + strings.Repeat("00", 10) + `","us":100000}}`)
	for deadline := time.Now().Add(patience); ; {
		err := b.Set("GPIO17", hal.High)
		if errors.Is(err, hal.ErrBusy) {
			break
		}
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("Set of a line in use: %v", err)
		}
	}
	err := b.Wiegand(t.Context(), sim.Frame{D0: "GPIO17", D1: "GPIO18", Bits: 1, Data: []byte{0}})
	if !errors.Is(err, hal.ErrBusy) {
		t.Errorf("a second frame on the lines: %v, want ErrBusy", err)
	}
	if err := b.Set("GPIO23", hal.High); err != nil {
		t.Errorf("a third line: %v", err)
	}
}

func TestEdgesLostAndOrder(t *testing.T) {
	path := hold(t)
	b, hand := dial(t, path), dial(t, path)
	g, err := b.Inputs(4, hal.Input{Line: "GPIO17"}, hal.Input{Line: "GPIO23"})
	if err != nil {
		t.Fatal(err)
	}
	set := func(n hal.LineName, l hal.Level) {
		t.Helper()
		if err := hand.Set(n, l); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 5 { // 10 changes into a queue of 4
		set("GPIO17", i%2 == 1)
		set("GPIO23", i%2 == 0)
	}
	if _, err := b.Level("GPIO17"); err != nil { // its answer follows the events
		t.Fatal(err)
	}
	for i := range 4 {
		e := <-g.Edges()
		if want := []hal.LineName{"GPIO17", "GPIO23"}[i%2]; e.Line != want || e.Lost {
			t.Errorf("edge %d = %+v, want line %s", i, e, want)
		}
	}
	set("GPIO17", hal.High)
	if e := <-g.Edges(); !e.Lost || e.Line != "GPIO17" {
		t.Errorf("edge after the loss = %+v, want Lost", e)
	}
	set("GPIO17", hal.Low)
	if e := <-g.Edges(); e.Lost {
		t.Errorf("edge = %+v, want the loss told once", e)
	}
	if l, err := g.Read("GPIO23"); err != nil || l != hal.High {
		t.Errorf("Read = %v, %v", l, err)
	}
	if _, err := g.Read("GPIO18"); !errors.Is(err, hal.ErrNoLine) {
		t.Errorf("Read of another line = %v, want ErrNoLine", err)
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	if _, ok := <-g.Edges(); ok {
		t.Error("an edge after Close")
	}
	if _, err := g.Read("GPIO23"); !errors.Is(err, hal.ErrClosed) {
		t.Errorf("Read after Close = %v, want ErrClosed", err)
	}
	if _, err := hand.Inputs(1, hal.Input{Line: "GPIO17"}); err != nil {
		t.Errorf("Inputs after Close: %v", err)
	}
}

func TestFaults(t *testing.T) {
	path := hold(t)
	b, hand := dial(t, path), dial(t, path)
	o, err := b.Output(hal.Output{Line: "GPIO24"})
	if err != nil {
		t.Fatal(err)
	}
	level := func(want hal.Level) {
		t.Helper()
		if l, err := hand.Level("GPIO24"); err != nil || l != want {
			t.Errorf("level %v, %v, want %v", l, err, want)
		}
	}
	if err := hand.Stick("GPIO24", hal.High); err != nil {
		t.Fatal(err)
	}
	level(hal.High)
	if err := o.Set(hal.Low); err != nil {
		t.Fatal(err)
	}
	level(hal.High)
	if err := hand.Release("GPIO24"); err != nil {
		t.Fatal(err)
	}
	level(hal.Low)
	if err := hand.Refuse("GPIO24"); err != nil {
		t.Fatal(err)
	}
	if err := o.Set(hal.High); err == nil {
		t.Error("Set of a line that refuses worked")
	}
	level(hal.Low)
}

func TestClock(t *testing.T) {
	path := hold(t)
	b, hand := dial(t, path), dial(t, path)
	c := b.Clock()
	if !c.Synchronised() {
		t.Error("a new board's clock is not trusted")
	}
	if err := hand.Trust(false); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Lines(); err != nil { // its answer follows the news
		t.Fatal(err)
	}
	if c.Synchronised() {
		t.Error("the clock is trusted after it was taken back")
	}
	if dial(t, path).Clock().Synchronised() {
		t.Error("the next client trusts the clock")
	}
}
