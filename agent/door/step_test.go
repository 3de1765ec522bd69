package door_test

import (
	"testing"
	"time"

	"gatehouse/agent/door"
	"gatehouse/agent/site"

	"github.com/google/go-cmp/cmp"
)

// script is a case of the machine's tests: what happens when, and all that the
// door does about it.
type script struct {
	name string
	cfg  door.Config
	from door.Start
	in   []at
	end  time.Duration

	people bool     // who passed is wanted too
	want   []string // after the first strike command
}

func runScripts(t *testing.T, tests []script) {
	t.Helper()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := world{cfg: tt.cfg, people: tt.people}
			w.step(tt.from)
			w.trace = nil
			w.run(t, tt.in, tt.end)
			if diff := cmp.Diff(tt.want, w.trace); diff != "" {
				t.Errorf("trace (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRelock(t *testing.T) {
	timer, onOpen, onClose := front(), front(relock(door.RelockOnOpen)), front(relock(door.RelockOnClose))
	ada := door.Grant{Access: card("ada"), ADA: true}
	runScripts(t, []script{
		{
			name: "a refusal unlocks nothing", cfg: timer,
			in:   []at{{s, denied(site.ReasonRevoked)}},
			end:  10 * s,
			want: []string{"1s access revoked"},
		},
		{
			name: "timer ignores the contact", cfg: timer,
			in:  []at{{s, grant("ada")}, {2 * s, opens}, {3 * s, closes}},
			end: 10 * s,
			want: []string{
				"1s energise", "1s access granted ada", "2.05s door_opened", "3.05s door_closed", "6s de-energise",
			},
		},
		{
			name: "on_open locks as it opens", cfg: onOpen,
			in:  []at{{s, grant("ada")}, {2 * s, opens}, {3 * s, closes}},
			end: 10 * s,
			want: []string{
				"1s energise", "1s access granted ada", "2.05s de-energise", "2.05s door_opened", "3.05s door_closed",
			},
		},
		{
			name: "on_open ends with the time", cfg: onOpen,
			in: []at{{s, grant("ada")}}, end: 10 * s,
			want: []string{"1s energise", "1s access granted ada", "6s de-energise", "6.3s unused granted ada"},
		},
		{
			name: "on_close locks as it closes again", cfg: onClose,
			in:  []at{{s, grant("ada")}, {2 * s, opens}, {3 * s, closes}},
			end: 10 * s,
			want: []string{
				"1s energise", "1s access granted ada", "2.05s door_opened", "3.05s de-energise", "3.05s door_closed",
			},
		},
		{
			name: "on_close ends with the time while open", cfg: onClose,
			in:  []at{{s, grant("ada")}, {2 * s, opens}, {8 * s, closes}},
			end: 10 * s,
			want: []string{
				"1s energise", "1s access granted ada", "2.05s door_opened", "6s de-energise", "8.05s door_closed",
			},
		},
		{
			name: "a second grant extends", cfg: timer,
			in:  []at{{s, grant("ada")}, {3 * s, grant("bob")}},
			end: 10 * s,
			want: []string{
				"1s energise", "1s access granted ada", "3s access granted bob", "8s de-energise", "8.3s unused granted bob x2",
			},
		},
		{
			name: "an ADA pulse is not shortened by a plain one", cfg: timer,
			in:  []at{{s, ada}, {3 * s, grant("bob")}, {4 * s, opens}, {5 * s, closes}},
			end: 20 * s,
			want: []string{
				"1s energise", "1s access longer times granted ada", "3s access granted bob",
				"4.05s door_opened", "5.05s door_closed", "16s de-energise",
			},
		},
		{
			name: "an unlock command with a duration is not cut by the contact", cfg: onClose,
			in: []at{
				{s, door.Command{Op: door.OpUnlock, For: 60 * s, By: "cli"}},
				{2 * s, opens}, {50 * s, closes},
			},
			end: 2 * time.Minute,
			want: []string{
				"1s energise", "1s command unlock until 12:01:01 by cli",
				"2.05s door_opened", "50.05s door_closed", "1m1s de-energise",
			},
		},
		{
			name: "lock ends a pulse", cfg: timer,
			in: []at{{s, do(door.OpUnlock)}, {2 * s, do(door.OpLock)}}, end: 10 * s,
			want: []string{"1s energise", "1s command unlock by cli", "2s de-energise", "2s command lock by cli"},
		},
	})
}

func TestForced(t *testing.T) {
	timer := front()
	masks := front(func(c *door.Config) { c.RexUnlock = false })
	pulse := []string{"1s energise", "1s access granted ada", "6s de-energise"}
	runScripts(t, []script{
		{
			name: "neither grant nor exit", cfg: timer,
			in: []at{{s, opens}, {3 * s, closes}}, end: 10 * s,
			want: []string{"1.05s door_opened", "1.05s door_forced", "3.05s door_closed", "3.05s door_forced cleared"},
		},
		{
			name: "300 ms after relock", cfg: timer,
			in: []at{{s, grant("ada")}, {6300 * ms, opens}, {7 * s, closes}}, end: 10 * s,
			want: append(pulse[:3:3], "6.3s unused granted ada", "6.35s door_opened", "6.35s door_forced",
				"7.05s door_closed", "7.05s door_forced cleared"),
		},
		{
			name: "299 ms after relock is let through", cfg: timer,
			in: []at{{s, grant("ada")}, {6299 * ms, opens}, {7 * s, closes}}, end: 10 * s,
			want: append(pulse[:3:3], "6.349s door_opened", "7.05s door_closed"),
		},
		{
			name: "reopened after relock on_close", cfg: front(relock(door.RelockOnClose)),
			in: []at{{s, grant("ada")}, {2 * s, opens}, {3 * s, closes}, {3500 * ms, opens}, {4 * s, closes}}, end: 10 * s,
			want: []string{
				"1s energise", "1s access granted ada", "2.05s door_opened", "3.05s de-energise", "3.05s door_closed",
				"3.55s door_opened", "3.55s door_forced", "4.05s door_closed", "4.05s door_forced cleared",
			},
		},
		{
			name: "noise shorter than 50 ms is nothing", cfg: timer,
			in: []at{{s, opens}, {1049 * ms, closes}, {2 * s, opens}, {2001 * ms, closes}}, end: 10 * s,
		},
		{
			name: "bounce is one opening and one closing", cfg: timer,
			in: []at{
				{s, grant("ada")},
				{2 * s, opens}, {2010 * ms, closes}, {2020 * ms, opens}, {2030 * ms, closes}, {2040 * ms, opens},
				{4 * s, closes}, {4005 * ms, opens}, {4010 * ms, closes}, {4050 * ms, opens}, {4055 * ms, closes},
			},
			end: 10 * s,
			want: []string{
				"1s energise", "1s access granted ada", "2.09s door_opened", "4.105s door_closed", "6s de-energise",
			},
		},
		{
			name: "left open after forced is held too", cfg: timer,
			in: []at{{s, opens}, {40 * s, closes}}, end: 60 * s,
			want: []string{
				"1.05s door_opened", "1.05s door_forced", "21s door_held_warning", "31s door_held",
				"40.05s door_closed", "40.05s door_forced cleared", "40.05s door_held cleared", "40.05s door_held_warning cleared",
			},
		},
		{
			name: "a press that only masks", cfg: masks,
			in: []at{{s, press}, {2 * s, unpress}, {5900 * ms, opens}, {20 * s, closes}, {21 * s, opens}, {22 * s, closes}}, end: 30 * s,
			want: []string{
				"1s exit", "5.95s door_opened", "20.05s door_closed",
				"21.05s door_opened", "21.05s door_forced", "22.05s door_closed", "22.05s door_forced cleared",
			},
		},
		{
			name: "the mask ends with the unlock time", cfg: masks,
			in: []at{{s, press}, {2 * s, unpress}, {6 * s, opens}}, end: 7 * s,
			want: []string{"1s exit", "6.05s door_opened", "6.05s door_forced"},
		},
		{
			name: "silent when the mode unlocks", cfg: timer,
			in: []at{{s, opens}, {2 * s, mode(site.ModePassage)}}, end: 3 * s,
			want: []string{
				"1.05s door_opened", "1.05s door_forced",
				"2s energise", "2s command mode passage by cli", "2s mode passage by cli", "2s door_forced cleared", "2s keep passage",
			},
		},
	})
}

func TestHeld(t *testing.T) {
	cfg := front()
	runScripts(t, []script{
		{
			name: "warned, then alarmed, both cleared once", cfg: cfg,
			in: []at{{s, grant("ada")}, {2 * s, opens}, {40 * s, closes}}, end: 60 * s,
			want: []string{
				"1s energise", "1s access granted ada", "2.05s door_opened", "6s de-energise",
				"22s door_held_warning", "32s door_held",
				"40.05s door_closed", "40.05s door_held cleared", "40.05s door_held_warning cleared",
			},
		},
		{
			name: "ADA times", cfg: cfg,
			in: []at{{s, door.Grant{Access: card("ada"), ADA: true}}, {2 * s, opens}, {100 * s, closes}}, end: 200 * s,
			want: []string{
				"1s energise", "1s access longer times granted ada", "2.05s door_opened", "16s de-energise",
				"1m2s door_held_warning", "1m32s door_held",
				"1m40.05s door_closed", "1m40.05s door_held cleared", "1m40.05s door_held_warning cleared",
			},
		},
		{
			name: "ADA times end with the door's closing", cfg: cfg,
			in: []at{
				{s, door.Grant{Access: card("ada"), ADA: true}}, {2 * s, opens}, {20 * s, closes},
				{30 * s, grant("bob")}, {31 * s, opens},
			},
			end: 52 * s,
			want: []string{
				"1s energise", "1s access longer times granted ada", "2.05s door_opened", "16s de-energise", "20.05s door_closed",
				"30s energise", "30s access granted bob", "31.05s door_opened", "35s de-energise", "51s door_held_warning",
			},
		},
		{
			name: "a grant at the open door begins again", cfg: cfg,
			in: []at{{s, grant("ada")}, {2 * s, opens}, {25 * s, grant("bob")}}, end: 56 * s,
			want: []string{
				"1s energise", "1s access granted ada", "2.05s door_opened", "6s de-energise", "22s door_held_warning",
				"25s energise", "25s access granted bob", "25s door_held_warning cleared", "30s de-energise",
				"45s door_held_warning", "55s door_held",
			},
		},
		{
			name: "silent while unlocked by mode, from its end after", cfg: cfg,
			in: []at{
				{s, door.Command{Op: door.OpMode, Mode: site.ModePassage, For: 99 * s, By: "cli"}}, {2 * s, opens},
			},
			end: 131 * s,
			want: []string{
				"1s energise", "1s command mode passage until 12:01:40 by cli", "1s mode passage until 12:01:40 by cli", "1s keep passage until 12:01:40",
				"2.05s door_opened", "1m40s de-energise", "1m40s mode secured", "1m40s keep",
				"2m0s door_held_warning", "2m10s door_held",
			},
		},
		{
			name: "found open at start", cfg: cfg, from: door.Start{Open: true},
			in: []at{{25 * s, closes}}, end: 60 * s,
			want: []string{"20s door_held_warning", "25.05s door_closed", "25.05s door_held_warning cleared"},
		},
		{
			name: "no warning, no alarm set", cfg: front(func(c *door.Config) { c.HeldWarn, c.HeldAlarm = 0, 0 }), from: door.Start{Open: true},
			end: time.Hour,
		},
	})
}

func TestExit(t *testing.T) {
	cfg := front()
	lockdown := &site.DoorOverride{Mode: site.ModeLockdown}
	opened := []string{"1s energise", "1s exit", "6s de-energise"}
	var tests []script
	for _, from := range []struct {
		name string
		kept site.DoorKept
	}{
		{"secured", site.DoorKept{}},
		{"lockdown", site.DoorKept{Lockdown: lockdown}},
		{"disabled", site.DoorKept{Override: &site.DoorOverride{Mode: site.ModeDisabled}}},
		{"frozen", site.DoorKept{Freeze: &site.DoorOverride{Mode: site.ModeFrozenSecured}}},
	} {
		tests = append(tests, script{
			name: "never refused: " + from.name, cfg: cfg, from: door.Start{Kept: from.kept},
			in: []at{{s, press}, {2 * s, unpress}, {3 * s, opens}, {4 * s, closes}}, end: 10 * s,
			want: []string{"1s energise", "1s exit", "3.05s door_opened", "4.05s door_closed", "6s de-energise"},
		})
	}
	tests = append(tests,
		script{
			name: "stuck is a fault and no further pulse", cfg: cfg,
			in: []at{{s, press}, {70 * s, press}, {80 * s, unpress}, {90 * s, press}}, end: 100 * s,
			want: append(opened[:3:3], "1m1s fault exit button", "1m20.05s fault exit button cleared",
				"1m30s energise", "1m30s exit", "1m35s de-energise"),
		},
		script{
			name: "bounce is one press", cfg: cfg,
			in:  []at{{s, press}, {1010 * ms, unpress}, {1020 * ms, press}, {1030 * ms, unpress}, {1040 * ms, press}, {2 * s, unpress}},
			end: 10 * s, want: opened,
		},
		script{
			name: "found pressed at start is no press, but may be stuck", cfg: cfg, from: door.Start{Pressed: true},
			in: []at{{70 * s, unpress}}, end: 80 * s,
			want: []string{"1m0s fault exit button", "1m10.05s fault exit button cleared"},
		},
	)
	runScripts(t, tests)
}

func TestFailSafe(t *testing.T) {
	mag := front(func(c *door.Config) { c.Fail, c.Fire = door.FailSafe, door.FireRelease })
	w := world{cfg: mag}
	w.step(door.Start{})
	w.run(t, []at{{s, press}, {2 * s, unpress}, {8 * s, door.Fire{On: true}}, {9 * s, do(door.OpLockdown)}, {10 * s, door.Fire{}}}, 20*s)
	want := []string{
		"0s energise",
		"1s de-energise", "1s exit", "6s energise",
		"8s de-energise", "8s fire door released",
		"9s command lockdown by cli", "9s mode lockdown by cli", "9s keep lockdown",
		"10s energise", "10s fire door released cleared",
	}
	if diff := cmp.Diff(want, w.trace); diff != "" {
		t.Errorf("trace (-want +got):\n%s", diff)
	}
	if !w.state.Locked() {
		t.Error("not locked at the end")
	}
}
