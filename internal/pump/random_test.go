package pump

import (
	"flag"
	"math/rand/v2"
	"testing"
)

// Random tests print a seed when they fail; with -seed they repeat that case alone
// (with -count as often as it takes). -long runs many more of them.
var (
	long    = flag.Bool("long", false, "run random tests for minutes")
	theSeed = flag.Uint64("seed", 0, "repeat this case of a random test")
)

// runs is how many cases a random test runs that has n in the usual mode.
func runs(n int) int {
	switch {
	case *theSeed != 0:
		return 1
	case *long:
		return 50 * n
	case testing.Short() || raceEnabled:
		return max(1, n/5)
	}
	return n
}

func nextSeed() uint64 {
	if *theSeed != 0 {
		return *theSeed
	}
	return rand.Uint64() | 1
}
