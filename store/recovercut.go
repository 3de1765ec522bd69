package store

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// beginRecovery notes, durably, that the policy is being recovered and why. What
// is in its place from now on may be a copy that lacks the last changes, or an
// empty file: both sound.
func (s *Store) beginRecovery(cause error) error {
	return writeWhole(s.path(recoveringName), func(f *os.File) error {
		_, err := f.WriteString(cause.Error() + "\n")
		return err
	})
}

// endRecovery says that the policy is whole and that the nonces are replaced.
func (s *Store) endRecovery() error {
	err := os.Remove(s.path(recoveringName))
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
func (s *Store) cutRecovery() (cause, err error) {
	b, err := os.ReadFile(s.path(recoveringName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	first, _, _ := bytes.Cut(b[:min(len(b), 500)], []byte("\n"))
	return fmt.Errorf("its recovery was cut short; the cause of that was: %q", first), nil
}
