package link

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"gatehouse/agent/hive"
	"gatehouse/agent/site"
)

// How a port that cannot be used is tried again, without end.
const (
	firstDelay = 200 * time.Millisecond
	lastDelay  = 30 * time.Second
)

// readTimeout is how long a Read of a port waits, and so the longest time for
// which a line that was just opened is not yet known to work.
const readTimeout = time.Second

// Line is the task that owns one serial line: it opens the port, answers what
// comes, polls, sends orders and long bodies, and opens the port again when it is
// lost. Only version 2 and only the line's own devices are answered (engage.md
// section 6; docs/serial.md).
//
// A message that is no envelope is answered where it names the device; every bad
// one is counted and skipped up to the next "\n". A device that is offline, since
// its port is lost or, where it is polled, since it is silent, is a fault event
// "reader offline" or "lock offline", recorded once, and cleared when the port
// was opened and read again or the device was heard.
type Line struct {
	s     *Server
	cfg   LineConfig
	log   *slog.Logger
	peers []*peer
	ready chan struct{}
	tried sync.Once
	wake  chan struct{} // capacity 1: there may be an order

	answered, bad atomic.Uint64
	offline       atomic.Bool

	mu    sync.Mutex // guards up, queue and the stats of the peers; held for no wait
	up    bool       // a session takes orders
	queue []*job
}

// peer is a device on a line. Beside stats it belongs to the line's Run.
type peer struct {
	LineDevice
	dev   *device
	stats DeviceStats // guarded by Line.mu

	// What one session knows.
	due     time.Time       // of its next turn; zero: at once
	asked   time.Time       // when it was last polled
	silent  time.Time       // since when it says nothing; zero: nothing was sent yet
	misses  int             // commands in a row without an answer
	calling bool            // a call of it is being answered
	held    []hive.Envelope // on a line of one device: what it sent meanwhile
	out     *transfer       // a long body that goes to it
	said    string          // the last refusal of a poll that was logged
}

// reset forgets what a session knew of the device.
func (l *Line) reset(p *peer) {
	p.drop()
	l.s.dropParts(p.dev)
	p.due, p.asked, p.silent, p.misses = time.Time{}, time.Time{}, time.Time{}, 0
	p.calling, p.held = false, nil
}

func newLine(s *Server, cfg LineConfig) *Line {
	l := &Line{
		s: s, cfg: cfg, ready: make(chan struct{}), wake: make(chan struct{}, 1),
		log: s.log.With("port", cfg.Port),
	}
	for _, d := range cfg.Devices {
		l.peers = append(l.peers, &peer{LineDevice: d, dev: s.devices[d.Device], stats: DeviceStats{LineDevice: d}})
	}
	return l
}

// String names the task.
func (l *Line) String() string { return "hive line " + l.cfg.Port }

// Ready is closed when the port was tried for the first time, with or without
// success: a reader that is unplugged keeps no door from being ready.
func (l *Line) Ready() <-chan struct{} { return l.ready }

// Stats returns the line's counts for status. It may be called at any time.
func (l *Line) Stats() LineStats {
	st := LineStats{Port: l.cfg.Port, Offline: l.offline.Load(), Answered: l.answered.Load(), Bad: l.bad.Load()}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.peers {
		st.Devices = append(st.Devices, p.stats)
	}
	return st
}

// polled reports whether the line's devices are polled.
func (l *Line) polled() bool { return l.cfg.Poll || l.cfg.Bus() }

// wire returns how long n bytes take on the line: ten bits each.
func (l *Line) wire(n int) time.Duration {
	return time.Duration(n) * 10 * time.Second / time.Duration(max(l.cfg.Baud, 300))
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
	defer l.tried.Do(func() { close(l.ready) }) // where it is not below
	port, err := l.s.deps.Ports.Open(l.cfg.Port, l.cfg.Baud)
	if err != nil {
		return false, err
	}
	var once sync.Once
	shut := func() { once.Do(func() { _ = port.Close() }) }
	stop := context.AfterFunc(ctx, shut) // ends a Read and a Write that wait
	defer stop()
	defer shut()
	if err := port.SetReadTimeout(readTimeout); err != nil {
		return false, err
	}
	s := &session{
		l: l, port: port, bus: l.cfg.Bus(), in: make(chan chunk), quit: make(chan struct{}),
		done: make(chan answered, len(l.peers)),
	}
	defer func() {
		shut()
		s.end()
	}()
	s.begin()
	l.tried.Do(func() { close(l.ready) }) // from now on there are orders
	err = s.serve(ctx)
	return s.worked, err
}

// lost records the port's loss, once.
func (l *Line) lost(err error) {
	if l.offline.Swap(true) {
		return
	}
	l.log.Warn("hive line is offline", "err", err)
	for _, p := range l.peers {
		l.setOffline(p, true)
	}
}

// back records the end of a loss. Devices that are polled are back when they
// are heard.
func (l *Line) back() {
	if !l.offline.Swap(false) {
		return
	}
	l.log.Info("hive line is back")
	if !l.polled() {
		l.setOffline(l.peers[0], false)
	}
}

// isOffline reports whether the device is offline.
func (l *Line) isOffline(p *peer) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return p.stats.Offline
}

// setOffline notes whether a device is offline and records a change.
func (l *Line) setOffline(p *peer, offline bool) {
	l.mu.Lock()
	changed := p.stats.Offline != offline
	p.stats.Offline = offline
	l.mu.Unlock()
	if !changed {
		return
	}
	e := site.Event{
		Kind: site.KindFault, Device: p.Device, Reader: p.Reader, Door: p.door(), Text: "reader offline", Cleared: !offline,
	}
	if p.Door != "" {
		e.Text = "lock offline"
	}
	l.log.Info("hive device", "device", string(p.Device), "offline", offline)
	l.s.record(e)
}

// count changes the stats of a device.
func (l *Line) count(p *peer, f func(*DeviceStats)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f(&p.stats)
}

// door returns the lock's door, or the device's where its items name just one.
func (p *peer) door() (door site.DoorID) {
	if p.Door != "" {
		return p.Door
	}
	for _, d := range p.dev.Items {
		if door != "" && door != d {
			return ""
		}
		door = d
	}
	return door
}

// skipped counts a message that was no envelope. device is whose it may be.
func (l *Line) skipped(device site.DeviceName) {
	l.bad.Add(1)
	l.s.faults.add(device, causeLine)
}

var _ fmt.Stringer = (*Line)(nil)
