package haltest_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse/hal"
	"gatehouse/hal/haltest"
)

// all reads what has come to an end of a line so far.
func all(t *testing.T, r interface{ Read([]byte) (int, error) }, n int) string {
	t.Helper()
	b := make([]byte, n)
	for at := 0; at < n; {
		m, err := r.Read(b[at:])
		if err != nil {
			t.Fatal(err)
		}
		at += m
	}
	return string(b)
}

// What one end of a bus sends all others hear, after the time that it takes.
func TestBusHandsOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ports haltest.Ports
		bus := ports.AddBus("bus")
		one, two := bus.Attach(), bus.Attach()
		port, err := ports.Open("bus", 9600)
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		text := strings.Repeat("x", 960)
		if _, err := port.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		if all(t, one, 960) != text || all(t, two, 960) != text {
			t.Error("the devices heard something else")
		}
		if took := time.Since(began); took < 999*time.Millisecond || took > 1001*time.Millisecond {
			t.Errorf("960 bytes at 9600 baud took %v", took)
		}
		if _, err := one.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		if all(t, port, 5) != "hello" || all(t, two, 5) != "hello" {
			t.Error("the others heard something else")
		}
		if err := port.SetReadTimeout(time.Second); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 10)
		if n, err := port.Read(b); n != 0 || err != nil {
			t.Errorf("the agent heard itself: %q, %v", b[:n], err)
		}
		bus.Echo(true)
		if _, err := port.Write([]byte("me")); err != nil {
			t.Fatal(err)
		}
		if all(t, port, 2) != "me" {
			t.Error("no echo")
		}
		if bus.Sent() != 967 {
			t.Errorf("%d bytes were on the wire", bus.Sent())
		}
	})
}

// Two ends that send at once spoil each other's bytes, and those only.
func TestBusCollides(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ports haltest.Ports
		bus := ports.AddBus("bus")
		one, two := bus.Attach(), bus.Attach()
		port, err := ports.Open("bus", 9600)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = one.Write(bytes.Repeat([]byte("1"), 96))
		time.Sleep(50 * time.Millisecond)
		_, _ = two.Write(bytes.Repeat([]byte("2"), 96))
		got := all(t, port, 192)
		if strings.Count(got, "1") < 40 || strings.Count(got, "2") < 40 || strings.Count(got, "\xAA") < 90 {
			t.Errorf("heard %q", got)
		}
		_, _ = two.Write([]byte("ok"))
		if all(t, port, 2) != "ok" {
			t.Error("the line stays spoiled")
		}
		bus.Warp(func(from *haltest.Tap, b []byte) []byte {
			if from == one {
				return nil
			}
			return bytes.ToUpper(b)
		})
		_, _ = one.Write([]byte("lost"))
		time.Sleep(time.Second)
		_, _ = two.Write([]byte("loud"))
		if got := all(t, port, 4); got != "LOUD" {
			t.Errorf("heard %q", got)
		}
	})
}

// An end that was taken off neither hears nor sends; a port that was unplugged
// comes back with the bus at it.
func TestBusEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ports haltest.Ports
		bus := ports.AddBus("bus")
		one, two := bus.Attach(), bus.Attach()
		port, err := ports.Open("bus", 9600)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(one.Close(), one.Close()); err != nil {
			t.Fatal(err)
		}
		if _, err := one.Write([]byte("x")); !errors.Is(err, hal.ErrClosed) {
			t.Errorf("write: %v", err)
		}
		if _, err := one.Read(make([]byte, 1)); !errors.Is(err, hal.ErrClosed) {
			t.Errorf("read: %v", err)
		}
		bus.Unplug()
		if _, err := port.Read(make([]byte, 1)); !errors.Is(err, hal.ErrClosed) {
			t.Errorf("read: %v", err)
		}
		bus.Plug()
		if port, err = ports.Open("bus", 9600); err != nil {
			t.Fatal(err)
		}
		_, _ = port.Write([]byte("back"))
		if all(t, two, 4) != "back" {
			t.Error("the bus is gone")
		}
	})
}
