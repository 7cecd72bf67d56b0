package log

import (
	"errors"
	"fmt"
	"math"

	"go.uber.org/zap"

	"github.com/chronosdb/chronosdb/log/batch"
)

// locate returns where the batch of a pinned segment lies that holds the offset or is the first one
// above it: compaction leaves gaps. end is the segment's end, above the offset. A damaged index is
// rebuilt on the way; damage in the log is a CorruptError.
func (l *Log) locate(s *segment, o, end Offset) (place, error) {
	if h := s.hint.Load(); h != nil && h.offset == o {
		if at, ok := l.tryHint(s, *h, end); ok {
			return at, nil
		}
	}
	at, err := l.locateByIndex(s, o, end)
	if !errors.Is(err, errBadIndex) || l.truncating() {
		return at, err
	}
	l.o.Logger.Warn("rebuilding a damaged index", zap.String("segment", s.path), zap.Error(err))
	if err := l.rebuildTables(s); err != nil {
		return place{}, err
	}
	return l.locateByIndex(s, o, end)
}

// truncating says that Truncate is changing bytes, so that an index that seems to lie may not.
func (l *Log) truncating() bool { return l.truncations.Load()%2 == 1 }

// tryHint believes the hint if the batch it names begins there.
func (l *Log) tryHint(s *segment, at place, end Offset) (place, bool) {
	c := newCursor(s, at, end)
	_, at, ok, err := c.next()
	return at, ok && err == nil
}

// locateByIndex walks from the nearest index entry. errBadIndex means that the index lies.
func (l *Log) locateByIndex(s *segment, o, end Offset) (place, error) {
	_, e, err := s.index.search(func(e entry) bool { return e.key > int64(o) })
	if err != nil {
		return place{}, err
	}
	from := place{offset: s.base}
	if e != (entry{}) {
		from = place{offset: Offset(e.key), pos: int64(e.value)}
	}
	c := newCursor(s, from, end)
	for {
		h, at, ok, err := c.next()
		switch {
		case err != nil && at == from && from.pos != 0 && errors.Is(err, ErrCorrupt):
			return place{}, fmt.Errorf("%w: %s: no batch at the entry of offset %d: %w", errBadIndex,
				s.index.path, from.offset, err)
		case err == nil && ok && at == from && from.pos != 0 && h.BaseOffset() != from.offset:
			return place{}, fmt.Errorf("%w: %s: the batch at the entry of offset %d begins at %d",
				errBadIndex, s.index.path, from.offset, h.BaseOffset())
		case err != nil:
			return place{}, err
		case !ok:
			return place{}, s.corrupt(at.pos, fmt.Errorf("%w: the segment ends at offset %d, below %d",
				batch.ErrShort, at.offset, o))
		case at.pos-from.pos >= l.o.IndexIntervalBytes && h.BaseOffset() <= o:
			return place{}, fmt.Errorf("%w: %s: no entry for offset %d", errBadIndex, s.index.path,
				at.offset)
		case h.LastOffset() >= o:
			return at, nil
		}
	}
}

// rebuildTables makes both tables of a pinned segment anew from its headers, durably.
func (l *Log) rebuildTables(s *segment) error {
	s.repair.Lock()
	defer s.repair.Unlock()
	// The tables of the active segment belong to the append path, so appends wait. It happens
	// when an index file was damaged while it was in use.
	l.mu.Lock()
	if s != l.set.Load().active() {
		l.mu.Unlock()
		return l.rebuildQuiet(s)
	}
	defer l.mu.Unlock()
	return l.rebuildQuiet(s)
}

// rebuildQuiet is rebuildTables for a segment that nobody appends to during the call.
func (l *Log) rebuildQuiet(s *segment) error {
	end := l.endOf(s)
	c := newCursor(s, place{offset: s.base}, end)
	index, times, maxTime, err := collectEntries(c, l.o.IndexIntervalBytes)
	if err != nil {
		return err
	}
	times = append(times, entry{key: int64(maxTime), value: uint32(end - s.base)})
	if err := s.index.replace(index); err != nil {
		return err
	}
	if err := s.times.replace(times); err != nil {
		return err
	}
	s.maxTime.Store(int64(maxTime))
	s.maxKnown.Store(true)
	l.counters.indexRebuilds.Add(1)
	return nil
}

// collectEntries walks all headers and returns what the tables should hold.
func collectEntries(c *cursor, intervalBytes int64) (index, times []entry, _ UnixMs, _ error) {
	base, indexed, timesKey, maxTime := c.at.offset, int64(0), noTime, noTime
	for {
		h, at, ok, err := c.next()
		if err != nil || !ok {
			return index, times, maxTime, err
		}
		if at.pos-indexed >= intervalBytes {
			indexed = at.pos
			index = append(index, entry{key: int64(h.BaseOffset()), value: uint32(at.pos)})
			if maxTime > timesKey {
				timesKey = maxTime
				rel := uint32(h.BaseOffset() - base)
				times = append(times, entry{key: int64(maxTime), value: rel})
			}
		}
		maxTime = max(maxTime, h.MaxTimestamp())
	}
}

// pointAt returns the batch boundary at or below an offset as a point to recover from.
func (l *Log) pointAt(o Offset) (point, error) {
	s, err := l.pin(o)
	if err != nil {
		return point{}, err
	}
	defer s.release()
	at, err := l.locateBoundary(s, o, l.endOf(s))
	if err != nil {
		return point{}, err
	}
	if at.pos == 0 {
		return point{offset: at.offset, segment: s.base, maxTime: noTime, firstTime: noTime}, nil
	}
	p, err := l.pointBehind(s, at)
	if errors.Is(err, errBadIndex) {
		// Both counts again: they must be of the same tables.
		if err = l.rebuildTables(s); err == nil {
			p, err = l.pointBehind(s, at)
		}
	}
	return p, err
}

// locateBoundary is locate with the end of the batch before it as the offset. locate itself names
// the batch's base when an index entry led to it, and compaction may have left a gap between.
func (l *Log) locateBoundary(s *segment, o, end Offset) (place, error) {
	at, err := l.locate(s, o, end)
	if err != nil || !s.sparse() || at.offset == s.base {
		return at, err
	}
	before, err := l.locate(s, at.offset-1, end)
	if err == nil && before.pos == at.pos {
		at = before
	}
	return at, err
}

// pointBehind is pointAt for a boundary that is not the segment's first. errBadIndex means that a
// table lies.
func (l *Log) pointBehind(s *segment, at place) (p point, err error) {
	p = point{offset: at.offset, segment: s.base, pos: at.pos}
	if p.maxTime, err = l.maxTimeBefore(s, at.offset); err != nil {
		return p, err
	}
	if p.firstTime, err = firstTimeOf(s, at.offset); err != nil {
		return p, err
	}
	rel := uint32(at.offset - s.base)
	p.timeEntries, _, err = s.times.search(func(e entry) bool { return e.value > rel })
	if err != nil {
		return p, err
	}
	p.indexEntries, _, err = s.index.search(func(e entry) bool { return e.key >= int64(at.offset) })
	return p, err
}

// searchTimes searches the time table, and rebuilds it if it is damaged. i is 0 when no entry comes
// before the first one that passes.
func (l *Log) searchTimes(s *segment, pass func(e entry) bool) (i int, before entry, err error) {
	i, before, err = s.times.search(pass)
	if !errors.Is(err, errBadIndex) || l.truncating() {
		return i, before, err
	}
	l.o.Logger.Warn("rebuilding a damaged index", zap.String("segment", s.path), zap.Error(err))
	if err := l.rebuildTables(s); err != nil {
		return 0, entry{}, err
	}
	return s.times.search(pass)
}

// firstTimeOf reads the greatest timestamp of a segment's first batch, which lies below end.
func firstTimeOf(s *segment, end Offset) (UnixMs, error) {
	c := newCursor(s, place{offset: s.base}, end)
	h, _, ok, err := c.next()
	if err != nil || !ok {
		return noTime, err
	}
	return max(h.MaxTimestamp(), noTime), nil
}

// maxTimeBefore returns the greatest timestamp in a pinned segment below a batch boundary.
func (l *Log) maxTimeBefore(s *segment, o Offset) (UnixMs, error) {
	if o <= s.base {
		return noTime, nil
	}
	e, err := l.timeEntryAt(s, uint32(o-s.base))
	if err != nil {
		return noTime, err
	}
	from := s.base + Offset(e.value)
	if from >= o {
		return UnixMs(e.key), nil
	}
	return l.maxTimeBetween(s, from, o, UnixMs(e.key))
}

// maxTimeBetween walks the headers of [from, to) and returns the greatest timestamp there, or t if
// that is greater.
func (l *Log) maxTimeBetween(s *segment, from, to Offset, t UnixMs) (UnixMs, error) {
	at, err := l.locate(s, from, l.endOf(s))
	if err != nil {
		return noTime, err
	}
	c := newCursor(s, at, to)
	for {
		h, _, ok, err := c.next()
		if err != nil || !ok {
			return t, err
		}
		t = max(t, h.MaxTimestamp())
	}
}

// timeEntryAt returns the last time entry at or below a relative offset; {noTime, 0} if none.
func (l *Log) timeEntryAt(s *segment, rel uint32) (entry, error) {
	i, e, err := l.searchTimes(s, func(e entry) bool { return e.value > rel })
	if err != nil || i == 0 {
		return entry{key: int64(noTime)}, err
	}
	return e, nil
}

// maxTimeOf returns the greatest timestamp of a whole pinned segment, or noTime. For a sealed
// segment it believes the time table only if its last entry names the segment's end: a table that
// lost entries would make retention delete too early.
func (l *Log) maxTimeOf(s *segment) (UnixMs, error) {
	if s.maxKnown.Load() {
		return UnixMs(s.maxTime.Load()), nil
	}
	i, e, err := s.times.search(func(e entry) bool { return e.value > math.MaxInt32 })
	if err != nil && !errors.Is(err, errBadIndex) {
		return noTime, err
	}
	if err != nil || i == 0 || s.base+Offset(e.value) != l.endOf(s) {
		if err := l.rebuildTables(s); err != nil {
			return noTime, err
		}
		return UnixMs(s.maxTime.Load()), nil
	}
	s.maxTime.Store(e.key)
	s.maxKnown.Store(true)
	return UnixMs(e.key), nil
}
