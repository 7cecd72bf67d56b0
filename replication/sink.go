package replication

import (
	"github.com/chronosdb/chronosdb/log"
	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/timer"
)

// sink is the schedule's way into the two logs.
type sink struct{ p *Partition }

// Deliver appends a batch of deliveries to the partition log. There is no producer window: the
// position in each record is what makes it once. The high watermark rule is the same as for every
// other batch. Staged batches are appended under the same lock: what is allowed under it was not
// cancelled before.
func (s sink) Deliver(b batch.Batch, allowed func() bool) (batch.Offset, error) {
	return s.append(visible, b, allowed, nil)
}

// Command appends a command of the schedule to the staging log.
func (s sink) Command(b batch.Batch) (batch.Offset, error) {
	return s.append(staging, b, nil, nil)
}

// append appends a batch of the server's own. allowed and noted, if not nil, are called with the
// partition's lock held, before and after it.
func (s sink) append(
	kind logKind, b batch.Batch, allowed func() bool, noted func(base, end batch.Offset),
) (batch.Offset, error) {
	p := s.p
	if p.deps.buffers != nil && !p.deps.o.Manual {
		// Not a reservation: producers that wait at the gate may hold all of the memory that there
		// is to reserve, and it is this delivery that they wait for. What is drained frees memory
		// whoever waits, so this wait ends.
		if err := p.deps.buffers.AwaitDrain(); err != nil {
			return 0, p.appendError(err)
		}
	}
	p.mu.Lock()
	if p.mu.closed != nil {
		err := p.mu.closed
		p.mu.Unlock()
		return 0, err
	}
	if allowed != nil && !allowed() {
		p.mu.Unlock()
		return 0, timer.ErrFenced
	}
	base, end, err := p.logOf(kind).Append(b, p.epoch)
	if err != nil {
		p.mu.Unlock()
		return 0, p.appendError(err)
	}
	if noted != nil {
		noted(base, end)
	}
	if kind == visible {
		p.mu.lastDeliveryMs = max(p.mu.lastDeliveryMs, b.MaxTimestamp())
	}
	reached := p.appendedLocked(kind, len(b), end)
	p.mu.Unlock()
	p.memberOf(kind).Dirty()
	if len(reached) > 0 || p.deps.o.FsyncMode == log.Periodic {
		p.announce(kind, reached)
	}
	return end, nil
}
