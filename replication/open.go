package replication

import (
	"errors"
	"fmt"
	"io/fs"
	"math"

	"go.uber.org/zap"

	"github.com/chronosdb/chronosdb/log"
	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/replication/metadata"
	"github.com/chronosdb/chronosdb/timer"
)

// checkpointBytes is how much may be appended to a partition's two logs before its recovery points
// move. It bounds what a start after a crash reads of each partition.
const checkpointBytes = 64 << 20

// partitionSpec says which partition to open.
type partitionSpec struct {
	topic *metadata.Topic
	index int32
	dir   string         // exists already
	read  *partitionRead // counts what is read; nil counts nothing
}

// openPartition recovers a partition in the order that design and DESIGN.md give: both logs to
// their ends, the producer window, then the schedule with what was delivered. Nothing is served
// before.
func openPartition(deps *partitionDeps, spec partitionSpec) (*Partition, error) {
	meta := spec.topic.Partitions[spec.index]
	p := &Partition{
		topic: spec.topic.Name, index: spec.index, number: meta.Number, epoch: meta.LeaderEpoch,
		dir: spec.dir, deps: deps, ended: make(chan struct{}),
	}
	p.setConfig(spec.topic.Config)
	r, err := p.beginReplay()
	if err != nil {
		return nil, err
	}
	r.read = spec.read
	if p.log, err = p.openLog(visible, r); err != nil {
		return nil, err
	}
	stagingLog, err := p.openExistingStaging(r)
	if err != nil {
		return nil, errors.Join(err, p.log.Close())
	}
	r.finish()
	p.mu.window = r.window
	p.hw[visible].Store(int64(p.log.FlushedEnd()))
	p.member = deps.committer.Join(p.log, func(end batch.Offset) { p.flushed(visible, end) })
	if stagingLog == nil {
		return p, nil
	}
	s, err := p.openStage(stagingLog)
	if err != nil {
		p.member.Leave()
		return nil, errors.Join(err, stagingLog.Close(), p.log.Close())
	}
	p.stage.Store(s)
	p.mu.nowDone = max(p.mu.nowDone, s.schedule.NowDone())
	return p, nil
}

// beginReplay reads the producer snapshot. Without a usable one the whole logs are replayed.
func (p *Partition) beginReplay() (*windowReplay, error) {
	window, at, err := readProducers(p.deps.o.FS, p.dir)
	if errors.Is(err, errNoSnapshot) {
		return &windowReplay{window: newProducerWindow()}, nil
	}
	if err != nil {
		return nil, err
	}
	p.mu.lastDeliveryMs = at.lastDeliveryMs
	p.mu.checkpointedEnds = at.ends
	return &windowReplay{window: window, from: at.ends}, nil
}

// openLog opens one of the two logs, feeds the window, and makes everything that was recovered
// durable, so that the high watermark may begin at the log's end.
func (p *Partition) openLog(kind logKind, r *windowReplay) (*log.Log, error) {
	dir, name := p.dir, topicsDir+"/"+p.deps.o.FS.PathBase(p.dir)
	if kind == staging {
		dir, name = p.deps.o.FS.PathJoin(p.dir, stagingDir), name+"/"+stagingDir
	}
	cfg := p.config.Load()
	first := batch.Offset(math.MaxInt64) // the first offset that Open itself has shown
	l, err := log.Open(dir, log.Options{
		FS: p.deps.o.FS, Clock: p.deps.o.Clock, Logger: p.logger(),
		SegmentBytes: cfg.SegmentBytes, SegmentMs: segmentMs(cfg),
		Journal: p.deps.journal, Buffers: p.deps.buffers, Name: name,
		OnRecover: func(b batch.Batch) error {
			first = min(first, b.BaseOffset())
			r.read.add(len(b))
			p.replayed(kind, b, r)
			return nil
		},
	})
	if err != nil {
		return nil, fmt.Errorf("open log of partition %s: %w", p.Name(), err)
	}
	setLimits(l, cfg)
	if err := p.catchUp(kind, l, first, r); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	// A crash can leave batches in the page cache that no fsync has covered. They are valid, so
	// they are kept; they must be durable before the high watermark says so.
	if _, err := l.Flush(); err != nil {
		return nil, errors.Join(fmt.Errorf("flush log of partition %s: %w", p.Name(), err), l.Close())
	}
	return l, nil
}

// catchUp replays the batches between the snapshot and the recovery point. There are some when a
// crash came between a log's checkpoint and the snapshot that goes with it, or if there is no
// snapshot; only their headers are read.
func (p *Partition) catchUp(kind logKind, l *log.Log, shown batch.Offset, r *windowReplay) error {
	if r.from[kind] > l.End() {
		return fmt.Errorf("%w: producer snapshot of partition %s names offset %d, its log ends at %d",
			ErrDisagree, p.Name(), r.from[kind], l.End())
	}
	from, to := max(r.from[kind], l.Start()), min(shown, l.End())
	if from >= to {
		return nil
	}
	err := l.Headers(from, to, func(b batch.Batch, _ int) error {
		p.replayed(kind, b, r)
		return nil
	})
	if err != nil {
		return fmt.Errorf("replay producers of partition %s: %w", p.Name(), err)
	}
	return nil
}

func (p *Partition) replayed(kind logKind, b batch.Batch, r *windowReplay) {
	r.add(kind, b)
	if kind == visible && b.IsMarked() {
		p.mu.lastDeliveryMs = max(p.mu.lastDeliveryMs, b.MaxTimestamp())
	}
}

func (p *Partition) openExistingStaging(r *windowReplay) (*log.Log, error) {
	fsys := p.deps.o.FS
	_, err := fsys.Stat(fsys.PathJoin(p.dir, stagingDir))
	if errors.Is(err, fs.ErrNotExist) {
		if r.from[staging] > 0 {
			return nil, fmt.Errorf("%w: partition %s has staged batches but no folder %s",
				ErrDisagree, p.Name(), fsys.PathJoin(p.dir, stagingDir))
		}
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for staging log of partition %s: %w", p.Name(), err)
	}
	return p.openLog(staging, r)
}

// stageOf returns the staging half, making it at first use: most topics never need one.
func (p *Partition) stageOf() (*stage, error) {
	if s := p.stage.Load(); s != nil {
		return s, nil
	}
	// Closing takes work, too: no folder is made behind it.
	p.work.Lock()
	defer p.work.Unlock()
	if s := p.stage.Load(); s != nil {
		return s, nil
	}
	if err := p.inService(); err != nil {
		return nil, err
	}
	// The log makes its folder, and makes the name durable before it takes anything.
	l, err := p.openLog(staging, &windowReplay{window: newProducerWindow()})
	if err != nil {
		return nil, p.appendError(err)
	}
	s, err := p.openStage(l)
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	p.stage.Store(s)
	p.limit(s.log) // A change since it was opened has not found it.
	s.start(p)
	return s, nil
}

// openStage opens the schedule over an open staging log; it delivers nothing yet.
func (p *Partition) openStage(l *log.Log) (*stage, error) {
	o := p.deps.o
	p.hw[staging].Store(int64(l.FlushedEnd()))
	schedule, err := timer.Open(timer.Options{
		Partition: timer.PartitionNumber(p.number),
		Staging:   l, Visible: p.log,
		Index: p.deps.index, Clock: o.Clock,
		Sink: sink{p}, Trusts: p.deps.trusts,
		TickMs: o.TickMs, WheelSlots: o.WheelSize,
		MaxBatchBytes:  func() int { return int(p.config.Load().MaxMessageBytes) },
		Codec:          func() (batch.Codec, batch.Level, bool) { return p.config.Load().Codec() },
		LastDeliveryMs: p.mu.lastDeliveryMs,
		OnNowDone:      p.nowDone,
		OnFailure:      p.scheduleFailed,
		Logger:         p.logger(), Manual: o.Manual,
	})
	if err != nil {
		return nil, fmt.Errorf("open schedule of partition %s: %w", p.Name(), err)
	}
	s := &stage{log: l, schedule: schedule, steering: make(chan struct{}, steersMax)}
	s.member = p.deps.committer.Join(l, func(end batch.Offset) { p.flushed(staging, end) })
	return s, nil
}

// start arms the schedule: from here on it delivers.
func (s *stage) start(p *Partition) {
	s.schedule.Advance(p.scheduleMark(staging, s.log), p.scheduleMark(visible, p.log))
	s.schedule.Start()
}

// startSchedule is called once recovery is complete. What an earlier life left to be read again at
// the next start counts towards the next checkpoint, so that crashes in a row do not add up.
func (p *Partition) startSchedule() {
	tail := p.log.TailBytes()
	if s := p.stage.Load(); s != nil {
		tail += s.log.TailBytes()
	}
	if tail > 0 {
		p.mu.Lock()
		p.appendedLocked(visible, int(tail), 0)
		p.mu.Unlock()
	}
	if s := p.stage.Load(); s != nil {
		s.start(p)
	}
}

// scheduleFailed is the schedule's call when it cannot go on: damage below it, or what the disk
// refuses to read, takes this partition offline, anything else is a fault of the data directory.
func (p *Partition) scheduleFailed(err error) {
	if errors.Is(err, log.ErrCorrupt) || errors.Is(err, log.ErrUnreadable) {
		p.goOffline(err)
		return
	}
	if p.closed.Load() {
		return // Whoever closed it knows why.
	}
	p.deps.failed(fmt.Errorf("schedule of partition %s: %w", p.Name(), err))
}

// goOffline takes this partition out of service; the rest of the node goes on.
func (p *Partition) goOffline(err error) {
	offline := &OfflineError{Partition: p.Name(), Err: err}
	p.logger().Error("partition goes offline", zap.Error(err))
	p.fail(offline)
	p.deps.offline(p)
}

// checkpoint moves everything that a start after a crash begins from up to now: how far the
// schedule index follows the logs, the producer snapshot, and both recovery points.
func (p *Partition) checkpoint() error {
	p.work.Lock()
	defer p.work.Unlock()
	if p.closed.Load() {
		return nil
	}
	return p.checkpointOwned()
}

// checkpointOwned is checkpoint for the owner of work.
func (p *Partition) checkpointOwned() error {
	if s := p.stage.Load(); s != nil {
		if err := s.schedule.Checkpoint(false); err != nil {
			return err
		}
	}
	return p.checkpointLogs()
}

// checkpointLogs writes the producer snapshot and moves both recovery points up to it. The order
// is what a crash needs: a snapshot may name batches that the recovery points do not cover yet,
// which are then shown twice and skipped once; the reverse would lose them from the window.
func (p *Partition) checkpointLogs() error {
	s := p.stage.Load()
	p.mu.Lock()
	at := snapshotPoint{lastDeliveryMs: p.mu.lastDeliveryMs}
	at.ends[visible] = p.log.End()
	if s != nil {
		at.ends[staging] = s.log.End()
	}
	p.mu.checkpointAsked = false
	p.resetTailLocked()
	if at.ends == p.mu.checkpointedEnds {
		p.mu.Unlock()
		return nil
	}
	data := encodeProducers(p.mu.window, at)
	p.mu.Unlock()

	// What the snapshot names must be durable before the snapshot is.
	if _, err := p.log.Flush(); err != nil {
		return err
	}
	if s != nil {
		if _, err := s.log.Flush(); err != nil {
			return err
		}
	}
	if err := writeProducers(p.deps.o.FS, p.dir, data); err != nil {
		return err
	}
	if err := p.log.CheckpointTo(at.ends[visible]); err != nil {
		return err
	}
	if s != nil {
		if err := s.log.CheckpointTo(at.ends[staging]); err != nil {
			return err
		}
	}
	p.mu.Lock()
	p.mu.checkpointedEnds = at.ends
	p.mu.Unlock()
	return nil
}
