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

// TestPromisesNameTests: every test that docs/promises.md names exists, in the
// folder that stands before it.
func TestPromisesNameTests(t *testing.T) {
	text, err := os.ReadFile("../docs/promises.md")
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]bool{} // "agent/door TestModel"
	folders := map[string]bool{}
	err = filepath.WalkDir("..", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		folder := strings.TrimPrefix(filepath.ToSlash(filepath.Dir(path)), "../")
		folders[folder] = true
		data, err := os.ReadFile(path)
		for _, m := range regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`).FindAllSubmatch(data, -1) {
			have[folder+" "+string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	named, folder := 0, ""
	for row := range strings.Lines(string(text)) {
		if strings.HasPrefix(row, "|") {
			folder = ""
		}
		for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(row, -1) {
			switch word := m[1]; {
			case folders[word]:
				folder = word
			case regexp.MustCompile(`^(Test|Fuzz)\w+$`).MatchString(word):
				if named++; !have[folder+" "+word] {
					t.Errorf("%s %s does not exist", folder, word)
				}
			case strings.HasPrefix(word, "…"):
				t.Errorf("%s: write the whole name", word)
			}
		}
	}
	if named < 200 {
		t.Errorf("only %d tests are named", named)
	}
}
