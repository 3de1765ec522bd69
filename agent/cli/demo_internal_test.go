package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse/agent/config"
	"gatehouse/agent/control"
	"gatehouse/hal"
)

// demoLine is an input or an output of sitesim.json.
type demoLine struct {
	ID, Line string
	On       int
}

// TestDemoSite: the settings of a new demo have no fault, what sitesim plays is
// wired as they say, and a folder that is there is left alone.
func TestDemoSite(t *testing.T) {
	e := &env{}
	d, err := newDemo(e, filepath.Join(t.TempDir(), "demo"))
	if err != nil {
		t.Fatal(err)
	}
	cfg, issues, err := config.Load(d.config, buildOptions())
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range issues {
		if !strings.Contains(i.Text, "plain HTTP") {
			t.Error(i)
		}
	}
	data, err := os.ReadFile(filepath.Join(d.dir, "sitesim.json"))
	if err != nil {
		t.Fatal(err)
	}
	var world struct{ Inputs, Outputs []demoLine }
	if err := json.Unmarshal(data, &world); err != nil {
		t.Fatal(err)
	}
	level := func(l hal.Level) int {
		if l {
			return 1
		}
		return 0
	}
	in := cfg.Inputs
	want := []demoLine{
		{"fire", string(in.Fire.Line), level(!in.Fire.Normal)},
		{"panic", string(in.Panic.Line), level(in.Panic.Active)},
		{"mains", string(in.Mains.Line), level(in.Mains.Normal)},
	}
	if !slices.Equal(world.Inputs, want) {
		t.Errorf("inputs %v, want %v", world.Inputs, want)
	}
	want = nil
	for _, o := range cfg.Outputs {
		want = append(want, demoLine{string(o.ID), string(o.Line), level(o.Active)})
	}
	if !slices.Equal(world.Outputs, want) {
		t.Errorf("outputs %v, want %v", world.Outputs, want)
	}

	h := newDemoHost(d, cfg)
	if h.listen == "" || h.ca == "" || h.listen == h.ca || "https://"+h.listen+"/engage_wss" != h.server {
		t.Errorf("the host is to listen on %q and %q, the agent calls %q", h.listen, h.ca, h.server)
	}
	if len(cfg.Site.Key) != 32 || !cfg.Gateway.Local || !cfg.Uplink.FromOldest {
		t.Errorf("site key of %d bytes, gateway %+v, uplink %+v", len(cfg.Site.Key), cfg.Gateway, cfg.Uplink)
	}
	if h.program != "" || h.absent == nil { // nothing is beside a test
		t.Errorf("a host %q is run", h.program)
	}

	const older = "# mine\n"
	if err := os.WriteFile(d.config, []byte(older), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := newDemo(e, d.dir); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(d.config); err != nil || string(got) != older {
		t.Errorf("settings of an older demo became %q, %v", got, err)
	}
}

// TestDemoHostElsewhere: a host that is not the demo's own is not run, and an
// older demo's settings name none.
func TestDemoHostElsewhere(t *testing.T) {
	base := config.Config{Site: config.Site{Zone: time.UTC}}
	for _, tt := range []struct {
		server, ca, want string
	}{
		{"https://iphost.example:8080/engage_wss", "http://127.0.0.1:8081/c", "https://iphost.example:8080/engage_wss is not"},
		{"https://127.0.0.1:8080/engage_wss", "http://192.0.2.1:8081/c", "http://192.0.2.1:8081/c is not"},
		{"https://127.0.0.1/engage_wss", "http://127.0.0.1:8081/c", "with a port"},
		{"https://127.0.0.1:8080/engage_wss", "", "is not"},
	} {
		cfg := base
		cfg.Uplink = &config.Uplink{ServerURL: tt.server, CAURL: tt.ca}
		h := newDemoHost(&demo{}, &cfg)
		if h.program != "" || h.absent == nil || !strings.Contains(h.absent.Error(), tt.want) {
			t.Errorf("%s, %s: program %q, %v", tt.server, tt.ca, h.program, h.absent)
		}
		if text := h.text(); !strings.Contains(text, tt.server) || strings.Contains(text, "curl") {
			t.Errorf("%s: %s", tt.server, text)
		}
	}
	if text := newDemoHost(&demo{}, &base).text(); !strings.Contains(text, "older demo") {
		t.Error(text)
	}
}

// hostScript plays iphost's commands: it keeps a site and a token as files in its
// state folder, and fails once where FAIL lies there.
const hostScript = `#!/bin/sh
while [ $# -gt 0 ]; do case "$1" in --state) state=$2; shift;; --key-file) key=$2; shift;; --zone) shift;; *) words="$words $1";; esac; shift; done
mkdir -p "$state" && echo "$words" >>"$state/log"
case "$words" in
*list*) set -- $words; if [ -e "$state/$1" ]; then echo '[{"name":"other"},{"name":"demo"}]'; else echo '[]'; fi;;
' site add demo') [ ! -e "$state/site" ] && [ -s "$key" ] && touch "$state/site";;
' token add demo') [ -e "$state/token" ] && exit 1; touch "$state/token"; if [ -e "$state/FAIL" ]; then rm "$state/FAIL"; echo 'no disk' >&2; echo secret; exit 1; fi; echo secret;;
' token revoke demo') rm "$state/token";;
*) exit 2;;
esac
`

// TestDemoHostSetUp: site and token are made once, also where the first attempt
// was cut off between the two; the token is in its file alone.
func TestDemoHostSetUp(t *testing.T) {
	d, err := newDemo(&env{}, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	h := &demoHost{d: d, zone: "UTC", program: filepath.Join(d.dir, "iphost.sh")}
	if err := os.WriteFile(h.program, []byte(hostScript), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(h.state(), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(h.state(), "FAIL"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	err = h.setUp(t.Context())
	if err == nil || !strings.Contains(err.Error(), "token add: exit status 1: no disk") || strings.Contains(err.Error(), "secret") {
		t.Errorf("a failed command: %v", err)
	}
	auth := filepath.Join(d.dir, demoAuth)
	if _, err := os.Stat(auth); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a token's file without a token: %v", err)
	}
	for range 2 {
		if err := h.setUp(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(auth)
	if err != nil || string(got) != "Authorization: Bearer secret\n" {
		t.Errorf("header %q, %v", got, err)
	}
	if info, err := os.Stat(auth); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("its file: %v, %v", info.Mode(), err)
	}
	log, err := os.ReadFile(filepath.Join(h.state(), "log"))
	want := " site list --json\n site add demo\n token list --json\n token add demo\n" +
		" site list --json\n token list --json\n token revoke demo\n token add demo\n"
	if err != nil || string(log) != want {
		t.Errorf("commands:\n%s%v, want\n%s", log, err, want)
	}
}

// TestDemoText: every command that the demo prints is one, and a demo with older
// settings does not print what they lack.
func TestDemoText(t *testing.T) {
	for _, whole := range []bool{true, false} {
		var out bytes.Buffer
		dir := t.TempDir()
		d := &demo{e: &env{out: &out}, dir: dir, config: filepath.Join(dir, "none.yaml"), whole: whole, locks: whole}
		d.host = &demoHost{d: d, server: "https://127.0.0.1:1/w", listen: "127.0.0.1:1", https: "127.0.0.1:2", serial: "206", program: "iphost"}
		d.explain(control.Status{}, "/bin/sitesim", errors.New("sitesim is missing"))
		text := out.String()
		if got := strings.Contains(text, "fire reset"); got != whole {
			t.Errorf("whole %t: fire is spoken of: %t", whole, got)
		}
		for _, word := range []string{"GATEHOUSE", "SITESIM", "STATE", "CURL", "BROKER", "SERIAL", "PLUG", "HTTPS"} {
			if strings.Contains(text, word) {
				t.Errorf("%s was not filled in:\n%s", word, text)
			}
		}
		seen := 0
		for line := range strings.Lines(text) {
			_, args, ok := strings.Cut(line, "--config "+shown(d.config)+" ")
			if !ok {
				continue
			}
			seen++
			var stderr bytes.Buffer
			code := Main(t.Context(), append([]string{"--config", d.config}, strings.Fields(strings.TrimRight(args, ")\n"))...), &bytes.Buffer{}, &stderr)
			if code != exitRefused || !strings.Contains(stderr.String(), "none.yaml") {
				t.Errorf("%s: %d %s", strings.TrimSpace(args), code, stderr.String())
			}
		}
		if seen < 7 {
			t.Errorf("whole %t: %d commands", whole, seen)
		}
	}
}
