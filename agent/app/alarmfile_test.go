package app_test

import (
	"os"
	"path/filepath"
	"testing"

	"gatehouse/agent/control"
	"gatehouse/agent/site"
	"gatehouse/hal"
)

// TestAlarmFileDamaged: a list of alarms that cannot be read is set aside and told,
// and made again from the event log.
func TestAlarmFileDamaged(t *testing.T) {
	s := newTestSite(t)
	r := s.start()
	s.board.Drive("GPIO23", hal.High) // forced
	r.waitEvent("the alarm", site.KindDoorForced, func(site.Event) bool { return true })
	s.board.Drive("GPIO23", hal.Low)
	r.stop()
	damaged := []byte(`{"next":7,"list":[{"id"`)
	path := filepath.Join(s.dir, "alarms.json")
	if err := os.WriteFile(path, damaged, 0o600); err != nil {
		t.Fatal(err)
	}

	r = s.start()
	if !r.hasFault("alarms") {
		t.Errorf("nobody is told: %+v", r.status().Faults)
	}
	kept, err := filepath.Glob(filepath.Join(s.dir, "quarantine", "alarms.json.*"))
	if err != nil || len(kept) != 1 {
		t.Fatalf("the file is not kept: %v, %v", kept, err)
	}
	if got, err := os.ReadFile(kept[0]); err != nil || string(got) != string(damaged) {
		t.Errorf("kept %q, %v", got, err)
	}
	wait(t, "the alarm of before", func() bool {
		var list []control.Alarm
		r.must(r.client.Get(t.Context(), "/v1/alarms", nil, &list))
		for _, a := range list {
			if a.Kind == site.KindDoorForced {
				return true
			}
		}
		return false
	})
}
