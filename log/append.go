package log

import (
	"fmt"
	"hash/fnv"
	"math"

	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/log/invariant"
	"github.com/chronosdb/chronosdb/log/vfs"
)

// span is what an append needs to know about the batches it is given.
type span struct {
	offsets int64  // offsets that they take
	maxTime UnixMs // greatest timestamp
}

// measure walks the batches. It trusts their content, which has been checked where it came in,
// but not that they are whole: what is written is there for good.
func measure(p []byte) (span, error) {
	s := span{maxTime: noTime}
	if len(p) == 0 {
		return s, fmt.Errorf("%w: no bytes", ErrBadBatch)
	}
	if len(p) > AppendBytesMax {
		return s, fmt.Errorf("append of %d bytes, at most %d: %w", len(p), AppendBytesMax, ErrTooLarge)
	}
	for len(p) > 0 {
		b, rest, err := batch.Next(p)
		if err != nil {
			return s, fmt.Errorf("%w: %w", ErrBadBatch, err)
		}
		if b.Magic() != 2 || b.LastOffsetDelta() < 0 {
			return s, fmt.Errorf("%w: magic %d, last offset delta %d", ErrBadBatch, b.Magic(),
				b.LastOffsetDelta())
		}
		if invariant.Enabled {
			err := b.CheckCRC()
			invariant.Check(err == nil, "append of a batch with a bad CRC: %v", err)
		}
		s.offsets += int64(b.LastOffsetDelta()) + 1
		s.maxTime = max(s.maxTime, b.MaxTimestamp())
		p = rest
	}
	return s, nil
}

// stamp gives the batches their offsets and epoch, in place. Both lie outside the CRC.
func stamp(p []byte, next Offset, epoch LeaderEpoch) {
	for len(p) > 0 {
		b := batch.Batch(p[:batch.Batch(p).Length()])
		b.SetBaseOffset(next)
		b.SetLeaderEpoch(epoch)
		next = b.LastOffset() + 1
		p = p[len(b):]
	}
}

// Append writes whole valid batches that lie back to back in p, and returns the offset of the
// first record and the new end. It stamps offsets and epoch into p; p is the caller's again when
// it returns. The records can be read at once and are durable after a Flush.
//
// A full disk returns ErrNoSpace and leaves the log as it was. Any other failed write returns
// ErrFailed, now and for every later append.
func (l *Log) Append(p []byte, epoch LeaderEpoch) (first, end Offset, err error) {
	s, err := measure(p)
	if err != nil {
		return noOffset, noOffset, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.writableLocked(); err != nil {
		return noOffset, noOffset, err
	}
	if err := l.enterEpochLocked(epoch); err != nil {
		return noOffset, noOffset, err
	}
	if l.mustRollLocked(s, len(p)) {
		if err := l.rollLocked(); err != nil {
			return noOffset, noOffset, err
		}
	}
	first = l.End()
	end = first + Offset(s.offsets)
	stamp(p, first, epoch)
	if err := l.writeLocked(p, end); err != nil {
		return noOffset, noOffset, err
	}
	return first, end, nil
}

// mustRollLocked decides whether the next batches begin a new segment. Time is that of the
// records, as in Kafka, so that the decision is the same after a restart.
func (l *Log) mustRollLocked(s span, n int) bool {
	active := l.set.Load().active()
	size := active.size.Load()
	if size == 0 {
		return false
	}
	if size+int64(n) > l.mu.segmentBytes {
		return true
	}
	if int64(l.End()-active.base)+s.offsets > math.MaxInt32 {
		return true // a time index entry holds the offset in 32 bits
	}
	first := active.tail.firstTime
	return first >= 0 && s.maxTime >= 0 &&
		int64(s.maxTime-first) >= l.mu.segmentMs-l.jitterLocked(active)
}

// jitterLocked is what is taken off the age at which a segment is sealed. It is as good as random,
// but the same each time for a segment, so that a restart decides as before.
func (l *Log) jitterLocked(s *segment) int64 {
	most := min(l.mu.jitterMs, l.mu.segmentMs)
	if most == 0 {
		return 0
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(s.path)) // It cannot fail.
	return int64(h.Sum64() % uint64(most))
}

// Roll seals the active segment and begins a new one. An empty segment stays the active one.
func (l *Log) Roll() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.writableLocked(); err != nil {
		return err
	}
	if l.set.Load().active().size.Load() == 0 {
		return nil
	}
	return l.rollLocked()
}

func (l *Log) rollLocked() error {
	set := l.set.Load()
	old := set.active()
	next := newSegment(l.o.FS, l.dir, l.End())
	// The only step that a full disk or a want of file handles can stop comes first; it leaves no
	// file behind.
	f, err := next.file()
	if vfs.IsShortage(err) {
		return fmt.Errorf("roll log %s: %w: %w", l.dir, ErrNoSpace, err)
	}
	if err != nil {
		return l.failLocked(err)
	}
	if l.o.Buffers != nil {
		// The next drain cuts the file to its length, behind the writes that make it longer.
		old.tail.chunk = nil
		l.markDirtyLocked(old)
	} else if err := l.cutZerosLocked(old); err != nil {
		return l.failLocked(err)
	}
	if err := old.sealLocked(l.End()); err != nil {
		return l.failLocked(err)
	}
	if n, err := f.Size(); err != nil || n != 0 {
		return l.failLocked(fmt.Errorf("new segment %s has %d bytes already: %w", next.path, n, err))
	}
	next.maxKnown.Store(true)
	l.set.Store(set.with(next))
	// A crash could keep the new segment's bytes and lose its name: the next flush syncs the
	// directory before it says that anything in it is durable.
	l.mu.dirDirty = true
	return nil
}

// cutZerosLocked removes the zeros that a crash or a filling ahead left behind the last batch: a
// sealed segment ends with its bytes.
func (l *Log) cutZerosLocked(s *segment) error {
	if !s.tail.longer {
		return nil
	}
	f, err := s.file()
	if err != nil {
		return err
	}
	if err := f.Truncate(s.size.Load()); err != nil {
		return fmt.Errorf("cut segment %s: %w", s.path, err)
	}
	s.tail.longer = false
	l.markDirtyLocked(s)
	return nil
}

// writeLocked puts stamped batches behind the tail and makes them visible.
func (l *Log) writeLocked(p []byte, end Offset) error {
	active := l.set.Load().active()
	put := l.writeThroughLocked
	if l.o.Buffers != nil {
		put = l.bufferLocked
	}
	if err := put(active, p); err != nil {
		return err
	}
	pos := active.size.Load()
	for rest := p; len(rest) > 0; {
		b := batch.Batch(rest[:batch.Batch(rest).Length()])
		if err := active.observeLocked(b, pos, l.mu.indexBytes); err != nil {
			return l.failLocked(err)
		}
		pos += int64(len(b))
		rest = rest[len(b):]
	}
	l.markDirtyLocked(active)
	l.counters.appends.Add(1)
	l.counters.appendedBytes.Add(int64(len(p)))
	// The size before the end: a reader that sees the new end finds the bytes.
	active.size.Store(pos)
	l.end.Store(int64(end))
	return nil
}

// writeThroughLocked writes to the file, through the page cache.
func (l *Log) writeThroughLocked(s *segment, p []byte) error {
	f, err := s.file()
	if err != nil {
		return l.failLocked(err)
	}
	if _, err := f.WriteAt(p, s.size.Load()); err != nil {
		return l.writeFailedLocked(s, err)
	}
	return nil
}

// writeFailedLocked undoes a partial write on a full disk, and makes anything else final.
func (l *Log) writeFailedLocked(s *segment, err error) error {
	err = fmt.Errorf("append to segment %s: %w", s.path, err)
	if !vfs.IsNoSpace(err) {
		return l.failLocked(err)
	}
	f, openErr := s.file()
	if openErr != nil {
		return l.failLocked(openErr)
	}
	// A crash before the cut is durable leaves a torn tail past the flushed end, as any would.
	if cutErr := f.Truncate(s.size.Load()); cutErr != nil {
		return l.failLocked(fmt.Errorf("cut segment %s after a full disk: %w", s.path, cutErr))
	}
	s.tail.longer = false
	l.markDirtyLocked(s)
	return fmt.Errorf("%w: %w", ErrNoSpace, err)
}

// markDirtyLocked has the next flush sync the segment.
func (l *Log) markDirtyLocked(s *segment) {
	if s.tail.dirty {
		return
	}
	s.tail.dirty = true
	l.mu.dirty = append(l.mu.dirty, s)
}
