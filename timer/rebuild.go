package timer

import (
	"go.uber.org/zap"

	"github.com/chronosdb/chronosdb/log/batch"
)

// rebuild makes the index of the partition anew from the two logs. It notes what is applied only
// with its last change: after a crash in between the next start begins again.
func (s *Schedule) rebuild() error {
	if err := s.o.Index.Drop(s.o.Partition); err != nil {
		return err
	}
	staging, visible := s.o.Staging, s.o.Visible
	a := Applied{Staging: staging.End(), Visible: visible.End(), Low: maxKey}
	if staging.Start() == staging.End() {
		// Nothing was ever staged, or all of it is gone and settled: no delivery has to be found.
		a.SettledTo = visible.End()
		return s.rebuilt(a)
	}
	settled := newSettledSet()
	settledTo, err := s.collectSettlements(settled)
	if err != nil {
		return err
	}
	a.SettledTo = min(settledTo, visible.End())
	// The settlements speak of every delivery below settledTo.
	err = eachMarked(visible, a.SettledTo, visible.End(), func(b batch.Batch) error {
		return EachDelivered(b, func(d Delivered) error {
			settled.add(d.Position)
			return nil
		})
	})
	if err != nil {
		return err
	}
	if err := s.addPending(settled, &a); err != nil {
		return err
	}
	return s.rebuilt(a)
}

// rebuilt notes that the index is whole.
func (s *Schedule) rebuilt(a Applied) error {
	a.OwedFrom = s.turn.aloft.done(a.Staging)
	s.turn.applied = a
	s.logger.Info("schedule index is built", zap.Int64("pending", a.Pending),
		zap.Int64("staging", int64(a.Staging)), zap.Int64("visible", int64(a.Visible)))
	return s.o.Index.Apply(s.o.Partition, &Change{Applied: &a})
}

// collectSettlements puts all settled positions into the set, and returns the greatest settledTo.
func (s *Schedule) collectSettlements(settled *settledSet) (settledTo Offset, err error) {
	staging := s.o.Staging
	err = staging.Headers(staging.Start(), staging.End(), func(h batch.Batch, _ int) error {
		if h.Kind() != batch.KindSettlement {
			return nil
		}
		return staging.Batches(h.BaseOffset(), h.LastOffset()+1, func(b batch.Batch) error {
			one, err := settlementOf(b)
			if err != nil {
				return err
			}
			one.each(settled.add)
			settledTo = max(settledTo, one.settledTo)
			return nil
		})
	})
	return settledTo, err
}

// addPending adds every staged record that is not settled to the index, and counts them in a.
func (s *Schedule) addPending(settled *settledSet, a *Applied) error {
	var c Change
	l := newLedger(s.o.Index, s.o.Partition)
	l.isDelivered, l.onUnowed = settled.has, s.unowe
	apply := func() error {
		c.reset()
		a.Pending += l.take(&c)
		a.Paused = l.paused
		for i := range c.Add {
			a.Low = minOf(a.Low, c.Add[i].Key)
		}
		return s.o.Index.Apply(s.o.Partition, &c)
	}
	add := func(b batch.Batch) (err error) {
		switch b.Kind() {
		case batch.KindSettlement:
		case batch.KindCommand:
			var must bool
			if must, err = l.mustApply(b); err == nil && must {
				err = apply()
			}
			if err == nil {
				_, err = l.commands(b)
			}
		case batch.KindStaged:
			var dueNow int
			if dueNow, err = l.staged(b); dueNow > 0 {
				s.turn.owed.add(b.BaseOffset(), dueNow)
				s.turn.aloft.add(b.BaseOffset(), dueNow)
			}
		default:
			err = unknownKind(b)
		}
		if err != nil || l.length() < recoverEntriesMax {
			return err
		}
		return apply()
	}
	if err := s.o.Staging.Batches(s.o.Staging.Start(), s.o.Staging.End(), add); err != nil {
		return err
	}
	return apply()
}

// Dump calls fn for every entry of the schedule's index, in order: for tests and tools. No turn may
// run meanwhile.
func (s *Schedule) Dump(fn func(e Entry) bool) error {
	return s.o.Index.Scan(s.o.Partition, minKey, int(^uint(0)>>1), fn)
}

// Low returns a bound below which no pending record is, as of the last turn: a scan from there on
// does not walk over what deletions have left behind.
func (s *Schedule) Low() Key {
	s.waiting.Lock()
	defer s.waiting.Unlock()
	return s.waiting.low
}

// Applied returns how far the index follows the logs, as of the last turn.
func (s *Schedule) Applied() Applied {
	s.turn.Lock()
	defer s.turn.Unlock()
	return s.turn.applied
}
