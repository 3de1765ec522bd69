package gpio_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The PL061 of qemu's machine "virt" (hw/arm/virt.c, hw/gpio/pl061.c; ARM DDI
// 0190B section 3). The pins are pulled down where nothing drives them. What
// comes out of them cannot be missed: qemu tells each change. What goes in is
// set from here.
const (
	pl061     = 0x09030000
	pl061Dir  = pl061 + 0x400 // GPIODIR, 1: output
	pl061RIS  = pl061 + 0x414 // GPIORIS, 1: an edge that the kernel has not taken yet
	bootLimit = 60 * time.Second
)

// change is one change of an output line.
type change struct {
	line int
	high bool
	at   time.Time
}

// said is one line of a program in the machine.
type said struct {
	Ready bool    `json:"ready"`
	ID    int     `json:"id"`
	Out   *string `json:"out"`
	Err   *string `json:"err"`
	Exit  *int    `json:"exit"`
}

// machine is a running emulator: its kernel and what runs in it (package
// tools/gpioguest) on one side, the wires of its GPIO lines on the other.
type machine struct {
	t      *testing.T
	serial net.Conn
	qtest  net.Conn
	pins   string // QOM path of the PL061

	asking  sync.Mutex  // one question at a time
	answers chan string // of qtest

	mu       sync.Mutex // guards following
	changes  []change
	console  []string // what the kernel wrote
	programs map[int]*program
	nextID   int
	ready    bool
	news     chan struct{} // closed and made anew when any of it changes
}

// program runs in the machine.
type program struct {
	m    *machine
	id   int
	args []string

	// Guarded by m.mu.
	out   []string
	err   []string
	exit  int
	ended bool
}

// boot starts the emulator on a kernel and an initial file system and returns
// when process 1 listens. It is killed at the end of the test.
func boot(t *testing.T, kernel, initrd string) *machine {
	t.Helper()
	dir, err := os.MkdirTemp("", "gpio") // t.TempDir is too long a path for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	var sockets [3]net.Listener
	for i, name := range []string{"qtest", "serial", "qmp"} {
		if sockets[i], err = net.Listen("unix", filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = sockets[i].Close() }()
	}
	cmd := exec.Command("qemu-system-aarch64", "-M", "virt", "-cpu", "cortex-a53", "-m", "256", "-accel", "tcg",
		"-S", "-no-reboot", "-nodefaults", "-nic", "none", "-display", "none",
		"-qtest", "unix:"+filepath.Join(dir, "qtest"), "-qtest-log", "/dev/null",
		"-serial", "unix:"+filepath.Join(dir, "serial"), "-qmp", "unix:"+filepath.Join(dir, "qmp"),
		"-kernel", kernel, "-initrd", initrd, "-append", "console=ttyAMA0 loglevel=4 quiet panic=-1")
	cmd.Stdout, cmd.Stderr = t.Output(), t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	_ = unix.Setpriority(unix.PRIO_PROCESS, cmd.Process.Pid, -5) // where it is allowed: its time is real time
	m := &machine{t: t, answers: make(chan string, 1), programs: map[int]*program{}, news: make(chan struct{})}
	m.qtest, m.serial = accept(t, sockets[0]), accept(t, sockets[1])
	qmp := accept(t, sockets[2])
	go m.readPins()
	go m.readSerial()
	ask := dialogue(t, qmp)
	m.pins = findPins(t, ask)
	m.must("irq_intercept_out " + m.pins)
	for i := range 8 {
		m.set(i, rest[i])
	}
	ask("cont", nil, nil)
	if !m.until(bootLimit, func() bool { return m.ready }) {
		m.mu.Lock()
		defer m.mu.Unlock()
		t.Fatalf("the machine did not start:\n%s", strings.Join(m.console, "\n"))
	}
	return m
}

func accept(t *testing.T, l net.Listener) net.Conn {
	t.Helper()
	if err := l.(*net.UnixListener).SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	c, err := l.Accept()
	if err != nil {
		t.Fatalf("the emulator does not start: %v", err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// dialogue speaks QMP (docs/interop/qmp-spec of qemu): greeting, then one answer
// to each command, with events between them.
func dialogue(t *testing.T, c net.Conn) func(command string, args map[string]string, v any) {
	in, out := json.NewDecoder(c), json.NewEncoder(c)
	ask := func(command string, args map[string]string, v any) {
		t.Helper()
		q := map[string]any{"execute": command}
		if args != nil {
			q["arguments"] = args
		}
		if err := out.Encode(q); err != nil {
			t.Fatal(err)
		}
		for {
			var a struct {
				Return json.RawMessage
				Error  json.RawMessage
			}
			if err := in.Decode(&a); err != nil || a.Error != nil {
				t.Fatalf("qmp %s: %v %s", command, err, a.Error)
			}
			if a.Return == nil {
				continue // greeting or event
			}
			if v != nil {
				if err := json.Unmarshal(a.Return, v); err != nil {
					t.Fatal(err)
				}
			}
			return
		}
	}
	ask("qmp_capabilities", nil, nil)
	return ask
}

func findPins(t *testing.T, ask func(string, map[string]string, any)) string {
	t.Helper()
	const parent = "/machine/unattached"
	var nodes []struct{ Name, Type string }
	ask("qom-list", map[string]string{"path": parent}, &nodes)
	for _, n := range nodes {
		if n.Type == "child<pl061>" {
			return parent + "/" + n.Name
		}
	}
	t.Fatal("the emulated machine has no PL061")
	return ""
}

// readPins takes qtest's lines (docs/devel/testing/qtest of qemu, system/qtest.c):
// answers, and changes of output lines.
func (m *machine) readPins() {
	in := bufio.NewScanner(m.qtest)
	for in.Scan() {
		f := strings.Fields(in.Text())
		if len(f) != 3 || f[0] != "IRQ" {
			m.answers <- in.Text()
			continue
		}
		n, err := strconv.Atoi(f[2])
		if err != nil {
			continue
		}
		m.tell(func() { m.changes = append(m.changes, change{n, f[1] == "raise", time.Now()}) })
	}
	close(m.answers)
}

func (m *machine) readSerial() {
	in := bufio.NewScanner(m.serial)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		line := strings.TrimRight(in.Text(), "\r")
		var s said
		if !strings.HasPrefix(line, "@") || json.Unmarshal([]byte(line[1:]), &s) != nil {
			m.tell(func() { m.console = append(m.console, line) })
			continue
		}
		m.tell(func() { m.hear(s) })
	}
}

// hear takes one line of a program. m.mu is held.
func (m *machine) hear(s said) {
	m.ready = m.ready || s.Ready
	p := m.programs[s.ID]
	switch {
	case p == nil:
	case s.Out != nil:
		p.out = append(p.out, *s.Out)
	case s.Err != nil:
		p.err = append(p.err, *s.Err)
	case s.Exit != nil:
		p.exit, p.ended = *s.Exit, true
	}
}

// tell changes what is known and wakes who waits for it.
func (m *machine) tell(f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f()
	close(m.news)
	m.news = make(chan struct{})
}

// until waits until cond, which is called with m.mu held, and reports whether it
// came true in time.
func (m *machine) until(limit time.Duration, cond func() bool) bool {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for {
		m.mu.Lock()
		ok, news := cond(), m.news
		m.mu.Unlock()
		if ok {
			return true
		}
		select {
		case <-news:
		case <-timer.C:
			return false
		}
	}
}

// must asks qtest and returns the answer after "OK".
func (m *machine) must(question string) string {
	m.t.Helper()
	m.asking.Lock()
	defer m.asking.Unlock()
	if _, err := fmt.Fprintln(m.qtest, question); err != nil {
		m.t.Fatal(err)
	}
	answer, ok := <-m.answers
	if !ok {
		m.t.Fatal(errors.New("the emulator has ended"))
	}
	rest, ok := strings.CutPrefix(answer, "OK")
	if !ok {
		m.t.Fatalf("qtest %s: %s", question, answer)
	}
	return strings.TrimSpace(rest)
}

// set drives a pin from outside.
func (m *machine) set(line int, high bool) {
	m.t.Helper()
	level := 0
	if high {
		level = 1
	}
	m.must(fmt.Sprintf("set_irq_in %s unnamed-gpio-in %d %d", m.pins, line, level))
}

// register reads a register of the PL061 as the kernel would.
func (m *machine) register(address int) uint64 {
	m.t.Helper()
	v, err := strconv.ParseUint(m.must(fmt.Sprintf("readl %#x", address)), 0, 64)
	if err != nil {
		m.t.Fatal(err)
	}
	return v
}

// taken waits until the kernel has taken the edge of a line, and reports whether
// it did.
func (m *machine) taken(line int, limit time.Duration) bool {
	m.t.Helper()
	for end := time.Now().Add(limit); m.register(pl061RIS)&(1<<line) != 0; {
		if time.Now().After(end) {
			return false
		}
		time.Sleep(100 * time.Microsecond) // another machine: nothing to wait on
	}
	return true
}

// mark is a point in the list of changes.
func (m *machine) mark() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.changes)
}

// since returns the changes of a line from a mark on.
func (m *machine) since(mark, line int) []change {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := slices.Clone(m.changes[mark:])
	return slices.DeleteFunc(out, func(c change) bool { return c.line != line })
}

// await waits until the line changes to a level after the mark.
func (m *machine) await(t *testing.T, mark, line int, high bool, limit time.Duration) change {
	t.Helper()
	is := func(c change) bool { return c.line == line && c.high == high }
	if !m.until(limit, func() bool { return slices.ContainsFunc(m.changes[mark:], is) }) {
		t.Fatalf("line %d did not become %s within %v", line, map[bool]string{true: "high", false: "low"}[high], limit)
	}
	got := m.since(mark, line)
	return got[slices.IndexFunc(got, is)]
}
