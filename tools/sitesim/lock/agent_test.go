package lock_test

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"gatehouse/tools/sitesim/lock"
	"gatehouse/tools/sitesim/wire"
)

// lineAgent is the agent's end of a serial line, as engage.md section 6 says. All of
// it belongs to the test's goroutine.
type lineAgent struct {
	t       *testing.T
	port    *os.File
	lines   chan []byte
	keys    map[string][]byte
	nonces  map[string]int
	bodies  map[string]string // that come in parts
	counter uint64
	server  *server // what answers the calls

	ended    chan struct{} // closed when the devices' end was left
	calls    int           // requests that were answered
	partsOut int
	partsIn  int
	unasked  int // lines that came without a poll, on a bus
	badNonce int // so many requests are told that their nonce is wrong
	loseAck  bool
	patience time.Duration // for the answer to a command; 0: 5 s
}

// openLine makes a pseudo-terminal with devices' end line and agent's end.
func openLine(t *testing.T) (*lock.Line, *lineAgent) {
	t.Helper()
	link := filepath.Join(t.TempDir(), "tty")
	near, err := lock.OpenPTY(link)
	if err != nil {
		t.Fatal(err)
	}
	far, err := os.OpenFile(link, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	a := &lineAgent{t: t, port: far, lines: make(chan []byte, 64), keys: map[string][]byte{}, nonces: map[string]int{}, bodies: map[string]string{}, server: &server{}}
	line := lock.NewLine(near)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for in := bufio.NewReader(far); ; {
			b, err := in.ReadBytes('\n')
			if err != nil {
				return
			}
			a.lines <- b
		}
	}()
	t.Cleanup(func() {
		near.Close() // hangs the far end up
		if a.ended != nil {
			<-a.ended
		}
		<-ended
		far.Close()
	})
	return line, a
}

// add hangs a device with a key of its own on the line.
func (a *lineAgent) add(line *lock.Line, cfg lock.DeviceConfig, l *lock.Lock) *lock.Device {
	cfg.Key = []byte("key of the device " + cfg.Name)
	a.keys[cfg.Name] = cfg.Key
	return line.Add(cfg, l)
}

// run runs the line until the test ends.
func (a *lineAgent) run(t *testing.T, line *lock.Line) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = line.Run(ctx) // ends when openLine's cleanup closes the port
	}()
	t.Cleanup(cancel)
	a.ended = ended
}

// next returns the next line, or nil after a while.
func (a *lineAgent) next(wait time.Duration) map[string]any {
	a.t.Helper()
	select {
	case line := <-a.lines:
		e, err := wire.Open(line)
		if err != nil || !e.Verify(a.keys[e.Device]) {
			a.t.Errorf("line %q, %v", line, err)
			return nil
		}
		var data map[string]any
		if err := json.Unmarshal(e.Data, &data); err != nil {
			a.t.Error(err)
		}
		data["device"] = e.Device
		return data
	case <-time.After(wait):
		return nil
	}
}

func (a *lineAgent) send(device string, data map[string]any) {
	a.t.Helper()
	line, err := wire.Seal(device, a.keys[device], data)
	if err != nil {
		a.t.Fatal(err)
	}
	if _, err := a.port.Write(append(append([]byte{'\n'}, line...), '\n')); err != nil {
		a.t.Fatal(err)
	}
}

// command sends a command and returns the answer, nil where none came.
func (a *lineAgent) command(device, op string, more map[string]any) map[string]any {
	a.t.Helper()
	a.counter++
	random := wire.Challenge()
	data := map[string]any{"to": device, "operation": op, "counter": a.counter, "random": random}
	for k, v := range more {
		data[k] = v
	}
	a.send(device, data)
	for {
		answer := a.next(cmp.Or(a.patience, 5*time.Second))
		if answer == nil || slices.Equal(ints(answer["random_response"]), random) {
			return answer
		}
		a.answer(answer) // a request that crossed the command
	}
}

func ints(v any) (out []int) {
	list, _ := v.([]any)
	for _, x := range list {
		n, _ := x.(float64)
		out = append(out, int(n))
	}
	return out
}

func (a *lineAgent) nonce(device string) string { return fmt.Sprintf("%032X", a.nonces[device]) }

// answer answers a device's request.
func (a *lineAgent) answer(req map[string]any) {
	a.t.Helper()
	device, _ := req["device"].(string)
	reply := map[string]any{"response": true, "version": 1, "checksum_valid": true, "nonce_valid": true,
		"random": wire.Challenge(), "random_response": req["random_response"]}
	a.calls++
	var long []byte
	switch {
	case req["operation"] == "get_nonce":
	case req["nonce"] != a.nonce(device) || a.badNonce > 0:
		a.badNonce--
		reply["nonce_valid"], reply["response"] = false, false
	default:
		a.nonces[device]++
		long = a.call(device, req, reply)
	}
	reply["new_nonce"] = a.nonce(device)
	a.send(device, reply)
	if long != nil {
		a.sendParts(device, long)
	}
}

// call does a Swordfish call; a long answer is returned, to be sent in parts.
func (a *lineAgent) call(device string, req, reply map[string]any) []byte {
	a.t.Helper()
	method, _ := req["method"].(string)
	path, _ := req["path"].(string)
	body, err := json.Marshal(req["body"])
	if err != nil {
		a.t.Fatal(err)
	}
	if part, in := req["part"].(float64); in {
		text, _ := req["text"].(string)
		if len(text) > 4096 {
			a.t.Errorf("a part of %d bytes", len(text))
		}
		a.partsIn++
		a.bodies[device] += text
		if part != req["parts"] {
			reply["status"] = 100
			return nil
		}
		body = []byte(a.bodies[device])
		a.bodies[device] = ""
	}
	status, answer, _, err := a.server.Call(a.t.Context(), method, path, body)
	if err != nil {
		a.t.Fatal(err)
	}
	reply["status"] = status
	switch {
	case len(answer) > 4096:
		reply["parts"], reply["size"] = (len(answer)+4095)/4096, len(answer)
		return answer
	case len(answer) > 0:
		reply["body"] = json.RawMessage(answer)
	default:
		reply["body"] = nil
	}
	return nil
}

func (a *lineAgent) sendParts(device string, text []byte) {
	a.t.Helper()
	parts := (len(text) + 4095) / 4096
	for i := range parts {
		part := map[string]any{"part": i + 1, "parts": parts, "text": string(text[4096*i : min(4096*i+4096, len(text))])}
		if a.loseAck && i == 1 {
			a.command(device, "part", part) // its answer was lost: again
		}
		if answer := a.command(device, "part", part); answer == nil || answer["response"] != true {
			a.t.Errorf("part %d: %v", i+1, answer)
			return
		}
		a.partsOut++
	}
}

// serve answers until work is done; on a bus it polls the devices in turn.
func (a *lineAgent) serve(bus []string, work func() error) error {
	a.t.Helper()
	done := make(chan error, 1)
	go func() { done <- work() }()
	for {
		for _, device := range bus {
			if len(a.lines) > 0 {
				a.unasked++
			}
			if got := a.command(device, "poll", nil); got != nil && got["operation"] != "idle" {
				a.answer(got)
			}
		}
		select {
		case err := <-done:
			return err
		default:
		}
		if len(bus) == 0 {
			if req := a.next(10 * time.Millisecond); req != nil {
				a.answer(req)
			}
		}
	}
}
