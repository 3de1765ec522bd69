//go:build unix

package serial_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"gatehouse/hal"
	"gatehouse/hal/serial"
)

// line is a pseudo-terminal: what is written to far comes out of the port.
func line(t *testing.T) (far *os.File, name string) {
	t.Helper()
	far, near, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	name = near.Name()
	// near stays open, so that far does not hang up between two openings.
	t.Cleanup(func() { _ = near.Close(); _ = far.Close() })
	return far, name
}

func open(t *testing.T, name string) hal.Port {
	t.Helper()
	p, err := serial.Ports{}.Open(name, 115200)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

func TestBothWays(t *testing.T) {
	far, name := line(t)
	p := open(t, name)
	// Each byte value, so that nothing is taken for a control character.
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	if n, err := p.Write(all); n != len(all) || err != nil {
		t.Fatalf("write: %d, %v", n, err)
	}
	got := make([]byte, len(all))
	if _, err := io.ReadFull(far, got); err != nil || !bytes.Equal(got, all) {
		t.Errorf("the device got %x, %v", got, err)
	}
	if _, err := far.Write(all); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(p, got); err != nil || !bytes.Equal(got, all) {
		t.Errorf("the port got %x, %v", got, err)
	}
}

func TestMode(t *testing.T) {
	far, name := line(t)
	_ = open(t, name)
	rc, err := far.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var s *unix.Termios
	if cerr := rc.Control(func(fd uintptr) { s, err = unix.IoctlGetTermios(int(fd), unix.TCGETS) }); cerr != nil || err != nil {
		t.Fatal(cerr, err)
	}
	if s.Cflag&unix.CSIZE != unix.CS8 || s.Cflag&(unix.PARENB|unix.CSTOPB|unix.CRTSCTS) != 0 || s.Cflag&unix.CBAUD != unix.B115200 {
		t.Errorf("not 115200 8N1 without flow control: cflag %o", s.Cflag)
	}
	if s.Lflag&(unix.ECHO|unix.ICANON|unix.ISIG) != 0 || s.Iflag&(unix.IXON|unix.ICRNL) != 0 {
		t.Errorf("not raw: lflag %o, iflag %o", s.Lflag, s.Iflag)
	}
}

func TestTimeout(t *testing.T) {
	far, name := line(t)
	p := open(t, name)
	for _, d := range []time.Duration{0, 20 * time.Millisecond} {
		if err := p.SetReadTimeout(d); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		if n, err := p.Read(make([]byte, 8)); n != 0 || err != nil {
			t.Errorf("%v: got %d, %v, want 0, nil", d, n, err)
		}
		if took := time.Since(begin); took < d {
			t.Errorf("timeout %v was over after %v", d, took)
		}
	}
	if err := p.SetReadTimeout(-5); err != nil {
		t.Fatalf("a wait without end: %v", err)
	}
	if _, err := far.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if n, err := p.Read(make([]byte, 8)); n != 1 || err != nil {
		t.Errorf("got %d, %v", n, err)
	}
}

func TestOpenRefuses(t *testing.T) {
	_, name := line(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(name, link); err != nil {
		t.Fatal(err)
	}
	dangling := filepath.Join(dir, "dangling")
	if err := os.Symlink(filepath.Join(dir, "nothing"), dangling); err != nil {
		t.Fatal(err)
	}
	_ = open(t, name)
	tests := []struct {
		name string
		port string
		baud int
		want error // nil: any
	}{
		{"missing", filepath.Join(dir, "ttyUSB9"), 9600, fs.ErrNotExist},
		{"dangling link", dangling, 9600, fs.ErrNotExist},
		{"no name", "", 9600, fs.ErrNotExist},
		{"a file", file, 9600, nil},
		{"a folder", dir, 9600, nil},
		{"no speed", name, 0, nil},
		{"negative speed", name, -1, nil},
		{"held", name, 9600, hal.ErrBusy},
		{"held, by its link", link, 9600, hal.ErrBusy},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, err := serial.Ports{}.Open(tt.port, tt.baud)
			if err == nil {
				_ = p.Close()
				t.Fatal("opened")
			}
			if tt.want != nil && !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}

func TestLink(t *testing.T) {
	far, name := line(t)
	link := filepath.Join(t.TempDir(), "shed-serial")
	if err := os.Symlink(name, link); err != nil {
		t.Fatal(err)
	}
	for range 2 { // closing gives the port back
		p := open(t, link)
		if _, err := far.Write([]byte("hi")); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 2)
		if _, err := io.ReadFull(p, got); err != nil || string(got) != "hi" {
			t.Errorf("got %q, %v", got, err)
		}
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestPeerCloses(t *testing.T) {
	far, near, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	name := near.Name()
	p := open(t, name)
	_ = near.Close()
	done := make(chan error, 1)
	go func() {
		_, err := p.Read(make([]byte, 1))
		done <- err
	}()
	if err := far.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err == nil {
		t.Error("no error from a line that hung up")
	}
	if err := p.Close(); err != nil {
		t.Errorf("close of a line that hung up: %v", err)
	}
}

func TestCloseEndsReadAndWrite(t *testing.T) {
	tests := []struct {
		name string
		do   func(hal.Port) error
	}{
		{"read", func(p hal.Port) error { _, err := p.Read(make([]byte, 1)); return err }},
		// Nobody reads the other end, so the driver's buffer fills.
		{"write", func(p hal.Port) error { _, err := p.Write(make([]byte, 1<<20)); return err }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, name := line(t)
			p := open(t, name)
			begun, done := make(chan struct{}), make(chan error, 1)
			go func() {
				close(begun)
				done <- tt.do(p)
			}()
			<-begun
			if err := p.Close(); err != nil {
				t.Fatal(err)
			}
			if err := <-done; !errors.Is(err, hal.ErrClosed) {
				t.Errorf("got %v", err)
			}
			if err := p.Close(); err != nil {
				t.Errorf("second close: %v", err)
			}
			if err := tt.do(p); !errors.Is(err, hal.ErrClosed) {
				t.Errorf("after close: %v", err)
			}
		})
	}
}
