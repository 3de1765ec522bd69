package spool

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// syncFile flushes content and size. fdatasync(2) leaves out time stamps only.
func syncFile(f *os.File) error {
	for {
		err := unix.Fdatasync(int(f.Fd()))
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// lockFile takes flock(2)'s exclusive lock without waiting.
func lockFile(f *os.File) error {
	err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return ErrLocked
	}
	return err
}
