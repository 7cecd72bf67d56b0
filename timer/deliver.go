package timer

import (
	"errors"
	"fmt"

	"go.uber.org/zap"

	"github.com/chronosdb/chronosdb/log"
	"github.com/chronosdb/chronosdb/log/batch"
)

// deliver appends one batch of what is due to the partition log. worked is false when nothing is
// due, or may not be delivered now.
func (s *Schedule) deliver() (worked bool, err error) {
	t := &s.turn
	now := s.wall()
	if t.near.inFlight >= t.near.max || (now < t.retryAt && t.retryAt-now <= retryMaxMs) {
		return false, nil
	}
	due := t.near.due(now, deliveryRecordsMax)
	if len(due) == 0 {
		return false, nil
	}
	stamp := max(now, s.LastDeliveryMs())
	due, err = s.buildDelivery(due, stamp)
	if log.IsTransient(err) {
		t.run.drop()
		s.retryLater(now, err)
		return false, nil
	}
	if err != nil {
		return false, err
	}
	codec, level, ok := s.o.Codec()
	if !ok {
		codec, level = t.build.codec, 0
	}
	b, err := t.build.build(codec, level)
	if err != nil {
		return false, err
	}
	// The clock may have stepped back since it was read; building and compressing take time.
	if s.wall() < due[len(due)-1].Due {
		s.stats.heldBack.Add(1)
		return false, nil
	}
	end, err := s.o.Sink.Deliver(b)
	if errors.Is(err, log.ErrNoSpace) {
		s.retryLater(now, err)
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("append a delivery of %d records: %w", len(due), err)
	}
	t.retryAt, t.backoff = 0, 0
	s.lastMs.Store(int64(stamp))
	s.stats.delivered.Add(int64(len(due)))
	for i := range due {
		if due[i].DueNow {
			t.owed.paid(due[i].Offset)
		}
	}
	t.near.takeOff(end, t.late)
	t.build.shrink(2 * MaxBatchBytesDefault)
	if t.near.readyLen() == 0 {
		t.run.drop()
	}
	return true, nil
}

// buildDelivery puts the records of as many of the due entries as fit into the next batch, and
// returns those entries.
func (s *Schedule) buildDelivery(due []Entry, stamp UnixMs) ([]Entry, error) {
	t := &s.turn
	limit := min(s.o.MaxBatchBytes(), MaxBatchBytesDefault)
	t.build.reset()
	t.late = t.late[:0]
	for i := range due {
		rec, err := t.run.take(s.o.Staging, due[i:], t.applied.Staging)
		if err != nil {
			return nil, s.blame(due[i], err)
		}
		d, ok, err := t.build.add(rec, due[i], stamp, limit)
		if err == nil && d.deliverFrom() != due[i].Due {
			err = badEntry(&due[i])
		}
		if err != nil {
			return nil, s.blame(due[i], err)
		}
		if !ok {
			t.run.giveBack() // the next batch begins with it
			return due[:i], nil
		}
		from := noLateness
		if d.Flags&FlagControl != 0 {
			from = d.deliverFrom()
		}
		t.late = append(t.late, from)
	}
	return due, nil
}

// retryLater waits for space or file handles: the records stay ready, or in the staging log.
func (s *Schedule) retryLater(now UnixMs, err error) {
	t := &s.turn
	t.backoff = min(max(2*t.backoff, retryFirstMs), retryMaxMs)
	t.retryAt = now + t.backoff
	s.stats.retries.Add(1)
	s.logger.Warn("no space or no file handle for a delivery; it stays armed",
		zap.Int64("retryInMs", int64(t.backoff)), zap.Error(err))
}

// blame finds out whose fault it is that an entry's record cannot be read. A damaged staging log
// says so itself, by its checksums. If the staged batch is sound, the index is wrong: it is
// dropped, so that the next start rebuilds it.
func (s *Schedule) blame(e Entry, err error) error {
	if errors.Is(err, log.ErrCorrupt) || errors.Is(err, log.ErrFailed) ||
		errors.Is(err, log.ErrClosed) || log.IsTransient(err) {
		return err
	}
	found := false
	scanErr := s.o.Staging.Batches(e.Offset, e.Offset+1, func(b batch.Batch) error {
		entries, _, err := appendEntries(nil, b)
		for i := range entries {
			found = found || entries[i] == e
		}
		return err
	})
	if scanErr != nil || found {
		// Either the log's own error, or bytes that were bad once and are good now.
		return errors.Join(err, scanErr)
	}
	s.logger.Error("schedule index is wrong; it is rebuilt at the next start",
		zap.Stringer("position", e.Position), zap.Error(err))
	err = errors.Join(fmt.Errorf("%w: %w", ErrIndex, err), s.o.Index.Drop(s.o.Partition))
	return errors.Join(err, s.o.Index.Flush()) // The process is about to end.
}
