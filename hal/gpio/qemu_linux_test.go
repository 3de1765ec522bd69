package gpio_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/hal"
)

// The lines of the emulated machine. The kernel holds the power button's itself
// (gpio-keys of the machine's device tree).
const (
	lineD0 = iota
	lineD1
	lineStrike
	linePower
	lineContact
	lineRex
	lineLED
	lineSpare
)

// rest is what the wires are when nothing happens: contact closed, exit button
// released, D0 and D1 idle.
var rest = [8]bool{lineD0: true, lineD1: true, lineRex: true}

const (
	// half is the time between two edges of a reader, half of that between two
	// bits. The emulated processor is some fifty times slower than a real one,
	// and so is the kernel's way from an interrupt to the queue.
	half = 3 * time.Millisecond
	// apace: two bits of a frame that are farther apart than this were held up
	// here or in the emulator. A reader ends a frame of this pace after 25 ms.
	apace = 20 * time.Millisecond
	// settled is longer than any frame's end, 25 ms, and than a debounce.
	settled = 100 * time.Millisecond
	// safeWithin is design.md promise 2.
	safeWithin = 2 * time.Second
	// soon bounds what a real machine does at once.
	soon = 10 * time.Second
)

// person is somebody with a card.
type person struct {
	name             string
	format           string
	facility, number uint64
}

func (p person) frame() frame {
	if p.format == "H10304" {
		return wiegand(16, 19, p.facility, p.number)
	}
	return wiegand(8, 16, p.facility, p.number)
}

// people have cards of few and many changes between D0 and D1.
var people = []person{
	{"Ada", "H10301", 77, 1568}, {"Bob", "H10304", 700, 200802}, {"Cem", "H10301", 0x55, 0x5555},
	{"Dee", "H10304", 0x5555, 0x2aaaa}, {"Eva", "H10301", 255, 65534}, {"Flo", "H10304", 1, 1},
	{"Gus", "H10301", 0xcc, 0xf0f0}, {"Hal", "H10304", 0xaaaa, 0x55555},
}

func cards() string {
	var b strings.Builder
	b.WriteString("holder,format,facility,card,rights\n")
	for _, p := range people {
		fmt.Fprintf(&b, "%s,%s,%d,%d,front\n", p.name, p.format, p.facility, p.number)
	}
	return b.String()
}

// TestFrame checks the frames of these tests against ones that other programs
// made.
func TestFrame(t *testing.T) {
	for _, tt := range []struct {
		p    person
		want string
	}{{people[0], "26:26831000"}, {people[1], "37:815E310628"}} {
		if got := tt.p.frame().hex(); got != tt.want {
			t.Errorf("%s %d/%d is %s, want %s", tt.p.format, tt.p.facility, tt.p.number, got, tt.want)
		}
	}
}

// TestQEMU runs hal/gpio, and the whole agent on it, on the GPIO lines of a real
// arm64 kernel in an emulator: what goes in and what comes out is done and seen
// from outside. `make test-gpio` prepares it and runs it.
func TestQEMU(t *testing.T) {
	from := os.Getenv("GATEHOUSE_QEMU")
	if from == "" {
		t.Skip("GATEHOUSE_QEMU names no folder of kernel and programs: make test-gpio prepares one")
	}
	files := map[string]string{"cards.csv": cards()}
	for name, text := range sites {
		files[name+".yaml"] = fmt.Sprintf(header, name) + text
	}
	start := time.Now()
	m := boot(t, filepath.Join(from, "vmlinuz"), pack(t, from, files))
	t.Logf("the machine runs after %v", time.Since(start).Round(time.Millisecond))
	t.Run("claims", m.testClaims)
	t.Run("edges", m.testEdges)
	t.Run("safe at start", m.testStart)
	t.Run("cards", m.testCards)
	t.Run("door", m.testDoor)
	t.Run("alarm", m.testAlarm)
	t.Run("interlock", m.testInterlock)
	t.Run("fire and panic", m.testFire)
	t.Run("order under load", m.testOrder)
	t.Run("kill", m.testKill)
}

// testClaims: a line has one holder, be it the kernel, another program or
// another part of this one.
func (m *machine) testClaims(t *testing.T) {
	var want []string
	for i := range 8 {
		want = append(want, fmt.Sprintf("gpiochip0:%d", i))
	}
	if diff := cmp.Diff(want, m.mustRun(t, "/init", "lines")); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
	holder := m.start(t, "/init", "hold", "gpiochip0:7", "high")
	holder.says(t, "held", soon)
	group := m.start(t, "/init", "watch", "gpiochip0:0", "gpiochip0:1")
	group.says(t, "held", soon)
	for _, tt := range []struct {
		name string
		args []string
		want string
	}{
		{"an output, again", []string{"hold", "gpiochip0:7", "low"}, hal.ErrBusy.Error()},
		{"an output, as input", []string{"watch", "gpiochip0:7"}, hal.ErrBusy.Error()},
		{"an input, as output", []string{"hold", "gpiochip0:1", "high"}, hal.ErrBusy.Error()},
		{"one of a group", []string{"watch", "gpiochip0:5", "gpiochip0:0"}, hal.ErrBusy.Error()},
		{"the kernel's own", []string{"hold", fmt.Sprint("gpiochip0:", linePower), "high"}, hal.ErrBusy.Error()},
		{"one that is not there", []string{"hold", "gpiochip0:8", "high"}, hal.ErrNoLine.Error()},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out, exit := m.run(t, append([]string{"/init"}, tt.args...)...)
			if got := strings.Join(out, "\n"); exit != 1 || !strings.Contains(got, tt.want) {
				t.Errorf("exit code %d, %q; want 1 and %q", exit, got, tt.want)
			}
		})
	}
	if got := m.since(0, lineSpare); len(got) != 1 || !got[0].high {
		t.Errorf("the held output changed: %v", got)
	}
	// A holder that is killed cannot give anything back itself.
	holder.signal(t, 9)
	holder.wait(t, soon)
	again := m.start(t, "/init", "hold", "gpiochip0:7", "high")
	again.says(t, "held", soon)
	again.signal(t, 15)
	if code := again.wait(t, soon); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if got := m.since(0, lineSpare); len(got) != 1 {
		t.Errorf("a line that was high and is claimed high changed: %v", got)
	}
}

// testEdges: each edge arrives once, in order, with a stamp of the moment.
func (m *machine) testEdges(t *testing.T) {
	begun := time.Now()
	got := m.edges(t, people[3:4], m.present, 0)
	if d := got[len(got)-1].At - got[0].At; d > time.Since(begun) || d < time.Duration(len(people[3].frame())-1)*2*half {
		t.Errorf("by the stamps the frame took %v", d)
	}
	// Pulses as short as those of a real reader are for this processor, which now
	// and then stands still for longer than it takes to send two.
	m.edges(t, people, m.flash, 3)
}

// edges presents cards and wants each pulse at the other end, in order: as two
// edges or, where the kernel's thread was late, as one to the level that the line
// had. So many may be amiss. It returns the edges.
func (m *machine) edges(t *testing.T, cards []person, present func(*testing.T, frame) bool, amiss int) []hal.Edge {
	t.Helper()
	p := m.start(t, "/init", "watch", "gpiochip0:0", "gpiochip0:1")
	p.says(t, "held", soon)
	var want, pulses []hal.LineName
	for _, c := range cards {
		f := c.frame()
		for _, one := range f {
			want = append(want, hal.LineName(fmt.Sprint("gpiochip0:", lineOf(one))))
		}
		if !present(t, f) {
			amiss++ // the kernel was held up as well
		}
	}
	time.Sleep(5 * settled)
	p.signal(t, 15)
	p.wait(t, bootLimit)
	out, _ := p.said()
	var got []hal.Edge
	lost := 0
	low := map[hal.LineName]bool{}
	for i, line := range out[1:] {
		var e hal.Edge
		var level string
		if _, err := fmt.Sscan(line, &e.Line, &level, &e.At, &e.Lost); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		e.Level = level == hal.High.String()
		if e.Lost {
			lost++
		}
		if i > 0 && e.At <= got[i-1].At {
			t.Errorf("edge %d: %+v after %+v", i, e, got[i-1])
		}
		if e.Level == hal.Low || !low[e.Line] {
			pulses = append(pulses, e.Line)
		}
		low[e.Line] = e.Level == hal.Low
		got = append(got, e)
	}
	t.Logf("%d pulses came as %d edges; a loss was told %d times", len(want), len(got), lost)
	if diff := cmp.Diff(want, pulses); diff != "" && amiss == 0 {
		t.Errorf("pulses (-want +got):\n%s", diff)
	}
	if d := len(pulses) - len(want); max(d, -d, lost) > amiss {
		t.Fatalf("%d pulses came of %d", len(pulses), len(want))
	}
	return got
}

// lineOf is the line on which a reader sends a bit.
func lineOf(one bool) int {
	if one {
		return lineD1
	}
	return lineD0
}

// present sends a frame as a reader does and reports whether it kept its pace:
// a frame that was held up here or in the emulator may be read as two, and is no
// fault of anybody.
func (m *machine) present(t *testing.T, f frame) bool {
	t.Helper()
	kept := true
	var last time.Time
	for _, one := range f {
		line := lineOf(one)
		for _, high := range []bool{false, true} {
			begun := time.Now()
			m.set(line, high)
			if !m.taken(line, soon) {
				t.Fatalf("the kernel does not take an edge of line %d", line)
			}
			if !high {
				if !last.IsZero() && time.Since(last) > apace {
					kept = false
				}
				last = begun
			}
			time.Sleep(half) // the pace of a reader
		}
	}
	return kept
}

// event is what the tests look at.
type event struct {
	Kind, Reason, Holder string
	Cleared              bool
}

// flash sends a frame in pulses that may be over before the kernel looks.
func (m *machine) flash(t *testing.T, f frame) bool {
	t.Helper()
	for _, one := range f {
		m.set(lineOf(one), false)
		m.set(lineOf(one), true)
		if !m.taken(lineOf(one), soon) {
			t.Fatalf("the kernel does not take an edge of line %d", lineOf(one))
		}
		time.Sleep(2 * half)
	}
	return true
}

// guest is an agent that runs in the machine.
type guest struct {
	m      *machine
	name   string
	run    *program
	events *program

	access int       // access events that were looked at
	held   int       // frames that were held up on their way
	broken int       // frames of which the agent said that they were not whole
	last   time.Time // end of the last frame
}

// agent starts an agent with its own state, enrols the people and follows its
// events.
func (m *machine) agent(t *testing.T, name string) *guest {
	t.Helper()
	g := &guest{m: m, name: name}
	g.run = m.start(t, "/gatehouse", "run", "--config", "/"+name+".yaml")
	t.Cleanup(func() {
		g.run.signal(t, 15)
		m.until(soon, func() bool { return g.run.ended })
	})
	g.waitReady(t)
	g.do(t, "credential", "import", "/cards.csv")
	g.events = m.start(t, "/gatehouse", "events", "tail", "--last", "1000", "--json", "--config", "/"+name+".yaml")
	g.events.says(t, `"policy"`, soon)
	return g
}

// swipe presents a card and wants one access event for it. A frame that was held
// up, or that the agent says was not whole, is presented again: but it is never
// taken for another one. Under load the emulated agent may not run for as long as
// the silence that ends a frame.
func (g *guest) swipe(t *testing.T, p person, want event) {
	t.Helper()
	for range 60 {
		drops, limit := g.drops(), soon
		kept := g.m.present(t, p.frame())
		if g.last = time.Now(); !kept || g.tampered() { // a tamper event keeps drops out of the log
			limit = time.Second
		}
		g.m.until(limit, func() bool {
			return len(pick(g.events.out, []string{"access"})) > g.access || countDrops(g.run.err) > drops
		})
		got := g.seen("access")[g.access:]
		if len(got) != 1 || got[0] != want {
			time.Sleep(5 * settled) // for what else comes of it
			got = g.seen("access")[g.access:]
		}
		g.access += len(got)
		switch {
		case len(got) == 1 && got[0] == want:
			return
		case slices.ContainsFunc(got, func(e event) bool { return e.Reason == "granted" && e != want }):
			t.Fatalf("%s was read as %v", p.name, got)
		case !kept:
			g.held++
		case limit == soon && g.drops() == drops && len(got) == 0:
			t.Fatalf("%s came to nothing", p.name)
		default:
			g.broken++
		}
		if slices.Contains(got, want) {
			return
		}
	}
	t.Fatal("this machine is too slow to send a frame at its pace")
}

// tampered reports whether the last tamper event stands.
func (g *guest) tampered() bool {
	got := g.seen("tamper")
	return len(got) > 0 && !got[len(got)-1].Cleared
}

// drops counts the frames that the agent says it dropped.
func (g *guest) drops() int {
	_, errs := g.run.said()
	return countDrops(errs)
}

func countDrops(lines []string) (n int) {
	for _, l := range lines {
		if strings.Contains(l, "reader frame dropped") {
			n++
		}
	}
	return n
}

func (g *guest) command(args ...string) []string {
	return append(append([]string{"/gatehouse"}, args...), "--config", "/"+g.name+".yaml")
}

func (g *guest) do(t *testing.T, args ...string) {
	t.Helper()
	g.m.mustRun(t, g.command(args...)...)
}

func (g *guest) waitReady(t *testing.T) {
	t.Helper()
	for end := time.Now().Add(bootLimit); ; {
		out, exit := g.m.run(t, g.command("status")...)
		if exit == 0 {
			return
		}
		if time.Now().After(end) || g.run.done() {
			t.Fatalf("the agent is not ready: %s", strings.Join(out, "\n"))
		}
	}
}

// seen returns the events so far that are of one of the kinds.
func (g *guest) seen(kinds ...string) []event {
	out, _ := g.events.said()
	return pick(out, kinds)
}

func pick(lines, kinds []string) []event {
	var got []event
	for _, line := range lines {
		var e event
		if json.Unmarshal([]byte(line), &e) == nil && slices.Contains(kinds, e.Kind) {
			got = append(got, e)
		}
	}
	return got
}

// expect waits until the events of the kinds are want.
func (g *guest) expect(t *testing.T, want []event, kinds ...string) {
	t.Helper()
	g.m.until(soon, func() bool { return g.events.ended || len(pick(g.events.out, kinds)) >= len(want) })
	if diff := cmp.Diff(want, g.seen(kinds...)); diff != "" {
		t.Errorf("events %v (-want +got):\n%s", kinds, diff)
	}
}
