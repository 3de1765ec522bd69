package gpio_test

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// start starts a program in the machine. One that still runs at the end of the
// test is killed.
func (m *machine) start(t *testing.T, args ...string) *program {
	t.Helper()
	m.mu.Lock()
	m.nextID++
	p := &program{m: m, id: m.nextID, args: args}
	m.programs[p.id] = p
	m.mu.Unlock()
	m.order(t, map[string]any{"id": p.id, "run": args})
	t.Cleanup(func() {
		if !p.done() {
			p.signal(t, 9)
			p.wait(t, 20*time.Second)
		}
		if t.Failed() {
			out, errs := p.said()
			t.Logf("%v\n%s\n%s", args, strings.Join(out, "\n"), strings.Join(errs, "\n"))
		}
	})
	return p
}

func (m *machine) order(t *testing.T, v any) {
	t.Helper()
	line, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.serial.Write(append(line, '\n')); err != nil {
		t.Fatal(err)
	}
}

// run runs a program in the machine to its end.
func (m *machine) run(t *testing.T, args ...string) (out []string, exit int) {
	t.Helper()
	p := m.start(t, args...)
	p.wait(t, 60*time.Second)
	out, errs := p.said()
	return append(out, errs...), p.exit
}

// mustRun runs a program that must succeed.
func (m *machine) mustRun(t *testing.T, args ...string) []string {
	t.Helper()
	out, exit := m.run(t, args...)
	if exit != 0 {
		t.Fatalf("%v: exit code %d: %s", args, exit, strings.Join(out, "\n"))
	}
	return out
}

// kill signals the agent's processes of a name in the machine. It returns when
// that is known here, a moment after it was done: the program that does it takes
// its time to start in the emulator.
func (m *machine) kill(t *testing.T, signal, whom string) time.Time {
	t.Helper()
	m.mustRun(t, "/init", "kill", signal, whom)
	return time.Now()
}

func (p *program) signal(t *testing.T, n int) {
	t.Helper()
	p.m.order(t, map[string]any{"id": p.id, "signal": n})
}

func (p *program) done() bool {
	p.m.mu.Lock()
	defer p.m.mu.Unlock()
	return p.ended
}

func (p *program) said() (out, errs []string) {
	p.m.mu.Lock()
	defer p.m.mu.Unlock()
	return slices.Clone(p.out), slices.Clone(p.err)
}

// wait waits for the end and returns the exit code.
func (p *program) wait(t *testing.T, limit time.Duration) int {
	t.Helper()
	if !p.m.until(limit, func() bool { return p.ended }) {
		t.Fatalf("%v did not end within %v", p.args, limit)
	}
	return p.exit
}

// says waits until the program has said a line that contains text.
func (p *program) says(t *testing.T, text string, limit time.Duration) {
	t.Helper()
	is := func(s string) bool { return strings.Contains(s, text) }
	got := p.m.until(limit, func() bool {
		return p.ended || slices.ContainsFunc(p.out, is) || slices.ContainsFunc(p.err, is)
	})
	if out, errs := p.said(); !got || !slices.ContainsFunc(append(out, errs...), is) {
		t.Fatalf("%v did not say %q within %v", p.args, text, limit)
	}
}

// archive is an initial file system in the cpio format "newc" that the kernel
// unpacks (Documentation/driver-api/early-userspace/buffer-format.rst).
type archive struct {
	data []byte
	ino  int
}

func (a *archive) add(name string, mode int, major, minor int, content []byte) {
	a.ino++
	a.data = fmt.Appendf(a.data, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s\x00",
		a.ino, mode, 0, 0, 1, 0, len(content), 0, 0, major, minor, len(name)+1, 0, name)
	a.pad()
	a.data = append(a.data, content...)
	a.pad()
}

func (a *archive) pad() {
	for len(a.data)%4 != 0 {
		a.data = append(a.data, 0)
	}
}

func (a *archive) dir(name string)               { a.add(name, 0o040755, 0, 0, nil) }
func (a *archive) file(name string, data []byte) { a.add(name, 0o100755, 0, 0, data) }

// pack makes the initial file system of the programs and modules in from and of
// files, whose paths are their names.
func pack(t *testing.T, from string, files map[string]string) string {
	t.Helper()
	var a archive
	a.dir("dev")
	a.add("dev/console", 0o020600, 5, 1, nil)
	a.dir("modules")
	read := func(path string) []byte {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	a.file("init", read(filepath.Join(from, "gpioguest")))
	a.file("gatehouse", read(filepath.Join(from, "gatehouse")))
	modules, err := fs.Glob(os.DirFS(from), "*.ko")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range modules {
		a.file("modules/"+name, read(filepath.Join(from, name)))
	}
	for name, text := range files {
		a.file(name, []byte(text))
	}
	a.add("TRAILER!!!", 0, 0, 0, nil)
	path := filepath.Join(t.TempDir(), "initrd")
	if err := os.WriteFile(path, a.data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// bit i of a frame is bits[i].
type frame []bool

// wiegand makes a frame of a format that has one even parity bit over the first
// half of its data, then facility and number, then an odd parity bit over the
// second half: H10301 (8 and 16 bits) and H10304 (16 and 19, whose halves share
// the middle bit).
func wiegand(facilityBits, numberBits int, facility, number uint64) frame {
	n := facilityBits + numberBits
	v := facility<<numberBits | number
	f := make(frame, n+2)
	for i := range n {
		f[1+i] = v>>(n-1-i)&1 == 1
	}
	half := (n + 1) / 2
	f[0] = odd(f[1 : 1+half])
	f[n+1] = !odd(f[1+n-half : 1+n])
	return f
}

func odd(bits []bool) bool {
	var x bool
	for _, b := range bits {
		x = x != b
	}
	return x
}

// hex returns the frame as the settings and commands write it.
func (f frame) hex() string {
	b := make([]byte, (len(f)+7)/8)
	for i, bit := range f {
		if bit {
			b[i/8] |= 0x80 >> (i % 8)
		}
	}
	return fmt.Sprintf("%d:%X", len(f), b)
}
