package app

import (
	"testing"
	"time"

	"gatehouse/agent/config"
	"gatehouse/agent/site"
)

// What a lock tells counts as what it means: in the list of alarms, and for
// outputs.
func TestLockAuditMeans(t *testing.T) {
	var s alarmState
	s.Next = 1
	seq := site.EventSeq(0)
	tell := func(as site.Kind, item string, cleared bool) {
		seq++
		s.apply(site.Event{Seq: seq, Time: time.Unix(int64(seq), 0), Kind: site.KindLockAudit, As: as, Door: "room5", Item: item, Cleared: cleared, Text: string(as)})
	}
	tell(site.KindDoorForced, "1", false)
	if len(s.List) != 1 || s.List[0].Kind != site.KindDoorForced || s.List[0].Ended.IsZero() || s.List[0].Door != "room5" {
		t.Fatalf("a forced door: %+v", s.List)
	}
	tell(site.KindTamper, "2", false)
	if len(s.List) != 2 || !s.List[1].Ended.IsZero() {
		t.Fatalf("tampering does not stand: %+v", s.List)
	}
	tell(site.KindTamper, "3", true)
	if s.List[1].Ended.IsZero() {
		t.Errorf("tampering did not end: %+v", s.List)
	}
	n := len(s.List)
	tell(site.KindAccess, "4", false)
	tell("", "5", false)
	if len(s.List) != n {
		t.Errorf("no alarm made one: %+v", s.List)
	}
}

func TestLockAuditSwitchesOutput(t *testing.T) {
	for _, tt := range []struct {
		name string
		cfg  config.Output
		ev   site.Event
		want bool
	}{
		{"forced, for a time", config.Output{On: []site.Kind{site.KindDoorForced}, For: time.Minute},
			site.Event{Kind: site.KindLockAudit, As: site.KindDoorForced}, true},
		{"forced, and nothing would end it", config.Output{On: []site.Kind{site.KindDoorForced}},
			site.Event{Kind: site.KindLockAudit, As: site.KindDoorForced}, false},
		{"another meaning", config.Output{On: []site.Kind{site.KindDoorForced}, For: time.Minute},
			site.Event{Kind: site.KindLockAudit, As: site.KindExit}, false},
		{"tampering stands", config.Output{On: []site.Kind{site.KindTamper}},
			site.Event{Kind: site.KindLockAudit, As: site.KindTamper}, true},
	} {
		r := outputRule{cfg: tt.cfg}
		if got := r.take(&tt.ev); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}
