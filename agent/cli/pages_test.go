package cli_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// words splits a line as a shell does, as far as the pages need it.
func words(line string) []string {
	var out []string
	for i, part := range strings.Split(line, `"`) {
		if i%2 == 1 {
			out = append(out, part)
		} else {
			out = append(out, strings.Fields(part)...)
		}
	}
	return out
}

// TestOperationsPage: every command of docs/operations.md is one.
func TestOperationsPage(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	a := newAgent(t)
	stdin(t, "1234\n")
	seen := 0
	for line := range strings.Lines(string(text)) {
		command, ok := strings.CutPrefix(line, "    gatehouse ")
		if !ok {
			continue
		}
		seen++
		command, _, _ = strings.Cut(command, "#")
		args := words(command)
		switch strings.Join(args[:min(2, len(args))], " ") {
		case "events tail":
			args = append(args, "--follow=false")
		case "credential pin": // asks on a terminal; the test has none
			args[len(args)-1] = "--pin-stdin"
		}
		if code, _, stderr := a.run(args...); code == 2 {
			t.Errorf("%s: %s", strings.TrimSpace(command), stderr)
		}
	}
	if seen < 30 {
		t.Errorf("%d commands in docs/operations.md", seen)
	}
}
