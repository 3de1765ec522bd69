package store

import (
	"gatehouse/agent/site"
	"gatehouse/agent/swordfish"
)

// LockLimit is a lock that keeps its cards itself, and what its model takes.
type LockLimit struct {
	Door    site.DoorID
	Profile *swordfish.Profile // must not be nil, and must not be changed
}
