package replication

import (
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/timer/clock"
)

// cleaner compacts partition logs, the dirtiest first, one at a time, as Kafka's LogCleaner does
// with its one thread. One goroutine, owned by Manager.
type cleaner struct {
	m    *Manager
	pace *pacer
	quit chan struct{}
	done sync.WaitGroup
}

func newCleaner(m *Manager) *cleaner {
	quit := make(chan struct{})
	return &cleaner{
		m: m, quit: quit,
		pace: &pacer{clock: m.o.Clock, bytesPerSecond: m.o.CompactionBytesPerSecond, quit: quit},
	}
}

func (c *cleaner) start() {
	if c.m.o.Manual {
		return
	}
	// Stopped and waited for by stop.
	c.done.Go(c.run)
}

func (c *cleaner) stop() {
	close(c.quit)
	c.done.Wait()
}

func (c *cleaner) run() {
	look := c.m.o.Clock.NewTimer(c.m.o.CompactionInterval)
	defer look.Stop()
	for {
		select {
		case <-c.quit:
			return
		case <-look.C():
			c.cleanAll()
			look.Reset(c.m.o.CompactionInterval)
		}
	}
}

// cleanAll compacts until there is nothing left that is due. A partition with which it does not get
// on is left for the next look; so the number of turns is bounded by what there is to compact.
func (c *cleaner) cleanAll() {
	stuck := map[*Partition]bool{}
	for {
		select {
		case <-c.quit:
			return
		default:
		}
		p, order, to := c.dirtiest(stuck)
		if p == nil {
			return
		}
		progress, err := p.compact(to, order)
		if err != nil {
			c.m.keeper.failed(p, "compaction", err)
		}
		stuck[p] = !progress
	}
}

// dirtiest chooses the partition of which the greatest share was not compacted yet, among those
// that are due.
func (c *cleaner) dirtiest(stuck map[*Partition]bool) (*Partition, compactionOrder, batch.Offset) {
	order := compactionOrder{
		now: clock.ToMs(c.m.o.Clock.Now()), mapBytes: c.m.o.CompactionMapBytes,
		pace: c.pace.wait, quit: c.quit,
	}
	var found *Partition
	var to batch.Offset
	best := -1.0
	for _, p := range c.m.partitions() {
		if stuck[p] {
			continue
		}
		plan, due := p.planCompaction(order.now)
		if due && plan.Ratio() > best {
			found, to, best = p, plan.To, plan.Ratio()
		}
	}
	if found != nil {
		found.logger().Debug("compacting", zap.Float64("dirty_ratio", best))
	}
	return found, order, to
}

// pacer bounds how many bytes are read and written in a second, on average. Its zero rate bounds
// nothing.
type pacer struct {
	clock          clock.Clock
	bytesPerSecond int64
	quit           <-chan struct{}
	free           time.Time // when the bytes so far are paid for
}

// paceStep is how much is saved up before it waits: short sleeps are long ones.
const paceStep = 20 * time.Millisecond

// wait pays for some bytes. It gives up when the node is closed, or who pays has ended: what a pass
// owes for one large batch may take hours.
func (p *pacer) wait(bytes int, ended <-chan struct{}) error {
	select {
	case <-p.quit:
		return errCompactionEnded
	default:
	}
	if p.bytesPerSecond <= 0 {
		return nil
	}
	now := p.clock.Now()
	if p.free.Before(now) {
		p.free = now
	}
	cost := float64(bytes) / float64(p.bytesPerSecond) * float64(time.Second)
	p.free = p.free.Add(time.Duration(cost))
	owed := p.free.Sub(now)
	if owed < paceStep {
		return nil
	}
	t := p.clock.NewTimer(owed)
	defer t.Stop()
	select {
	case <-t.C():
		return nil
	case <-ended:
	case <-p.quit:
	}
	return errCompactionEnded
}
