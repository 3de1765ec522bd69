package link_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/agent/hive"
	"gatehouse/agent/hive/link"
	"gatehouse/agent/site"
)

// node is a device on a line, as docs/serial.md tells a device author to make
// one: it takes commands with growing counters, answers polls with what it has to
// say, and puts the parts of long bodies together.
type node struct {
	name site.DeviceName
	key  []byte
	out  io.Writer

	mu      sync.Mutex // guards following
	counter int64      // the last one taken: the device's own non-volatile memory
	nonce   string
	calls   []string // data that it wants to send, as members of an object
	asked   string   // random_response of the call that waits for its reply
	parts   []string // of the body that comes
	want    int      // how many parts it will have
	state   string   // members of an answer to unlock, mode and status

	// What it met.
	polls    []time.Time
	dues     int
	got      []string // operations that it did, with what they said
	bodies   []string // long bodies that came whole
	replies  []map[string]any
	repeated int // commands whose counter was not larger

	// How it is bad.
	mute   bool
	refuse bool          // state holds the response
	delay  time.Duration // before an answer
	spoil  func(op string, answer []byte) []byte
}

func newNode(name site.DeviceName, out io.Writer) *node {
	return &node{name: name, key: keys[name], out: out, state: `"locked":true,"mode":"secured"`}
}

// set changes the node under its lock.
func (n *node) set(f func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f()
}

// want queues a call; data are members.
func (n *node) queue(data ...string) { n.set(func() { n.calls = append(n.calls, data...) }) }

// run hears what comes until the line ends. from may be nil for a node that
// others feed.
func (n *node) run(from io.Reader) {
	var held []byte
	buf := make([]byte, 4096)
	for {
		m, err := from.Read(buf)
		if err != nil {
			return
		}
		held = append(held, buf[:m]...)
		for {
			i := bytes.IndexByte(held, '\n')
			if i < 0 {
				break
			}
			n.hear(held[:i])
			held = held[i+1:]
		}
	}
}

// hear takes one line.
func (n *node) hear(line []byte) {
	env, err := hive.ParseRequest(line)
	if err != nil || env.Device != n.name || !hive.Verify(n.key, env.Data, env.Checksum) {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.mute {
		return
	}
	if to, ok := env.Data.Get("to").Text(); !ok {
		n.reply(env.Data)
		return
	} else if to != string(n.name) {
		return
	}
	op, _ := env.Data.Get("operation").Text()
	random := env.Data.Get("random").Raw()
	members := ""
	if c, ok := env.Data.Get("counter").Int(); !ok || c <= n.counter {
		n.repeated++
		members = `"response":false,"error":"counter"`
	} else {
		n.counter = c
		members = n.command(op, env.Data, random)
	}
	n.send(op, `{"random_response":`+random+`,`+members+`}`)
}

// send signs data and sends it after the delay. The caller holds mu.
func (n *node) send(op, data string) {
	v, err := hive.Parse([]byte(data))
	if err != nil {
		panic(fmt.Sprintf("%s: %v", data, err))
	}
	msg := append(hive.Encode(n.key, n.name, v), '\n')
	if n.spoil != nil {
		msg = n.spoil(op, msg)
	}
	if n.delay == 0 {
		_, _ = n.out.Write(msg)
		return
	}
	time.AfterFunc(n.delay, func() { _, _ = n.out.Write(msg) })
}

// command does one and returns the members of the answer. The caller holds mu.
func (n *node) command(op string, data hive.Value, random string) string {
	switch op {
	case "poll":
		n.polls = append(n.polls, time.Now())
		if data.Get("due").Truth() {
			n.dues++
		}
		switch {
		case len(n.calls) == 0:
			return `"operation":"idle"`
		case n.nonce == "":
			n.asked = random
			return `"version":2,"operation":"get_nonce"`
		}
		n.asked = random
		return `"version":2,"nonce":"` + n.nonce + `",` + n.calls[0]
	case "part":
		return n.part(data)
	case "unlock":
		s, _ := data.Get("seconds").Int()
		n.got = append(n.got, fmt.Sprintf("unlock %d", s))
	case "mode":
		m, _ := data.Get("mode").Text()
		n.got = append(n.got, "mode "+m)
	case "status":
		n.got = append(n.got, "status")
	default:
		return `"response":false,"error":"operation"`
	}
	if n.refuse {
		return n.state
	}
	return `"response":true,` + n.state
}

// part takes a part of a long body. The caller holds mu.
func (n *node) part(data hive.Value) string {
	part, _ := data.Get("part").Int()
	parts, _ := data.Get("parts").Int()
	text, _ := data.Get("text").Text()
	switch {
	case int(parts) != n.want:
		return `"response":false,"error":"no transfer"`
	case int(part) == len(n.parts) && n.parts[part-1] == text: // again
	case int(part) != len(n.parts)+1:
		return `"response":false,"error":"order"`
	default:
		n.parts = append(n.parts, text)
	}
	if len(n.parts) == n.want {
		n.bodies = append(n.bodies, strings.Join(n.parts, ""))
	}
	return `"response":true`
}

// reply takes the reply to the node's call. The caller holds mu.
func (n *node) reply(data hive.Value) {
	if n.asked == "" || data.Get("random_response").Raw() != n.asked {
		return
	}
	n.asked = ""
	next, _ := data.Get("new_nonce").Text()
	had := n.nonce
	if next != "" {
		n.nonce = next
	}
	valid := data.Get("nonce_valid")
	if valid.Present() && !valid.Truth() || had == "" {
		return // the call goes out again
	}
	var m map[string]any
	if err := json.Unmarshal([]byte(data.Raw()), &m); err != nil {
		panic(err)
	}
	delete(m, "random")
	n.replies = append(n.replies, m)
	n.calls = n.calls[1:]
	if parts, ok := data.Get("parts").Int(); ok {
		n.parts, n.want = nil, int(parts)
	}
}

// counters keeps counters over restarts.
type counters struct {
	mu   sync.Mutex // guards following
	last map[site.DeviceName]uint64
	fail error
}

func (c *counters) NextCounter(d site.DeviceName) (uint64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fail != nil {
		return 0, c.fail
	}
	if c.last == nil {
		c.last = make(map[site.DeviceName]uint64)
	}
	c.last[d]++
	return c.last[d], nil
}

// host handles the calls of locks: it remembers them and answers what it is told.
type host struct {
	mu    sync.Mutex // guards following
	calls []link.Call
	body  string
	wait  time.Duration
	busy  map[site.DeviceName]bool // those that should call
}

func (h *host) answer(_ site.DeviceName, call link.Call) (int, []byte, error) {
	h.mu.Lock()
	h.calls = append(h.calls, call)
	body, wait := h.body, h.wait
	h.mu.Unlock()
	time.Sleep(wait)
	if call.Path == "/fail" {
		return 0, nil, errors.New("broken")
	}
	return 200, []byte(body), nil
}

func (h *host) due(d site.DeviceName) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.busy[d]
}

func (h *host) taken() []link.Call {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := h.calls
	h.calls = nil
	return c
}

// until waits for something to become true in the bubble's time.
func until(t testing.TB, limit time.Duration, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); !f(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %v", what, limit)
		}
	}
}
