package link

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"gatehouse/agent/hive"
)

// The bounds of long bodies (engage.md section 6; docs/serial.md).
const (
	MaxPart     = 4 << 10 // text of a part, in bytes
	MaxParts    = 512     // of one body, either way
	MaxCallBody = 1 << 20 // of a device's call
	MaxBody     = 2000000 // of the answer to one
)

// How many long bodies are in memory at once, of all lines and both ways. Beyond
// dueBodies no lock is told that it should call; beyond maxBodies a call is
// answered 503.
const (
	dueBodies = 4
	maxBodies = 16
)

// partTime is how long a part should hold up a slow line, and leastPart how
// small it gets at most for that.
const (
	partTime  = 250 * time.Millisecond
	leastPart = 512
)

// bodies counts the long bodies in memory.
type bodies struct{ n atomic.Int32 }

// take makes room for one and reports whether there was any.
func (b *bodies) take() bool {
	if b.n.Add(1) <= maxBodies {
		return true
	}
	b.n.Add(-1)
	return false
}

// give is the end of one.
func (b *bodies) give() { b.n.Add(-1) }

// many reports whether no lock should be asked to call for more.
func (b *bodies) many() bool { return b.n.Load() >= dueBodies }

// partSize returns how much text a part takes on this line, in bytes; 0 where
// nothing can be sent.
func (l *Line) partSize() int {
	if l.s.deps.Counters == nil {
		return 0
	}
	return min(max(int(int64(l.cfg.Baud)*int64(partTime)/int64(10*time.Second)), leastPart), MaxPart)
}

// transfer is a body on its way to a device.
type transfer struct {
	bodies *bodies
	parts  []string
	next   int  // index of the part that is sent next
	tries  int  // how often it was
	polled bool // the device was polled since the last part
}

// newTransfer cuts a body. It is nil when too many are on their way.
func (s *Server) newTransfer(body []byte, size int) (*transfer, error) {
	if err := checkBody(body); err != nil {
		return nil, err
	}
	parts := cut(string(body), max(size, len(body)/(MaxParts-MaxParts/32)+utf8.UTFMax))
	if len(parts) > MaxParts {
		parts = cut(string(body), MaxPart)
	}
	if len(parts) > MaxParts {
		return nil, fmt.Errorf("a body of %d bytes makes %d parts: at most %d fit", len(body), len(parts), MaxParts)
	}
	if !s.bodies.take() {
		return nil, nil
	}
	return &transfer{bodies: &s.bodies, parts: parts}, nil
}

// end gives back what the transfer held. It is called once.
func (t *transfer) end() { t.bodies.give() }

// drop ends what is on its way to the device.
func (p *peer) drop() {
	if p.out != nil {
		p.out.end()
		p.out = nil
	}
}

// cut cuts UTF-8 text into parts of at most size bytes, at the boundaries of
// characters. size is at least utf8.UTFMax.
func cut(text string, size int) (parts []string) {
	size = min(max(size, utf8.UTFMax), MaxPart)
	for len(text) > size {
		n := size
		for n > size-utf8.UTFMax+1 && !utf8.RuneStart(text[n]) {
			n--
		}
		parts, text = append(parts, text[:n]), text[n:]
	}
	return append(parts, text)
}

// assembly is a body that a device sends in parts.
type assembly struct {
	method, path string
	parts, have  int
	text         []byte
	last         int // where the last part begins in text
	at           time.Time
}

// staleParts is after how long the parts of a body that nothing is added to are
// forgotten.
const staleParts = 2 * time.Minute

// partFault is what is wrong with a part: the status and the text of the reply.
type partFault struct {
	status int
	text   string
}

func (f *partFault) Error() string { return f.text }

var (
	faultNotNext = &partFault{http.StatusBadRequest, "The part is not the next."}
	faultOther   = &partFault{http.StatusBadRequest, "The part belongs to another call."}
	faultForm    = &partFault{http.StatusBadRequest, "A part needs part, parts (1 to 512) and text, and no body."}
	faultHTTP    = &partFault{http.StatusBadRequest, "Parts are for serial lines."}
	faultLong    = &partFault{http.StatusRequestEntityTooLarge, "The text of a part is too long."}
	faultLarge   = &partFault{http.StatusRequestEntityTooLarge, "The body is too large."}
	faultBody    = &partFault{http.StatusBadRequest, "The body is no object."}
	faultFull    = &partFault{http.StatusServiceUnavailable, "Other bodies are on their way: call again later."}
)

// part is one part of a device's body.
type part struct {
	method, path string
	n, parts     int64
	text         string
}

// of reports whether the part belongs to the body.
func (a *assembly) of(p part) bool {
	return a != nil && p.method == a.method && p.path == a.path && p.parts == int64(a.parts)
}

// again reports whether the part is the last one that was taken: a device
// repeats it where the reply was lost.
func (a *assembly) again(p part) bool {
	return a.of(p) && p.n == int64(a.have) && string(a.text[a.last:]) == p.text
}

// add takes the next part, or the last one again.
func (a *assembly) add(p part) *partFault {
	switch {
	case a == nil:
		return faultNotNext
	case !a.of(p):
		return faultOther
	case a.again(p):
		return nil
	case p.n != int64(a.have)+1:
		return faultNotNext
	case len(a.text)+len(p.text) > MaxCallBody:
		return faultLarge
	}
	a.last = len(a.text)
	a.text = append(a.text, p.text...)
	a.have++
	return nil
}

// whole returns the body once all parts are there.
func (a *assembly) whole() ([]byte, bool) { return a.text, a.have == a.parts }

// collect takes a part of a call's body. ok is false where the request is
// answered with this.
func (s *Server) collect(r *request, method, path string) (body []byte, ok bool) {
	p, fault := partOf(r, method, path)
	if fault == nil {
		body, ok, fault = s.addPart(r.dev, p)
	}
	switch {
	case fault != nil:
		s.dropParts(r.dev)
		r.refuseCall(fault.status, fault.text)
	case !ok:
		r.set("status", hive.Int(http.StatusContinue))
		r.respond(true)
	}
	return body, ok
}

// partOf reads a part out of a request.
func partOf(r *request, method, path string) (part, *partFault) {
	p := part{method: method, path: path}
	var ok [3]bool
	p.n, ok[0] = r.data.Get("part").Int()
	p.parts, ok[1] = r.data.Get("parts").Int()
	p.text, ok[2] = r.data.Get("text").Text()
	switch {
	case r.from.via != ViaSerial:
		return p, faultHTTP
	case ok != [3]bool{true, true, true}, r.data.Get("text").Kind() != hive.String, r.data.Get("body").Present(),
		p.parts < 1, p.parts > MaxParts:
		return p, faultForm
	case len(p.text) > MaxPart:
		return p, faultLong
	}
	return p, nil
}

// addPart adds a part to what the device sent before. ok says that body is whole.
func (s *Server) addPart(d *device, p part) (body []byte, ok bool, fault *partFault) {
	body, ok, fault = s.addText(d, p)
	if ok && (!json.Valid(body) || !bytes.HasPrefix(bytes.TrimLeft(body, " \t\r\n"), []byte("{"))) {
		return nil, false, faultBody
	}
	return body, ok, fault
}

func (s *Server) addText(d *device, p part) (body []byte, ok bool, _ *partFault) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if p.n == 1 && !d.parts.again(p) {
		if d.parts == nil && !s.bodies.take() {
			return nil, false, faultFull
		}
		d.parts = &assembly{method: p.method, path: p.path, parts: int(p.parts)}
	}
	if fault := d.parts.add(p); fault != nil {
		return nil, false, fault
	}
	d.parts.at = time.Now()
	if body, ok = d.parts.whole(); !ok {
		return nil, false, nil
	}
	d.parts = nil
	s.bodies.give()
	return body, true, nil
}

// dropParts forgets what the device sent in parts.
func (s *Server) dropParts(d *device) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.parts != nil {
		d.parts = nil
		s.bodies.give()
	}
}

// dropStaleParts forgets the bodies that nothing was added to for long.
func (s *Server) dropStaleParts(now time.Time) {
	for _, d := range s.devices {
		d.mu.Lock()
		if d.parts != nil && now.Sub(d.parts.at) > staleParts {
			d.parts = nil
			s.bodies.give()
		}
		d.mu.Unlock()
	}
}
