package app

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/agent/control"
	"gatehouse/agent/door"
	"gatehouse/agent/site"
)

// TestLockOrderEvents: an order to a lock on a line is recorded as one to a door is,
// the command and the mode; the end of a mode is nobody's command.
func TestLockOrderEvents(t *testing.T) {
	lockTest("all of them", t, func(t *testing.T, s *lockSite) {
		doors, ctx := siteDoors{&doorSet{}, s.a.lines}, s.t.Context()
		all := control.Target{All: true}
		_, down := doors.Lockdown(ctx, all, time.Time{}, "cli")
		_, up := doors.Release(ctx, all, "cli")
		err := errors.Join(down, up, doors.UnlockDoor(ctx, "vault", 0, "cli"), doors.LockDoor(ctx, "vault", "cli"), doors.AutoDoor(ctx, "vault", "cli"))
		if err != nil {
			t.Fatal(err)
		}
		if err := doors.SetMode(ctx, "vault", site.ModePassage, time.Now().Add(time.Minute), "cli"); !errors.Is(err, door.ErrNotKept) {
			t.Errorf("without a store: %v", err)
		}
		time.Sleep(2 * time.Minute)
		if _, err := doors.Lockdown(ctx, all, time.Now().Add(time.Minute), "cli"); !errors.Is(err, door.ErrNotKept) {
			t.Errorf("without a store: %v", err)
		}
		time.Sleep(2 * time.Minute)
		s.did("lockdown", "secured", "unlock", "secured", "secured", "passage", "secured", "lockdown", "secured")
		if d := cmp.Diff([]string{
			`command "" "lockdown" cli`, `mode "lockdown" "" cli`,
			`command "" "release" cli`, `mode "secured" "lockdown ended" cli`,
			`command "" "unlock" cli`,
			`command "" "lock" cli`, `mode "secured" "" cli`,
			`command "" "auto" cli`, `mode "secured" "" cli`,
			`command "passage" "mode" cli`, `mode "passage" "" cli`,
			`mode "secured" "" end`,
			`command "" "lockdown" cli`, `mode "lockdown" "" cli`,
			`mode "secured" "lockdown ended" end`,
		}, s.orders()); d != "" {
			t.Errorf("events (-want +got):\n%s", d)
		}
	})
}
