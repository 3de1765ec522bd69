package gpio_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// still wants no change of a line since a mark, and none for a moment more.
func (m *machine) still(t *testing.T, mark, line int, why string) {
	t.Helper()
	time.Sleep(2 * settled)
	if got := m.since(mark, line); len(got) != 0 {
		t.Errorf("%s: line %d changed: %v", why, line, got)
	}
}

// press pushes a button that is active low, long enough for a debounce.
func (m *machine) press(line int) {
	m.set(line, false)
	time.Sleep(settled)
	m.set(line, true)
	time.Sleep(settled)
}

// quiet makes lines inputs and gives them their level at rest. One that was an
// output keeps the level that it was driven to, whatever is on its wire, until it
// is an input and the wire changes (pl061_set_irq of qemu).
func (m *machine) quiet(t *testing.T, lines ...int) {
	t.Helper()
	args := []string{"/init", "watch"}
	for _, l := range lines {
		args = append(args, fmt.Sprint("gpiochip0:", l))
	}
	p := m.start(t, args...)
	p.says(t, "held", soon)
	for _, l := range lines {
		m.set(l, !rest[l])
		m.set(l, rest[l])
	}
	p.signal(t, 15)
	p.wait(t, soon)
}

// alarm asks the agent what alarm a door has.
func (g *guest) alarm(t *testing.T) string {
	t.Helper()
	var doors []struct{ Alarm string }
	text := strings.Join(g.m.mustRun(t, g.command("door", "list", "--json")...), "\n")
	if err := json.Unmarshal([]byte(text), &doors); err != nil || len(doors) != 1 {
		t.Fatalf("door list: %v: %s", err, text)
	}
	return doors[0].Alarm
}

// testAlarm: a door that is forced or held open is heard outside, by a siren, for
// as long as it is; an exit masks it; a grant is seen at the reader; and a siren
// does not outlive its agent.
func (m *machine) testAlarm(t *testing.T) {
	g := m.agent(t, "alarm")
	t.Cleanup(func() { m.set(lineContact, rest[lineContact]); m.set(lineRex, rest[lineRex]) })
	begins := func(kind string) event { return event{Kind: kind} }
	ends := func(kind string) event { return event{Kind: kind, Cleared: true} }

	mark := m.mark()
	m.set(lineContact, true)
	m.await(t, mark, lineSiren, true, soon)
	g.expect(t, []event{begins("door_forced")}, "door_forced")
	if got := g.alarm(t); got != "forced" {
		t.Errorf("alarm %q, want forced", got)
	}
	m.set(lineContact, false)
	m.await(t, mark, lineSiren, false, soon)
	g.expect(t, []event{begins("door_forced"), ends("door_forced")}, "door_forced")

	mark = m.mark()
	g.swipe(t, people[0], granted(people[0]))
	m.await(t, mark, lineStrike, true, soon)
	m.await(t, mark, lineLED, false, soon)
	opened := time.Now()
	m.set(lineContact, true)
	m.await(t, mark, lineLED, true, soon)
	if rung := m.await(t, mark, lineSiren, true, soon).at.Sub(opened); rung < 2900*time.Millisecond || rung > 5*time.Second {
		t.Errorf("the siren rings after %v, want 3s", rung)
	}
	m.set(lineContact, false)
	m.await(t, mark, lineSiren, false, soon)
	g.expect(t, []event{begins("door_held"), ends("door_held")}, "door_held")
	m.await(t, mark, lineStrike, false, soon)

	mark = m.mark()
	m.press(lineRex)
	m.await(t, mark, lineStrike, true, soon)
	m.set(lineContact, true)
	time.Sleep(settled)
	m.set(lineContact, false)
	m.await(t, mark, lineStrike, false, soon)
	m.still(t, mark, lineSiren, "an exit")
	g.expect(t, []event{begins("door_forced"), ends("door_forced")}, "door_forced")

	time.Sleep(time.Second) // of the real time in which an exit still masks
	mark = m.mark()
	m.set(lineContact, true)
	m.await(t, mark, lineSiren, true, soon)
	struck := m.kill(t, "9", "agent")
	if took := m.await(t, mark, lineSiren, false, soon).at.Sub(struck); took > safeWithin {
		t.Errorf("the siren is de-energised after %v, want %v", took, safeWithin)
	}
	g.waitReady(t)
}

// testInterlock: of two doors one is unlocked at a time, to a card, a command and
// a button; a second press opens.
func (m *machine) testInterlock(t *testing.T) {
	m.quiet(t, lineInnerContact)
	g := m.agent(t, "interlock")
	t.Cleanup(func() { m.set(lineContact, rest[lineContact]); m.set(lineInnerRex, rest[lineInnerRex]) })
	refused := event{Kind: "exit", Reason: "interlock"}

	m.set(lineContact, true) // the outer door stands open
	g.events.says(t, `"door_opened"`, soon)
	mark := m.mark()
	m.press(lineInnerRex)
	g.expect(t, []event{refused}, "exit")
	m.still(t, mark, lineInnerStrike, "the first press while the other door is open")
	if out, exit := m.run(t, g.command("door", "unlock", "inner")...); exit != 1 || !slices.ContainsFunc(out, func(s string) bool { return strings.Contains(s, "interlock") }) {
		t.Errorf("an unlock while the other door is open: exit code %d, %q", exit, out)
	}
	m.still(t, mark, lineInnerStrike, "a command while the other door is open")

	time.Sleep(5 * time.Second) // the time for a second press is over
	m.press(lineInnerRex)
	g.expect(t, []event{refused, refused}, "exit")
	m.press(lineInnerRex)
	m.await(t, mark, lineInnerStrike, true, soon)
	g.expect(t, []event{refused, refused, {Kind: "exit"}}, "exit")
	m.await(t, mark, lineInnerStrike, false, soon)
	m.set(lineContact, false)
	g.events.says(t, `"door_closed"`, soon)

	mark = m.mark()
	g.do(t, "door", "unlock", "inner", "--for", "60s")
	m.await(t, mark, lineInnerStrike, true, soon)
	g.swipe(t, people[1], event{Kind: "access", Reason: "interlock", Holder: people[1].name})
	m.still(t, mark, lineStrike, "a card while the other door is unlocked")
	g.do(t, "door", "lock", "inner")
	m.await(t, mark, lineInnerStrike, false, soon)
	g.swipe(t, people[1], granted(people[1]))
	m.await(t, mark, lineStrike, true, soon)
}

// testFire: the panic button locks a maglock at once; the fire input frees it
// whatever else holds, for as long as the alarm is not reset, a killed agent
// included; and it does nothing to a strike that it is not to release.
func (m *machine) testFire(t *testing.T) {
	t.Cleanup(func() { m.set(lineFire, rest[lineFire]); m.set(linePanic, rest[linePanic]) })
	m.quiet(t, lineFire)
	begin := m.mark()
	g := m.agent(t, "fire")
	m.await(t, begin, lineStrike, true, soon)
	begin = m.mark()
	g.do(t, "door", "unlock", "front", "--for", "60s")
	m.await(t, begin, lineStrike, false, soon)

	mark := m.mark()
	m.press(linePanic)
	m.await(t, mark, lineStrike, true, soon)
	mark = m.mark()
	g.swipe(t, people[0], event{Kind: "access", Reason: "lockdown", Holder: people[0].name})
	m.still(t, mark, lineStrike, "a card in lockdown")

	m.set(lineFire, true)
	m.await(t, mark, lineStrike, false, soon)
	if out, exit := m.run(t, g.command("fire", "reset")...); exit != 1 {
		t.Errorf("a reset while it burns: exit code %d, %q", exit, out)
	}
	m.set(lineFire, false)
	mark = m.mark()
	m.still(t, mark, lineStrike, "fire that is latched")
	m.kill(t, "9", "agent")
	g.waitReady(t)
	m.still(t, mark, lineStrike, "a restart in a fire")

	g.do(t, "fire", "reset")
	m.await(t, mark, lineStrike, true, soon)
	mark = m.mark()
	struck := m.kill(t, "9", "agent")
	if took := m.await(t, mark, lineStrike, false, soon).at.Sub(struck); took > safeWithin {
		t.Errorf("the maglock is free after %v, want %v", took, safeWithin)
	}
	m.still(t, begin, lineStoreStrike, "a strike that fire does not release")
}
