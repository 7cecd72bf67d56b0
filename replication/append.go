package replication

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/chronosdb/chronosdb/log"
	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/log/mutant"
	"github.com/chronosdb/chronosdb/replication/metadata"
	"github.com/chronosdb/chronosdb/timer"
	"github.com/chronosdb/chronosdb/timer/clock"
)

// AppendOptions go with one produced batch.
type AppendOptions struct {
	// Origin is the connection that the batch came from; it orders producers without an id.
	Origin *Origin
	// AllReplicas says that the batch is to be refused if fewer replicas than min.insync.replicas
	// would get it (acks=all).
	AllReplicas bool
}

// Append takes one batch from a producer: it is checked by the topic's rules, judged by the
// producer window, and appended to the partition log, or, if a record carries a control header, to
// the staging log. The Ack is done once the batch is durable and, for records due at once,
// delivered.
//
// It blocks at the gate, for a producer that changes logs, and while more comes in than the disk
// takes, until ctx ends. raw is stamped in place and may be used again once Append has returned.
//
// Errors: those of batch.CheckFromClient and timer.Stage, ErrInvalidTimestamp, *KeylessError,
// ErrNotEnoughReplicas, ErrOutOfOrderSequence, ErrInvalidProducerEpoch, ErrStorage, ErrClosed,
// *OfflineError, ctx's.
func (p *Partition) Append(ctx context.Context, raw batch.Batch, o AppendOptions) (*Ack, error) {
	cfg := p.config.Load()
	if o.AllReplicas && cfg.MinInsyncReplicas > insyncReplicas {
		return nil, fmt.Errorf("%w: The size of the current ISR : %d is insufficient to satisfy the "+
			"min.isr requirement of %d for partition %s", ErrNotEnoughReplicas, insyncReplicas,
			cfg.MinInsyncReplicas, p.Name())
	}
	if err := batch.CheckFromClient(raw, maxBatchBytes(cfg)); err != nil {
		return nil, err
	}
	now := clock.ToMs(p.deps.o.Clock.Now())
	kind, from, to := visible, raw.BaseTimestamp(), raw.MaxTimestamp()
	if cfg.ScheduleEnable || cfg.CleanupCompact {
		summary, err := p.walk(raw)
		if err != nil {
			return nil, err
		}
		if summary.NullKeys > 0 && cfg.CleanupCompact {
			return nil, p.keyless(raw, summary)
		}
		from, to = summary.MinTimestamp, summary.MaxTimestamp
		if to != raw.MaxTimestamp() {
			// Retention and look-ups by time go by it: the records say it, not the producer.
			raw.SetMaxTimestamp(to)
			raw.SealCRC()
		}
		if summary.Control > 0 && cfg.ScheduleEnable {
			kind = staging
		}
	}
	if err := checkTimestamps([2]clock.UnixMs{from, to}, cfg, now); err != nil {
		return nil, err
	}
	if kind == visible {
		var err error
		if raw, err = p.recompress(raw, cfg); err != nil {
			return nil, err
		}
	} else if _, err := p.stageOf(); err != nil {
		return nil, err
	}
	// Before the lock: who waits for memory must not hold up those that free some.
	done, err := p.reserve(ctx, len(raw))
	if err != nil {
		return nil, err
	}
	defer done()
	return p.appendProduced(ctx, raw, produced{kind: kind, origin: o.Origin, cfg: cfg})
}

// reserve waits until memory is free for an append of n bytes; done gives back what the append has
// not used. In periodic mode nothing is kept in memory.
func (p *Partition) reserve(ctx context.Context, n int) (done func(), err error) {
	if p.deps.buffers == nil {
		return func() {}, nil
	}
	if p.deps.o.Manual && !p.deps.buffers.Fits(n) {
		// Nobody drains but the next commit. What then has no room goes without a reservation: there is
		// nobody who would wait for its memory either.
		if _, err := p.deps.committer.CommitOnce(); err != nil || !p.deps.buffers.Fits(n) {
			return func() {}, err
		}
	}
	done, err = p.deps.buffers.Reserve(ctx, n)
	if err != nil && ctx.Err() == nil {
		err = p.appendError(err)
	}
	return done, err
}

// insyncReplicas is how many replicas a partition of a single node has.
const insyncReplicas = 1

// produced is a checked batch on its way to a log.
type produced struct {
	kind   logKind
	origin *Origin
	cfg    *metadata.TopicConfig
}

// checkTimestamps applies Kafka's message.timestamp.{before,after}.max.ms to the earliest and
// latest timestamp of a batch. It does not apply under LogAppendTime, where the producer's
// timestamps are replaced (LogValidator.validateTimestamp).
func checkTimestamps(bounds [2]clock.UnixMs, cfg *metadata.TopicConfig, now clock.UnixMs) error {
	if cfg.LogAppendTime {
		return nil
	}
	for _, ts := range bounds {
		if ts < 0 {
			continue // "No timestamp", which Kafka accepts.
		}
		if ahead := int64(ts - now); ahead > cfg.TimestampAfterMaxMs {
			return fmt.Errorf("%w: %d is %d ms in the future, %s is %d", ErrInvalidTimestamp,
				ts, ahead, metadata.ConfigTimestampAfterMax, cfg.TimestampAfterMaxMs)
		}
		if behind := int64(now - ts); behind > cfg.TimestampBeforeMaxMs {
			return fmt.Errorf("%w: %d is %d ms in the past, %s is %d", ErrInvalidTimestamp,
				ts, behind, metadata.ConfigTimestampBeforeMax, cfg.TimestampBeforeMaxMs)
		}
	}
	return nil
}

// maxBatchBytes is the topic's max.message.bytes, at least 1: to package batch, 0 is no limit.
func maxBatchBytes(cfg *metadata.TopicConfig) int { return int(max(cfg.MaxMessageBytes, 1)) }

// inflate holds a place among those that may inflate a compressed batch at the same time.
func (p *Partition) inflate(b batch.Batch) (release func()) {
	if b.Codec() == batch.None {
		return func() {}
	}
	p.deps.inflating <- struct{}{}
	return func() { <-p.deps.inflating }
}

func (p *Partition) walk(b batch.Batch) (batch.ControlSummary, error) {
	defer p.inflate(b)()
	return controlNames(p.config.Load()).Walk(b, inflatedBatchBytesMax)
}

// keyless finds the records without a key, for the answer.
func (p *Partition) keyless(b batch.Batch, sum batch.ControlSummary) error {
	e := &KeylessError{Partition: p.Name(), Count: sum.NullKeys}
	defer p.inflate(b)()
	r, err := batch.NewReader(b, inflatedBatchBytesMax)
	if err != nil {
		return err
	}
	defer r.Close()
	for len(e.Records) < min(sum.NullKeys, keylessRecordsMax) {
		rec, ok, err := r.Next()
		if err != nil || !ok {
			return errors.Join(e, err)
		}
		if rec.Key == nil {
			e.Records = append(e.Records, r.Index())
		}
	}
	return e
}

// recompress applies compression.type to a batch for the partition log.
func (p *Partition) recompress(b batch.Batch, cfg *metadata.TopicConfig) (batch.Batch, error) {
	codec, level, fixed := cfg.Codec()
	if !fixed || codec == b.Codec() {
		return b, nil
	}
	defer p.inflate(b)()
	again, err := batch.RecompressLevel(b, codec, level, inflatedBatchBytesMax)
	if err != nil {
		return nil, err
	}
	if len(again) > maxBatchBytes(cfg) {
		return nil, fmt.Errorf("%w: the batch has %d bytes under compression.type=%s, the limit is %d",
			batch.ErrTooLarge, len(again), cfg.CompressionType, maxBatchBytes(cfg))
	}
	return again, nil
}

// appendProduced judges a batch, waits at the gate and appends it.
func (p *Partition) appendProduced(ctx context.Context, b batch.Batch, how produced) (*Ack, error) {
	// The connection's gate is looked up before the lock: tidying it looks at other partitions.
	gate := &gateState{}
	if b.ProducerID() < 0 && how.origin != nil {
		gate = how.origin.gate(p)
	}
	p.mu.Lock()
	for {
		if p.mu.closed != nil {
			err := p.mu.closed
			p.mu.Unlock()
			return nil, err
		}
		known, err := p.judgeLocked(b)
		if known != nil || err != nil {
			ack := p.answerKnownLocked(known)
			p.mu.Unlock()
			return ack, err
		}
		if s := p.mu.window.byID[b.ProducerID()]; s != nil {
			gate = &s.gate
		}
		if gate.open(how.kind, p.marksLocked()) || mutant.On(mutant.NoGate) {
			return p.appendJudgedLocked(b, how, gate)
		}
		if err := p.waitProgress(ctx); err != nil {
			return nil, err
		}
	}
}

// waitProgress is called with mu held. It releases it until a mark moves, and returns with it
// held, or with an error and released.
func (p *Partition) waitProgress(ctx context.Context) error {
	if p.mu.progress == nil {
		p.mu.progress = make(chan struct{})
	}
	progress := p.mu.progress
	p.mu.Unlock()
	select {
	case <-progress:
		p.mu.Lock()
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *Partition) judgeLocked(b batch.Batch) (*windowEntry, error) {
	if b.ProducerID() < 0 {
		return nil, nil
	}
	return p.mu.window.judge(b)
}

// answerKnownLocked gives a duplicate the answer of its original, and not before the original's: a
// duplicate that is answered early tells a producer that a batch is durable which is not.
func (p *Partition) answerKnownLocked(e *windowEntry) *Ack {
	if e == nil {
		return nil
	}
	if e.ack == nil && e.kind == staging && e.replayed {
		e.ack = p.awaitReplayedLocked(e)
	}
	if e.ack != nil && !mutant.On(mutant.DuplicateBeforeDurable) {
		return e.ack
	}
	ack := newAck(e.result(p.log.Start()))
	ack.complete(nil)
	return ack
}

// awaitReplayedLocked makes the ack of a staged batch that an earlier life of this process
// accepted. A crash may have come before its due-now records were delivered, and a replay does not
// know whether it had any: it waits until NowDone has passed the batch and what that delivered is
// durable. It is nil if that is so already.
func (p *Partition) awaitReplayedLocked(e *windowEntry) *Ack {
	if p.deps.o.FsyncMode == log.Periodic {
		return nil
	}
	ack := newAck(e.result(p.log.Start()))
	switch end := p.log.End(); {
	case e.end > p.mu.nowDone:
		p.mu.nowAcks.push(waiting{need: e.end, ack: ack})
	case end > p.HighWatermark(): // Its delivery may be on its way to the disk.
		p.mu.acks[visible].push(waiting{need: end, ack: ack})
	default:
		return nil
	}
	return ack
}

// result is the answer that a batch gets, the first time and every time after.
func (e *windowEntry) result(logStart batch.Offset) AppendResult {
	r := AppendResult{BaseOffset: e.base, LogAppendTime: e.appendMs, LogStart: logStart}
	if e.kind == staging {
		r.BaseOffset = -1
	}
	return r
}

// appendJudgedLocked appends a batch that is neither known nor refused, and releases mu.
func (p *Partition) appendJudgedLocked(b batch.Batch, how produced, gate *gateState) (*Ack, error) {
	now := clock.ToMs(p.deps.o.Clock.Now())
	stored, dueNow := b, false
	var ids []uint64
	waits := int64(0)
	if how.kind == staging {
		staged, info, err := p.stageLocked(b, how.cfg, now)
		if err == nil {
			waits, err = p.admitLocked(&info, how.cfg)
		}
		if err != nil {
			p.deps.refused.count(err)
			p.mu.Unlock()
			return nil, err
		}
		stored, dueNow, ids = staged, info.DueNow > 0, info.IDs
	} else if how.cfg.LogAppendTime {
		b.SetLogAppendTime(now) // Under the lock, so that append times rise with offsets.
	}
	base, end, err := p.logOf(how.kind).Append(stored, p.epoch)
	if err != nil {
		p.mu.Unlock()
		return nil, p.appendError(err)
	}
	if len(ids) > 0 {
		p.stage.Load().schedule.Fence(end, ids)
	}
	if waits > 0 {
		p.mu.arriving.add(end, waits)
	}
	entry := windowEntry{
		first: b.BaseSequence(), last: b.LastSequence(),
		kind: how.kind, base: base, end: end, appendMs: -1,
	}
	if how.kind == visible && how.cfg.LogAppendTime {
		entry.appendMs = stored.MaxTimestamp()
	}
	entry.ack = newAck(entry.result(p.log.Start()))
	gate.note(how.kind, end, dueNow)
	if b.ProducerID() >= 0 {
		s := p.mu.window.accept(b, entry, now)
		s.gate.note(how.kind, end, dueNow)
	}
	p.traffic.appended(len(b), b.Count())
	reached := p.queueLocked(how.kind, waiting{need: end, dueNow: dueNow, ack: entry.ack})
	reached = append(reached, p.appendedLocked(how.kind, len(stored), end)...)
	p.mu.Unlock()

	p.memberOf(how.kind).Dirty()
	if len(reached) > 0 || p.deps.o.FsyncMode == log.Periodic {
		p.announce(how.kind, reached)
	}
	return entry.ack, nil
}

// queueLocked makes an ack wait for its high watermark.
func (p *Partition) queueLocked(kind logKind, w waiting) []waiting {
	if mutant.On(mutant.AckBeforeFsync) {
		return []waiting{w}
	}
	p.mu.acks[kind].push(w)
	return nil
}

// stageLocked decides on each record of a batch, once and for good.
func (p *Partition) stageLocked(
	b batch.Batch, cfg *metadata.TopicConfig, now clock.UnixMs,
) (batch.Batch, timer.StageInfo, error) {
	defer p.inflate(b)()
	return timer.Stage(nil, b, timer.StagePlan{
		Now:           now,
		MaxDelay:      max(delay(cfg.ScheduleMaxDelayMs), 1), // To package timer, 0 is no limit.
		InflateLimit:  inflatedBatchBytesMax,
		LogAppendTime: cfg.LogAppendTime,
		Names:         controlNames(cfg),
		WantNames:     cfg.ScheduleMaxPending < math.MaxInt64,
	})
}

// AppendLocal appends a batch that this node made itself, such as a coordinator's records. There
// is no producer window and no control header in it.
func (p *Partition) AppendLocal(b batch.Batch) (*Ack, error) {
	p.mu.Lock()
	if p.mu.closed != nil {
		err := p.mu.closed
		p.mu.Unlock()
		return nil, err
	}
	base, end, err := p.log.Append(b, p.epoch)
	if err != nil {
		p.mu.Unlock()
		return nil, p.appendError(err)
	}
	p.traffic.appended(len(b), b.Count())
	ack := newAck(AppendResult{BaseOffset: base, LogAppendTime: -1, LogStart: p.log.Start()})
	reached := p.queueLocked(visible, waiting{need: end, ack: ack})
	reached = append(reached, p.appendedLocked(visible, len(b), end)...)
	p.mu.Unlock()

	p.member.Dirty()
	if len(reached) > 0 {
		p.announce(visible, reached)
	}
	return ack, nil
}

// appendError sorts a log's write error: a full disk passes, a partition that is being closed is
// no fault at all, bytes of the log that cannot be read take the partition offline, and anything
// else ends the process.
func (p *Partition) appendError(err error) error {
	switch {
	case p.closed.Load():
		return fmt.Errorf("%w: %s: %w", ErrClosed, p.Name(), err)
	case passes(err):
		return fmt.Errorf("%w: partition %s: %w", ErrStorage, p.Name(), err)
	case !errors.Is(err, log.ErrFailed) &&
		(errors.Is(err, log.ErrCorrupt) || errors.Is(err, log.ErrUnreadable)):
		// A segment's last block is read before it is carried on; nothing was written.
		return p.readError(err)
	}
	p.deps.failed(err)
	return fmt.Errorf("append to partition %s: %w", p.Name(), err)
}

// passes reports whether an error may go away by itself, as one of the log's or of this package's.
func passes(err error) bool {
	return log.IsTransient(err) || errors.Is(err, ErrStorage) && !errors.Is(err, log.ErrFailed)
}

// delay turns a config in milliseconds into a duration, at most the longest there is.
func delay(ms int64) (d time.Duration) {
	if ms > math.MaxInt64/int64(time.Millisecond) {
		return math.MaxInt64
	}
	return time.Duration(ms) * time.Millisecond
}
