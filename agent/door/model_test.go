package door_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"gatehouse/agent/door"
	"gatehouse/agent/site"
)

var (
	seed  = flag.Uint64("seed", 0, "seed of the model test; 0 takes one from the time")
	steps = flag.Int("steps", 20_000, "steps of the model test")
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

	lockdown, passage, fire bool

	pulse, ada        bool
	left              int // of the pulse
	pulseOpened       bool
	raw, open         bool
	differs           int
	pressed, released bool
	releasedFor       int
	pressedFor        int
	openFor           int // since the held-open times run; -1: they do not
	openADA           bool
	warn, alarm       bool
	forced, stuck     bool
}

func units(d time.Duration) int { return int(d / grid) }

func (m *model) unlockedByMode() bool { return m.fire || m.passage && !m.lockdown }

// unit moves the model to the next unit of time.
func (m *model) unit() {
	m.now++
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
			m.pulse = false
		}
		return
	}
	began := m.now - units(door.Settle)
	let := m.pulse || m.unlockedByMode()
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
		m.pulse, m.left, m.ada, m.pulseOpened = true, 0, false, false
	}
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

// take does one input.
func (m *model) take(in door.Input) {
	switch in := in.(type) {
	case door.Contact:
		if m.raw = in.Open; m.raw == m.open {
			m.differs = 0
		}
	case door.Exit:
		m.exit(in.Pressed)
	case door.Grant:
		if !m.lockdown {
			m.unlock(in.ADA)
		}
	case door.Fire:
		if m.cfg.Fire == door.FireRelease {
			m.fire = in.On
		}
	case door.Command:
		switch in.Op {
		case door.OpUnlock:
			if !m.lockdown {
				m.unlock(false)
			}
		case door.OpLockdown:
			m.lockdown, m.pulse = true, false
		case door.OpRelease:
			m.lockdown = false
		case door.OpLock:
			m.passage, m.pulse = false, false
		case door.OpMode:
			m.passage = in.Mode == site.ModePassage
			m.pulse = m.pulse && m.passage
		}
	}
	m.look()
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
		if m.cfg.RexUnlock {
			m.unlock(false)
			return
		}
		m.presses = append(m.presses, m.now)
	}
}

// look notes what holds at the end of a unit.
func (m *model) look() {
	if m.unlockedByMode() {
		m.openFor, m.warn, m.alarm, m.forced = -1, false, false, false
	} else if m.open && m.openFor < 0 {
		m.openFor = 0
	}
	for len(m.unlocked) <= m.now {
		m.unlocked, m.pulsed = append(m.unlocked, false), append(m.pulsed, false)
	}
	m.pulsed[m.now] = m.pulse
	m.unlocked[m.now] = m.pulse || m.unlockedByMode()
}

func (m *model) String() string {
	worst := site.AlarmNone
	switch {
	case m.forced:
		worst = site.AlarmForced
	case m.stuck:
		worst = site.AlarmFault
	case m.alarm:
		worst = site.AlarmHeld
	case m.warn:
		worst = site.AlarmHeldWarning
	}
	return fmt.Sprintf("locked %v, open %v, alarm %q", !m.unlocked[m.now], m.open, worst)
}

// randomDoor has short times, so that they run into each other.
func randomDoor(r *rand.Rand) door.Config {
	c := front()
	c.Unlock, c.RexStuck = time.Duration(1+r.IntN(60))*grid, time.Duration(50+r.IntN(300))*grid
	c.HeldWarn = time.Duration(10+r.IntN(100)) * grid
	c.HeldAlarm = c.HeldWarn + time.Duration(r.IntN(100))*grid
	c.ADAUnlock, c.ADAWarn, c.ADAAlarm = 2*c.Unlock, 2*c.HeldWarn, 2*c.HeldAlarm
	c.Relock = door.Relock(r.IntN(3))
	c.RexUnlock = r.IntN(3) > 0
	c.Fail = door.Fail(r.IntN(2))
	c.Fire = door.FirePolicy(r.IntN(2))
	return c
}

func randomInput(r *rand.Rand) door.Input {
	switch r.IntN(16) {
	case 0:
		return door.Grant{Access: card("ada"), ADA: r.IntN(3) == 0}
	case 1:
		return grant("bob")
	case 2, 3, 4:
		return opens
	case 5, 6, 7:
		return closes
	case 8:
		return press
	case 9, 10:
		return unpress
	case 11:
		return door.Fire{On: r.IntN(4) == 0}
	case 12:
		return do(door.OpUnlock)
	case 13:
		if r.IntN(3) == 0 {
			return do(door.OpLockdown)
		}
		return do(door.OpRelease)
	case 14:
		if r.IntN(3) == 0 {
			return mode(site.ModePassage)
		}
		return mode(site.ModeSecured)
	}
	return do(door.OpLock)
}

// TestModel compares the machine with the naive one over random inputs.
func TestModel(t *testing.T) {
	if *seed == 0 {
		*seed = uint64(time.Now().UnixNano())
	}
	t.Logf("seed %d (repeat with -args -seed %d)", *seed, *seed)
	const perDoor = 500
	for n := range *steps / perDoor {
		r := rand.New(rand.NewPCG(*seed, uint64(n)))
		w := world{cfg: randomDoor(r)}
		m := model{cfg: w.cfg, openFor: -1}
		w.step(door.Start{})
		m.look()
		for i := range perDoor {
			in := randomInput(r)
			for range gap(r) {
				w.until(t, w.now+grid)
				m.unit()
				m.look()
				compare(t, &w, &m, n, i)
			}
			w.trace = append(w.trace, fmt.Sprintf("%v <- %T%+v", w.now, in, in))
			w.step(in)
			m.take(in)
			compare(t, &w, &m, n, i)
			if t.Failed() {
				t.FailNow()
			}
		}
	}
}

// gap is how many units pass before the next input: mostly few.
func gap(r *rand.Rand) int {
	if r.IntN(4) == 0 {
		return 1 + r.IntN(150)
	}
	return 1 + r.IntN(8)
}

func compare(t *testing.T, w *world, m *model, n, i int) {
	t.Helper()
	got := fmt.Sprintf("locked %v, open %v, alarm %q", w.state.Locked(), w.state.Open(), w.state.Alarm())
	if got != m.String() && !t.Failed() {
		t.Errorf("door %d, step %d, at %v: machine: %s; model: %v\n%+v", n, i, w.now, got, m, w.cfg)
		for _, l := range w.trace[max(0, len(w.trace)-25):] {
			t.Log(l)
		}
	}
}
