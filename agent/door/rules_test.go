package door_test

import (
	"errors"
	"testing"
	"time"

	"gatehouse/agent/door"
	"gatehouse/agent/site"

	"github.com/google/go-cmp/cmp"
)

// another says that another door of the interlock is not secure.
func another(insecure bool) door.Input { return other{insecure: insecure} }

func two(first, second string) door.Grant {
	a := card(first)
	return door.Grant{Access: card(second), First: &a}
}

func TestInterlock(t *testing.T) {
	cfg := front(func(c *door.Config) { c.Fire = door.FireRelease })
	blocked := at{s / 2, another(true)}
	runScripts(t, []script{
		{
			name: "a grant is refused", cfg: cfg, people: true,
			in:   []at{blocked, {s, grant("ada")}},
			end:  10 * s,
			want: []string{"1s access interlock ada", "1s not passed ada"},
		},
		{
			name: "a grant is refused before the second person is asked for", cfg: front(func(c *door.Config) { c.TwoPerson = true }),
			in:   []at{blocked, {s, grant("ada")}},
			end:  10 * s,
			want: []string{"1s access interlock ada"},
		},
		{
			name: "two are refused together", cfg: cfg, people: true,
			in:   []at{blocked, {s, two("ada", "bob")}},
			end:  10 * s,
			want: []string{"1s access interlock ada", "1s not passed ada", "1s access interlock bob", "1s not passed bob"},
		},
		{
			name: "functions that open nothing pass", cfg: cfg,
			in:  []at{blocked, {s, with(site.FunctionFreeze)}, {2 * s, with(site.FunctionLockdown)}, {3 * s, with(site.FunctionToggle)}},
			end: 10 * s,
			want: []string{
				"1s access freeze granted ada", "1s mode frozen_secured by credential", "1s keep frozen_secured",
				"2s access lockdown granted ada", "2s mode lockdown by credential", "2s keep lockdown frozen_secured",
				"3s access lockdown ada",
			},
		},
		{
			name: "pass_through does not pass it", cfg: cfg, from: keptAs(site.ModeLockdown),
			in:   []at{blocked, {s, with(site.FunctionPassThrough)}},
			end:  10 * s,
			want: []string{"1s access interlock ada"},
		},
		{
			name: "an unlock command is refused", cfg: cfg,
			in:   []at{blocked, {s, do(door.OpUnlock)}},
			end:  10 * s,
			want: []string{"1s command unlock interlock by cli"},
		},
		{
			name: "a press is refused, a second one within the time is not", cfg: cfg,
			in: []at{
				blocked, {s, press}, {2 * s, unpress}, {6001 * ms, press}, {7 * s, unpress}, {11001 * ms, press}, {12 * s, unpress},
			},
			end: 20 * s,
			want: []string{
				"1s exit interlock", "6.001s exit interlock",
				"11.001s energise", "11.001s exit pressed again: opened in spite of an interlock", "16.001s de-energise",
			},
		},
		{
			name: "fire elsewhere: the first press opens, a card does not", cfg: front(),
			in: []at{
				blocked, {s, door.Fire{On: true}}, {2 * s, grant("ada")}, {3 * s, press}, {4 * s, unpress},
				{9 * s, door.Fire{}}, {10 * s, press}, {11 * s, unpress},
			},
			end: 20 * s,
			want: []string{
				"2s access interlock ada",
				"3s energise", "3s exit fire: opened in spite of an interlock", "8s de-energise", "10s exit interlock",
			},
		},
		{
			name: "after a repeated press the next one counts anew", cfg: cfg,
			in: []at{
				blocked, {s, press}, {2 * s, unpress}, {3 * s, press}, {4 * s, unpress}, {9 * s, press}, {10 * s, unpress},
			},
			end: 20 * s,
			want: []string{
				"1s exit interlock",
				"3s energise", "3s exit pressed again: opened in spite of an interlock", "8s de-energise", "9s exit interlock",
			},
		},
		{
			name: "a press in the last instant of a repeated one is judged anew", cfg: cfg,
			in: []at{
				blocked, {s, press}, {2 * s, unpress}, {3 * s, press}, {4 * s, unpress}, {8 * s, press},
			},
			end: 20 * s,
			want: []string{
				"1s exit interlock",
				"3s energise", "3s exit pressed again: opened in spite of an interlock", "8s de-energise", "8s exit interlock",
			},
		},
		{
			name: "a mode is held back until the others are secure", cfg: cfg,
			in:  []at{blocked, {s, mode(site.ModePassage)}, {2 * s, grant("ada")}, {3 * s, another(false)}, {4 * s, another(true)}},
			end: 5 * s,
			want: []string{
				"1s command mode passage by cli", "1s mode passage by cli",
				"1s command held back by an interlock passage interlock by interlock", "1s keep passage",
				"2s access interlock ada",
				"3s energise", "3s command held back by an interlock passage interlock by interlock cleared",
			},
		},
		{
			name: "opened while held back is forced", cfg: cfg,
			in: []at{blocked, {s, mode(site.ModePassage)}, {2 * s, opens}}, end: 3 * s,
			want: []string{
				"1s command mode passage by cli", "1s mode passage by cli",
				"1s command held back by an interlock passage interlock by interlock", "1s keep passage",
				"2.05s door_opened", "2.05s door_forced",
			},
		},
		{
			name: "what is unlocked is not locked by it", cfg: cfg,
			in:  []at{{s, grant("ada")}, {2 * s, another(true)}, {3 * s, grant("bob")}, {4 * s, press}, {20 * s, unpress}},
			end: 30 * s,
			want: []string{
				"1s energise", "1s access granted ada", "3s access interlock bob", "4s exit", "9s de-energise", "9.3s unused granted ada",
			},
		},
		{
			name: "fire ignores it and leaves nothing behind", cfg: cfg,
			in: []at{
				blocked, {s, door.Fire{On: true}}, {2 * s, grant("ada")}, {3 * s, press}, {4 * s, mode(site.ModePassage)}, {5 * s, door.Fire{}},
			},
			end: 6 * s,
			want: []string{
				"1s energise", "1s fire door released", "2s access granted ada", "3s exit",
				"4s command mode passage by cli", "4s mode passage by cli", "4s keep passage",
				"5s de-energise", "5s fire door released cleared", "5s command locked by an interlock interlock by interlock",
				"5s command held back by an interlock passage interlock by interlock",
			},
		},
		{
			name: "a press that only masks is not refused", cfg: front(func(c *door.Config) { c.RexUnlock = false }),
			in: []at{blocked, {s, press}, {2 * s, opens}}, end: 3 * s,
			want: []string{"1s exit", "2.05s door_opened"},
		},
	})
	w := world{cfg: cfg, blocked: true}
	w.step(door.Start{})
	if err := w.state.Refuses(do(door.OpUnlock), w.instant()); !errors.Is(err, door.ErrRefused) {
		t.Errorf("unlock: %v", err)
	}
}

func TestPassages(t *testing.T) {
	cfg := front()
	runScripts(t, []script{
		{
			name: "all of one pulse pass when it opens", cfg: cfg, people: true,
			in: []at{{s, grant("ada")}, {2 * s, two("bob", "cyd")}, {3 * s, opens}, {4 * s, grant("dan")}}, end: 5 * s,
			want: []string{
				"1s energise", "1s access granted ada", "2s access granted bob", "2s access second person granted cyd",
				"3.05s door_opened", "3.05s passed ada", "3.05s passed bob", "3.05s passed cyd",
				"4s access granted dan", "4s passed dan",
			},
		},
		{
			name: "nobody does when it does not", cfg: cfg, people: true,
			in: []at{{s, grant("ada")}, {2 * s, two("bob", "cyd")}}, end: 20 * s,
			want: []string{
				"1s energise", "1s access granted ada", "2s access granted bob", "2s access second person granted cyd",
				"7s de-energise", "7.3s unused granted cyd x2", "7.3s not passed ada", "7.3s not passed bob", "7.3s not passed cyd",
			},
		},
		{
			name: "a lockdown ends it", cfg: cfg, people: true,
			in: []at{{s, grant("ada")}, {2 * s, do(door.OpLockdown)}}, end: 20 * s,
			want: []string{
				"1s energise", "1s access granted ada", "2s de-energise", "2s command lockdown by cli", "2s mode lockdown by cli", "2s keep lockdown",
				"2.3s unused granted ada", "2.3s not passed ada",
			},
		},
		{
			name: "without a contact at the grant", cfg: front(func(c *door.Config) { c.Contact = "" }), people: true,
			in: []at{{s, grant("ada")}}, end: 20 * s,
			want: []string{"1s energise", "1s access granted ada", "1s passed ada", "6s de-energise"},
		},
		{
			name: "toggle lets in, or not", cfg: cfg, people: true,
			in: []at{{s, with(site.FunctionToggle)}, {2 * s, grant("bob")}, {3 * s, with(site.FunctionToggle)}}, end: 20 * s,
			want: []string{
				"1s energise", "1s access toggle granted ada", "1s passed ada", "1s mode passage by credential", "1s keep passage",
				"2s access granted bob", "2s passed bob",
				"3s de-energise", "3s access toggle granted ada", "3s not passed ada", "3s mode secured", "3s keep",
			},
		},
		{
			name: "a grant that the machine refuses", cfg: cfg, from: keptAs(site.ModeDisabled), people: true,
			in: []at{{s, two("ada", "bob")}}, end: 20 * s,
			want: []string{"1s access door_disabled ada", "1s not passed ada", "1s access door_disabled bob", "1s not passed bob"},
		},
	})
	t.Run("the ninth passes at the grant", func(t *testing.T) {
		w := world{cfg: cfg}
		w.step(door.Start{})
		for range 9 {
			w.step(grant("ada"))
		}
		if w.passed != 1 || w.notPassed != 0 {
			t.Errorf("%d passed, %d did not", w.passed, w.notPassed)
		}
		w.until(t, 20*s)
		if w.passed != 1 || w.notPassed != 8 {
			t.Errorf("at the end %d passed, %d did not", w.passed, w.notPassed)
		}
	})
}

func TestTwoPerson(t *testing.T) {
	both := front(func(c *door.Config) { c.TwoPerson = true })
	same := two("ada", "ada")
	duress := two("ada", "bob")
	duress.FirstDuress, duress.Duress = true, true
	duressOfFirst := two("ada", "bob")
	duressOfFirst.FirstDuress = true
	supervised := with(site.FunctionSupervised)
	runScripts(t, []script{
		{name: "one alone", cfg: both, in: []at{{s, grant("ada")}}, end: 9 * s, want: []string{"1s access second_person_required ada"}},
		{
			name: "the same one twice", cfg: both, in: []at{{s, same}}, end: 9 * s,
			want: []string{"1s access second_person_required ada", "1s access second_person_required ada"},
		},
		{name: "supervised alone", cfg: front(), in: []at{{s, supervised}}, end: 9 * s, want: []string{"1s access second_person_required ada"}},
		{
			name: "two, each under duress", cfg: both, in: []at{{s, duress}, {2 * s, opens}}, end: 3 * s,
			want: []string{
				"1s energise", "1s access granted ada as duress", "1s access second person granted bob as duress",
				"2.05s door_opened",
			},
		},
		{
			name: "duress of one who waits in vain, of one who is refused, of two who are", cfg: both,
			in: []at{
				{s, door.Waiting{Access: door.Access{Reader: "in", Reason: site.ReasonSecondPersonRequired, Holder: "ada"}, Duress: true}},
				{17 * s, door.Denied{Access: door.Access{Reader: "in", Reason: site.ReasonPassback, Holder: "bob"}, Duress: true}},
				{18 * s, another(true)}, {19 * s, duressOfFirst},
			}, end: 20 * s,
			want: []string{
				"16s access second_person_required ada as duress", "17s access passback bob as duress",
				"19s access interlock ada as duress", "19s access interlock bob",
			},
		},
		{
			name: "a lockdown card needs nobody", cfg: both, in: []at{{s, with(site.FunctionLockdown)}}, end: 2 * s,
			want: []string{"1s access lockdown granted ada", "1s mode lockdown by credential", "1s keep lockdown"},
		},
	})
}

func TestFirstPersonIn(t *testing.T) {
	cfg := front()
	eight := func(since time.Duration) door.Schedule {
		return door.Schedule{Mode: site.ModePassage, FirstIn: true, Since: noon.Add(since)}
	}
	const told = "command schedule, after the first person since 2026-11-21T12:00:01Z passage by schedule"
	out := grant("ada")
	out.Out = true
	runScripts(t, []script{
		{
			name: "unlocks when somebody went in", cfg: cfg,
			in:  []at{{s, eight(s)}, {2 * s, press}, {3 * s, unpress}, {10 * s, grant("ada")}, {11 * s, opens}, {12 * s, closes}, {30 * s, door.Schedule{}}},
			end: 40 * s,
			want: []string{
				"1s " + told, "2s energise", "2s exit", "7s de-energise", "10s energise", "10s access granted ada",
				"11.05s door_opened", "11.05s mode passage", "11.05s keep first in 12:00:11", "12.05s door_closed",
				"30s de-energise", "30s command schedule secured by schedule", "30s mode secured",
			},
		},
		{
			name: "not for one who did not go in, nor for one on the way out", cfg: cfg,
			in: []at{{s, eight(s)}, {2 * s, grant("ada")}, {10 * s, out}, {11 * s, opens}, {12 * s, closes}}, end: 20 * s,
			want: []string{
				"1s " + told, "2s energise", "2s access granted ada", "7s de-energise", "7.3s unused granted ada",
				"10s energise", "10s access way out granted ada", "11.05s door_opened", "12.05s door_closed", "15s de-energise",
			},
		},
		{
			name: "survives a restart", cfg: cfg, from: door.Start{Kept: site.DoorKept{FirstIn: noon.Add(s)}},
			in: []at{{s, eight(s)}}, end: 2 * s,
			want: []string{"1s energise", "1s " + told, "1s mode passage"},
		},
		{
			name: "yesterday's person does not count", cfg: cfg, from: door.Start{Kept: site.DoorKept{FirstIn: noon.Add(s - 1)}},
			in: []at{{s, eight(s)}}, end: 2 * s,
			want: []string{"1s " + told},
		},
	})
	t.Run("nobody is in time by an untrusted clock", func(t *testing.T) {
		w := world{cfg: front(func(c *door.Config) { c.Contact = "" }), untrusted: true}
		w.step(door.Start{})
		w.step(eight(0))
		w.step(grant("ada"))
		w.untrusted = false
		w.until(t, 20*s)
		if !w.state.Locked() || !w.state.Kept().FirstIn.IsZero() {
			t.Errorf("locked %v, kept %+v", w.state.Locked(), w.state.Kept())
		}
		w.step(grant("bob"))
		w.until(t, 40*s)
		if want := (site.DoorKept{FirstIn: noon.Add(20 * s)}); w.state.Locked() || !cmp.Equal(want, w.state.Kept()) {
			t.Errorf("locked %v, kept %+v", w.state.Locked(), w.state.Kept())
		}
	})
}
