package host

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// ErrInUse is returned when another process uses the state folder.
var ErrInUse = errors.New("another iphost uses this state folder")

// Lock takes the state folder for this process. The kernel gives it back when
// the process ends, however it does.
func Lock(dir string) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("host: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("host: %s: %w", dir, ErrInUse)
		}
		return nil, fmt.Errorf("host: lock %s: %w", dir, err)
	}
	return func() { f.Close() }, nil
}
