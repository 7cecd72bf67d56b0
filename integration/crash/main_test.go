package crash

import (
	"os"
	"runtime"
	"runtime/debug"
	"testing"
)

// gcPercent makes collections rare: what lives is a few MiB, and without it a collection would come
// every ten milliseconds.
const gcPercent = 1000

// TestMain turns the sampling of allocations off. A history allocates little at a time on ever new
// stacks, each collection visits every stack that was ever sampled, and so a run of thousands of seeds
// would become slower with each of them. With -memprofile, give a -memprofilerate as well.
func TestMain(m *testing.M) {
	runtime.MemProfileRate = 0
	debug.SetGCPercent(gcPercent)
	os.Exit(m.Run())
}
