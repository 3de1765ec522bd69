//go:build unix

// Package serial opens serial ports for gatehouse: package hal's Ports on
// go.bug.st/serial, 8 data bits, no parity, one stop bit, no flow control.
//
// # Exclusive
//
// A port belongs to one opener. go.bug.st/serial asks the terminal driver for
// that (TIOCEXCL), which the driver grants against everybody but root. So a port
// is also locked with flock(2), as minicom and picocom do; either refuses a
// second opener with hal.ErrBusy. The name may be a symbolic link: link and
// target are the same port.
//
// # Two descriptors
//
// go.bug.st/serial opens the port, sets it up and holds it. Its Write on a line
// that does not drain cannot be ended by Close, and after a Close it writes to
// whatever file has the number by then. So bytes go through a second descriptor,
// the locked one, by Go's own poller.
//
// # Concurrency
//
// All methods of a Port may be called at any moment. Readers take turns, and so
// do writers. Close ends a Read and a Write that wait, with hal.ErrClosed.
//
// # Limits
//
// The speed is any that the driver takes, also one without a constant of its own.
// Timeouts below a millisecond are a millisecond. A line that hangs up (an
// adapter pulled, the other side of a pseudo-terminal closed) is an error of
// Read: close the port and open it again.
package serial

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"
	"time"

	bugst "go.bug.st/serial"
	"golang.org/x/sys/unix"

	"gatehouse/hal"
)

var (
	_ hal.Ports = Ports{}
	_ hal.Port  = (*port)(nil)
)

// minTimeout is the shortest wait of a Read: with a deadline that has passed
// already, the poller would not look for bytes at all.
const minTimeout = time.Millisecond

// Ports opens the serial ports of this machine. The zero value is ready.
type Ports struct{}

// Open implements hal.Ports. name is a path, "/dev/ttyUSB0", or a link to one.
// The error is hal.ErrBusy when another holds the port, fs.ErrNotExist when there
// is none, fs.ErrPermission when this process may not.
func (Ports) Open(name string, baud int) (hal.Port, error) {
	if baud <= 0 {
		return nil, fmt.Errorf("serial: open %s: %d baud is not a speed", name, baud)
	}
	file, err := lock(name)
	if err != nil {
		return nil, fmt.Errorf("serial: open %s: %w", name, mapped(err))
	}
	held, err := bugst.Open(name, &bugst.Mode{BaudRate: baud, DataBits: 8, Parity: bugst.NoParity, StopBits: bugst.OneStopBit})
	if err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("serial: open %s: %w", name, mapped(err))
	}
	p := &port{name: name, held: held, file: file}
	p.timeout.Store(-1)
	return p, nil
}

// lock opens name and takes the advisory lock. NOCTTY keeps the terminal from
// becoming ours; NONBLOCK does not wait for a carrier and gives the file to the
// poller.
func lock(name string) (*os.File, error) {
	fd, err := unix.Open(name, unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// mapped gives the errors that callers branch on their names.
func mapped(err error) error {
	var pe *bugst.PortError
	switch {
	case errors.As(err, &pe):
		switch pe.Code() {
		case bugst.PortBusy:
			return hal.ErrBusy
		case bugst.PermissionDenied:
			return fs.ErrPermission
		case bugst.InvalidSerialPort:
			return fmt.Errorf("not a serial port: %w", err)
		}
	case errors.Is(err, unix.EBUSY), errors.Is(err, unix.EWOULDBLOCK):
		return hal.ErrBusy
	case errors.Is(err, os.ErrClosed), errors.Is(err, io.EOF):
		return hal.ErrClosed // of ours, or the end of a line that hung up
	}
	return err
}

// port is an open serial port.
type port struct {
	name    string
	held    bugst.Port   // keeps mode and exclusive use; moves no bytes
	file    *os.File     // locked; moves the bytes
	timeout atomic.Int64 // of the next Read, in nanoseconds; negative: without end
	rd      sync.Mutex   // one reader at a time: its deadline is the file's
	once    sync.Once
}

// Read implements hal.Port.
func (p *port) Read(b []byte) (int, error) {
	p.rd.Lock()
	defer p.rd.Unlock()
	var deadline time.Time
	if t := time.Duration(p.timeout.Load()); t >= 0 {
		deadline = time.Now().Add(max(t, minTimeout))
	}
	if err := p.file.SetReadDeadline(deadline); err != nil {
		if !errors.Is(err, os.ErrNoDeadline) {
			err = hal.ErrClosed // os does not give this one a name
		}
		return 0, fmt.Errorf("serial: read %s: %w", p.name, mapped(err))
	}
	n, err := p.file.Read(b)
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		return n, fmt.Errorf("serial: read %s: %w", p.name, mapped(err))
	}
	return n, nil
}

// Write implements hal.Port. It waits for room in the driver's buffer.
func (p *port) Write(b []byte) (int, error) {
	n, err := p.file.Write(b)
	if err != nil {
		return n, fmt.Errorf("serial: write %s: %w", p.name, mapped(err))
	}
	return n, nil
}

// SetReadTimeout implements hal.Port. It holds from the next Read on.
func (p *port) SetReadTimeout(t time.Duration) error {
	p.timeout.Store(int64(t))
	return nil
}

// Close implements hal.Port. Calls after the first do nothing.
func (p *port) Close() (err error) {
	p.once.Do(func() {
		// The library's descriptor first: the lock goes when the port is free.
		if err = errors.Join(p.held.Close(), p.file.Close()); err != nil {
			err = fmt.Errorf("serial: close %s: %w", p.name, err)
		}
	})
	return err
}
