package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestKillWithOutput kills or stops the agent, or kills its supervisor, while an
// output is on. Each time it is de-energised within 2 s, and stays so after the
// restart: what turned it on is over.
func TestKillWithOutput(t *testing.T) {
	dir, err := os.MkdirTemp("", "gh") // t.TempDir's paths may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	settings := killSettings + "outputs: [{id: opener, line: GPIO12, active: low, on: [access], for: 1h}]\n"
	if err := os.WriteFile(filepath.Join(dir, "site.yaml"), []byte(strings.Replace(settings, "unlock: 4s", "unlock: 1s", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	v := startVictim(t, dir)
	t.Cleanup(func() { v.stop() })
	v.waitReady()
	enrol(t, dir)
	board := dialBoard(t, dir)
	for _, fault := range []string{"kill agent", "stop agent", "kill supervisor"} {
		pid := v.waitReady()
		if board.level("GPIO12") != 1 {
			t.Fatalf("%s: the output is on before the card\n%s", fault, v.story(0))
		}
		if !board.present() {
			t.Fatalf("%s: the strike was not energised\n%s", fault, v.story(0))
		}
		if _, ok := board.waitLevel("GPIO12", 0, safeWithin); !ok {
			t.Fatalf("%s: the output was not turned on\n%s", fault, v.story(0))
		}
		v.strike(fault, pid)
		took, ok := board.waitLevel("GPIO12", 1, safeWithin)
		if !ok {
			t.Fatalf("%s: the output is still on after %v\n%s", fault, took, v.story(0))
		}
		t.Logf("%s: off after %v", fault, took)
		if fault == "kill supervisor" {
			_ = v.cmd.Wait()
			v.output.Close()
			waitGone(t, pid)
			v = startVictim(t, dir)
		}
		v.waitReady()
		if board.level("GPIO12") != 1 {
			t.Fatalf("%s: the output is on after the restart", fault)
		}
	}
}
