package replication

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"go.uber.org/zap"

	"github.com/chronosdb/chronosdb/log"
	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/log/journal"
	"github.com/chronosdb/chronosdb/log/mutant"
	"github.com/chronosdb/chronosdb/replication/metadata"
	"github.com/chronosdb/chronosdb/timer"
	"github.com/chronosdb/chronosdb/timer/clock"
)

// stagingDir is the folder of the staging log inside a partition's folder.
const stagingDir = "staging"

const (
	// inflatedBatchBytesMax bounds what one compressed batch may inflate to.
	inflatedBatchBytesMax = 64 << 20
	// inflatingMax bounds how many compressed batches are inflated at once, and so the memory that
	// small frames full of zeros can take. More would not be faster: it is work for a core each.
	inflatingMax = 4
)

// partitionDeps is what all partitions of a node share.
type partitionDeps struct {
	o         *Options
	committer *log.Committer
	journal   *journal.Journal // of the committer; nil in periodic mode
	buffers   *log.Buffers     // of the committer; nil in periodic mode
	index     timer.Index
	trusts    func() bool      // says whether the clock can be trusted
	failed    func(error)      // a write or fsync error: the data directory is lost to this process
	offline   func(*Partition) // asks the manager to take one partition out of service
	tidy      func(*Partition) // asks the manager's housekeeper for a checkpoint now
	touched   func(*Partition) // asks it for one in a while
	tail      func(int64)      // tells it how much more, or less, a start after a crash reads
	refused   refusals
	inflating chan struct{} // capacity inflatingMax: held while a batch is inflated
}

// Partition is one partition led by this node.
type Partition struct {
	topic  string
	index  int32
	number metadata.PartitionNumber
	epoch  batch.LeaderEpoch // of this start of the node
	dir    string
	deps   *partitionDeps

	log    *log.Log    // the partition log
	member *log.Member // its place in the group commit

	config   atomic.Pointer[metadata.TopicConfig]
	stage    atomic.Pointer[stage] // nil until a first batch is staged
	hw       [2]atomic.Int64       // by logKind; stored under mu
	watchers watchers
	closed   atomic.Bool   // mu.closed is set
	ended    chan struct{} // closed when closed is set
	traffic  traffic

	// compacting is held during a compaction, which lasts; it is taken before work.
	compacting sync.Mutex

	// work is held during what is long and must not overlap: making the stage, a checkpoint,
	// retention, and closing. It is taken before mu.
	work sync.Mutex

	mu struct {
		sync.Mutex       // held across a log append, never across an fsync or a wait
		window           *producerWindow
		nowDone          batch.Offset  // see marks
		acks             [2]ackQueue   // by logKind: waits for that log's high watermark
		sizes            sizes         // of the partition log's appends above the high watermark
		nowAcks          ackQueue      // staged batches whose due-now records are not delivered yet
		progress         chan struct{} // closed when a mark moves, if anyone waits at the gate
		arriving         arriving      // what was staged and is not followed by the schedule yet
		lastDeliveryMs   clock.UnixMs
		sinceCheckpoint  int64 // bytes appended to either log
		checkpointAsked  bool
		checkpointedEnds [2]batch.Offset
		closed           error // why appends are refused
	}
}

// stage is the staging half of a partition: the hidden log and the schedule over it.
type stage struct {
	log      *log.Log
	member   *log.Member
	schedule *timer.Schedule
	steering chan struct{} // capacity steersMax: held by each order that is on its way
}

// Name returns "topic-index", for messages to people.
func (p *Partition) Name() string { return fmt.Sprintf("%s-%d", p.topic, p.index) }

// Number returns the number that is never used twice in this data directory.
func (p *Partition) Number() metadata.PartitionNumber { return p.number }

// LeaderEpoch returns the epoch in which this node leads the partition.
func (p *Partition) LeaderEpoch() batch.LeaderEpoch { return p.epoch }

// HighWatermark returns the first offset of the partition log that consumers may not read yet.
func (p *Partition) HighWatermark() batch.Offset { return batch.Offset(p.hw[visible].Load()) }

// LastStable returns the last stable offset: the high watermark, as there are no open transactions.
func (p *Partition) LastStable() batch.Offset { return p.HighWatermark() }

// LogStart returns the first offset of the partition log that still exists.
func (p *Partition) LogStart() batch.Offset { return p.log.Start() }

// LogEnd returns the offset that the next record gets.
func (p *Partition) LogEnd() batch.Offset { return p.log.End() }

// Config returns the topic's configs as they apply to the next append.
func (p *Partition) Config() metadata.TopicConfig { return *p.config.Load() }

// setConfig takes over changed topic configs.
func (p *Partition) setConfig(c metadata.TopicConfig) {
	if c.SegmentBytes == 0 {
		c.SegmentBytes = p.deps.o.SegmentBytes
	}
	p.config.Store(&c)
	if p.log != nil {
		p.limit(p.log)
	}
	if s := p.stage.Load(); s != nil {
		p.limit(s.log)
	}
}

// limit tells a log what the configs say of its segments. The configs may change meanwhile; the
// last ones count, whoever else is telling it.
func (p *Partition) limit(l *log.Log) {
	for told := (*metadata.TopicConfig)(nil); told != p.config.Load(); {
		told = p.config.Load()
		setLimits(l, told)
	}
}

// setLimits tells a log when its segments are full.
func setLimits(l *log.Log, c *metadata.TopicConfig) {
	l.SetTopicLimits(c.SegmentBytes, segmentMs(c))
	l.SetTopicPacing(c.SegmentJitterMs, c.IndexIntervalBytes)
}

// segmentMs is the age at which a segment is closed. Compaction does not touch the active segment,
// so max.compaction.lag.ms bounds it too (LogConfig.maxSegmentMs).
func segmentMs(c *metadata.TopicConfig) int64 {
	if c.CleanupCompact {
		return min(c.SegmentMs, c.MaxCompactionLagMs)
	}
	return c.SegmentMs
}

// marks reads the marks; each moves forward only, so an old value is a safe one.
func (p *Partition) marks() marks {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.marksLocked()
}

func (p *Partition) marksLocked() marks {
	return marks{
		hw: [2]batch.Offset{
			visible: batch.Offset(p.hw[visible].Load()),
			staging: batch.Offset(p.hw[staging].Load()),
		},
		nowDone: p.mu.nowDone,
	}
}

// logOf returns one of the two logs; the staging log must exist.
func (p *Partition) logOf(kind logKind) *log.Log {
	if kind == staging {
		return p.stage.Load().log
	}
	return p.log
}

func (p *Partition) memberOf(kind logKind) *log.Member {
	if kind == staging {
		return p.stage.Load().member
	}
	return p.member
}

// appendedLocked is called after every append to a log, before mu is released.
func (p *Partition) appendedLocked(kind logKind, bytes int, end batch.Offset) (reached []waiting) {
	if p.mu.sinceCheckpoint == 0 {
		p.deps.touched(p)
	}
	p.mu.sinceCheckpoint += int64(bytes)
	p.deps.tail(int64(bytes))
	if p.mu.sinceCheckpoint >= checkpointBytes && !p.mu.checkpointAsked {
		p.mu.checkpointAsked = true
		p.deps.tidy(p)
	}
	if kind == visible {
		p.mu.sizes.push(end, bytes)
	}
	if p.deps.o.FsyncMode == log.Periodic || mutant.On(mutant.HWAheadOfFlushed) {
		return p.advanceLocked(kind, end)
	}
	return nil
}

// flushed is the group commit's call: everything of one log below end is durable.
func (p *Partition) flushed(kind logKind, end batch.Offset) {
	p.mu.Lock()
	reached := p.advanceLocked(kind, end)
	// In periodic mode the high watermark was there before, and somebody may wait for the disk.
	p.progressLocked()
	p.mu.Unlock()
	p.announce(kind, reached)
}

// advanceLocked moves a high watermark and collects the acks that it completes. With one replica
// the high watermark is this replica's flushed end; with more it will be the lowest of the in-sync
// ones.
func (p *Partition) advanceLocked(kind logKind, end batch.Offset) []waiting {
	if int64(end) <= p.hw[kind].Load() {
		return nil
	}
	p.hw[kind].Store(int64(end))
	p.progressLocked()
	reached := p.mu.acks[kind].popReached(end, nil)
	if kind == visible {
		p.watchers.passed.Add(p.mu.sizes.pop(end))
		return reached
	}
	// A staged batch with due-now records is answered when those are durable in the partition log.
	done := reached[:0]
	for _, w := range reached {
		if w.dueNow && p.deps.o.FsyncMode != log.Periodic {
			p.mu.nowAcks.push(w)
		} else {
			done = append(done, w)
		}
	}
	return done
}

// announce tells the world of an advance, outside mu.
func (p *Partition) announce(kind logKind, reached []waiting) {
	for _, w := range reached {
		w.ack.complete(nil)
	}
	if s := p.stage.Load(); s != nil {
		s.schedule.Advance(p.scheduleMark(staging, s.log), p.scheduleMark(visible, p.log))
	}
	if kind == visible {
		p.watchers.advance(p.HighWatermark)
	}
}

// scheduleMark bounds what a schedule may act on: below the high watermark and durable. The two are
// the same except in periodic mode, where the high watermark runs ahead of the disk.
func (p *Partition) scheduleMark(kind logKind, l *log.Log) batch.Offset {
	return min(batch.Offset(p.hw[kind].Load()), l.FlushedEnd())
}

// nowDone is the schedule's call: every staged record below done that was due when its turn came is
// in the partition log, which then ended at end.
func (p *Partition) nowDone(done, end batch.Offset) {
	p.mu.Lock()
	if done <= p.mu.nowDone {
		p.mu.Unlock()
		return
	}
	p.mu.nowDone = done
	p.progressLocked()
	for _, w := range p.mu.nowAcks.popReached(done, nil) {
		p.mu.acks[visible].push(waiting{need: end, ack: w.ack})
	}
	reached := p.mu.acks[visible].popReached(p.HighWatermark(), nil)
	p.mu.Unlock()
	for _, w := range reached {
		w.ack.complete(nil)
	}
}

// progressLocked wakes who waits at the gate.
func (p *Partition) progressLocked() {
	if p.mu.progress != nil {
		close(p.mu.progress)
		p.mu.progress = nil
	}
}

// shut refuses appends from now on; the first reason stays.
func (p *Partition) shut(reason error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.closed == nil {
		p.mu.closed = reason
		close(p.ended)
	}
	p.closed.Store(true)
	p.resetTailLocked()
	p.progressLocked()
}

// resetTailLocked forgets what was appended since the last checkpoint.
func (p *Partition) resetTailLocked() {
	p.deps.tail(-p.mu.sinceCheckpoint)
	p.mu.sinceCheckpoint = 0
}

// tailBytes is what was appended since the last checkpoint.
func (p *Partition) tailBytes() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mu.sinceCheckpoint
}

// fail is shut that also fails what waits.
func (p *Partition) fail(err error) {
	p.shut(err)
	p.mu.Lock()
	var all []waiting
	all = p.mu.acks[visible].popAll(all)
	all = p.mu.acks[staging].popAll(all)
	all = p.mu.nowAcks.popAll(all)
	p.mu.Unlock()
	for _, w := range all {
		w.ack.complete(err)
	}
	p.watchers.wakeAll()
}

// close stops the partition cleanly: what was appended is flushed and answered first. It waits for
// a checkpoint or a look at retention that is under way.
func (p *Partition) close() error {
	p.shut(fmt.Errorf("%w: %s", ErrClosed, p.Name()))
	p.compacting.Lock() // the compaction that holds it has seen that the partition is shut
	defer p.compacting.Unlock()
	p.work.Lock()
	defer p.work.Unlock()
	var all []error // each counts: a full disk at the checkpoint does not hide a failed log
	keep := func(what string, err error) {
		if err != nil {
			all = append(all, fmt.Errorf("close %s of partition %s: %w", what, p.Name(), err))
		}
	}
	s := p.stage.Load()
	if s != nil {
		keep("schedule", s.schedule.Close())
	}
	keep("checkpoint", p.checkpointLogs())
	p.flushed(visible, p.log.FlushedEnd())
	if s != nil {
		p.flushed(staging, s.log.FlushedEnd())
	}
	p.member.Leave()
	keep("log", p.log.Close())
	if s != nil {
		s.member.Leave()
		keep("staging log", s.log.Close())
	}
	p.fail(ErrClosed)
	return errors.Join(all...)
}

// logger names the partition in every line.
func (p *Partition) logger() *zap.Logger {
	return p.deps.o.Logger.With(zap.String("topic", p.topic), zap.Int32("partition", p.index))
}
