package log

import (
	"errors"
	"fmt"

	"go.uber.org/zap"

	"github.com/chronosdb/chronosdb/log/vfs"
)

// Truncate removes every batch that holds an offset at or above to, durably: a follower's records
// that its leader does not have. The new end is the base of the batch that holds to. It must not
// run beside an append whose caller expects the records to stay. Offsets below Start are refused.
func (l *Log) Truncate(to Offset) error {
	l.swapping.Lock()
	defer l.swapping.Unlock()
	l.committing.Lock()
	defer l.committing.Unlock()
	l.flushing.Lock()
	defer l.flushing.Unlock()
	if to >= l.End() {
		return nil
	}
	if to < l.Start() {
		return l.outOfRange(to)
	}
	cut, err := l.pointAt(to)
	if err != nil {
		return err
	}
	// Before anything is changed: what needs a handle later could not be left half done.
	files, err := l.openCut(cut)
	if err != nil {
		return err
	}
	defer files.close()
	// What stays must be in its segment: the chunks go, because some hold bytes on both sides.
	if _, err := l.flushOwned(drainHow{}); err != nil {
		return err
	}
	// Other records will be at these offsets, and nobody has looked for their keys.
	clean := l.swapping.state
	clean.cleanTo = min(clean.cleanTo, cut.offset)
	if err := l.storeCompactionOwned(clean); err != nil {
		return err
	}
	// The note first: once records are gone it must not call them flushed. A crash right after it
	// leaves the records, which are valid and come back, as if nobody had asked.
	if err := l.lowerNote(cut); err != nil {
		return err
	}
	if err := l.truncateTo(files, cut); err != nil {
		return err
	}
	// Not before: a crash may have kept the gaps.
	clean.gapsBelow = min(clean.gapsBelow, cut.offset)
	return l.storeCompactionOwned(clean)
}

// cutFiles is what a truncation works on.
type cutFiles struct {
	segment *segment // in which the cut lies; pinned
	file    vfs.LogFile
	dir     *swapDir
}

// openCut opens the segment of a cut and the log's folder. That handles have run out only puts the
// truncation off. The caller owns swapping, so that the segment stays the log's.
func (l *Log) openCut(cut point) (*cutFiles, error) {
	set := l.set.Load()
	c := &cutFiles{segment: set.list[set.find(cut.segment)]}
	if !c.segment.acquire() {
		return nil, ErrClosed
	}
	var err error
	if c.file, err = c.segment.file(); err == nil {
		c.dir, err = openSwapDir(l.o.FS, l.dir)
	}
	if err == nil {
		return c, nil
	}
	c.segment.release()
	if vfs.IsShortage(err) {
		err = fmt.Errorf("%w: %w", ErrNoSpace, err)
	}
	return nil, fmt.Errorf("truncate log %s: %w", l.dir, err)
}

func (c *cutFiles) close() {
	c.dir.close()
	c.segment.release()
}

// truncateTo removes what lies behind a cut in a segment.
func (l *Log) truncateTo(files *cutFiles, cut point) error {
	s := files.segment
	s.repair.Lock() // a rebuild that runs would bring back entries of what goes
	defer s.repair.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.writableLocked(); err != nil {
		return err
	}
	if err := l.truncateLocked(files, cut); err != nil {
		return l.failLocked(err)
	}
	l.o.Logger.Info("truncated the log", zap.String("dir", l.dir),
		zap.Int64("end", int64(cut.offset)))
	return nil
}

// lowerNote makes it durable that nothing at or above the cut is promised any more.
func (l *Log) lowerNote(cut point) error {
	state := l.flushing.note.state
	state.flushed = min(state.flushed, cut.offset)
	state.start = min(state.start, cut.offset) // the batch that holds to may begin below the start
	if state.recovery.offset > cut.offset || state.recovery.segment > cut.segment {
		state.recovery = cut
	}
	state.journalFrom = l.journalEnd()
	l.flushed.Store(int64(state.flushed))
	return l.replaceNoteOwned(state)
}

// truncateLocked removes the bytes. Readers that fail meanwhile see truncations change and read
// again. A crash on the way leaves a hole or a shorter log, all past the flushed end of the note.
func (l *Log) truncateLocked(files *cutFiles, cut point) error {
	l.truncations.Add(1)
	defer l.truncations.Add(1)
	set := l.set.Load()
	keep, s := set.find(cut.segment)+1, files.segment
	l.set.Store(set.upTo(keep))
	l.end.Store(int64(cut.offset))
	s.size.Store(cut.pos)
	s.end.Store(int64(noOffset))
	s.dropChunks()
	l.mu.sealedAt = cut
	if l.committing.at.offset >= cut.offset { // also one at the beginning of a segment that goes
		l.committing.at = cut.mark()
	}
	l.mu.drainedAt = cut.mark()
	for i := len(set.list) - 1; i >= keep; i-- {
		if err := set.list[i].removeFiles(); err != nil {
			return fmt.Errorf("truncate log %s: %w", l.dir, err)
		}
		set.list[i].release()
	}
	if err := files.file.Truncate(cut.pos); err != nil {
		return fmt.Errorf("truncate segment %s: %w", s.path, err)
	}
	if err := files.file.SyncData(); err != nil {
		return fmt.Errorf("fdatasync segment %s: %w", s.path, err)
	}
	if err := files.dir.sync(); err != nil {
		return err
	}
	l.dropDirtyLocked(s)
	l.resumeLocked(s, cut)
	if err := s.cutTables(cut.offset); err != nil {
		return err
	}
	history := l.epochs.Load()
	if shorter := history.cutFrom(cut.offset); len(shorter) != len(*history) {
		return l.storeEpochsLocked(shorter)
	}
	return nil
}

// dropDirtyLocked forgets what the truncation has synced or removed: s and all after it.
func (l *Log) dropDirtyLocked(s *segment) {
	kept := l.mu.dirty[:0:0]
	for _, d := range l.mu.dirty {
		if d.base < s.base {
			kept = append(kept, d)
		}
	}
	l.mu.dirty = kept
	s.tail.dirty = false
}

// cutTables removes the entries behind the new end. It searches for them, because a reader may
// have had the tables rebuilt since the cut was chosen; damaged ones are emptied, which costs the
// next reader a longer walk or a rebuild.
func (s *segment) cutTables(end Offset) error {
	rel := uint32(end - s.base)
	if err := cutTable(s.index, func(e entry) bool { return e.key >= int64(end) }); err != nil {
		return err
	}
	return cutTable(s.times, func(e entry) bool { return e.value > rel })
}

// cutTable removes the entries that pass.
func cutTable(t *table, behind func(e entry) bool) error {
	n, _, err := t.search(behind)
	if errors.Is(err, errBadIndex) {
		n, err = 0, nil
	}
	if err != nil {
		return err
	}
	return t.truncate(n)
}

// resumeLocked makes a segment the active one again, as it was at the point.
func (l *Log) resumeLocked(s *segment, p point) {
	s.hint.Store(nil)
	s.maxTime.Store(int64(p.maxTime))
	s.maxKnown.Store(true)
	s.tail.firstTime = p.firstTime
	s.tail.longer = false
	s.tail.chunk, s.tail.reserved, s.tail.step = nil, 0, 0
	// The next batch gets an entry of its own, whatever the last one was: more never hurt.
	s.tail.indexed = p.pos - l.o.IndexIntervalBytes
	s.tail.timesKey = noTime
	if p.pos == 0 {
		s.tail.indexed = 0
	}
}
