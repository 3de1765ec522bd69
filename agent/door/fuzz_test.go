package door_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"gatehouse/agent/door"
	"gatehouse/agent/site"
)

// fuzzed turns bytes into a door, inputs and gaps between them.
type fuzzed struct{ b []byte }

func (f *fuzzed) next() int {
	if len(f.b) == 0 {
		return 0
	}
	v := int(f.b[0])
	f.b = f.b[1:]
	return v
}

func (f *fuzzed) gap() time.Duration {
	switch v := f.next(); {
	case v < 100:
		return time.Duration(v) * ms
	case v < 200:
		return time.Duration(v-100) * 100 * ms
	default:
		return time.Duration(v-199) * 7 * s
	}
}

func (f *fuzzed) door() door.Config {
	v := f.next()
	return front(func(c *door.Config) {
		c.Relock = door.Relock(v % 3)
		c.Fail = door.Fail(v >> 2 & 1)
		c.Fire = door.FirePolicy(v >> 3 & 1)
		c.RexUnlock = v>>4&1 == 0
		if v>>5&1 == 1 {
			c.HeldWarn, c.ADAUnlock = 0, 0
		}
		if v>>6&1 == 1 {
			c.RexStuck = 0
		}
		if v>>7&1 == 1 {
			c.Contact = ""
		}
		c.TwoPerson = v%16 == 5
		supervised(c)
	})
}

func (f *fuzzed) command() door.Command {
	c := door.Command{Op: door.Op(f.next() % 8), Mode: site.Mode(f.next() % 7), By: "fuzz"}
	switch f.next() % 4 {
	case 0:
		c.For = f.gap()
	case 1:
		c.Until = noon.Add(f.gap() * 10)
	}
	return c
}

func (f *fuzzed) input() door.Input {
	a := card(string(rune('a' + f.next()%3)))
	switch f.next() % 19 {
	case 0, 1:
		g := door.Grant{Access: a, ADA: f.next()%2 == 0, Function: site.Function(f.next() % 9)}
		if first := card(string(rune('a' + f.next()%3))); f.next()%4 == 0 {
			g.First = &first
		}
		return g
	case 2:
		return denied(site.ReasonRevoked)
	case 3:
		a.Reason = site.ReasonPINRequired
		if f.next()%2 == 0 {
			a.Reason = site.ReasonSecondPersonRequired
		}
		a.Reader = site.ReaderID(rune('p' + f.next()%6))
		return door.Waiting{Access: a}
	case 4, 5:
		return opens
	case 6, 7:
		return closes
	case 8:
		return press
	case 9:
		return unpress
	case 10:
		return door.Fire{On: f.next()%2 == 0}
	case 11:
		return door.Schedule{Mode: site.Mode(f.next() % 2), FirstIn: f.next()%2 == 0, Since: noon.Add(time.Duration(f.next()) * s)}
	case 12:
		return door.Fault{Part: door.Part(f.next() % 8), On: f.next()%2 == 0}
	case 13, 14:
		return other{insecure: f.next()%2 == 0}
	case 15:
		return door.Tamper{On: f.next()%2 == 0}
	case 16:
		return door.Bond{Secure: f.next()%2 == 0}
	}
	return f.command()
}

// warden checks every step against the promises. It knows nothing of how the
// machine keeps them.
type warden struct {
	t        *testing.T
	cfg      *door.Config
	fire     bool
	pressed  bool
	released time.Duration // when the button was seen released
	allowed  time.Duration // somebody unlocked until then
	egress   time.Duration // the same, by what a lockdown does not stop
	standing map[site.Kind]int
	drive    *bool

	tried    time.Duration // the last press that an interlock refused
	kept     site.DoorKept
	schedule door.Schedule
	mode     string // as the log says

	people int // granted and neither passed nor not
}

// note records what an input entitles to.
func (d *warden) note(before *door.State, in door.Input, now door.Now) {
	long := max(d.cfg.Unlock, d.cfg.ADAUnlock)
	switch in := in.(type) {
	case door.Grant:
		d.people++
		if in.First != nil {
			d.people++
		}
		d.allowed = max(d.allowed, now.Mono+long)
		if in.Function == site.FunctionPassThrough {
			d.egress = max(d.egress, now.Mono+long)
		}
	case door.Exit:
		d.allowed = max(d.allowed, now.Mono+long)
		d.egress = max(d.egress, now.Mono+long)
	case door.Command:
		if in.Op == door.OpUnlock && before.Refuses(in, now) == nil {
			d.allowed = max(d.allowed, now.Mono+long, now.Mono+in.For, now.Mono+in.Until.Sub(now.Wall))
		}
		if before.Refuses(in, now) == nil && (in.Op == door.OpLockdown || in.Op == door.OpMode && in.Mode == site.ModeLockdown) {
			d.egress = 0 // it relocks at once, in mid-pulse too
		}
	case door.Schedule:
		d.schedule = in
	case door.Fire:
		d.fire = in.On && d.cfg.Fire == door.FireRelease
	}
}

func (d *warden) check(w *world, in door.Input, actions []door.Action) {
	d.t.Helper()
	m, _ := w.state.Mode()
	unlocked := !w.state.Locked()
	switch {
	case unlocked && !d.fire && !m.Unlocked() && w.now >= d.allowed:
		d.t.Fatalf("at %v, after %T: unlocked by nobody, mode %v", w.now, in, m)
	case unlocked && m == site.ModeLockdown && !d.fire && w.now >= d.egress:
		d.t.Fatalf("at %v, after %T: unlocked in lockdown", w.now, in)
	case !unlocked && d.fire:
		d.t.Fatalf("at %v, after %T: locked in spite of fire", w.now, in)
	case !unlocked && m.Unlocked() && !w.blocked:
		d.t.Fatalf("at %v, after %T: locked, mode %v", w.now, in, m)
	case w.state.HeldBack() != (!unlocked && m.Unlocked()):
		d.t.Fatalf("at %v, after %T: held back %v, locked %v, mode %v", w.now, in, w.state.HeldBack(), !unlocked, m)
	}
	if e, ok := in.(door.Exit); ok && e.Pressed && d.cfg.RexUnlock && !d.pressed && w.now >= d.released+door.Settle {
		d.exit(w, unlocked)
	}
	if e, ok := in.(door.Exit); ok {
		if d.pressed && !e.Pressed {
			d.released = w.now
		}
		d.pressed = e.Pressed
	}
	if next, ok := w.state.Next(&w.cfg); ok && next <= w.now {
		d.t.Fatalf("at %v, after %T: the next deadline is %v", w.now, in, next)
	}
	for i, a := range actions {
		d.action(w, i, a)
	}
	if d.people < 0 || d.people > 8 || d.people > 0 && d.cfg.Contact == "" {
		d.t.Fatalf("at %v, after %T: %d people on their way", w.now, in, d.people)
	}
	if d.drive == nil || *d.drive != (unlocked == (d.cfg.Fail == door.FailSecure)) {
		d.t.Fatalf("at %v, after %T: the strike was not driven to locked %v", w.now, in, !unlocked)
	}
}

// exit checks a new press: nothing refuses it but an interlock, and that not
// twice in a row.
func (d *warden) exit(w *world, unlocked bool) {
	d.t.Helper()
	if unlocked {
		d.tried = -time.Hour
		return
	}
	if !w.blocked || w.now-d.tried <= door.DefaultExitRepeat {
		d.t.Fatalf("at %v: an exit press did not unlock (interlock %v, tried at %v)", w.now, w.blocked, d.tried)
	}
	d.tried = w.now
}

func (d *warden) action(w *world, i int, a door.Action) {
	d.t.Helper()
	switch a := a.(type) {
	case door.Strike:
		if i != 0 {
			d.t.Fatalf("at %v: the strike is action %d", w.now, i)
		}
		d.drive = &a.Energise
	case door.Keep:
		d.kept = a.Kept
	case door.Passed, door.NotPassed:
		d.people--
	case door.Emit:
		e := a.Event
		if e.Door != "front" || e.Time.IsZero() {
			d.t.Fatalf("at %v: event without door or time: %+v", w.now, e)
		}
		if e.Kind == site.KindMode {
			d.mode = e.Mode
		}
		key := e.Kind
		switch e.Kind {
		case site.KindFault:
			key += site.Kind(" " + e.Text)
		case site.KindDoorForced, site.KindDoorHeld, site.KindDoorHeldWarning, site.KindFire, site.KindTamper:
		default:
			return
		}
		if e.Cleared {
			d.standing[key]--
		} else {
			d.standing[key]++
		}
		if n := d.standing[key]; n != 0 && n != 1 {
			d.t.Fatalf("at %v: %s begun %d times more than cleared", w.now, key, n)
		}
	}
}

func FuzzStep(f *testing.F) {
	f.Add([]byte{0})
	f.Add([]byte{1, 10, 0, 0, 1, 0, 60, 0, 4, 120, 0, 6})
	f.Add([]byte{9, 0, 0, 13, 5, 0, 9, 50, 0, 8, 50, 0, 0, 0, 3, 110, 0, 10, 0})
	f.Add([]byte{0, 110, 0, 4, 255, 0, 6, 210, 0, 8, 220, 0, 9})
	f.Fuzz(func(t *testing.T, b []byte) { watch(t, b[:min(len(b), 600)]) })
}

// TestPromises does the same with random sequences of inputs.
func TestPromises(t *testing.T) {
	seed := theSeed(t)
	for n := range howMany(300, 3_000, 30_000) {
		r := rand.New(rand.NewPCG(seed, uint64(n)))
		b := make([]byte, 600)
		for i := range b {
			b[i] = byte(r.Uint32())
			if r.IntN(3) == 0 { // short gaps and small choices
				b[i] %= 20
			}
		}
		if watch(t, b); t.Failed() {
			t.Fatalf("sequence %d", n)
		}
	}
}

// watch runs a door by bytes under the eyes of a warden, then starts it again
// from what it kept: it must be what its log says.
func watch(t *testing.T, b []byte) {
	t.Helper()
	in := fuzzed{b}
	w := world{mute: true, cfg: in.door(), untrusted: in.next()%4 == 0}
	d := warden{t: t, cfg: &w.cfg, released: -time.Hour, tried: -time.Hour, mode: "secured", standing: map[site.Kind]int{}}
	d.check(&w, door.Start{}, w.step(door.Start{}))
	for len(in.b) > 0 {
		to := w.now + in.gap()
		for n := 0; ; n++ {
			next, ok := w.state.Next(&w.cfg)
			if !ok || next > to {
				break
			}
			if n > 10_000 {
				t.Fatalf("at %v: 10000 ticks in one gap", w.now)
			}
			w.now = next
			d.check(&w, door.Tick{}, w.step(door.Tick{}))
		}
		w.now = to
		x := in.input()
		if o, ok := x.(other); ok {
			w.blocked, x = o.insecure, door.Tick{}
		}
		before := w.state
		d.note(&before, x, w.instant())
		d.check(&w, x, w.step(x))
	}
	d.restart(&w)
}

// restart starts the door again from the last Keep and the last words of its
// schedule.
func (d *warden) restart(w *world) {
	d.t.Helper()
	again := world{mute: true, cfg: w.cfg, now: w.now, untrusted: w.untrusted}
	again.step(door.Start{Kept: d.kept, Open: w.state.Open()})
	again.step(d.schedule)
	want, from := w.state.Mode()
	if got, by := again.state.Mode(); got != want || by != from || got.String() != d.mode {
		d.t.Fatalf("after a restart at %v the mode is %v by %v, before it was %v by %v; the log says %s", w.now, got, by, want, from, d.mode)
	}
	if again.state.Locked() == again.state.Status(&w.cfg).Mode.Unlocked() {
		d.t.Fatalf("after a restart locked %v, mode %v", again.state.Locked(), want)
	}
}
