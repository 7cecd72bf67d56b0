package log

import (
	"errors"
	"fmt"
	"io"

	"github.com/chronosdb/chronosdb/log/batch"
)

// Batches calls fn for every batch that holds an offset in [from, to), in order, with its CRC
// checked. A batch is valid until fn returns; an error of fn ends the scan and is returned. to is
// lowered to the end. The scan reads 1 MiB at a time and must not run beside Truncate.
func (l *Log) Batches(from, to Offset, fn func(b batch.Batch) error) error {
	return l.eachSegment(from, to, func(s *segment, at place, end Offset) error {
		sc := &scanner{seg: s, pos: at.pos, size: s.size.Load()}
		for at.offset < end {
			b, err := sc.next()
			if err == nil {
				err = checkBatch(s, b, at.offset)
			}
			if err != nil {
				return scanError(s, at.pos, err)
			}
			if b.BaseOffset() >= end { // only behind a gap
				break
			}
			l.counters.readBytes.Add(int64(len(b)))
			at = place{offset: b.LastOffset() + 1, pos: sc.pos}
			if err := fn(b); err != nil {
				return err
			}
		}
		return nil
	})
}

// Headers calls fn with the header of every batch that holds an offset in [from, to), in order,
// and with the bytes behind the header. It reads little of the records, so it checks no CRC. Only
// the first HeaderBytes of h are there, valid until fn returns. It must not run beside Truncate.
func (l *Log) Headers(from, to Offset, fn func(h batch.Batch, bodyLen int) error) error {
	return l.eachSegment(from, to, func(s *segment, at place, end Offset) error {
		c := newCursor(s, at, end)
		for {
			h, _, ok, err := c.next()
			if err != nil || !ok {
				return err
			}
			if err := fn(h, h.Length()-batch.HeaderBytes); err != nil {
				return err
			}
		}
	})
}

// segmentWalk reads a pinned segment from a place to before an offset.
type segmentWalk func(s *segment, at place, end Offset) error

// eachSegment calls fn with every segment that holds an offset in [from, to), pinned, the place
// of the first batch wanted in it, and the offset before which the walk in it ends.
func (l *Log) eachSegment(from, to Offset, fn segmentWalk) error {
	to = min(to, l.End())
	if from < l.Start() {
		return l.outOfRange(from)
	}
	for from < to {
		next, err := l.oneSegment(from, to, fn)
		if err != nil {
			return err
		}
		from = next
	}
	return nil
}

func (l *Log) oneSegment(from, to Offset, fn segmentWalk) (Offset, error) {
	s, at, end, err := l.pinAt(from)
	if err != nil {
		return from, err
	}
	defer s.release()
	return min(end, to), fn(s, at, min(end, to))
}

// pinAt pins the segment of an offset and finds it in there. It begins again if a compaction
// replaces the segment meanwhile.
func (l *Log) pinAt(o Offset) (s *segment, at place, end Offset, err error) {
	for range rereadsMax {
		if s, err = l.pin(o); err != nil {
			return nil, at, end, err
		}
		end = l.endOf(s)
		if at, err = l.locate(s, o, end); err == nil {
			return s, at, end, nil
		}
		s.release()
		if !errors.Is(err, errReplaced) {
			return nil, at, end, err
		}
		l.awaitSwap()
	}
	return nil, at, end, err
}

// scanError turns what is wrong with the bytes at pos into damage, and keeps a read error.
func scanError(s *segment, pos int64, err error) error {
	var ioErr *readError
	if errors.As(err, &ioErr) {
		return err
	}
	if errors.Is(err, io.EOF) {
		err = fmt.Errorf("%w: the segment ends", batch.ErrShort)
	}
	return s.corrupt(pos, err)
}
