package replication

import (
	"errors"
	"fmt"

	"github.com/chronosdb/chronosdb/log"
	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/log/compaction"
	"github.com/chronosdb/chronosdb/timer/clock"
)

// errCompactionEnded ends a compaction whose partition or node is being closed.
var errCompactionEnded = errors.New("compaction was told to end")

// planCompaction says what there is to compact of the partition log, and whether it is time: enough
// of it has not been looked at yet, or some of that for too long. The rules are those of Kafka's
// LogCleanerManager.grabFilthiestCompactedLog.
func (p *Partition) planCompaction(now clock.UnixMs) (plan log.CompactionPlan, due bool) {
	cfg := p.config.Load()
	if !cfg.CleanupCompact || p.closed.Load() {
		return plan, false
	}
	plan = p.log.PlanCompaction(log.CompactionPolicy{
		// What may not be settled yet may not go either; see enforceRetention.
		Bound:    min(p.LastStable(), p.scheduleMark(visible, p.log)),
		MinLagMs: cfg.MinCompactionLagMs, MaxLagMs: cfg.MaxCompactionLagMs,
	}, now)
	due = plan.DirtyBytes > 0 && (plan.Overdue || plan.Ratio() > cfg.MinCleanableDirtyRatio)
	return plan, due
}

// compactionOrder is what a compaction needs to know beside the partition.
type compactionOrder struct {
	now      clock.UnixMs
	mapBytes int64
	pace     func(bytes int, ended <-chan struct{}) error // pacer.wait
	quit     <-chan struct{}
}

// compact removes from the partition log up to an offset, PlanCompaction's, what a later record of
// the same key has replaced. It reports whether anything was looked at that was not before.
func (p *Partition) compact(to batch.Offset, o compactionOrder) (progress bool, err error) {
	p.compacting.Lock()
	defer p.compacting.Unlock()
	ready, err := p.beforeCompaction(to, o.quit)
	if err != nil || !ready {
		return false, err
	}
	res, err := p.log.Compact(log.CompactionRequest{
		To: to, Now: o.now, DeleteRetentionMs: p.config.Load().DeleteRetentionMs,
		MapBytes: o.mapBytes, Producers: p.lastRecords(),
		Pace: func(bytes int) error {
			if p.closed.Load() {
				return errCompactionEnded
			}
			return o.pace(bytes, p.ended)
		},
	})
	if errors.Is(err, errCompactionEnded) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("compact partition %s: %w", p.Name(), err)
	}
	return res.To > res.From, nil
}

// beforeCompaction makes durable what is still to be known of the batches below an offset when
// some of their records are gone: the settlements of deliveries, and what the producer snapshot
// holds. It reports false if the former cannot be said yet, or it was told to quit.
func (p *Partition) beforeCompaction(to batch.Offset, quit <-chan struct{}) (bool, error) {
	p.work.Lock()
	defer p.work.Unlock()
	if p.closed.Load() {
		return false, nil
	}
	if settled, err := p.settleBelow(to, quit); err != nil || !settled {
		return false, err
	}
	// The checkpoint also moves the recovery point, below which compaction stays.
	return true, p.checkpointOwned()
}

// lastRecords returns how far the batches of each remembered producer reach in the partition log.
// The last one of each stays, so that a window which is rebuilt without a snapshot knows its
// sequence. One that is written after this call lies beyond what is compacted.
func (p *Partition) lastRecords() map[batch.ProducerID]compaction.LastRecord {
	p.mu.Lock()
	defer p.mu.Unlock()
	last := make(map[batch.ProducerID]compaction.LastRecord, len(p.mu.window.byID))
	for id, s := range p.mu.window.byID {
		if end := s.gate.ends[visible]; end > 0 {
			last[id] = compaction.LastRecord{LastOffset: end - 1, Epoch: s.epoch}
		}
	}
	return last
}
