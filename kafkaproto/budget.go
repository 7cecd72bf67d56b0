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

const (
	// shareParts is how many connections it takes at least to fill a lane: one that holds memory
	// already is not read while the next request would take it beyond its part of the lane. What
	// counts of a produce request is only what stays after its first stage, which is over before
	// the next request is read: batches of a megabyte must not wait for each other's fsync.
	shareParts = 16
	// firstParts is the part of a lane that is kept for connections that hold nothing yet: many
	// that queue requests behind one that waits cannot take it from those with a single request.
	firstParts = 4
)

// budget bounds the memory of all requests in flight. Small frames and large ones have a lane of
// their own, so that heartbeats never wait behind uploads, however slowly those arrive.
type budget struct {
	small, large *lane
	inFlight     atomic.Int64 // bytes charged now, for the metrics
}

// lane is a part of the budget. Memory for a further request of a connection is taken from both
// semaphores, in the order of the fields.
type lane struct {
	further      *semaphore.Weighted
	furtherBytes int64 // of further, in all
	all          *semaphore.Weighted
	bytes        int64 // of all
}

func newLane(bytes int64) *lane {
	l := &lane{furtherBytes: bytes - bytes/firstParts, bytes: bytes}
	l.further, l.all = semaphore.NewWeighted(l.furtherBytes), semaphore.NewWeighted(bytes)
	return l
}

// newBudget divides the bytes: a quarter for small frames.
func newBudget(bytes int64) *budget {
	return &budget{small: newLane(bytes / 4), large: newLane(bytes - bytes/4)}
}

// share is what one connection holds of the budget. Its reader takes, its writer gives back.
type share struct {
	held  atomic.Int64
	freed chan struct{} // holds one sign that something was given back
}

func newShare() *share { return &share{freed: make(chan struct{}, 1)} }

// admits reports whether the connection may hold that much more of a lane. One that holds nothing
// may hold any request, or there would be requests that are never read.
func (s *share) admits(bytes, laneBytes int64) bool {
	held := s.held.Load()
	return held == 0 || held+bytes <= laneBytes/shareParts
}

// await waits until the share admits so much.
func (s *share) await(ctx context.Context, bytes, laneBytes int64) error {
	for !s.admits(bytes, laneBytes) {
		select {
		case <-s.freed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (s *share) give(bytes int64) {
	s.held.Add(-bytes)
	select {
	case s.freed <- struct{}{}:
	default:
	}
}

// charge is memory taken from one lane by one connection.
type charge struct {
	lane    *lane
	owner   *budget
	share   *share
	bytes   int64
	lasting int64 // part of bytes that may still be held when the next request is read
	growing int64 // part of bytes that is given back when the frame is there
	further bool  // not the connection's first: taken from both semaphores
}

// claim is what a frame and its decoded form need of the budget, before it is taken. The frame is
// read into a buffer of grant bytes, which grows.
func (b *budget) claim(s *share, key int16, frameBytes, grant int) charge {
	n := int64(frameBytes)
	c := charge{lane: b.large, owner: b, share: s}
	if frameBytes <= frameBytesSmall {
		c.lane = b.small
	}
	stays := int64(bufferBytes(frameBytes)) + api.MemoryOf(key, n)
	// A single frame larger than its lane would wait for ever; it takes the whole lane instead.
	stays = min(stays, c.lane.bytes)
	c.growing = min(int64(growingBytes(frameBytes, grant)), c.lane.bytes-stays)
	c.bytes = stays + c.growing
	if key != produceKey {
		c.lasting = stays
	}
	return c
}

// shareBytes is what the connection must have room for in its share. What would never fit beside
// anything waits until the connection holds nothing.
func (c *charge) shareBytes() int64 {
	if c.bytes > c.lane.furtherBytes {
		return c.bytes
	}
	return c.lasting
}

// try takes what is claimed if that is possible now.
func (c *charge) try() bool {
	if !c.share.admits(c.shareBytes(), c.lane.bytes) {
		return false
	}
	c.further = c.share.held.Load() > 0
	if c.further && !c.lane.further.TryAcquire(c.bytes) {
		return false
	}
	if !c.lane.all.TryAcquire(c.bytes) {
		if c.further {
			c.lane.further.Release(c.bytes)
		}
		return false
	}
	c.taken()
	return true
}

// acquire waits for what is claimed: for the connection's own requests, then for the others'.
func (c *charge) acquire(ctx context.Context) error {
	if err := c.share.await(ctx, c.shareBytes(), c.lane.bytes); err != nil {
		return fmt.Errorf("wait for the connection's earlier requests: %w", err)
	}
	c.further = c.share.held.Load() > 0
	if c.further {
		if err := c.lane.further.Acquire(ctx, c.bytes); err != nil {
			return fmt.Errorf("wait for request memory: %w", err)
		}
	}
	if err := c.lane.all.Acquire(ctx, c.bytes); err != nil {
		if c.further {
			c.lane.further.Release(c.bytes)
		}
		return fmt.Errorf("wait for request memory: %w", err)
	}
	c.taken()
	return nil
}

func (c *charge) taken() {
	c.owner.inFlight.Add(c.bytes)
	c.share.held.Add(c.bytes)
}

// shrink gives back all but keep bytes.
func (c *charge) shrink(keep int64) {
	if keep >= c.bytes {
		return
	}
	back := c.bytes - keep
	c.lane.all.Release(back)
	if c.further {
		c.lane.further.Release(back)
	}
	c.owner.inFlight.Add(-back)
	c.share.give(back)
	c.bytes = keep
}

// release gives everything back; again is harmless.
func (c *charge) release() {
	if c.lane != nil {
		c.shrink(0)
	}
}

// pieceParts is the part of the memory for answers that is kept for pieces: an eighth.
const pieceParts = 8

// answerBudget bounds the memory of all large answers together. Requests never hold it, and who
// holds it waits for nothing but a socket with a deadline, so it cannot deadlock with budget.
// Only pieces are waited for: one that waits for much would stand before all that need little.
type answerBudget struct {
	shared, pieces *semaphore.Weighted
	inFlight       atomic.Int64
}

func newAnswerBudget(bytes int64) *answerBudget {
	return &answerBudget{
		shared: semaphore.NewWeighted(bytes - bytes/pieceParts),
		pieces: semaphore.NewWeighted(bytes / pieceParts),
	}
}

// TryAcquire implements api.Memory.
func (a *answerBudget) TryAcquire(n int64) bool {
	if !a.shared.TryAcquire(n) {
		return false
	}
	a.inFlight.Add(n)
	return true
}

// Release implements api.Memory.
func (a *answerBudget) Release(n int64) {
	a.shared.Release(n)
	a.inFlight.Add(-n)
}

// AcquirePiece implements api.Memory.
func (a *answerBudget) AcquirePiece(ctx context.Context, n int64) error {
	if err := a.pieces.Acquire(ctx, n); err != nil {
		return fmt.Errorf("wait for answer memory: %w", err)
	}
	a.inFlight.Add(n)
	return nil
}

// ReleasePiece implements api.Memory.
func (a *answerBudget) ReleasePiece(n int64) {
	a.pieces.Release(n)
	a.inFlight.Add(-n)
}
