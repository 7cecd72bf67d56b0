package explore

import (
	"math/rand/v2"
	"testing"
)

const (
	// pointHistories is how many histories are cut at each of their syncs.
	pointHistories = 2
	// pointOps is how long such a history is. The work grows with the square.
	pointOps = 120
	// pointsMin is how many syncs such a history has at least.
	pointsMin = 40
)

// TestEveryCrashPoint cuts the power once between each two neighbouring syncs of a history, of which
// a clean stop and start are part: the same history again and again, one sync longer each time.
func TestEveryCrashPoint(t *testing.T) {
	for range pointHistories {
		seed := rand.Uint64()
		var sum totals
		point := 1
		for ; ; point++ {
			w := newWorld(seed)
			reached := false
			err := w.run(func() { reached = w.cutAtSync(point) })
			w.totals.delivered = w.oracle.Shown()
			sum.add(w.totals)
			if err != nil {
				t.Fatalf("power cut before sync %d of this test: %v", point, err)
			}
			if !reached {
				break
			}
		}
		t.Logf("seed %d: power cuts before each of %d syncs: %s", seed, point-1, sum.String())
		if point-1 < pointsMin {
			t.Errorf("seed %d: the history had %d syncs, at least %d must be", seed, point-1, pointsMin)
		}
	}
}

// cutAtSync runs a history in which the power goes before the sync of that number and at no other
// time. It reports whether there was such a sync.
func (w *world) cutAtSync(point int) (reached bool) {
	keep := []float64{0, 0.5, 1}[point%3]
	w.begin()
	w.producers = make([]*producer, 5)
	w.quiet = true
	w.arm(point, keep, anyPath)
	for i := range pointOps {
		switch i {
		case pointOps / 2:
			w.through(func() { w.note("restart"); w.restart() })
		case pointOps / 3, 2 * pointOps / 3:
			w.through(w.retain)
			w.through(func() { w.call("checkpoint", w.m.CheckpointAll) })
			w.through(func() { w.call("flush index", w.m.FlushIndex) })
		default:
			w.random()
		}
		if w.totals.crashes > 0 {
			break
		}
	}
	reached = w.totals.crashes > 0
	w.rest()
	w.finish()
	return reached || w.totals.crashes > 1
}
