package app

import (
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gatehouse/agent/notify"
	"gatehouse/agent/site"
)

// A receiver that names no kinds gets each alarm that a person should
// acknowledge, but duress.
func TestNotifyKinds(t *testing.T) {
	want := maps.Clone(alarmKinds)
	delete(want, site.KindDuress)
	got := map[site.Kind]bool{}
	for _, k := range notify.AlarmKinds() {
		got[k] = true
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(got))); diff != "" {
		t.Errorf("(-alarms +sent):\n%s", diff)
	}
}
