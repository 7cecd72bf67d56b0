package main

import (
	"context"
	"math"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"

	"github.com/chronosdb/chronosdb/timer/clock"
)

const (
	// ceilingBytes is the memory of the process from which on garbage is collected early rather
	// than when the heap has doubled: most of a loaded server's heap is buffers for requests, which
	// are bounded and dear to double.
	ceilingBytes = 320 << 20
	// ceilingSlack times what is live is the least ceiling. Close above it, the collector would
	// take half of the processors.
	ceilingSlack = 1.25
	// ceilingInterval is the time between looks at what is live.
	ceilingInterval = time.Second
)

// ceiling keeps the Go runtime's soft memory limit at ceilingBytes, or above what is live.
type ceiling struct {
	stop context.CancelFunc
	done chan struct{}
}

// startCeiling does nothing where the operator has set a limit by GOMEMLIMIT.
func startCeiling(clk clock.Clock) *ceiling {
	ctx, cancel := context.WithCancel(context.Background())
	c := &ceiling{stop: cancel, done: make(chan struct{})}
	if os.Getenv("GOMEMLIMIT") != "" {
		close(c.done)
		return c
	}
	debug.SetMemoryLimit(ceilingBytes)
	// Stopped and waited for by close.
	go func() {
		defer close(c.done)
		defer debug.SetMemoryLimit(math.MaxInt64)
		watchCeiling(ctx, clk)
	}()
	return c
}

func watchCeiling(ctx context.Context, clk clock.Clock) {
	samples := []metrics.Sample{
		{Name: "/gc/heap/live:bytes"},
		{Name: "/memory/classes/total:bytes"},
		{Name: "/memory/classes/heap/released:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/unused:bytes"},
		{Name: "/memory/classes/heap/free:bytes"},
	}
	t := clk.NewTimer(ceilingInterval)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C():
		}
		metrics.Read(samples)
		value := func(i int) int64 { return int64(samples[i].Value.Uint64()) }
		// Stacks and the runtime's own memory count towards the limit, too.
		rest := value(1) - value(2) - value(3) - value(4) - value(5)
		debug.SetMemoryLimit(ceilingFor(value(0), rest))
		t.Reset(ceilingInterval)
	}
}

// ceilingFor is the limit for a heap of which so much is live, beside the rest of the process.
func ceilingFor(live, rest int64) int64 {
	return max(ceilingBytes, int64(ceilingSlack*float64(live))+rest)
}

func (c *ceiling) close() {
	c.stop()
	<-c.done
}
