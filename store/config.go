package store

import "time"

// Config is where the store lives and how it is copied, validated.
type Config struct {
	Dir string // STATE
	// CopyEvery is the time between verified background copies; zero: only
	// after bulk changes and on request.
	CopyEvery time.Duration
	// MapSize is the size of the memory map that the policy file opens with,
	// so that growth never waits for a reader. Zero: by the platform.
	MapSize int
}
