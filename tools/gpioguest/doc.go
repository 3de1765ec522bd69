// Gpioguest is the first process of the emulated machine in which `make
// test-gpio` runs gatehouse on a real kernel's GPIO lines (hal/gpio,
// qemu_test.go). It is linked without cgo and needs nothing else in the initial
// file system.
//
// # As process 1
//
// It mounts what an agent wants, loads the modules of /modules, and then does
// what it is told on the serial port of its first argument, one JSON object a
// line:
//
//	{"id":1,"run":["/gatehouse","status"]}    start a program
//	{"id":1,"signal":15}                      signal the program of that id
//
// It answers with lines that begin with "@", so that the kernel may write there
// too: {"ready":true} once, and of each program
//
//	@{"id":1,"out":"a line"}   @{"id":1,"err":"a line"}   @{"id":1,"exit":0}
//
// Exit is the exit code, or 128 and the signal that ended it. A program that
// cannot be started has the exit code 127.
//
// # As a program
//
//	gpioguest burn                      keep a processor busy, half of it in the kernel
//	gpioguest kill SIGNAL NAME          signal the program whose first argument is NAME
//	gpioguest lines                     print the names of all lines
//	gpioguest hold LINE low|high        claim an output, say "held", wait for the end
//	gpioguest watch LINE...             claim inputs as one group, say "held", wait for the
//	                                    end and print each edge: line, level, stamp, lost
//
// The end is SIGTERM.
package main
