package door_test

import (
	"errors"
	"testing"
	"testing/synctest"

	"gatehouse/agent/access"
	"gatehouse/agent/door"
	"gatehouse/agent/site"
	"gatehouse/hal"
)

func TestInputsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := setUp(t, front())
		b.present(t)
		b.board.Lose()
		if err := <-b.end; !errors.Is(err, hal.ErrClosed) {
			t.Errorf("run: %v", err)
		}
		b.wantEvents(t, "access granted ada", "fault contact and exit lines")
		if st := b.door.Status(); st.Alarm != site.AlarmFault {
			t.Errorf("status %+v", st)
		}
		b.stop()
	})
	synctest.Test(t, func(t *testing.T) {
		bad := errors.New("bad line")
		b := setUp(t, front(), func(b *bench, _ *door.Deps) { b.board.FailRead("GPIO23", bad) })
		if err := <-b.end; !errors.Is(err, bad) {
			t.Errorf("run: %v", err)
		}
		b.wantEvents(t, "fault contact and exit lines")
		b.wantChanges(t, "0s low")
		b.stop()
	})
}

func TestEdgesLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := setUp(t, front())
		b.board.LoseEdges("GPIO23", 1)
		b.board.Drive("GPIO23", hal.High) // lost
		after(s)
		if b.door.Status().Open {
			t.Error("open by an edge that was lost")
		}
		b.board.Drive("GPIO22", hal.Low) // says so
		after(s)
		if !b.door.Status().Open {
			t.Error("the contact was not read again")
		}
		b.stop()
	})
}

func TestStrikeFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := setUp(t, front())
		b.board.FailSet("GPIO24", errors.New("short circuit"))
		if r := b.present(t); r.Opened || r.Outcome != access.Granted {
			t.Errorf("got %+v", r)
		}
		if st := b.door.Status(); st.Alarm != site.AlarmFault {
			t.Errorf("status %+v", st)
		}
		after(2500 * ms)
		b.board.FailSet("GPIO24", nil)
		after(s)
		if st := b.door.Status(); st.Alarm != site.AlarmNone || b.board.Level("GPIO24") != hal.High {
			t.Errorf("status %+v, strike %v when the line works again in the pulse", st, b.board.Level("GPIO24"))
		}
		b.stop()
		b.wantEvents(t, "access granted ada", "fault strike line", "fault strike line cleared")
	})
}
