package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"gatehouse/agent/control"
)

// pinFlags say where a PIN comes from: never from the command line, which the
// other users of the machine can see.
type pinFlags struct{ stdin, ask bool }

func (f *pinFlags) add(c *cobra.Command) {
	c.Flags().BoolVar(&f.stdin, "pin-stdin", false, "read the PIN from the first line of standard input, and a duress PIN from the second, if there is one")
	c.Flags().BoolVar(&f.ask, "pin", false, "ask for a PIN on the terminal")
}

// maxPINLine bounds a line with a PIN.
const maxPINLine = 64

// put reads the PINs that are wanted.
func (f *pinFlags) put(ctx context.Context, e *env, pin, duress *control.Text) error {
	switch {
	case f.stdin && f.ask:
		return usagef("--pin-stdin goes without --pin")
	case f.stdin:
		return readPINs(e.in, pin, duress)
	case f.ask:
		return e.askPINs(ctx, pin, duress)
	}
	return nil
}

func readPINs(r io.Reader, pin, duress *control.Text) error {
	br := bufio.NewReader(io.LimitReader(r, 2*maxPINLine))
	for i, to := range []*control.Text{pin, duress} {
		line, err := br.ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("standard input: %w", err)
		}
		line = strings.TrimRight(line, "\r\n")
		if line == "" && i == 0 {
			return usagef("--pin-stdin: the first line of standard input is empty")
		}
		*to = control.Text(line)
	}
	return nil
}

// askPINs asks on the terminal, without showing what is typed.
func (e *env) askPINs(ctx context.Context, pin, duress *control.Text) error {
	tty, ok := e.in.(*os.File)
	if !ok || !isTerminal(tty) {
		return usagef("standard input is no terminal: use --pin-stdin")
	}
	restore, err := hideInput(tty)
	if err != nil {
		return err
	}
	defer restore()
	br := bufio.NewReader(tty)
	for _, q := range []struct {
		text string
		to   *control.Text
	}{{"PIN: ", pin}, {"duress PIN (empty: none): ", duress}} {
		first, err := e.ask(ctx, tty, br, q.text)
		if err != nil {
			return err
		}
		if first == "" {
			if q.to == pin {
				return errors.New("no PIN was given")
			}
			return nil
		}
		again, err := e.ask(ctx, tty, br, "again: ")
		if err != nil {
			return err
		}
		if again != first {
			return errors.New("the two PINs are not the same")
		}
		*q.to = control.Text(first)
	}
	return nil
}

func (e *env) ask(ctx context.Context, tty *os.File, br *bufio.Reader, text string) (string, error) {
	fmt.Fprint(e.err, text)
	defer fmt.Fprintln(e.err)
	if br.Buffered() == 0 {
		if err := awaitLine(ctx, tty); err != nil {
			return "", err
		}
	}
	line, err := br.ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("terminal: %w", err)
	}
	return strings.TrimRight(line, "\r\n"), nil
}

// awaitLine waits until a line was typed or ctx ends: a read of a terminal would
// go on after an interrupt, and leave it silent.
func awaitLine(ctx context.Context, tty *os.File) error {
	fds := []unix.PollFd{{Fd: int32(tty.Fd()), Events: unix.POLLIN}}
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := unix.Poll(fds, 100) // ms
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("terminal: %w", err)
		}
		if n > 0 {
			return nil
		}
	}
}

// isTerminal reports whether f is a terminal.
func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// hideInput stops a terminal from showing what is typed until restore is called.
func hideInput(f *os.File) (restore func(), err error) {
	fd := int(f.Fd())
	old, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return nil, fmt.Errorf("terminal: %w", err)
	}
	hidden := *old
	hidden.Lflag &^= unix.ECHO
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, &hidden); err != nil {
		return nil, fmt.Errorf("terminal: %w", err)
	}
	return func() { _ = unix.IoctlSetTermios(fd, unix.TCSETS, old) }, nil
}
