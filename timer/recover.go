package timer

import (
	"fmt"

	"go.uber.org/zap"

	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/log/mutant"
)

// recoverEntriesMax bounds the entries of one change during recovery.
const recoverEntriesMax = 32_768

// recover brings the index to the ends of both logs, which are flushed and so below the high
// watermarks. A crash during it leaves an index that the next recovery goes on from.
func (s *Schedule) recover() error {
	if _, err := s.o.Staging.Flush(); err != nil {
		return err
	}
	if _, err := s.o.Visible.Flush(); err != nil {
		return err
	}
	staging, visible := s.o.Staging, s.o.Visible
	a, ok, err := s.o.Index.Load(s.o.Partition)
	if err != nil {
		return err
	}
	// The index ran ahead of a log whose tail was lost, or it is another partition's: what it says
	// about the lost offsets is not true of those that will get the same numbers.
	ahead := a.Staging > staging.End() || a.Visible > visible.End() || a.SettledTo > visible.End()
	if ok && !ahead {
		err = s.catchUp(a)
	} else {
		if ok {
			s.logger.Warn("schedule index is ahead of its logs; rebuilding it",
				zap.Int64("indexStaging", int64(a.Staging)),
				zap.Int64("staging", int64(staging.End())),
				zap.Int64("indexVisible", int64(a.Visible)),
				zap.Int64("visible", int64(visible.End())))
		}
		err = s.rebuild()
	}
	if err != nil {
		return err
	}
	t := &s.turn
	s.stagingHW.Store(int64(staging.End()))
	s.visibleHW.Store(int64(visible.End()))
	s.landedTo.Store(int64(t.applied.Visible))
	raise(&s.settledTo, t.applied.SettledTo)
	t.held = t.applied.Paused // there is nothing in memory yet
	s.nowDone.Store(int64(t.owed.done(t.applied.Staging)))
	return nil
}

// owe notes that a record which was due at its append is not delivered yet.
func (s *Schedule) owe(base Offset) {
	s.turn.owed.add(base, 1)
	s.turn.aloft.add(base, 1)
}

// catchUp brings an index that follows the logs up to a to their ends.
func (s *Schedule) catchUp(a Applied) error {
	c := catcher{s: s, a: a, loaded: a, ledger: newLedger(s.o.Index, s.o.Partition)}
	c.ledger.paused = a.Paused
	from := max(a.Staging, s.o.Staging.Start())
	if mutant.On(mutant.ReplayFromZero) {
		from = s.o.Staging.Start()
	}
	if err := s.o.Staging.Batches(from, s.o.Staging.End(), c.staging); err != nil {
		return err
	}
	c.a.Staging = s.o.Staging.End()
	if err := c.apply(); err != nil {
		return err
	}
	if err := eachMarked(s.o.Visible, a.Visible, s.o.Visible.End(), c.visible); err != nil {
		return err
	}
	c.a.Visible = s.o.Visible.End()
	if err := c.apply(); err != nil {
		return err
	}
	s.turn.applied = c.a
	return c.findOwed()
}

// catcher replays the ends of both logs into the index: first all staged batches, then all
// deliveries, so that a delivery always finds what it removes.
type catcher struct {
	s      *Schedule
	a      Applied // as of the changes so far
	loaded Applied // as found at the start
	ledger *ledger
	change Change
	finder positionFinder
	dueNow []Entry // of the staged batches replayed: those due at their append
}

// staging replays one batch of the staging log.
func (c *catcher) staging(b batch.Batch) error {
	switch b.Kind() {
	case batch.KindStaged:
		before := len(c.ledger.add)
		if _, err := c.ledger.staged(b); err != nil {
			return err
		}
		for _, e := range c.ledger.add[before:] {
			if e.Flags.has(EntryDueNow) && !e.Flags.has(entryGone) {
				c.dueNow = append(c.dueNow, e)
			}
		}
	case batch.KindSettlement:
		if err := c.settlement(b); err != nil {
			return err
		}
	case batch.KindCommand:
		if err := c.command(b); err != nil {
			return err
		}
	default:
		return unknownKind(b)
	}
	c.a.Staging = b.LastOffset() + 1
	if c.ledger.length() >= recoverEntriesMax {
		return c.apply()
	}
	return nil
}

// command replays a command batch.
func (c *catcher) command(b batch.Batch) error {
	must, err := c.ledger.mustApply(b)
	if err == nil && must {
		err = c.apply()
	}
	if err != nil {
		return err
	}
	_, err = c.ledger.commands(b)
	return err
}

// settlement replays a settlement. Usually the deliveries that it names are still in the partition
// log, or were applied before. But retention may have taken them while the index had not written
// out that they are gone: then they are removed here, in the change that takes the settlement in,
// because no later start would see it again.
func (c *catcher) settlement(b batch.Batch) error {
	settled, err := settlementOf(b)
	if err != nil {
		return err
	}
	c.a.SettledTo = max(c.a.SettledTo, settled.settledTo)
	if settled.settledTo <= c.loaded.Visible || c.s.o.Visible.Start() <= c.loaded.Visible {
		return nil
	}
	if err := c.apply(); err != nil {
		return err
	}
	for _, r := range settled.ranges {
		if r.occurrence > 0 {
			_, err = c.landed(Key{Due: r.due, Position: Position{r.epoch, r.first, r.occurrence}})
		} else {
			err = c.s.eachStagedKey(r, func(k Key) error { _, err := c.landed(k); return err })
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// visible replays one delivered batch.
func (c *catcher) visible(b batch.Batch) error {
	err := EachDelivered(b, func(d Delivered) error {
		// Without a due time, or with one that a producer made up, it may still have a place.
		found, err := c.landed(Key{Due: d.Due, Position: d.Position})
		if found || err != nil {
			return err
		}
		// No due time in the delivery, or one that a producer made up: the decision has it.
		k, ok, err := c.finder.find(c.s, d.Position)
		if err != nil || !ok {
			return err
		}
		_, err = c.landed(k)
		return err
	})
	if err != nil {
		return err
	}
	c.a.Visible = b.LastOffset() + 1
	if c.ledger.length() >= recoverEntriesMax {
		return c.apply()
	}
	return nil
}

// landed takes a delivery, if its entry is there: a replay may meet what was removed before. The
// due time may be one that the record had before it was moved.
func (c *catcher) landed(k Key) (found bool, err error) {
	e, ok, err := c.ledger.find(k)
	if err != nil || !ok {
		return false, err
	}
	if !e.Flags.has(EntryNamed | EntryRecurs) {
		c.ledger.land(e.Key, e.Flags)
		return true, nil
	}
	d, err := c.s.decisionAt(e)
	if err != nil {
		return true, err
	}
	terms, err := d.Terms()
	if err != nil {
		return true, err
	}
	return true, c.ledger.landed(e, string(terms.ID), e.Flags.has(EntryDoomed))
}

// findOwed finds the records that were due at their append and are still pending: what lies below
// the replayed staged batches is read again from the first that may be one. Usually that is
// nothing.
func (c *catcher) findOwed() error {
	if c.a.Pending == 0 {
		return nil
	}
	staging := c.s.o.Staging
	from := max(c.loaded.OwedFrom, staging.Start())
	if from < c.loaded.Staging {
		var entries []Entry
		err := staging.Batches(from, c.loaded.Staging, func(b batch.Batch) (err error) {
			if b.Kind() != batch.KindStaged {
				return nil
			}
			if entries, _, err = appendEntries(entries[:0], b); err != nil {
				return err
			}
			return c.oweThose(entries)
		})
		if err != nil {
			return err
		}
	}
	return c.oweThose(c.dueNow)
}

// oweThose owes those of the entries that were due at their append and are in the index.
func (c *catcher) oweThose(entries []Entry) error {
	for i := range entries {
		if !entries[i].Flags.has(EntryDueNow) {
			continue
		}
		e, ok, err := c.s.o.Index.Get(c.s.o.Partition, entries[i].Key)
		if err != nil {
			return err
		}
		if ok && e.Flags.has(EntryDueNow) && !e.Flags.has(EntryDoomed) {
			c.s.owe(entries[i].base())
		}
	}
	return nil
}

// apply makes the changes collected so far.
func (c *catcher) apply() error {
	c.change.reset()
	c.a.Pending += c.ledger.take(&c.change)
	c.a.Paused = c.ledger.paused
	for i := range c.change.Add {
		c.a.Low = minOf(c.a.Low, c.change.Add[i].Key)
	}
	applied := c.a
	c.change.Applied = &applied
	return c.s.o.Index.Apply(c.s.o.Partition, &c.change)
}

// positionFinder looks up the keys of positions in the staging log. It keeps the last batch's.
type positionFinder struct {
	entries []Entry
}

// find returns the key of a position; ok is false when the staging log does not have it, or has
// another record of a later leader there.
func (f *positionFinder) find(s *Schedule, p Position) (k Key, ok bool, err error) {
	if !f.covers(p.Offset) {
		f.entries = f.entries[:0]
		if p.Offset < s.o.Staging.Start() || p.Offset >= s.o.Staging.End() {
			return k, false, nil
		}
		err := s.o.Staging.Batches(p.Offset, p.Offset+1, func(b batch.Batch) (err error) {
			if b.Kind() == batch.KindStaged {
				f.entries, _, err = appendEntries(f.entries[:0], b)
			}
			return err
		})
		if err != nil || !f.covers(p.Offset) {
			return k, false, err
		}
	}
	e := f.entries[p.Offset-f.entries[0].Offset]
	return e.Key, e.Position == p, nil
}

func (f *positionFinder) covers(o Offset) bool {
	return len(f.entries) > 0 && o >= f.entries[0].Offset && o <= f.entries[len(f.entries)-1].Offset
}

// eachStagedKey calls fn for the key of every record in a settled range that the staging log has.
func (s *Schedule) eachStagedKey(r settledRange, fn func(k Key) error) error {
	from, to := max(r.first, s.o.Staging.Start()), min(r.last+1, s.o.Staging.End())
	if from >= to {
		return nil
	}
	var entries []Entry
	return s.o.Staging.Batches(from, to, func(b batch.Batch) (err error) {
		if b.Kind() != batch.KindStaged || b.LeaderEpoch() != r.epoch {
			return nil
		}
		entries, _, err = appendEntries(entries[:0], b)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if e.Offset < from || e.Offset >= to || e.Occurrence != r.occurrence {
				continue
			}
			if err := fn(e.Key); err != nil {
				return err
			}
		}
		return nil
	})
}

// appendEntries appends the entries of a staged batch and counts those that were due at once.
func appendEntries(dst []Entry, b batch.Batch) (entries []Entry, dueNow int, err error) {
	w := walkStaged(b)
	for {
		e, _, ok, err := w.next()
		if err != nil {
			return dst, dueNow, err
		}
		if !ok {
			return dst, dueNow, nil
		}
		if e.Flags.has(EntryDueNow) {
			dueNow++
		}
		dst = append(dst, e)
	}
}

// unknownKind refuses a batch of the staging log that this version cannot replay.
func unknownKind(b batch.Batch) error {
	return fmt.Errorf("%w: the batch at staging offset %d has kind %d; start the version that"+
		" wrote it, or a newer one", ErrBadDecision, b.BaseOffset(), b.Kind())
}
