package link_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/creack/pty"
	"github.com/google/go-cmp/cmp"

	"gatehouse/agent/hive"
	"gatehouse/agent/hive/link"
	"gatehouse/agent/site"
	"gatehouse/hal"
	"gatehouse/hal/haltest"
)

// lineServer is a server with one line, at port "tty", of device shed.
func lineServer(t testing.TB, w *world, ports hal.Ports) (*link.Server, *link.Line) {
	t.Helper()
	cfg, deps := testConfig(), w.deps()
	cfg.Lines = []link.LineConfig{{Port: "tty", Baud: 115200, Devices: []link.LineDevice{{Device: "shed", Reader: "shed-in"}}}}
	deps.Ports = ports
	s, err := link.New(cfg, deps)
	if err != nil {
		t.Fatal(err)
	}
	lines := s.Lines()
	if len(lines) != 1 || lines[0].String() != "hive line tty" {
		t.Fatalf("lines %v", lines)
	}
	return s, lines[0]
}

// run runs the line until stop is called, which checks its end.
func run(t testing.TB, l *link.Line) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- l.Run(ctx) }()
	<-l.Ready()
	return func() {
		t.Helper()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
}

// reader is what stands at the far end of a line.
type reader struct {
	t     testing.TB
	dev   *haltest.Device
	lines *bufio.Reader
}

func newReader(t testing.TB, d *haltest.Device) *reader {
	return &reader{t, d, bufio.NewReader(d)}
}

func (r *reader) send(s string) {
	r.t.Helper()
	if _, err := r.dev.Write([]byte(s)); err != nil {
		r.t.Fatal(err)
	}
}

func (r *reader) line() string {
	r.t.Helper()
	s, err := r.lines.ReadString('\n')
	if err != nil {
		r.t.Fatal(err)
	}
	return strings.TrimSuffix(s, "\n")
}

// ask sends signed data and returns the verified reply.
func (r *reader) ask(data string) map[string]any {
	r.t.Helper()
	r.send(sign(r.t, "shed", data) + "\n")
	return verified(r.t, "shed", r.line())
}

func TestLine(t *testing.T) {
	tests := []struct {
		name string
		sent string // before a good request; %s is its nonce
		want []string
		bad  uint64
	}{
		{"nothing", "", nil, 0},
		{"empty lines", "\n\r\n\n", nil, 0},
		{"noise", "\x00\xff\x7f{{{\n", nil, 1},
		{"noise with a return", "xx\ryy\r\n", nil, 1},
		{"a message cut by its start", `"data":{},"checksum":""}` + "\n", nil, 1},
		{"two ends in a message", `{"device":"shed",` + "\n" + `"data":{}}` + "\n", nil, 2},
		{"65 KiB", strings.Repeat("x", 65<<10) + "\n", nil, 1},
		{"a megabyte without an end, then one", strings.Repeat("x", 1<<20) + "\n", nil, 1},
		{"depth 17", strings.Repeat("[", 17) + "\n", nil, 1},
		{"duplicates", `{"device":"shed","device":"shed","data":{},"checksum":""}` + "\n", nil, 1},
		{"data is no object, the device can be told", `{"device":"shed","data":1,"checksum":""}` + "\n",
			[]string{`{"data":"data is not an object","response":false,"version":1}`}, 1},
		{"data is no object, another device", `{"device":"one","data":1,"checksum":""}` + "\n", nil, 1},
		{"another device, though signed", sign(t, "one", `{"badge":1052895,"item":"main_door"}`) + "\n",
			[]string{`{"data":"Cannot find device.","response":false,"version":1}`}, 0},
		{"a device that is not there", `{"device":"zz","data":{},"checksum":""}` + "\n",
			[]string{`{"data":"Cannot find device.","response":false,"version":1}`}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, ports := newWorld(), &haltest.Ports{}
				r := newReader(t, ports.Add("tty"))
				_, l := lineServer(t, w, ports)
				defer run(t, l)()
				for rest := tt.sent; rest != ""; { // a fake line holds less than a megabyte
					n := min(len(rest), 1000)
					r.send(rest[:n])
					rest = rest[n:]
					synctest.Wait()
				}
				for _, want := range tt.want {
					if got := r.line(); got != want {
						t.Errorf("answered %s, want %s", got, want)
					}
				}
				n := newNonce(t, r.ask(`{"operation":"get_nonce","version":2}`))
				if got := r.ask(`{"badge":1052895,"item":"shed_door","version":2,"nonce":"` + n + `"}`); got["access"] != true {
					t.Errorf("got %v", got)
				}
				want := link.LineStats{Port: "tty", Answered: 2, Bad: tt.bad, Devices: []link.DeviceStats{{LineDevice: link.LineDevice{Device: "shed", Reader: "shed-in"}, Heard: now}}}
				if tt.bad == 0 { // what was answered before was an envelope
					want.Answered += uint64(len(tt.want))
				}
				if diff := cmp.Diff(want, l.Stats()); diff != "" {
					t.Errorf("stats (-want +got):\n%s", diff)
				}
				ask := link.Ask{Device: "shed", Item: "shed_door", Door: "shed", Reader: "shed-in", Bits: badge(t, goodBadge), Via: link.ViaSerial}
				if diff := cmp.Diff([]link.Ask{ask}, w.opened); diff != "" {
					t.Errorf("asks (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// Version 1 is not spoken on a line, also by a device that may over HTTP.
func TestLineRefusesVersion1(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, ports := newWorld(), &haltest.Ports{}
		r := newReader(t, ports.Add("tty"))
		_, l := lineServer(t, w, ports)
		defer run(t, l)()
		for _, data := range []string{`{"badge":1052895,"item":"shed_door"}`, `{"version":1,"operation":"get_nonce"}`} {
			if got := r.ask(data); got["version_valid"] != false || got["response"] != false || got["data"] != "Invalid version for device." {
				t.Errorf("got %v", got)
			}
		}
		if w.state().Opened != 0 {
			t.Error("a door opened")
		}
	})
}

// Pieces of a message may come in any sizes and speeds.
func TestLineSlowly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ports := &haltest.Ports{}
		r := newReader(t, ports.Add("tty"))
		_, l := lineServer(t, newWorld(), ports)
		defer run(t, l)()
		for _, c := range sign(t, "shed", `{"version":2,"operation":"get_nonce"}`) + "\r\n" {
			time.Sleep(700 * time.Millisecond) // the bubble's time: each Read times out in between
			r.send(string(c))
		}
		newNonce(t, verified(t, "shed", r.line()))
	})
}

// A port that is not there at first, goes and comes: one event each, and the
// line goes on by itself.
func TestLineSupervision(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, ports := newWorld(), &haltest.Ports{}
		dev := ports.Add("tty")
		ports.FailOpen("tty", fs.ErrPermission)
		_, l := lineServer(t, w, ports)
		stop := run(t, l) // Ready though the port fails
		offline := func(cleared bool) []site.Event {
			return []site.Event{{Kind: site.KindFault, Time: now, Trusted: true, Device: "shed", Reader: "shed-in", Door: "shed", Text: "reader offline", Cleared: cleared}}
		}
		step := func(what string, wait time.Duration, want []site.Event, isOffline bool) {
			t.Helper()
			time.Sleep(wait) // the bubble's time
			synctest.Wait()
			if diff := cmp.Diff(want, w.taken()); diff != "" || l.Stats().Offline != isOffline {
				t.Errorf("%s: offline %v (-want +got):\n%s", what, l.Stats().Offline, diff)
			}
		}
		step("cannot be opened", time.Second, offline(false), true)
		step("still not", time.Hour, nil, true)
		ports.FailOpen("tty", nil)
		step("back within the longest delay and one read", 47*time.Second, offline(true), false)
		step("silence is not a loss", time.Hour, nil, false)
		dev.Unplug()
		step("unplugged", time.Second, offline(false), true)
		dev.Plug()
		step("plugged in", 3*time.Second, offline(true), false)
		if got := newReader(t, dev).ask(`{"operation":"get_nonce","version":2}`); got["response"] != true {
			t.Errorf("after all: %v", got)
		}
		stop()
		if dev.IsOpen() {
			t.Error("the port is open after the end")
		}
		step("the end is no loss", time.Hour, nil, false)
	})
}

// Line noise between, before and inside messages never makes the reader lose
// the line for longer than to the next end of line, and never opens a door.
func TestLineNoise(t *testing.T) {
	seed := time.Now().UnixNano()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(uint64(seed), 0))
	synctest.Test(t, func(t *testing.T) {
		w, ports := newWorld(), &haltest.Ports{}
		dev := ports.Add("tty")
		r := newReader(t, dev)
		_, l := lineServer(t, w, ports)
		defer run(t, l)()
		n, opened := newNonce(t, r.ask(`{"operation":"get_nonce","version":2}`)), 0
		for range 200 {
			damaged := []byte(sign(t, "shed", `{"badge":1052895,"item":"shed_door","version":2,"nonce":"`+n+`"}`))
			at := rnd.IntN(len(damaged))
			old := damaged[at]
			for damaged[at] = byte(rnd.UintN(256)); damaged[at] == old || damaged[at]|0x20 == old|0x20; damaged[at] = byte(rnd.UintN(256)) {
			}
			r.send(string(damaged) + "\n")
			time.Sleep(time.Second) // the bubble's time
			synctest.Wait()
			if got := w.state().Opened; got != opened {
				t.Fatalf("byte %d as %#x opened the door", at, damaged[at])
			}
			dev.Unplug() // what was answered is of no interest
			dev.Plug()
			r = newReader(t, dev)
			time.Sleep(3 * time.Second)
			got := r.ask(`{"badge":1052895,"item":"shed_door","version":2,"nonce":"` + n + `"}`)
			if got["access"] != true {
				t.Fatalf("the next message: %v", got)
			}
			opened++
			n = newNonce(t, got)
		}
	})
}

// ttyPorts opens the agent's end of a pseudo-terminal.
type ttyPorts struct{ f *os.File }

func (p ttyPorts) Open(string, int) (hal.Port, error) { return ttyPort{p.f}, nil }

type ttyPort struct{ *os.File }

func (ttyPort) SetReadTimeout(time.Duration) error { return nil }

func TestLineOverPTY(t *testing.T) {
	far, tty, err := pty.Open()
	if err != nil {
		t.Fatalf("a pseudo-terminal is needed: %v", err)
	}
	defer far.Close()
	raw(t, tty)
	w := newWorld()
	_, l := lineServer(t, w, ttyPorts{tty})
	stop := run(t, l)
	in := bufio.NewReader(far)
	ask := func(data string) map[string]any {
		t.Helper()
		if err := far.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Logf("no deadline: %v", err)
		}
		if _, err := fmt.Fprintf(far, "%s\n", sign(t, "shed", data)); err != nil {
			t.Fatal(err)
		}
		reply, err := in.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		return verified(t, "shed", strings.TrimSpace(reply))
	}
	n := newNonce(t, ask(`{"operation":"get_nonce","version":2}`))
	for range 20 {
		got := ask(`{"badge":1052895,"item":"shed_door","version":2,"nonce":"` + n + `"}`)
		if got["access"] != true {
			t.Fatalf("got %v", got)
		}
		n = newNonce(t, got)
	}
	stop()
	if w.state().Opened != 20 {
		t.Errorf("opened %d times", w.state().Opened)
	}
}

// FuzzLine sends anything in pieces: messages are found as bytes.Split finds
// them, and what follows the noise is answered.
func FuzzLine(f *testing.F) {
	f.Add([]byte("a\nb\r\n\n"), uint8(1))
	f.Add([]byte(`{"device":"shed","data":{},"checksum":""}`), uint8(7))
	f.Fuzz(func(t *testing.T, b []byte, size uint8) {
		var want, got [][]byte
		lines := bytes.Split(b, []byte("\n"))
		long := 0
		for _, l := range lines[:len(lines)-1] {
			switch l = bytes.TrimSuffix(l, []byte("\r")); {
			case len(l) > hive.MaxBytes:
				long++
			case len(l) > 0:
				want = append(want, l)
			}
		}
		split := link.NewSplitter()
		dropped := 0
		for len(b) > 0 {
			n := min(len(b), int(size)+1)
			split(b[:n], func(m []byte) { got = append(got, bytes.Clone(m)) }, func() { dropped++ })
			b = b[n:]
		}
		if diff := cmp.Diff(want, got); diff != "" || dropped < long {
			t.Errorf("dropped %d of %d (-want +got):\n%s", dropped, long, diff)
		}
	})
}
