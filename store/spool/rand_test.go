package spool_test

import (
	"flag"
	"math/rand/v2"
	"testing"
	"time"
)

var seedFlag = flag.Uint64("seed", 0, "seed of the random tests; 0: a new one")

// seeded returns a source whose seed is printed when the test fails.
func seeded(t testing.TB) *rand.Rand {
	t.Helper()
	seed := *seedFlag
	if seed == 0 {
		seed = uint64(time.Now().UnixNano()) ^ rand.Uint64()
	}
	t.Logf("seed %d (run with -seed %d)", seed, seed)
	return rand.New(rand.NewPCG(seed, 0))
}
