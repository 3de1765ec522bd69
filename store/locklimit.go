package store

import (
	"fmt"

	"gatehouse/agent/site"
	"gatehouse/agent/swordfish"
)

// LockLimit is a lock that keeps its cards itself, and what its model takes
// (engage.md section 5).
//
// A user of the lock is a card, of whatever length, with a record that reaches the
// door by itself, by a level or by the door's file, is active, is not over at a
// trusted clock's time and whose function is not blocked, unless an operator's
// record of the card is revoked or blocked. Apply, Import and CommitFile refuse what
// would leave more users than Profile.Users, or schedules that Profile.Fits refuses.
// A change after which the lock has no more users and nobody a further schedule is
// never refused, not even where the lock holds too much already, which it may from
// before it was named or by a recovery.
type LockLimit struct {
	Door    site.DoorID
	Profile *swordfish.Profile // must not be nil, and must not be changed
}

// checkLocksConfig checks Config.Locks.
func checkLocksConfig(locks []LockLimit) error {
	seen := make(map[site.DoorID]bool, len(locks))
	for _, l := range locks {
		if err := site.CheckID(string(l.Door)); err != nil {
			return fmt.Errorf("lock: %w", err)
		}
		if l.Profile == nil {
			return fmt.Errorf("lock %s: it has no profile", l.Door)
		}
		if seen[l.Door] {
			return fmt.Errorf("lock %s: stands twice", l.Door)
		}
		seen[l.Door] = true
	}
	return nil
}

// lockOver is a lock that a change does not fit.
type lockOver struct {
	record int // of the change, 0: not known
	err    error
}

// lockState is what the store remembers of its locks from change to change. The
// store's writer guards it.
type lockState struct {
	names *scheduleNames
	pol   *lockPolicy // of the last change that asked
	// change is the change up to which the following holds; what a change knows
	// nothing of it, an import say, leaves it behind, and it is counted anew.
	change uint64
	known  []knownLock
}

// knownLock bounds what a lock holds, from above: each change adds to it, and it is
// counted anew only where it is over the limit.
type knownLock struct {
	ok   bool
	fits bool // the sets were asked for since they changed
	lockCount
}

func (s *Store) lockDoors() []site.DoorID {
	out := make([]site.DoorID, len(s.cfg.Locks))
	for i := range s.cfg.Locks {
		out[i] = s.cfg.Locks[i].Door
	}
	return out
}

// forgetLocks says that the file is another one. The writer is held, or nobody else
// has the store.
func (s *Store) forgetLocks() { s.locks = lockState{} }
