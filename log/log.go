package log

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"go.uber.org/zap"
)

// Log is the segmented log of one partition. All methods may be called from any goroutine.
// Appends are serialised here, but their order is the caller's: it holds its own lock.
type Log struct {
	dir string  // set by Open, then constant
	o   Options // set by Open, then constant, but for the segment limits, which mu has

	// Loaded by anyone, stored by the owner of the lock in the comment.
	start     atomic.Int64               // flushing
	recovery  atomic.Pointer[point]      // flushing
	undrained atomic.Int64               // memory of chunks that are not in their segments
	flushed   atomic.Int64               // raised by raiseFlushed, lowered by Truncate only
	cleanTo   atomic.Int64               // swapping
	end       atomic.Int64               // mu
	set       atomic.Pointer[segmentSet] // mu
	epochs    atomic.Pointer[epochs]     // mu

	// truncations is odd while Truncate changes bytes that readers may see.
	truncations atomic.Int64

	counters counters

	committing struct { // one commit of the log at a time; locked before flushing
		sync.Mutex
		at mark // the end of what commits have made durable
	}

	compacting sync.Mutex // one Compact at a time; locked before swapping

	// swapping is held by who replaces or removes segments: a compaction while it puts one in the
	// place of others, AdvanceStart and Truncate, until the files have gone. Locked before committing:
	// no commit waits for it.
	swapping struct {
		sync.Mutex
		state  compactionState
		stored bool // whether the file says so
	}

	flushing struct { // one Flush, Checkpoint, AdvanceStart or Truncate at a time; locked before mu
		sync.Mutex
		note *note
	}

	mu struct { // short: never held during a sync, but for a new epoch and Truncate
		sync.Mutex
		segmentBytes int64
		segmentMs    int64
		jitterMs     int64      // see SetTopicPacing
		indexBytes   int64      // how much log lies between two new index entries
		dirty        []*segment // written since the last flush, oldest first
		dirDirty     bool       // a segment's name is not durable yet
		sealedAt     point      // end of the log when the newest chunk was sealed the last time
		sealedBytes  int64      // bytes appended since Open until then
		drainedAt    mark       // below it the segments are durable
		journaled    journaled  // what the journal has of the log
		settled      bool       // closed, and nothing of the journal is needed any more
		failed       error      // the first write or sync error; final
		closed       bool
	}
}

// journaling says that commits go through the journal. A log without Buffers is written through the
// page cache, and has a journal only to replay what an earlier process has left in it.
func (l *Log) journaling() bool { return l.o.Journal != nil && l.o.Buffers != nil }

// Start returns the first offset that can be read.
func (l *Log) Start() Offset { return Offset(l.start.Load()) }

// End returns the offset that the next record gets.
func (l *Log) End() Offset { return Offset(l.end.Load()) }

// FlushedEnd returns the first offset that a power cut could take back.
func (l *Log) FlushedEnd() Offset { return Offset(l.flushed.Load()) }

// RecoveryPoint returns the offset from which the next Open reads and calls OnRecover. An owner
// whose snapshot is older reads the batches between with Batches.
func (l *Log) RecoveryPoint() Offset { return l.recovery.Load().offset }

// TailBytes returns how many bytes the next Open reads after a crash: those at or past the
// recovery point. An owner checkpoints when they become too many.
func (l *Log) TailBytes() int64 {
	p, set := l.recovery.Load(), l.set.Load()
	sum := -p.pos
	for _, s := range set.list[max(0, set.find(p.segment)):] {
		sum += s.size.Load()
	}
	return max(0, sum) // the point and the set are loaded one after the other
}

// Size returns the bytes of all batches.
func (l *Log) Size() int64 { return l.set.Load().sizeBytes() }

// Segments returns the number of segments; it is at least 1.
func (l *Log) Segments() int { return len(l.set.Load().list) }

// SetTopicLimits changes when a segment is full, from the next append on. A value that is not
// positive leaves a limit as it is; one above SegmentBytesMax is lowered to it.
func (l *Log) SetTopicLimits(segmentBytes, segmentMs int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if segmentBytes > 0 {
		l.mu.segmentBytes = min(segmentBytes, SegmentBytesMax)
	}
	if segmentMs > 0 {
		l.mu.segmentMs = segmentMs
	}
}

// SetTopicPacing changes, from the next append on, how much is taken off the age at which a segment
// is sealed, at most, and how much log lies between two new index entries. More than
// Options.IndexIntervalBytes counts as that: an index with larger gaps is taken for a damaged one.
func (l *Log) SetTopicPacing(jitterMs, indexIntervalBytes int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.jitterMs = max(jitterMs, 0)
	l.mu.indexBytes = min(max(indexIntervalBytes, 1), l.o.IndexIntervalBytes)
}

// Close makes everything durable, moves the recovery point to the end and closes the files, so
// that the next Open reads no batch. The owner has written its own snapshot before. After a
// failure it only closes, and returns ErrFailed. A second Close returns ErrClosed.
func (l *Log) Close() error {
	err := l.Checkpoint()
	if errors.Is(err, ErrClosed) {
		return err
	}
	safe := err == nil
	if errors.Is(err, ErrNoSpace) && !errors.Is(err, ErrFailed) {
		// The indexes found no room, so the next Open reads more. What the journal holds must find
		// its way into the segments all the same: nobody drains the log any more.
		_, flushErr := l.flush(drainHow{vouch: true})
		safe = flushErr == nil
	}
	l.committing.Lock()
	defer l.committing.Unlock()
	l.flushing.Lock()
	defer l.flushing.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.closed {
		return ErrClosed
	}
	l.mu.closed = true
	l.mu.settled = safe && !l.mu.journaled.needs(l.mu.journaled.begun)
	l.cutActiveLocked(err)
	for _, s := range l.set.Load().list {
		s.letGo()
	}
	l.undrained.Store(0) // also of a log that failed: its memory goes with its segments
	return errors.Join(err, l.flushing.note.file.Close())
}

// cutActiveLocked gives back the space that the active segment has reserved, after a clean close.
// Zeros that remain are no damage, so nothing depends on it.
func (l *Log) cutActiveLocked(err error) {
	s := l.set.Load().active()
	if err != nil || s.tail.reserved == 0 {
		return
	}
	f, err := s.file()
	if err == nil {
		err = f.Truncate(s.size.Load())
	}
	if err != nil {
		l.o.Logger.Warn("reserved space was not given back", zap.String("segment", s.path),
			zap.Error(err))
	}
}

// writableLocked returns why the log takes no writes, if it does not.
func (l *Log) writableLocked() error {
	if l.mu.closed {
		return fmt.Errorf("log %s: %w", l.dir, ErrClosed)
	}
	if l.mu.failed != nil {
		return l.mu.failed
	}
	return nil
}

// fail makes err final and returns what every later write returns.
func (l *Log) fail(err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failLocked(err)
}

func (l *Log) failLocked(err error) error {
	if l.mu.failed == nil {
		l.mu.failed = fmt.Errorf("%w: %w", ErrFailed, err)
		l.o.Logger.Error("log failed; it takes no more writes until a restart",
			zap.String("dir", l.dir), zap.Error(err))
	}
	return l.mu.failed
}

// outOfRange returns the error for an offset that the log does not have.
func (l *Log) outOfRange(o Offset) error {
	return fmt.Errorf("offset %d in log %s, which has %d to %d: %w", o, l.dir, l.Start(), l.End(),
		ErrOffsetOutOfRange)
}
