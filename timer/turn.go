package timer

import (
	"errors"

	"github.com/chronosdb/chronosdb/log"
	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/log/mutant"
)

// RunOnce makes one turn: it takes in what is below the high watermarks, loads the near future
// from the index, and delivers what is due. worked says whether it did anything, so that another
// turn may find more to do. An error is final: the partition must go offline.
func (s *Schedule) RunOnce() (worked bool, err error) {
	s.turn.Lock()
	defer s.turn.Unlock()
	t := &s.turn
	if t.failed != nil {
		return false, t.failed
	}
	if worked, err = s.turnLocked(); err != nil {
		return worked, s.failLocked(err)
	}
	return worked, nil
}

func (s *Schedule) turnLocked() (worked bool, err error) {
	t := &s.turn
	now := s.wall()
	if now+backStepMax < t.near.now || t.near.isStuck(now) {
		t.rewinding = true
	}
	t.near.advance(now)
	worked, err = s.follow()
	if err != nil {
		return worked, err
	}
	s.holdBack()
	if t.rewinding {
		if t.near.inFlight > 0 {
			// What is in flight is still in the index: only its landing tells it from what waits.
			s.publish(now, worked)
			return worked, nil
		}
		t.near.reset(now, t.applied.Low)
		t.rewinding = false
		s.stats.rewinds.Add(1)
		worked = true
	}
	for range deliveriesMax {
		if t.held {
			break
		}
		loaded, err := s.load(now)
		if err != nil {
			return worked, err
		}
		delivered, err := s.deliver()
		if err != nil {
			return worked, err
		}
		if !loaded && !delivered {
			break
		}
		worked = true
	}
	commanded, err := s.sendCommands()
	if err != nil {
		return worked, err
	}
	worked = worked || commanded
	s.publish(s.wall(), worked)
	return worked, nil
}

// holdBack finds out whether deliveries are held back. Then nothing waits in memory: it would fill
// it, and the schedule could follow no more, not even to the command that lets them go on.
func (s *Schedule) holdBack() {
	t := &s.turn
	t.doubted = !s.o.Trusts()
	held := t.applied.Paused || t.doubted
	t.rewinding = t.rewinding || held && !t.held
	t.held = held
}

// doubtedMs is how soon a clock that is not trusted is looked at again.
const doubtedMs UnixMs = 1000

// errEnough ends a scan that has taken its share.
var errEnough = errors.New("enough for one turn")

// follow takes staged batches below the staging log's high watermark into the index, and deliveries
// below the partition log's out of it, in one change; an operator's commands begin another.
func (s *Schedule) follow() (worked bool, err error) {
	t := &s.turn
	before := t.applied
	if err := s.takeLanded(); err != nil {
		return false, err
	}
	for _, e := range t.drops {
		t.ledger.drop(e)
	}
	t.drops = t.drops[:0]
	for more := true; more; before = t.applied {
		if more, err = s.takeStaged(); err != nil {
			return worked, err
		}
		applied, err := s.applyTaken(before)
		if err != nil {
			return worked, err
		}
		worked = worked || applied
	}
	return worked, nil
}

// applyTaken makes a change of what was taken since before.
func (s *Schedule) applyTaken(before Applied) (worked bool, err error) {
	t := &s.turn
	c := &t.change
	c.reset()
	if t.applied.Staging == before.Staging && t.ledger.length() == 0 {
		s.landedTo.Store(int64(t.applied.Visible))
		return false, nil
	}
	s.fence.follow(t.applied.Staging)
	t.applied.Pending += t.ledger.take(c)
	s.stats.count(&t.ledger.count)
	// In order, the index takes them with far fewer comparisons.
	sortEntries(c.Add)
	for i := range c.Add {
		s.arrive(c.Add[i])
	}
	t.limbo.release(t.applied.Staging, t.near.arrive)
	t.near.bury()
	t.near.evict()
	t.applied.Low = minOf(t.near.low(), t.limbo.low)
	removeRange(c, before.Low, t.applied.Low)
	t.applied.SettledTo = max(t.applied.SettledTo, s.SettledTo())
	t.applied.OwedFrom = t.aloft.done(t.applied.Staging)
	t.applied.Paused = t.ledger.paused
	applied := t.applied
	c.Applied = &applied
	if err := s.o.Index.Apply(s.o.Partition, c); err != nil {
		return false, err
	}
	s.landedTo.Store(int64(applied.Visible))
	s.steerings.answer()
	return true, nil
}

// takeStaged takes the staging log's batches below the high watermark. more says that it has
// stopped before a batch that can only be taken when the index has what is before it.
func (s *Schedule) takeStaged() (more bool, err error) {
	t := &s.turn
	bound := Offset(s.stagingHW.Load())
	if mutant.On(mutant.DueNowBeforeStagingHW) || mutant.On(mutant.IndexAboveHW) {
		bound = s.o.Staging.End()
	}
	// What is due or in flight cannot leave memory: when it fills it, as it may while the disk is
	// full, the rest waits in the staging log.
	if t.applied.Staging >= bound || t.near.isFull() {
		t.stalled = false
		return false, nil
	}
	taken := 0
	err = s.o.Staging.Batches(t.applied.Staging, bound, func(b batch.Batch) error {
		if taken >= followBytesMax || b.LastOffset() >= bound {
			return errEnough
		}
		if more, err = t.ledger.mustApply(b); err != nil {
			return err
		}
		if more {
			return errEnough
		}
		taken += len(b)
		if err := s.takeBatch(b); err != nil {
			return err
		}
		t.applied.Staging = b.LastOffset() + 1
		return nil
	})
	if t.stalled = log.IsTransient(err); t.stalled {
		s.retryLater(t.near.now, err) // with the batches before it, all is whole
		return false, nil
	}
	if err != nil && !errors.Is(err, errEnough) {
		return false, err
	}
	return more, nil
}

// takeBatch reads one batch of the staging log.
func (s *Schedule) takeBatch(b batch.Batch) error {
	switch b.Kind() {
	case batch.KindSettlement:
		// Its deliveries are out of the index already: Settle stays below what has landed.
		settled, err := settlementOf(b)
		if err != nil {
			return err
		}
		raise(&s.settledTo, settled.settledTo)
		return nil
	case batch.KindStaged:
		dueNow, err := s.turn.ledger.staged(b)
		if err != nil {
			return err
		}
		if dueNow > 0 {
			s.turn.owed.add(b.BaseOffset(), dueNow)
			s.turn.aloft.add(b.BaseOffset(), dueNow)
		}
		return nil
	case batch.KindCommand:
		outcomes, err := s.turn.ledger.commands(b)
		s.steerings.take(b.BaseOffset(), outcomes)
		return err
	default:
		return unknownKind(b)
	}
}

// takeLanded takes the deliveries that the partition log's high watermark has passed.
func (s *Schedule) takeLanded() error {
	t := &s.turn
	visible := Offset(s.visibleHW.Load())
	if mutant.On(mutant.IndexAboveHW) {
		visible = s.o.Visible.End()
	}
	if visible < t.near.nextLanding() {
		// Nothing of ours lies between: the index need not be told before it changes anyway.
		t.applied.Visible = max(t.applied.Visible, visible)
		return nil
	}
	now := s.o.Clock.Now()
	var failed error
	t.near.land(visible, func(f flown) {
		if f.flags.has(EntryTerms) || len(t.flying) > 0 && t.flying[f.Position] != nil {
			failed = errors.Join(failed, s.landSpecial(f.Key))
		} else {
			t.ledger.land(f.Key, f.flags)
		}
		if f.flags.has(EntryDueNow) {
			t.aloft.paid(f.Offset)
		}
		if f.lateFrom != noLateness {
			s.stats.observe(now.Sub(f.lateFrom.Time()))
		}
	})
	t.applied.Visible = max(t.applied.Visible, visible)
	return failed
}

// rangeRemovesMin is from how many removals on one range deletion is cheaper than one for each.
const rangeRemovesMin = 1024

// removeRange replaces the removals below the new low bound by one of the whole range, if they are
// many: thousands of single deletions in a row make a later seek over them slow.
func removeRange(c *Change, from, to Key) {
	if len(c.Remove) < rangeRemovesMin || !from.Less(to) {
		return
	}
	kept := c.Remove[:0]
	for _, k := range c.Remove {
		if !k.Less(to) {
			kept = append(kept, k)
		}
	}
	c.Remove, c.RemoveFrom, c.RemoveTo = kept, from, to
}

// loadMax bounds the entries of one load.
const loadMax = 65_536

// load brings entries that are due soon from the index into memory.
func (s *Schedule) load(now UnixMs) (worked bool, err error) {
	n := s.turn.near
	if !n.wantsLoad(now) {
		return false, nil
	}
	limit := min(n.max-n.length(), loadMax)
	horizon := now + n.span
	last, next, taken := Key{}, maxKey, 0
	err = s.o.Index.Scan(s.o.Partition, n.frontier, limit, func(e Entry) bool {
		if e.Due > horizon {
			next = e.Key
			return false
		}
		s.loaded(e)
		last, taken = e.Key, taken+1
		return true
	})
	if err != nil {
		return false, err
	}
	n.loaded(last, next, taken == limit, horizon)
	return taken > 0, nil
}

// publish ends a turn: it tells others how far it got and when the next one is due.
func (s *Schedule) publish(now UnixMs, worked bool) {
	t := &s.turn
	t.near.shed()
	s.publishNowDone()
	s.stats.paused.Store(t.applied.Paused)
	pending := t.applied.Pending - int64(t.near.inFlight)
	s.stats.pending.Store(pending)
	s.waiting.Lock()
	s.waiting.pending, s.waiting.followed = pending, t.applied.Staging
	s.waiting.low = t.applied.Low
	s.waiting.Unlock()
	waiting := t.near.waiting()
	s.stats.nextDue.Store(int64(waiting))
	s.stats.nearLength.Store(int64(t.near.length()))
	s.stats.nearBytes.Store(t.near.bytes())
	s.stats.inFlight.Store(int64(t.near.inFlight))
	t.wakeAt = s.nextWake(now)
	// The order matters: Advance raises visibleHW before it looks at landing, so that one of the
	// two sees the other.
	landing := t.near.nextLanding()
	s.landing.Store(int64(landing))
	if worked || Offset(s.visibleHW.Load()) >= landing {
		s.nudge()
	}
}

// publishNowDone moves NowDone, and calls OnNowDone if it moved.
func (s *Schedule) publishNowDone() {
	t := &s.turn
	done := t.owed.done(t.applied.Staging)
	if t.held {
		// Nobody knows when deliveries go on: that they are sure to come is all there is to wait
		// for.
		done = t.applied.Staging
	}
	if raise(&s.nowDone, done) {
		s.o.OnNowDone(done, s.o.Visible.End())
	}
}

// nextWake returns when a turn has something to do if nothing new arrives.
func (s *Schedule) nextWake(now UnixMs) UnixMs {
	n := s.turn.near
	if s.turn.rewinding {
		return never // the landing of the last flight wakes
	}
	wake := never
	if s.turn.stalled || len(s.turn.limbo.due) > 0 {
		wake = min(max(s.turn.retryAt, now), now+retryMaxMs)
	}
	if s.turn.held {
		if s.turn.doubted && s.turn.applied.Pending > 0 {
			wake = min(wake, now+doubtedMs) // nobody tells when the clock agrees again
		}
		return wake
	}
	if n.readyLen() > 0 && s.mayTakeOff() {
		wake = min(wake, max(n.ready[n.head].Due, min(s.turn.retryAt, now+retryMaxMs)))
	}
	if next, ok := n.wheel.Next(); ok {
		tick := UnixMs(s.o.TickMs)
		wake = min(wake, (next+tick-1)/tick*tick)
	}
	if n.outside != maxKey && n.hasRoom() {
		wake = min(wake, max(n.outside.Due-n.span/2, now))
	}
	return wake
}
