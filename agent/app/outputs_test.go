package app_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"gatehouse/agent/site"
	"gatehouse/hal"
)

// TestSiren: a forced door sounds it until the alarm is over, full disk or not.
func TestSiren(t *testing.T) {
	s := newWholeSite(t)
	s.smallDisk()
	r := s.start()
	ballast := filepath.Join(s.dir, "ballast")
	for range 2 {
		s.board.Drive("GPIO23", hal.High)
		r.waitLevel("GPIO13", hal.High)
		if st := r.status(); !st.Outputs[0].On || st.Outputs[0].ID != "siren" {
			t.Errorf("status %+v", st.Outputs)
		}
		s.board.Drive("GPIO23", hal.Low)
		r.waitLevel("GPIO13", hal.Low)
		fill(t, ballast) // for the second time
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	if h := s.board.History("GPIO13"); !h[0].Claim || h[0].Level != hal.Low {
		t.Errorf("the siren began with %+v", h[0])
	}
}

// TestOpener: a grant, and nothing else, starts the door operator for its time.
func TestOpener(t *testing.T) {
	s := newWholeSite(t)
	r := s.start()
	r.enrol("Ada,H10301,77,1568,front")
	r.card(otherCard)
	r.waitEvent("refusal", site.KindAccess, reasonIs(site.ReasonUnknownCredential))
	if h := s.board.History("GPIO12"); len(h) != 1 || !h[0].Claim || h[0].Level != hal.High {
		t.Errorf("after a refusal: %+v", h)
	}
	r.card(adaCard)
	r.waitLevel("GPIO12", hal.Low)
	r.waitLevel("GPIO12", hal.High)
	h := s.board.History("GPIO12")
	if len(h) != 3 || h[2].At-h[1].At < 300*time.Millisecond {
		t.Errorf("the opener: %+v", h)
	}
	if h := s.board.History("GPIO13"); len(h) != 1 {
		t.Errorf("the siren: %+v", h)
	}
}

// TestShunt: the shunt of an alarm contact is there from the grant, before the
// door opens, until it is closed again.
func TestShunt(t *testing.T) {
	s := newWholeSite(t)
	r := s.start()
	r.enrol("Ada,H10301,77,1568,front")
	r.card(adaCard)
	r.waitLevel("GPIO27", hal.High)
	s.board.Drive("GPIO23", hal.High)
	r.waitEvent("opened", site.KindDoorOpened, func(site.Event) bool { return true })
	if s.board.Level("GPIO27") != hal.High {
		t.Error("the shunt went before the door was closed")
	}
	s.board.Drive("GPIO23", hal.Low)
	r.waitLevel("GPIO27", hal.Low)
	if h := s.board.History("GPIO27"); len(h) != 3 {
		t.Errorf("the shunt: %+v", h)
	}
}

// TestOutputLineBusy: a siren whose line cannot be had is a fault; doors run, and
// it sounds once it is there.
func TestOutputLineBusy(t *testing.T) {
	s := newWholeSite(t)
	s.board.FailClaim("GPIO13", hal.ErrBusy)
	r := s.start()
	wait(t, "the fault", func() bool { return r.hasFault("output.siren") })
	r.enrol("Ada,H10301,77,1568,front")
	r.card(adaCard)
	r.waitLevel("GPIO24", hal.High)
	r.waitLevel("GPIO24", hal.Low)
	time.Sleep(500 * time.Millisecond) // past the grace after relock, in the door's real time
	s.board.Drive("GPIO23", hal.High)
	r.waitEvent("forced", site.KindDoorForced, func(site.Event) bool { return true })
	s.board.FailClaim("GPIO13", nil)
	r.waitLevel("GPIO13", hal.High)
	wait(t, "the end of the fault", func() bool { return !r.hasFault("output.siren") })
}

// TestDropLetsGo: the emergency stop drives outputs safe as it does strikes.
func TestDropLetsGo(t *testing.T) {
	s := newWholeSite(t)
	r := s.start()
	s.board.Drive("GPIO5", hal.High)
	r.waitLevel("GPIO13", hal.High)
	r.waitLevel("GPIO25", hal.Low)
	r.app.Drop(5 * time.Second)
	if s.board.Level("GPIO13") != hal.Low || s.board.Level("GPIO25") != hal.High {
		t.Error("an output is energised after the emergency stop")
	}
}

// TestReleasedOutputs: doctor names the strikes and outputs that would stay as they
// were if nothing held them any more, and no reader's lamp.
func TestReleasedOutputs(t *testing.T) {
	s := newTestSite(t)
	s.keeps = []hal.LineName{"GPIO16", "GPIO25", "GPIO13"}
	s.settings(testSettings + "outputs: [{id: siren, line: GPIO13, on: [door_forced], for: 60s}]\n")
	r := s.start()
	if !r.doctorSays("the kernel goes on driving GPIO25, GPIO13 when") {
		t.Errorf("doctor: %+v", r.app.Doctor(t.Context()))
	}
	r.stop()
	s.keeps = nil
	if r = s.start(); r.doctorSays("the kernel goes on driving") {
		t.Error("doctor goes on about it")
	}
}
