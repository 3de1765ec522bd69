package link

import (
	"gatehouse/agent/hive"
	"gatehouse/agent/site"
)

// NewSplitter gives tests the splitter of a line.
func NewSplitter() func(b []byte, message func([]byte), dropped func()) {
	var s splitter
	return s.feed
}

// Cut cuts a text into parts.
func Cut(text string, size int) []string { return cut(text, size) }

// Bodies returns how many long bodies are in memory.
func (s *Server) Bodies() int { return int(s.bodies.n.Load()) }

// TakeBodies makes as if so many long bodies were in memory, until release.
func (s *Server) TakeBodies(n int) (release func()) {
	for range n {
		s.bodies.take()
	}
	return func() { s.bodies.n.Add(int32(-n)) }
}

// Assembly is a server's room for one device's body in parts.
type Assembly struct {
	s    Server
	d    device
	body []byte
	done bool
}

// Add takes a part as a request does, and reports whether it was taken.
func (a *Assembly) Add(n, parts int, text string) bool {
	a.body, a.done = nil, false
	p := part{method: "POST", path: "/", n: int64(n), parts: int64(parts), text: text}
	if p.parts < 1 {
		a.s.dropParts(&a.d)
		return false
	}
	var fault *partFault
	if a.body, a.done, fault = a.s.addText(&a.d, p); fault != nil {
		a.s.dropParts(&a.d)
	}
	return fault == nil
}

// Whole returns the body that the last part made whole.
func (a *Assembly) Whole() ([]byte, bool) { return a.body, a.done }

// HearOnBus gives one line to a bus of devices, while the answer of the first to
// a poll is awaited whose random numbers are 0, and reports whether it was taken.
func HearOnBus(s *Server, line []byte) (taken bool) {
	l := s.lines[0]
	x := &session{l: l, bus: true, done: make(chan answered, len(l.peers))}
	x.awaits = &awaited{p: l.peers[0], op: opPoll}
	x.message(line)
	x.started.Wait()
	return x.awaits.got != nil
}

// Command writes what the agent sends to a device.
func Command(key Key, name site.DeviceName, op string, counter uint64, random [16]byte, extra []hive.Member) ([]byte, error) {
	return command(&device{DeviceConfig: DeviceConfig{Name: name, Key: key}}, op, counter, random, extra)
}
