package log

import (
	"fmt"

	"github.com/chronosdb/chronosdb/log/batch"
)

// inflateBytesMax bounds what one stored batch may inflate to when a lookup by time opens it.
const inflateBytesMax = 256 << 20

// OffsetForTime returns the first record at or above Start and below bound whose timestamp is at
// least ts, and that timestamp. ok is false when there is none. It opens one batch.
func (l *Log) OffsetForTime(ts UnixMs, bound Offset) (o Offset, t UnixMs, ok bool, err error) {
	err = l.stable(func() error {
		o, t, ok, err = l.offsetForTime(ts, bound)
		return err
	})
	return o, t, ok, err
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
func (l *Log) offsetForTimeIn(s *segment, ts UnixMs, from, end Offset) (Offset, UnixMs, bool, error) {
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
	c, err := newCursor(s, at, end)
	if err != nil {
		return noOffset, noTime, false, err
	}
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
	i, e, err := s.times.search(func(e entry) bool { return e.key >= int64(ts) })
	if err != nil {
		if err = l.rebuildTables(s); err == nil {
			i, e, err = s.times.search(func(e entry) bool { return e.key >= int64(ts) })
		}
	}
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
	if err := checkBatch(b, at.offset); err != nil {
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
		o, t := at.offset+Offset(rec.OffsetDelta), b.Timestamp(rec)
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
	err = l.stable(func() error {
		o, t, ok, err = l.maxTimestamp(bound)
		return err
	})
	return o, t, ok, err
}

func (l *Log) maxTimestamp(bound Offset) (Offset, UnixMs, bool, error) {
	bound = min(bound, l.End())
	best, found := noTime, noOffset
	for next := l.Start(); next < bound; {
		s, err := l.pin(next)
		if err != nil {
			return noOffset, noTime, false, err
		}
		end := l.endOf(s)
		t := noTime
		switch sealed := Offset(s.end.Load()) == end; {
		case next > s.base: // part of the segment lies below the start
			t, err = l.maxTimeBetween(s, next, min(end, bound), noTime)
		case sealed && end <= bound:
			t, err = l.maxTimeOf(s)
		default:
			t, err = l.maxTimeBefore(s, min(end, bound))
		}
		s.release()
		if err != nil {
			return noOffset, noTime, false, err
		}
		if t > best || found == noOffset {
			best, found = t, next
		}
		next = end
	}
	if found == noOffset {
		return noOffset, noTime, false, nil
	}
	return l.maxRecord(found, best, bound)
}

// maxRecord finds the batch with the greatest timestamp in the segment that holds from, and its
// first record with it.
func (l *Log) maxRecord(from Offset, t UnixMs, bound Offset) (Offset, UnixMs, bool, error) {
	s, err := l.pin(from)
	if err != nil {
		return noOffset, noTime, false, err
	}
	defer s.release()
	end := min(l.endOf(s), bound)
	e, err := l.timeEntryBelow(s, t)
	if err != nil {
		return noOffset, noTime, false, err
	}
	at, err := l.locate(s, max(from, s.base+Offset(e.value)), l.endOf(s))
	if err != nil {
		return noOffset, noTime, false, err
	}
	c, err := newCursor(s, at, end)
	if err != nil {
		return noOffset, noTime, false, err
	}
	for {
		h, at, ok, err := c.next()
		if err != nil || !ok {
			return noOffset, noTime, false, err
		}
		if max(h.MaxTimestamp(), noTime) < t {
			continue
		}
		// The record with the greatest timestamp, whatever the header claims.
		best, found := noTime, noOffset
		_, _, _, err = l.firstRecord(s, at, h.Length(), func(o Offset, t UnixMs) bool {
			if (t > best || found == noOffset) && o >= from {
				best, found = t, o
			}
			return false
		})
		return found, best, found != noOffset, err
	}
}
