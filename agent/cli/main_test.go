package cli_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gatehouse/agent/app"
	"gatehouse/agent/control"
	"gatehouse/agent/site"
)

func TestDoors(t *testing.T) {
	a := newAgent(t)
	for _, tt := range []step{
		{"door list", "ID     NAME        MODE     LOCK      DOOR    ALARM  UNTIL\nfront  Front door  secured  locked    closed  -      -\nshed   Shed        passage  unlocked  open    held   2026-11-21 12:00:00"},
		{"door show front --json", `{"id":"front","name":"Front door","mode":"secured","locked":true,"open":false,"alarm":"","until":""}`},
		{"door unlock front --for 3s", "door front is unlocked for a moment"},
		{"door lock front", "door front is locked, mode secured"},
		{"door mode shed auto", "door shed follows its schedule"},
		{"door mode shed passage --end 2026-12-24", "door shed is in mode passage until 2026-12-24 00:00:00"},
		{"door lockdown --all", "locked down: front, shed"},
		{"door release front --json", `{"doors":["front"]}`},
		{"alarms list", "ID  KIND         WHERE  BEGAN                ENDED  TIMES  ACKNOWLEDGED  TEXT\n7   door_forced  shed   2026-11-21 12:00:00  -      2      -             -\n9   fault        shed shed-in kiosk  2026-11-21 12:00:00  -      1      -             hive: wrong checksum"},
		{"alarms ack 7 --by eve", "alarm 7 is acknowledged by eve"},
		{"events tail --follow=false", "1  2026-11-21 12:00:00  access  front  front-in  granted  Ada  …68 a41f0c\n2  2026-11-21 12:00:00?  door_forced  cleared  shed"},
		{"events export --door shed", `{"log":"","seq":2,…`},
		{"why --door front --credential abcd", "credential         abcd                                         refused\nrefused: revoked (the credential was revoked)"},
		{"doctor", "note  the clock\n  cause: no server\n  do:    name one"},
		{"version --json", `{"version":"dev"}`},
		{"door test front --for 1ms --click=false --json", `{"door":"front","open":false,"locked":true}`},
	} {
		text := strings.Join(lines(a.must(tt.split()...)), "\n")
		want, begins := strings.CutSuffix(tt.stdout, "…")
		if begins && strings.HasPrefix(text, want) || squeeze(text) == squeeze(want) {
			continue
		}
		t.Errorf("%s (-want +got):\n%s", tt.args, cmp.Diff(want, text))
	}
	want := []string{"front unlock 3s", "front lock", "shed auto", "shed mode passage 2026-12-24", "front lockdown", "shed lockdown", "front release"}
	if d := cmp.Diff(want, a.did[:len(want)]); d != "" {
		t.Error(d)
	}
}

func TestStatus(t *testing.T) {
	a := newAgent(t)
	got := a.must("status")
	for _, want := range []string{"Test site (206)", "doors decide: yes", "listening: control x\nlistening: https 127.0.0.1:8443\n", "FAULT f", "warning: a warning", "reader front-in (wiegand) at front: ok"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	var st control.Status
	if err := json.Unmarshal([]byte(a.must("status", "--json")), &st); err != nil || !st.Ready {
		t.Errorf("%+v, %v", st, err)
	}
	a.ready, a.wrong = false, true
	for _, args := range [][]string{{"status"}, {"status", "--json"}, {"doctor"}, {"doctor", "--json"}} {
		if code, _, stderr := a.run(args...); code != 1 || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%v: %d %s", args, code, stderr)
		}
	}
}

// TestRefused: what the agent refuses is 1, with one line that says what and
// where, and nothing on standard output.
func TestRefused(t *testing.T) {
	a := newAgent(t)
	a.must("credential", "add", "--holder", "Ada", "--bits", "8:01")
	for args, want := range map[string]string{
		"door show attic":                                 "attic",
		"door unlock attic":                               "attic",
		"door lockdown --area attic":                      "area",
		"alarms ack 8 --by eve":                           "8",
		"holder show nobody":                              "nobody",
		"holder remove Ada":                               "still has",
		"credential show 0000":                            "0000",
		"credential show zz":                              "zz",
		"credential add --holder Ada --bits 8:01":         "enrolled",
		"credential add --holder Ada --bits 8:0102":       "bits",
		"credential add --holder Ada --format X --card 1": "X",
		"credential list --state lost":                    "lost",
		"credential list --holder nobody":                 "nobody",
		"credential enrol --holder A --reader x":          "x",
		"credential import nothing.csv":                   "nothing.csv",
		"right add 0000 front":                            "0000",
		"credential import nothing.csv --json":            "nothing.csv",
		"level show x":                                    "x",
		"level set x --right attic":                       "attic",
		"level remove x":                                  "x",
		"schedule remove x":                               "x",
		"holiday remove x":                                "x",
	} {
		code, stdout, stderr := a.run(strings.Fields(args)...)
		last := lines(stderr)
		if code != 1 || stdout != "" || len(last) == 0 || !strings.HasPrefix(last[len(last)-1], "gatehouse: ") || !strings.Contains(last[len(last)-1], want) {
			t.Errorf("%s: %d %s%s", args, code, stdout, stderr)
		}
	}
}

// TestWrongUse: a command that is used wrongly is 2, and asks no agent.
func TestWrongUse(t *testing.T) {
	stdin(t, "")
	for _, args := range []string{
		"fly", "dor", "door", "door fly", "--fly", "status x", "door unlock", "door unlock a b", "door unlock a --for x", "door unlock a --for -1s", "door mode a", "door mode a open", "door mode a lockdown",
		"door mode a passage --end noon", "door lockdown", "door lockdown a --all", "door release", "alarms ack", "alarms ack x --by a", "events tail --from noon", "events tail -n x", "why --door a",
		"why --door a --credential b --bits 8:01", "run --state x",
		"holder", "holder add", "holder rename a", "holder list --limit x", "credential", "credential add", "credential add --holder A", "credential add --bits 8:01",
		"credential add --holder A --holder-id h1 --bits 8:01", "credential add --holder A --bits 8:01 --function fly", "credential add --holder A --bits 8:01 --right a@", "credential add --holder A --bits 8:01 --until noon",
		"credential add --holder A --bits 8:01 --uses -1", "credential enrol --holder A", "credential enrol --reader r", "credential replace abcd", "credential replace abcd --reader r --card 1", "credential revoke",
		"credential import", "credential import a --format xml", "credential export --format xml", "credential pin", "credential pin abcd --clear --pin-stdin", "credential level",
		"right", "right add abcd", "right add abcd a@", "right remove abcd", "right list", "level", "level set", "level set a/b", "level set x --right @", "schedule set x", "schedule set x --on mo", "schedule set x --from 08:00",
		"schedule set x --interval noon", "schedule set x --on xy --from 08:00 --to 09:00", "holiday add x", "holiday add x 2026-02-30", "holiday add x 2026-03-02 2026-03-01", "holiday add x 2026-03-02 --kind 0", "holiday add x 2026-03-02 --kind 9", "man", "completion", "completion csh", "completion fish extra",
		"events export --kind door_force", "events tail --kind acces",
	} {
		code, stdout, stderr := run(t.Context(), append([]string{"--config", filepath.Join(t.TempDir(), "none.yaml")}, strings.Fields(args)...)...)
		if code != 2 || stdout != "" || strings.Count(stderr, "\n") != 1 || !strings.HasPrefix(stderr, "gatehouse: ") ||
			strings.Contains(stderr, "; ;") || strings.Contains(stderr, "gatehouse: gatehouse") {
			t.Errorf("%s: %d %s%s", args, code, stdout, stderr)
		}
	}
	a := newAgent(t)
	a.must("credential", "add", "--holder", "Ada", "--bits", "8:01")
	for _, args := range []string{"credential pin abcd --pin-stdin", "credential pin abcd", "credential add --holder Ada --bits 8:02 --pin", "credential add --holder Ada --bits 8:02 --pin --pin-stdin"} {
		if code, stdout, stderr := a.run(strings.Fields(args)...); code != 2 || stdout != "" {
			t.Errorf("%s: %d %s", args, code, stderr)
		}
	}
}

// TestNoAgent: without an agent, or without settings, it says where it looked.
func TestNoAgent(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "gatehouse.yaml")
	if code, _, stderr := run(t.Context(), "--config", file, "status"); code != 1 || !strings.Contains(stderr, file) {
		t.Errorf("%d %s", code, stderr)
	}
	if err := os.WriteFile(file, []byte(settings), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GATEHOUSE_CONFIG", file)
	code, stdout, stderr := run(t.Context(), "holder", "list")
	if code != 1 || stdout != "" || !strings.Contains(stderr, "no agent answers on "+filepath.Join(dir, "control.sock")) {
		t.Errorf("%d %s%s", code, stdout, stderr)
	}
	if err := os.WriteFile(file, []byte(settings+"doors: []\nshoes: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := run(t.Context(), "status", "--config", file); code != 1 || !strings.Contains(stderr, file+":") {
		t.Errorf("%d %s", code, stderr)
	}
}

// TestHelp: each command has a word of help and answers --help.
func TestHelp(t *testing.T) {
	code, stdout, stderr := run(t.Context(), "--help")
	if code != 0 || stderr != "" || !strings.Contains(stdout, "Exit codes: 0 done, 1 refused or failed, 2 wrong use.") {
		t.Errorf("%d %s%s", code, stdout, stderr)
	}
	for _, name := range []string{"run", "check", "status", "doctor", "door", "holder", "credential", "right", "level", "schedule", "holiday", "events", "alarms", "fire", "lock", "why", "version", "completion"} {
		if !strings.Contains(stdout, "\n  "+name+" ") {
			t.Errorf("no %s in the help", name)
		}
	}
}

func TestCompletion(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		code, stdout, stderr := run(t.Context(), "completion", shell)
		if code != 0 || stderr != "" || !strings.Contains(stdout, "gatehouse") {
			t.Errorf("%s: %d %s", shell, code, stderr)
		}
	}
	code, stdout, _ := run(t.Context(), "__complete", "credential", "re")
	if code != 0 || !strings.Contains(stdout, "revoke") || !strings.Contains(stdout, "replace") {
		t.Errorf("%d %s", code, stdout)
	}
}

func TestMan(t *testing.T) {
	dir := t.TempDir()
	if code, stdout, stderr := run(t.Context(), "man", dir); code != 0 || stdout+stderr != "" {
		t.Fatalf("%d %s%s", code, stdout, stderr)
	}
	for page, want := range map[string]string{"gatehouse.1": "access-control agent", "gatehouse-credential-import.1": "2000000 records", "gatehouse-schedule-set.1": "Mo-Fr 08:00-18:00", "gatehouse-lock-list.1": "serial lock that does not answer", "gatehouse-door-lockdown.1": "has no live line"} {
		data, err := os.ReadFile(filepath.Join(dir, page))
		if err != nil || !strings.Contains(strings.ReplaceAll(string(data), `\-`, "-"), want) {
			t.Errorf("%s: %v", page, err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "gatehouse-agent.1")); err == nil {
		t.Error("a hidden command has a page")
	}
	if code, _, stderr := run(t.Context(), "man", filepath.Join(dir, "none")); code != 1 {
		t.Errorf("%d %s", code, stderr)
	}
}

var _ control.Policy = (*agent)(nil)

// TestEventsAsContract: --json writes events as they come.
func TestEventsAsContract(t *testing.T) {
	a := newAgent(t)
	for i, l := range lines(a.must("events", "export", "--json")) {
		var ev site.Event
		if err := json.Unmarshal([]byte(l), &ev); err != nil || ev.Seq != a.events[i].Seq {
			t.Errorf("%s: %v", l, err)
		}
	}
}

// TestReadme: the commands of README's first door are ones that there are.
func TestReadme(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	a := newAgent(t)
	ends := map[string]string{"door test": "--for=1ms", "events tail": "--follow=false"}
	seen := 0
	for line := range strings.Lines(string(text)) {
		command, ok := strings.CutPrefix(line, "    gatehouse ")
		command, _, _ = strings.Cut(command, "#")
		args := strings.Fields(command)
		if !ok || len(args) < 2 { // check and run want a machine
			continue
		}
		seen++
		if end := ends[args[0]+" "+args[1]]; end != "" {
			args = append(args, end)
		}
		if code, _, stderr := a.run(args...); code == 2 {
			t.Errorf("%s: %s", command, stderr)
		}
	}
	if seen < 4 {
		t.Errorf("%d commands in README.md", seen)
	}
}

// TestRunTwice: a second run on the same state is refused at once, with a
// settings file and as a demo, and a state that is let go can be taken.
func TestRunTwice(t *testing.T) {
	dir := t.TempDir()
	settings := filepath.Join(dir, "gatehouse.yaml")
	text := "version: 1\nsite: {name: S, timezone: Etc/UTC}\ndevice: {serial: \"00000000000000000000000000000206\", board: sim}\n" +
		"state_dir: .\ndoors: [{id: front, strike: {line: GPIO24}}]\n"
	if err := os.WriteFile(settings, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	unlock, err := app.LockRun(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"run", "--config", settings}, {"run", "--demo", "--state", dir}} {
		code, stdout, stderr := run(t.Context(), args...)
		if code != 1 || stdout != "" || stderr != "gatehouse: state: another gatehouse runs on "+dir+"\n" {
			t.Errorf("%v: %d %s%s", args, code, stdout, stderr)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "sim.sock")); err == nil {
		t.Error("the refused one held the board")
	}
	unlock()
	unlock, err = app.LockRun(dir)
	if err != nil {
		t.Fatal(err)
	}
	unlock()
}
