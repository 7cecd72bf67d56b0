package replication

import (
	"sync"

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

	mu struct {
		sync.Mutex
		wanted map[*Partition]struct{} // bounded by the number of partitions
	}
}

func newHousekeeper(m *Manager) *housekeeper {
	k := &housekeeper{m: m, wake: make(chan struct{}, 1), quit: make(chan struct{})}
	k.mu.wanted = map[*Partition]struct{}{}
	return k
}

// wantCheckpoint notes that a partition has written enough; it never blocks.
func (k *housekeeper) wantCheckpoint(p *Partition) {
	k.mu.Lock()
	k.mu.wanted[p] = struct{}{}
	k.mu.Unlock()
	select {
	case k.wake <- struct{}{}:
	default:
	}
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
	timer := k.m.o.Clock.NewTimer(k.m.o.RetentionInterval)
	defer timer.Stop()
	for {
		select {
		case <-k.quit:
			return
		case <-k.wake:
			k.checkpoints()
		case <-timer.C():
			k.retention()
			timer.Reset(k.m.o.RetentionInterval)
		}
	}
}

// checkpoints serves every partition that asked.
func (k *housekeeper) checkpoints() {
	k.mu.Lock()
	wanted := k.mu.wanted
	k.mu.wanted = map[*Partition]struct{}{}
	k.mu.Unlock()
	for p := range wanted {
		if err := p.checkpoint(); err != nil {
			k.failed(p, "checkpoint", err)
		}
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
	if p.mayGoOn(err) {
		p.logger().Warn(what+" was put off", zap.Error(err))
		return
	}
	p.scheduleFailed(err)
}
