package replication

import (
	"sync/atomic"

	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/timer/clock"
)

// AppendResult is what a Produce answer carries for a partition.
type AppendResult struct {
	// BaseOffset is the first record's offset, or -1 for a staged batch, whose records get theirs
	// when they are delivered.
	BaseOffset batch.Offset
	// LogAppendTime is the time that replaced the records' timestamps, or -1 if none did.
	LogAppendTime clock.UnixMs
	// LogStart is the partition log's first offset.
	LogStart batch.Offset
}

// Ack is the promise of an answer: it is done when the batch is below the high watermark, or has
// failed. A duplicate of a batch in flight shares the Ack of the original.
type Ack struct {
	// done is nil until somebody waits or it is known, whichever is first: of the many batches of
	// one request the writer waits for the first, and finds the others done.
	done   atomic.Pointer[chan struct{}]
	result AppendResult // constant once done
	err    error        // constant once done
}

// closedDone is the done of every Ack whose answer was known before anybody waited.
var closedDone = func() *chan struct{} {
	c := make(chan struct{})
	close(c)
	return &c
}()

func newAck(result AppendResult) *Ack { return &Ack{result: result} }

// Done is closed when Result has the answer.
func (a *Ack) Done() <-chan struct{} {
	if c := a.done.Load(); c != nil {
		return *c
	}
	c := make(chan struct{})
	if a.done.CompareAndSwap(nil, &c) {
		return c
	}
	return *a.done.Load()
}

// IsDone reports whether Result has the answer.
func (a *Ack) IsDone() bool { return a.done.Load() == closedDone }

// Result returns the answer; call it only after Done is closed or IsDone.
func (a *Ack) Result() (AppendResult, error) { return a.result, a.err }

// complete gives the answer, once.
func (a *Ack) complete(err error) {
	a.err = err
	if waited := a.done.Swap(closedDone); waited != nil {
		close(*waited)
	}
}

// waiting is an Ack and the offset that a mark must reach for it.
type waiting struct {
	need   batch.Offset
	dueNow bool // staging queue only: it must wait for its due-now records as well
	ack    *Ack
}

// ackQueue holds the acks of one log in the order of their offsets. Its length is bounded by the
// requests in flight, which the front end bounds by bytes.
type ackQueue struct {
	items []waiting
	head  int
}

// push adds an ack; needs never go down, so that only the head has to be looked at.
func (q *ackQueue) push(w waiting) {
	if n := len(q.items); n > q.head {
		w.need = max(w.need, q.items[n-1].need)
	}
	q.items = append(q.items, w)
}

// popReached appends to out every ack whose need the mark has reached.
func (q *ackQueue) popReached(mark batch.Offset, out []waiting) []waiting {
	for q.head < len(q.items) && q.items[q.head].need <= mark {
		out = append(out, q.items[q.head])
		q.items[q.head] = waiting{}
		q.head++
	}
	if q.head == len(q.items) {
		q.items, q.head = q.items[:0], 0
	} else if q.head > 1024 && q.head > len(q.items)/2 {
		q.items = append(q.items[:0], q.items[q.head:]...)
		q.head = 0
	}
	return out
}

// popAll empties the queue, for a partition that closes or fails.
func (q *ackQueue) popAll(out []waiting) []waiting {
	out = append(out, q.items[q.head:]...)
	q.items, q.head = nil, 0
	return out
}
