package explore

import (
	"errors"
	"strings"
	"testing"
)

// minimum is what there must be of something for an exploration to mean anything. A change that
// makes the histories tame would otherwise pass for ever.
type minimum struct {
	what    string
	of      func(t *totals) int64
	mean    int64 // per seed of fullOps operations, over all seeds: about half of what is usual
	atLeast int64 // in each single seed, far below the usual; 0 where chance decides
}

const (
	// fullOps is the length of history that the minima are for; a shorter one owes less.
	fullOps = 2000
	// meanSeeds is how many seeds it takes for the means to be steady.
	meanSeeds = 20
)

var minima = []minimum{
	{"operations", func(t *totals) int64 { return t.ops }, fullOps, fullOps},
	{"crashes", func(t *totals) int64 { return t.crashes }, 18, 5},
	{"crashes between two syncs", func(t *totals) int64 { return t.armed }, 9, 1},
	{"crashes during a start", func(t *totals) int64 { return t.startCrashes }, 1, 0},
	{"dropped bytes", func(t *totals) int64 { return t.dropped }, 60_000, 100},
	{"due records delivered", func(t *totals) int64 { return t.delivered }, 500, 1},
	{"kills", func(t *totals) int64 { return t.kills }, 3, 0},
	{"clean restarts", func(t *totals) int64 { return t.restarts }, 4, 0},
	{"deleted indexes", func(t *totals) int64 { return t.wipes }, 2, 0},
	{"retentions that deleted", func(t *totals) int64 { return t.retained }, 2, 0},
	{"acknowledged batches", func(t *totals) int64 { return t.acked }, 280, 50},
	{"batches of unknown outcome", func(t *totals) int64 { return t.unknown }, 60, 5},
	{"waits at the gate", func(t *totals) int64 { return t.gateWaits }, 30, 0},
	{"duplicates", func(t *totals) int64 { return t.duplicates }, 25, 1},
	{"refusals", func(t *totals) int64 { return t.refused }, 20, 0},
	{"compared indexes", func(t *totals) int64 { return t.indexChecks }, 2, 0},
	{"clock steps back", func(t *totals) int64 { return t.backSteps }, 5, 0},
}

// checkSeed fails the test when one history of so many operations had too little in it.
func checkSeed(t *testing.T, seed uint64, one *totals, ops int) {
	t.Helper()
	for _, m := range minima {
		if want := m.atLeast * int64(ops) / fullOps; m.of(one) < want {
			t.Errorf("seed %d had %d %s, at least %d must be", seed, m.of(one), m.what, want)
		}
	}
}

// checkMeans fails the test when the histories together had too little in them.
func checkMeans(t *testing.T, sum *totals, ops int) {
	t.Helper()
	if sum.seeds < meanSeeds {
		t.Logf("%d seeds are too few to demand the usual figures of", sum.seeds)
		return
	}
	for _, m := range minima {
		if want := m.mean * sum.seeds * int64(ops) / fullOps; m.of(sum) < want {
			t.Errorf("%d seeds had %d %s, at least %d must be", sum.seeds, m.of(sum), m.what, want)
		}
	}
}

var errTest = errors.New("a promise is broken")

// TestFailureReport shows that a failure says what broke, after which operations, and how to see it
// again.
func TestFailureReport(t *testing.T) {
	w := newWorld(77)
	err := w.run(func() {
		w.begin()
		for i := range 2 * opsKept {
			w.note("operation %d.", i)
		}
		w.must(errTest)
	})
	if err == nil {
		t.Fatal("a failed history is no error")
	}
	text := err.Error()
	for _, want := range []string{
		"seed 77: ", errTest.Error(), "operation 30.\n", "operation 59.\n",
		"go test ./integration/explore -run 'TestHistories$' -explore.seed=77 -explore.ops=",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the report lacks %q:\n%s", want, text)
		}
	}
	if strings.Contains(text, "operation 29.") {
		t.Errorf("the report has more than the last %d operations:\n%s", opsKept, text)
	}
}
