package haltest

import (
	"encoding/hex"
	"strings"
	"time"

	"gatehouse/hal"
)

// Drive sets the level of a line from outside, as a contact, a button or a
// reader does, stamped with the board's clock. Nothing happens where the line
// has that level already, is an output, or is not there.
func (b *Board) Drive(name hal.LineName, v hal.Level) { b.drive(name, v, nil) }

// DriveAt is Drive with the caller's stamp. The edge is queued at once: this is
// how a test delays the goroutine that reads.
func (b *Board) DriveAt(name hal.LineName, v hal.Level, at time.Duration) { b.drive(name, v, &at) }

func (b *Board) drive(name hal.LineName, v hal.Level, at *time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.lineLocked(name)
	if l == nil || l.output && l.owner != nil {
		return
	}
	same := l.level == v && (l.driven || l.group != nil)
	l.level, l.driven = v, true
	if same || l.group == nil {
		return
	}
	e := hal.Edge{Line: name, Level: v}
	if at != nil {
		e.At = *at
	} else {
		e.At = b.nowLocked()
	}
	l.group.sendLocked(e)
}

// PulseWidth is how long a Wiegand pulse of this package is low. Where bits are
// closer than twice this, half their distance is taken.
const PulseWidth = 50 * time.Microsecond

// Wiegand sends a frame in time: a '0' of bits is a low pulse on d0, a '1' one
// on d1, falling edges gap apart. Spaces are skipped and any other character is
// sent on no line. It returns after the last pulse, and must not be called by
// the goroutine that reads the edges.
func (b *Board) Wiegand(d0, d1 hal.LineName, bits string, gap time.Duration) {
	width := min(PulseWidth, gap/2)
	first := true
	for _, c := range bits {
		if c == ' ' {
			continue
		}
		if !first {
			time.Sleep(gap - width)
		}
		first = false
		if name, ok := bitLine(d0, d1, c); ok {
			b.Drive(name, hal.Low)
			time.Sleep(width)
			b.Drive(name, hal.High)
		}
	}
}

// WiegandAt queues a whole frame at once with stamps from at on, and returns the
// stamp of its last falling edge. The group's queue must have room for two
// edges a bit.
func (b *Board) WiegandAt(d0, d1 hal.LineName, bits string, gap, at time.Duration) time.Duration {
	width := min(PulseWidth, gap/2)
	last := at
	for _, c := range strings.ReplaceAll(bits, " ", "") {
		if name, ok := bitLine(d0, d1, c); ok {
			b.DriveAt(name, hal.Low, at)
			b.DriveAt(name, hal.High, at+width)
			last = at
		}
		at += gap
	}
	return last
}

func bitLine(d0, d1 hal.LineName, c rune) (hal.LineName, bool) {
	switch c {
	case '0':
		return d0, true
	case '1':
		return d1, true
	}
	return "", false
}

// Bits turns left-justified hex, as the vectors write frames, into n characters
// '0' and '1'. Where the hex is damaged or too short, the result is shorter.
func Bits(n int, left string) string {
	raw, _ := hex.DecodeString(left)
	var sb strings.Builder
	for i := range min(n, len(raw)*8) {
		sb.WriteByte('0' + raw[i/8]>>(7-i%8)&1)
	}
	return sb.String()
}

// Level returns the level of a line now; low for one that is not there.
func (b *Board) Level(name hal.LineName) hal.Level {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.lineLocked(name)
	return l != nil && l.level
}

// Claimed reports whether somebody holds the line.
func (b *Board) Claimed(name hal.LineName) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.lineLocked(name)
	return l != nil && l.owner != nil
}

// History returns the levels that an output took, oldest first: one entry for
// each claim and one for each change. Without a name it has all lines.
func (b *Board) History(names ...hal.LineName) []Change {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []Change
	for _, c := range b.history {
		for _, n := range names {
			if c.Line == n {
				out = append(out, c)
				break
			}
		}
		if len(names) == 0 {
			out = append(out, c)
		}
	}
	return out
}

// Watch returns a channel with each further change of any output. It holds 256;
// what does not fit is not sent (History has it). It is never closed.
func (b *Board) Watch() <-chan Change {
	b.mu.Lock()
	defer b.mu.Unlock()
	w := make(chan Change, 256)
	b.watches = append(b.watches, w)
	return w
}

// FailClaim makes each claim of the line fail with err until it is nil again.
func (b *Board) FailClaim(name hal.LineName, err error) {
	b.inject(name, func(l *line) { l.failClaim = err })
}

// FailSet makes each Set of the line fail with err and leave the level, until it
// is nil again.
func (b *Board) FailSet(name hal.LineName, err error) {
	b.inject(name, func(l *line) { l.failSet = err })
}

// FailRead makes each Read of the line fail with err until it is nil again.
func (b *Board) FailRead(name hal.LineName, err error) {
	b.inject(name, func(l *line) { l.failRead = err })
}

// LoseEdges loses the next n edges of the group that holds the line, as a full
// queue does: the edge after them has Lost set.
func (b *Board) LoseEdges(name hal.LineName, n int) {
	b.inject(name, func(l *line) {
		if l.group != nil {
			l.group.drop += n
		}
	})
}

func (b *Board) inject(name hal.LineName, f func(*line)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if l := b.lineLocked(name); l != nil {
		f(l)
	}
}

// Lose takes the board away, as an unplugged expander or a dead holder does:
// all edge channels are closed, every call fails with hal.ErrClosed and levels
// stay. Restore brings it back, unclaimed.
func (b *Board) Lose() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.releaseLocked()
	b.lost = true
}

// Restore ends what Lose began.
func (b *Board) Restore() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lost = false
}
