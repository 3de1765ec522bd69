package control_test

import (
	"testing"
	"time"

	"gatehouse/agent/control"
)

// A lock has the worst state that is so of it; one that was not compared with the
// policy yet is never ok.
func TestStateOf(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name string
		lock control.LockStatus
		want control.LockState
	}{
		{"never called", control.LockStatus{Line: control.LockWiFi, Unchecked: true}, control.LockUnseen},
		{"not compared", control.LockStatus{Line: control.LockWiFi, Called: now, Unchecked: true}, control.LockChecking},
		{"behind before it was compared", control.LockStatus{Line: control.LockWiFi, Called: now, Unchecked: true, Behind: true}, control.LockBehind},
		{"late", control.LockStatus{Line: control.LockWiFi, Called: now, Late: true, Behind: true}, control.LockLate},
		{"refused", control.LockStatus{Line: control.LockWiFi, Called: now, Late: true, Refused: "why", RefusedAt: now.Add(time.Second)}, control.LockRefused},
		{"a line that is silent", control.LockStatus{Line: control.LockSerial, Called: now, Late: true}, control.LockOffline},
		{"all well", control.LockStatus{Line: control.LockSerial, Online: true, Called: now}, control.LockOK},
	} {
		if got := control.StateOf(&tt.lock); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}
