package replication

import (
	"sync"

	"github.com/chronosdb/chronosdb/log/batch"
)

// Watcher waits for the high watermarks of any number of partitions. It belongs to one parked
// fetch.
type Watcher struct {
	c chan struct{}
}

// NewWatcher returns a watcher of nothing yet.
func NewWatcher() *Watcher { return &Watcher{c: make(chan struct{}, 1)} }

// C receives once for any number of advances since the last receive.
func (w *Watcher) C() <-chan struct{} { return w.c }

func (w *Watcher) wake() {
	select {
	case w.c <- struct{}{}:
	default: // A wake-up is waiting to be received; one is enough.
	}
}

// watchers is the set of watchers of one partition.
type watchers struct {
	mu struct {
		sync.Mutex
		above map[*Watcher]batch.Offset // woken when the high watermark is above this
	}
}

// Watch wakes w whenever the high watermark is above the given offset, at once if it is already. A
// second Watch of the same pair replaces the first.
func (p *Partition) Watch(w *Watcher, above batch.Offset) {
	p.watchers.mu.Lock()
	if p.watchers.mu.above == nil {
		p.watchers.mu.above = map[*Watcher]batch.Offset{}
	}
	p.watchers.mu.above[w] = above
	p.watchers.mu.Unlock()
	// Looked at after it is registered, so that an advance in between wakes it one way or the
	// other.
	if p.HighWatermark() > above {
		w.wake()
	}
}

// Unwatch ends a Watch; it is a no-op for a pair that is not watched.
func (p *Partition) Unwatch(w *Watcher) {
	p.watchers.mu.Lock()
	delete(p.watchers.mu.above, w)
	p.watchers.mu.Unlock()
}

// advance wakes the watchers whose offset the high watermark has passed.
func (s *watchers) advance(hw batch.Offset) {
	s.mu.Lock()
	for w, above := range s.mu.above {
		if hw > above {
			w.wake()
		}
	}
	s.mu.Unlock()
}

// wakeAll wakes everyone, for a partition that closes: what they read next tells them why.
func (s *watchers) wakeAll() {
	s.mu.Lock()
	for w := range s.mu.above {
		w.wake()
	}
	s.mu.Unlock()
}
