package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// binaryRows builds the release binary as the Makefile does, with make, and
// looks at its size.
func binaryRows(b *bench) ([]row, error) {
	out, err := exec.CommandContext(b.ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return nil, fmt.Errorf("go env: %w", err)
	}
	root := filepath.Dir(strings.TrimSpace(string(out)))
	to := filepath.Join(b.dir, "build")
	cmd := exec.CommandContext(b.ctx, "make", "-C", root, "linux-arm64", "BUILD="+to)
	if text, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("make linux-arm64: %w: %.2000s", err, text)
	}
	info, err := os.Stat(filepath.Join(to, "linux-arm64", "gatehouse"))
	if err != nil {
		return nil, err
	}
	return []row{{Name: "arm64_binary", Value: mebibytes(uint64(info.Size())), Bar: 25, Unit: "MiB",
		Detail: map[string]any{"bytes": info.Size()}}}, nil
}
