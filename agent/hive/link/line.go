package link

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"gatehouse/agent/site"
	"gatehouse/hal"
)

// How a port that cannot be used is tried again, without end.
const (
	firstDelay = 200 * time.Millisecond
	lastDelay  = 30 * time.Second
)

// readTimeout is how long a Read of a port waits, and so the longest time for
// which a line that was just opened is not yet known to work.
const readTimeout = time.Second

// Line is the task that owns one point-to-point serial line: it opens the port,
// answers what comes, and opens it again when it is lost. Only version 2 and
// only the line's own device are answered (engage.md section 6).
//
// A line that is no envelope is answered where it names the device; every bad
// one is counted and skipped up to the next "\n". The port's loss is a fault
// event "reader offline", recorded once, and cleared when the port was opened
// and read again.
type Line struct {
	s     *Server
	cfg   LineConfig
	log   *slog.Logger
	ready chan struct{}
	tried sync.Once

	answered, bad atomic.Uint64
	offline       atomic.Bool
}

func newLine(s *Server, cfg LineConfig) *Line {
	return &Line{
		s: s, cfg: cfg, ready: make(chan struct{}),
		log: s.log.With("port", cfg.Port, "device", string(cfg.Devices[0].Device)),
	}
}

// String names the task.
func (l *Line) String() string { return "hive line " + l.cfg.Port }

// Ready is closed when the port was tried for the first time, with or without
// success: a reader that is unplugged keeps no door from being ready.
func (l *Line) Ready() <-chan struct{} { return l.ready }

// Stats returns the line's counts for status. It may be called at any time.
func (l *Line) Stats() LineStats {
	return LineStats{
		Port: l.cfg.Port, Offline: l.offline.Load(), Answered: l.answered.Load(), Bad: l.bad.Load(),
		Devices: []DeviceStats{{LineDevice: l.cfg.Devices[0], Offline: l.offline.Load()}},
	}
}

// Run serves the line until ctx ends, and then returns nil. It may be run
// again, not twice at once.
func (l *Line) Run(ctx context.Context) error {
	for delay := firstDelay; ; delay = min(2*delay, lastDelay) {
		worked, err := l.session(ctx)
		if ctx.Err() != nil {
			return nil
		}
		l.lost(err)
		if worked {
			delay = firstDelay
		}
		t := time.NewTimer(delay + rand.N(delay/2))
		select {
		case <-ctx.Done():
			t.Stop()
			return nil
		case <-t.C:
		}
	}
}

// session opens the port and serves it until it is lost or ctx ends. worked
// says whether it could be read at all.
func (l *Line) session(ctx context.Context) (worked bool, err error) {
	port, err := l.s.deps.Ports.Open(l.cfg.Port, l.cfg.Baud)
	l.tried.Do(func() { close(l.ready) })
	if err != nil {
		return false, err
	}
	closed := make(chan struct{})
	stop := context.AfterFunc(ctx, func() { // ends a Read and a Write that wait
		defer close(closed)
		_ = port.Close()
	})
	defer func() {
		if stop() {
			_ = port.Close()
		} else {
			<-closed
		}
	}()
	if err := port.SetReadTimeout(readTimeout); err != nil {
		return false, err
	}
	return l.serve(ctx, port)
}

func (l *Line) serve(ctx context.Context, port hal.Port) (worked bool, err error) {
	var lines splitter
	buf := make([]byte, 4096)
	for ctx.Err() == nil {
		n, err := port.Read(buf)
		if err != nil {
			return worked, err
		}
		if !worked {
			worked = true
			l.back()
		}
		var failed error
		lines.feed(buf[:n], func(line []byte) {
			if reply := l.answer(line); reply != nil && failed == nil {
				_, failed = port.Write(reply)
			}
		}, l.skipped)
		if failed != nil {
			return worked, failed
		}
	}
	return worked, nil
}

// answer returns the reply to one line with its end, or nil.
func (l *Line) answer(line []byte) []byte {
	reply, _, device, err := l.s.answer(nil, line, origin{via: ViaSerial, device: l.cfg.Devices[0].Device, reader: l.cfg.Devices[0].Reader})
	if err != nil {
		l.skipped()
		if device != l.cfg.Devices[0].Device {
			return nil
		}
		return append(reply, '\n')
	}
	l.answered.Add(1)
	return append(reply, '\n')
}

func (l *Line) skipped() {
	l.bad.Add(1)
	l.s.faults.add(l.cfg.Devices[0].Device, causeLine)
}

// lost records the port's loss, once.
func (l *Line) lost(err error) {
	if l.offline.Swap(true) {
		return
	}
	l.log.Warn("hive line is offline", "err", err)
	l.supervise(false)
}

// back records the end of a loss.
func (l *Line) back() {
	if l.offline.Swap(false) {
		l.log.Info("hive line is back")
		l.supervise(true)
	}
}

func (l *Line) supervise(cleared bool) {
	l.s.record(site.Event{
		Kind: site.KindFault, Device: l.cfg.Devices[0].Device, Reader: l.cfg.Devices[0].Reader, Door: l.door(),
		Text: "reader offline", Cleared: cleared,
	})
}

// door returns the device's door where it has just one.
func (l *Line) door() (door site.DoorID) {
	for _, d := range l.s.devices[l.cfg.Devices[0].Device].Items {
		if door != "" && door != d {
			return ""
		}
		door = d
	}
	return door
}

var _ fmt.Stringer = (*Line)(nil)
