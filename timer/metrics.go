package timer

import (
	"math"
	"sync/atomic"
	"time"
)

// LatenessBucketsMs are the upper bounds of the lateness histogram in milliseconds.
var LatenessBucketsMs = [...]float64{
	0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 30_000, 60_000,
}

// Stats is a snapshot of a schedule's counters.
type Stats struct {
	Pending    int64  // records that wait
	NextDue    UnixMs // due time of the first of them, exact or a lower bound
	HasNext    bool   // whether NextDue means anything
	Delivered  int64  // records appended to the partition log since Open
	Settled    int64  // deliveries that Settle wrote into settlement batches since Open
	Retries    int64  // delivery appends that failed for space and were put back
	HeldBack   int64  // deliveries put back because the clock stepped back before the append
	Rewinds    int64  // times the near window was thrown away after the clock stepped back
	NearLength int64  // entries in memory: wheel, ready and in flight
	NearBytes  int64  // memory that the near window holds
	Cancelled  int64  // records dropped by a cancel since Open
	IdleCancel int64  // cancels and other commands since Open of what was not there, or just delivered
	Moved      int64  // records moved by an operator since Open
	Paused     bool   // an operator has paused the deliveries
	Replaced   int64  // records replaced by one with their id since Open
	Expired    int64  // records dropped at their expiry since Open
	InFlight   int64  // entries delivered but not below the partition log's high watermark
	// LatenessCount counts observed lateness by bucket of LatenessBucketsMs, not cumulative; the
	// last element counts what is above all bounds. Lateness is the time at which the schedule saw
	// a delivery below the high watermark, minus its due time, or minus its append time if it was
	// due by then.
	LatenessCount [len(LatenessBucketsMs) + 1]int64
	LatenessSumMs float64 // sum of all observed lateness
}

// counters are the live form of Stats: written by the turn (Settled by Settle), read by anyone.
type counters struct {
	pending, nextDue                atomic.Int64 // nextDue is MaxInt64 when nothing waits
	delivered, settled, retries     atomic.Int64
	heldBack, rewinds               atomic.Int64
	cancelled, idleCancels          atomic.Int64
	replaced, expired, moved        atomic.Int64
	paused                          atomic.Bool
	nearLength, nearBytes, inFlight atomic.Int64
	lateness                        [len(LatenessBucketsMs) + 1]atomic.Int64
	latenessSumMicros               atomic.Int64
}

// observe takes one lateness.
func (c *counters) observe(late time.Duration) {
	ms := float64(late) / float64(time.Millisecond)
	i := 0
	for i < len(LatenessBucketsMs) && ms > LatenessBucketsMs[i] {
		i++
	}
	c.lateness[i].Add(1)
	c.latenessSumMicros.Add(late.Microseconds())
}

// count adds what became of records, and empties n.
func (c *counters) count(n *settledCount) {
	c.cancelled.Add(n.cancelled)
	c.idleCancels.Add(n.idle)
	c.replaced.Add(n.replaced)
	c.expired.Add(n.expired)
	c.moved.Add(n.moved)
	*n = settledCount{}
}

// snapshot returns the counters.
func (c *counters) snapshot() Stats {
	next := c.nextDue.Load()
	s := Stats{
		Pending:       c.pending.Load(),
		Delivered:     c.delivered.Load(),
		Settled:       c.settled.Load(),
		Retries:       c.retries.Load(),
		HeldBack:      c.heldBack.Load(),
		Rewinds:       c.rewinds.Load(),
		NearLength:    c.nearLength.Load(),
		NearBytes:     c.nearBytes.Load(),
		InFlight:      c.inFlight.Load(),
		Cancelled:     c.cancelled.Load(),
		IdleCancel:    c.idleCancels.Load(),
		Replaced:      c.replaced.Load(),
		Expired:       c.expired.Load(),
		Moved:         c.moved.Load(),
		Paused:        c.paused.Load(),
		LatenessSumMs: float64(c.latenessSumMicros.Load()) / 1000,
	}
	if next != math.MaxInt64 {
		s.NextDue, s.HasNext = UnixMs(next), true
	}
	for i := range c.lateness {
		s.LatenessCount[i] = c.lateness[i].Load()
	}
	return s
}
