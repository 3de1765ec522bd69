package door

import (
	"errors"
	"fmt"
	"time"

	"gatehouse/agent/site"
)

// maxFor bounds the duration of a command: longer ones are given by an end.
const maxFor = 366 * 24 * time.Hour

// Errors of commands that callers branch on.
var (
	// ErrCommand is returned for a command that is wrong in itself: an unknown
	// one, an end that has passed, two ends. Nothing was changed.
	ErrCommand = errors.New("not a command")
	// ErrRefused is returned for an unlock command while the door is disabled,
	// locked down, frozen or held back by an interlock. It is recorded; nothing else was changed.
	ErrRefused = errors.New("refused")
)

// check reports what is wrong with a command in itself.
func (c Command) check(now Now) error {
	switch {
	case c.Op == 0 || c.Op > OpRelease:
		return fmt.Errorf("%w: operation %d is not known", ErrCommand, c.Op)
	case c.Op == OpMode && c.Mode > site.ModeDisabled:
		return fmt.Errorf("%w: %v is not known", ErrCommand, c.Mode)
	case c.For < 0 || c.For > maxFor:
		return fmt.Errorf("%w: a duration of %v is not between 0 and %v", ErrCommand, c.For, maxFor)
	case c.For > 0 && !c.Until.IsZero():
		return fmt.Errorf("%w: both a duration and an end", ErrCommand)
	case !c.Until.IsZero() && !c.Until.After(now.Wall):
		return fmt.Errorf("%w: its end %s has passed", ErrCommand, c.Until.Format(time.RFC3339))
	}
	return nil
}

// refuses returns the reason for which an unlock command is refused.
func (s *State) refuses(now Now) site.Reason {
	mode, _ := s.Mode()
	r := refusesMode(mode)
	if r == "" && now.Interlocked && s.heeds() {
		return site.ReasonInterlock
	}
	return r
}

// refusesMode returns the reason for which the mode refuses an unlock command.
func refusesMode(mode site.Mode) site.Reason {
	switch mode {
	case site.ModeDisabled:
		return site.ReasonDoorDisabled
	case site.ModeLockdown:
		return site.ReasonLockdown
	case site.ModeFrozenSecured:
		return site.ReasonFrozen
	case site.ModeSecured, site.ModePassage, site.ModeFrozenPassage:
	}
	return ""
}

// Refuses reports why a step with the command c would not do it, or nil.
// ErrCommand, ErrRefused.
func (s *State) Refuses(c Command, now Now) error {
	if err := c.check(now); err != nil {
		return err
	}
	if r := s.refuses(now); c.Op == OpUnlock && r != "" {
		return fmt.Errorf("%w: %s", ErrRefused, r.Text())
	}
	return nil
}

// command does what somebody orders. A command that locks relocks at once.
func (m *machine) command(c Command) {
	if c.check(m.now) != nil {
		return
	}
	if c.Op == OpMode && c.Mode == site.ModeLockdown {
		c.Op = OpLockdown
	}
	s := &m.s
	s.refusal = ""
	until, elapsed := c.Until, false
	if c.For > 0 {
		until, elapsed = m.now.Wall.Add(c.For), !m.now.Trusted
	}
	e := site.Event{Kind: site.KindCommand, Text: c.Op.String(), By: c.By, Until: until}
	if c.Op == OpMode {
		e.Mode = c.Mode.String()
	}
	if c.Op == OpUnlock {
		s.refusal = s.refuses(m.now)
		e.Reason = s.refusal
	}
	m.emit(e)
	switch c.Op {
	case OpUnlock:
		if e.Reason == "" {
			m.unlock(until)
		}
	case OpLock:
		m.secure(c.By)
	case OpMode:
		m.setMode(m.newHold(c.Mode, c.By, until, elapsed))
	case OpAuto:
		s.override, s.freeze = hold{}, hold{}
	case OpLockdown:
		s.lockdown = m.newHold(site.ModeLockdown, c.By, until, elapsed)
		m.cut()
	case OpRelease:
		s.lockdown = hold{}
	}
}

// unlock starts a pulse by command; a zero until takes the door's own time.
func (m *machine) unlock(until time.Time) {
	if until.IsZero() {
		m.startPulse(m.cfg.Unlock, false, false)
		return
	}
	m.startPulse(until.Sub(m.now.Wall), false, true)
}

// setMode lets h decide the mode in place of an earlier override, freeze or
// disabling. A freeze leaves the override below it for when it ends.
func (m *machine) setMode(h hold) {
	s := &m.s
	if frozen(h.mode) {
		s.freeze = h
		if s.override.on && s.override.mode == site.ModeDisabled {
			s.override = hold{}
		}
	} else {
		s.override, s.freeze = h, hold{}
	}
	if !h.mode.Unlocked() {
		m.cut()
	}
}
