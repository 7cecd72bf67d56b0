package crash

import (
	"flag"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/chronosdb/chronosdb/log/invariant"
)

var (
	seedFlag  = flag.Uint64("crash.seed", 0, "the one seed to run, with every point; 0 runs many")
	seedsFlag = flag.Int("crash.seeds", defaultSeeds(), "how many seeds to run")
)

const (
	// historyOps is how many operations a history has.
	historyOps = 30
	// pointShare is the share of points that a history of many tries.
	pointShare = 0.2
)

// defaultSeeds is as many histories as take half a minute on two idle processors. The race detector
// makes them ten times slower.
func defaultSeeds() int {
	if invariant.Enabled {
		return 100
	}
	return 1000
}

// history runs one random history.
func (w *world) history(share float64) error {
	w.totals.seeds = 1
	if err := w.open(); err != nil {
		return err
	}
	w.hook.share = share
	for n := range historyOps {
		if err := w.do(w.random()); err != nil {
			return err
		}
		if n%8 == 7 {
			if err := w.liveLogs(); err != nil {
				return err
			}
		}
	}
	for i := range w.models { // every history ends at rest
		w.models[i].update(func(p *promise) {})
	}
	return w.do(classNamed(restartClass))
}

// runSeeds runs histories on all processors.
func runSeeds(t *testing.T, seeds []uint64, share float64) totals {
	t.Helper()
	var mu sync.Mutex
	sum := newTotals()
	next := make(chan uint64)
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		// Each ends when the seeds are used up; Wait below waits for it.
		wg.Go(func() {
			for seed := range next {
				w := newWorld(seed)
				err := w.run(func() error { return w.history(share) })
				mu.Lock()
				sum.add(&w.totals)
				if err != nil {
					t.Error(err)
				}
				mu.Unlock()
			}
		})
	}
	for chunk := range slices.Chunk(seeds, 16) {
		mu.Lock()
		failed := t.Failed()
		mu.Unlock()
		if failed {
			break
		}
		for _, seed := range chunk {
			next <- seed
		}
	}
	close(next)
	wg.Wait()
	return sum
}

// TestPoints cuts the power at some points of thousands of random histories.
func TestPoints(t *testing.T) {
	if *seedFlag != 0 {
		sum := runSeeds(t, []uint64{*seedFlag}, 1)
		t.Log(sum.String())
		return
	}
	began := time.Now()
	sum := runSeeds(t, randomSeeds(*seedsFlag), pointShare)
	t.Logf("%v: %s", time.Since(began), sum.String())
	if !t.Failed() {
		checkMinima(t, &sum)
	}
}

// TestEveryPoint cuts the power at every point of a few histories, and at every point of some of the
// recoveries.
func TestEveryPoint(t *testing.T) {
	if *seedFlag != 0 {
		t.Skip("one seed is run by TestPoints")
	}
	seeds := randomSeeds(max(2, *seedsFlag/everyPointOf))
	t.Logf("seeds %d", seeds)
	sum := runSeeds(t, seeds, 1)
	t.Log(sum.String())
	if least := everyPointMin * sum.seeds; !t.Failed() && sum.allPoints() < least {
		t.Errorf("%d power cuts in %d seeds, at least %d must be", sum.allPoints(), sum.seeds, least)
	}
}

const (
	// everyPointOf is how many seeds there are for each whose points are all tried.
	everyPointOf = 400
	// everyPointMin is the least number of power cuts in such a seed.
	everyPointMin = 1000
)

// TestFewPoints runs the same few histories every time: a first look that takes seconds. Each fault
// of log/mutant that is the log's makes it fail.
func TestFewPoints(t *testing.T) {
	seeds := make([]uint64, 60)
	for i := range seeds {
		seeds[i] = uint64(i + 1)
	}
	sum := runSeeds(t, seeds, pointShare)
	t.Log(sum.String())
}
