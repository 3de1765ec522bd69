package host

import (
	"time"

	"gatehouse/tools/iphost/engage"
)

// BeforePong has f called when everything before a gateway's ping is in the
// stream and its pong is not sent.
func (c *Config) BeforePong(f func(engage.Serial)) {
	c.beforePong = func(s *session) { f(s.info.Serial) }
}

// RetireSoon gives a connection that was replaced hardly any time.
func (c *Config) RetireSoon() { c.retireWait = time.Millisecond }

// Crash ends the host as a crash does: connections are cut without a word, the
// bus is left as it is, nothing is said to the other hosts. Run then returns.
func (h *Host) Crash() {
	h.mu.Lock()
	h.stopping = true
	h.mu.Unlock()
	h.die()
	for _, s := range h.all() {
		s.ws.NetConn().Close()
	}
	h.bus.Abort()
}

// CleanPath is cleanPath.
var CleanPath = cleanPath

// SplitQuery is splitQuery.
var SplitQuery = splitQuery

// Drop cuts a gateway's connection without a word.
func (h *Host) Drop(serial engage.Serial) {
	if s := h.session(serial); s != nil {
		s.ws.NetConn().Close()
	}
}
