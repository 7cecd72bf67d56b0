package replication

import (
	"fmt"

	"github.com/chronosdb/chronosdb/log"
	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/log/mutant"
	"github.com/chronosdb/chronosdb/timer/clock"
)

// enforceRetention forgets idle producers, closes segments that nobody uses, and deletes those of
// the partition log that retention.ms and retention.bytes no longer keep.
//
// Before a delivered batch goes, its settlement is durable in the staging log. A delivery is the
// only proof that its pending record is done; if it went first, an index rebuilt from the two logs
// would find the record pending and deliver it again.
func (p *Partition) enforceRetention(now clock.UnixMs, quit <-chan struct{}) error {
	p.work.Lock()
	defer p.work.Unlock()
	if p.closed.Load() {
		return nil
	}
	p.log.CloseUnused()
	if s := p.stage.Load(); s != nil {
		s.log.CloseUnused()
	}
	cfg := p.config.Load()
	p.mu.Lock()
	p.mu.window.expire(now)
	p.mu.Unlock()
	policy := log.RetentionPolicy{Ms: -1, Bytes: -1}
	if cfg.CleanupDelete {
		policy = log.RetentionPolicy{Ms: cfg.RetentionMs, Bytes: cfg.RetentionBytes}
	}
	// Only what is durable may be settled: a settlement that outlived its delivery would be the end
	// of the record.
	to := p.log.RetentionPoint(policy, now, p.scheduleMark(visible, p.log))
	if to <= p.log.Start() {
		return nil
	}
	if settled, err := p.settleBelow(to, quit); err != nil || !settled {
		return err
	}
	return p.forgetOwned(to)
}

// settleBelow makes sure that no pending record depends on a delivery below to. It reports false
// when that cannot be said yet, or it was told to quit.
func (p *Partition) settleBelow(to batch.Offset, quit <-chan struct{}) (bool, error) {
	s := p.stage.Load()
	if s == nil || mutant.On(mutant.NoSettlements) {
		return true, nil
	}
	return p.settle(s, to, quit)
}

// forgetOwned makes to, a settled offset, the log's start. The caller holds work.
func (p *Partition) forgetOwned(to batch.Offset) error {
	// A batch that is deleted before a producer snapshot knows it would leave a hole in the window
	// that the next start rebuilds: its retry would be new, its successor out of order.
	p.mu.Lock()
	covered := p.mu.checkpointedEnds[visible] >= to
	p.mu.Unlock()
	if !covered {
		if err := p.checkpointOwned(); err != nil {
			return err
		}
	}
	// Appends go on meanwhile, so that a deletion may be counted for less than it was.
	bytes, segments := p.log.Size(), p.log.Segments()
	if err := p.log.AdvanceStart(to); err != nil {
		return fmt.Errorf("delete old segments of partition %s: %w", p.Name(), err)
	}
	p.traffic.deleted(max(0, bytes-p.log.Size()), max(0, segments-p.log.Segments()))
	return nil
}

// settle writes settlements for every delivery below to, and waits until they are below the staging
// log's high watermark. It reports false when it was told to quit.
func (p *Partition) settle(s *stage, to batch.Offset, quit <-chan struct{}) (bool, error) {
	for s.schedule.SettledTo() < to {
		b, upTo, err := s.schedule.Settle(to)
		if err != nil {
			return false, fmt.Errorf("settle deliveries of partition %s: %w", p.Name(), err)
		}
		if b == nil {
			// Nothing was delivered in the rest of that range, or it cannot be said yet: then
			// retention waits for its next turn.
			return s.schedule.SettledTo() >= to, nil
		}
		end, err := p.appendSettlement(s, b)
		if err != nil {
			return false, err
		}
		if ok, err := p.awaitStaging(s, end, quit); !ok || err != nil {
			return false, err
		}
		// The schedule's next turns read the settlement and move SettledTo; taking them here saves
		// waiting for the runner. One that is too full to take it in does so later.
		s.schedule.Advance(p.scheduleMark(staging, s.log), p.scheduleMark(visible, p.log))
		for s.schedule.SettledTo() < upTo {
			worked, err := s.schedule.RunOnce()
			if !worked || err != nil {
				return false, err
			}
		}
	}
	return true, nil
}

func (p *Partition) appendSettlement(s *stage, b batch.Batch) (batch.Offset, error) {
	p.mu.Lock()
	if p.mu.closed != nil {
		err := p.mu.closed
		p.mu.Unlock()
		return 0, err
	}
	_, end, err := s.log.Append(b, p.epoch)
	if err != nil {
		p.mu.Unlock()
		return 0, p.appendError(err)
	}
	reached := p.appendedLocked(staging, len(b), end)
	p.mu.Unlock()
	s.member.Dirty()
	p.announce(staging, reached)
	return end, nil
}

// awaitStaging waits until the staging log is durable up to end.
func (p *Partition) awaitStaging(s *stage, end batch.Offset, quit <-chan struct{}) (bool, error) {
	return p.awaitDurable(staging, s.log, end, quit)
}

// awaitDurable waits until one of the logs is durable, and consumers may see it, up to end.
func (p *Partition) awaitDurable(
	kind logKind, l *log.Log, end batch.Offset, quit <-chan struct{},
) (bool, error) {
	if p.deps.o.Manual {
		if _, err := p.deps.committer.CommitOnce(); err != nil {
			return false, err
		}
	}
	p.mu.Lock()
	for l.FlushedEnd() < end || p.hw[kind].Load() < int64(end) {
		if p.mu.closed != nil {
			p.mu.Unlock()
			return false, nil
		}
		if p.mu.progress == nil {
			p.mu.progress = make(chan struct{})
		}
		progress := p.mu.progress
		p.mu.Unlock()
		select {
		case <-progress:
		case <-quit:
			return false, nil
		}
		p.mu.Lock()
	}
	p.mu.Unlock()
	return true, nil
}
