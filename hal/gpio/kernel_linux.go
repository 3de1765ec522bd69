package gpio

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/warthog618/go-gpiocdev/uapi"
	"golang.org/x/sys/unix"
	"periph.io/x/host/v3/distro"
)

// kernel is what this package asks of the machine. Tests put their own in.
type kernel struct {
	model     func() string                                  // what the device tree calls the machine; may be empty
	sysfs     string                                         // where /sys is
	devices   func() ([]string, error)                       // paths of chips, links among them
	target    func(path string) (string, error)              // what a link points to, or the path itself
	open      func(path string) (*os.File, error)            // a chip
	chipInfo  func(chip *os.File) (uapi.ChipInfo, error)     // name, label, number of lines
	lineInfo  func(*os.File, int) (uapi.LineInfoV2, error)   // of a line of a chip
	request   func(chip *os.File, r *uapi.LineRequest) error // sets r.Fd
	values    func(lines *os.File, v *uapi.LineValues) error // of a request
	setValues func(lines *os.File, v uapi.LineValues) error  // of a request
}

// system is the kernel of this machine.
func system() kernel {
	return kernel{
		model: func() string {
			m := distro.DTModel()
			if strings.HasPrefix(m, "<") { // periph's "<unknown>"
				return ""
			}
			return m
		},
		sysfs:   "/sys",
		devices: func() ([]string, error) { return filepath.Glob("/dev/gpiochip*") },
		target:  filepath.EvalSymlinks,
		open:    func(path string) (*os.File, error) { return os.OpenFile(path, os.O_RDWR|unix.O_CLOEXEC, 0) },
		chipInfo: func(f *os.File) (i uapi.ChipInfo, err error) {
			err = withFd(f, func(fd uintptr) error { i, err = uapi.GetChipInfo(fd); return err })
			return i, err
		},
		lineInfo: func(f *os.File, offset int) (i uapi.LineInfoV2, err error) {
			err = withFd(f, func(fd uintptr) error { i, err = uapi.GetLineInfoV2(fd, offset); return err })
			return i, err
		},
		request: func(f *os.File, r *uapi.LineRequest) error {
			return withFd(f, func(fd uintptr) error { return uapi.GetLine(fd, r) })
		},
		values: func(f *os.File, v *uapi.LineValues) error {
			return withFd(f, func(fd uintptr) error { return uapi.GetLineValuesV2(fd, v) })
		},
		setValues: func(f *os.File, v uapi.LineValues) error {
			return withFd(f, func(fd uintptr) error { return uapi.SetLineValuesV2(fd, v) })
		},
	}
}

// withFd calls do with the descriptor of f, which stays open meanwhile. Unlike
// f.Fd it leaves the file to the poller.
func withFd(f *os.File, do func(uintptr) error) error {
	rc, err := f.SyscallConn()
	if err != nil {
		return err
	}
	if cerr := rc.Control(func(fd uintptr) { err = do(fd) }); cerr != nil {
		return os.ErrClosed // the only reason that Control has
	}
	return err
}
