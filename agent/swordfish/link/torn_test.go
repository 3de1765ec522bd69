package link_test

import (
	"slices"
	"testing"
)

// TestStoredWithoutItsVersion: a lock that stored a door file and says the version
// before is rid of a card that came with it and was revoked since, however many
// answers were lost in between; until then the card is named as one that still opens.
func TestStoredWithoutItsVersion(t *testing.T) {
	for _, lost := range []int{0, 1, 2} {
		w := newWorld(t)
		lock := &testLock{}
		w.policy.set("room5", 1)
		w.get(serial1, lock, false)
		before := lock.version
		w.policy.set("room5", 1, 2)
		w.get(serial1, lock, false)
		lock.version = before
		w.policy.set("room5", 1)
		for range lost {
			if f := w.get(serial1, lock, true); f.DB.Records.DeleteAll != 1 {
				t.Errorf("%d lost: %+v", lost, f)
			}
			if got := w.srv.Holders(blockOf(2)); len(got) != 1 {
				t.Errorf("%d lost: the card is at %+v", lost, got)
			}
			w.open()
		}
		w.get(serial1, lock, false)
		if got := lock.holds(); !slices.Equal(got, []int{1}) {
			t.Errorf("%d lost: holds %v", lost, got)
		}
		if f := w.get(serial1, lock, false); f.DB.Records.DeleteAll != 0 || w.status("room5").Users != 1 {
			t.Errorf("%d lost: afterwards %+v", lost, f)
		}
		if got := w.srv.Holders(blockOf(2)); len(got) != 0 {
			t.Errorf("%d lost: afterwards the card is at %+v", lost, got)
		}
	}
}

// TestStoredAgain: the same file once more is changes, also where the lock had stored
// it without its version.
func TestStoredAgain(t *testing.T) {
	w := newWorld(t)
	lock := &testLock{}
	w.policy.set("room5", 1)
	w.get(serial1, lock, false)
	w.policy.set("room5", 1, 2)
	w.get(serial1, lock, true)
	if f := w.get(serial1, lock, false); f.DB.Records.DeleteAll != 0 || len(f.DB.Records.Add) != 1 {
		t.Errorf("%+v", f)
	}
}
