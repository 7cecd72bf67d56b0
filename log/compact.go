package log

import (
	"errors"
	"fmt"
	"math"
	"time"

	"go.uber.org/zap"

	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/log/compaction"
)

// CompactionRequest says how to compact a log.
type CompactionRequest struct {
	// To is the end of what is compacted: CompactionPlan.To. It is lowered to the segment of the
	// recovery point.
	To Offset
	// Now is the time of the pass, DeleteRetentionMs how long a tombstone is kept.
	Now               UnixMs
	DeleteRetentionMs int64
	// MapBytes bounds the memory for keys. 0 is compaction.MapBytesDefault.
	MapBytes int64
	// Producers are the active producers, whose last batches stay.
	Producers map[batch.ProducerID]compaction.LastRecord
	// Aborted are the aborted transactions that have records or their marker below To.
	Aborted []compaction.AbortedTxn
	// Pace, if set, is called before that many bytes are read or written. It may wait, to bound the
	// speed; its error ends the compaction and is returned.
	Pace func(bytes int) error
}

// CompactionResult says what a compaction has done.
type CompactionResult struct {
	From, To Offset // [From, To) is what was not compacted before and is now
	Full     bool   // Full says that the map was: To is below the request's
	Stale    bool   // Stale says that segments went meanwhile; another pass does the rest
	Counts   compaction.Counts

	Keys         int   // Keys is the number of different ones in [From, To).
	BytesRead    int64 // BytesRead counts both looks at what is new.
	BytesWritten int64
	Segments     int // Segments is how many were replaced.
	Replacements int // Replacements is how many took their places.
	Took         time.Duration
}

// The ends of a compaction that are nobody's fault.
var (
	errMapFull         = errors.New("the map of keys is full")
	errCompactionStale = errors.New("segments were deleted or truncated")
)

// compactor is one Compact.
type compactor struct {
	l       *Log
	r       CompactionRequest
	res     CompactionResult
	keys    *compaction.OffsetMap
	filter  *compaction.Filter
	changes int64 // truncations when the pass began

	readBuf, writeBuf []byte // kept from segment to segment
}

// Compact keeps of each key below To the last record, as Kafka's cleaner does. Records keep their
// offsets; readers of what is replaced go on reading it. Memory is bounded by MapBytes and the
// largest batch. A crash leaves each segment as it was or compacted.
//
// The owner has made durable whatever it needs of the records that go, and runs neither Truncate
// nor Close beside it. One compaction runs at a time.
func (l *Log) Compact(r CompactionRequest) (CompactionResult, error) {
	l.compacting.Lock()
	defer l.compacting.Unlock()
	if r.MapBytes == 0 {
		r.MapBytes = compaction.MapBytesDefault
	}
	if r.Pace == nil {
		r.Pace = func(int) error { return nil }
	}
	began := l.o.Clock.Now()
	c := &compactor{l: l, r: r, changes: l.truncations.Load()}
	err := c.run()
	if c.stale(err) {
		c.res.Stale, err = true, nil
	}
	c.res.Took = l.o.Clock.Now().Sub(began)
	c.account()
	if err != nil {
		return c.res, fmt.Errorf("compact log %s: %w", l.dir, err)
	}
	return c.res, nil
}

// stale says that the pass ended because what it was reading is not the log's any more.
func (c *compactor) stale(err error) bool {
	return errors.Is(err, errCompactionStale) || errors.Is(err, ErrOffsetOutOfRange) ||
		(errors.Is(err, ErrCorrupt) && c.l.truncations.Load() != c.changes)
}

func (c *compactor) account() {
	if c.filter != nil {
		c.res.Counts = c.filter.Counts()
	}
	n := &c.l.counters
	n.compactions.Add(1)
	n.compactedBytes.Add(c.res.BytesRead)
	n.compactionBytes.Add(c.res.BytesWritten)
	n.compactedRecords.Add(c.res.Counts.Records - c.res.Counts.RecordsKept)
	n.compactionNs.Add(int64(c.res.Took))
}

func (c *compactor) run() error {
	from := c.l.CleanTo()
	c.res.From, c.res.To = from, from
	if c.r.To <= from {
		return nil
	}
	if err := c.prepare(); err != nil || c.r.To <= from {
		return err
	}
	if err := c.readKeys(from); err != nil {
		return err
	}
	to := c.keys.Latest() + 1
	c.filter = compaction.NewFilter(compaction.Rules{
		Map: c.keys, Now: c.r.Now, DeleteRetentionMs: c.r.DeleteRetentionMs,
		Aborted: c.r.Aborted, Producers: c.r.Producers,
	})
	groups, err := c.groups(to)
	if err != nil {
		return err
	}
	defer releaseGroups(groups)
	for _, g := range groups {
		if err := c.compactGroup(g); err != nil {
			return err
		}
	}
	if err := c.cleaned(to); err != nil {
		return err
	}
	c.res.To = to
	n := c.filter.Counts()
	c.l.o.Logger.Info("compacted the log", zap.String("dir", c.l.dir),
		zap.Int64("from", int64(from)), zap.Int64("to", int64(to)), zap.Bool("map_full", c.res.Full),
		zap.Int64("records", n.Records), zap.Int64("kept", n.RecordsKept),
		zap.Int("segments", c.res.Segments), zap.Int("replacements", c.res.Replacements))
	return nil
}

// prepare makes durable what must be before the first segment is replaced: that no note of an
// earlier time names a place in it, that no entry of the journal does, and that there may be gaps.
func (c *compactor) prepare() error {
	l := c.l
	l.swapping.Lock()
	defer l.swapping.Unlock()
	if err := c.prepareNote(); err != nil {
		return err
	}
	next := l.swapping.state
	next.gapsBelow = max(next.gapsBelow, c.r.To)
	return l.storeCompactionOwned(next)
}

// prepareNote is the part of prepare that commits and flushes wait for. The caller owns swapping.
func (c *compactor) prepareNote() error {
	l := c.l
	l.committing.Lock()
	defer l.committing.Unlock()
	l.flushing.Lock()
	defer l.flushing.Unlock()
	if _, err := l.flushOwned(drainHow{}); err != nil {
		return err
	}
	state := l.flushing.note.state
	c.r.To = min(c.r.To, state.recovery.segment)
	state.journalFrom = l.journalEnd()
	// Both slots: with a damaged one, the note would be an older one that places the recovery point
	// in a segment that is gone.
	return l.replaceNoteOwned(state)
}

// writable returns why the log takes no writes, if it does not.
func (l *Log) writable() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.writableLocked()
}

// readKeys fills the map from what was not compacted yet, up to its end or as far as it has room.
func (c *compactor) readKeys(from Offset) error {
	c.keys = compaction.NewOffsetMap(c.r.MapBytes, int64(c.r.To-from))
	m := compaction.NewMapper(c.keys, from, c.r.Aborted)
	err := c.l.Batches(from, c.r.To, func(b batch.Batch) error {
		if err := c.r.Pace(len(b)); err != nil {
			return err
		}
		c.res.BytesRead += int64(len(b))
		full, err := m.Add(b)
		if full {
			return errMapFull
		}
		return err
	})
	c.res.Keys = c.keys.Len()
	if errors.Is(err, errMapFull) {
		c.res.Full = true
		return nil
	}
	if err == nil {
		m.Reached(c.r.To - 1)
	}
	return err
}

// cleaned makes durable how far the log is compacted.
func (c *compactor) cleaned(to Offset) error {
	l := c.l
	l.swapping.Lock()
	defer l.swapping.Unlock()
	if l.truncations.Load() != c.changes {
		return errCompactionStale
	}
	next := l.swapping.state
	next.cleanTo = to
	return l.storeCompactionOwned(next)
}

// group is neighbouring segments that become one. They are pinned.
type group struct {
	segments []*segment
	base     Offset
	end      Offset
}

// groups divides the segments that begin below an offset into groups that are no larger than a
// segment may be, as Kafka's Cleaner.groupSegmentsBySize does: else compaction would leave many
// small ones.
func (c *compactor) groups(to Offset) ([]group, error) {
	l := c.l
	l.mu.Lock()
	limit := l.mu.segmentBytes
	l.mu.Unlock()
	var all []group
	var size int64
	for _, s := range l.set.Load().list {
		end := Offset(s.end.Load())
		if s.base >= to {
			break
		}
		if end == noOffset || end > c.r.To || !s.acquire() {
			releaseGroups(all)
			return nil, errCompactionStale
		}
		n := len(all) - 1
		if n < 0 || size+s.size.Load() > limit || int64(end-all[n].base) > math.MaxInt32 {
			all, size, n = append(all, group{base: s.base}), 0, n+1
		}
		all[n].segments = append(all[n].segments, s)
		all[n].end = end
		size += s.size.Load()
	}
	return all, nil
}

func releaseGroups(groups []group) {
	for _, g := range groups {
		for _, s := range g.segments {
			s.release()
		}
	}
}
