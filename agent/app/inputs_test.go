package app_test

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gatehouse/agent/control"
	"gatehouse/agent/site"
	"gatehouse/hal"
)

// siteSettings is the test site with inputs and outputs of the whole site. Fire
// releases the shed.
var siteSettings = strings.Replace(testSettings, "  - id: shed\n", "  - id: shed\n    fire: release\n", 1) + `inputs:
  fire: {line: GPIO5, normal: low, latched: true}
  panic: {line: GPIO6, active: low}
  mains: {line: GPIO20, normal: high}
  battery: {line: GPIO21, normal: low}
  tamper: {line: GPIO4, normal: low}
outputs:
  - {id: siren, line: GPIO13, on: [door_forced, fire, panic]}
  - {id: opener, line: GPIO12, active: low, on: [access], doors: [front], for: 300ms}
  - {id: shunt, line: GPIO27, on: [access, exit], doors: [front], until: [door_closed], for: 1m}
`

// newWholeSite is a site with inputs and outputs, all of them at rest.
func newWholeSite(t *testing.T, replace ...string) *testSite {
	t.Helper()
	s := newTestSite(t)
	s.configure(strings.NewReplacer(replace...).Replace(siteSettings))
	for line, level := range map[hal.LineName]hal.Level{"GPIO5": hal.Low, "GPIO6": hal.High, "GPIO20": hal.High, "GPIO21": hal.Low, "GPIO4": hal.Low} {
		s.board.Drive(line, level)
	}
	return s
}

// input returns what status says of an input of the site.
func (r *running) input(id string) control.InputStatus {
	r.t.Helper()
	for _, in := range r.status().Inputs {
		if in.ID == id {
			return in
		}
	}
	r.t.Fatalf("no input %s in status", id)
	return control.InputStatus{}
}

func (r *running) waitInput(id string, ok bool) {
	r.t.Helper()
	wait(r.t, "input "+id, func() bool { return r.input(id).OK == ok })
}

// siteEvents returns the events of a kind that belong to no door.
func (r *running) siteEvents(kind site.Kind) (out []site.Event) {
	r.t.Helper()
	for _, ev := range r.events(kind) {
		if ev.Door == "" {
			out = append(out, ev)
		}
	}
	return out
}

func (r *running) fire() control.FireStatus {
	r.t.Helper()
	var st control.FireStatus
	r.must(r.client.Get(r.t.Context(), "/v1/fire", nil, &st))
	return st
}

func (r *running) resetFire() error { return r.ask(http.MethodPost, "/v1/fire/reset", nil, nil) }

// TestFire: fire releases the doors that want it and no other, stays latched
// over the end of the input and over a restart, and ends with a reset, which is
// refused while the input shows fire.
func TestFire(t *testing.T) {
	s := newWholeSite(t)
	r := s.start()
	if st := r.fire(); !st.Configured || st.On || st.Input != "normal" || len(st.Doors) != 1 || st.Doors[0] != "shed" {
		t.Errorf("status %+v", st)
	}
	if err := r.resetFire(); !refused(err) {
		t.Errorf("reset without fire: %v", err)
	}
	s.board.Drive("GPIO5", hal.High)
	r.waitLevel("GPIO25", hal.Low) // energised: released
	r.waitLevel("GPIO13", hal.High)
	r.waitInput("fire", false)
	if err := r.resetFire(); !refused(err) || !strings.Contains(err.Error(), "still shows fire") {
		t.Errorf("reset in fire: %v", err)
	}
	s.board.Drive("GPIO5", hal.Low)
	wait(t, "the input's end", func() bool { return r.fire().Input == "normal" })
	if st := r.fire(); !st.On || s.board.Level("GPIO25") != hal.Low || r.input("fire").OK {
		t.Errorf("a latched alarm ended with its input: %+v", st)
	}
	since := r.fire().Since
	r.waitEvent("fire", site.KindFire, func(ev site.Event) bool { return ev.Door == "" })
	if evs := r.siteEvents(site.KindFire); len(evs) != 1 || evs[0].Cleared {
		t.Errorf("events %+v", evs)
	}
	r.stop()
	if s.board.Level("GPIO25") != hal.High || s.board.Level("GPIO13") != hal.Low {
		t.Error("an output is energised after the end")
	}

	r = s.start()
	r.waitLevel("GPIO25", hal.Low)
	r.waitLevel("GPIO13", hal.High)
	if st := r.fire(); !st.On || !st.Since.Equal(since) {
		t.Errorf("after a restart: %+v, was since %v", st, since)
	}
	r.must(r.resetFire())
	r.waitLevel("GPIO25", hal.High)
	r.waitLevel("GPIO13", hal.Low)
	r.waitInput("fire", true)
	r.waitEvent("the reset", site.KindFire, func(ev site.Event) bool { return ev.Door == "" && ev.Cleared })
	evs := r.siteEvents(site.KindFire)
	if len(evs) != 3 || evs[1].Cleared || !evs[2].Cleared || evs[2].By != "cli" {
		t.Errorf("events %+v", evs)
	}
	r.stop()
	r = s.start()
	if st := r.fire(); st.On || s.board.Level("GPIO25") != hal.High {
		t.Errorf("a reset alarm is back after a restart: %+v", st)
	}
	for _, c := range s.board.History("GPIO24") {
		if c.Level == hal.High {
			t.Error("fire released a door that does not want it")
		}
	}
}

// TestFireFollows: an alarm that is not latched ends with its input; while the
// line cannot be had it counts as it was kept, and the doors run.
func TestFireFollows(t *testing.T) {
	s := newWholeSite(t, "latched: true", "latched: false")
	r := s.start()
	s.board.Drive("GPIO5", hal.High)
	r.waitLevel("GPIO25", hal.Low)
	s.board.Drive("GPIO5", hal.Low)
	r.waitLevel("GPIO25", hal.High)
	s.board.Drive("GPIO5", hal.High)
	r.waitLevel("GPIO25", hal.Low)
	wait(t, "what is kept", func() bool { return strings.Contains(r.keptInputs(), `"fire":true`) })
	r.stop()

	s.board.FailClaim("GPIO5", hal.ErrBusy)
	s.board.Drive("GPIO5", hal.Low)
	r = s.start()
	r.waitLevel("GPIO25", hal.Low)
	wait(t, "the fault", func() bool { return r.hasFault("input.fire") })
	r.waitEvent("its event", site.KindFault, func(ev site.Event) bool { return ev.Item == "input.fire" && !ev.Cleared })
	if in := r.input("fire"); in.OK || !strings.Contains(in.Text, "cannot be read") {
		t.Errorf("input %+v", in)
	}
	if err := r.resetFire(); !refused(err) || !strings.Contains(err.Error(), "cannot be read") {
		t.Errorf("reset without a line: %v", err)
	}
	r.enrol("Ada,H10301,77,1568,front")
	r.card(adaCard)
	r.waitLevel("GPIO24", hal.High)
	s.board.FailClaim("GPIO5", nil)
	r.waitLevel("GPIO25", hal.High)
	wait(t, "the end of the fault", func() bool { return !r.hasFault("input.fire") })
}

func (r *running) keptInputs() string {
	data, err := os.ReadFile(filepath.Join(r.dir, "inputs.json"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		r.t.Fatal(err)
	}
	return string(data)
}

// TestFireFileLost: a latched alarm outlives the loss of its file, which is set
// aside where it is damaged.
func TestFireFileLost(t *testing.T) {
	for name, damage := range map[string]func(string) error{
		"removed": os.Remove,
		"damaged": func(path string) error { return os.WriteFile(path, []byte(`{"fire":fal`), 0o600) },
		"doubled": func(path string) error { return os.WriteFile(path, []byte(`{"fire":false}{"fire":false}`), 0o600) },
		"altered": func(path string) error { return os.WriteFile(path, []byte(`{"fires":true}`), 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			s := newWholeSite(t)
			r := s.start()
			s.board.Drive("GPIO5", hal.High)
			r.waitLevel("GPIO25", hal.Low)
			s.board.Drive("GPIO5", hal.Low)
			r.stop()
			path := filepath.Join(s.dir, "inputs.json")
			if err := damage(path); err != nil {
				t.Fatal(err)
			}
			r = s.start()
			r.waitLevel("GPIO25", hal.Low)
			if got := r.hasFault("inputs.damaged"); got != (name != "removed") {
				t.Errorf("fault: %v", got)
			}
			aside, err := filepath.Glob(filepath.Join(s.dir, "quarantine", "inputs.json.*"))
			if err != nil || len(aside) == 1 != (name != "removed") {
				t.Errorf("set aside: %v, %v", aside, err)
			}
			wait(t, "a new file", func() bool { return strings.Contains(r.keptInputs(), `"fire":true`) })
		})
	}
}

// modes returns the mode of each door.
func (r *running) modes() (out []site.Mode) {
	r.t.Helper()
	var doors []site.DoorStatus
	r.must(r.client.Get(r.t.Context(), "/v1/doors", nil, &doors))
	for _, d := range doors {
		out = append(out, d.Mode)
	}
	return out
}

func (r *running) waitModes(want site.Mode) {
	r.t.Helper()
	wait(r.t, "all doors "+want.String(), func() bool {
		for _, m := range r.modes() {
			if m != want {
				return false
			}
		}
		return true
	})
}

// TestPanic: a press locks all doors down, which outlives the button and a
// restart; an operator releases it. A button that is still pressed after a
// restart is no new press, one that was pressed meanwhile is.
func TestPanic(t *testing.T) {
	s := newWholeSite(t)
	r := s.start()
	r.must(r.ask(http.MethodPost, "/v1/doors/front/mode", map[string]any{"mode": site.ModePassage}, nil))
	r.waitLevel("GPIO24", hal.High)
	s.board.Drive("GPIO6", hal.Low)
	r.waitLevel("GPIO24", hal.Low)
	r.waitModes(site.ModeLockdown)
	r.waitInput("panic", false)
	r.waitLevel("GPIO13", hal.High)
	r.waitEvent("the lockdown", site.KindMode, func(ev site.Event) bool { return ev.Mode == "lockdown" && ev.By == "panic" })
	s.board.Drive("GPIO6", hal.High)
	r.waitInput("panic", true)
	r.waitLevel("GPIO13", hal.Low)
	r.waitEvent("the release", site.KindPanic, func(ev site.Event) bool { return ev.Cleared })
	if evs := r.siteEvents(site.KindPanic); len(evs) != 2 || evs[0].Cleared || !evs[1].Cleared {
		t.Errorf("events %+v", evs)
	}
	r.stop()
	r = s.start()
	r.waitModes(site.ModeLockdown)
	release := func() {
		r.must(r.ask(http.MethodPost, "/v1/release", map[string]any{"target": map[string]any{"all": true}}, nil))
	}
	release()
	r.waitLevel("GPIO24", hal.High)

	s.board.Drive("GPIO6", hal.Low)
	r.waitModes(site.ModeLockdown)
	wait(t, "what is kept", func() bool { return strings.Contains(r.keptInputs(), `"panic":true`) })
	release()
	r.stop()
	r = s.start()
	r.waitInput("panic", false)
	r.waitLevel("GPIO24", hal.High)
	r.stop()
	s.board.Drive("GPIO6", hal.High)
	r = s.start()
	wait(t, "what is kept", func() bool { return strings.Contains(r.keptInputs(), `"panic":false`) })
	r.stop()
	s.board.Drive("GPIO6", hal.Low)
	r = s.start()
	r.waitModes(site.ModeLockdown)
}

// TestSupervisedInputs: mains, battery and tamper are one event when they begin
// and one when they end, and stand in status and doctor meanwhile.
func TestSupervisedInputs(t *testing.T) {
	s := newWholeSite(t)
	r := s.start()
	for _, tt := range []struct {
		id     string
		kind   site.Kind
		line   hal.LineName
		normal hal.Level
	}{
		{"mains", site.KindPower, "GPIO20", hal.High},
		{"battery", site.KindBattery, "GPIO21", hal.Low},
		{"tamper", site.KindTamper, "GPIO4", hal.Low},
	} {
		s.board.Drive(tt.line, !tt.normal)
		r.waitInput(tt.id, false)
		r.waitEvent(tt.id, tt.kind, func(ev site.Event) bool { return !ev.Cleared && ev.Text != "" })
		if !r.doctorSays("input " + tt.id) {
			t.Errorf("doctor does not speak of %s", tt.id)
		}
		s.board.Drive(tt.line, tt.normal)
		r.waitInput(tt.id, true)
		r.waitEvent(tt.id+" ended", tt.kind, func(ev site.Event) bool { return ev.Cleared })
		if evs := r.siteEvents(tt.kind); len(evs) != 2 {
			t.Errorf("%s: events %+v", tt.id, evs)
		}
		if r.doctorSays("input " + tt.id) {
			t.Errorf("doctor goes on about %s", tt.id)
		}
	}
}

func (r *running) doctorSays(what string) bool {
	r.t.Helper()
	var found []control.Finding
	r.must(r.client.Get(r.t.Context(), "/v1/doctor", nil, &found))
	for _, f := range found {
		if strings.HasPrefix(f.What, what) && f.Wrong && f.Do != "" {
			return true
		}
	}
	return false
}

// TestNoInputs: without the settings there is no fire alarm to reset, and status
// has empty lists.
func TestNoInputs(t *testing.T) {
	r := newTestSite(t).start()
	if st := r.fire(); st.Configured || st.Input != "none" {
		t.Errorf("fire %+v", st)
	}
	if err := r.resetFire(); !refused(err) || !strings.Contains(err.Error(), "inputs.fire") {
		t.Errorf("reset: %v", err)
	}
	if st := r.status(); len(st.Inputs)+len(st.Outputs) != 0 {
		t.Errorf("status %+v %+v", st.Inputs, st.Outputs)
	}
	if _, err := os.Stat(filepath.Join(r.dir, "inputs.json")); err == nil {
		t.Error("a file for inputs that are not there")
	}
}

// TestSupervisedOverRestart: an input that is normal again at the next start has its
// end told then, once, also where the file is lost; one that is not is told anew.
func TestSupervisedOverRestart(t *testing.T) {
	s := newWholeSite(t)
	for i, lost := range []bool{false, true} {
		r := s.start()
		before := len(r.siteEvents(site.KindPower))
		s.board.Drive("GPIO20", hal.Low)
		wait(t, "mains failed", func() bool { return len(r.siteEvents(site.KindPower)) == before+1 })
		r.stop()
		r = s.start()
		wait(t, "told anew", func() bool { return len(r.siteEvents(site.KindPower)) == before+2 })
		r.stop()
		s.board.Drive("GPIO20", hal.High)
		if lost {
			if err := os.Remove(filepath.Join(s.dir, "inputs.json")); err != nil {
				t.Fatal(err)
			}
		}
		r = s.start()
		wait(t, "its end", func() bool { return len(r.siteEvents(site.KindPower)) == before+3 })
		r.stop()
		r = s.start()
		var got []bool
		for _, ev := range r.siteEvents(site.KindPower)[before:] {
			got = append(got, ev.Cleared)
		}
		if len(got) != 3 || got[0] || got[1] || !got[2] {
			t.Errorf("round %d: cleared %v", i, got)
		}
		if evs := r.siteEvents(site.KindTamper); len(evs) != 0 {
			t.Errorf("tamper: %+v", evs)
		}
		r.stop()
	}
}
