package lock

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"gatehouse/tools/sitesim/wire"
)

// maxSeconds is the longest unlock that a lock takes.
const maxSeconds = 24 * 60 * 60

// command is what the agent asks of a device (engage.md section 6).
type command struct {
	Operation string      `json:"operation"`
	Counter   json.Number `json:"counter"`
	Random    []int       `json:"random"`
	Seconds   json.Number `json:"seconds"`
	Mode      Mode        `json:"mode"`
	Due       bool        `json:"due"`
	Part      int         `json:"part"`
	Parts     int         `json:"parts"`
	Text      string      `json:"text"`
}

// command answers a command whose checksum and name are right.
func (d *Device) command(data json.RawMessage) {
	var c command
	if json.Unmarshal(data, &c) != nil {
		d.line.bad.Add(1)
		return
	}
	quiet := d.quiet()
	if err := d.count(c); err != nil {
		d.answer(quiet, c, map[string]any{"response": false, "error": err.Error()})
		return
	}
	if c.Operation == "poll" {
		d.poll(quiet, c)
		return
	}
	answer, err := d.obey(c)
	if err != nil {
		answer = map[string]any{"response": false, "error": err.Error()}
	} else {
		answer["response"] = true
	}
	d.answer(quiet, c, answer)
}

// quiet reports whether the answer is to be lost.
func (d *Device) quiet() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.silent > 0 {
		d.silent--
		return true
	}
	return false
}

// count takes a command's counter, which must be larger than the last.
func (d *Device) count(c command) error {
	var n uint64
	if _, err := fmt.Sscanf(c.Counter.String(), "%d", &n); err != nil || len(c.Random) != 16 {
		return errors.New("a command needs counter and random")
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if n <= d.counter {
		return errors.New("counter") // the word of docs/serial.md
	}
	d.counter = n
	return nil
}

func (d *Device) answer(quiet bool, c command, data map[string]any) {
	if quiet {
		return
	}
	if c.Random == nil {
		c.Random = []int{}
	}
	data["random_response"] = c.Random
	if message, err := wire.Seal(d.cfg.Name, d.cfg.Key, data); err == nil {
		_ = d.line.write(message) // a line that fails ends Run
	}
}

// poll is answered with the request that waits, or idle.
func (d *Device) poll(quiet bool, c command) {
	if c.Due && d.cfg.OnDue != nil {
		d.cfg.OnDue()
	}
	d.mu.Lock()
	p := d.pending
	d.mu.Unlock()
	if p == nil || !d.cfg.Bus {
		d.answer(quiet, c, map[string]any{"operation": "idle", "response": true})
		return
	}
	if !quiet {
		_ = d.send(p, slices.Clone(c.Random))
	}
}

// obey does a command.
func (d *Device) obey(c command) (map[string]any, error) {
	if c.Operation == "part" {
		return map[string]any{}, d.part(c)
	}
	if d.lock == nil {
		return nil, fmt.Errorf("operation %.16q is not known here", c.Operation)
	}
	now := d.cfg.Clock()
	switch c.Operation {
	case "unlock":
		seconds, err := c.Seconds.Float64()
		if err != nil || seconds <= 0 || seconds > maxSeconds {
			return nil, errors.New("seconds is out of range")
		}
		if err := d.lock.Unlock(time.Duration(seconds*float64(time.Second)), now); err != nil {
			return nil, err
		}
	case "mode":
		if err := d.lock.SetMode(c.Mode, now); err != nil {
			return nil, err
		}
	case "status":
	default:
		return nil, fmt.Errorf("operation %.16q is not known", c.Operation)
	}
	s := d.lock.Status(now)
	return map[string]any{"locked": s.Locked, "open": s.Open, "tamper": s.Tamper, "mode": string(s.Mode), "battery": s.Battery}, nil
}

// Status is what a lock says of itself over a line.
type Status struct {
	Locked, Open, Tamper bool
	Mode                 Mode
	Battery              int // mV
}

// Status returns what the lock is like at a moment.
func (l *Lock) Status(at time.Time) Status {
	mode := l.StateAt(at)
	l.mu.Lock()
	defer l.mu.Unlock()
	free := mode == Passage || mode == FrozenPassage || mode == Secured && at.Before(l.until)
	return Status{Locked: !free, Open: l.open, Tamper: l.tampered, Mode: mode, Battery: l.battery}
}

// Unlock is a momentary unlock by the host. A lock that is frozen or locked down
// refuses it.
func (l *Lock) Unlock(d time.Duration, at time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch l.mode {
	case Lockdown, FrozenSecured:
		return fmt.Errorf("the lock is in mode %s", l.mode)
	}
	l.until = at.Add(d)
	l.note(codeMomentary+noData, at)
	return nil
}

// SetMode is a mode that the host sets. It is in the audits.
func (l *Lock) SetMode(m Mode, at time.Time) error {
	codes := map[Mode]string{Secured: codeToSecured, Passage: codeToPassage, FrozenSecured: codeToFrozenSecured,
		FrozenPassage: codeToFrozenPassage, Lockdown: codeLockdown}
	code, known := codes[m]
	if !known {
		return fmt.Errorf("mode %.16q is not known", m)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.advance(at)
	if l.mode == Lockdown && m != Lockdown {
		l.note(codeLockdownEnd+noData, at)
	}
	l.mode, l.until = m, time.Time{}
	l.note(code+noData, at)
	return nil
}

// SetOpen opens or shuts the leaf that the lock watches; it is in the audits.
func (l *Lock) SetOpen(open bool, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open == open {
		return
	}
	l.open = open
	code := codeClosed
	if open {
		code = codeOpen
	}
	l.note(code+noData, at)
}
