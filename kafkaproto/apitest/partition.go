package apitest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/chronosdb/chronosdb/kafkaproto/api"
	"github.com/chronosdb/chronosdb/log"
	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/replication"
	"github.com/chronosdb/chronosdb/replication/metadata"
)

// epoch is every partition's leader epoch.
const epoch = 3

// Partition is a log in memory.
type Partition struct {
	auto   bool
	config metadata.TopicConfig

	mu struct {
		sync.Mutex
		batches  []batch.Batch // copies, with offsets
		start    batch.Offset
		end, hw  batch.Offset
		acks     []*ack
		watchers map[*watcher]batch.Offset
		refuse   error // what the next appends get
		offline  error
		reads    int
		onAppend func(raw batch.Batch)
		onRead   func()
	}
}

func newPartition(auto bool, config metadata.TopicConfig) *Partition {
	p := &Partition{auto: auto, config: config}
	p.mu.watchers = map[*watcher]batch.Offset{}
	return p
}

// ack is the promise of one append.
type ack struct {
	done   chan struct{}
	need   batch.Offset
	result replication.AppendResult
	err    error
}

func (a *ack) Done() <-chan struct{} { return a.done }

func (a *ack) IsDone() bool {
	select {
	case <-a.done:
		return true
	default:
		return false
	}
}

func (a *ack) Result() (replication.AppendResult, error) { return a.result, a.err }

// watcher waits for high watermarks.
type watcher struct {
	c    chan struct{}
	need atomic.Int64
}

func (w *watcher) Need(bytes int64) { w.need.Store(bytes) }

func (w *watcher) C() <-chan struct{} { return w.c }

func (w *watcher) wake() {
	select {
	case w.c <- struct{}{}:
	default:
	}
}

// Refuse makes the next appends fail; nil ends that.
func (p *Partition) Refuse(err error) {
	p.mu.Lock()
	p.mu.refuse = err
	p.mu.Unlock()
}

// Offline takes the partition out of service; nil ends that.
func (p *Partition) Offline(err error) {
	p.mu.Lock()
	p.mu.offline = err
	p.mu.Unlock()
}

func (p *Partition) offlineError() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.offline == nil {
		return nil
	}
	return &replication.OfflineError{Partition: "test", Err: p.mu.offline}
}

// OnAppend is called with each appended batch, before it is.
func (p *Partition) OnAppend(f func(raw batch.Batch)) {
	p.mu.Lock()
	p.mu.onAppend = f
	p.mu.Unlock()
}

// OnRead is called at the beginning of the next read, once.
func (p *Partition) OnRead(f func()) {
	p.mu.Lock()
	p.mu.onRead = f
	p.mu.Unlock()
}

// SetStart moves the log start.
func (p *Partition) SetStart(o batch.Offset) {
	p.mu.Lock()
	p.mu.start = o
	p.mu.Unlock()
}

// Reads is how often the partition was read.
func (p *Partition) Reads() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mu.reads
}

// Watchers is how many watchers there are.
func (p *Partition) Watchers() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.mu.watchers)
}

// Put appends a batch as it is but for its base offset, such as an empty one, and commits it.
func (p *Partition) Put(b batch.Batch) {
	p.mu.Lock()
	p.appendLocked(slices.Clone(b))
	p.commitLocked()
	p.mu.Unlock()
}

func (p *Partition) appendLocked(b batch.Batch) *ack {
	b.SetBaseOffset(p.mu.end)
	b.SetLeaderEpoch(epoch)
	a := &ack{done: make(chan struct{})}
	a.result = replication.AppendResult{BaseOffset: p.mu.end, LogAppendTime: -1, LogStart: p.mu.start}
	p.mu.batches = append(p.mu.batches, b)
	p.mu.end = b.LastOffset() + 1
	a.need = p.mu.end
	p.mu.acks = append(p.mu.acks, a)
	return a
}

// Append implements api.Partition.
func (p *Partition) Append(
	_ context.Context, raw batch.Batch, _ replication.AppendOptions,
) (api.Ack, error) {
	if err := batch.CheckFromClient(raw, int(p.config.MaxMessageBytes)); err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.refuse != nil {
		return nil, p.mu.refuse
	}
	if p.mu.onAppend != nil {
		p.mu.onAppend(raw)
	}
	a := p.appendLocked(slices.Clone(raw))
	if p.auto {
		p.commitLocked()
	}
	return a, nil
}

// Commit makes everything durable.
func (p *Partition) Commit() {
	p.mu.Lock()
	p.commitLocked()
	p.mu.Unlock()
}

// Abandon fails every append that is not durable yet, as when the partition closes.
func (p *Partition) Abandon(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, a := range p.mu.acks {
		a.err = err
		close(a.done)
	}
	p.mu.acks = nil
}

func (p *Partition) commitLocked() {
	passed := int64(0)
	for _, b := range p.mu.batches {
		if b.BaseOffset() >= p.mu.hw {
			passed += int64(len(b))
		}
	}
	p.mu.hw = p.mu.end
	for _, a := range p.mu.acks {
		close(a.done)
	}
	p.mu.acks = nil
	for w, above := range p.mu.watchers {
		if p.mu.hw > above && w.need.Add(-passed) <= 0 {
			w.wake()
		}
	}
}

// Read implements api.Partition.
func (p *Partition) Read(
	dst []byte, r replication.FetchRead,
) ([]byte, replication.FetchState, error) {
	p.mu.Lock()
	before := p.mu.onRead
	p.mu.onRead = nil
	p.mu.Unlock()
	if before != nil {
		before()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.reads++
	state := replication.FetchState{
		HighWatermark: p.mu.hw, LastStable: p.mu.hw, LogStart: p.mu.start, LeaderEpoch: epoch,
	}
	if err := p.CheckEpoch(r.CurrentEpoch); err != nil {
		return dst, state, err
	}
	if r.LastFetchedEpoch >= 0 && r.LastFetchedEpoch < epoch {
		state.Diverging = &replication.EpochEnd{Epoch: r.LastFetchedEpoch, End: 1}
		return dst, state, nil
	}
	if r.From < p.mu.start || r.From > p.mu.end {
		return dst, state, fmt.Errorf("%w: %d", log.ErrOffsetOutOfRange, r.From)
	}
	left := r.MaxBytes
	for _, b := range p.mu.batches {
		if b.LastOffset() < r.From || b.LastOffset() >= p.mu.hw {
			continue
		}
		if len(b) > left && !r.MinOne {
			break
		}
		dst = append(dst, b...)
		left -= len(b)
		r.MinOne = false
	}
	return dst, state, nil
}

// close wakes all watchers, as a partition that goes.
func (p *Partition) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for w := range p.mu.watchers {
		w.wake()
	}
}

// Watch implements api.Partition.
func (p *Partition) Watch(w api.Watcher, above batch.Offset) {
	p.mu.Lock()
	defer p.mu.Unlock()
	own := w.(*watcher)
	p.mu.watchers[own] = above
	if p.mu.hw > above {
		own.wake()
	}
}

// Unwatch implements api.Partition.
func (p *Partition) Unwatch(w api.Watcher) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.mu.watchers, w.(*watcher))
}

// DeleteRecords implements api.Partition.
func (p *Partition) DeleteRecords(
	_ context.Context, before batch.Offset,
) (batch.Offset, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if before == replication.BeforeHighWatermark {
		before = p.mu.hw
	}
	if before < 0 || before > p.mu.hw {
		return 0, fmt.Errorf("%w: %d", log.ErrOffsetOutOfRange, before)
	}
	p.mu.start = max(p.mu.start, before)
	return p.mu.start, p.mu.refuse
}

// HighWatermark implements api.Partition.
func (p *Partition) HighWatermark() batch.Offset {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mu.hw
}

// LogStart implements api.Partition.
func (p *Partition) LogStart() batch.Offset {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mu.start
}

// LeaderEpoch implements api.Partition.
func (p *Partition) LeaderEpoch() batch.LeaderEpoch { return epoch }

// CheckEpoch implements api.Partition.
func (p *Partition) CheckEpoch(current batch.LeaderEpoch) error {
	switch {
	case current < 0 || current == epoch:
		return nil
	case current < epoch:
		return replication.ErrFencedLeaderEpoch
	default:
		return replication.ErrUnknownLeaderEpoch
	}
}

// OffsetForTime implements api.Partition: a record's time is a thousand times its offset.
func (p *Partition) OffsetForTime(ts int64, _ bool) (replication.FoundOffset, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch ts {
	case replication.LatestTimestamp:
		return replication.FoundOffset{Offset: p.mu.hw, Timestamp: -1, Epoch: epoch}, nil
	case replication.EarliestTimestamp:
		return replication.FoundOffset{Offset: p.mu.start, Timestamp: -1, Epoch: epoch}, nil
	case replication.MaxTimestamp:
		ts = int64(p.mu.hw-1) * 1000
	}
	if o := batch.Offset((ts + 999) / 1000); o < p.mu.hw {
		return replication.FoundOffset{Offset: o, Timestamp: batch.UnixMs(o * 1000), Epoch: epoch}, nil
	}
	return replication.FoundOffset{Offset: -1, Timestamp: -1, Epoch: -1}, nil
}

// EpochEnd implements api.Partition.
func (p *Partition) EpochEnd(e batch.LeaderEpoch) (batch.LeaderEpoch, batch.Offset) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e > epoch {
		return -1, -1
	}
	return epoch, p.mu.end
}

// Served implements api.Partition. Nothing is counted here.
func (p *Partition) Served(int, int) {}
