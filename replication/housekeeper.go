package replication

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/chronosdb/chronosdb/timer/clock"
)

// housekeeper does what must happen now and then and must not hold up a request: checkpoints that
// move recovery points, retention, and forgetting idle producers. One goroutine, owned by Manager.
type housekeeper struct {
	m    *Manager
	wake chan struct{} // cap 1: checkpoints are wanted
	quit chan struct{}
	done sync.WaitGroup
	tail atomic.Int64 // bytes appended to all logs since their checkpoints

	mu struct {
		sync.Mutex
		wanted  map[*Partition]struct{} // bounded by the number of partitions
		touched map[*Partition]struct{} // likewise: written to since their last checkpoint
	}
}

func newHousekeeper(m *Manager) *housekeeper {
	k := &housekeeper{m: m, wake: make(chan struct{}, 1), quit: make(chan struct{})}
	k.mu.wanted = map[*Partition]struct{}{}
	k.mu.touched = map[*Partition]struct{}{}
	return k
}

// checkpointAge is how long after its first append a partition gets a checkpoint at the latest:
// with many partitions, what a start reads of all of them adds up.
const checkpointAge = time.Minute

// noteTail counts what a start after a crash would read more, or less after a checkpoint. It never
// blocks.
func (k *housekeeper) noteTail(bytes int64) {
	if n := k.tail.Add(bytes); bytes > 0 && n >= k.m.o.TailBytesMax {
		k.nudge()
	}
}

// wantLongest asks for checkpoints of the partitions with the longest tails when all tails together
// are too long: until half of what they may be is left.
func (k *housekeeper) wantLongest() {
	if k.tail.Load() < k.m.o.TailBytesMax {
		return
	}
	type tail struct {
		p     *Partition
		bytes int64
	}
	var all []tail
	sum := int64(0)
	for _, p := range k.m.partitions() { // whose locks are taken before k.mu elsewhere
		t := tail{p, p.tailBytes()}
		sum += t.bytes
		all = append(all, t)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	slices.SortFunc(all, func(a, b tail) int { return cmp.Compare(b.bytes, a.bytes) })
	for _, t := range all {
		if sum <= k.m.o.TailBytesMax/2 {
			return
		}
		sum -= t.bytes
		k.mu.wanted[t.p] = struct{}{}
	}
}

// noteTouched notes the first append after a checkpoint; it never blocks.
func (k *housekeeper) noteTouched(p *Partition) {
	k.mu.Lock()
	first := len(k.mu.touched) == 0
	k.mu.touched[p] = struct{}{}
	k.mu.Unlock()
	if first {
		k.nudge()
	}
}

func (k *housekeeper) nudge() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// wantCheckpoint notes that a partition has written enough; it never blocks.
func (k *housekeeper) wantCheckpoint(p *Partition) {
	k.mu.Lock()
	k.mu.wanted[p] = struct{}{}
	k.mu.Unlock()
	k.nudge()
}

func (k *housekeeper) start() {
	if k.m.o.Manual {
		return
	}
	// Stopped and waited for by stop.
	k.done.Go(k.run)
}

func (k *housekeeper) stop() {
	close(k.quit)
	k.done.Wait()
}

func (k *housekeeper) run() {
	look := k.m.o.Clock.NewTimer(k.m.o.RetentionInterval)
	defer look.Stop()
	age := k.m.o.Clock.NewTimer(checkpointAge)
	age.Stop() // It runs only while a partition has something to check point.
	defer age.Stop()
	armed := false
	for {
		select {
		case <-k.quit:
			return
		case <-k.wake:
			k.wantLongest()
			k.checkpoints()
		case <-age.C():
			armed = false
			k.wantTouched()
			k.checkpoints()
		case <-look.C():
			k.retention()
			look.Reset(k.m.o.RetentionInterval)
		}
		if !armed && k.hasTouched() {
			age.Reset(checkpointAge)
			armed = true
		}
	}
}

func (k *housekeeper) hasTouched() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.mu.touched) > 0
}

// wantTouched asks for a checkpoint of every partition that was written to.
func (k *housekeeper) wantTouched() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for p := range k.mu.touched {
		k.mu.wanted[p] = struct{}{}
	}
}

// checkpoints serves every partition that asked. The index is flushed once for all: without it the
// next start would follow the logs from where the index last wrote itself out.
func (k *housekeeper) checkpoints() {
	k.mu.Lock()
	wanted := k.mu.wanted
	k.mu.wanted = map[*Partition]struct{}{}
	for p := range wanted {
		delete(k.mu.touched, p)
	}
	k.mu.Unlock()
	for p := range wanted {
		if err := p.checkpoint(); err != nil {
			k.failed(p, "checkpoint", err)
		}
	}
	if len(wanted) == 0 {
		return
	}
	if err := k.m.index.Flush(); err != nil {
		k.m.o.Logger.Warn("schedule index was not flushed; the next start reads more", zap.Error(err))
	}
}

// retention looks at every partition once.
func (k *housekeeper) retention() {
	now := clock.ToMs(k.m.o.Clock.Now())
	for _, p := range k.m.partitions() {
		select {
		case <-k.quit:
			return
		default:
		}
		if err := p.enforceRetention(now, k.quit); err != nil {
			k.failed(p, "retention", err)
		}
	}
}

// failed sorts an error: a full disk passes, damage takes the partition offline, and what is left
// is a fault of the data directory.
func (k *housekeeper) failed(p *Partition, what string, err error) {
	if p.closed.Load() {
		return
	}
	if passes(err) {
		p.logger().Warn(what+" was put off", zap.Error(err))
		return
	}
	p.scheduleFailed(err)
}
