package gpio_test

import (
	"fmt"
	"testing"
	"time"
)

// testStart: a strike that is energised by a low line stays de-energised while an
// agent starts, works and ends: its line, which was high, has no low moment.
func (m *machine) testStart(t *testing.T) {
	h := m.start(t, "/init", "hold", fmt.Sprint("gpiochip0:", lineStrike), "high")
	h.says(t, "held", soon)
	h.signal(t, 15)
	h.wait(t, soon)
	mark := m.mark()
	g := m.agent(t, "start")
	if got := m.since(mark, lineStrike); len(got) != 0 {
		t.Errorf("the strike's line changed at start: %v", got)
	}
	g.do(t, "door", "unlock", "front")
	down := m.await(t, mark, lineStrike, false, soon)
	up := m.await(t, mark, lineStrike, true, soon)
	if d := up.at.Sub(down.at); d < 900*time.Millisecond || d > 1500*time.Millisecond {
		t.Errorf("the pulse took %v, want 1s", d)
	}
	g.run.signal(t, 15)
	if code := g.run.wait(t, soon); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if got := m.since(mark, lineStrike); len(got) != 2 {
		t.Errorf("the strike's line changed: %v, want one pulse", got)
	}
}

// testCards: frames of 26 and 37 bits come in as edges and the strike opens; a
// card that nobody enrolled does not open.
func (m *machine) testCards(t *testing.T) {
	g := m.agent(t, "cards")
	mark := m.mark()
	g.swipe(t, person{"a stranger", "H10301", 77, 1569}, event{Kind: "access", Reason: "unknown_credential"})
	time.Sleep(settled)
	if got := m.since(mark, lineStrike); len(got) != 0 {
		t.Errorf("the strike moved for a stranger: %v", got)
	}
	for _, p := range people[:2] {
		mark := m.mark()
		g.swipe(t, p, granted(p))
		up := m.await(t, mark, lineStrike, true, soon)
		down := m.await(t, mark, lineStrike, false, soon)
		if d := down.at.Sub(up.at); d < 900*time.Millisecond || d > 1500*time.Millisecond {
			t.Errorf("%s: the pulse took %v, want 1s", p.name, d)
		}
		t.Logf("%s, %d bits: strike %v after the frame", p.name, len(p.frame()), up.at.Sub(g.last).Round(time.Millisecond))
	}
}

func granted(p person) event { return event{Kind: "access", Reason: "granted", Holder: p.name} }

// testDoor: contact and exit button.
func (m *machine) testDoor(t *testing.T) {
	g := m.agent(t, "door")
	t.Cleanup(func() { m.set(lineContact, rest[lineContact]); m.set(lineRex, rest[lineRex]) })
	kinds := []string{"door_opened", "door_closed", "door_forced", "exit"}
	var want []event
	then := func(e event) {
		t.Helper()
		want = append(want, e)
		g.expect(t, want, kinds...)
	}

	mark := m.mark()
	g.swipe(t, people[0], granted(people[0]))
	m.await(t, mark, lineStrike, true, soon)
	m.set(lineContact, true)
	then(event{Kind: "door_opened"})
	m.await(t, mark, lineStrike, false, soon)
	m.set(lineContact, false)
	then(event{Kind: "door_closed"})

	mark = m.mark()
	m.set(lineRex, false)
	then(event{Kind: "exit"})
	m.await(t, mark, lineStrike, true, soon)
	m.set(lineRex, true)
	m.await(t, mark, lineStrike, false, soon)

	time.Sleep(time.Second) // of the real time in which an exit still masks
	mark = m.mark()
	m.set(lineContact, true)
	want = append(want, event{Kind: "door_opened"})
	then(event{Kind: "door_forced"})
	if got := m.since(mark, lineStrike); len(got) != 0 {
		t.Errorf("the strike moved at a forced door: %v", got)
	}
}

// testOrder: edges keep their order across D0 and D1 while another program
// keeps the processor busy: every pulse arrives, and the agent reads all frames as they were
// sent.
func (m *machine) testOrder(t *testing.T) {
	frames := 50
	if testing.Short() {
		frames = 10
	}
	var cards []person
	for i := range frames {
		cards = append(cards, people[i%len(people)])
	}
	m.start(t, "/init", "burn")
	m.edges(t, cards[:len(cards)/2], m.present, 0)
	g := m.agent(t, "order")
	for _, p := range cards {
		g.swipe(t, p, granted(p))
	}
	t.Logf("%d frames are read; beside them %d were held up on their way and %d were not whole", frames, g.held, g.broken)
	if g.broken > frames/4+g.held {
		t.Errorf("%d frames of %d were not whole", g.broken, g.broken+frames)
	}
}

// testKill: whatever ends or hangs in the middle of a pulse, the strike falls.
func (m *machine) testKill(t *testing.T) {
	const kill, stop = "9", "19"
	for _, tt := range []struct {
		site, signal, whom string
		energised          bool
		stays              bool // the agent comes again
	}{
		{"kill", kill, "agent", true, true},
		{"kill-low", kill, "agent", false, true},
		{"hang", stop, "agent", true, true},
		{"orphan", kill, "run", true, false},
	} {
		t.Run(tt.site, func(t *testing.T) {
			if testing.Short() && tt.site == "kill-low" {
				t.Skip("the long form has it")
			}
			g := m.agent(t, tt.site)
			mark := m.mark()
			g.do(t, "door", "unlock", "front", "--for", "60s")
			m.await(t, mark, lineStrike, tt.energised, soon)
			struck := m.kill(t, tt.signal, tt.whom)
			down := m.await(t, mark, lineStrike, !tt.energised, soon)
			took := down.at.Sub(struck)
			t.Logf("de-energised %v after the kill", took.Round(time.Millisecond))
			if took > safeWithin {
				t.Errorf("de-energised after %v, want %v", took, safeWithin)
			}
			if tt.stays {
				g.waitReady(t)
			} else {
				g.run.wait(t, soon)
			}
			if got := m.since(mark, lineStrike); len(got) != 2 {
				t.Errorf("the strike's line changed: %v, want one pulse", got)
			}
		})
	}
}
