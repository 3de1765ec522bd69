package door

import (
	"time"

	"gatehouse/agent/site"
)

// Fixed times of the machine.
const (
	// Settle is how long a contact must stand, and an exit button be released,
	// before the change counts.
	Settle = 50 * time.Millisecond
	// Grace is how long after relock a door may begin to open without being
	// forced (door.md, Exit).
	Grace = 300 * time.Millisecond
	// WaitTime is how long a PIN or a second person is waited for (door.md,
	// Decision).
	WaitTime = 15 * time.Second
	// strikeRetry is the pace at which a strike line that failed is driven again.
	strikeRetry = time.Second
)

// State is all that a door's machine knows. It is a plain value: copies are
// independent. The zero State has not started and ignores all but [Start].
//
// What makes a door locked or unlocked:
//
//	            fire (release)                     end of fire
//	  any ───────────────────────▶ RELEASED ─────────────────▶ by mode
//
//	            mode unlocked (schedule, override, freeze)
//	LOCKED ──────────────────────────────────────────▶ UNLOCKED BY MODE
//	  │ ▲ ◀──────────────────────────────────────────── end, lock, lockdown
//	  │ │
//	  │ └── end of time · opened (on_open) · closed again (on_close) ·
//	  │     lock · lockdown: at once, then Grace ──┐
//	  │                                            │
//	  └── grant · exit · unlock command ──────▶  PULSE ⟲ grant, exit: extends
//
// What the contact makes of it:
//
//	             opened, and (PULSE, UNLOCKED, RELEASED, Grace or masked)
//	CLOSED ─────────────────────────────────────────────▶ OPEN ──┐ HeldWarn:
//	  ▲  │                                                  │    │ held_warning
//	  │  └─ opened otherwise ─▶ OPEN, forced ──────────────▶│    │ HeldAlarm:
//	  │                                                     │ ◀──┘ held
//	  └───────────────── closed: all three cleared ─────────┘
type State struct {
	started bool
	at      time.Duration // the instant of the last step

	// Who decides the mode, strongest last (door.md, Modes).
	scheduled site.Mode
	trusted   bool
	override  hold // secured, passage; disabled, which is the strongest of all
	freeze    hold // frozen_secured, frozen_passage
	lockdown  hold
	fire      bool

	pulse   pulse
	maskEnd time.Duration // an opening that begins before this is not forced
	grant   grant
	wait    wait

	open      bool // as settled
	bouncing  bool // the contact differs from open ...
	bounceAt  time.Duration
	held      bool // held-open times run ...
	heldFrom  time.Duration
	heldADA   bool
	warned    bool // alarms that stand
	heldAlarm bool
	forced    bool

	pressed   bool // exit button
	pressedAt time.Duration
	releasing bool // seen released ...
	releaseAt time.Duration

	faults  [parts]bool
	retryAt time.Duration // when PartStrike is faulty

	// What was done last, so that a step acts on changes only.
	energised bool
	unlocked  bool
	mode      site.Mode
}

// hold is a mode that somebody set.
type hold struct {
	on      bool
	mode    site.Mode
	by      string
	until   time.Time // zero: without end
	end     time.Duration
	elapsed bool // until was worked out under a clock that was not trusted
}

// pulse is the time for which a grant, a press or a command unlocks.
type pulse struct {
	on    bool
	end   time.Duration // when it ends, or ended
	timed bool          // by an unlock command with a duration: nothing relocks early
	ada   bool
}

// grant is one that was not used so far.
type grant struct {
	on     bool
	count  uint64
	access Access
	ended  bool // the pulse is over ...
	end    time.Duration
}

// wait is a decision that waits for more.
type wait struct {
	on     bool
	end    time.Duration
	access Access
}

// ModeSource says who decides the mode.
type ModeSource uint8

// The sources of a mode, weakest first (door.md, Modes: who wins).
const (
	FromSchedule ModeSource = iota
	FromOverride
	FromFreeze
	FromLockdown
	FromDisabled
)

// Mode returns the mode that holds and who decided it. Fire release is no mode:
// it unlocks in every one of them.
func (s *State) Mode() (site.Mode, ModeSource) {
	m, from, _ := s.ruling()
	return m, from
}

func (s *State) ruling() (site.Mode, ModeSource, hold) {
	switch {
	case s.override.on && s.override.mode == site.ModeDisabled:
		return site.ModeDisabled, FromDisabled, s.override
	case s.lockdown.on:
		return site.ModeLockdown, FromLockdown, s.lockdown
	case s.freeze.on:
		return s.freeze.mode, FromFreeze, s.freeze
	case s.override.on:
		return s.override.mode, FromOverride, s.override
	case s.scheduled.Unlocked() && !s.trusted:
		return site.ModeSecured, FromSchedule, hold{}
	}
	return s.scheduled, FromSchedule, hold{}
}

// Open reports whether the contact shows the door open.
func (s *State) Open() bool { return s.open }

// Locked reports whether the strike is commanded to lock.
func (s *State) Locked() bool { return !s.unlocked }

// Alarm returns the worst alarm that stands.
func (s *State) Alarm() site.Alarm {
	switch {
	case s.forced:
		return site.AlarmForced
	case s.faults != [parts]bool{}:
		return site.AlarmFault
	case s.heldAlarm:
		return site.AlarmHeld
	case s.warned:
		return site.AlarmHeldWarning
	}
	return site.AlarmNone
}

// Kept returns what must survive a restart.
func (s *State) Kept() site.DoorKept {
	return site.DoorKept{Lockdown: s.lockdown.kept(), Override: s.override.kept(), Freeze: s.freeze.kept()}
}

func (h hold) kept() *site.DoorOverride {
	if !h.on {
		return nil
	}
	return &site.DoorOverride{Mode: h.mode, Until: h.until, By: h.by}
}

// Status returns the door as others see it.
func (s *State) Status(cfg *Config) site.DoorStatus {
	mode, _, h := s.ruling()
	return site.DoorStatus{ID: cfg.ID, Name: cfg.Name, Mode: mode, Locked: s.Locked(), Open: s.open, Alarm: s.Alarm(), Until: h.until}
}

// Next returns the earliest instant, on the scale of Now.Mono, at which a
// [Tick] changes something. False: only another input can. After a step it is
// later than that step.
func (s *State) Next(cfg *Config) (time.Duration, bool) {
	var at time.Duration
	found := false
	add := func(on bool, t time.Duration) {
		if on && (!found || t < at) {
			at, found = t, true
		}
	}
	add(s.override.ends(), s.override.end)
	add(s.freeze.ends(), s.freeze.end)
	add(s.lockdown.ends(), s.lockdown.end)
	add(s.pulse.on, s.pulse.end)
	add(s.grant.on && s.grant.ended && !s.bouncing, s.grant.end)
	add(s.wait.on, s.wait.end)
	add(s.bouncing, s.bounceAt+Settle)
	add(s.releasing, s.releaseAt+Settle)
	add(s.pressed && !s.releasing && !s.faults[PartRex] && cfg.RexStuck > 0, s.pressedAt+cfg.RexStuck)
	add(s.faults[PartStrike], s.retryAt)
	warn, alarm := cfg.heldTimes(s.heldADA)
	add(s.held && !s.warned && !s.heldAlarm && warn > 0, s.heldFrom+warn)
	add(s.held && !s.heldAlarm && alarm > 0, s.heldFrom+alarm)
	return at, found
}

func (h hold) ends() bool { return h.on && !h.until.IsZero() }

// heldTimes returns warning and alarm time; zero: none.
func (c *Config) heldTimes(ada bool) (warn, alarm time.Duration) {
	warn, alarm = c.HeldWarn, c.HeldAlarm
	if ada && c.ADAWarn > 0 {
		warn = c.ADAWarn
	}
	if ada && c.ADAAlarm > 0 {
		alarm = c.ADAAlarm
	}
	return warn, alarm
}

// unlockTime returns the length of a pulse.
func (c *Config) unlockTime(ada bool) time.Duration {
	if ada && c.ADAUnlock > 0 {
		return c.ADAUnlock
	}
	return c.Unlock
}
