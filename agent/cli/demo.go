package cli

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"gatehouse/agent/control"
)

// The demo is a small site on the simulated board: two doors with contacts and
// exit buttons, a Wiegand reader, a Hive reader on a serial line (a
// pseudo-terminal) and one that calls over HTTP. Its state is a folder that may
// be kept and started again.

// demoSettings is the demo's settings file; the two addresses are filled in.
const demoSettings = `# The settings of the demo site. Change them and start the demo again.
version: 1
site: {name: Demo site, timezone: %s}
device: {serial: "0000000000000000A0B1000000000206", board: sim}
state_dir: .
listen: {https: "%s", devices: "%s"}
clock: {untrusted: always-only}
events: {budget: 64MiB, keep: 400d}
doors:
  - id: front
    name: Front door
    strike: {line: GPIO24, active: high, unlock: 5s, fail: secure}
    contact: {line: GPIO23, open: high}
    rex: {line: GPIO22, active: low, unlock: true}
    held_open: {warn: 20s, alarm: 30s}
    ada: {unlock: 15s, warn: 60s, alarm: 90s}
    relock: on_close
  - id: shed
    name: Shed
    strike: {line: GPIO25, active: high, unlock: 5s, fail: secure}
    contact: {line: GPIO12, open: high}
    rex: {line: GPIO13, active: low, unlock: true}
    held_open: {warn: 20s, alarm: 30s}
    relock: on_open
readers:
  - {id: front-in, door: front, mode: card, wiegand: {d0: GPIO17, d1: GPIO18, led: GPIO16, beeper: GPIO26}}
  - {id: shed-in, door: shed, serial: {port: tty-shed, baud: 115200}, hive_device: shed}
hive:
  devices:
    - {name: shed, key_file: hive-shed.key, versions: [2], items: {shed_door: shed}}
    - {name: kiosk, key_file: hive-kiosk.key, versions: [1, 2], items: {front_door: front}}
`

// demoWorld is the demo's sitesim.json; the URL is filled in.
const demoWorld = `{
 "board": "sim.sock",
 "doors": [
  {"id": "front", "strike": "GPIO24", "unlocked": 1, "contact": "GPIO23", "open": 1, "exit": "GPIO22", "pressed": 0},
  {"id": "shed", "strike": "GPIO25", "unlocked": 1, "contact": "GPIO12", "open": 1, "exit": "GPIO13", "pressed": 0}
 ],
 "readers": [
  {"id": "front-in", "door": "front", "d0": "GPIO17", "d1": "GPIO18"},
  {"id": "shed-in", "door": "shed", "device": "shed", "key_file": "hive-shed.key", "item": "shed_door", "pty": "tty-shed"},
  {"id": "kiosk", "door": "front", "device": "kiosk", "key_file": "hive-kiosk.key", "item": "front_door", "url": "%s"}
 ]
}
`

// demoPolicy is enrolled at the first start, as an operator would import it.
const demoPolicy = `holder,format,facility,card,rights,function
Ada,H10301,77,1568,front;shed,
Bob,H10301,77,1570,front,
Carol,H10301,55,10984,front;shed,blocked
`

// demo holds what a demo run needs.
type demo struct {
	e      *env
	dir    string
	config string
}

// newDemo makes the folder and its files where they are missing. It changes
// nothing that is there.
func newDemo(e *env, dir string) (*demo, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	d := &demo{e: e, dir: dir, config: filepath.Join(dir, "gatehouse.yaml")}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("demo: %w", err)
	}
	if _, err := os.Stat(d.config); !errors.Is(err, fs.ErrNotExist) {
		return d, err
	}
	for _, name := range []string{"hive-shed.key", "hive-kiosk.key"} {
		key := make([]byte, 16)
		if _, err := rand.Read(key); err != nil {
			return nil, err
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(hex.EncodeToString(key)+"\n"), 0o600); err != nil {
			return nil, fmt.Errorf("demo: %w", err)
		}
	}
	https, err := freeAddress("127.0.0.1:8443")
	if err != nil {
		return nil, err
	}
	devices, err := freeAddress("127.0.0.1:8480")
	if err != nil {
		return nil, err
	}
	world := fmt.Sprintf(demoWorld, "http://"+devices+"/api/access")
	if err := os.WriteFile(filepath.Join(dir, "sitesim.json"), []byte(world), 0o600); err != nil {
		return nil, fmt.Errorf("demo: %w", err)
	}
	// The settings come last: a folder with them is complete.
	if err := os.WriteFile(d.config, fmt.Appendf(nil, demoSettings, localZone(), https, devices), 0o600); err != nil {
		return nil, fmt.Errorf("demo: %w", err)
	}
	return d, nil
}

// localZone is the machine's time zone where it has a name, else UTC.
func localZone() string {
	if name := time.Local.String(); name != "Local" && name != "" {
		return name
	}
	if target, err := os.Readlink("/etc/localtime"); err == nil {
		if _, name, ok := strings.Cut(target, "/zoneinfo/"); ok {
			if _, err := time.LoadLocation(name); err == nil {
				return name
			}
		}
	}
	return "UTC"
}

// freeAddress returns want, or the same host with a free port when it is taken.
func freeAddress(want string) (string, error) {
	for _, addr := range []string{want, "127.0.0.1:0"} {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			continue
		}
		defer l.Close()
		return l.Addr().String(), nil
	}
	return "", fmt.Errorf("demo: no free port beside %s", want)
}

// attend waits for the agent, enrols the demo's people the first time and prints
// where to look. sim is the program that plays the site; empty: it is missing.
func (d *demo) attend(ctx context.Context, sim string, missing error) error {
	c := control.Dial(filepath.Join(d.dir, "control.sock"))
	st, err := d.waitReady(ctx, c)
	if err != nil {
		return err
	}
	if st.Store.Version == 0 {
		if err := d.enrol(ctx, c); err != nil {
			return fmt.Errorf("demo: enrol: %w", err)
		}
	}
	d.explain(st, sim, missing)
	return nil
}

// demoStart bounds the wait for the first answer.
const demoStart = 30 * time.Second

func (d *demo) waitReady(ctx context.Context, c *control.Client) (control.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, demoStart)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		var st control.Status
		if err := c.Get(ctx, "/v1/status", nil, &st); err == nil && st.Ready {
			return st, nil
		}
		select {
		case <-ctx.Done():
			return st, fmt.Errorf("demo: the agent did not become ready: %w", ctx.Err())
		case <-tick.C:
		}
	}
}

func (d *demo) enrol(ctx context.Context, c *control.Client) error {
	return c.Stream(ctx, http.MethodPost, "/v1/credentials/import", nil, strings.NewReader(demoPolicy), func([]byte) error { return nil })
}

// companion finds a program that stands beside this one.
func (d *demo) companion(name string) (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	path := filepath.Join(filepath.Dir(self), name)
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("%s is not beside gatehouse", name)
	}
	return path, nil
}

// play runs sitesim until ctx ends, and starts it again should it end before.
func (d *demo) play(ctx context.Context, path string) {
	for {
		cmd := exec.CommandContext(ctx, path, "run", "--state", d.dir)
		cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
		cmd.WaitDelay = 5 * time.Second
		cmd.Stderr = d.e.err
		err := cmd.Run()
		if ctx.Err() != nil {
			return
		}
		fmt.Fprintf(d.e.err, "demo: sitesim ended (%v); starting it again\n", err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Second):
		}
	}
}

// waitPlaying waits a moment for sitesim's socket: its pseudo-terminal should be
// there before the agent looks for it.
func (d *demo) waitPlaying(ctx context.Context) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for range 100 {
		c, err := net.Dial("unix", filepath.Join(d.dir, "sitesim.sock"))
		if err == nil {
			c.Close()
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// explain prints where to look and what to paste.
func (d *demo) explain(st control.Status, sim string, missing error) {
	self, err := os.Executable()
	if err != nil {
		self = "gatehouse"
	}
	gh := shown(self) + " --config " + shown(d.config)
	if missing != nil {
		fmt.Fprintf(d.e.out, "\n%v: nobody plays the doors and readers; the agent runs all the same.\n", missing)
		sim = "sitesim"
	}
	sim = shown(sim) + " --state " + shown(d.dir)
	if _, err := d.companion("iphost"); err != nil {
		fmt.Fprintf(d.e.out, "\n%v: the site runs without a cloud.\n", err)
	}
	listen, err := json.Marshal(st.Listen)
	if err != nil {
		listen = nil
	}
	fmt.Fprintf(d.e.out, `
The demo site runs. State: %[1]s   listeners: %[2]s
Sign in: on this machine by the control socket (root, or the group gatehouse);
the commands below use it, there is no password.
Enrolled: Ada 77/1568 (both doors), Bob 77/1570 (front only), Carol 55/10984 (blocked).

Paste into another terminal, in this folder:

  a card at the Wiegand reader, granted and refused
    %[4]s card front-in 77 1568
    %[4]s card front-in 55 10984
  at the Hive reader on the serial line (Bob has no right at the shed)
    %[4]s card shed-in 77 1568
    %[4]s card shed-in 77 1570
  at the Hive reader over HTTP
    %[4]s card kiosk 77 1570
    %[4]s card kiosk 1 2
  an exit, a door held open (warning after 20 s, alarm after 30 s), a door forced
    %[4]s exit front
    %[4]s card front-in 77 1568 --stay && %[4]s open front --for 40s
    %[4]s open shed --force
  watch events, see doors and alarms, ask why
    %[3]s events tail
    %[3]s door list
    %[3]s alarms list
    %[3]s why --door shed --bits 26:26831140
  lock the site down and release it
    %[3]s door lockdown --all
    %[3]s door release --all
  cut the WAN: the same site with no network at all but loopback
    unshare --net sh -c 'ip link set lo up; exec %[5]s run --demo --state %[1]s'

Ctrl-C ends it; the state stays in %[1]s.
`, shown(d.dir), listen, gh, sim, shown(self))
}

// shown writes a path as a person in this folder would type it.
func shown(path string) string {
	wd, err := os.Getwd()
	if err != nil {
		return path
	}
	rel, err := filepath.Rel(wd, path)
	if err != nil || strings.HasPrefix(rel, "..") {
		return path
	}
	return rel
}
