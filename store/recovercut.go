package store

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// The names of the notes in STATE that a file is being recovered. Each says what
// was wrong with it.
const (
	policyRecovering  = "policy.recovering"
	devicesRecovering = "devices.recovering"
)

// beginRecovery notes, durably, that a file is being recovered and why. What is in
// its place from now on may be a copy that lacks the last changes, or an empty
// file: both sound.
func (s *Store) beginRecovery(note string, cause error) error {
	return writeWhole(s.path(note), func(f *os.File) error {
		_, err := f.WriteString(cause.Error() + "\n")
		return err
	})
}

// endRecovery says that the file has all that it is to have.
func (s *Store) endRecovery(note string) error {
	err := os.Remove(s.path(note))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = syncDir(s.cfg.Dir)
	}
	if err != nil {
		return fmt.Errorf("recover: %w", err)
	}
	return nil
}

// cutRecovery returns why a recovery was begun that a cut has ended; nil: none
// was.
func (s *Store) cutRecovery(note string) (cause, err error) {
	b, err := os.ReadFile(s.path(note))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	first, _, _ := bytes.Cut(b[:min(len(b), 500)], []byte("\n"))
	return fmt.Errorf("its recovery was cut short; the cause of that was: %q", first), nil
}

// DoorsKept says that the caller has kept the states of the doors again after
// Report.DevicesLost. Until then the next start takes the devices file for lost.
func (s *Store) DoorsKept() error { return storeErr("doors kept", s.endRecovery(devicesRecovering)) }
