package config_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/agent/config"
	"gatehouse/agent/door"
	"gatehouse/agent/hive/link"
	"gatehouse/agent/reader"
	"gatehouse/agent/site"
	"gatehouse/hal"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func read(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func mustParse(t testing.TB, src string, opts config.Options) *config.Config {
	t.Helper()
	c, issues := config.Parse([]byte(src), "f", opts)
	if c == nil {
		t.Fatalf("no config: %v", texts(issues))
	}
	return c
}

// TestExample parses the example of the contract (with the door and the device
// that it refers to) in a complete build and in one without any later part.
func TestExample(t *testing.T) {
	const plain = "5:34: warning: listen.devices: plain HTTP: what passes here can be read and altered on the network; keep it on a network of its own"
	tests := []struct {
		name  string
		parts []config.Part
		want  []string
	}{
		{"complete build", config.AllParts(), []string{plain}},
		{"first build", nil, []string{
			plain,
			"8:30: warning: areas[0].occupancy: this build has no occupancy; the limit would not hold",
			"8:34: warning: areas[0].passback: this build has no anti-passback; nothing is recorded",
			"9:14: warning: interlocks[0]: this build has no interlocks; these doors could be unlocked at the same time",
			"23:10: warning: inputs.fire: this build has no fire input; the input is ignored (no door is released by it)",
			"23:59: warning: inputs.panic: this build has no panic input; the button would do nothing",
			"24:1: warning: outputs: this build has no outputs part; the section is ignored",
			"28:1: warning: locks: this build has no locks part; the section is ignored",
			"37:1: warning: swordfish: this build has no swordfish part; the section is ignored",
			"38:1: warning: gateway: this build has no gateway part; the section is ignored",
			"39:1: warning: uplink: this build has no uplink part; the section is ignored",
			"40:1: warning: mqtt: this build has no mqtt part; the section is ignored",
			"41:1: warning: bacnet: this build has no bacnet part; the section is ignored",
			"42:1: warning: presence: this build has no presence part; the section is ignored",
			"43:1: warning: notify: this build has no notify part; the section is ignored",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, issues := config.Parse(read(t, "example.yaml"), "f", options(tt.parts...))
			if diff := cmp.Diff(tt.want, texts(issues)); diff != "" {
				t.Errorf("issues (-want +got):\n%s", diff)
			}
			if c == nil {
				t.Error("no config was given")
			}
		})
	}
}

func TestExampleValues(t *testing.T) {
	c := mustParse(t, string(read(t, "example.yaml")), options(config.AllParts()...))
	wantDoor := door.Config{
		ID: "front", Name: "Front door", Strike: "GPIO24", Active: hal.High, Unlock: 5 * time.Second,
		Contact: "GPIO23", Open: hal.High, Rex: "GPIO22", RexUnlock: true, RexStuck: time.Minute,
		HeldWarn: 20 * time.Second, HeldAlarm: 30 * time.Second,
		ADAUnlock: 15 * time.Second, ADAWarn: time.Minute, ADAAlarm: 90 * time.Second, ExitRepeat: 5 * time.Second,
	}
	if diff := cmp.Diff(wantDoor, c.Doors[0]); diff != "" {
		t.Errorf("door (-want +got):\n%s", diff)
	}
	wantReaders := []reader.Config{
		{ID: "front-in", Door: "front", To: "lab", Wiegand: &reader.WiegandConfig{
			D0: "GPIO17", D1: "GPIO18", LED: "GPIO16", Beeper: "GPIO26", Silence: 25 * time.Millisecond,
		}},
		{ID: "shed-in", Door: "shed", Serial: &reader.SerialConfig{Port: "/dev/ttyUSB0", Baud: 115200, Device: "shed"}},
	}
	if diff := cmp.Diff(wantReaders, c.Readers); diff != "" {
		t.Errorf("readers (-want +got):\n%s", diff)
	}
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	wantHive := link.Config{
		Devices: []link.DeviceConfig{
			{Name: "shed", Key: link.Key("sixteen letters!"), Versions: link.Version1 | link.Version2, Items: map[string]site.DoorID{"shed_door": "shed"}},
			{Name: "vault", Key: link.Key("\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff"), Versions: link.Version1 | link.Version2},
		},
		Vend:       link.VendConfig{Alert: 1},
		QuietHours: link.QuietHours{Start: 22*60 + 30, End: 7 * 60, Zone: zone},
		Lines: []link.LineConfig{
			{Port: "/dev/ttyUSB0", Baud: 115200, Devices: []link.LineDevice{{Device: "shed", Reader: "shed-in"}}},
			{Port: "/dev/ttyUSB1", Baud: 115200, Poll: true, Devices: []link.LineDevice{{Device: "vault", Door: "vault"}}},
		},
	}
	if !reflect.DeepEqual(wantHive, c.Hive) {
		t.Errorf("hive: %+v, want %+v", c.Hive, wantHive)
	}
	for i, id := range []site.DoorID{"room5", "vault"} {
		if l := c.Locks[i]; l.ID != id || l.Profile.Model != "nde" || l.Profile.DayEnd != 1439 || c.Store.Locks[i].Door != id || c.Store.Locks[i].Profile.Users != 5000 {
			t.Errorf("lock %d: %+v, limit %+v", i, l, c.Store.Locks[i])
		}
	}
	c.Store.Locks = nil
	got := fmt.Sprint(c.StateDir, " ", c.Spool, " ", c.Store, " ", c.Clock, " ", len(c.Site.Key), " ", c.Device, c.Areas, c.Uplink.FromOldest)
	want := "/var/lib/gatehouse {/var/lib/gatehouse/events 1073741824 9600h0m0s 0} {/var/lib/gatehouse false 24h0m0s 0 []} always-only 32 " +
		"{0000000000000000A0B1000000000206 {false  }} [{lab lab 20 soft soft 8h0m0s}] false"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestLines(t *testing.T) {
	src := strings.Replace(base, "strike: {line: GPIO25}", "strike: {line: GPIO25, active: low, fail: safe}, hardware_release: true, contact: {line: GPIO7, open: low}", 1) + `
readers: [{id: in, door: front, wiegand: {d0: GPIO17, d1: GPIO18, led: GPIO16, beeper: GPIO26, beeper_active: high}}]
inputs: {fire: {line: GPIO5, normal: high}, panic: {line: GPIO6}}
outputs: [{id: siren, line: GPIO13, active: low, on: [door_forced]}]
`
	c := mustParse(t, src, options(config.AllParts()...))
	want := []config.Line{
		{Name: "GPIO24", Use: config.UseStrike, Of: "front", Output: true, Rest: hal.Low},
		{Name: "GPIO23", Use: config.UseContact, Of: "front", Rest: hal.Low},
		{Name: "GPIO22", Use: config.UseRex, Of: "front", Rest: hal.High},
		{Name: "GPIO25", Use: config.UseStrike, Of: "shed", Output: true, Rest: hal.High},
		{Name: "GPIO7", Use: config.UseContact, Of: "shed", Rest: hal.High},
		{Name: "GPIO17", Use: config.UseWiegandD0, Of: "in", Rest: hal.High},
		{Name: "GPIO18", Use: config.UseWiegandD1, Of: "in", Rest: hal.High},
		{Name: "GPIO16", Use: config.UseLED, Of: "in", Output: true, Rest: hal.High},
		{Name: "GPIO26", Use: config.UseBeeper, Of: "in", Output: true, Rest: hal.Low},
		{Name: "GPIO5", Use: config.UseFire, Rest: hal.High},
		{Name: "GPIO6", Use: config.UsePanic, Rest: hal.High},
		{Name: "GPIO13", Use: config.UseOutput, Of: "siren", Output: true, Rest: hal.High},
	}
	if diff := cmp.Diff(want, c.Lines()); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
	if c.Doors[1].Fire != door.FireRelease {
		t.Error("a fail-safe door is not released by fire by default")
	}
}

// TestGenerated compares the generated files with the golden ones and parses
// them.
func TestGenerated(t *testing.T) {
	for name, got := range map[string][]byte{
		"settings.yaml": config.Reference(), "minimal.yaml": config.Minimal(), "settings.schema.json": config.Schema(),
	} {
		if *update {
			if err := os.WriteFile(filepath.Join("testdata", name), got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(read(t, name), got) {
			t.Errorf("%s is not what the code generates; run the test with -update", name)
		}
	}
	for _, src := range [][]byte{config.Reference(), config.Minimal()} {
		if c, issues := config.Parse(src, "f", options(config.AllParts()...)); c == nil || len(issues) > 0 {
			t.Errorf("a generated file is not valid: %v", texts(issues))
		}
	}
	// The settings that the reference leaves out are known and well formed.
	hidden := regexp.MustCompile(`(?m)^#( *(?:- )?[a-z_]+:)`)
	_, body, _ := bytes.Cut(config.Reference(), []byte("\n\n"))
	_, issues := config.Parse(hidden.ReplaceAll(body, []byte("$1")), "f", options(config.AllParts()...))
	for _, i := range issues {
		if strings.Contains(i.Text, "unknown") || strings.Contains(i.Text, "want a ") || strings.Contains(i.Text, "not valid") {
			t.Errorf("reference: %v", i)
		}
	}
	if !json.Valid(config.Schema()) {
		t.Error("the schema is not JSON")
	}
}

// TestSchemaIsWhole walks the schema beside the example: every key of the
// example must be in it.
func TestSchemaIsWhole(t *testing.T) {
	var s map[string]any
	if err := json.Unmarshal(config.Schema(), &s); err != nil {
		t.Fatal(err)
	}
	var walk func(path string, s map[string]any)
	count := 0
	walk = func(path string, s map[string]any) {
		if items, ok := s["items"].(map[string]any); ok {
			walk(path+"[]", items)
		}
		props, ok := s["properties"].(map[string]any)
		if ok && s["additionalProperties"] != false {
			t.Errorf("%s lets unknown keys pass", path)
		}
		for k, v := range props {
			count++
			p := v.(map[string]any)
			if p["description"] == "" {
				t.Errorf("%s.%s has no description", path, k)
			}
			walk(path+"."+k, p)
		}
	}
	walk("", s)
	if count < 100 {
		t.Errorf("the schema has only %d keys", count)
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode fs.FileMode) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := config.Load(filepath.Join(dir, "none.yaml"), config.Options{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
	write("site.yaml", strings.Replace(base, "Berlin}", "Berlin, key_file: sitekey}", 1)+"state_dir: state\n", 0o644)
	write("sitekey", siteKeyText, 0o600)
	c, issues, err := config.Load(filepath.Join(dir, "site.yaml"), config.Options{})
	if err != nil || c == nil {
		t.Fatalf("load: %v %v", err, issues)
	}
	if want := filepath.Join(dir, "state"); c.StateDir != want || len(c.Site.Key) != 32 {
		t.Errorf("state %s, want %s; key of %d bytes", c.StateDir, want, len(c.Site.Key))
	}
	if err := os.Chmod(filepath.Join(dir, "sitekey"), 0o604); err != nil {
		t.Fatal(err)
	}
	c, issues, err = config.Load(filepath.Join(dir, "site.yaml"), config.Options{})
	if c != nil || err != nil || !errors.Is(config.Err(issues), config.ErrInvalid) {
		t.Errorf("a site key that all may read: %v %v %v", c, issues, err)
	}
	if _, _, err := config.ReadKeyFile(dir); err == nil {
		t.Error("a folder was read as a key file")
	}
}

// TestStateFolder: a state_dir that is no folder, and can be none, is a fault of its line.
func TestStateFolder(t *testing.T) {
	dir := t.TempDir()
	file, settings := filepath.Join(dir, "file"), filepath.Join(dir, "site.yaml")
	if err := errors.Join(os.WriteFile(file, nil, 0o600), os.Mkdir(filepath.Join(dir, "folder"), 0o700),
		os.Symlink("nowhere", filepath.Join(dir, "lost")), os.Symlink("folder", filepath.Join(dir, "link"))); err != nil {
		t.Fatal(err)
	}
	for state, why := range map[string]string{
		"folder": "", "folder/new/new": "", "link": "", "link/new": "",
		"file": "DIR/file is no folder", "file/state": "DIR/file is no folder", "file/a/b": "DIR/file is no folder",
		"lost": "DIR/lost is a link to nothing", "lost/state": "DIR/lost is a link to nothing",
	} {
		if err := os.WriteFile(settings, []byte(base+"state_dir: "+state+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		var want []string
		if why != "" {
			want = []string{"DIR/site.yaml:8:12: error: state_dir: cannot be the state folder: " + why}
		}
		c, issues, err := config.Load(settings, config.Options{})
		if err != nil || (c == nil) != (why != "") {
			t.Errorf("%s: config %v, %v", state, c, err)
		}
		got := texts(issues)
		for i := range got {
			got[i] = strings.ReplaceAll(got[i], dir, "DIR")
		}
		if diff := cmp.Diff(want, got); len(want)+len(got) > 0 && diff != "" {
			t.Errorf("%s (-want +got):\n%s", state, diff)
		}
	}
}

// TestNoKeyFiles checks that without a reader no device gets an empty key.
func TestNoKeyFiles(t *testing.T) {
	c, issues := config.Parse([]byte(base+"hive: {devices: [{name: a, key_file: k}]}\n"), "f", config.Options{})
	want := []string{"8:38: error: hive.devices[0].key_file: key files cannot be read here"}
	if diff := cmp.Diff(want, texts(issues)); diff != "" || c != nil {
		t.Errorf("config %v, issues (-want +got):\n%s", c, diff)
	}
}

// TestRedacted prints a whole Config in all ways and looks for the keys.
func TestRedacted(t *testing.T) {
	c := mustParse(t, string(read(t, "example.yaml")), options(config.AllParts()...))
	j, err := json.Marshal(struct {
		Key  config.SiteKey
		Hive link.Config
	}{c.Site.Key, c.Hive})
	if err != nil {
		t.Fatal(err)
	}
	all := fmt.Sprintf("%v %+v %#v %s %x %s", c.Site, c.Site, c.Site, c.Site.Key, c.Site.Key, j)
	for _, secret := range []string{"00010203", "0x1, 0x2", "0 1 2 3", "sixteen", "AAECAw"} {
		if strings.Contains(all, secret) {
			t.Errorf("%q shows in %s", secret, all)
		}
	}
}

func TestParseDuration(t *testing.T) {
	for in, want := range map[string]time.Duration{
		"": -1, "5": -1, "0": -1, "-5s": -1, "+5s": -1, "5 s": -1, "1y": -1, "d": -1, "1.5d": -1, "36501d": -1, "36500d1ms": -1,
		"5us": -1, "1e3s": -1, "s": -1, "99999999999999999999h": -1, "1d1d": -1, "1h2d": -1,
		"5s": 5 * time.Second, "250ms": 250 * time.Millisecond, "1h30m": 90 * time.Minute, "400d": 9600 * time.Hour,
		"1d12h": 36 * time.Hour, "1.5h": 90 * time.Minute, "0s": 0, "36500d": 36500 * 24 * time.Hour,
	} {
		got, err := config.ParseDuration(in)
		if err != nil {
			got = -1
		}
		if got != want {
			t.Errorf("%q: %v, want %v", in, got, want)
		}
	}
}

// TestManyWarnings checks that warnings without end do not make a fault.
func TestManyWarnings(t *testing.T) {
	src := base[:strings.Index(base, "areas:")]
	for i := range 300 {
		src += fmt.Sprintf("  - {id: d%d, strike: {line: L%d}, relock: on_open}\n", i, i)
	}
	c, issues := config.Parse([]byte(src), "f", options())
	if c == nil || len(issues) != 201 {
		t.Errorf("config %t, %d issues", c != nil, len(issues))
	}
}

// TestManyFaults checks that what a file makes Parse say is bounded.
func TestManyFaults(t *testing.T) {
	src := base
	for i := range 5000 {
		src += fmt.Sprintf("key%d: 1\n", i)
	}
	_, issues := config.Parse([]byte(src), "f", options())
	if len(issues) != 201 {
		t.Errorf("%d issues", len(issues))
	}
}
