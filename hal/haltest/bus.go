package haltest

import (
	"io"
	"sync"
	"time"

	"gatehouse/hal"
)

var _ io.ReadWriteCloser = (*Tap)(nil)

// pieceTime is how much of a message a Bus hands on at once: what came on the
// wire in that time. It is also how finely two that speak at once are seen.
const pieceTime = 2 * time.Millisecond

// garble is what becomes of bytes on which two have spoken.
const garble = 0xAA

// Bus is a fake RS-485 line: one pair of wires with the agent's port and any
// number of taps. What one sends all others receive, at the speed of the port's
// last Open (115200 before) and ten bits a byte; where two send at once, what is
// received of either is rubbish. The port's end is opened by the Ports that made
// the Bus.
type Bus struct {
	port *Device // never written to by itself: Port.Write goes to the Bus

	mu   sync.Mutex // guards following
	taps []*Tap     // the attached ones
	echo bool
	warp func(from *Tap, b []byte) []byte
	free map[*Tap]time.Time // when what a sender gave to the line has left; nil is the agent
	sent int                // bytes that were on the wire
}

// AddBus makes a port with a bus at it. As with Add, an older port of the name
// is unplugged.
func (p *Ports) AddBus(name string) *Bus {
	b := &Bus{port: p.Add(name), free: make(map[*Tap]time.Time)}
	b.port.mu.Lock()
	b.port.bus = b
	b.port.mu.Unlock()
	return b
}

// Unplug takes the agent's port away, as Device.Unplug.
func (b *Bus) Unplug() { b.port.Unplug() }

// Plug brings the agent's port back.
func (b *Bus) Plug() { b.port.Plug() }

// Echo makes the agent's port hear what it sends, as many adapters do.
func (b *Bus) Echo(on bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.echo = on
}

// Warp passes each piece on the wire through f, with its sender (nil: the
// agent), to damage or to lose it. nil ends it. f must not use the bus.
func (b *Bus) Warp(f func(from *Tap, piece []byte) []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.warp = f
}

// Sent returns how many bytes were on the wire so far.
func (b *Bus) Sent() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.sent
}

// Attach puts another end at the line.
func (b *Bus) Attach() *Tap {
	t := &Tap{bus: b, gone: make(chan struct{})}
	t.in.init()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.taps = append(b.taps, t)
	return t
}

func (b *Bus) baud() int {
	if n := b.port.Baud(); n > 0 {
		return n
	}
	return 115200
}

// wire returns how long n bytes take.
func (b *Bus) wire(n int) time.Duration {
	return time.Duration(n) * 10 * time.Second / time.Duration(b.baud())
}

// send puts bytes on the wire behind what the sender sends already. It does not
// wait.
func (b *Bus) send(from *Tap, data []byte) {
	data = append([]byte(nil), data...)
	piece := max(1, int(int64(b.baud())*int64(pieceTime)/int64(10*time.Second)))
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	begin := b.free[from]
	if begin.Before(now) {
		begin = now
	}
	for at := 0; at < len(data); {
		part := data[at:min(at+piece, len(data))]
		at += len(part)
		begin = begin.Add(b.wire(len(part)))
		time.AfterFunc(begin.Sub(now), func() { b.deliver(from, part) })
	}
	b.free[from] = begin
}

// deliver hands a piece to all others.
func (b *Bus) deliver(from *Tap, piece []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	for other, until := range b.free {
		// Whoever has not done when this piece ends, has spoken over it.
		if other != from && until.After(now) {
			for i := range piece {
				piece[i] = garble
			}
		}
	}
	b.sent += len(piece)
	if b.warp != nil {
		piece = b.warp(from, piece)
	}
	for _, t := range b.taps {
		if t != from {
			t.in.write(piece)
		}
	}
	if (from != nil || b.echo) && b.port.IsOpen() {
		b.port.out.write(piece)
	}
}

// Tap is an end of a bus: what a device on it sees. It hears all that others
// send, also to other devices, and must itself keep silent unless it is polled.
type Tap struct {
	bus  *Bus
	in   pipe
	once sync.Once
	gone chan struct{} // closed by Close
}

// Read waits for bytes; hal.ErrClosed after Close.
func (t *Tap) Read(p []byte) (int, error) { return t.in.read(p, -1, t.gone) }

// Write puts bytes on the line and does not wait for them to leave.
func (t *Tap) Write(p []byte) (int, error) {
	select {
	case <-t.gone:
		return 0, hal.ErrClosed
	default:
	}
	t.bus.send(t, p)
	return len(p), nil
}

// Close takes the end off the line. What it has sent already still arrives.
func (t *Tap) Close() error {
	t.once.Do(func() {
		close(t.gone)
		t.bus.mu.Lock()
		defer t.bus.mu.Unlock()
		for i, o := range t.bus.taps {
			if o == t {
				t.bus.taps = append(t.bus.taps[:i:i], t.bus.taps[i+1:]...)
				break
			}
		}
	})
	return nil
}
