package replication

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/chronosdb/chronosdb/log/batch"
)

// Watcher waits for the high watermarks of any number of partitions, until they have let enough
// bytes pass together. It belongs to one parked fetch.
type Watcher struct {
	c    chan struct{}
	need atomic.Int64 // bytes that are still missing
}

// NewWatcher returns a watcher of nothing yet.
func NewWatcher() *Watcher { return &Watcher{c: make(chan struct{}, 1)} }

// Need says how many more bytes are to come before the watcher is woken. It is called before Watch.
func (w *Watcher) Need(bytes int64) { w.need.Store(bytes) }

// C receives once for any number of wake-ups since the last receive. One may come early, and never
// late.
func (w *Watcher) C() <-chan struct{} { return w.c }

func (w *Watcher) wake() {
	select {
	case w.c <- struct{}{}:
	default: // A wake-up is waiting to be received; one is enough.
	}
}

// watchers is the set of watchers of one partition.
type watchers struct {
	// passed are bytes that the high watermark has passed and no watcher has been told of.
	passed atomic.Int64

	mu struct {
		sync.Mutex
		above map[*Watcher]batch.Offset // told of what passes above this
	}
}

// Watch tells w of the bytes that the high watermark passes above the given offset. If it is above
// already, nobody knows by how much: then w is woken at once, and looks; so it is if the partition
// has closed. A second Watch of the same pair replaces the first.
func (p *Partition) Watch(w *Watcher, above batch.Offset) {
	p.watchers.mu.Lock()
	if p.watchers.mu.above == nil {
		p.watchers.mu.above = map[*Watcher]batch.Offset{}
	}
	p.watchers.mu.above[w] = above
	p.watchers.mu.Unlock()
	// Looked at after it is registered, so that an advance in between, or the end, wakes it one way
	// or the other.
	if p.HighWatermark() > above || p.closed.Load() {
		w.wake()
	}
}

// Unwatch ends a Watch; it is a no-op for a pair that is not watched.
func (p *Partition) Unwatch(w *Watcher) {
	p.watchers.mu.Lock()
	delete(p.watchers.mu.above, w)
	p.watchers.mu.Unlock()
}

// advance tells the watchers whose offset the high watermark has passed of the bytes that it has
// passed, and wakes those that have enough. The bytes are taken before the high watermark is read,
// which moves before they are counted: so the bytes of another advance are never taken with an
// older one.
func (s *watchers) advance(highWatermark func() batch.Offset) {
	s.mu.Lock()
	defer s.mu.Unlock()
	passed := s.passed.Swap(0)
	hw := highWatermark()
	for w, above := range s.mu.above {
		if hw > above && w.need.Add(-passed) <= 0 {
			w.wake()
		}
	}
}

// sizes are the appends above a high watermark, in their order: how many bytes it passes when it
// moves. Their number is bounded by the requests in flight.
type sizes struct{ items []appendSize }

type appendSize struct {
	end   batch.Offset
	bytes int64
}

func (q *sizes) push(end batch.Offset, bytes int) {
	q.items = append(q.items, appendSize{end, int64(bytes)})
}

// pop removes the appends that lie below a mark and returns their bytes.
func (q *sizes) pop(mark batch.Offset) (bytes int64) {
	n := 0
	for n < len(q.items) && q.items[n].end <= mark {
		bytes += q.items[n].bytes
		n++
	}
	q.items = slices.Delete(q.items, 0, n)
	return bytes
}

// wakeAll wakes everyone, for a partition that closes: what they read next tells them why.
func (s *watchers) wakeAll() {
	s.mu.Lock()
	for w := range s.mu.above {
		w.wake()
	}
	s.mu.Unlock()
}
