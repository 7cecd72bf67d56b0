package kafkaproto

import (
	"context"
	"fmt"
	"sync/atomic"

	"golang.org/x/sync/semaphore"

	"github.com/chronosdb/chronosdb/kafkaproto/api"
)

// frameBytesSmall divides the two lanes of the budget.
const frameBytesSmall = 64 << 10

// budget bounds the memory of all requests in flight. Small frames and large ones have a lane of
// their own, so that heartbeats never wait behind uploads, however slowly those arrive.
type budget struct {
	small, large *semaphore.Weighted
	smallBytes   int64
	largeBytes   int64
	inFlight     atomic.Int64 // bytes charged now, for the metrics
}

// newBudget divides the bytes: a quarter for small frames.
func newBudget(bytes int64) *budget {
	b := &budget{smallBytes: bytes / 4, largeBytes: bytes - bytes/4}
	b.small = semaphore.NewWeighted(b.smallBytes)
	b.large = semaphore.NewWeighted(b.largeBytes)
	return b
}

// charge is memory taken from one lane.
type charge struct {
	lane  *semaphore.Weighted
	owner *budget
	bytes int64
}

// acquire waits for the memory that a frame and its decoded form need.
func (b *budget) acquire(ctx context.Context, key int16, frameBytes int) (charge, error) {
	n := int64(frameBytes)
	c := charge{lane: b.large, owner: b, bytes: n + api.MemoryOf(key, n)}
	limit := b.largeBytes
	if frameBytes <= frameBytesSmall {
		c.lane, limit = b.small, b.smallBytes
	}
	// A single frame larger than its lane would wait for ever; it takes the whole lane instead.
	c.bytes = min(c.bytes, limit)
	if err := c.lane.Acquire(ctx, c.bytes); err != nil {
		return charge{}, fmt.Errorf("wait for request memory: %w", err)
	}
	b.inFlight.Add(c.bytes)
	return c, nil
}

// shrink gives back all but keep bytes.
func (c *charge) shrink(keep int64) {
	if keep >= c.bytes {
		return
	}
	c.lane.Release(c.bytes - keep)
	c.owner.inFlight.Add(keep - c.bytes)
	c.bytes = keep
}

// release gives everything back; again is harmless.
func (c *charge) release() {
	if c.lane != nil {
		c.shrink(0)
	}
}

// answerBudget bounds the memory of all large answers together. Requests never hold it, and who
// holds it waits for nothing but a socket with a deadline, so it cannot deadlock with budget.
type answerBudget struct {
	free     *semaphore.Weighted
	limit    int64
	inFlight atomic.Int64
}

func newAnswerBudget(bytes int64) *answerBudget {
	return &answerBudget{free: semaphore.NewWeighted(bytes), limit: bytes}
}

// Acquire implements api.Memory.
func (a *answerBudget) Acquire(ctx context.Context, n int64) error {
	if n > a.limit {
		return fmt.Errorf("an answer needs %d bytes, all answers together may have %d", n, a.limit)
	}
	if err := a.free.Acquire(ctx, n); err != nil {
		return fmt.Errorf("wait for answer memory: %w", err)
	}
	a.inFlight.Add(n)
	return nil
}

// TryAcquire implements api.Memory.
func (a *answerBudget) TryAcquire(n int64) bool {
	if n > a.limit || !a.free.TryAcquire(n) {
		return false
	}
	a.inFlight.Add(n)
	return true
}

// Release implements api.Memory.
func (a *answerBudget) Release(n int64) {
	a.free.Release(n)
	a.inFlight.Add(-n)
}
