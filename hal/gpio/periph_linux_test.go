package gpio_test

// Why periph's gpioioctl does not serve the lines (docs/decisions.md). Each test
// fails when a version of periph can do what it says it cannot: then ask again.

import (
	"errors"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"periph.io/x/conn/v3/gpio"
	"periph.io/x/host/v3/gpioioctl"
)

// Edges come without a stamp, so the time between two bits would be the time
// between two runs of a goroutine.
func TestPeriphHasNoStamps(t *testing.T) {
	stamps := []reflect.Type{reflect.TypeFor[time.Time](), reflect.TypeFor[time.Duration](), reflect.TypeFor[uint64]()}
	for _, f := range []any{(*gpioioctl.LineSet).WaitForEdge, (*gpioioctl.GPIOLine).WaitForEdge, (*gpioioctl.LineSetLine).WaitForEdge} {
		typ := reflect.TypeOf(f)
		for out := range typ.Outs() {
			for _, s := range stamps {
				if out == s {
					t.Errorf("%v returns %v: it may be a stamp", typ, out)
				}
			}
		}
	}
	want := "func(*gpioioctl.LineSet, time.Duration) (int, gpio.Edge, error)"
	if got := reflect.TypeOf((*gpioioctl.LineSet).WaitForEdge).String(); got != want {
		t.Errorf("LineSet.WaitForEdge is %s, was %s", got, want)
	}
}

// Nobody can ask for a longer queue, a debounce time or the level of an output:
// these are all the settings of a request. The kernel's queue is then 16 edges a
// line, 32 for a reader; a 26-bit card makes 52.
func TestPeriphRequestHasNoQueueNorLevel(t *testing.T) {
	var got []string
	for _, typ := range []reflect.Type{reflect.TypeFor[gpioioctl.LineSetConfig](), reflect.TypeFor[gpioioctl.LineConfigOverride]()} {
		for i := range typ.NumField() {
			got = append(got, typ.Field(i).Name)
		}
	}
	want := "Lines DefaultDirection DefaultEdge DefaultPull Overrides Lines Direction Edge Pull"
	if s := strings.Join(got, " "); s != want {
		t.Errorf("a request has %s, had %s", s, want)
	}
}

// The errno of the kernel is only a text, so a line that is busy cannot be told
// from one that is broken.
func TestPeriphLosesErrno(t *testing.T) {
	// A line of no chip: descriptor 0 is no GPIO chip, the request fails.
	err := new(gpioioctl.GPIOLine).Out(gpio.High)
	if err == nil {
		t.Fatal("a line of no chip was driven")
	}
	var errno syscall.Errno
	if errors.As(err, &errno) {
		t.Errorf("the errno is there: %v", errno)
	}
}
