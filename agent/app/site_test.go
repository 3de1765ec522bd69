package app_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse/agent/app"
	"gatehouse/agent/config"
	"gatehouse/agent/control"
	"gatehouse/agent/site"
	"gatehouse/hal"
	"gatehouse/hal/haltest"
)

// testSettings is a site on the fake board: a door of each kind of relock, a
// Wiegand reader, a Hive device over HTTP and one on a serial line.
const testSettings = `version: 1
site: {name: Test, timezone: Europe/Berlin}
device: {serial: "0000000000000000A0B1000000000206", board: sim}
state_dir: .
listen: {https: "127.0.0.1:0", devices: "127.0.0.1:0"}
doors:
  - id: front
    name: Front door
    strike: {line: GPIO24, active: high, unlock: 2s, fail: secure}
    contact: {line: GPIO23, open: high}
    rex: {line: GPIO22, active: low}
    held_open: {warn: 20s, alarm: 30s}
  - id: shed
    strike: {line: GPIO25, active: low, unlock: 2s, fail: secure}
readers:
  - {id: front-in, door: front, wiegand: {d0: GPIO17, d1: GPIO18, led: GPIO16}}
  - {id: shed-in, door: shed, serial: {port: /dev/line1, baud: 9600}, hive_device: shed}
hive:
  devices:
    - {name: shed, key_file: shed.key, versions: [2], items: {shed_door: shed}}
    - {name: kiosk, key_file: kiosk.key, items: {front_door: front}}
`

const hiveKey = "00112233445566778899aabbccddeeff"

// testSite is one state folder and the hardware of one site, over restarts of
// its agent.
type testSite struct {
	t     *testing.T
	dir   string
	board *haltest.Board
	ports *haltest.Ports
	clock *haltest.Clock
	line  *haltest.Device // the far end of the serial line
	log   *slog.Logger    // nil: discard

	gateway http.Handler   // nil: none is mounted
	keeps   []hal.LineName // outputs that the board's kernel goes on driving
}

func newTestSite(t *testing.T) *testSite {
	t.Helper()
	dir, err := os.MkdirTemp("", "gh") // t.TempDir's paths may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := &testSite{t: t, dir: dir, board: &haltest.Board{}, ports: &haltest.Ports{}, clock: &haltest.Clock{}}
	s.clock.Set(time.Now())
	s.clock.SetSynchronised(true)
	s.line = s.ports.Add("/dev/line1")
	for name, text := range map[string]string{"site.yaml": testSettings, "shed.key": hiveKey, "kiosk.key": "text:sixteen letters!"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for line, level := range map[hal.LineName]hal.Level{"GPIO23": hal.Low, "GPIO22": hal.High, "GPIO17": hal.High, "GPIO18": hal.High} {
		s.board.Drive(line, level)
	}
	return s
}

// running is an agent that runs.
type running struct {
	*testSite
	app    *app.App
	client *control.Client
	cancel context.CancelFunc
	ended  chan error
}

// start runs an agent until the test ends or stop is called.
func (s *testSite) start() *running {
	s.t.Helper()
	a := s.build()
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{testSite: s, app: a, client: control.Dial(filepath.Join(s.dir, "control.sock")), cancel: cancel, ended: make(chan error, 1)}
	go func() { r.ended <- a.Run(ctx) }()
	s.t.Cleanup(func() { r.stop() })
	select {
	case <-a.Ready():
	case err := <-r.ended:
		s.t.Fatalf("run: %v", err)
	case <-time.After(20 * time.Second):
		s.t.Fatal("not ready")
	}
	// Doors decide before the readers listen.
	wait(s.t, "the reader", func() bool { return s.board.Claimed("GPIO17") })
	return r
}

// stop ends the agent in order.
func (r *running) stop() {
	r.cancel()
	if err, ok := <-r.ended; ok && err != nil {
		r.t.Errorf("run: %v", err)
	}
	select {
	case <-r.ended:
	default:
		close(r.ended)
	}
}

// enrol imports rows of holder,format,facility,card,rights.
func (r *running) enrol(rows ...string) {
	r.t.Helper()
	csv := "holder,format,facility,card,rights\n" + strings.Join(rows, "\n") + "\n"
	err := r.client.Stream(r.t.Context(), http.MethodPost, "/v1/credentials/import", url.Values{"format": {"csv"}}, strings.NewReader(csv), func([]byte) error { return nil })
	if err != nil {
		r.t.Fatal(err)
	}
}

// card presents a 26-bit card at the Wiegand reader.
func (r *running) card(hexBits string) {
	r.t.Helper()
	r.frame(haltest.Bits(26, hexBits))
}

// bitPace is a slow reader's. A frame ends by the reader's timer after four times as
// long: this process may lose the processor for that long between two edges.
const bitPace = 3 * time.Millisecond

// frame presents bits at the Wiegand reader, stamped at an even pace however
// busy this machine is.
func (r *running) frame(bits string) {
	length := time.Duration(len(bits)) * bitPace
	time.Sleep(length + 30*time.Millisecond) // as long as it takes, and a silence since what was before
	r.board.WiegandAt("GPIO17", "GPIO18", bits, bitPace, r.board.Now()-length)
}

// wait polls until ok: the agent's goroutines run in real time here.
func wait(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within 5 s", what)
		}
	}
}

func (r *running) waitLevel(line hal.LineName, want hal.Level) {
	r.t.Helper()
	wait(r.t, fmt.Sprintf("%s %v", line, want), func() bool { return r.board.Level(line) == want })
}

// events returns the kept events of a kind; an empty kind is all.
func (r *running) events(kind site.Kind) []site.Event {
	r.t.Helper()
	q := url.Values{}
	if kind != "" {
		q.Set("kind", string(kind))
	}
	var out []site.Event
	err := r.client.Stream(r.t.Context(), http.MethodGet, "/v1/events", q, nil, func(line []byte) error {
		var ev site.Event
		out = append(out, ev)
		return json.Unmarshal(line, &out[len(out)-1])
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return out
}

// waitEvent waits for an event that fits and returns it.
func (r *running) waitEvent(what string, kind site.Kind, fits func(site.Event) bool) site.Event {
	r.t.Helper()
	var found site.Event
	wait(r.t, what, func() bool {
		for _, ev := range r.events(kind) {
			if fits(ev) {
				found = ev
				return true
			}
		}
		return false
	})
	return found
}

// ask sends a command to the agent's control socket.
func (r *running) ask(method, path string, in, out any) error {
	return r.client.Do(r.t.Context(), method, path, in, out)
}

func (r *running) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// refused reports whether the agent answered with a refusal.
func refused(err error) bool {
	_, ok := errors.AsType[*control.Refusal](err)
	return ok
}

func itoa(n site.EventSeq) string { return fmt.Sprint(uint64(n)) }

// keepingBoard is the fake board with a kernel that goes on driving some outputs.
type keepingBoard struct {
	hal.Board
	keeps []hal.LineName
}

func (b keepingBoard) KeepsOutputs(n hal.LineName) bool { return slices.Contains(b.keeps, n) }

// build makes an agent that does not run yet.
func (s *testSite) build() *app.App {
	s.t.Helper()
	cfg, issues, err := config.Load(filepath.Join(s.dir, "site.yaml"), config.Options{Parts: config.AllParts()})
	if err == nil {
		err = config.Err(issues)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	a, err := app.New(cfg, app.Hardware{Board: keepingBoard{s.board, s.keeps}, Ports: s.ports, Clock: s.clock}, app.Options{Version: "test", Issues: issues, Log: s.log})
	if err != nil {
		s.t.Fatal(err)
	}
	a.SetGateway(s.gateway)
	return a
}
