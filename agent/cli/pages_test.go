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

// TestPages: every command that a page of docs prints is one, with the arguments
// that stand there.
func TestPages(t *testing.T) {
	pages, err := filepath.Glob(filepath.Join("..", "..", "docs", "*.md"))
	if err != nil || len(pages) < 5 {
		t.Fatal(pages, err)
	}
	a := newAgent(t)
	stdin(t, "1234\n")
	seen := map[string]int{}
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			command, ok := strings.CutPrefix(strings.TrimLeft(line, " "), "gatehouse ")
			if !ok || !strings.HasPrefix(line, "    ") {
				continue
			}
			seen[filepath.Base(page)]++
			command, _, _ = strings.Cut(command, "#")
			args := words(command)
			if args[0] == "--config" { // of the demo
				args = args[2:]
			}
			switch strings.Join(args[:min(2, len(args))], " ") {
			case "events tail":
				args = append(args, "--follow=false")
			case "credential pin": // asks on a terminal; the test has none
				args = append(args, "--pin-stdin")
			}
			if code, _, stderr := a.run(args...); code == 2 {
				t.Errorf("%s: %s: %s", page, strings.TrimSpace(command), stderr)
			}
		}
	}
	for page, want := range map[string]int{"operations.md": 30, "locks.md": 5, "notify.md": 1} {
		if seen[page] < want {
			t.Errorf("%d commands in docs/%s", seen[page], page)
		}
	}
}
