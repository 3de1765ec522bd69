package lock

import (
	"errors"
	"fmt"
	"os"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// PTY is the devices' end of a pseudo-terminal in raw mode. The far end stays open
// here too, so that an agent may close and open it.
type PTY struct {
	*os.File
	far *os.File
}

// OpenPTY makes a pseudo-terminal and a link to its far end at path, replacing an
// old link. Close ends a Read that waits; the link stays.
func OpenPTY(path string) (*PTY, error) {
	master, far, err := pty.Open()
	if err != nil {
		return nil, err
	}
	p, err := newPTY(master, far)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("pty: %w", err), master.Close(), far.Close())
	}
	if err := replaceLink(far.Name(), path); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

func newPTY(master, far *os.File) (*PTY, error) {
	t, err := unix.IoctlGetTermios(int(far.Fd()), unix.TCGETS)
	if err != nil {
		return nil, err
	}
	t.Iflag, t.Oflag, t.Lflag = 0, 0, 0
	t.Cflag = t.Cflag&^(unix.CSIZE|unix.PARENB) | unix.CS8
	if err := unix.IoctlSetTermios(int(far.Fd()), unix.TCSETS, t); err != nil {
		return nil, err
	}
	// pty.Open leaves the master blocking, so that Close would not end a Read.
	fd, err := unix.FcntlInt(master.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	if err := master.Close(); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	return &PTY{File: os.NewFile(uintptr(fd), "ptmx"), far: far}, nil
}

func replaceLink(target, path string) error {
	if fi, err := os.Lstat(path); err == nil && fi.Mode()&os.ModeSymlink != 0 {
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	return os.Symlink(target, path)
}

// Close closes both ends.
func (p *PTY) Close() error { return errors.Join(p.File.Close(), p.far.Close()) }
