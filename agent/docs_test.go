package main

import (
	"bytes"
	"flag"
	"os"
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
