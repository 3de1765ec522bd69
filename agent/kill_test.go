package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"gatehouse/agent/control"
	"gatehouse/agent/site"
)

// These tests run the real processes: this test binary is the gatehouse command
// when commandEnv is set, so `run` starts itself again as the agent and as the
// simulated board's holder. The board outlives them and is watched from outside.

const commandEnv = "GATEHOUSE_TEST_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(commandEnv) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// safeWithin is promise 2: a killed or stopped agent, or a dead supervisor,
// leaves the strike de-energised within this time.
const safeWithin = 2 * time.Second

const killSettings = `version: 1
site: {name: Kill test, timezone: UTC}
device: {serial: "0000000000000000A0B1000000000206", board: sim}
state_dir: .
listen: {https: "127.0.0.1:0"}
doors:
  - id: front
    strike: {line: GPIO24, active: high, unlock: 4s, fail: secure}
    contact: {line: GPIO23, open: high}
    rex: {line: GPIO22, active: low}
    relock: timer
readers:
  - {id: front-in, door: front, wiegand: {d0: GPIO17, d1: GPIO18}}
`

// victim is a running `gatehouse run`.
type victim struct {
	t      *testing.T
	dir    string
	cmd    *exec.Cmd
	output *os.File
}

func startVictim(t *testing.T, dir string) *victim {
	t.Helper()
	v, err := startVictimIn(t, dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// startVictimIn starts it in namespaces of its own.
func startVictimIn(t *testing.T, dir string, attr *syscall.SysProcAttr) (*victim, error) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	out, err := os.OpenFile(filepath.Join(dir, "output.txt"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	v := &victim{t: t, dir: dir, output: out, cmd: exec.Command(exe, "run", "--config", filepath.Join(dir, "site.yaml"))}
	v.cmd.Env = append(os.Environ(), commandEnv+"=1")
	v.cmd.Stdout, v.cmd.Stderr, v.cmd.SysProcAttr = out, out, attr
	if err := v.cmd.Start(); err != nil {
		return nil, errors.Join(err, out.Close())
	}
	return v, nil
}

// agentPID finds the supervised process: the supervisor's child that is `agent`.
func (v *victim) agentPID() int {
	for _, p := range childrenOf(v.cmd.Process.Pid) {
		args, err := os.ReadFile("/proc/" + p + "/cmdline")
		if err == nil && slices.Contains(strings.Split(string(args), "\x00"), "agent") {
			pid, err := strconv.Atoi(p)
			if err == nil {
				return pid
			}
		}
	}
	return 0
}

// childrenOf finds children by their parent's id: /proc's list of children is
// one thread's, and each child may have been started by another thread.
func childrenOf(parent int) []string {
	var out []string
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, s := range stats {
		data, err := os.ReadFile(s)
		if err != nil {
			continue
		}
		f := strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+1:]))
		if len(f) > 1 && f[1] == strconv.Itoa(parent) {
			out = append(out, filepath.Base(filepath.Dir(s)))
		}
	}
	return out
}

// waitReady waits until the doors decide and returns the agent's process.
func (v *victim) waitReady() int {
	v.t.Helper()
	c := control.Dial(filepath.Join(v.dir, "control.sock"))
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); {
		ctx, cancel := context.WithTimeout(v.t.Context(), time.Second)
		var st control.Status
		err := c.Get(ctx, "/v1/status", nil, &st)
		cancel()
		if err == nil && st.Ready {
			if pid := v.agentPID(); pid != 0 {
				return pid
			}
		}
		time.Sleep(20 * time.Millisecond) // real processes: nothing to wait on
	}
	out, _ := os.ReadFile(filepath.Join(v.dir, "output.txt"))
	v.t.Fatalf("the agent did not become ready\n%s", out)
	return 0
}

// story is what happened after an event, for a failure.
func (v *victim) story(after site.EventSeq) string {
	var out strings.Builder
	c := control.Dial(filepath.Join(v.dir, "control.sock"))
	q := url.Values{"after": {strconv.FormatUint(uint64(after), 10)}}
	err := c.Stream(v.t.Context(), http.MethodGet, "/v1/events", q, nil, func(line []byte) error {
		out.Write(line)
		return nil
	})
	text, _ := os.ReadFile(filepath.Join(v.dir, "output.txt"))
	fmt.Fprintf(&out, "%v\n%s", err, text)
	return out.String()
}

// stop ends the supervisor in order.
func (v *victim) stop() {
	if v.cmd.ProcessState == nil {
		_ = v.cmd.Process.Signal(syscall.SIGCONT)
		_ = v.cmd.Process.Signal(syscall.SIGTERM)
		_ = v.cmd.Wait()
	}
	v.output.Close()
}

// boardConn is a bare client of the simulated board's socket.
type boardConn struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
}

func dialBoard(t *testing.T, dir string) *boardConn {
	t.Helper()
	conn, err := net.Dial("unix", filepath.Join(dir, "sim.sock"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &boardConn{t, conn, bufio.NewReader(conn)}
}

func (b *boardConn) ask(req string) map[string]any {
	b.t.Helper()
	if _, err := b.conn.Write([]byte(req + "\n")); err != nil {
		b.t.Fatal(err)
	}
	return b.next()
}

func (b *boardConn) next() map[string]any {
	b.t.Helper()
	line, err := b.in.ReadBytes('\n')
	if err != nil {
		b.t.Fatalf("board: %v", err)
	}
	var m map[string]any
	if err := json.Unmarshal(line, &m); err != nil {
		b.t.Fatalf("board: %s: %v", line, err)
	}
	if m["error"] != nil {
		b.t.Fatalf("board: %s", line)
	}
	return m
}

// level reads the strike.
func (b *boardConn) level(line string) float64 {
	b.t.Helper()
	return b.ask(`{"get":"` + line + `"}`)["level"].(float64)
}

// waitLevel polls until the line has the level; it returns how long that took.
func (b *boardConn) waitLevel(line string, want float64, limit time.Duration) (time.Duration, bool) {
	b.t.Helper()
	for began := time.Now(); ; time.Sleep(2 * time.Millisecond) { // another process's line
		took := time.Since(began)
		if b.level(line) == want {
			return took, true
		}
		if took > limit {
			return took, false
		}
	}
}

// present shows the card until the strike is energised, as a person would: on a
// machine too busy to bring the edges of a frame in time the reader drops it.
func (b *boardConn) present() bool {
	b.t.Helper()
	for range 5 {
		b.ask(`{"wiegand":{"d0":"GPIO17","d1":"GPIO18","bits":26,"hex":"26831000","us":300}}`)
		if _, ok := b.waitLevel("GPIO24", 1, 3*time.Second); ok {
			return true
		}
	}
	return false
}

// witness follows the events of a running agent: what it has seen was
// acknowledged.
type witness struct {
	mu   sync.Mutex // guards seen
	seen map[string]bool
}

func eventID(ev site.Event) string {
	return fmt.Sprintf("%s/%d/%s", ev.Log, ev.Seq, ev.Kind)
}

func (w *witness) follow(ctx context.Context, dir string, after site.EventSeq) {
	c := control.Dial(filepath.Join(dir, "control.sock"))
	q := url.Values{"follow": {"1"}, "after": {strconv.FormatUint(uint64(after), 10)}}
	// It ends with the agent that it follows.
	_ = c.Stream(ctx, http.MethodGet, "/v1/events", q, nil, func(line []byte) error {
		var ev site.Event
		if err := json.Unmarshal(line, &ev); err != nil {
			return err
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		w.seen[eventID(ev)] = true
		return nil
	})
}

// missing returns what was seen and is no longer in the log, and the last
// number.
func (w *witness) missing(t *testing.T, dir string) (gone []string, last site.EventSeq) {
	t.Helper()
	kept := map[string]bool{}
	c := control.Dial(filepath.Join(dir, "control.sock"))
	err := c.Stream(t.Context(), http.MethodGet, "/v1/events", nil, nil, func(line []byte) error {
		var ev site.Event
		if err := json.Unmarshal(line, &ev); err != nil {
			return err
		}
		if ev.Seq != last+1 {
			t.Errorf("event %d follows %d", ev.Seq, last)
		}
		last = ev.Seq
		kept[eventID(ev)] = true
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for id := range w.seen {
		if !kept[id] {
			gone = append(gone, id)
		}
	}
	return gone, last
}

// TestKillInPulse kills or stops the agent, or kills its supervisor, at random
// moments of an unlock pulse. Each time the strike is de-energised within 2 s,
// and every event that anybody was shown is there afterwards.
func TestKillInPulse(t *testing.T) {
	rounds := 6
	switch os.Getenv("GATEHOUSE_FAULTS") {
	case "full":
		rounds = 210
	case "short":
		rounds = 12
	}
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("GATEHOUSE_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("seed %d (GATEHOUSE_SEED repeats it), %d rounds", seed, rounds)
	rnd := rand.New(rand.NewPCG(seed, 2))

	dir, err := os.MkdirTemp("", "gh") // t.TempDir's paths may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.WriteFile(filepath.Join(dir, "site.yaml"), []byte(killSettings), 0o600); err != nil {
		t.Fatal(err)
	}
	v := startVictim(t, dir)
	t.Cleanup(func() { v.stop() })
	v.waitReady()
	enrol(t, dir)
	board := dialBoard(t, dir)
	w := &witness{seen: map[string]bool{}}
	var last site.EventSeq
	var worst time.Duration
	faults := []string{"kill agent", "stop agent", "kill supervisor"}
	for i := range rounds {
		fault := faults[i%len(faults)]
		pid := v.waitReady()
		ctx, cancel := context.WithCancel(t.Context())
		go w.follow(ctx, dir, last)
		if !board.present() {
			t.Fatalf("round %d: the strike was not energised\n%s", i, v.story(last))
		}
		time.Sleep(time.Duration(rnd.Int64N(int64(1500 * time.Millisecond)))) // the moment is the test's input
		v.strike(fault, pid)
		took, ok := board.waitLevel("GPIO24", 0, safeWithin)
		if !ok {
			t.Fatalf("round %d: %s: the strike is still energised after %v\n%s", i, fault, took, v.story(last))
		}
		worst = max(worst, took)
		cancel()
		if fault == "kill supervisor" {
			_ = v.cmd.Wait()
			v.output.Close()
			waitGone(t, pid)
			v = startVictim(t, dir)
		}
		v.waitReady()
		if board.level("GPIO24") != 0 {
			t.Fatalf("round %d: %s: the strike is energised after the restart", i, fault)
		}
		var gone []string
		if gone, last = w.missing(t, dir); len(gone) > 0 {
			t.Fatalf("round %d: %s: events that were shown are gone: %v", i, fault, gone)
		}
	}
	if len(w.seen) < rounds {
		t.Errorf("only %d events were witnessed in %d rounds", len(w.seen), rounds)
	}
	t.Logf("%d rounds, %d events witnessed, longest time to safe %v", rounds, len(w.seen), worst)
}

func (v *victim) strike(fault string, pid int) {
	v.t.Helper()
	var err error
	switch fault {
	case "kill agent":
		err = syscall.Kill(pid, syscall.SIGKILL)
	case "stop agent":
		err = syscall.Kill(pid, syscall.SIGSTOP)
	case "kill supervisor":
		err = v.cmd.Process.Kill()
	}
	if err != nil {
		v.t.Fatalf("%s: %v", fault, err)
	}
}

// waitGone waits until a process that is not ours to wait for has ended.
func waitGone(t *testing.T, pid int) {
	t.Helper()
	for end := time.Now().Add(safeWithin + 3*time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if syscall.Kill(pid, 0) != nil {
			return
		}
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil || strings.Contains(string(stat), ") Z ") {
			return
		}
	}
	t.Fatalf("agent %d outlives its supervisor", pid)
}

func enrol(t *testing.T, dir string) {
	t.Helper()
	c := control.Dial(filepath.Join(dir, "control.sock"))
	csv := "holder,format,facility,card,rights\nAda,H10301,77,1568,front\n"
	q := url.Values{"format": {"csv"}}
	if err := c.Stream(t.Context(), http.MethodPost, "/v1/credentials/import", q, strings.NewReader(csv), func([]byte) error { return nil }); err != nil {
		t.Fatal(err)
	}
}
