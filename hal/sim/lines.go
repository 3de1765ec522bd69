package sim

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"gatehouse/hal"
)

// Dir is the direction of a line, seen from the agent. The zero value is no
// direction.
type Dir string

// The directions.
const (
	In  Dir = "in"
	Out Dir = "out"
)

// Line is a line as it is declared to the holder.
type Line struct {
	Name hal.LineName
	Dir  Dir
	// Rest is the level of a line that the holder did not know: inactive for an
	// input, de-energised for an output.
	Rest hal.Level
}

// errRefused is what a line answers on which a fault was laid.
var errRefused = errors.New("line fault (injected)")

// pin is the holder's state of one line.
type pin struct {
	name    hal.LineName
	dir     Dir
	driven  hal.Level
	stuck   *hal.Level
	refuse  bool
	playing bool
	owner   *client
}

// level is what a meter would show.
func (p *pin) level() hal.Level {
	if p.stuck != nil {
		return *p.stuck
	}
	return p.driven
}

// lines is the state of all lines. Its owner guards it. Each change that can be
// seen is told to changed, in order.
type lines struct {
	pins    map[hal.LineName]*pin
	changed func(hal.Edge)
}

func (l *lines) get(n hal.LineName) (*pin, error) {
	p, ok := l.pins[n]
	if !ok {
		return nil, fmt.Errorf("%s: %w", n, hal.ErrNoLine)
	}
	return p, nil
}

func (l *lines) all(names []hal.LineName) ([]*pin, error) {
	pins := make([]*pin, 0, len(names))
	for _, n := range names {
		p, err := l.get(n)
		if err != nil {
			return nil, err
		}
		pins = append(pins, p)
	}
	return pins, nil
}

// sorted returns every line by name.
func (l *lines) sorted() []*pin {
	pins := make([]*pin, 0, len(l.pins))
	for _, p := range l.pins {
		pins = append(pins, p)
	}
	slices.SortFunc(pins, func(a, b *pin) int { return strings.Compare(string(a.name), string(b.name)) })
	return pins
}

// drive gives a line a level and tells the change that it makes, if any.
func (l *lines) drive(p *pin, v hal.Level, at time.Duration) {
	before := p.level()
	p.driven = v
	l.tell(p, before, at)
}

func (l *lines) tell(p *pin, before hal.Level, at time.Duration) {
	if p.level() != before {
		l.changed(hal.Edge{Line: p.name, Level: p.level(), At: at})
	}
}

// declare makes lines known, all or none.
func (l *lines) declare(decl []declaration, by *client, at time.Duration) ([]*pin, error) {
	fresh := 0
	for _, d := range decl {
		p, ok := l.pins[d.Line]
		switch {
		case !ok:
			fresh++
		case p.dir != d.Dir && (p.owner != nil && p.owner != by || p.playing):
			return nil, fmt.Errorf("lines: %s: %w", d.Line, hal.ErrBusy)
		}
	}
	if len(l.pins)+fresh > maxLines {
		return nil, fmt.Errorf("%w: lines: more than %d", errBad, maxLines)
	}
	pins := make([]*pin, 0, len(decl))
	for _, d := range decl {
		rest := hal.Level(d.Rest == 1)
		p, ok := l.pins[d.Line]
		if !ok {
			p = &pin{name: d.Line, dir: d.Dir, driven: rest}
			l.pins[d.Line] = p
		}
		if p.dir != d.Dir {
			p.dir = d.Dir
			l.drive(p, rest, at)
		}
		pins = append(pins, p)
	}
	return pins, nil
}

// set is an outsider's change of an input.
func (l *lines) set(n hal.LineName, v hal.Level, at time.Duration) (*pin, error) {
	p, err := l.get(n)
	if err != nil {
		return nil, fmt.Errorf("set: %w", err)
	}
	if p.dir == Out {
		return nil, fmt.Errorf("%w: set: %s is an output, only its owner drives it", errBad, n)
	}
	if p.playing {
		return nil, fmt.Errorf("set: %s: %w", n, hal.ErrBusy)
	}
	l.drive(p, v, at)
	return p, nil
}

// setDriven is the owner's change of an output.
func (l *lines) setDriven(n hal.LineName, v hal.Level, by *client, at time.Duration) (*pin, error) {
	p, err := l.get(n)
	switch {
	case err != nil:
		return nil, fmt.Errorf("drive: %w", err)
	case p.dir != Out:
		return nil, fmt.Errorf("%w: drive: %s is an input", errBad, n)
	case p.owner != by:
		return nil, fmt.Errorf("%w: drive: %s is not owned by this connection", errBad, n)
	case p.refuse:
		return nil, fmt.Errorf("drive: %s: %w", n, errRefused)
	}
	l.drive(p, v, at)
	return p, nil
}

// own claims lines, all or none. A level claims outputs, nil inputs. It returns
// hal.ErrBusy, and wait true when another connection is in the way.
func (l *lines) own(names []hal.LineName, level *hal.Level, by *client, at time.Duration) (pins []*pin, wait bool, err error) {
	pins, err = l.all(names)
	if err != nil {
		return nil, false, fmt.Errorf("own: %w", err)
	}
	for _, p := range pins {
		switch {
		case p.dir == Out && level == nil:
			return nil, false, fmt.Errorf("%w: own: %s is an output and wants a level", errBad, p.name)
		case p.dir == In && level != nil:
			return nil, false, fmt.Errorf("%w: own: %s is an input and takes no level", errBad, p.name)
		case p.owner != nil:
			return nil, p.owner != by, fmt.Errorf("own: %s: %w", p.name, hal.ErrBusy)
		case p.refuse:
			return nil, false, fmt.Errorf("own: %s: %w", p.name, errRefused)
		}
	}
	for _, p := range pins {
		p.owner = by
		if level != nil {
			l.drive(p, *level, at)
		}
	}
	return pins, false, nil
}

// disown gives lines back that by owns; the level stays.
func (l *lines) disown(names []hal.LineName, by *client) ([]*pin, error) {
	pins, err := l.all(names)
	if err != nil {
		return nil, fmt.Errorf("disown: %w", err)
	}
	for _, p := range pins {
		if p.owner != by {
			return nil, fmt.Errorf("%w: disown: %s is not owned by this connection", errBad, p.name)
		}
	}
	for _, p := range pins {
		p.owner = nil
	}
	return pins, nil
}

// fault lays a fault on a line, or takes it away.
func (l *lines) fault(f faultRequest, at time.Duration) (*pin, error) {
	p, err := l.get(f.Line)
	if err != nil {
		return nil, fmt.Errorf("fault: %w", err)
	}
	before := p.level()
	p.stuck, p.refuse = nil, f.Refuse
	if f.Stuck != nil {
		v := hal.Level(*f.Stuck == 1)
		p.stuck = &v
	}
	l.tell(p, before, at)
	return p, nil
}

// reserve takes the two lines of a frame until release.
func (l *lines) reserve(f frameRequest) (release func(), err error) {
	pins, err := l.all([]hal.LineName{f.D0, f.D1})
	if err != nil {
		return nil, fmt.Errorf("wiegand: %w", err)
	}
	for _, p := range pins {
		if p.dir != In {
			return nil, fmt.Errorf("%w: wiegand: %s is an output", errBad, p.name)
		}
		if p.playing {
			return nil, fmt.Errorf("wiegand: %s: %w", p.name, hal.ErrBusy)
		}
	}
	for _, p := range pins {
		p.playing = true
	}
	return func() {
		for _, p := range pins {
			p.playing = false
		}
	}, nil
}
