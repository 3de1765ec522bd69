package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

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

// TestDemoText: every command that the demo prints is one, and a demo with older
// settings does not print what they lack.
func TestDemoText(t *testing.T) {
	for _, whole := range []bool{true, false} {
		var out bytes.Buffer
		dir := t.TempDir()
		d := &demo{e: &env{out: &out}, dir: dir, config: filepath.Join(dir, "none.yaml"), whole: whole}
		d.explain(control.Status{}, "/bin/sitesim", errors.New("sitesim is missing"))
		text := out.String()
		if got := strings.Contains(text, "fire reset"); got != whole {
			t.Errorf("whole %t: fire is spoken of: %t", whole, got)
		}
		if strings.Contains(text, "GATEHOUSE") || strings.Contains(text, "SITESIM") || strings.Contains(text, "STATE/") {
			t.Errorf("a word was not filled in:\n%s", text)
		}
		seen := 0
		for line := range strings.Lines(text) {
			_, args, ok := strings.Cut(line, "--config "+shown(d.config)+" ")
			if !ok {
				continue
			}
			seen++
			var stderr bytes.Buffer
			code := Main(t.Context(), append([]string{"--config", d.config}, strings.Fields(args)...), &bytes.Buffer{}, &stderr)
			if code != exitRefused || !strings.Contains(stderr.String(), "none.yaml") {
				t.Errorf("%s: %d %s", strings.TrimSpace(args), code, stderr.String())
			}
		}
		if seen < 7 {
			t.Errorf("whole %t: %d commands", whole, seen)
		}
	}
}
