package api

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronosdb/chronosdb/timer/clock"
)

// Reply is the answer to one request, which may not be known yet. It is made by the goroutine
// that reads the connection and used by the one that writes it, never by both at once.
type Reply interface {
	// Ready reports whether AppendBody would return without waiting, so that the writer can
	// send what it has collected before it waits.
	Ready() bool
	// Held is how many bytes of memory the reply keeps of its request.
	Held() int64
	// AppendBody waits for the answer and appends its body to dst. An error closes the
	// connection.
	AppendBody(w *Waiter, dst []byte) ([]byte, error)
}

// Memory is the budget from which large answers take their memory.
type Memory interface {
	// Acquire waits for n bytes.
	Acquire(ctx context.Context, n int64) error
	// TryAcquire takes n bytes if they are free now.
	TryAcquire(n int64) bool
	// Release gives n bytes back.
	Release(n int64)
}

// Waiter is what a reply waits with: one per connection, used by its writer only.
type Waiter struct {
	// Ctx ends with the connection.
	Ctx context.Context
	// Drain is closed when the server goes down: who waits for more data stops waiting.
	Drain <-chan struct{}
	// Clock makes the one timer that all waits of the connection share.
	Clock clock.Clock
	// Memory is the budget of answers.
	Memory Memory
	// Grow returns a buffer with the content of p and room for n more bytes, and takes p back.
	Grow func(p []byte, n int) []byte
	// Shrink returns a buffer with the content of p that is no larger than it must be, for a
	// wait, and takes p back.
	Shrink func(p []byte) []byte

	timer    clock.Timer
	reserved int64
}

// arm starts the shared timer. The caller must disarm it.
func (w *Waiter) arm(d time.Duration) <-chan time.Time {
	if w.timer == nil {
		w.timer = w.Clock.NewTimer(d)
	} else {
		w.timer.Reset(d)
	}
	return w.timer.C()
}

func (w *Waiter) disarm() { w.timer.Stop() }

// reserve waits for memory for the answer. It stays reserved until ReleaseReserved.
func (w *Waiter) reserve(n int64) error {
	if err := w.Memory.Acquire(w.Ctx, n); err != nil {
		return err
	}
	w.reserved += n
	return nil
}

// tryReserve takes memory for the answer if there is some now.
func (w *Waiter) tryReserve(n int64) bool {
	if !w.Memory.TryAcquire(n) {
		return false
	}
	w.reserved += n
	return true
}

// unreserve gives back what turned out not to be needed. n may be negative: a first batch may be
// larger than what was reserved for it, which is too late to refuse.
func (w *Waiter) unreserve(n int64) {
	if n > 0 {
		w.Memory.Release(n)
		w.reserved -= n
	}
}

// ReleaseReserved gives the memory of answers back once they have been written.
func (w *Waiter) ReleaseReserved() {
	if w.reserved > 0 {
		w.Memory.Release(w.reserved)
		w.reserved = 0
	}
}

// ready is an answer that is known already. held is what it takes where that is more than little.
type ready struct {
	kmsg.Response
	held int64
}

func (ready) Ready() bool { return true }

func (r ready) Held() int64 { return r.held }

func (r ready) AppendBody(_ *Waiter, dst []byte) ([]byte, error) {
	return r.AppendTo(dst), nil
}

// heldAll says that a reply keeps its whole request.
const heldAll = -1

// inTurn is an answer that is made when its turn comes: after all answers before it on this
// connection are complete. So a client that does not wait sees what its own earlier requests
// did, as it would from Kafka, which handles one request of a connection at a time.
type inTurn func(w *Waiter) (kmsg.Response, error)

func (inTurn) Ready() bool { return false }

func (inTurn) Held() int64 { return heldAll }

func (f inTurn) AppendBody(w *Waiter, dst []byte) ([]byte, error) {
	r, err := f(w)
	if err != nil {
		return dst, err
	}
	return r.AppendTo(dst), nil
}

// promise is an answer that another goroutine gives, once.
type promise struct {
	given chan kmsg.Response
	held  int64
}

// newPromise returns one to whose fulfilment so many bytes of the request are needed.
func newPromise(held int64) promise { return promise{make(chan kmsg.Response, 1), held} }

// keep gives the answer. It never blocks, because it is called once.
func (p promise) keep(r kmsg.Response) { p.given <- r }

func (p promise) Ready() bool { return len(p.given) > 0 }

func (p promise) Held() int64 { return p.held }

func (p promise) AppendBody(w *Waiter, dst []byte) ([]byte, error) {
	select {
	case r := <-p.given:
		return r.AppendTo(dst), nil
	default:
	}
	select {
	case r := <-p.given:
		return r.AppendTo(dst), nil
	case <-w.Ctx.Done():
		return dst, w.Ctx.Err()
	case <-w.Drain:
		return dst, errDraining
	}
}
