package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"gatehouse/tools/sitesim/lock"
	"gatehouse/tools/sitesim/wire"
)

const (
	unlockWait = 1500 * time.Millisecond // how long a person tries a door
	walkTime   = 1200 * time.Millisecond // how long a door stands open behind one
	pressTime  = 300 * time.Millisecond
	keyTime    = 80 * time.Millisecond  // from one key to the next: longer than any frame's silence
	settleTime = 200 * time.Millisecond // until an input that changed is taken for what it shows
	latchTime  = 150 * time.Millisecond // until the next person tries a door that fell shut
)

// player moves the people and the doors.
type player struct {
	w     *world
	board *board
	hive  map[string]*hiveReader
	locks []*siteLock
	ends  []func()

	shared map[string]int        // how many devices hang on a pseudo-terminal
	lines  map[string]*lock.Line // by the same path
}

// newPlayer connects to the board and makes the Hive readers; each serial one
// gets a pseudo-terminal under its link.
func newPlayer(w *world) (*player, error) {
	b, err := dialBoard(w.path(w.Board))
	if err != nil {
		return nil, err
	}
	p := &player{w: w, board: b, hive: map[string]*hiveReader{}, shared: map[string]int{}, lines: map[string]*lock.Line{}}
	p.ends = append(p.ends, func() { b.Close() })
	for _, r := range w.Readers {
		p.shared[r.PTY]++
	}
	for _, l := range w.Locks {
		p.shared[l.PTY]++
	}
	for _, r := range w.Readers {
		if r.Device == "" {
			continue
		}
		if err := p.addHive(r); err != nil {
			p.Close()
			return nil, fmt.Errorf("reader %s: %w", r.ID, err)
		}
	}
	for _, l := range w.Locks {
		if err := p.addLock(l); err != nil {
			p.Close()
			return nil, fmt.Errorf("lock %s: %w", l.ID, err)
		}
	}
	return p, nil
}

func (p *player) addHive(r readerDesc) error {
	key, err := p.w.key(r.KeyFile)
	if err != nil {
		return err
	}
	h := &hiveReader{item: r.Item}
	p.hive[r.ID] = h
	if r.URL != "" {
		h.agent = &wire.Session{Talk: wire.Over(r.Device, key, overHTTP(r.URL))}
		return nil
	}
	line, err := p.line(r.PTY)
	if err != nil {
		return err
	}
	h.agent = line.Add(lock.DeviceConfig{Name: r.Device, Key: key, Bus: p.shared[r.PTY] > 1}, nil)
	return nil
}

// line returns the serial line under a link, which it makes the first time.
func (p *player) line(path string) (*lock.Line, error) {
	if line := p.lines[path]; line != nil {
		return line, nil
	}
	port, err := lock.OpenPTY(p.w.path(path))
	if err != nil {
		return nil, err
	}
	p.ends = append(p.ends, func() { port.Close() })
	p.lines[path] = lock.NewLine(port)
	return p.lines[path], nil
}

// Close lets go of the board and the lines.
func (p *player) Close() {
	for i := len(p.ends) - 1; i >= 0; i-- {
		p.ends[i]()
	}
}

// card presents a 26-bit card and, when the door unlocks, walks through. At a
// lock it says what the lock made of it.
func (p *player) card(ctx context.Context, reader string, facility, number uint64, stay bool) (string, error) {
	if l, err := p.theLock(reader); err == nil {
		return l.card(facility, number)
	}
	r, err := p.w.reader(reader)
	if err != nil {
		return "", err
	}
	if h := p.hive[reader]; h != nil {
		reply, err := h.access(ctx, facility, number)
		if err != nil {
			return "", err
		}
		if !reply.Access {
			return "refused: " + strings.TrimSpace(reply.Error+" "+reply.Reason), nil
		}
		return p.walk(ctx, r.Door, "granted", stay)
	}
	hexBits, err := h10301(facility, number)
	if err != nil {
		return "", err
	}
	return p.badge(ctx, reader, 26, hexBits, stay)
}

// badge presents bits at a Wiegand reader.
func (p *player) badge(ctx context.Context, reader string, n int, hexBits string, stay bool) (string, error) {
	r, err := p.w.reader(reader)
	if err != nil {
		return "", err
	}
	if r.D0 == "" {
		return "", fmt.Errorf("reader %s is not a Wiegand reader", reader)
	}
	if err := p.board.wiegand(r.D0, r.D1, n, hexBits); err != nil {
		return "", err
	}
	return p.walk(ctx, r.Door, "the door unlocked", stay)
}

// walk tries a door for a moment and goes through when it yields.
func (p *player) walk(ctx context.Context, door, said string, stay bool) (string, error) {
	d, err := p.w.door(door)
	if err != nil {
		return "", err
	}
	unlocked, err := p.waitUnlocked(ctx, d)
	if err != nil {
		return "", err
	}
	if !unlocked {
		return "the door stayed locked", nil
	}
	if stay {
		return said, nil
	}
	if err := p.swing(ctx, d, walkTime); err != nil {
		return "", err
	}
	return said + ", a person walked through", nil
}

func (p *player) waitUnlocked(ctx context.Context, d doorDesc) (bool, error) {
	for end := time.Now().Add(unlockWait); ; {
		level, err := p.board.get(d.Strike)
		if err != nil || level == d.Unlocked {
			return err == nil, err
		}
		if time.Now().After(end) {
			return false, nil
		}
		if err := pause(ctx, 10*time.Millisecond); err != nil {
			return false, err
		}
	}
}

// swing opens the door and closes it after the given time, also when ctx ends.
func (p *player) swing(ctx context.Context, d doorDesc, open time.Duration) error {
	if err := p.board.set(d.Contact, d.Open); err != nil {
		return err
	}
	waited := pause(ctx, open)
	if err := p.board.set(d.Contact, 1-d.Open); err != nil || waited != nil {
		return errors.Join(err, waited)
	}
	return pause(ctx, latchTime)
}

// open pushes a door. A locked one opens by force only.
func (p *player) open(ctx context.Context, door string, hold time.Duration, force bool) (string, error) {
	d, err := p.w.door(door)
	if err != nil {
		return "", err
	}
	level, err := p.board.get(d.Strike)
	if err != nil {
		return "", err
	}
	if level != d.Unlocked && !force {
		return "the door is locked (--force breaks it open)", nil
	}
	if err := p.swing(ctx, d, hold); err != nil {
		return "", err
	}
	return fmt.Sprintf("the door stood open for %s and is closed", hold), nil
}

// exit presses the exit button and walks out.
func (p *player) exit(ctx context.Context, door string, stay bool) (string, error) {
	d, err := p.w.door(door)
	if err != nil {
		return "", err
	}
	if err := p.board.set(d.Exit, d.Pressed); err != nil {
		return "", err
	}
	waited := pause(ctx, pressTime)
	if err := p.board.set(d.Exit, 1-d.Pressed); err != nil || waited != nil {
		return "", err
	}
	return p.walk(ctx, door, "the exit button unlocked the door", stay)
}

// keys types at a reader's keypad, each key a frame of its own, and tries the
// door. A wrong key types nothing.
func (p *player) keys(ctx context.Context, reader, keys string, stay bool) (string, error) {
	r, err := p.w.reader(reader)
	if err != nil {
		return "", err
	}
	if r.D0 == "" {
		return "", fmt.Errorf("reader %s is not a Wiegand reader", reader)
	}
	var frames []string
	for _, key := range keys {
		frame, err := keyFrame(key)
		if err != nil {
			return "", err
		}
		frames = append(frames, frame)
	}
	for _, frame := range frames {
		if err := p.board.wiegand(r.D0, r.D1, 4, frame); err != nil {
			return "", err
		}
		if err := pause(ctx, keyTime); err != nil {
			return "", err
		}
	}
	return p.walk(ctx, r.Door, "the door unlocked", stay)
}

// input switches an input of the site and waits until an agent has believed it.
func (p *player) input(ctx context.Context, name string, on bool) (string, error) {
	l, err := p.w.input(name)
	if err != nil {
		return "", err
	}
	level := l.On
	if !on {
		level = 1 - l.On
	}
	if err := p.board.set(l.Line, level); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s is %s", name, onOff(on)), pause(ctx, settleTime)
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

// show says what every door, input and output looks like.
func (p *player) show() (string, error) {
	var out strings.Builder
	for _, d := range p.w.Doors {
		strike, err := p.board.get(d.Strike)
		if err != nil {
			return "", err
		}
		contact, err := p.board.get(d.Contact)
		if err != nil {
			return "", err
		}
		lock, leaf := "locked", "closed"
		if strike == d.Unlocked {
			lock = "unlocked"
		}
		if contact == d.Open {
			leaf = "open"
		}
		fmt.Fprintf(&out, "door   %-12s %-9s %s\n", d.ID, lock, leaf)
	}
	for _, kind := range []struct {
		name  string
		lines []lineDesc
	}{{"input", p.w.Inputs}, {"output", p.w.Outputs}} {
		for _, l := range kind.lines {
			level, err := p.board.get(l.Line)
			if err != nil {
				return "", err
			}
			fmt.Fprintf(&out, "%-6s %-12s %s\n", kind.name, l.ID, onOff(level == l.On))
		}
	}
	for _, l := range p.locks {
		out.WriteString(l.show())
	}
	return strings.TrimRight(out.String(), "\n"), nil
}

// pause waits, or ends early with ctx.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
