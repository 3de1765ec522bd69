package haltest

import (
	"fmt"
	"io/fs"
	"sync"
	"time"

	"gatehouse/hal"
)

var (
	_ hal.Ports = (*Ports)(nil)
	_ hal.Port  = (*Port)(nil)
	_ hal.Port  = (*Device)(nil)
)

// BufferSize is how many bytes a direction of a fake line holds. Further ones
// are lost, as on a serial port that nobody reads.
const BufferSize = 64 << 10

// Ports is a fake hal.Ports. The zero value has no port; Add makes one. A name
// that was not added gives an error that is fs.ErrNotExist.
type Ports struct {
	mu       sync.Mutex // guards following
	devices  map[string]*Device
	failOpen map[string]error
}

// Add makes a port and returns the end that the device on the line holds. Adding
// a name again replaces the port; the old one is unplugged.
func (p *Ports) Add(name string) *Device {
	d := &Device{}
	d.in.init()
	d.out.init()
	d.gone = make(chan struct{})
	p.mu.Lock()
	old := p.devices[name]
	if p.devices == nil {
		p.devices = make(map[string]*Device)
	}
	p.devices[name] = d
	p.mu.Unlock()
	if old != nil {
		old.Unplug()
	}
	return d
}

// FailOpen makes each Open of name fail with err until it is nil again.
func (p *Ports) FailOpen(name string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.failOpen == nil {
		p.failOpen = make(map[string]error)
	}
	p.failOpen[name] = err
}

// Open implements hal.Ports.
func (p *Ports) Open(name string, baud int) (hal.Port, error) {
	p.mu.Lock()
	d, err := p.devices[name], p.failOpen[name]
	p.mu.Unlock()
	switch {
	case err != nil:
		return nil, fmt.Errorf("serial: open %s: %w", name, err)
	case d == nil:
		return nil, fmt.Errorf("serial: open %s: %w", name, fs.ErrNotExist)
	case baud <= 0:
		return nil, fmt.Errorf("serial: open %s: %d baud is not a speed", name, baud)
	}
	port, err := d.open(baud)
	if err != nil {
		return nil, fmt.Errorf("serial: open %s: %w", name, err)
	}
	return port, nil
}

// pipe is one direction of a line.
type pipe struct {
	mu   sync.Mutex // guards buf and warp
	buf  []byte
	warp func([]byte) []byte
	more chan struct{} // capacity 1; holds a token after a write
}

func (p *pipe) init() { p.more = make(chan struct{}, 1) }

func (p *pipe) write(b []byte) {
	p.mu.Lock()
	if p.warp != nil {
		b = p.warp(append([]byte(nil), b...))
	}
	b = b[:min(len(b), BufferSize-len(p.buf))]
	p.buf = append(p.buf, b...)
	p.mu.Unlock()
	p.wake()
}

func (p *pipe) wake() {
	select {
	case p.more <- struct{}{}:
	default:
	}
}

func (p *pipe) take(b []byte) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := copy(b, p.buf)
	p.buf = p.buf[n:]
	return n
}

// read waits for bytes, the end of the timeout (0, nil), or one of the ends.
func (p *pipe) read(b []byte, timeout time.Duration, ends ...<-chan struct{}) (int, error) {
	var late <-chan time.Time
	if timeout >= 0 {
		t := time.NewTimer(timeout)
		defer t.Stop()
		late = t.C
	}
	var never chan struct{}
	end := [2]<-chan struct{}{never, never}
	copy(end[:], ends)
	for {
		select {
		case <-end[0]:
			return 0, hal.ErrClosed
		case <-end[1]:
			return 0, hal.ErrClosed
		default:
		}
		if n := p.take(b); n > 0 || len(b) == 0 {
			p.wake() // there may be more than fitted
			return n, nil
		}
		select {
		case <-p.more:
		case <-late:
			return 0, nil
		case <-end[0]:
		case <-end[1]:
		}
	}
}

// Device is the far end of a fake serial line: what a reader or a lock sees. It
// stays while the agent's end is closed and opened again.
type Device struct {
	in, out pipe // to the device, to the agent

	mu      sync.Mutex // guards following
	port    *Port      // the agent's end; nil while closed
	baud    int
	gone    chan struct{} // closed by Unplug
	off     bool
	timeout *time.Duration // nil: wait without end
	bus     *Bus           // where the agent's bytes go; nil: to in
}

func (d *Device) open(baud int) (*Port, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.off {
		return nil, fs.ErrNotExist
	}
	if d.port != nil {
		return nil, hal.ErrBusy
	}
	d.baud = baud
	d.port = &Port{d: d, gone: d.gone, closed: make(chan struct{}), timeout: -1}
	return d.port, nil
}

// Read implements io.Reader: what the agent sent.
func (d *Device) Read(b []byte) (int, error) {
	d.mu.Lock()
	t, gone := time.Duration(-1), d.gone
	if d.timeout != nil {
		t = *d.timeout
	}
	d.mu.Unlock()
	return d.in.read(b, t, gone)
}

// Write implements io.Writer: it sends to the agent, and is also how noise gets
// on the line.
func (d *Device) Write(b []byte) (int, error) {
	d.mu.Lock()
	off := d.off
	d.mu.Unlock()
	if off {
		return 0, hal.ErrClosed
	}
	d.out.write(b)
	return len(b), nil
}

// SetReadTimeout implements hal.Port.
func (d *Device) SetReadTimeout(t time.Duration) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.timeout = &t
	return nil
}

// Close implements hal.Port: it is Unplug.
func (d *Device) Close() error { d.Unplug(); return nil }

// Unplug takes the line away: the agent's open port and the device's end fail
// with hal.ErrClosed, and further Opens with fs.ErrNotExist.
func (d *Device) Unplug() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.off {
		d.off = true
		close(d.gone)
	}
}

// Plug brings an unplugged line back, with nothing in its buffers.
func (d *Device) Plug() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.off {
		d.off, d.gone, d.port = false, make(chan struct{}), nil
		d.in.clear()
		d.out.clear()
	}
}

func (p *pipe) clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.buf = nil
}

// Baud returns the speed of the last Open, zero before.
func (d *Device) Baud() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.baud
}

// IsOpen reports whether the agent has the port open.
func (d *Device) IsOpen() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.port != nil
}

// Warp passes each write of the device (toAgent) or of the agent through f
// before it is on the line, to damage, shorten or double it. nil ends it. f must
// not use the line.
func (d *Device) Warp(toAgent bool, f func([]byte) []byte) {
	p := &d.in
	if toAgent {
		p = &d.out
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.warp = f
}

// Port is the agent's end of a fake serial line.
type Port struct {
	d      *Device
	gone   chan struct{}
	closed chan struct{}

	mu      sync.Mutex // guards following
	timeout time.Duration
	done    bool
}

// Read implements hal.Port.
func (p *Port) Read(b []byte) (int, error) {
	p.mu.Lock()
	t := p.timeout
	p.mu.Unlock()
	return p.d.out.read(b, t, p.closed, p.gone)
}

// Write implements hal.Port. It never waits.
func (p *Port) Write(b []byte) (int, error) {
	select {
	case <-p.closed:
		return 0, hal.ErrClosed
	case <-p.gone:
		return 0, hal.ErrClosed
	default:
	}
	p.d.mu.Lock()
	bus := p.d.bus
	p.d.mu.Unlock()
	if bus != nil {
		bus.send(nil, b)
		return len(b), nil
	}
	p.d.in.write(b)
	return len(b), nil
}

// SetReadTimeout implements hal.Port.
func (p *Port) SetReadTimeout(t time.Duration) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.timeout = t
	return nil
}

// Close implements hal.Port. A Read that waits ends with hal.ErrClosed.
func (p *Port) Close() error {
	p.mu.Lock()
	first := !p.done
	p.done = true
	p.mu.Unlock()
	if first {
		close(p.closed)
		p.d.mu.Lock()
		if p.d.port == p {
			p.d.port = nil
		}
		p.d.mu.Unlock()
	}
	return nil
}
