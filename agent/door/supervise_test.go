package door_test

import (
	"testing"
	"testing/synctest"
	"time"

	"gatehouse/agent/door"
	"gatehouse/agent/site"
	"gatehouse/hal"

	"github.com/google/go-cmp/cmp"
)

func supervised(c *door.Config) {
	c.Tamper, c.TamperNormal = "GPIO7", hal.Low
	c.Bond, c.BondSecure = "GPIO8", hal.Low
}

func TestSupervision(t *testing.T) {
	cfg := front(supervised)
	loose, secure := door.Bond{}, door.Bond{Secure: true}
	var rattle []at
	for i := range 12 { // blips of two changes, too short to be an opening
		begin := s + time.Duration(i)*450*ms
		rattle = append(rattle, at{begin, opens}, at{begin + 10*ms, closes})
	}
	runScripts(t, []script{
		{
			name: "tamper, once for a loose wire", cfg: cfg,
			in: []at{
				{s, door.Tamper{On: true}}, {1010 * ms, door.Tamper{}}, {1020 * ms, door.Tamper{On: true}}, {1030 * ms, door.Tamper{On: true}},
				{5 * s, door.Tamper{}}, {6 * s, door.Tamper{}},
			},
			end: 9 * s, want: []string{"1s tamper door", "5.05s tamper door cleared"},
		},
		{
			name: "found tampered at start", cfg: cfg, from: door.Start{Tamper: true},
			in: []at{{s, door.Tamper{}}}, end: 9 * s, want: []string{"1.05s tamper door cleared"},
		},
		{
			name: "locked and closed but not secure", cfg: cfg,
			in: []at{{s, loose}, {10 * s, grant("ada")}, {20 * s, secure}, {21 * s, loose}, {22900 * ms, secure}}, end: 40 * s,
			want: []string{
				"3s fault strike feedback", "10s energise", "10s access granted ada", "15s de-energise", "15.3s unused granted ada",
				"20s fault strike feedback cleared",
			},
		},
		{
			name: "not while unlocked or open", cfg: cfg,
			in: []at{
				{s, grant("ada")}, {1100 * ms, loose}, {2 * s, opens}, {8 * s, closes}, {9 * s, secure},
				{20 * s, mode(site.ModePassage)}, {21 * s, loose}, {30 * s, secure},
			},
			end: 40 * s,
			want: []string{
				"1s energise", "1s access granted ada", "2.05s door_opened", "6s de-energise", "8.05s door_closed",
				"20s energise", "20s command mode passage by cli", "20s mode passage by cli", "20s keep passage",
			},
		},
		{
			name: "found loose at start", cfg: cfg, from: door.Start{Loose: true},
			end: 9 * s, want: []string{"2s fault strike feedback"},
		},
		{
			name: "a contact that bounces, until it is quiet", cfg: cfg, in: rattle, end: 60 * s,
			want: []string{"5.5s fault door contact bounces", "15.96s fault door contact bounces cleared"},
		},
		{
			name: "twenty changes are none too many", cfg: cfg, in: rattle[:20], end: 60 * s,
		},
	})
	w := world{cfg: cfg}
	w.step(door.Start{})
	w.step(door.Tamper{On: true})
	w.step(loose)
	w.until(t, 5*s)
	if got := w.state.Alarm(); got != site.AlarmTamper {
		t.Errorf("alarm %v with a fault and tampering", got)
	}
}

// The lines of a running door, with levels read again when edges were lost.
func TestSupervisedLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := setUp(t, front(supervised), func(b *bench, _ *door.Deps) {
			b.board.Drive("GPIO7", hal.Low)
			b.board.Drive("GPIO8", hal.Low)
		})
		after(s)
		b.board.Drive("GPIO7", hal.High)
		b.board.Drive("GPIO8", hal.High)
		after(3 * s)
		live, err := b.door.Inputs(t.Context())
		want := door.Live{Rex: hal.High, Tamper: hal.High, Tampered: true, Bond: hal.High}
		if diff := cmp.Diff(want, live); diff != "" || err != nil {
			t.Errorf("inputs (-want +got):\n%s%v", diff, err)
		}
		if got := b.door.Status().Alarm; got != site.AlarmTamper {
			t.Errorf("alarm %v", got)
		}
		b.board.LoseEdges("GPIO7", 1)
		b.board.Drive("GPIO7", hal.Low)
		b.board.Drive("GPIO8", hal.Low)
		after(s)
		b.stop()
		b.wantEvents(t, "tamper door", "fault strike feedback", "fault strike feedback cleared", "tamper door cleared")
	})
}
