package main

import (
	"math"
	"runtime/debug"
	"testing"

	"github.com/chronosdb/chronosdb/timer/clock"
)

func TestCeiling(t *testing.T) {
	for _, c := range []struct{ live, rest, want int64 }{
		{0, 0, ceilingBytes},
		{100 << 20, 50 << 20, ceilingBytes},
		// Never near what is live: the collector would do nothing else.
		{400 << 20, 50 << 20, 550 << 20},
	} {
		if got := ceilingFor(c.live, c.rest); got != c.want {
			t.Errorf("%d live and %d beside give %d, want %d", c.live, c.rest, got, c.want)
		}
	}
	t.Setenv("GOMEMLIMIT", "")
	before := debug.SetMemoryLimit(-1)
	defer debug.SetMemoryLimit(before)
	running := startCeiling(clock.Real())
	if got := debug.SetMemoryLimit(-1); got != ceilingBytes {
		t.Errorf("the limit is %d", got)
	}
	running.close()
	if got := debug.SetMemoryLimit(-1); got != math.MaxInt64 {
		t.Errorf("after the end the limit is %d", got)
	}
	t.Setenv("GOMEMLIMIT", "1GiB")
	debug.SetMemoryLimit(1 << 30)
	startCeiling(clock.Real()).close()
	if got := debug.SetMemoryLimit(-1); got != 1<<30 {
		t.Errorf("the operator's limit became %d", got)
	}
}
