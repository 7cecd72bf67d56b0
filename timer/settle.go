package timer

import (
	"errors"

	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/log/mutant"
	"github.com/chronosdb/chronosdb/timer/clock"
)

// settlePositionsMax bounds the deliveries of one settlement, to whole delivery batches.
const settlePositionsMax = 65_536

// SettledTo returns a partition-log offset: every delivery below it has a settlement below the
// staging log's high watermark, so retention may take it.
func (s *Schedule) SettledTo() Offset { return Offset(s.settledTo.Load()) }

// Settle returns a settlement batch for the deliveries in the partition log from SettledTo up to
// upTo, and the offset up to which it speaks of all of them. That may be less than upTo, for a
// batch is bounded: call it again once SettledTo has got there. The batch is nil when there is
// nothing to settle; SettledTo has then moved to upTo already. Else append the batch to the staging
// log: SettledTo moves when a turn finds it below the high watermark. upTo must not be above the
// partition log's high watermark. Settle waits for the turn that is being made.
func (s *Schedule) Settle(upTo Offset) (settled batch.Batch, settledTo Offset, err error) {
	s.settling.Lock()
	defer s.settling.Unlock()
	from := s.SettledTo()
	if upTo <= from {
		return nil, from, nil
	}
	// A delivery that has not landed is still in the index: its settlement must not be taken in
	// before it is out, or an index that survives between the two would deliver it again.
	if err := s.landUpTo(upTo); err != nil {
		return nil, from, err
	}
	if upTo = min(upTo, Offset(s.landedTo.Load())); upTo <= from {
		return nil, from, nil
	}
	var delivered []Key
	settledTo = upTo
	err = eachMarked(s.o.Visible, from, upTo, func(b batch.Batch) error {
		if len(delivered) > 0 && len(delivered)+b.Count() > settlePositionsMax {
			settledTo = b.BaseOffset()
			return errEnough
		}
		return EachDelivered(b, func(d Delivered) error {
			delivered = append(delivered, Key{Due: d.Due, Position: d.Position})
			return nil
		})
	})
	if err != nil && !errors.Is(err, errEnough) {
		return nil, from, err
	}
	if len(delivered) == 0 || mutant.On(mutant.NoSettlements) {
		raise(&s.settledTo, settledTo)
		return nil, settledTo, nil
	}
	s.stats.settled.Add(int64(len(delivered)))
	return settle(settledTo, delivered).build(clock.ToMs(s.o.Clock.Now())), settledTo, nil
}

// landUpTo takes the deliveries below upTo, which the high watermark has passed, out of the index.
func (s *Schedule) landUpTo(upTo Offset) error {
	if Offset(s.landedTo.Load()) >= upTo {
		return nil
	}
	raise(&s.visibleHW, upTo)
	s.turn.Lock()
	defer s.turn.Unlock()
	if s.turn.failed != nil {
		return s.turn.failed
	}
	if _, err := s.follow(); err != nil {
		return s.failLocked(err)
	}
	// What came into memory or left it may change what the runner waits for.
	s.nudge()
	return nil
}
