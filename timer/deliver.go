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
	if !s.mayTakeOff() || s.mustWait(now) {
		return false, nil
	}
	due := t.near.due(now, deliveryRecordsMax)
	if len(due) == 0 {
		return false, nil
	}
	stamp := max(now, s.LastDeliveryMs())
	set := len(t.limbo.entries)
	due, err = s.buildDelivery(due, now, stamp)
	if log.IsTransient(err) {
		t.run.drop()
		s.retryLater(now, err)
		return false, nil
	}
	if err != nil || len(due) == 0 {
		return len(t.limbo.entries) > set, err
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
	if s.wall() < due[len(due)-1].Due || !s.o.Trusts() {
		s.stats.heldBack.Add(1)
		return false, nil
	}
	t.sending = due
	end, err := s.o.Sink.Deliver(b, s.allowed)
	t.sending = nil
	switch {
	case errors.Is(err, log.ErrNoSpace):
		s.retryLater(now, err)
		return false, nil
	case errors.Is(err, ErrFenced):
		t.run.drop()
		return true, nil // the next one is built without what was cancelled
	}
	if err != nil {
		return false, fmt.Errorf("append a delivery of %d records: %w", len(due), err)
	}
	t.retryAt, t.backoff = 0, 0
	s.lastMs.Store(int64(stamp))
	s.stats.delivered.Add(int64(len(due)))
	for i := range due {
		if due[i].Flags.has(EntryDueNow) {
			t.owed.paid(due[i].Offset)
		}
	}
	s.takenOff(due)
	t.near.takeOff(end, t.late)
	t.build.shrink(2 * MaxBatchBytesDefault)
	if t.near.readyLen() == 0 {
		t.run.drop()
	}
	return true, nil
}

// buildDelivery puts the records of as many of the due entries as fit into the next batch, and
// returns those entries. What must not be delivered goes to limbo.
func (s *Schedule) buildDelivery(due []Entry, now, stamp UnixMs) ([]Entry, error) {
	t := &s.turn
	limit := min(s.o.MaxBatchBytes(), MaxBatchBytesDefault)
	t.build.reset()
	t.late, t.special = t.late[:0], t.special[:0]
	steered := s.fence.hasPositions()
	for i := 0; i < len(due); {
		if steered {
			if until, ok := s.fence.blocked(hashPosition(due[i].Position)); ok {
				if i > 0 {
					return due[:i], nil
				}
				s.setAside(due[0], specialRecord{until: until}, fenceIt)
				due = due[1:]
				continue
			}
		}
		rec, err := t.run.take(s.o.Staging, due[i:], t.applied.Staging)
		if err != nil {
			return nil, s.blame(due[i], err)
		}
		d, err := checkEntry(rec, &due[i])
		if err != nil {
			return nil, s.blame(due[i], err)
		}
		if due[i].Flags.has(EntryTerms) {
			r, verdict, err := s.judge(due[i], &d, now)
			switch {
			case err != nil:
				return nil, s.blame(due[i], err)
			case verdict != deliverIt && i > 0:
				t.run.giveBack()
				return due[:i], nil
			case verdict != deliverIt:
				s.setAside(due[0], r, verdict)
				due = due[1:]
				continue
			}
			r.at = i
			t.special = append(t.special, r)
		}
		ok, err := t.build.add(rec, d, due[i], stamp, limit)
		if err != nil {
			return nil, s.blame(due[i], err)
		}
		if !ok {
			t.run.giveBack() // the next batch begins with it
			if n := len(t.special); n > 0 && t.special[n-1].at == i {
				t.special = t.special[:n-1]
			}
			return due[:i], nil
		}
		from := noLateness
		if d.Flags&FlagControl != 0 {
			from = due[i].Due
		}
		t.late = append(t.late, from)
		i++
	}
	return due, nil
}

// checkEntry verifies the record that an entry points at.
func checkEntry(rec []byte, e *Entry) (Decision, error) {
	d, err := checkRecord(rec)
	if err == nil && (d.Action != ActionDeliver || !e.isPlaced() && d.deliverFrom() != e.Due) {
		err = badEntry(e)
	}
	return d, err
}

// mayTakeOff says whether memory has room for what a delivery leaves in it. If what is due fills it
// as well, nothing is followed any more: what limbo waits for could then not come, so it goes on.
func (s *Schedule) mayTakeOff() bool {
	n := s.turn.near
	return n.inFlight < n.max &&
		(n.inFlight+len(s.turn.limbo.entries) < n.max || n.isFull())
}

// mustWait says whether the last append met a lack of space or handles, and is not to be tried
// again yet.
func (s *Schedule) mustWait(now UnixMs) bool {
	return now < s.turn.retryAt && s.turn.retryAt-now <= retryMaxMs
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
			found = found || entries[i] == e || e.isPlaced() && entries[i].isRecordOf(e)
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
