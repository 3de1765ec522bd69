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
	// bounceChanges in less than bounceTime are more than a door contact does
	// when it is well; the fault ends when it was quiet for bounceTime.
	bounceChanges = 20
	bounceTime    = 10 * time.Second
	// maxWaits is how many may wait at a door: one for a second person, and at
	// each reader one for a PIN.
	maxWaits = 4
	// maxPeople is how many grants of one pulse are watched until the door opens.
	maxPeople = 8
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
// While another door of an interlock is not secure (Now.Interlocked), a door that
// is not unlocked already stays locked:
//
//	LOCKED ── grant · unlock command · exit ──▶ refused with the reason interlock
//	  │ └──── exit again within ExitRepeat ───▶ PULSE (yielded), whatever the others do
//	  │
//	  └─ mode unlocked ─▶ HELD BACK ── the others are secure ──▶ UNLOCKED BY MODE
//
// RELEASED heeds no interlock. When it ends, what else would hold the door
// unlocked counts as new.
//
// What the contact makes of it:
//
//	             opened, and (PULSE, UNLOCKED, RELEASED, Grace or masked)
//	CLOSED ─────────────────────────────────────────────▶ OPEN ──┐ HeldWarn:
//	  ▲  │                                                  │    │ held_warning
//	  │  └─ opened otherwise ─▶ OPEN, forced ──────────────▶│    │ HeldAlarm:
//	  │                                                     │ ◀──┘ held
//	  └───────────────── closed: all three cleared ─────────┘
//
// What becomes of a person who was granted:
//
//	             opened before the end of Grace · open or unlocked already
//	             · no contact to tell
//	GRANTED ─────────────────────────────────────────────▶ passed
//	  │
//	  └── refused by the machine · Grace over ─▶ not passed
type State struct {
	started bool
	at      time.Duration // the instant of the last step

	// Who decides the mode, strongest last (door.md, Modes).
	scheduled Schedule
	firstIn   time.Time // when somebody came in under a schedule that waits for it
	trusted   bool
	override  hold // secured, passage; disabled, which is the strongest of all
	freeze    hold // frozen_secured, frozen_passage
	lockdown  hold
	fire      bool // it holds the door unlocked
	alarm     bool // the site's, whatever it does to this door

	pulse   pulse
	maskEnd time.Duration // an opening that begins before this is not forced
	let     bool          // mode or pulse unlock, and no interlock stood against it when they began
	grant   grant
	waits   [maxWaits]wait
	waited  uint64 // numbers the waits

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

	refused   bool // the last press, by an interlock ...
	refusedAt time.Duration

	changes   [bounceChanges]time.Duration // the last changes of the contact, bounce and all
	changed   uint64                       // how many there were
	changedAt time.Duration

	tamper     bool
	tamperEnds bool // seen normal again ...
	tamperAt   time.Duration
	loose      bool // the bond sensor does not show the door secure
	bondRuns   bool // locked and closed, but loose ...
	bondFrom   time.Duration

	faults  [parts]bool
	retryAt time.Duration // when PartStrike is faulty

	// What was done last, so that a step acts on changes only.
	energised bool
	unlocked  bool
	heldBack  bool // the mode unlocks and an interlock does not let it
	mode      site.Mode
	down      bool // a lockdown was there, in force or under a door that is disabled

	refusal site.Reason // of the last grant or command; empty: it was done
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
	// yielded: by a repeated exit press, in spite of an interlock.
	yielded bool
}

// grant is one that was not used so far, and those before it in one pulse.
type grant struct {
	on     bool
	count  uint64
	access Access
	people []Access // who may have gone through; states share it: it is replaced, never changed
	ended  bool     // the pulse is over ...
	end    time.Duration
}

// wait is a decision that waits for more.
type wait struct {
	on     bool
	id     uint64 // never zero
	end    time.Duration
	access Access
	duress bool
}

// second reports whether it waits for a second person.
func (w *wait) second() bool { return w.access.Reason == site.ReasonSecondPersonRequired }

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
	case s.scheduled.Mode.Unlocked() && (!s.trusted || s.scheduled.FirstIn && !s.firstIsIn()):
		return site.ModeSecured, FromSchedule, hold{}
	}
	return s.scheduled.Mode, FromSchedule, hold{}
}

// firstIsIn reports whether somebody has come in since the schedule began.
func (s *State) firstIsIn() bool {
	return !s.firstIn.IsZero() && !s.firstIn.Before(s.scheduled.Since)
}

// Open reports whether the contact shows the door open.
func (s *State) Open() bool { return s.open }

// Locked reports whether the strike is commanded to lock.
func (s *State) Locked() bool { return !s.unlocked }

// Secure reports whether the door is as an interlock wants it: locked and
// closed, as far as its lines can tell.
func (s *State) Secure() bool {
	return !s.unlocked && !s.open && !s.bouncing && !s.faults[PartStrike] && !s.faults[PartBond]
}

// heeds reports whether an interlock may refuse a card or a command here: not
// while fire holds the door unlocked, or a mode that no interlock stood against
// when it began.
func (s *State) heeds() bool {
	mode, _ := s.Mode()
	return !s.fire && !(s.let && mode.Unlocked())
}

// HeldBack reports whether the mode unlocks the door and an interlock does not
// let it.
func (s *State) HeldBack() bool { return s.heldBack }

// Alarm returns the worst alarm that stands.
func (s *State) Alarm() site.Alarm {
	switch {
	case s.forced:
		return site.AlarmForced
	case s.tamper:
		return site.AlarmTamper
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
	return site.DoorKept{Lockdown: s.lockdown.kept(), Override: s.override.kept(), Freeze: s.freeze.kept(), FirstIn: s.firstIn}
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
