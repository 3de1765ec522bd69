package door_test

import (
	"fmt"
	"time"

	"gatehouse/agent/door"
	"gatehouse/agent/site"
)

// grid is the model's unit of time; all times of its door are multiples.
const grid = 10 * ms

// model is a second, naive machine. It has no deadlines: it counts one by one
// through the units of time and looks back over all that it has seen.
type model struct {
	cfg      door.Config
	unlocked []bool // at the end of each unit
	pulsed   []bool // the same, by a pulse
	presses  []int  // the units of presses that only mask
	now      int

	lockdown, fire   bool
	burns            bool
	override         string // passage, secured or none
	sched, wantFirst bool
	since, first     int // units; first is negative before anybody came in

	other           bool // another door of an interlock is not secure
	right           bool // unlocked though an interlock might have spoken
	yielded         bool
	refused         int // the unit of the last press that was refused; negative: none
	pending, off    int // people who may still go in; units since the pulse ended
	passed, refusal int // people so far

	pulse, ada        bool
	left              int // of the pulse
	pulseOpened       bool
	raw, open         bool
	differs           int
	changes           []int // units of the contact's changes
	pressed, released bool
	releasedFor       int
	pressedFor        int
	openFor           int // since the held-open times run; -1: they do not
	openADA           bool
	warn, alarm       bool
	forced, stuck     bool
	bounces           bool

	tamper, tamperRaw bool
	normalFor         int
	loose, bondFault  bool
	looseFor          int // units of locked, closed and loose; -1: not so
}

func newModel(cfg door.Config) model {
	return model{cfg: cfg, openFor: -1, looseFor: -1, first: -1, refused: -1 << 40}
}

func units(d time.Duration) int { return int(d / grid) }

// mode reports whether the mode asks for an unlocked door.
func (m *model) mode() bool {
	switch {
	case m.lockdown:
		return false
	case m.override != "":
		return m.override == "passage"
	}
	return m.sched && (!m.wantFirst || m.first >= m.since)
}

func (m *model) silent() bool { return m.fire || m.mode() && m.right }

// unit moves the model to the next unit of time.
func (m *model) unit() {
	m.now++
	ended := !m.pulse
	if m.raw != m.open {
		if m.differs++; m.differs == units(door.Settle) {
			m.settled()
		}
	}
	if m.pulse {
		if m.left--; m.left == 0 {
			m.pulse = false
		}
	}
	if ended && m.pending > 0 {
		m.off++
	}
	if m.pressed && m.released {
		if m.releasedFor++; m.releasedFor == units(door.Settle) {
			m.pressed, m.released, m.stuck = false, false, false
		}
	}
	if m.pressed {
		if m.pressedFor++; m.pressedFor >= units(m.cfg.RexStuck) && !m.released {
			m.stuck = true
		}
	}
	if m.openFor >= 0 {
		m.openFor++
		m.held()
	}
	m.supervised()
	m.expire()
}

func (m *model) supervised() {
	if m.tamper && !m.tamperRaw {
		if m.normalFor++; m.normalFor == units(door.Settle) {
			m.tamper = false
		}
	}
	if m.looseFor >= 0 {
		if m.looseFor++; m.looseFor >= units(m.cfg.BondTime) {
			m.bondFault = true
		}
	}
	if n := len(m.changes); m.bounces && m.now-m.changes[n-1] >= units(10*s) {
		m.bounces = false
	}
}

// expire gives up on people who did not go in.
func (m *model) expire() {
	if m.pending > 0 && !m.pulse && m.off >= units(door.Grace) && m.raw == m.open {
		m.refusal, m.pending = m.refusal+m.pending, 0
	}
}

// goIn notes people who went in.
func (m *model) goIn(n int) {
	m.passed += n
	if n > 0 && m.sched && m.wantFirst && m.first < m.since {
		m.first = m.now
	}
}

func (m *model) held() {
	warn, alarm := m.cfg.HeldWarn, m.cfg.HeldAlarm
	if m.openADA {
		warn, alarm = m.cfg.ADAWarn, m.cfg.ADAAlarm
	}
	if m.openFor >= units(warn) && !m.alarm {
		m.warn = true
	}
	if m.openFor >= units(alarm) {
		m.alarm = true
	}
}

func (m *model) settled() {
	m.open, m.differs = m.raw, 0
	if !m.open {
		m.openFor, m.openADA = -1, false
		m.warn, m.alarm, m.forced = false, false, false
		if m.pulse && m.pulseOpened && m.cfg.Relock == door.RelockOnClose {
			m.pulse, m.off = false, 0
		}
		return
	}
	began := m.now - units(door.Settle)
	let := m.pulse || m.silent()
	pulsed := m.pulse
	for u := max(0, began-units(door.Grace)); u < m.now; u++ {
		let = let || m.unlocked[u]
		pulsed = pulsed || m.pulsed[u]
	}
	for _, p := range m.presses {
		let = let || began < p+units(m.cfg.Unlock)
	}
	m.openFor = units(door.Settle) - 1 // this unit is counted by unit
	if !let {
		m.forced, m.openADA = true, false
		return
	}
	m.openADA = m.ada && pulsed
	m.pulseOpened = true
	m.goIn(m.pending)
	m.pending = 0
	if m.cfg.Relock == door.RelockOnOpen {
		m.pulse = false
	}
}

func (m *model) unlock(ada bool) {
	length := m.cfg.Unlock
	if ada {
		length = m.cfg.ADAUnlock
	}
	if !m.pulse {
		m.pulse, m.left, m.ada, m.pulseOpened, m.yielded = true, 0, false, false, false
	}
	m.off = 0
	m.left = max(m.left, units(length))
	m.ada = m.ada || ada
	m.pulseOpened = m.pulseOpened || m.open
	if m.open {
		m.openADA = m.openADA || ada
		if m.openFor >= 0 && !m.alarm {
			m.warn, m.openFor = false, 0
		}
	}
}

func (m *model) cut() {
	if m.pulse {
		m.pulse, m.off = false, 0
	}
}

// interlocked reports whether a grant or a command may not unlock.
func (m *model) interlocked() bool { return m.other && !m.fire && !(m.mode() && m.right) }

// grant takes a grant of one or two people.
func (m *model) grant(in door.Grant) {
	n := 1
	if in.First != nil {
		n = 2
	}
	if m.lockdown || m.interlocked() || m.cfg.TwoPerson && n == 1 {
		m.refusal += n
		return
	}
	if m.open || m.mode() || m.fire || m.pending+n > 8 {
		m.goIn(n)
	} else {
		m.pending += n
	}
	m.unlock(in.ADA)
}

// take does one input.
func (m *model) take(in door.Input) {
	switch in := in.(type) {
	case door.Contact:
		m.contact(in.Open)
	case door.Exit:
		m.exit(in.Pressed)
	case door.Grant:
		m.grant(in)
	case door.Fire:
		m.burns = in.On
		if m.cfg.Fire == door.FireRelease {
			m.fire = in.On
		}
	case door.Tamper:
		m.tamperRaw = in.On
		m.tamper = m.tamper || in.On
		if in.On {
			m.normalFor = 0
		}
	case door.Bond:
		m.loose = !in.Secure
		m.bondFault = m.bondFault && m.loose
	case door.Schedule:
		m.sched, m.wantFirst = in.Mode == site.ModePassage, in.FirstIn
		m.since = units(in.Since.Sub(noon))
	case door.Command:
		m.command(in)
	}
	m.expire()
	m.look()
}

func (m *model) command(in door.Command) {
	switch in.Op {
	case door.OpUnlock:
		if !m.lockdown && !m.interlocked() {
			m.unlock(false)
		}
	case door.OpLockdown:
		m.lockdown = true
		m.cut()
	case door.OpRelease:
		m.lockdown = false
	case door.OpLock:
		m.cut()
		if m.override == "passage" {
			m.override = ""
		}
		if m.sched && m.override == "" {
			m.override = "secured"
		}
	case door.OpAuto:
		m.override = ""
	case door.OpMode:
		m.override = in.Mode.String()
		if m.override != "passage" {
			m.cut()
		}
	}
}

func (m *model) contact(open bool) {
	if open == m.raw {
		return
	}
	m.raw = open
	if m.raw == m.open {
		m.differs = 0
	}
	m.changes = append(m.changes, m.now)
	n := 0
	for _, u := range m.changes[max(0, len(m.changes)-30):] {
		if m.now-u < units(10*s) {
			n++
		}
	}
	m.bounces = m.bounces || n > 20
}

func (m *model) exit(pressed bool) {
	switch {
	case !pressed:
		if m.pressed && !m.released {
			m.released, m.releasedFor = true, 0
		}
	case m.pressed:
		m.released = false
		m.stuck = m.stuck || m.pressedFor >= units(m.cfg.RexStuck)
	default:
		m.pressed, m.pressedFor = true, 0
		m.push()
	}
}

// push is a new press of the button.
func (m *model) push() {
	switch stands := m.other && !m.unlocked[m.now]; {
	case !m.cfg.RexUnlock:
		m.presses = append(m.presses, m.now)
	case stands && !m.burns && m.now-m.refused > units(m.cfg.ExitRepeat):
		m.refused = m.now
	default:
		m.refused = -1 << 40
		m.unlock(false)
		m.yielded = m.yielded || stands
	}
}

// look notes what holds at the end of a unit.
func (m *model) look() {
	over := m.fire || m.pulse && m.yielded
	switch {
	case !m.mode() && !m.pulse:
		m.right = false
	case !over && !m.right && !m.other:
		m.right = true
	case !over && !m.right:
		m.cut()
	}
	if m.silent() {
		m.openFor, m.warn, m.alarm, m.forced = -1, false, false, false
	} else if m.open && m.openFor < 0 {
		m.openFor = 0
	}
	for len(m.unlocked) <= m.now {
		m.unlocked, m.pulsed = append(m.unlocked, false), append(m.pulsed, false)
	}
	m.pulsed[m.now] = m.pulse
	m.unlocked[m.now] = over || m.right
	switch {
	case !m.loose || m.unlocked[m.now] || m.open:
		m.looseFor = -1
	case m.looseFor < 0:
		m.looseFor = 0
	}
}

// seen is what is compared after each unit and each input.
type seen struct {
	locked, open, mode, heldBack bool
	alarm                        site.Alarm
	passed, refused              int
}

func (v seen) String() string {
	return fmt.Sprintf("locked %v, open %v, mode unlocks %v, held back %v, alarm %q, %d passed, %d did not",
		v.locked, v.open, v.mode, v.heldBack, v.alarm, v.passed, v.refused)
}

func (m *model) seen() seen {
	v := seen{locked: !m.unlocked[m.now], open: m.open, mode: m.mode(), passed: m.passed, refused: m.refusal}
	v.heldBack = v.mode && v.locked
	switch {
	case m.forced:
		v.alarm = site.AlarmForced
	case m.tamper:
		v.alarm = site.AlarmTamper
	case m.stuck || m.bondFault || m.bounces:
		v.alarm = site.AlarmFault
	case m.alarm:
		v.alarm = site.AlarmHeld
	case m.warn:
		v.alarm = site.AlarmHeldWarning
	}
	return v
}
