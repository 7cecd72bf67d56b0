package timer

import (
	"sync"

	"github.com/cockroachdb/pebble/v2"
)

// indexCompactions lets the index run one compaction at a time. It has no goroutine: Pebble asks
// for a compaction after each flush, and is offered the next when one is done. Pebble's own
// scheduler looks for work ten times a second for ever, and goes on doing so after a failed open.
//
// None starts before the index is open: one that runs while the opening fails finds its files
// closed, and panics.
type indexCompactions struct {
	mu struct {
		sync.Mutex
		offered  sync.Cond // offering became false
		db       pebble.DBForCompaction
		running  int
		open     bool
		offering bool // the database is being asked, without the lock
		refused  bool // it asked since it was last offered, and was told no
		closed   bool
	}
}

func newIndexCompactions() *indexCompactions {
	c := &indexCompactions{}
	c.mu.offered.L = &c.mu
	return c
}

// Register is Pebble's call while it opens.
func (c *indexCompactions) Register(_ int, db pebble.DBForCompaction) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.db = db
}

// Unregister is Pebble's call while it closes. Nothing is offered once it has returned.
func (c *indexCompactions) Unregister() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.closed = true
	for c.mu.offering {
		c.mu.offered.Wait()
	}
}

// begin allows compactions from now on.
func (c *indexCompactions) begin() {
	c.mu.Lock()
	c.mu.open = true
	c.mu.Unlock()
	c.offer()
}

// TrySchedule is Pebble's question whether it may start a compaction now.
func (c *indexCompactions) TrySchedule() (bool, pebble.CompactionGrantHandle) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.mayStartLocked() {
		c.mu.refused = true
		return false, nil
	}
	c.mu.running++
	return true, c
}

func (c *indexCompactions) mayStartLocked() bool {
	return c.mu.open && !c.mu.closed && c.mu.running == 0
}

// offer starts the compaction that waits, if one does. Pebble does not ask again by itself: what it
// was refused while it was being asked here must be offered once more, or never runs, and the index
// stops taking writes when it has too many small files.
func (c *indexCompactions) offer() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.mu.offering {
		c.mu.offered.Wait()
	}
	for c.mayStartLocked() {
		accepted := c.offerOneLocked()
		if accepted || !c.mu.refused {
			return
		}
	}
}

// offerOneLocked asks the database, without the lock, whether a compaction waits, and starts it.
func (c *indexCompactions) offerOneLocked() (accepted bool) {
	c.mu.offering, c.mu.refused = true, false
	c.mu.running++
	db := c.mu.db
	c.mu.Unlock()
	waiting, _ := db.GetWaitingCompaction()
	accepted = waiting && db.Schedule(c)
	c.mu.Lock()
	if !accepted {
		c.mu.running--
	}
	c.mu.offering = false
	c.mu.offered.Broadcast()
	return accepted
}

// UpdateGetAllowedWithoutPermission tells of a change in a number that is always one here.
func (c *indexCompactions) UpdateGetAllowedWithoutPermission() {}

// Started is Pebble's call when a compaction begins; its figures are not needed.
func (c *indexCompactions) Started() {}

// MeasureCPU is Pebble's call from a compaction's goroutines.
func (c *indexCompactions) MeasureCPU(pebble.CompactionGoroutineKind) {}

// CumulativeStats is Pebble's call with a compaction's figures.
func (c *indexCompactions) CumulativeStats(pebble.CompactionGrantHandleStats) {}

// Done is Pebble's call when a compaction has ended.
func (c *indexCompactions) Done() {
	c.mu.Lock()
	c.mu.running--
	c.mu.Unlock()
	c.offer()
}
