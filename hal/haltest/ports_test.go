package haltest_test

import (
	"bytes"
	"errors"
	"io/fs"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse/hal"
	"gatehouse/hal/haltest"
)

func open(t *testing.T, p *haltest.Ports, name string) hal.Port {
	t.Helper()
	port, err := p.Open(name, 115200)
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func read(t *testing.T, p hal.Port) string {
	t.Helper()
	b := make([]byte, 64)
	n, err := p.Read(b)
	if err != nil {
		t.Fatalf("read: %v", err)
	}
	return string(b[:n])
}

func TestPortsOpen(t *testing.T) {
	var p haltest.Ports
	if _, err := p.Open("tty", 9600); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing port: %v", err)
	}
	d := p.Add("tty")
	if _, err := p.Open("tty", 0); err == nil {
		t.Error("0 baud was accepted")
	}
	port := open(t, &p, "tty")
	if !d.IsOpen() || d.Baud() != 115200 {
		t.Errorf("device sees open %v at %d", d.IsOpen(), d.Baud())
	}
	if _, err := p.Open("tty", 9600); !errors.Is(err, hal.ErrBusy) {
		t.Errorf("second open: %v", err)
	}
	if err := port.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := port.Write([]byte("x")); !errors.Is(err, hal.ErrClosed) {
		t.Errorf("write after close: %v", err)
	}
	p.FailOpen("tty", errInjected)
	if _, err := p.Open("tty", 9600); !errors.Is(err, errInjected) {
		t.Errorf("injected failure: %v", err)
	}
	p.FailOpen("tty", nil)
	_ = open(t, &p, "tty")
}

func TestPortsBothWays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p haltest.Ports
		d := p.Add("tty")
		a := open(t, &p, "tty")
		_, _ = a.Write([]byte("ping"))
		if got := read(t, d); got != "ping" {
			t.Errorf("device read %q", got)
		}
		_, _ = d.Write([]byte("po"))
		_, _ = d.Write([]byte("ng"))
		if got := read(t, a); got != "pong" {
			t.Errorf("agent read %q", got)
		}
		start := time.Now()
		_ = a.SetReadTimeout(3 * time.Second)
		if n, err := a.Read(make([]byte, 1)); n != 0 || err != nil || time.Since(start) != 3*time.Second {
			t.Errorf("timeout: %d, %v after %v", n, err, time.Since(start))
		}
		_ = a.SetReadTimeout(-1)
		go func() {
			time.Sleep(time.Minute)
			_, _ = d.Write(bytes.Repeat([]byte("z"), 100))
		}()
		if got := read(t, a) + read(t, a); len(got) != 100 {
			t.Errorf("read %d bytes in two, want 100", len(got))
		}
		d.Warp(true, func(b []byte) []byte { b[0] ^= 0x20; return b })
		_, _ = d.Write([]byte("abc"))
		if got := read(t, a); got != "Abc" {
			t.Errorf("warped: %q", got)
		}
	})
}

func TestPortsEnds(t *testing.T) {
	tests := []struct {
		name string
		end  func(*haltest.Device, hal.Port)
	}{
		{"close", func(_ *haltest.Device, p hal.Port) { _ = p.Close() }},
		{"unplug", func(d *haltest.Device, _ hal.Port) { d.Unplug() }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var p haltest.Ports
				d := p.Add("tty")
				a := open(t, &p, "tty")
				go func() { time.Sleep(time.Second); tt.end(d, a) }()
				if _, err := a.Read(make([]byte, 1)); !errors.Is(err, hal.ErrClosed) {
					t.Errorf("waiting read: %v", err)
				}
				if _, err := a.Write([]byte("x")); !errors.Is(err, hal.ErrClosed) {
					t.Errorf("write: %v", err)
				}
			})
		})
	}
}

func TestPortsPlug(t *testing.T) {
	var p haltest.Ports
	d := p.Add("tty")
	_ = open(t, &p, "tty")
	_, _ = d.Write([]byte("stale"))
	d.Unplug()
	if _, err := p.Open("tty", 9600); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("open of an unplugged port: %v", err)
	}
	if _, err := d.Write([]byte("x")); !errors.Is(err, hal.ErrClosed) {
		t.Errorf("device write: %v", err)
	}
	d.Plug()
	a := open(t, &p, "tty")
	_ = a.SetReadTimeout(0)
	if got := read(t, a); got != "" {
		t.Errorf("bytes of before the unplugging: %q", got)
	}
	n, err := d.Write(make([]byte, haltest.BufferSize+10))
	if err != nil || n != haltest.BufferSize+10 {
		t.Errorf("overrun: %d, %v", n, err)
	}
	total := 0
	for {
		n, err := a.Read(make([]byte, 1<<16))
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			break
		}
		total += n
	}
	if total != haltest.BufferSize {
		t.Errorf("%d bytes fitted, want %d", total, haltest.BufferSize)
	}
}
