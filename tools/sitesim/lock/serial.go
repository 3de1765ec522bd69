package lock

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"gatehouse/tools/sitesim/wire"
)

// answerWithin is how long a device waits for the answer to its request, and for
// the next part of a long one. A server has ten seconds for an operation.
const answerWithin = 12 * time.Second

// errClosed is what a request gets when its line has ended.
var errClosed = errors.New("lock: the line has ended")

// Line is the devices' end of a serial line: point-to-point with one device, a bus
// with several (engage.md section 6). A line that is no envelope, or another
// device's, is skipped.
type Line struct {
	port    io.ReadWriter
	devices map[string]*Device
	done    chan struct{} // closed when Run ends
	bad     atomic.Uint64

	mu sync.Mutex // one line is written at a time
}

// DeviceConfig says which Hive device a lock or a reader is.
type DeviceConfig struct {
	Name    string
	Key     []byte
	Bus     bool             // speaks only when polled
	Counter uint64           // the last counter that was taken
	OnDue   func()           // a poll said that the device should call; it must not block
	Clock   func() time.Time // nil: time.Now
}

// NewLine makes the devices' end of a serial line. Its devices work while Run
// runs.
func NewLine(port io.ReadWriter) *Line {
	return &Line{port: port, devices: map[string]*Device{}, done: make(chan struct{})}
}

// Add hangs a device on the line; l is nil for one that is no lock. It must not be
// called after Run has begun.
func (ln *Line) Add(cfg DeviceConfig, l *Lock) *Device {
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	d := &Device{cfg: cfg, line: ln, lock: l, counter: cfg.Counter}
	d.session.Talk = d.talk
	ln.devices[cfg.Name] = d
	return d
}

// Run reads the line until it fails or ctx ends; a Read that waits ends when the
// caller closes the port. It runs once. It returns nil when ctx has ended.
func (ln *Line) Run(ctx context.Context) error {
	defer close(ln.done)
	in := bufio.NewReaderSize(ln.port, wire.MaxMessage+1)
	skipping := false
	for {
		line, err := in.ReadSlice('\n')
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, bufio.ErrBufferFull):
			if !skipping {
				ln.bad.Add(1)
			}
			skipping = true
			continue
		case err != nil:
			return fmt.Errorf("lock: line: %w", err)
		case skipping:
			skipping = false
			continue
		}
		ln.hear(line)
	}
}

// Bad returns how many lines were no envelopes, too long, or signed wrongly.
func (ln *Line) Bad() uint64 { return ln.bad.Load() }

func (ln *Line) hear(line []byte) {
	if len(bytes.TrimSpace(line)) == 0 {
		return // what ends noise before a message
	}
	e, err := wire.Open(line)
	if err != nil {
		ln.bad.Add(1)
		return
	}
	if d := ln.devices[e.Device]; d != nil {
		d.hear(e)
	}
}

func (ln *Line) write(message []byte) error {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	if _, err := ln.port.Write(append(message, '\n')); err != nil {
		return fmt.Errorf("lock: line: %w", err)
	}
	return nil
}

// Device is one Hive device on a line. It answers the agent's commands and is the
// Caller of its lock.
type Device struct {
	cfg     DeviceConfig
	line    *Line
	lock    *Lock
	session wire.Session
	calling sync.Mutex // one Swordfish call at a time

	mu       sync.Mutex // guards following
	counter  uint64
	pending  *pending
	incoming *assembly
	muted    bool
	silent   int
}

// pending is a request on its way.
type pending struct {
	data      map[string]any
	challenge []int // nil while it waits for a poll
	reply     chan json.RawMessage
}

// Counter returns the last counter that the device took from the agent.
func (d *Device) Counter() uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.counter
}

// Mute makes the device deaf and dumb, as one that is unplugged.
func (d *Device) Mute(on bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.muted = on
}

// LoseAnswers makes the device act on the next n commands without a word.
func (d *Device) LoseAnswers(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.silent = n
}

// Ask makes any request of Hive version 2 and returns the data of its reply. data
// must not be used afterwards.
func (d *Device) Ask(ctx context.Context, data map[string]any) (json.RawMessage, error) {
	return d.session.Ask(ctx, data)
}

// talk is the wire.Talk of the device: at once, or at the next poll.
func (d *Device) talk(ctx context.Context, data map[string]any) (json.RawMessage, error) {
	p := &pending{data: data, reply: make(chan json.RawMessage, 1)}
	d.mu.Lock()
	d.pending = p
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.pending == p {
			d.pending = nil
		}
	}()
	if !d.cfg.Bus {
		if err := d.send(p, wire.Challenge()); err != nil {
			return nil, err
		}
	}
	t := time.NewTimer(answerWithin)
	defer t.Stop()
	select {
	case reply := <-p.reply:
		return reply, nil
	case <-d.line.done:
		return nil, errClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-t.C:
		return nil, fmt.Errorf("lock: device %s: %w within %s", d.cfg.Name, wire.ErrNoAnswer, answerWithin)
	}
}

// send writes a request with a challenge.
func (d *Device) send(p *pending, challenge []int) error {
	p.data["random_response"] = challenge
	message, err := wire.Seal(d.cfg.Name, d.cfg.Key, p.data)
	if err != nil {
		return err
	}
	d.mu.Lock()
	p.challenge = challenge
	muted := d.muted
	d.mu.Unlock()
	if muted {
		return nil
	}
	return d.line.write(message)
}

// hear takes a message for this device: a command, or the reply to its request.
func (d *Device) hear(e wire.Envelope) {
	d.mu.Lock()
	muted := d.muted
	d.mu.Unlock()
	if muted {
		return
	}
	if !e.Verify(d.cfg.Key) {
		d.line.bad.Add(1)
		return
	}
	var kind struct {
		To             *string `json:"to"`
		Operation      string  `json:"operation"`
		RandomResponse []int   `json:"random_response"`
	}
	if json.Unmarshal(e.Data, &kind) != nil {
		d.line.bad.Add(1)
		return
	}
	if kind.To != nil {
		if *kind.To == d.cfg.Name {
			d.command(e.Data)
		}
		return
	}
	if kind.Operation == "" { // else its own, given back by a half-duplex adapter
		d.replied(e.Data, kind.RandomResponse)
	}
}
