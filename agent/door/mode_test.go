package door_test

import (
	"errors"
	"testing"
	"time"

	"gatehouse/agent/door"
	"gatehouse/agent/site"

	"github.com/google/go-cmp/cmp"
)

func TestBeforeStart(t *testing.T) {
	w := world{cfg: front(), shows: true}
	w.run(t, []at{{s, grant("ada")}, {2 * s, press}, {3 * s, opens}, {4 * s, mode(site.ModePassage)}}, 10*s)
	if len(w.trace) > 0 || !w.state.Locked() {
		t.Errorf("a machine that has not started did %v, locked %v", w.trace, w.state.Locked())
	}
}

func TestCommands(t *testing.T) {
	cfg := front()
	lockdown := keptAs(site.ModeLockdown)
	runScripts(t, []script{
		{
			name: "unlock is refused in lockdown", cfg: cfg, from: lockdown,
			in: []at{{s, do(door.OpUnlock)}}, end: 10 * s,
			want: []string{"1s command unlock lockdown by cli"},
		},
		{
			name: "a command that is none changes nothing", cfg: cfg,
			in: []at{
				{s, door.Command{}}, {s, door.Command{Op: 99}}, {s, mode(site.Mode(17))},
				{s, door.Command{Op: door.OpMode, Mode: site.ModePassage, For: -s}},
				{s, door.Command{Op: door.OpMode, Mode: site.ModePassage, Until: noon}},
				{s, door.Command{Op: door.OpMode, Mode: site.ModePassage, For: s, Until: noon.Add(time.Hour)}},
			},
			end: 10 * s,
		},
		{
			name: "lockdown relocks in mid-pulse, release gives back the override below", cfg: cfg,
			in: []at{
				{s, mode(site.ModePassage)}, {2 * s, grant("ada")}, {3 * s, do(door.OpLockdown)},
				{4 * s, grant("bob")}, {5 * s, do(door.OpRelease)},
			},
			end: 20 * s,
			want: []string{
				"1s energise", "1s command mode passage by cli", "1s mode passage by cli", "1s keep passage",
				"2s access granted ada",
				"3s de-energise", "3s command lockdown by cli", "3s mode lockdown by cli", "3s keep lockdown passage",
				"4s access lockdown bob",
				"5s energise", "5s command release by cli", "5s mode lockdown ended passage by cli", "5s keep passage",
			},
		},
		{
			name: "lockdown ends by itself", cfg: cfg,
			in: []at{{s, door.Command{Op: door.OpLockdown, Until: noon.Add(9 * s), By: "cli"}}}, end: 20 * s,
			want: []string{
				"1s command lockdown until 12:00:09 by cli", "1s mode lockdown until 12:00:09 by cli", "1s keep lockdown until 12:00:09",
				"9s mode lockdown ended secured", "9s keep",
			},
		},
		{
			name: "a release without a lockdown ends nothing", cfg: cfg,
			in: []at{{s, do(door.OpRelease)}, {2 * s, mode(site.ModePassage)}}, end: 3 * s,
			want: []string{
				"1s command release by cli",
				"2s energise", "2s command mode passage by cli", "2s mode passage by cli", "2s keep passage",
			},
		},
		{
			name: "a lockdown that is given another end has not ended", cfg: cfg, from: lockdown,
			in: []at{{s, door.Command{Op: door.OpLockdown, Until: noon.Add(9 * s), By: "cli"}}}, end: 20 * s,
			want: []string{
				"1s command lockdown until 12:00:09 by cli", "1s keep lockdown until 12:00:09",
				"9s mode lockdown ended secured", "9s keep",
			},
		},
		{
			name: "who wins: disabled, lockdown, freeze, override, schedule", cfg: cfg,
			in: []at{
				{1 * s, door.Schedule{Mode: site.ModePassage}},
				{2 * s, mode(site.ModeSecured)},
				{3 * s, mode(site.ModeFrozenPassage)},
				{4 * s, do(door.OpLockdown)},
				{5 * s, mode(site.ModeDisabled)},
				{6 * s, do(door.OpRelease)},
				{7 * s, do(door.OpAuto)},
			},
			end: 20 * s,
			want: []string{
				"1s energise", "1s command schedule passage by schedule", "1s mode passage",
				"2s de-energise", "2s command mode secured by cli", "2s mode secured by cli", "2s keep secured",
				"3s energise", "3s command mode frozen_passage by cli", "3s mode frozen_passage by cli", "3s keep frozen_passage secured",
				"4s de-energise", "4s command lockdown by cli", "4s mode lockdown by cli", "4s keep lockdown frozen_passage secured",
				"5s command mode disabled by cli", "5s mode disabled by cli", "5s keep lockdown disabled",
				"6s command release by cli", "6s mode lockdown ended disabled by cli", "6s keep disabled",
				"7s energise", "7s command auto by cli", "7s mode passage", "7s keep",
			},
		},
		{
			name: "lock overrides a schedule that unlocks", cfg: cfg,
			in: []at{{s, door.Schedule{Mode: site.ModePassage}}, {2 * s, do(door.OpLock)}}, end: 3 * s,
			want: []string{
				"1s energise", "1s command schedule passage by schedule", "1s mode passage",
				"2s de-energise", "2s command lock by cli", "2s mode secured by cli", "2s keep secured",
			},
		},
		{
			name: "no fire release, no effect", cfg: cfg,
			in: []at{{s, door.Fire{On: true}}}, end: 3 * s,
		},
	})
}

// A lockdown whose end passed while the agent was off has ended at the start.
func TestLockdownEndsWhileOff(t *testing.T) {
	w := world{cfg: front()}
	w.step(door.Start{Kept: site.DoorKept{Lockdown: &site.DoorOverride{Mode: site.ModeLockdown, Until: noon.Add(-s)}}})
	if diff := cmp.Diff([]string{"0s de-energise", "0s mode lockdown ended secured", "0s keep"}, w.trace); diff != "" {
		t.Errorf("trace (-want +got):\n%s", diff)
	}
}

func TestFunctions(t *testing.T) {
	cfg := front()
	runScripts(t, []script{
		{
			name: "blocked passes nowhere", cfg: cfg,
			in: []at{{s, with(site.FunctionBlocked)}}, end: 10 * s,
			want: []string{"1s access blocked ada"},
		},
		{
			name: "disabled: readers dead", cfg: cfg, from: keptAs(site.ModeDisabled),
			in: []at{{s, grant("ada")}, {2 * s, with(site.FunctionPassThrough)}}, end: 10 * s,
			want: []string{"1s access door_disabled ada", "2s access door_disabled ada"},
		},
		{
			name: "only pass_through passes a lockdown", cfg: cfg, from: keptAs(site.ModeLockdown),
			in: []at{
				{s, grant("ada")}, {2 * s, with(site.FunctionToggle)}, {3 * s, with(site.FunctionFreeze)},
				{4 * s, with(site.FunctionPassThrough)}, {5 * s, opens}, {6 * s, closes},
			},
			end: 20 * s,
			want: []string{
				"1s access lockdown ada", "2s access lockdown ada", "3s access lockdown ada",
				"4s energise", "4s access pass_through granted ada", "5.05s door_opened", "6.05s door_closed", "9s de-energise",
			},
		},
		{
			name: "toggle", cfg: cfg,
			in: []at{{s, with(site.FunctionToggle)}, {2 * s, with(site.FunctionToggle)}}, end: 20 * s,
			want: []string{
				"1s energise", "1s access toggle granted ada", "1s mode passage by credential", "1s keep passage",
				"2s de-energise", "2s access toggle granted ada", "2s mode secured", "2s keep",
			},
		},
		{
			name: "freeze and back", cfg: cfg,
			in: []at{{s, with(site.FunctionFreeze)}, {2 * s, grant("bob")}, {3 * s, with(site.FunctionFreeze)}}, end: 20 * s,
			want: []string{
				"1s access freeze granted ada", "1s mode frozen_secured by credential", "1s keep frozen_secured",
				"2s access frozen bob", "3s access freeze granted ada", "3s mode secured", "3s keep",
			},
		},
		{
			name: "lockdown by credential", cfg: cfg,
			in: []at{{s, grant("bob")}, {2 * s, with(site.FunctionLockdown)}}, end: 2 * s,
			want: []string{
				"1s energise", "1s access granted bob",
				"2s de-energise", "2s access lockdown granted ada", "2s mode lockdown by credential", "2s keep lockdown",
			},
		},
	})
}

func TestWaiting(t *testing.T) {
	pin := func(id string) door.Waiting {
		a := card(id)
		a.Reason = site.ReasonPINRequired
		return door.Waiting{Access: a}
	}
	wrong := card("ada")
	wrong.Reason = site.ReasonPINWrong
	runScripts(t, []script{
		{
			name: "recorded when nothing follows", cfg: front(),
			in: []at{{s, pin("ada")}}, end: 60 * s,
			want: []string{"16s access pin_required ada"},
		},
		{
			name: "not recorded when it is answered", cfg: front(),
			in: []at{{s, pin("ada")}, {2 * s, door.Denied{Access: wrong}}}, end: 60 * s,
			want: []string{"2s access pin_wrong ada"},
		},
		{
			name: "recorded when another takes its place", cfg: front(),
			in: []at{{s, pin("ada")}, {2 * s, pin("bob")}, {3 * s, grant("bob")}, {4 * s, opens}, {5 * s, closes}}, end: 60 * s,
			want: []string{
				"2s access pin_required ada", "3s energise", "3s access granted bob",
				"4.05s door_opened", "5.05s door_closed", "8s de-energise",
			},
		},
	})
}

func TestShow(t *testing.T) {
	w := world{cfg: front(), shows: true}
	w.step(door.Start{})
	w.trace = nil
	w.run(t, []at{
		{1 * s, denied(site.ReasonNoRight)}, {2 * s, denied(site.ReasonFault)}, {3 * s, denied(site.ReasonNoPolicy)},
		{4 * s, denied(site.ReasonLockdown)}, {5 * s, door.Grant{Access: card("ada"), Duress: true}},
	}, 5*s)
	want := []string{
		"1s access no_right", "1s show denied at in", "2s access fault", "2s show error at in",
		"3s access no_policy", "3s show error at in", "4s access lockdown", "4s show lockdown at in",
		"5s energise", "5s access granted ada as duress", "5s show granted at in",
	}
	if diff := cmp.Diff(want, w.trace); diff != "" {
		t.Errorf("trace (-want +got):\n%s", diff)
	}
}

func TestFaults(t *testing.T) {
	on, off := door.Fault{Part: door.PartStrike, On: true}, door.Fault{Part: door.PartStrike}
	runScripts(t, []script{{
		name: "a strike that fails is driven again each second, told once", cfg: front(),
		in: []at{{s, on}, {1500 * ms, on}, {3500 * ms, off}, {4 * s, off}, {5 * s, door.Fault{Part: 99, On: true}}}, end: 10 * s,
		want: []string{
			"1s fault strike line", "2s de-energise", "3s de-energise", "3.5s fault strike line cleared",
		},
	}})
}

func TestRestart(t *testing.T) {
	end := noon.Add(10 * s)
	tests := []struct {
		name string
		kept site.DoorKept
		want []string
	}{
		{"a mode that fits nowhere is not taken", site.DoorKept{
			Lockdown: &site.DoorOverride{Mode: site.ModePassage}, Override: &site.DoorOverride{Mode: site.ModeFrozenPassage},
			Freeze: &site.DoorOverride{Mode: site.ModePassage},
		}, []string{"0s de-energise"}},
		{"lockdown before an override", site.DoorKept{
			Lockdown: &site.DoorOverride{Mode: site.ModeLockdown}, Override: &site.DoorOverride{Mode: site.ModePassage},
		}, []string{"0s de-energise"}},
		{"an override with its end", site.DoorKept{Override: &site.DoorOverride{Mode: site.ModePassage, Until: end}},
			[]string{"0s energise", "10s de-energise", "10s mode secured", "10s keep"}},
		{"one that ended meanwhile", site.DoorKept{Override: &site.DoorOverride{Mode: site.ModePassage, Until: noon.Add(-s)}},
			[]string{"0s de-energise", "0s mode secured", "0s keep"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := world{cfg: front()}
			w.step(door.Start{Kept: tt.kept})
			w.until(t, 20*s)
			if diff := cmp.Diff(tt.want, w.trace); diff != "" {
				t.Errorf("trace (-want +got):\n%s", diff)
			}
		})
	}
}

// An override's end runs on elapsed time while the clock is not trusted, and by
// the true time as soon as that is known (door.md, Untrusted clock).
func TestUntrustedClock(t *testing.T) {
	for _, tt := range []struct {
		name string
		cmd  door.Command
		want time.Duration // when the door locks again; zero: within the test not
	}{
		{"by duration: the same duration", door.Command{Op: door.OpMode, Mode: site.ModePassage, For: 100 * s}, 101 * s},
		{"by a time that turns out to have passed", door.Command{Op: door.OpMode, Mode: site.ModePassage, Until: noon.Add(100 * s)}, 50 * s},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := world{cfg: front(), untrusted: true}
			w.step(door.Start{})
			w.run(t, []at{{s, tt.cmd}}, 50*s)
			if w.state.Locked() {
				t.Fatal("locked before the end")
			}
			w.untrusted, w.skew = false, 24*time.Hour
			w.step(door.Tick{})
			for !w.state.Locked() && w.now < time.Hour {
				w.until(t, w.now+s)
			}
			if w.now != tt.want {
				t.Errorf("locked at %v, want %v", w.now, tt.want)
			}
		})
	}
	t.Run("going back moves no end nearer", func(t *testing.T) {
		w := world{cfg: front()}
		w.step(door.Start{})
		w.step(door.Command{Op: door.OpLockdown, For: 100 * s})
		w.until(t, 50*s)
		w.skew = -time.Hour
		w.step(door.Tick{})
		w.until(t, 3699*s)
		if m, _ := w.state.Mode(); m != site.ModeLockdown {
			t.Errorf("at %v by a clock that went back an hour the mode is %v", w.now, m)
		}
		w.until(t, 3700*s)
		if m, _ := w.state.Mode(); m != site.ModeSecured {
			t.Errorf("at %v the mode is still %v", w.now, m)
		}
	})
	t.Run("no schedule unlocks", func(t *testing.T) {
		w := world{cfg: front(), untrusted: true}
		w.step(door.Start{})
		w.step(door.Schedule{Mode: site.ModePassage})
		if !w.state.Locked() {
			t.Error("unlocked by a schedule under an untrusted clock")
		}
		w.untrusted = false
		w.step(door.Tick{})
		if w.state.Locked() {
			t.Error("locked though time is known")
		}
	})
}

func TestRefuses(t *testing.T) {
	w := world{cfg: front()}
	w.step(door.Start{Kept: site.DoorKept{Lockdown: &site.DoorOverride{Mode: site.ModeLockdown}}})
	for _, tt := range []struct {
		cmd  door.Command
		want error
	}{
		{door.Command{}, door.ErrCommand},
		{door.Command{Op: door.OpLockdown, Until: noon.Add(-s)}, door.ErrCommand},
		{do(door.OpUnlock), door.ErrRefused},
		{do(door.OpRelease), nil},
	} {
		if err := w.state.Refuses(tt.cmd, w.instant()); !errors.Is(err, tt.want) {
			t.Errorf("%v: got %v, want %v", tt.cmd.Op, err, tt.want)
		}
	}
}

func TestStatus(t *testing.T) {
	w := world{cfg: front()}
	w.step(door.Start{})
	w.run(t, []at{{s, opens}, {2 * s, door.Command{Op: door.OpLockdown, For: 60 * s}}}, 40*s)
	want := site.DoorStatus{
		ID: "front", Name: "Front door", Mode: site.ModeLockdown, Locked: true, Open: true,
		Alarm: site.AlarmForced, Until: noon.Add(62 * s),
	}
	if diff := cmp.Diff(want, w.state.Status(&w.cfg)); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
}
