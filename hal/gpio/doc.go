// Package gpio is gatehouse's hal.Board on Linux: lines of GPIO chips, by the
// kernel's GPIO character device, version 2 (kernel 5.10 and later;
// Documentation/userspace-api/gpio/chardev.rst).
//
// # Names
//
// A line is named as the kernel names it ("GPIO17"), or by chip and offset
// ("gpiochip0:17"); chip is the device's name in /dev, or its label. A name that
// several chips have means the one on the SoC's own pin controller (label
// pinctrl-…); where that does not settle it, the name is refused and the error
// lists the lines. Chips are looked at again with each claim, so an expander may
// come later.
//
// # Outputs
//
// An output is requested together with its level, in one call: there is no
// instant with another one. Lines are held as long as they are claimed, and the
// kernel refuses them to everybody else (hal.ErrBusy). When the holder ends, in
// whatever way, the kernel releases the line and most chips leave it as it was:
// the level is then not defined, and docs/wiring.md asks for a resistor.
//
// # Inputs
//
// The lines of one group are one request and so lie on one chip: the kernel keeps
// one queue for the request, in order, with CLOCK_MONOTONIC stamps taken in the
// interrupt. Its size is asked for; the kernel gives 1024 edges at most. What
// does not fit drops the oldest, which shows in the sequence numbers and is told
// by hal.Edge.Lost. Behind it is a Go channel of the same size.
//
// The kernel fills the queue from a thread for each line, so edges of two lines
// may be in it in another order than that of their numbers: they are put right,
// and an edge before which a number is missing waits up to 2 ms for it. Of two
// edges of one line that come before its thread ran, the kernel keeps the second:
// a pulse of some 50 µs then is one edge to the level that the line had. It is
// handed on like that, and is no loss. What the thread makes twice of it is
// dropped. All this was seen, and is tested, on a real kernel (make test-gpio).
//
// # Which library
//
// periph.io/x/host/v3 says what machine this is. Its gpioioctl package cannot
// serve the lines (v3.8.5): edges have no stamps, the queue is 16 a line and
// cannot be set, and errors lose their errno, as the tests of this package show;
// an output is requested as it is, then made an output without a value, which the
// kernel takes for low, and only then set (GPIOLine.Out), so that a strike of
// active: low would click at every start; and closing a chip that is listed twice
// closes descriptor 0 (GPIOChip.Close; the Raspberry Pi 5 lists one). The kernel's
// structures and calls come from github.com/warthog618/go-gpiocdev/uapi; the
// layer above it is not used, because in v0.9.1 its option for the queue's size
// never reaches the kernel and its watcher spins when a chip is gone.
//
// # Concurrency
//
// A Board and its groups may be used from any goroutine, an output line from one
// at a time. Each group has one goroutine, which ends with Close or when the chip
// is gone; the channel of edges is closed then.
package gpio
