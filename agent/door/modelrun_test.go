package door_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"gatehouse/agent/door"
	"gatehouse/agent/site"
)

// theSeed returns GATEHOUSE_SEED, or one from the time, and prints it.
func theSeed(t *testing.T) uint64 {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("GATEHOUSE_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("GATEHOUSE_SEED: %v", err)
		}
	}
	t.Logf("seed %d (repeat with GATEHOUSE_SEED=%d)", seed, seed)
	return seed
}

// howMany returns the number that fits GATEHOUSE_FAULTS.
func howMany(quick, short, full int) int {
	switch os.Getenv("GATEHOUSE_FAULTS") {
	case "full":
		return full
	case "short":
		return short
	}
	return quick
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
	c.Tamper, c.Bond = "GPIO7", "GPIO8"
	c.BondTime = time.Duration(1+r.IntN(100)) * grid
	c.TwoPerson = r.IntN(4) == 0
	c.ExitRepeat = time.Duration(10+r.IntN(100)) * grid
	return c
}

// other is an input of the test alone: another door of the interlock is no
// longer secure, or is again.
type other struct {
	door.Tick
	insecure bool
}

func randomInput(r *rand.Rand, now time.Duration) door.Input {
	one := func(n int) bool { return r.IntN(n) == 0 }
	switch r.IntN(23) {
	case 0:
		return door.Grant{Access: card("ada"), ADA: one(3)}
	case 1:
		return grant("bob")
	case 2:
		first := card("ada")
		return door.Grant{Access: card("bob"), First: &first}
	case 3, 4, 5:
		return opens
	case 6, 7, 8:
		return closes
	case 9, 10:
		return press
	case 11, 12, 13:
		return unpress
	case 14:
		return door.Fire{On: one(4)}
	case 15:
		return do(door.OpUnlock)
	case 16:
		if one(3) {
			return do(door.OpLockdown)
		}
		return do(door.OpRelease)
	case 17:
		return mode([]site.Mode{site.ModePassage, site.ModeSecured, site.ModeSecured}[r.IntN(3)])
	case 18, 19:
		return other{insecure: one(2)}
	case 20:
		if one(2) {
			return door.Tamper{On: one(4)}
		}
		return door.Bond{Secure: one(2)}
	case 21:
		if one(3) {
			return door.Schedule{Mode: site.ModePassage, FirstIn: one(2), Since: noon.Add(now)}
		}
		return door.Schedule{}
	}
	return do([]door.Op{door.OpLock, door.OpAuto}[r.IntN(2)])
}

// TestModel compares the machine with the naive one over random inputs.
func TestModel(t *testing.T) {
	seed := theSeed(t)
	const perDoor = 500
	for n := range howMany(20_000, 200_000, 1_000_000) / perDoor {
		r := rand.New(rand.NewPCG(seed, uint64(n)))
		w := world{cfg: randomDoor(r)}
		m := newModel(w.cfg)
		w.step(door.Start{})
		m.look()
		for i := range perDoor {
			in := randomInput(r, w.now)
			for range gap(r) {
				w.until(t, w.now+grid)
				m.unit()
				m.look()
				compare(t, &w, &m, n, i)
			}
			if s, ok := in.(door.Schedule); ok && s.FirstIn {
				s.Since = noon.Add(w.now)
				in = s
			}
			w.trace = append(w.trace, fmt.Sprintf("%v <- %T%+v", w.now, in, in))
			if o, ok := in.(other); ok {
				m.other = o.insecure
			}
			w.step(in)
			m.take(in)
			compare(t, &w, &m, n, i)
			if t.Failed() {
				t.FailNow()
			}
			w.trace = w.trace[max(0, len(w.trace)-40):]
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
	mode, _ := w.state.Mode()
	got := seen{
		locked: w.state.Locked(), open: w.state.Open(), mode: mode.Unlocked(), heldBack: w.state.HeldBack(),
		alarm: w.state.Alarm(), passed: w.passed, refused: w.notPassed,
	}
	if want := m.seen(); got != want && !t.Failed() {
		t.Errorf("door %d, step %d, at %v:\nmachine %v\nmodel   %v\n%+v", n, i, w.now, got, want, w.cfg)
		for _, l := range w.trace {
			t.Log(l)
		}
	}
}
