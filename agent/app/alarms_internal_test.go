package app

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/agent/control"
	"gatehouse/agent/site"
)

// TestAlarmsThatHappen: a packet that was refused does not stand. Each cause and
// each device is an alarm of its own, and one after an acknowledgement is new.
func TestAlarmsThatHappen(t *testing.T) {
	at := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	refused := func(seq site.EventSeq, device site.DeviceName, text string) site.Event {
		return site.Event{Seq: seq, Time: at, Kind: site.KindFault, Device: device, Text: text, Count: 3}
	}
	ack := ackEvent(1, "eve")
	ack.Seq, ack.Time = 5, at
	var s alarmState
	for _, ev := range []site.Event{
		refused(1, "kiosk", "hive: wrong checksum"),
		refused(2, "kiosk", "hive: replayed or stale packet"),
		refused(3, "shed", "hive: wrong checksum"),
		refused(4, "kiosk", "hive: wrong checksum"),
		ack,
		refused(6, "kiosk", "hive: wrong checksum"),
		{Seq: 7, Time: at, Kind: site.KindFault, Device: "shed", Text: "reader offline"},
	} {
		s.apply(ev)
	}
	var got []control.Alarm
	for _, e := range s.List {
		got = append(got, e.Alarm)
	}
	alarm := func(id site.EventSeq, device site.DeviceName, text string) control.Alarm {
		return control.Alarm{ID: id, Kind: site.KindFault, Device: device, Text: text, Began: at, Ended: at, Times: 1}
	}
	offline := alarm(7, "shed", "reader offline")
	offline.Ended = time.Time{}
	want := []control.Alarm{alarm(2, "kiosk", "hive: replayed or stale packet"), alarm(3, "shed", "hive: wrong checksum"),
		alarm(6, "kiosk", "hive: wrong checksum"), offline}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}
