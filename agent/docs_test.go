package main

import (
	"bytes"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"gatehouse/agent/config"
)

var update = flag.Bool("update", false, "rewrite the generated files of docs/")

// TestDocsAreGenerated: the settings' reference and schema in docs/ are those
// of the code. `go test ./agent -run Docs -update` writes them.
func TestDocsAreGenerated(t *testing.T) {
	for path, want := range map[string][]byte{
		"../docs/settings.yaml":        config.Reference(),
		"../docs/settings.schema.json": config.Schema(),
	} {
		if *update {
			if err := os.WriteFile(path, want, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is not what the code says: run go test ./agent -run Docs -update", path)
		}
	}
}

// TestPromisesNameTests: every test that docs/promises.md names exists.
func TestPromisesNameTests(t *testing.T) {
	text, err := os.ReadFile("../docs/promises.md")
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]bool{}
	err = filepath.WalkDir("..", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		data, err := os.ReadFile(path)
		for _, m := range regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`).FindAllSubmatch(data, -1) {
			have[string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("`((?:Test|Fuzz)\\w+)`").FindAllSubmatch(text, -1)
	if len(named) < 30 {
		t.Errorf("only %d tests are named", len(named))
	}
	for _, m := range named {
		if !have[string(m[1])] {
			t.Errorf("%s does not exist", m[1])
		}
	}
}
