package link_test

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// raw turns off what a terminal does to bytes, as an open serial port has it.
func raw(t *testing.T, f *os.File) {
	t.Helper()
	conn, err := f.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var inner error
	err = conn.Control(func(fd uintptr) {
		var tio *unix.Termios
		if tio, inner = unix.IoctlGetTermios(int(fd), unix.TCGETS); inner != nil {
			return
		}
		tio.Iflag, tio.Oflag, tio.Lflag = 0, 0, 0
		tio.Cflag = unix.CS8 | unix.CREAD | unix.CLOCAL
		tio.Cc[unix.VMIN], tio.Cc[unix.VTIME] = 1, 0
		inner = unix.IoctlSetTermios(int(fd), unix.TCSETS, tio)
	})
	if err != nil || inner != nil {
		t.Fatal(err, inner)
	}
}
