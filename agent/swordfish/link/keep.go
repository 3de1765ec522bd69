package link

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// The files of a lock: its id and one of these.
const (
	fileState   = ".lock"    // state
	fileTable   = ".table"   // tables
	fileConfig  = ".config"  // the Config that it put last
	filePending = ".pending" // a config of the host that waits
	fileDamaged = ".damaged" // after the name of a file that was set aside
	fileNew     = ".new-"    // before one that is being written
)

// replaceFile replaces path by data in one step: after a power cut the file is the
// old one or the new one, and once it returned nil it is the new one.
func replaceFile(path string, data []byte) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, fileNew+"*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// removeFile removes path for good; one that is not there is removed.
func removeFile(path string) error {
	err := os.Remove(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// setAside keeps a damaged file under another name, which it returns. An older one
// is kept as well, up to 9 of them; then the newest of them makes room.
func setAside(path string) (string, error) {
	to := path + fileDamaged
	for i := 2; i <= 9; i++ {
		if _, err := os.Lstat(to); errors.Is(err, fs.ErrNotExist) {
			break
		}
		to = fmt.Sprintf("%s%s-%d", path, fileDamaged, i)
	}
	if err := os.Rename(path, to); err != nil {
		return "", err
	}
	return to, syncDir(filepath.Dir(path))
}

// openDir makes the folder and removes what writes that were cut short left.
func openDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), fileNew) && e.Type().IsRegular() {
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}
