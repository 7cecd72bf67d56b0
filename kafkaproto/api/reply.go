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

// Memory is the budget from which large answers take their memory. Nobody waits for much of it, so
// a few who hold much keep nobody waiting: who gets none of what all share answers with one piece.
type Memory interface {
	// TryAcquire takes n bytes if they are free now.
	TryAcquire(n int64) bool
	// Release gives n bytes back.
	Release(n int64)
	// AcquirePiece waits for n bytes, at most FetchPieceBytes, of what is kept for pieces.
	AcquirePiece(ctx context.Context, n int64) error
	// ReleasePiece gives n bytes of those back.
	ReleasePiece(n int64)
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
	// Clip returns a buffer with the content of p and no more room, and takes p back.
	Clip func(p []byte) []byte

	timer    clock.Timer
	reserved reservation
	parked   time.Duration // of the answer that is being made
}

// TakeParked returns how long the answer that was made last was parked.
func (w *Waiter) TakeParked() time.Duration {
	d := w.parked
	w.parked = 0
	return d
}

// reservation is memory taken for answers: of what all share, and of what is kept for pieces.
type reservation struct{ shared, pieces int64 }

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

// tryReserve takes memory for the answer if there is some now. It stays reserved until
// ReleaseReserved.
func (w *Waiter) tryReserve(n int64) (reservation, bool) {
	if !w.Memory.TryAcquire(n) {
		return reservation{}, false
	}
	w.reserved.shared += n
	return reservation{shared: n}, true
}

// reservePiece waits for a little memory for the answer.
func (w *Waiter) reservePiece(n int64) (reservation, error) {
	if err := w.Memory.AcquirePiece(w.Ctx, n); err != nil {
		return reservation{}, err
	}
	w.reserved.pieces += n
	return reservation{pieces: n}, nil
}

// settle makes of a reservation one of n bytes. A first batch may be larger than what was reserved
// for it, which is too late to refuse; it is counted if there is memory.
func (w *Waiter) settle(r reservation, n int64) {
	w.keep(r, n)
	if over := n - r.shared - r.pieces; over > 0 {
		w.tryReserve(over)
	}
}

// fit charges an answer for the whole buffer that it is in until the socket has taken it. If that
// is much larger, or there is no memory for what is not used of it, a smaller one takes its place.
// What was reserved before the answer was begun is for something else.
func (w *Waiter) fit(p []byte, before reservation) []byte {
	if cap(p) > fetchSlackFactor*len(p) {
		p = w.Shrink(p)
	}
	if w.cover(p, before) {
		return p
	}
	p = w.Clip(p)
	w.cover(p, before) // What is over now was too late to refuse before: it is counted as settle does.
	return p
}

// cover reserves what a buffer takes beyond what was reserved since then, if there is memory.
func (w *Waiter) cover(p []byte, before reservation) bool {
	has := w.reserved.shared - before.shared + w.reserved.pieces - before.pieces
	over := int64(cap(p)) - has
	if over <= 0 {
		return true
	}
	_, ok := w.tryReserve(over)
	return ok
}

// keep gives back what was reserved above n bytes of r.
func (w *Waiter) keep(r reservation, n int64) {
	if back := r.shared - n; r.shared > 0 && back > 0 {
		w.Memory.Release(back)
		w.reserved.shared -= back
	}
	if back := r.pieces - n; r.pieces > 0 && back > 0 {
		w.Memory.ReleasePiece(back)
		w.reserved.pieces -= back
	}
}

// backTo gives back what was reserved since then.
func (w *Waiter) backTo(then reservation) {
	w.keep(reservation{shared: w.reserved.shared - then.shared}, 0)
	w.keep(reservation{pieces: w.reserved.pieces - then.pieces}, 0)
}

// ReleaseReserved gives the memory of answers back once they have been written.
func (w *Waiter) ReleaseReserved() { w.backTo(reservation{}) }

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

// topicChange is an answer in its turn that makes or removes topics.
type topicChange struct{ inTurn }

// promise is an answer that another goroutine gives, once. It is waited for as long as there is the
// connection, also while the server goes down: what it speaks of may be done already.
type promise struct {
	given chan kmsg.Response
	held  int64
	// drained makes the answer of one that is not waited for when the server goes down, because
	// it needs other clients to come first; nil for all others.
	drained func() kmsg.Response
}

// newPromise returns one to whose fulfilment so many bytes of the request are needed.
func newPromise(held int64) promise {
	return promise{given: make(chan kmsg.Response, 1), held: held}
}

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
	var drain <-chan struct{}
	if p.drained != nil {
		drain = w.Drain
	}
	select {
	case r := <-p.given:
		return r.AppendTo(dst), nil
	case <-w.Ctx.Done():
		return dst, w.Ctx.Err()
	case <-drain:
		return p.drained().AppendTo(dst), nil
	}
}
