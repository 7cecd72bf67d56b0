package replication

import (
	"context"
	"fmt"

	"github.com/chronosdb/chronosdb/log"
	"github.com/chronosdb/chronosdb/log/batch"
)

// BeforeHighWatermark stands for the high watermark in DeleteRecords.
const BeforeHighWatermark batch.Offset = -1

// settleTriesMax bounds how often a deletion asks the schedule to settle: a turn takes in a bounded
// part of the log.
const settleTriesMax = 256

// DeleteRecords makes before the first offset of the partition log, durably, and returns the first
// one that there is then: before, or a later one if there was less already. Segments that lie
// wholly below it are deleted; what is pending is never touched.
//
// As with retention, a delivery goes only when its settlement is durable (design 2.4).
//
// Errors: log.ErrOffsetOutOfRange above the high watermark, ErrUndeletable, ErrNotSettled,
// ErrStorage, ErrClosed, *OfflineError, ctx's.
func (p *Partition) DeleteRecords(ctx context.Context, before batch.Offset) (batch.Offset, error) {
	p.work.Lock()
	defer p.work.Unlock()
	if err := p.inService(); err != nil {
		return 0, err
	}
	if c := p.config.Load(); c.CleanupCompact && !c.CleanupDelete {
		return 0, fmt.Errorf("%w: Records of partition %s can not be deleted due to the configured "+
			"policy", ErrUndeletable, p.Name())
	}
	hw := p.HighWatermark()
	if before == BeforeHighWatermark {
		before = hw
	}
	if before < 0 {
		return 0, fmt.Errorf("%w: The offset %d for partition %s is not valid",
			log.ErrOffsetOutOfRange, before, p.Name())
	}
	if before > hw {
		return 0, fmt.Errorf("%w: Cannot increment the log start offset to %d of partition %s since "+
			"it is larger than the high watermark %d", log.ErrOffsetOutOfRange, before, p.Name(), hw)
	}
	if before <= p.log.Start() {
		return p.log.Start(), nil
	}
	if err := p.deleteOwned(ctx, before); err != nil {
		return 0, err
	}
	return p.log.Start(), nil
}

// deleteOwned is DeleteRecords for an offset between the start and the high watermark. The caller
// holds work.
func (p *Partition) deleteOwned(ctx context.Context, before batch.Offset) error {
	// A batch of which only a part goes is settled as a whole.
	whole := before
	if before < p.log.End() {
		err := p.log.Headers(before, before+1, func(b batch.Batch, _ int) error {
			if b.BaseOffset() < before {
				whole = b.LastOffset() + 1
			}
			return nil
		})
		if err != nil {
			return p.workFailed("look up what to delete", err)
		}
	}
	// In periodic mode the high watermark is ahead of the disk; only what is durable is settled.
	if ok, err := p.awaitDurable(visible, p.log, whole, ctx.Done()); !ok || err != nil {
		return p.cutShort(ctx, err)
	}
	settled, err := false, error(nil)
	for try := 0; !settled && err == nil && try < settleTriesMax && ctx.Err() == nil; try++ {
		settled, err = p.settleBelow(whole, ctx.Done())
	}
	if !settled || err != nil {
		return p.cutShort(ctx, err)
	}
	if err := p.forgetOwned(before); err != nil {
		return p.workFailed("delete records", err)
	}
	return nil
}

// cutShort says why a deletion did not come to its end.
func (p *Partition) cutShort(ctx context.Context, err error) error {
	if err != nil {
		return p.workFailed("delete records", err)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := p.inService(); err != nil {
		return err
	}
	return fmt.Errorf("%w: partition %s; ask again", ErrNotSettled, p.Name())
}

// workFailed sorts an error as the housekeeper does: a full disk passes, anything else has its
// consequences before the client is told.
func (p *Partition) workFailed(what string, err error) error {
	switch {
	case p.closed.Load():
		return fmt.Errorf("%w: %s: %w", ErrClosed, p.Name(), err)
	case passes(err):
		return fmt.Errorf("%w: %s in partition %s: %w", ErrStorage, what, p.Name(), err)
	}
	p.scheduleFailed(err)
	return fmt.Errorf("%s in partition %s: %w", what, p.Name(), err)
}
