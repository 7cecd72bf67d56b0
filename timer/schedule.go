package timer

import (
	"errors"

	"go.uber.org/zap"

	"github.com/chronosdb/chronosdb/log"
	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/timer/clock"
)

// Sink takes deliveries. Deliver appends b to the partition log (it stamps offset and epoch in
// place) and returns the log's new end. A log.ErrNoSpace leaves the records armed; any other error
// ends the schedule. It is called with the schedule's turn held, so it must not wait for a turn.
type Sink interface {
	Deliver(b batch.Batch) (end Offset, err error)
}

// Options are what a Schedule needs. Zero values of the numbers mean the defaults.
type Options struct {
	Partition PartitionNumber
	Staging   *log.Log // recovered to its end and flushed
	Visible   *log.Log // the partition log, likewise
	Index     Index
	Clock     clock.Clock
	Sink      Sink

	TickMs        int                        // due times are looked at on multiples of it; default 1
	WheelSlots    int                        // ticks that the wheel spans; default 65,536
	NearMax       int                        // most entries in memory; default 262,144
	MaxBatchBytes func() int                 // largest delivery batch; default 1 MiB
	Codec         func() (batch.Codec, bool) // the topic's compression.type; false: as produced

	LastDeliveryMs UnixMs // greatest timestamp of a delivery so far: the next is not below it

	// OnNowDone is called by the turn that moved NowDone, without any lock of the schedule that
	// Advance, NowDone or SettledTo would need. visibleEnd is the partition log's end after those
	// deliveries.
	OnNowDone func(done Offset, visibleEnd Offset)
	// OnFailure is called once when the runner stops because a turn failed.
	OnFailure func(err error)

	Logger *zap.Logger
	Manual bool // no runner: the caller calls RunOnce
}

// Schedule delivers the pending records of one partition.
type Schedule struct{ o Options }

// Open recovers the schedule from the index and the two logs. It delivers nothing yet.
func Open(o Options) (*Schedule, error) { return nil, errors.New("timer: not built yet") }

// Start starts the runner. It does nothing when Options.Manual is set.
func (s *Schedule) Start() {}

// Advance tells the schedule how far each log's high watermark is. It never blocks.
func (s *Schedule) Advance(stagingHW, visibleHW Offset) {}

// RunOnce makes one turn.
func (s *Schedule) RunOnce() (worked bool, err error) { return false, nil }

// NowDone returns the staging offset below which everything due at its append was delivered.
func (s *Schedule) NowDone() Offset { return 0 }

// Settle returns a settlement batch for the deliveries in the partition log in [SettledTo, upTo).
func (s *Schedule) Settle(upTo Offset) (batch.Batch, Offset, error) { return nil, 0, nil }

// SettledTo returns the offset below which all deliveries are settled below the staging HW.
func (s *Schedule) SettledTo() Offset { return 0 }

// NextDue returns the earliest due time of a pending record, or a lower bound of it.
func (s *Schedule) NextDue() (UnixMs, bool) { return 0, false }

// Pending returns how many records wait.
func (s *Schedule) Pending() int64 { return 0 }

// LastDeliveryMs returns the timestamp of the last delivery.
func (s *Schedule) LastDeliveryMs() UnixMs { return 0 }

// Stats returns a snapshot of the counters.
func (s *Schedule) Stats() Stats { return Stats{} }

// Close stops the runner and waits for it. The index stays open.
func (s *Schedule) Close() error { return nil }
