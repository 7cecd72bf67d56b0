package timer

import (
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"

	"go.uber.org/zap"

	"github.com/chronosdb/chronosdb/log"
	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/log/mutant"
	"github.com/chronosdb/chronosdb/timer/clock"
)

// Sink takes what a schedule appends. Its calls stamp offset and epoch of b in place, and return
// the log's end behind it. An error that wraps log.ErrNoSpace leaves the records armed; any other
// but ErrFenced ends the schedule. They are called with the schedule's turn held, so they must not
// wait for a turn; b is valid until they return.
type Sink interface {
	// Deliver appends b to the partition log, if allowed says so. It must ask with the lock held
	// under which staged batches are appended and told to Fence, and return ErrFenced if not
	// allowed.
	Deliver(b batch.Batch, allowed func() bool) (end Offset, err error)
	// Command appends b to the staging log.
	Command(b batch.Batch) (end Offset, err error)
}

// The defaults and bounds of a Schedule.
const (
	TickMsDefault        = 1
	WheelSlotsDefault    = 65_536
	NearMaxDefault       = 262_144
	MaxBatchBytesDefault = 1 << 20

	// followBytesMax bounds the staged bytes taken in by one turn.
	followBytesMax = 4 << 20
	// deliveriesMax bounds the delivery batches of one turn, so that followers of the logs and
	// those who wait for NowDone hear of it in between.
	deliveriesMax = 16
	// deliveryRecordsMax bounds the records of one delivery batch.
	deliveryRecordsMax = 32_768
	// backStepMax is how far the clock may step back before the near window is thrown away: within
	// it, what was taken as due simply waits.
	backStepMax UnixMs = 1000

	// A delivery that met a full disk is tried again after retryFirstMs, then after twice that, up
	// to retryMaxMs.
	retryFirstMs UnixMs = 100
	retryMaxMs   UnixMs = 5000
)

// Options are what a Schedule needs. Zero values of the numbers mean the defaults.
type Options struct {
	Partition PartitionNumber
	Staging   *log.Log // the staging log, recovered to its end; Open flushes it
	Visible   *log.Log // the partition log, likewise
	Index     Index
	Clock     clock.Clock
	Sink      Sink
	// Trusts says whether the clock can be trusted now; nothing is delivered while it cannot. nil:
	// always.
	Trusts func() bool

	TickMs        int        // wakes are rounded up to multiples of it; default 1
	WheelSlots    int        // ticks that the wheel spans; default 65,536
	NearMax       int        // most entries in memory; default 262,144
	MaxBatchBytes func() int // largest delivery; at most 1 MiB, the default
	// Codec is the topic's compression.type with its level; false: as produced.
	Codec func() (batch.Codec, batch.Level, bool)

	LastDeliveryMs UnixMs // greatest timestamp of a delivery so far: the next is not below it

	// OnNowDone is called by the turn that moved NowDone. visibleEnd is the partition log's end
	// after the deliveries that moved it. Advance, NowDone, SettledTo and Stats may be called
	// from it.
	OnNowDone func(done Offset, visibleEnd Offset)
	// OnFailure is called once when the runner stops because a turn failed.
	OnFailure func(err error)

	Logger *zap.Logger
	Manual bool // no runner: the caller calls RunOnce
}

// EnsureDefaults fills what is zero.
func (o *Options) EnsureDefaults() {
	if o.TickMs == 0 {
		o.TickMs = TickMsDefault
	}
	if o.WheelSlots == 0 {
		o.WheelSlots = WheelSlotsDefault
	}
	if o.NearMax == 0 {
		o.NearMax = NearMaxDefault
	}
	if o.MaxBatchBytes == nil {
		o.MaxBatchBytes = func() int { return MaxBatchBytesDefault }
	}
	if o.Codec == nil {
		o.Codec = func() (batch.Codec, batch.Level, bool) { return batch.None, 0, false }
	}
	if o.OnNowDone == nil {
		o.OnNowDone = func(Offset, Offset) {}
	}
	if o.OnFailure == nil {
		o.OnFailure = func(error) {}
	}
	if o.Clock == nil {
		o.Clock = clock.Real()
	}
	if o.Trusts == nil {
		o.Trusts = func() bool { return true }
	}
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
}

// Validate refuses what cannot work.
func (o *Options) Validate() error {
	switch {
	case o.Staging == nil || o.Visible == nil || o.Index == nil || o.Sink == nil:
		return errors.New("timer: Staging, Visible, Index and Sink must all be set")
	case o.TickMs < 1 || o.TickMs > 60_000:
		return fmt.Errorf("timer: TickMs is %d; use 0 for the default or 1 to 60000", o.TickMs)
	case o.WheelSlots < 256 || o.WheelSlots > 1<<24:
		return fmt.Errorf("timer: WheelSlots is %d; use 0 for the default or 256 to %d",
			o.WheelSlots, 1<<24)
	case o.NearMax < 16:
		return fmt.Errorf("timer: NearMax is %d; use 0 for the default or at least 16", o.NearMax)
	}
	return nil
}

// Schedule delivers the pending records of one partition. All work is done in turns (RunOnce), one
// at a time; the methods that other goroutines call read atomics.
type Schedule struct {
	o      Options
	logger *zap.Logger

	stagingHW atomic.Int64 // raised by Advance
	visibleHW atomic.Int64 // raised by Advance
	landing   atomic.Int64 // visibleHW at which a turn has something to do; set by turns
	nowDone   atomic.Int64 // set by turns
	settledTo atomic.Int64 // set by turns and by Settle, only upwards
	landedTo  atomic.Int64 // applied.Visible, for Settle
	lastMs    atomic.Int64 // greatest timestamp of a delivery; set by turns
	stats     counters

	wake    chan struct{} // capacity 1: something may be there to do
	stop    chan struct{} // closed by Close
	stopped chan struct{} // closed by the runner's end; nil without a runner
	closing sync.Once

	settling sync.Mutex // one Settle at a time
	fence    *fence

	steerings *steerings

	waiting struct { // what belongs together; set by turns
		sync.Mutex
		low      Key
		pending  int64
		followed Offset
	}
	turn struct { // held for a whole turn, I/O included; the fields below are the turn's own
		sync.Mutex
		failed  error // first error; every later turn returns it
		applied Applied
		near    *near
		owed    owed // by the partition log: until delivered
		aloft   owed // the same records, until their delivery has landed
		build   delivery
		run     run
		late    []UnixMs // scratch: lateFrom of the records in build
		change  Change   // scratch
		ledger  *ledger
		limbo   *limbo
		// flying are the deliveries in flight of records with terms, special those in build.
		flying  map[Position]*flyingRecord
		special []specialRecord // scratch
		sending []Entry         // the records of the delivery that is being appended
		drops   []Entry         // doomed entries that a load has met
		command []Command       // scratch

		doubted   bool   // the clock is not trusted
		held      bool   // nothing is delivered
		rewinding bool   // the clock stepped back: reset near once no flight is left
		stalled   bool   // staged batches could not be read for want of a file handle
		retryAt   UnixMs // no delivery before it: the disk was full, or no file could be opened
		backoff   UnixMs // the last wait for space in ms; 0 when the last delivery succeeded
		wakeAt    UnixMs // when the runner must look again; never: not before Advance
	}
}

// never stands for no time at all.
const never UnixMs = math.MaxInt64

// Open recovers the schedule from the index and the two logs. It delivers nothing yet.
func Open(o Options) (*Schedule, error) {
	o.EnsureDefaults()
	if err := o.Validate(); err != nil {
		return nil, err
	}
	s := &Schedule{
		o:      o,
		logger: o.Logger.With(zap.Uint64("partition", uint64(o.Partition))),
		wake:   make(chan struct{}, 1),
		stop:   make(chan struct{}),
		fence:  newFence(),

		steerings: newSteerings(),
	}
	s.lastMs.Store(int64(o.LastDeliveryMs))
	s.turn.Lock()
	defer s.turn.Unlock()
	s.turn.near = newNear(o.NearMax, o.WheelSlots, o.TickMs)
	s.turn.limbo = newLimbo()
	s.turn.flying = map[Position]*flyingRecord{}
	if err := s.recover(); err != nil {
		return nil, fmt.Errorf("open the schedule of partition %d: %w", o.Partition, err)
	}
	s.turn.ledger = newLedger(o.Index, o.Partition)
	s.turn.ledger.onDrop, s.turn.ledger.onUnowed = s.forget, s.unowe
	s.turn.ledger.onMove, s.turn.ledger.paused = s.rekey, s.turn.applied.Paused
	now := s.wall()
	s.turn.near.reset(now, s.turn.applied.Low)
	s.publish(now, false)
	return s, nil
}

// wall reads the wall clock, in whole milliseconds that have passed.
func (s *Schedule) wall() UnixMs {
	now := clock.ToMs(s.o.Clock.Now())
	if mutant.On(mutant.DeliverEarly) {
		now++
	}
	return now
}

// Advance tells the schedule how far each log's high watermark is. Lower values than before are
// ignored. It never blocks, and wakes the runner only when a turn would have something to do, so
// that traffic that is not scheduled costs nothing here.
func (s *Schedule) Advance(stagingHW, visibleHW Offset) {
	staged := raise(&s.stagingHW, stagingHW)
	raise(&s.visibleHW, visibleHW)
	if staged || s.visibleHW.Load() >= s.landing.Load() {
		s.nudge()
	}
}

// Wake makes the runner look again: whether the clock can be trusted may have changed.
func (s *Schedule) Wake() { s.nudge() }

// nudge wakes the runner, or lets its next sleep end at once.
func (s *Schedule) nudge() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// raise stores v if it is greater, and says whether it was.
func raise(a *atomic.Int64, v Offset) bool {
	for {
		old := a.Load()
		if int64(v) <= old {
			return false
		}
		if a.CompareAndSwap(old, int64(v)) {
			return true
		}
	}
}

// Fence tells the schedule which ids a staged batch that ends at end names, with their hashes
// (StageInfo.IDs). The owner calls it with the lock held under which it appended the batch.
func (s *Schedule) Fence(end Offset, ids []uint64) { s.fence.note(end, ids) }

// NowDone returns a staging offset: every record below it that was due when it was appended has
// been appended to the partition log.
func (s *Schedule) NowDone() Offset { return Offset(s.nowDone.Load()) }

// NextDue returns the earliest due time of a pending record, or a lower bound of it.
func (s *Schedule) NextDue() (UnixMs, bool) {
	next := s.stats.nextDue.Load()
	return UnixMs(next), next != math.MaxInt64
}

// Pending returns how many records wait: staged, below the high watermark, not delivered.
func (s *Schedule) Pending() int64 { return s.stats.pending.Load() }

// Waiting returns how many of the records below a staging offset wait, and that offset.
func (s *Schedule) Waiting() (pending int64, followed Offset) {
	s.waiting.Lock()
	defer s.waiting.Unlock()
	return s.waiting.pending, s.waiting.followed
}

// LastDeliveryMs returns the greatest timestamp of a delivery so far, with Options.LastDeliveryMs.
func (s *Schedule) LastDeliveryMs() UnixMs { return UnixMs(s.lastMs.Load()) }

// Stats returns a snapshot of the counters.
func (s *Schedule) Stats() Stats { return s.stats.snapshot() }

// Checkpoint stores in the index how far it follows the logs, and flushes it if flush is set: the
// next start then reads the logs from there. The owner calls it with the checkpoints of the logs.
func (s *Schedule) Checkpoint(flush bool) error {
	s.turn.Lock()
	defer s.turn.Unlock()
	if err := s.checkpointLocked(); err != nil {
		return err
	}
	if !flush {
		return nil
	}
	return s.o.Index.Flush()
}

func (s *Schedule) checkpointLocked() error {
	t := &s.turn
	if t.failed != nil {
		return t.failed
	}
	if _, err := s.follow(); err != nil {
		return s.failLocked(err)
	}
	t.applied.SettledTo = max(t.applied.SettledTo, s.SettledTo())
	t.applied.OwedFrom = t.aloft.done(t.applied.Staging)
	applied := t.applied
	if err := s.o.Index.Apply(s.o.Partition, &Change{Applied: &applied}); err != nil {
		return s.failLocked(err)
	}
	return nil
}

// failLocked records the first error: what a half-made turn left in memory is not used again.
func (s *Schedule) failLocked(err error) error {
	if s.turn.failed == nil {
		s.turn.failed = fmt.Errorf("schedule of partition %d: %w", s.o.Partition, err)
		s.steerings.close(s.turn.failed)
	}
	return s.turn.failed
}

// Close stops the runner, waits for it and notes in the index how far it follows the logs. The
// index and the logs stay open: they must be closed after it.
func (s *Schedule) Close() error {
	var err error
	s.closing.Do(func() {
		close(s.stop)
		if s.stopped != nil {
			<-s.stopped
		}
		s.turn.Lock()
		defer s.turn.Unlock()
		if s.turn.failed == nil {
			err = s.checkpointLocked()
			s.turn.failed = ErrClosed
			s.steerings.close(ErrClosed)
		}
	})
	return err
}
