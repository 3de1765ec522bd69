package cli_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestDoctorWithoutAgent: where no agent answers, doctor says what to do.
func TestDoctorWithoutAgent(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "gatehouse.yaml")
	if err := os.WriteFile(file, []byte(settings), 0o600); err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr := run(t.Context(), "doctor", "--config", file)
	if code != 1 || stderr != "gatehouse: 1 fault found\n" || !strings.HasPrefix(stdout, "WRONG no agent answers\n  cause: no agent answers on "+filepath.Join(dir, "control.sock")) || !strings.Contains(stdout, "gatehouse run") {
		t.Errorf("%d %s%s", code, stdout, stderr)
	}
	code, stdout, _ = run(t.Context(), "doctor", "--json", "--config", file)
	var found []struct {
		What, Cause, Do string
		Wrong           bool
	}
	if err := json.Unmarshal([]byte(stdout), &found); err != nil || code != 1 || len(found) != 1 || !found[0].Wrong || found[0].Do == "" {
		t.Errorf("%d %v %s", code, err, stdout)
	}
}

// TestHelpAbout: help tells of a command as --help does, and of nothing else.
func TestHelpAbout(t *testing.T) {
	for args, want := range map[string]string{"help": "Available Commands", "help door lockdown": "--area", "help why": "--bits", "help help": "help"} {
		code, stdout, stderr := run(t.Context(), strings.Fields(args)...)
		if code != 0 || stderr != "" || !strings.Contains(stdout, want) {
			t.Errorf("%s: %d %s%s", args, code, stdout, stderr)
		}
	}
}

// TestWrongUseSaysWhere: arguments that are wrong name the command that they are wrong for.
func TestWrongUseSaysWhere(t *testing.T) {
	for args, want := range map[string]string{
		"door unlock":             "gatehouse: accepts 1 arg(s), received 0 (gatehouse door unlock ID)\n",
		"right add abcd":          "gatehouse: requires at least 2 arg(s), only received 1 (gatehouse right add CREDENTIAL RIGHT...)\n",
		"holiday add x --days 2":  "gatehouse: unknown flag: --days (gatehouse holiday add ID FIRST [LAST])\n",
		"admin token list --kind": "gatehouse: unknown flag: --kind (gatehouse admin token list)\n",
		"--fly":                   "gatehouse: unknown flag: --fly\n",
		"qqqqqqqq":                "gatehouse: unknown command \"qqqqqqqq\" for \"gatehouse\"\n",
		"help fly":                "gatehouse: help fly: no such command\n",
		"help door fly":           "gatehouse: help door fly: no such command\n",
		"door mode front open":    "gatehouse: mode \"open\" is not known (one of secured, passage, frozen_secured, frozen_passage, disabled, auto)\n",
		"events tail -n 0":        "gatehouse: events tail: --last 0: want 1 or more\n",
	} {
		code, stdout, stderr := run(t.Context(), strings.Fields(args)...)
		if code != 2 || stdout != "" || stderr != want {
			t.Errorf("%s: %d %s%s", args, code, stdout, stderr)
		}
	}
	if code, _, stderr := run(t.Context(), "events", "tail", "-n", "-1"); code != 2 || !strings.Contains(stderr, "(gatehouse events tail)") {
		t.Errorf("%d %s", code, stderr)
	}
}

// TestExportJSON: --json makes an export JSON, where no format is named.
func TestExportJSON(t *testing.T) {
	a := newAgent(t)
	a.must("credential", "add", "--holder", "Ada", "--bits", "8:01")
	for args, array := range map[string]bool{"--json": true, "--format json": true, "--json --format csv": false, "": false} {
		out := a.must(append([]string{"credential", "export"}, strings.Fields(args)...)...)
		var rows []map[string]string
		if err := json.Unmarshal([]byte(out), &rows); (err == nil) != array || array && len(rows) != 1 {
			t.Errorf("%q: %v %s", args, err, out)
		}
	}
}

// TestOneLine: what came from elsewhere makes no second line and moves no terminal.
func TestOneLine(t *testing.T) {
	a := newAgent(t)
	a.events[0].By, a.events[0].Text = "eve\n     3  2026", "\x1b[2Jgone"
	a.alarms[0].Text = "a\x1b[2J\nb"
	for _, args := range []string{"events tail --follow=false", "alarms list"} {
		if out := a.must(strings.Fields(args)...); strings.ContainsAny(out, "\x1b") || strings.Contains(out, "eve\n") || strings.Contains(out, "\nb") {
			t.Errorf("%s: %q", args, out)
		}
	}
	if code, _, stderr := a.run("alarms", "ack", "7", "--by", "eve\n\x1b[2J"); code != 1 || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, "control character") {
		t.Errorf("%d %q", code, stderr)
	}
}

// TestLockdownThatHasEnded: a lockdown whose end has passed locks nothing, and says no other.
func TestLockdownThatHasEnded(t *testing.T) {
	a := newAgent(t)
	code, stdout, stderr := a.run("door", "lockdown", "--all", "--end", "-5m")
	if code != 1 || stdout != "" || !strings.Contains(stderr, "has passed; no door was locked down") || len(a.did) != 0 {
		t.Errorf("%d %s%s %v", code, stdout, stderr, a.did)
	}
	a.must("door", "lockdown", "--all", "--end", "5m")
}

// TestDoorTestZone: the times of a door's test are the site's, as all others, and what
// there is now is shown however short it is.
func TestDoorTestZone(t *testing.T) {
	a := newAgent(t)
	if err := os.WriteFile(a.config, []byte(strings.Replace(settings, "timezone: UTC", "timezone: Asia/Kathmandu", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	zone, err := time.LoadLocation("Asia/Kathmandu") // 5:45 from UTC: no machine's zone by chance
	if err != nil {
		t.Fatal(err)
	}
	before := time.Now().In(zone)
	out := a.must("door", "test", "front", "--for=1ns", "--click=false")
	after := time.Now().In(zone)
	shown, _, _ := strings.Cut(out, " ")
	if first, last := before.Format("15:04:05.000"), after.Format("15:04:05.000"); first <= last && (shown < first || shown > last) {
		t.Errorf("%s is not from %s to %s", shown, first, last)
	}
}
