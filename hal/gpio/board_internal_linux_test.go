package gpio

// These tests are inside the package because the seam, the kernel, is. A chip
// of real lines is for the suite that runs on a machine that has one.

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/warthog618/go-gpiocdev/uapi"
	"golang.org/x/sys/unix"

	"gatehouse/hal"
)

// machine is a fake kernel: chips are files of a folder, a request is a pipe.
type machine struct {
	t      *testing.T
	dir    string
	sysfs  string
	labels map[string]string
	lines  map[string][]string
	busy   map[string]error // "gpiochip0:3"

	requests []uapi.LineRequest
	queues   []*os.File // the kernel's end of each request
	sets     []uapi.LineValues
	levels   uapi.LineBitmap
	failSet  error
}

func newMachine(t *testing.T) *machine {
	return &machine{t: t, dir: t.TempDir(), sysfs: t.TempDir(), labels: map[string]string{}, lines: map[string][]string{}, busy: map[string]error{}}
}

func (m *machine) add(name, label string, lines ...string) {
	m.t.Helper()
	if err := os.WriteFile(filepath.Join(m.dir, name), nil, 0o600); err != nil {
		m.t.Fatal(err)
	}
	m.labels[name], m.lines[name] = label, lines
}

func (m *machine) link(name, to string) {
	m.t.Helper()
	if err := os.Symlink(filepath.Join(m.dir, to), filepath.Join(m.dir, name)); err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) kernel() kernel {
	return kernel{
		model:   func() string { return "Test Board 1" },
		sysfs:   m.sysfs,
		devices: func() ([]string, error) { return filepath.Glob(filepath.Join(m.dir, "gpiochip*")) },
		target:  filepath.EvalSymlinks,
		open:    os.Open,
		chipInfo: func(f *os.File) (uapi.ChipInfo, error) {
			name := filepath.Base(f.Name())
			lines, ok := m.lines[name]
			if !ok {
				return uapi.ChipInfo{}, unix.ENOTTY
			}
			i := uapi.ChipInfo{Lines: uint32(len(lines))}
			copy(i.Label[:], m.labels[name])
			return i, nil
		},
		lineInfo: func(f *os.File, offset int) (i uapi.LineInfoV2, err error) {
			n := m.lines[filepath.Base(f.Name())][offset]
			if n == "v1" {
				return i, unix.EINVAL
			}
			copy(i.Name[:], n)
			return i, nil
		},
		request: func(f *os.File, r *uapi.LineRequest) error {
			for _, o := range r.Offsets[:r.Lines] {
				if err := m.busy[fmt.Sprintf("%s:%d", filepath.Base(f.Name()), o)]; err != nil {
					return err
				}
			}
			var fds [2]int
			if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
				return err
			}
			r.Fd = int32(fds[0])
			w := os.NewFile(uintptr(fds[1]), "queue")
			m.t.Cleanup(func() { _ = w.Close() })
			m.requests, m.queues = append(m.requests, *r), append(m.queues, w)
			return nil
		},
		values: func(_ *os.File, v *uapi.LineValues) error { v.Bits = m.levels & v.Mask; return nil },
		setValues: func(_ *os.File, v uapi.LineValues) error {
			m.sets = append(m.sets, v)
			return m.failSet
		},
	}
}

func (m *machine) board() *Board {
	m.t.Helper()
	b, err := open(m.kernel(), nil)
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { _ = b.Close() })
	return b
}

// pi is like a Raspberry Pi 5: the SoC's chip is also linked as gpiochip4, and a
// name is on two chips.
func pi(t *testing.T) *machine {
	m := newMachine(t)
	m.add("gpiochip0", "pinctrl-rp1", "ID_SDA", "GPIO17", "GPIO18", "-", "", "GPIO24")
	m.add("gpiochip10", "gpio-brcmstb@107d517c00", "WAKE", "RELAY")
	m.add("gpiochip2", "expander", "WAKE", "GPIO24", "IN1")
	m.link("gpiochip4", "gpiochip0")
	return m
}

// event is struct gpio_v2_line_event.
func event(at time.Duration, id uapi.LineEventID, offset, seq uint32) []byte {
	b := make([]byte, eventSize)
	binary.NativeEndian.PutUint64(b, uint64(at))
	binary.NativeEndian.PutUint32(b[8:], uint32(id))
	binary.NativeEndian.PutUint32(b[12:], offset)
	binary.NativeEndian.PutUint32(b[16:], seq)
	return b
}

func TestNames(t *testing.T) {
	k := pi(t).kernel()
	tests := []struct {
		name hal.LineName
		want string // place, or part of the error
		bad  bool
	}{
		{"", "no such line", true},
		{"-", "no such line", true},
		{"GPIO99", "no such line", true},
		{"WAKE", "use one of [gpiochip2:0 gpiochip10:0]", true},
		{"gpiochip0:6", "no such line", true},
		{"gpiochip0:-1", "no such line", true},
		{"gpiochip0:01", "no such line", true},
		{"gpiochip0:", "no such line", true},
		{"gpiochip7:0", "no such line", true},
		{"GPIO17", "gpiochip0:1", false},
		{"GPIO24", "gpiochip0:5", false}, // the SoC's, not the expander's
		{"IN1", "gpiochip2:2", false},
		{"gpiochip0:3", "gpiochip0:3", false},
		{"gpiochip4:3", "gpiochip0:3", false}, // by the link
		{"gpiochip2:1", "gpiochip2:1", false},
		{"expander:1", "gpiochip2:1", false},
		{"gpio-brcmstb@107d517c00:1", "gpiochip10:1", false},
	}
	for _, tt := range tests {
		t.Run(string(tt.name), func(t *testing.T) {
			p, err := k.find(tt.name)
			switch {
			case tt.bad && (!errors.Is(err, hal.ErrNoLine) || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("got %v, want an error with %q", err, tt.want)
			case !tt.bad && (err != nil || p.String() != tt.want):
				t.Errorf("got %v, %v, want %s", p, err, tt.want)
			}
		})
	}
	got, err := k.lines()
	want := []hal.LineName{"ID_SDA", "GPIO17", "GPIO18", "gpiochip0:3", "gpiochip0:4", "gpiochip0:5",
		"gpiochip2:0", "gpiochip2:1", "IN1", "gpiochip10:0", "RELAY"}
	if d := cmp.Diff(want, got); d != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, d)
	}
	for _, n := range got {
		if _, err := k.find(n); err != nil {
			t.Errorf("a name that Lines gives is not found: %s: %v", n, err)
		}
	}
}

func TestNoChips(t *testing.T) {
	m := newMachine(t)
	if _, err := open(m.kernel(), nil); err == nil || !strings.Contains(err.Error(), "(Test Board 1) has no GPIO chip") {
		t.Errorf("no chips: %v", err)
	}
	m.add("gpiochip0", "old", "v1")
	if _, err := open(m.kernel(), nil); err == nil || !strings.Contains(err.Error(), "5.10") {
		t.Errorf("a kernel without v2: %v", err)
	}
	k := m.kernel()
	k.open = func(p string) (*os.File, error) {
		return nil, &fs.PathError{Op: "open", Path: p, Err: unix.EACCES}
	}
	if _, err := open(k, nil); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("not allowed: %v", err)
	}
	m.add("gpiochip1", "good", "A")
	b := m.board()
	if _, err := b.Output(hal.Output{Line: "B"}); !errors.Is(err, hal.ErrNoLine) || !strings.Contains(err.Error(), "5.10") {
		t.Errorf("a line that may be on the chip that cannot be read: %v", err)
	}
	// This machine has none, or it opens: either way it is said.
	if b, err := Open(nil); err != nil && !strings.HasPrefix(err.Error(), "gpio: ") {
		t.Errorf("this machine: %v", err)
	} else if err == nil {
		_ = b.Close()
	}
}

func TestOutput(t *testing.T) {
	for _, initial := range []hal.Level{hal.Low, hal.High} {
		t.Run(initial.String(), func(t *testing.T) {
			m := pi(t)
			out, err := m.board().Output(hal.Output{Line: "GPIO24", Initial: initial})
			if err != nil {
				t.Fatal(err)
			}
			var want uapi.LineRequest
			want.Lines, want.Offsets[0] = 1, 5
			copy(want.Consumer[:], "gatehouse")
			want.Config.Flags = uapi.LineFlagV2Output
			want.Config.AddAttribute(uapi.LineConfigAttribute{
				Attr: uapi.OutputValues(initial.Int()).Encode(), Mask: 1,
			})
			want.Fd = m.requests[0].Fd
			if d := cmp.Diff([]uapi.LineRequest{want}, m.requests); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
			if len(m.sets) != 0 {
				t.Errorf("the claim took a second step: %v", m.sets)
			}
			if err := out.Set(!initial); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff([]uapi.LineValues{{Mask: 1, Bits: uapi.LineBitmap((!initial).Int())}}, m.sets); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
			m.failSet = unix.ENODEV
			if err := out.Set(initial); !errors.Is(err, hal.ErrClosed) {
				t.Errorf("set on a chip that is gone: %v", err)
			}
			n := len(m.sets)
			if err := out.Close(); err != nil || len(m.sets) != n {
				t.Errorf("close: %v, %d sets", err, len(m.sets)-n)
			}
			if err := out.Close(); err != nil {
				t.Errorf("second close: %v", err)
			}
		})
	}
}

func TestErrors(t *testing.T) {
	m := pi(t)
	b := m.board()
	for err, want := range map[error]error{
		unix.EBUSY: hal.ErrBusy, unix.ENODEV: hal.ErrClosed, unix.EPERM: fs.ErrPermission, unix.EINVAL: unix.EINVAL,
	} {
		m.busy["gpiochip0:1"] = err
		if _, got := b.Output(hal.Output{Line: "GPIO17"}); !errors.Is(got, want) || !errors.Is(got, err) {
			t.Errorf("output, %v: got %v", err, got)
		}
		if _, got := b.Inputs(1, hal.Input{Line: "GPIO18"}, hal.Input{Line: "GPIO17"}); !errors.Is(got, want) {
			t.Errorf("inputs, %v: got %v", err, got)
		}
	}
	clear(m.busy)
	tests := []struct {
		name  string
		queue int
		lines []hal.Input
		want  error
	}{
		{"no queue", 0, []hal.Input{{Line: "GPIO17"}}, nil},
		{"no lines", 1, nil, nil},
		{"unknown", 1, []hal.Input{{Line: "GPIO17"}, {Line: "X"}}, hal.ErrNoLine},
		{"twice, by two names", 1, []hal.Input{{Line: "GPIO17"}, {Line: "gpiochip4:1"}}, hal.ErrBusy},
		{"two chips", 1, []hal.Input{{Line: "GPIO17"}, {Line: "IN1"}}, nil},
		{"debounce", 1, []hal.Input{{Line: "GPIO17", Debounce: -1}}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := b.Inputs(tt.queue, tt.lines...)
			if err == nil || tt.want != nil && !errors.Is(err, tt.want) {
				t.Errorf("got %v", err)
			}
		})
	}
	if len(m.requests) != 0 {
		t.Errorf("%d requests were made", len(m.requests))
	}
}

func TestInputsRequest(t *testing.T) {
	m := pi(t)
	_, err := m.board().Inputs(1024, hal.Input{Line: "GPIO18", Pull: hal.PullUp},
		hal.Input{Line: "GPIO17", Pull: hal.PullUp}, hal.Input{Line: "gpiochip0:3", Debounce: 5 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	const flags = uapi.LineFlagV2Input | uapi.LineFlagV2EdgeBoth
	want := uapi.LineRequest{Lines: 3, EventBufferSize: 1024, Fd: m.requests[0].Fd}
	copy(want.Offsets[:], []uint32{2, 1, 3})
	copy(want.Consumer[:], "gatehouse")
	want.Config.Flags = flags
	want.Config.AddAttribute(uapi.LineConfigAttribute{Attr: (flags | uapi.LineFlagV2BiasPullUp).Encode(), Mask: 0b011})
	want.Config.AddAttribute(uapi.LineConfigAttribute{Attr: uapi.DebouncePeriod(5 * time.Millisecond).Encode(), Mask: 0b100})
	if d := cmp.Diff([]uapi.LineRequest{want}, m.requests); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestEdges(t *testing.T) {
	const up, down = uapi.LineEventRisingEdge, uapi.LineEventFallingEdge
	m := pi(t)
	m.levels = 0b01
	g, err := m.board().Inputs(4, hal.Input{Line: "GPIO17"}, hal.Input{Line: "GPIO18"})
	if err != nil {
		t.Fatal(err)
	}
	send := func(events ...[]byte) {
		t.Helper()
		var all []byte
		for _, e := range events {
			all = append(all, e...)
		}
		if _, err := m.queues[0].Write(all); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(want ...hal.Edge) {
		t.Helper()
		for _, w := range want {
			if got := <-g.Edges(); got != w {
				t.Errorf("got %+v, want %+v", got, w)
			}
		}
	}
	// Order and stamps over two lines, in one read and in two.
	send(event(100, down, 1, 1), event(150, up, 1, 2), event(300, down, 2, 3))
	expect(hal.Edge{Line: "GPIO17", At: 100}, hal.Edge{Line: "GPIO17", Level: hal.High, At: 150}, hal.Edge{Line: "GPIO18", At: 300})
	send(event(350, up, 2, 4))
	expect(hal.Edge{Line: "GPIO18", Level: hal.High, At: 350})
	// The kernel dropped 5 and 6.
	send(event(700, down, 1, 7), event(750, up, 1, 8))
	expect(hal.Edge{Line: "GPIO17", At: 700, Lost: true}, hal.Edge{Line: "GPIO17", Level: hal.High, At: 750})
	// A line's thread was late: 10 came after 11 and 12, in this read and in the next.
	send(event(900, up, 2, 11), event(800, down, 2, 10), event(1000, down, 1, 12))
	expect(hal.Edge{Line: "GPIO18", At: 800, Lost: true}) // 9 never came
	expect(hal.Edge{Line: "GPIO18", Level: hal.High, At: 900}, hal.Edge{Line: "GPIO17", At: 1000})
	send(event(1200, down, 2, 14))
	send(event(1100, up, 1, 13), event(1300, up, 2, 15))
	expect(hal.Edge{Line: "GPIO17", Level: hal.High, At: 1100}, hal.Edge{Line: "GPIO18", At: 1200},
		hal.Edge{Line: "GPIO18", Level: hal.High, At: 1300})
	// A pulse so short that the kernel tells its end alone is no loss; two edges
	// that are missing are.
	send(event(1400, up, 2, 17), event(1500, up, 1, 20))
	expect(hal.Edge{Line: "GPIO18", Level: hal.High, At: 1400}, hal.Edge{Line: "GPIO17", Level: hal.High, At: 1500, Lost: true})
	m.levels = 0b10
	for name, want := range map[hal.LineName]hal.Level{"GPIO17": hal.Low, "GPIO18": hal.High} {
		if v, err := g.Read(name); v != want || err != nil {
			t.Errorf("%s: %v, %v", name, v, err)
		}
	}
	if _, err := g.Read("GPIO24"); !errors.Is(err, hal.ErrNoLine) {
		t.Errorf("a line of another group: %v", err)
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	if _, ok := <-g.Edges(); ok {
		t.Error("the channel is open after Close")
	}
	if err := g.Close(); err != nil {
		t.Errorf("second close: %v", err)
	}
}

// The first pulse of a line is over before the kernel looks: the level that the
// line had from the start says so.
func TestFirstPulse(t *testing.T) {
	m := pi(t)
	m.levels = 0b11
	g, err := m.board().Inputs(4, hal.Input{Line: "GPIO17"}, hal.Input{Line: "GPIO18"})
	if err != nil {
		t.Fatal(err)
	}
	const up, down = uapi.LineEventRisingEdge, uapi.LineEventFallingEdge
	for _, e := range [][]byte{
		event(100, up, 2, 2), event(100+20e3, up, 2, 3), // the kernel's second event of the one edge
		event(300e3, down, 1, 5), event(400e3, up, 1, 6), event(1000e3, up, 2, 7), // no pulse before it
	} {
		if _, err := m.queues[0].Write(e); err != nil {
			t.Fatal(err)
		}
	}
	want := []hal.Edge{{Line: "GPIO18", Level: hal.High, At: 100}, {Line: "GPIO17", At: 300e3, Lost: true},
		{Line: "GPIO17", Level: hal.High, At: 400e3}, {Line: "GPIO18", Level: hal.High, At: 1000e3}}
	if d := cmp.Diff(want, []hal.Edge{<-g.Edges(), <-g.Edges(), <-g.Edges(), <-g.Edges()}); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// Events go out by their numbers, each at most once.
func TestSorter(t *testing.T) {
	type step struct {
		in   []uint32 // arrive
		wait bool     // for what is missing
		out  []uint32 // are taken then
	}
	tests := []struct {
		name  string
		last  uint32
		steps []step
	}{
		{"in order", 0, []step{{[]uint32{1, 2, 3}, true, []uint32{1, 2, 3}}}},
		{"turned round", 0, []step{{[]uint32{2, 1, 4, 5, 3}, true, []uint32{1, 2, 3, 4, 5}}}},
		{"in two reads", 0, []step{{[]uint32{1, 3, 4}, true, []uint32{1}}, {[]uint32{2}, true, []uint32{2, 3, 4}}}},
		{"never comes", 0, []step{{[]uint32{2, 4}, true, nil}, {nil, false, []uint32{2, 4}}, {[]uint32{5}, true, []uint32{5}}}},
		{"comes too late", 0, []step{{[]uint32{2}, false, []uint32{2}}, {[]uint32{1, 3}, true, []uint32{3}}}},
		{"twice", 0, []step{{[]uint32{1, 1, 3, 3}, false, []uint32{1, 3}}}},
		{"numbers wrap around", 1<<32 - 2, []step{{[]uint32{0, 1<<32 - 1, 2}, true, []uint32{1<<32 - 1, 0}}, {[]uint32{1}, true, []uint32{1, 2}}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := sorter{last: tt.last}
			for _, st := range tt.steps {
				for _, seq := range st.in {
					s.add(lineEvent(event(0, uapi.LineEventRisingEdge, 1, seq)))
				}
				var got []uint32
				for e, ok := s.take(st.wait); ok; e, ok = s.take(st.wait) {
					got = append(got, e.seq())
				}
				if d := cmp.Diff(st.out, got); d != "" {
					t.Errorf("after %v (-want +got):\n%s", st.in, d)
				}
			}
		})
	}
	// Two edges of a line with the number of the second: what is missing is there.
	twice := sorter{last: 4}
	for _, e := range [][]byte{
		event(60, uapi.LineEventFallingEdge, 1, 6), event(60, uapi.LineEventRisingEdge, 1, 6), event(70, uapi.LineEventFallingEdge, 2, 7),
	} {
		twice.add(lineEvent(e))
	}
	var got []uint32
	for e, ok := twice.take(true); ok; e, ok = twice.take(true) {
		got = append(got, e.seq())
	}
	if d := cmp.Diff([]uint32{5, 6, 7}, got); d != "" {
		t.Errorf("a number twice (-want +got):\n%s", d)
	}
	var s sorter // whatever comes, little is held
	for seq := range uint32(1000) {
		s.add(lineEvent(event(0, uapi.LineEventRisingEdge, 1, seq+2)))
		for _, ok := s.take(true); ok; _, ok = s.take(true) {
		}
		if len(s.held) > maxHeld {
			t.Fatalf("%d events are held", len(s.held))
		}
	}
}

// The reader of the channel does not keep up: what does not fit is dropped, and
// the next edge says so, once.
func TestFullChannel(t *testing.T) {
	names := map[uint32]hal.LineName{1: "GPIO17"}
	to := make(chan hal.Edge, 2)
	tr := tracker{levels: map[hal.LineName]hal.Level{}}
	send := func(seq uint32) {
		t.Helper()
		e, ok := tr.edge(event(time.Duration(seq), uapi.LineEventRisingEdge, 1, seq), names)
		if !ok {
			t.Fatalf("event %d was not read", seq)
		}
		tr.send(e, to)
	}
	for seq := range uint32(5) {
		send(seq + 1)
	}
	got := []hal.Edge{<-to, <-to}
	send(6)
	send(7)
	got = append(got, <-to, <-to)
	var want []hal.Edge
	for _, at := range []time.Duration{1, 2, 6, 7} {
		want = append(want, hal.Edge{Line: "GPIO17", Level: hal.High, At: at, Lost: at == 6})
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	// What cannot be understood is as good as lost.
	for _, e := range [][]byte{event(8, 9, 1, 8), event(9, uapi.LineEventRisingEdge, 5, 9)} {
		if _, ok := tr.edge(e, names); ok || !tr.lost {
			t.Errorf("event %x was read", e)
		}
		tr.lost = false
	}
}

func TestChipGone(t *testing.T) {
	m := pi(t)
	g, err := m.board().Inputs(1, hal.Input{Line: "IN1"})
	if err != nil {
		t.Fatal(err)
	}
	_ = m.queues[0].Close()
	if _, ok := <-g.Edges(); ok {
		t.Error("edges of a chip that is gone")
	}
	if err := g.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}

func TestBoardClose(t *testing.T) {
	m := pi(t)
	b := m.board()
	g, err := b.Inputs(1, hal.Input{Line: "GPIO17"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Output(hal.Output{Line: "GPIO24"}); err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if _, ok := <-g.Edges(); ok {
		t.Error("a group outlives its board")
	}
	if len(m.sets) != 0 {
		t.Errorf("closing drove a line: %v", m.sets)
	}
	if _, err := b.Output(hal.Output{Line: "GPIO18"}); !errors.Is(err, hal.ErrClosed) {
		t.Errorf("claim after close: %v", err)
	}
}
