package log

import (
	"errors"
	"fmt"

	"github.com/chronosdb/chronosdb/log/batch"
)

// inflateBytesMax bounds what one stored batch may inflate to when a lookup by time opens it.
const inflateBytesMax = 256 << 20

// OffsetForTime returns the first record at or above Start and below bound whose timestamp is at
// least ts, and that timestamp. ok is false when there is none. It opens one batch.
func (l *Log) OffsetForTime(ts UnixMs, bound Offset) (o Offset, t UnixMs, ok bool, err error) {
	err = l.FromStart(func() error {
		return l.stable(func() error {
			o, t, ok, err = l.offsetForTime(ts, bound)
			return err
		})
	})
	return o, t, ok, err
}

// lookupsMax bounds how often a look-up begins again because a deletion took what it had found: far
// more often than deletions can come in between.
const lookupsMax = 128

// FromStart runs a look-up that begins at the start again if the start was moved meanwhile, and
// what it was looking at deleted: nobody has asked for an offset that could be out of range.
func (l *Log) FromStart(look func() error) error {
	for range lookupsMax {
		start := l.Start()
		if err := look(); !errors.Is(err, ErrOffsetOutOfRange) || l.Start() == start {
			return err
		}
	}
	return look()
}

func (l *Log) offsetForTime(ts UnixMs, bound Offset) (Offset, UnixMs, bool, error) {
	bound = min(bound, l.End())
	for next := l.Start(); next < bound; {
		s, err := l.pin(next)
		if err != nil {
			return noOffset, noTime, false, err
		}
		end := min(l.endOf(s), bound)
		o, t, ok, err := l.offsetForTimeIn(s, ts, next, end)
		s.release()
		if err != nil || ok {
			return o, t, ok, err
		}
		next = end
	}
	return noOffset, noTime, false, nil
}

// offsetForTimeIn is OffsetForTime within [from, end) of one pinned segment.
func (l *Log) offsetForTimeIn(s *segment, ts UnixMs, from, end Offset) (
	Offset, UnixMs, bool, error,
) {
	// Only a segment's end can be compared with its greatest timestamp.
	t, err := l.maxTimeOf(s)
	if err != nil || t < ts {
		return noOffset, noTime, false, err
	}
	e, err := l.timeEntryBelow(s, ts)
	if err != nil {
		return noOffset, noTime, false, err
	}
	from = max(from, s.base+Offset(e.value))
	if from >= end {
		return noOffset, noTime, false, nil
	}
	at, err := l.locate(s, from, l.endOf(s))
	if err != nil {
		return noOffset, noTime, false, err
	}
	c := newCursor(s, at, end)
	for {
		h, at, ok, err := c.next()
		if err != nil || !ok {
			return noOffset, noTime, false, err
		}
		if h.MaxTimestamp() < ts {
			continue
		}
		o, t, ok, err := l.firstRecord(s, at, h.Length(), func(o Offset, t UnixMs) bool {
			return t >= ts && o >= from && o < end
		})
		if err != nil || ok {
			return o, t, ok, err
		}
	}
}

// timeEntryBelow returns the last time entry whose timestamp is below ts: all records below its
// offset are older than ts.
func (l *Log) timeEntryBelow(s *segment, ts UnixMs) (entry, error) {
	i, e, err := l.searchTimes(s, func(e entry) bool { return e.key >= int64(ts) })
	if err != nil || i == 0 {
		return entry{}, err
	}
	return e, nil
}

// firstRecord opens one batch and returns its first record that passes.
func (l *Log) firstRecord(s *segment, at place, n int, pass func(o Offset, t UnixMs) bool) (
	Offset, UnixMs, bool, error,
) {
	p, err := l.readAt(s, nil, at, int64(n))
	if err != nil {
		return noOffset, noTime, false, err
	}
	b := batch.Batch(p)
	if err := checkBatch(s, b, at.offset); err != nil {
		return noOffset, noTime, false, s.corrupt(at.pos, err)
	}
	r, err := batch.NewReader(b, inflateBytesMax)
	if err != nil {
		return noOffset, noTime, false, unreadable(s, at, err)
	}
	defer r.Close()
	for {
		rec, ok, err := r.Next()
		if err != nil {
			return noOffset, noTime, false, unreadable(s, at, err)
		}
		if !ok {
			return noOffset, noTime, false, nil
		}
		o, t := b.BaseOffset()+Offset(rec.OffsetDelta), b.Timestamp(rec)
		if pass(o, t) {
			return o, t, true, nil
		}
	}
}

// unreadable says that a batch with a good CRC cannot be opened: it came in like that.
func unreadable(s *segment, at place, err error) error {
	return fmt.Errorf("records of the batch at offset %d in %s: %w", at.offset, s.path, err)
}

// MaxTimestamp returns the first record at or above Start and below bound that has the greatest
// timestamp there. ok is false when there is no record. It opens one batch.
func (l *Log) MaxTimestamp(bound Offset) (o Offset, t UnixMs, ok bool, err error) {
	err = l.FromStart(func() error {
		return l.stable(func() error {
			o, t, ok, err = l.maxTimestamp(bound)
			return err
		})
	})
	return o, t, ok, err
}

func (l *Log) maxTimestamp(bound Offset) (Offset, UnixMs, bool, error) {
	bound = min(bound, l.End())
	start := l.Start()
	if start >= bound {
		return noOffset, noTime, false, nil
	}
	best, next, err := l.maxOfFirst(start)
	if err != nil {
		return noOffset, noTime, false, err
	}
	from := noOffset // where the segment begins that has a greater one
	for next < bound {
		t, end, err := l.maxTimeFrom(next, bound)
		if err != nil {
			return noOffset, noTime, false, err
		}
		if t > best.at || (best.offset == noOffset && from == noOffset) {
			best.at, from = t, next
		}
		next = end
	}
	if from == noOffset {
		return best.offset, best.at, true, nil
	}
	o, t, ok, err := l.maxRecord(from, best.at, bound)
	if err != nil || ok {
		return o, t, ok, err
	}
	return l.maxOfRecords(start, bound)
}

// maxOfRecords is maxTimestamp by all headers. It is for a log whose greatest timestamp belongs to
// a batch that compaction has emptied.
func (l *Log) maxOfRecords(start, bound Offset) (Offset, UnixMs, bool, error) {
	best, next, err := l.maxOfFirst(start)
	if err != nil {
		return noOffset, noTime, false, err
	}
	from := noOffset // base of the batch that has a greater one
	err = l.Headers(next, bound, func(h batch.Batch, _ int) error {
		t := max(h.MaxTimestamp(), noTime)
		if h.Count() > 0 && (t > best.at || (best.offset == noOffset && from == noOffset)) {
			best.at, from = t, h.BaseOffset()
		}
		return nil
	})
	if err != nil || from == noOffset {
		return best.offset, best.at, best.offset != noOffset, err
	}
	o, t, ok, err := l.maxRecord(from, best.at, bound)
	if err == nil && !ok {
		err = errReplaced
	}
	return o, t, ok, err
}

// stamped is a record's offset and timestamp.
type stamped struct {
	offset Offset
	at     UnixMs
}

// maxOfFirst opens the batch in which the log's start lies, if that is not its first record: its
// header speaks of records that are gone. It returns its best record, if it was opened, and the
// offset from which headers can be believed.
func (l *Log) maxOfFirst(start Offset) (stamped, Offset, error) {
	none := stamped{noOffset, noTime}
	s, err := l.pin(start)
	if err != nil {
		return none, start, err
	}
	defer s.release()
	end := l.endOf(s)
	at, err := l.locate(s, start, end)
	if err != nil || at.offset == start {
		return none, start, err
	}
	c := newCursor(s, at, end)
	h, _, _, err := c.next()
	if err != nil {
		return none, start, err
	}
	best, err := l.bestRecord(s, at, h.Length(), start)
	return best, c.at.offset, err
}

// bestRecord opens one batch and returns its first record at or above from with the greatest
// timestamp, whatever the header claims.
func (l *Log) bestRecord(s *segment, at place, n int, from Offset) (stamped, error) {
	best := stamped{noOffset, noTime}
	_, _, _, err := l.firstRecord(s, at, n, func(o Offset, t UnixMs) bool {
		if o >= from && (t > best.at || best.offset == noOffset) {
			best = stamped{o, t}
		}
		return false
	})
	return best, err
}

// maxTimeFrom returns the greatest timestamp of the one segment that holds from, in [from, bound),
// by headers and tables, and where the segment ends.
func (l *Log) maxTimeFrom(from, bound Offset) (UnixMs, Offset, error) {
	s, err := l.pin(from)
	if err != nil {
		return noTime, from, err
	}
	defer s.release()
	end := l.endOf(s)
	var t UnixMs
	switch sealed := Offset(s.end.Load()) == end; {
	case from > s.base:
		t, err = l.maxTimeBetween(s, from, min(end, bound), noTime)
	case sealed && end <= bound:
		t, err = l.maxTimeOf(s)
	default:
		t, err = l.maxTimeBefore(s, min(end, bound))
	}
	return t, end, err
}

// maxRecord finds the first batch with that timestamp in the segment that holds from, and its
// record with it.
func (l *Log) maxRecord(from Offset, t UnixMs, bound Offset) (Offset, UnixMs, bool, error) {
	s, err := l.pin(from)
	if err != nil {
		return noOffset, noTime, false, err
	}
	defer s.release()
	e, err := l.timeEntryBelow(s, t)
	if err != nil {
		return noOffset, noTime, false, err
	}
	from = max(from, s.base+Offset(e.value))
	if from >= l.endOf(s) { // compacted since its greatest timestamp was looked up
		return noOffset, noTime, false, nil
	}
	at, err := l.locate(s, from, l.endOf(s))
	if err != nil {
		return noOffset, noTime, false, err
	}
	c := newCursor(s, at, min(l.endOf(s), bound))
	for {
		h, at, ok, err := c.next()
		if err != nil || !ok {
			return noOffset, noTime, false, err
		}
		if max(h.MaxTimestamp(), noTime) >= t && h.Count() > 0 {
			best, err := l.bestRecord(s, at, h.Length(), from)
			return best.offset, best.at, best.offset != noOffset, err
		}
	}
}
