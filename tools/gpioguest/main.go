//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"

	"gatehouse/hal"
	"gatehouse/hal/gpio"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "gpioguest:", err)
		os.Exit(1)
	}
}

var errUsage = errors.New("wrong use: see the package's documentation")

func run(args []string) error {
	if os.Getpid() == 1 {
		return serve("/dev/ttyAMA0")
	}
	if len(args) == 0 {
		return errUsage
	}
	switch rest := args[1:]; {
	case args[0] == "burn":
		return burn()
	case args[0] == "kill" && len(rest) == 2:
		return kill(rest[0], rest[1])
	case args[0] == "lines":
		return lines()
	case args[0] == "hold" && len(rest) == 2:
		return hold(hal.LineName(rest[0]), hal.Level(rest[1] == hal.High.String()))
	case args[0] == "watch" && len(rest) > 0:
		return watch(rest)
	}
	return errUsage
}

// burn keeps a processor busy until it is killed.
func burn() error {
	x := uint32(1)
	for {
		for range 100_000 {
			x = x*1664525 + 1013904223
		}
		if _, err := os.ReadDir("/proc/self/task"); err != nil || x == 0 {
			return err
		}
	}
}

// kill signals the programs whose first argument is name.
func kill(number, name string) error {
	n, err := strconv.Atoi(number)
	if err != nil {
		return errUsage
	}
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return err
	}
	hit := false
	for _, f := range files {
		args, err := os.ReadFile(f)
		if err != nil {
			continue // it has ended
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(f)))
		if a := bytes.Split(args, []byte{0}); err != nil || len(a) < 2 || string(a[1]) != name {
			continue
		}
		if err := syscall.Kill(pid, syscall.Signal(n)); err != nil {
			return err
		}
		hit = true
	}
	if !hit {
		return fmt.Errorf("kill %s: no such program", name)
	}
	return nil
}

func lines() error {
	b, err := gpio.Open(nil)
	if err != nil {
		return err
	}
	defer func() { _ = b.Close() }()
	names, err := b.Lines()
	for _, n := range names {
		fmt.Println(n)
	}
	return err
}

// ended returns a channel that tells of SIGTERM.
func ended() <-chan os.Signal {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGTERM)
	return c
}

func hold(line hal.LineName, level hal.Level) error {
	b, err := gpio.Open(nil)
	if err != nil {
		return err
	}
	end := ended()
	if _, err := b.Output(hal.Output{Line: line, Initial: level}); err != nil {
		return err
	}
	fmt.Println("held")
	<-end
	return b.Close()
}

func watch(names []string) error {
	b, err := gpio.Open(nil)
	if err != nil {
		return err
	}
	end := ended()
	var in []hal.Input
	for _, n := range names {
		in = append(in, hal.Input{Line: hal.LineName(n), Pull: hal.PullUp})
	}
	g, err := b.Inputs(1024, in...)
	if err != nil {
		return err
	}
	fmt.Println("held")
	var got []hal.Edge // told at the end: telling them takes time that the lines need
	for {
		select {
		case e, ok := <-g.Edges():
			if !ok {
				return hal.ErrClosed
			}
			got = append(got, e)
		case <-end:
			for _, e := range got {
				fmt.Println(e.Line, e.Level, int64(e.At), e.Lost)
			}
			return b.Close()
		}
	}
}
