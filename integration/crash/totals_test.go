package crash

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// totals are what histories had in them: figures that show whether a run means anything.
type totals struct {
	seeds    int64
	dropped  int64            // bytes that power cuts took
	recycled int64            // new uses of a file of the journal
	replaced int64            // segments that compaction replaced
	ops      map[string]int64 // by class
	points   map[string]int64 // power cuts, by class
}

func newTotals() totals {
	return totals{ops: make(map[string]int64), points: make(map[string]int64)}
}

func (t *totals) add(o *totals) {
	t.seeds += o.seeds
	t.dropped += o.dropped
	t.recycled += o.recycled
	t.replaced += o.replaced
	for name, n := range o.ops {
		t.ops[name] += n
	}
	for name, n := range o.points {
		t.points[name] += n
	}
}

func (t *totals) allPoints() (sum int64) {
	for _, n := range t.points {
		sum += n
	}
	return sum
}

// String lists operations and power cuts of each class.
func (t *totals) String() string {
	names := make([]string, 0, len(t.points))
	for name := range t.points {
		names = append(names, name)
	}
	slices.Sort(names)
	var b strings.Builder
	fmt.Fprintf(&b, "%d seeds, %d power cuts, %d bytes dropped, %d journal files recycled,"+
		" %d segments compacted", t.seeds, t.allPoints(), t.dropped, t.recycled, t.replaced)
	for _, name := range names {
		fmt.Fprintf(&b, "\n%28s: %6d operations, %7d power cuts", name, t.ops[name], t.points[name])
	}
	return b.String()
}

// minimaSeeds is how many seeds it takes for the figures to be steady.
const minimaSeeds = 20

// checkMinima fails the test when a run was tamer than runs of this length are.
func checkMinima(t *testing.T, sum *totals) {
	t.Helper()
	if sum.seeds < minimaSeeds {
		return
	}
	for _, c := range classes {
		ops, points := c.opsMin*sum.seeds/1000, c.pointsMin*sum.seeds/1000
		if sum.ops[c.name] < ops || sum.points[c.name] < points || points == 0 {
			t.Errorf("%s: %d operations and %d power cuts in %d seeds, at least %d and %d must be", c.name,
				sum.ops[c.name], sum.points[c.name], sum.seeds, ops, points)
		}
	}
	if sum.points[recoveryClass] < recoveryPointsMin*sum.seeds/1000 {
		t.Errorf("%d power cuts within recoveries of %d seeds", sum.points[recoveryClass], sum.seeds)
	}
	if sum.replaced < replacedMin*sum.seeds/1000 {
		t.Errorf("%d segments compacted in %d seeds", sum.replaced, sum.seeds)
	}
	if sum.dropped < droppedMin*sum.seeds/1000 || sum.recycled < recycledMin*sum.seeds/1000 {
		t.Errorf("%d bytes dropped and %d journal files recycled in %d seeds", sum.dropped, sum.recycled, sum.seeds)
	}
}

// Of a thousand seeds.
const (
	recoveryPointsMin = 40_000
	droppedMin        = 20_000_000
	recycledMin       = 180
	replacedMin       = 200
)
