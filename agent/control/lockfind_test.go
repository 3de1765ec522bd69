package control_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/agent/control"
)

func TestLockFindings(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	now := night.Add(30 * time.Hour).In(berlin)
	good := control.LockStatus{ID: "room5", Serial: "A1", Line: control.LockWiFi, Called: now.Add(-6 * time.Hour), Next: now.Add(18 * time.Hour), Has: version(night), Battery: "normal"}
	for _, tt := range []struct {
		name string
		set  func(l *control.LockStatus)
		want []string // each finding: WRONG or note, and parts of it
	}{
		{"a good lock", func(*control.LockStatus) {}, nil},
		{"behind since this morning", func(l *control.LockStatus) { l.Behind, l.BehindSince = true, now.Add(-24*time.Hour) }, nil},
		{"behind for longer than a day", func(l *control.LockStatus) { l.Behind, l.BehindSince, l.Changes = true, now.Add(-25*time.Hour), 1 },
			[]string{"WRONG|lock room5 lacks 1 change for more than a day|behind since 2026-11-22 08:10|revoked"}},
		{"behind, nobody knows since when, with no call for a day", func(l *control.LockStatus) {
			l.Behind, l.Changes, l.Called = true, control.FullFile, now.Add(-25*time.Hour)
		}, []string{"WRONG|lacks a whole table|not called since 2026-11-22 08:10"}},
		{"late", func(l *control.LockStatus) { l.Late, l.Called, l.Next = true, night, now.Add(-time.Hour) },
			[]string{"WRONG|lock room5 is late|2026-11-22 03:10|the one of 2026-11-23 08:10 did not come|its table of 2026-11-22 03:10"}},
		{"refused after its last call", func(l *control.LockStatus) { l.Refused, l.RefusedAt = "token: wrong key", now },
			[]string{"WRONG|lock room5 was refused at 2026-11-23 09:10|token: wrong key|site.key_file"}},
		{"refused before its last call", func(l *control.LockStatus) { l.Refused, l.RefusedAt = "token: wrong key", night }, nil},
		{"never called, and it is time", func(l *control.LockStatus) { l.Called, l.Late, l.Has = time.Time{}, true, 0 },
			[]string{"WRONG|lock room5 has never called|serial A1|no table"}},
		{"never called, just named", func(l *control.LockStatus) { l.Called, l.Has = time.Time{}, 0 }, []string{"note|lock room5 has never called"}},
		{"offline", func(l *control.LockStatus) { l.Line, l.Device, l.Has, l.Late = control.LockSerial, "vault", 5, true },
			[]string{"WRONG|lock room5 is offline|device vault|table 0x0000000000000005|wires"}},
		{"online", func(l *control.LockStatus) { l.Line, l.Online = control.LockSerial, true }, nil},
		{"low battery", func(l *control.LockStatus) { l.Battery, l.Main = "Low", 4.95 }, []string{"WRONG|the battery of lock room5 is low|4.95 V"}},
		{"critical battery", func(l *control.LockStatus) { l.Battery = "critical" }, []string{"WRONG|is critical"}},
		{"losses", func(l *control.LockStatus) { l.Losses, l.Lost = []string{"c1: counted uses are left out"}, 3 },
			[]string{"note|does not hold all|c1: counted uses are left out (and 2 more)|gatehouse lock show room5"}},
		{"refused, behind and low", func(l *control.LockStatus) {
			l.Refused, l.Behind, l.BehindSince, l.Battery = "no token", true, night, "low"
		}, []string{"WRONG|refused|which has changed since", "WRONG|lacks changes", "WRONG|battery"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := good
			tt.set(&l)
			got := control.LockFindings([]control.LockStatus{good, l}, now)
			if len(got) != len(tt.want) {
				t.Fatalf("%+v", got)
			}
			for i, f := range got {
				text := "note|"
				if f.Wrong {
					text = "WRONG|"
				}
				text += f.What + "|" + f.Cause + "|" + f.Do
				for _, part := range strings.Split(tt.want[i], "|") {
					if !strings.Contains(text, part) {
						t.Errorf("no %q in %s", part, text)
					}
				}
			}
		})
	}
}

func TestPendingFindings(t *testing.T) {
	got := control.PendingFindings([]control.PendingLock{{Serial: "A7", Calls: 1, Last: night, Address: "192.0.2.7"}}, night)
	want := []control.Finding{{What: "a lock calls that the settings do not name: A7", Cause: "1 call from 192.0.2.7, the last one at 2026-11-22 02:10; it gets nothing",
		Do: "if it is yours, name it under locks and restart; gatehouse lock list has the line to add"}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}
