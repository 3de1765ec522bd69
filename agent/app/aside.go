package app

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// setAside moves a file that cannot be read into the quarantine folder beside it
// (design.md promise 5: set aside, never deleted) and returns its new path; empty
// when it could not be moved.
func setAside(path string) string {
	dir := filepath.Join(filepath.Dir(path), "quarantine")
	aside := filepath.Join(dir, filepath.Base(path)+"."+strconv.FormatInt(time.Now().UnixNano(), 10))
	if errors.Join(os.MkdirAll(dir, 0o700), os.Rename(path, aside)) != nil {
		return ""
	}
	return aside
}
